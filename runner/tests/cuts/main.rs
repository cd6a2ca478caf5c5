//! The property behind resuming: whoever is cut anywhere, is slow, resizes and comes back has seen exactly the bytes of
//! the terminal, in order, none twice, none missing; or was told how many were lost, and shown a screen that equals the
//! true one cell by cell. And what is typed is typed exactly once.
//!
//! `CLISCALE_TEST_SEED` repeats a run's choices, though not what the machine makes of them.

mod actor;
mod output;
#[path = "../rig/mod.rs"]
mod rig;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actor::{Actor, Finale, World};
use rig::player::Player;
use rig::transcript::{Checked, Transcript, Truth};
use rig::witness::Witness;
use rig::{Rig, SOON, Setup, eventually};
use session::frames::{Size, TTY_R1};
use testkit::xterm::{self, Reference};
use tokens::{LENGTH, Tokens, arrived};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const SESSIONS: u64 = 16;
const CUTS_PER_SESSION: u64 = 45;
const OUTPUT: usize = 96 * 1024;
/// Far beyond what a session takes.
const SESSION_LIMIT: Duration = Duration::from_secs(120);

/// What a session was about, for its report.
#[derive(Debug, Default)]
struct Total {
    checked: Checked,
    cuts: u64,
    lost: u64,
    typed: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_cut_anywhere_has_seen_every_byte_once_or_the_true_screen_and_typed_once() {
    let name = "whoever_is_cut_anywhere_has_seen_every_byte_once_or_the_true_screen_and_typed_once";
    let given = std::env::var("CLISCALE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("CLISCALE_TEST_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    // Without it the bytes are checked still.
    let mut reference = xterm::available(name).then(Reference::start);
    let (mut total, begin) = (Total::default(), Instant::now());
    for session in 0..SESSIONS {
        let play = play(rng.fork(), session, reference.as_mut());
        let played = tokio::time::timeout(SESSION_LIMIT, play).await.expect("a session's end in time");
        eprintln!("session {session}: {played:?}");
        total.checked.bytes += played.checked.bytes;
        total.checked.snapshots += played.checked.snapshots;
        total.checked.left_out += played.checked.left_out;
        total.cuts += played.cuts;
        total.lost += played.lost;
        total.typed += played.typed;
    }
    eprintln!("all in {:.1?}: {total:?}", begin.elapsed());
    assert!(total.cuts >= 500, "{total:?}");
    if reference.is_some() {
        assert!(total.checked.snapshots >= 20, "{total:?}");
        assert!(total.checked.left_out * 2 < total.checked.snapshots, "too much was left out: {total:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_is_sent_one_screen_even_where_memory_begins_inside_a_character() {
    let bytes = "漢".repeat(3000).into_bytes();
    let rig = Rig::with(Setup { flags: vec!["--ring-bytes=4096".into()], ..Setup::default() }).await;
    let mut program = Player::start(&rig, &bytes).await;
    let mut witness = Witness::attach(&rig).await;
    let mut written = 0;
    // Each time the oldest byte in memory is another one of a character.
    for burst in [6000, 1, 1, 1] {
        program.play(burst).await;
        written += burst;
        let whole = written - written % 3;
        witness
            .until("all of a burst", |seen| Player::beginning(seen).is_some_and(|begin| seen.len() == begin + whole))
            .await;
        let mut late = rig.attach("late", "viewer", TTY_R1).await;
        late.wait_until(SOON, "who is there", |late| !late.presences.is_empty()).await.unwrap();
        assert_eq!((late.starts.len(), late.snapshots.len()), (1, 1), "with {burst} bytes more");
    }
}

/// One session with a program, a witness and actors.
async fn play(mut rng: fastrand::Rng, session: u64, reference: Option<&mut Reference>) -> Total {
    let contended = session % 2 == 1;
    let ring = [4096, 16 * 1024, 4096, 1 << 20][session as usize % 4];
    // The least, so that the screen has to follow before the file has room again, or plenty.
    let spill = [64 << 10, 64 << 20][session as usize / 2 % 2];
    let output = output::output(rng.u64(..), OUTPUT);
    let rig = Rig::with(Setup {
        flags: vec![format!("--ring-bytes={ring}"), format!("--spill-bytes={spill}")],
        ..Setup::default()
    })
    .await;
    let program = Player::start(&rig, &output).await;
    let witness = Witness::attach(&rig).await;
    let mut stage = Stage::new(&rig, witness, program, rng.fork());
    stage.cast(contended);
    stage.perform(output.len(), ring).await;
    let typed = stage.finish(contended).await;
    drop(stage.program);
    let mut actors = Vec::new();
    for actor in stage.actors {
        actors.push(actor.await.expect("an actor that found nothing wrong"));
    }
    let truth = stage.witness.truth().await;
    let ready = Player::beginning(&truth.whole.bytes).expect("the program's first word");
    assert!(truth.whole.bytes[ready..].starts_with(&output), "the terminal's bytes are the program's");
    check(&truth, &actors, &typed, contended, reference, stage.world.cuts.load(Ordering::Relaxed))
}

fn check(
    truth: &Truth,
    actors: &[Actor],
    typed: &[u8],
    contended: bool,
    mut reference: Option<&mut Reference>,
    cuts: u64,
) -> Total {
    let mut total = Total { cuts, typed: typed.len(), ..Total::default() };
    for actor in actors {
        let checked = truth.check(reference.as_deref_mut(), &actor.transcript, !actor.operator);
        total.checked.bytes += checked.bytes;
        total.checked.snapshots += checked.snapshots;
        total.checked.left_out += checked.left_out;
        total.lost += actor.transcript.lost;
    }
    let tokens = actors[0].tokens.as_ref().unwrap();
    match contended {
        false => assert!(typed == tokens.all, "what was typed arrived otherwise"),
        true => {
            for zero in [b'a', b'A'] {
                let arrived = arrived(typed, zero);
                assert!(arrived.is_sorted_by(|one, next| one < next), "typed twice or out of order: {arrived:?}");
            }
            assert!(
                arrived(typed, b'a').ends_with(&(EARLY..EARLY + LATE).collect::<Vec<_>>()),
                "who has the keyboard is heard"
            );
        }
    }
    total
}

/// Numbers that are typed at any time, and in the end with the keyboard.
const EARLY: u32 = 300;
const LATE: u32 = 20;

/// The program, whoever watches it, and what happens to them.
struct Stage {
    world: World,
    nudge: watch::Sender<u64>,
    finale: watch::Sender<Finale>,
    witness: Witness,
    program: Player,
    rng: fastrand::Rng,
    actors: Vec<JoinHandle<Actor>>,
}

impl Stage {
    fn new(rig: &Rig, witness: Witness, program: Player, rng: fastrand::Rng) -> Self {
        let ((nudge, nudges), (finale, at)) = (watch::channel(0), watch::channel(Finale::NotYet));
        let (cuts, settled) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let world = World { address: rig.address.clone(), bearer: rig.bearer(), nudges, finale: at, cuts, settled };
        Self { world, nudge, finale, witness, program, rng, actors: Vec::new() }
    }

    /// A typist, another one where the keyboard is contended, and viewers.
    fn cast(&mut self, contended: bool) {
        let names = ["typist", if contended { "rival" } else { "first" }, "second", "third"];
        for (number, name) in names.into_iter().enumerate() {
            let tokens = match number {
                0 => Some(Tokens::new(b'a', EARLY, if contended { LATE } else { 0 })),
                1 if contended => Some(Tokens::new(b'A', EARLY, 0)),
                _ => None,
            };
            let actor = Actor {
                name,
                operator: tokens.is_some(),
                contended,
                size: Size { columns: 80, rows: 24 },
                rng: self.rng.fork(),
                transcript: Transcript::default(),
                tokens,
                acknowledges: number % 2 == 0,
                settled: false,
                changed_at: 0,
            };
            self.actors.push(tokio::spawn(actor.live(self.world.clone())));
        }
    }

    /// The program writes all of its output in bursts, while clients are cut as often as it takes.
    async fn perform(&mut self, length: usize, ring: usize) {
        let mut written = 0;
        while written < length {
            let burst = self.rng.usize(1..=8192.min(ring * 3 / 4)).min(length - written);
            self.program.play(burst).await;
            self.program.played().await;
            written += burst;
            // A character that is not complete yet is kept back.
            let whole = |seen: &[u8]| Player::beginning(seen).is_some_and(|begin| seen.len() + 3 >= begin + written);
            self.witness.until("all of a burst", whole).await;
            if self.rng.u8(..3) == 0 {
                let due = CUTS_PER_SESSION * written as u64 / length as u64;
                self.nudge_until(|world| world.cuts.load(Ordering::Relaxed) >= due).await;
            }
        }
        self.nudge_until(|world| world.cuts.load(Ordering::Relaxed) >= CUTS_PER_SESSION).await;
    }

    async fn nudge_until(&mut self, done: impl Fn(&World) -> bool) {
        let (world, nudge, actors) = (&self.world, &self.nudge, &self.actors);
        eventually("cuts", || {
            assert!(!actors.iter().any(JoinHandle::is_finished), "an actor found something wrong");
            nudge.send_modify(|count| *count += 1);
            done(world).then_some(())
        })
        .await;
    }

    /// Lets everybody see the end of it; returns what the program was typed.
    async fn finish(&mut self, contended: bool) -> Vec<u8> {
        self.finale.send_replace(Finale::LastConnections);
        let (settled, everybody) = (&self.world.settled, self.actors.len() as u64);
        eventually("everybody's last connection", || (settled.load(Ordering::Relaxed) >= everybody).then_some(()))
            .await;
        self.finale.send_replace(Finale::LastWords);
        let (wanted, last) = match contended {
            true => (0, Some(EARLY + LATE - 1)),
            false => (EARLY as usize * LENGTH, None),
        };
        let program = &self.program;
        eventually("the typist's last word", || {
            let typed = program.typed();
            let whole = typed.len() - typed.len() % LENGTH;
            (whole >= wanted && (last.is_none() || arrived(&typed[..whole], b'a').last().copied() == last))
                .then_some(typed)
        })
        .await
    }
}
