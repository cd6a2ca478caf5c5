//! A client that is cut at random places and comes back, is slow, forgets, resizes and types, and takes the keyboard
//! over where it is to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use session::frames::{ClientFrame, Hello, Size, TTY_R1, Take, close};
use session::runner_api::{CLIENT_HEADER, ROLE_HEADER};
use testkit::terminal_client::TerminalClient;
use tokio::sync::watch;

use crate::rig::cutting::Cutting;
use crate::rig::transcript::Transcript;
use crate::tokens::{LENGTH, Tokens};

/// What all actors of a session share.
#[derive(Clone)]
pub struct World {
    pub address: String,
    pub bearer: String,
    /// Changes whenever something might happen to whoever waits.
    pub nudges: watch::Receiver<u64>,
    pub finale: watch::Receiver<Finale>,
    pub cuts: Arc<AtomicU64>,
    /// Actors whose last connection has begun.
    pub settled: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finale {
    NotYet,
    /// Nothing is cut any more, and everybody sees the session to its end.
    LastConnections,
    /// Nobody takes the keyboard over any more, so who has it can rely on it.
    LastWords,
}

pub struct Actor {
    pub name: &'static str,
    pub operator: bool,
    /// Another operator wants the keyboard, too.
    pub contended: bool,
    pub size: Size,
    pub rng: fastrand::Rng,
    pub transcript: Transcript,
    /// What it types. The last ones only in the finale, and with the keyboard.
    pub tokens: Option<Tokens>,
    /// Whether it says what it has parsed.
    pub acknowledges: bool,
    /// Its last connection has begun.
    pub settled: bool,
    /// Where it last changed the size, or whose it is.
    pub changed_at: u64,
}

/// How a connection came to its end.
enum End {
    Cut,
    /// The session is over, and this client was told of it.
    Over,
}

impl Actor {
    /// Connects again and again until the session is over.
    pub async fn live(mut self, world: World) -> Self {
        let mut half_open = None;
        loop {
            let finale = *world.finale.borrow() > Finale::NotYet;
            let (reads, writes) = if finale { (usize::MAX, usize::MAX) } else { self.budget() };
            let stream = Cutting::connect(&world.address, reads, writes).await.expect("the runner is there");
            let (end, client) = self.connection(&world, stream, finale).await;
            if matches!(end, End::Over) {
                return self;
            }
            world.cuts.fetch_add(1, Ordering::Relaxed);
            // Some networks go without a word: the runner then has two connections of one client.
            half_open = client.filter(|_| self.rng.u8(..4) == 0).or(half_open.take_if(|_| self.rng.bool()));
        }
    }

    /// Bytes that the next connection may read and write: few or many, so that every kind of frame is cut.
    fn budget(&mut self) -> (usize, usize) {
        let mut log_uniform = |least: u32, most: u32| {
            let bits = self.rng.u32(least..most);
            self.rng.usize((1 << bits)..(2 << bits))
        };
        (log_uniform(6, 18), log_uniform(9, 14))
    }

    async fn connection(&mut self, world: &World, stream: Cutting, finale: bool) -> (End, Option<TerminalClient>) {
        let url = format!("ws://{}/ws", world.address);
        let role = if self.operator { "operator" } else { "viewer" };
        let headers = [("authorization", &*world.bearer), (ROLE_HEADER, role), (CLIENT_HEADER, self.name)];
        let Ok(opened) = TerminalClient::open_over(Box::new(stream), &url, &headers, &[TTY_R1]).await else {
            return (End::Cut, None);
        };
        let mut client = opened.unwrap_or_else(|refused| panic!("{} was refused: {refused:?}", self.name));
        let ended = self.attend(world, &mut client, finale).await;
        (ended.unwrap_or(End::Cut), Some(client))
    }

    /// An error is a connection that was cut while writing.
    async fn attend(&mut self, world: &World, client: &mut TerminalClient, finale: bool) -> anyhow::Result<End> {
        if !finale && self.rng.u8(..20) == 0 {
            self.transcript.forget();
        }
        let resume = self.transcript.connect(0);
        let (columns, rows) = (Some(self.size.columns), Some(self.size.rows));
        client.hello(Hello { columns, rows, resume, ..Hello::default() }).await?;
        let (mut nudges, mut end) = (world.nudges.clone(), world.finale.clone());
        nudges.mark_unchanged();
        let mut paused = false;
        loop {
            tokio::select! {
                more = client.take_one() => {
                    // What is not a frame cannot have come from the runner whole.
                    if !more.expect("a frame that can be read") {
                        return Ok(self.closed(client));
                    }
                    self.transcript.take_in(client);
                    if finale && !self.settled && !client.presences.is_empty() {
                        self.settled = true;
                        world.settled.fetch_add(1, Ordering::Relaxed);
                    }
                    let stage = *world.finale.borrow();
                    self.react(client, if finale { stage } else { Finale::NotYet }).await?;
                }
                _ = nudges.changed(), if !finale => {
                    if self.rng.u8(..3) == 0 {
                        return Ok(End::Cut);
                    }
                    paused = self.act(client, paused).await?;
                }
                _ = end.changed() => {
                    if !finale {
                        return Ok(End::Cut);
                    }
                    let stage = *end.borrow_and_update();
                    self.react(client, stage).await?;
                }
            }
        }
    }

    fn closed(&self, client: &TerminalClient) -> End {
        match client.close_code() {
            None => End::Cut,
            Some(close::ENDED) => {
                let exit = client.exit.as_ref().expect("the end is told before the close");
                assert_eq!(exit.end, self.transcript.cursor(), "{}: the end came too early", self.name);
                End::Over
            }
            // A hello that was still under way when its connection was cut can overtake that of the next one.
            Some(close::TAKEN_OVER) if self.contended || has_reason(client, "this client has connected anew") => {
                End::Cut
            }
            Some(code) => panic!("{} was closed with {code}: {:?}", self.name, client.closed),
        }
    }

    /// What follows from a message.
    async fn react(&mut self, client: &mut TerminalClient, finale: Finale) -> anyhow::Result<()> {
        if self.acknowledges && self.rng.bool() && !client.starts.is_empty() {
            client.send(ClientFrame::Ack(self.transcript.cursor())).await?;
        }
        let (Some(tokens), Some(start)) = (&mut self.tokens, client.starts.first()) else { return Ok(()) };
        let accepted = start.input.max(client.input_acked.unwrap_or(0));
        tokens.accepted(accepted);
        client.typed = client.typed.max(start.input);
        let holds = client.presences.last().is_some_and(|presence| presence.holds);
        let last_words = finale == Finale::LastWords && tokens.has_late() && !client.presences.is_empty();
        if last_words && !holds {
            client.send(ClientFrame::Take(Take { leave: false })).await?;
        }
        let until = match finale {
            Finale::NotYet => tokens.until(false).min(client.typed + LENGTH as u64 * self.rng.u64(..3)),
            _ => tokens.until(last_words && holds),
        };
        if client.typed < until {
            // Some of it again, as a client that cannot know what arrived.
            let from = client.typed.saturating_sub(LENGTH as u64 * self.rng.u64(..3));
            let bytes = Bytes::copy_from_slice(&tokens.all[from as usize..until as usize]);
            client.typed = until;
            client.send(ClientFrame::InputAt(from, bytes)).await?;
        }
        Ok(())
    }

    /// Something that it does by itself; returns whether it is paused.
    async fn act(&mut self, client: &mut TerminalClient, paused: bool) -> anyhow::Result<bool> {
        match self.rng.u8(..10) {
            0..2 if !paused => {
                client.send(ClientFrame::Pause).await?;
                return Ok(true);
            }
            0..6 if paused => {
                client.send(ClientFrame::Resume).await?;
                return Ok(false);
            }
            // Once at each place: of two sizes there somebody may be told of the last one only.
            6 if self.changed_at != self.transcript.cursor() => {
                self.changed_at = self.transcript.cursor();
                let size = Size { columns: self.rng.u16(20..110), rows: self.rng.u16(5..45) };
                if self.operator {
                    self.size = size;
                }
                client.send(ClientFrame::Resize(size)).await?;
            }
            7 if self.operator && self.contended && self.changed_at != self.transcript.cursor() => {
                self.changed_at = self.transcript.cursor();
                client.send(ClientFrame::Take(Take { leave: self.rng.bool() })).await?;
            }
            // The words of a viewer are heard by nobody.
            8 if !self.operator => client.send(ClientFrame::Input(Bytes::from_static(b"!"))).await?,
            _ => {}
        }
        Ok(paused)
    }
}

fn has_reason(client: &TerminalClient, reason: &str) -> bool {
    matches!(&client.closed, Some(Some((_, given))) if given == reason)
}
