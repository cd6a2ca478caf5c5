//! What a client was shown, across all its connections: checked frame by frame against where it says it stands, and in
//! the end byte by byte and cell by cell against the whole stream.

use session::frames::{Resume, Size, Start, StartMode};
use testkit::terminal_client::TerminalClient;
use testkit::xterm::{Reference, Step, differences, joined};

/// Lines above the screen, as many as the page keeps and the runner follows.
const SCROLLBACK: usize = 10_000;

/// As many lines above the screen as somebody gets at least who is moved on.
const LAGGARD_SCROLLBACK: usize = 1_000;

/// One unbroken piece of a stream, from its first byte or from a snapshot.
pub struct Shown {
    pub off: u64,
    pub size: Size,
    /// What was left out before it.
    pub lost: u64,
    /// Whether it began with a snapshot, and that one, once it has come.
    pub moved: bool,
    pub snapshot: Option<Vec<u8>>,
    pub bytes: Vec<u8>,
    pub sizes: Vec<(u64, Size)>,
}

/// All that one client was shown. A later connection goes on where an earlier one was cut.
#[derive(Default)]
pub struct Transcript {
    pub shown: Vec<Shown>,
    pub sid: String,
    pub lost: u64,
    /// Where the connection took the stream up, if it could.
    resumed: Option<u64>,
    /// How much of the connection's record was taken in.
    starts: usize,
    snapshots: usize,
    output: usize,
    resized: usize,
}

fn size_of(start: &Start) -> Size {
    Size { columns: start.cols, rows: start.rows }
}

impl Shown {
    pub fn end(&self) -> u64 {
        self.off + self.bytes.len() as u64
    }

    fn current_size(&self) -> Size {
        self.sizes.last().map_or(self.size, |(_, size)| *size)
    }

    /// What a terminal is given; a size at the very end counts.
    fn steps(&self, sizes: &[(u64, Size)], end: u64) -> Vec<Step> {
        let mut steps: Vec<Step> = self.snapshot.iter().cloned().map(Step::Bytes).collect();
        let mut at = self.off;
        let mut write = |steps: &mut Vec<Step>, until: u64| {
            let part = &self.bytes[(at - self.off) as usize..(until - self.off) as usize];
            steps.push(Step::Bytes(part.to_vec()));
            at = until;
        };
        for (place, size) in sizes.iter().filter(|(place, _)| (self.off..=end).contains(place)) {
            write(&mut steps, *place);
            steps.push(Step::Resize(size.columns, size.rows));
        }
        write(&mut steps, end);
        joined(steps.into_iter())
    }
}

impl Transcript {
    /// A new connection begins; returns where it takes the stream up.
    pub fn connect(&mut self, input: u64) -> Option<Resume> {
        (self.starts, self.snapshots, self.output, self.resized) = (0, 0, 0, 0);
        // Of a snapshot that was announced and did not arrive nothing was seen: the screen is still the one before.
        while let Some(unseen) = self.shown.pop_if(|shown| shown.moved && shown.snapshot.is_none()) {
            self.lost -= unseen.lost;
        }
        let known = self.shown.last().filter(|_| !self.sid.is_empty());
        self.resumed = known.map(Shown::end);
        let off = self.resumed?;
        Some(Resume { sid: self.sid.clone(), off, input, client: String::new() })
    }

    /// The client begins anew, without its past.
    pub fn forget(&mut self) {
        self.sid.clear();
    }

    /// The offset of the next byte.
    pub fn cursor(&self) -> u64 {
        self.shown.last().map_or(0, Shown::end)
    }

    /// Takes in what the connection brought; called after every message, so that their order is known.
    pub fn take_in(&mut self, client: &TerminalClient) {
        for (at, start) in client.starts.iter().enumerate().skip(self.starts) {
            self.start(start, at == 0);
        }
        self.starts = client.starts.len();
        for snapshot in &client.snapshots[self.snapshots..] {
            let shown = self.shown.last_mut().expect("a start before a snapshot");
            assert!(shown.moved && shown.snapshot.is_none() && shown.bytes.is_empty(), "a snapshot out of place");
            shown.snapshot = Some(snapshot.to_vec());
        }
        self.snapshots = client.snapshots.len();
        for (at, size) in &client.resized[self.resized..] {
            let shown = self.shown.last_mut().expect("a start before a size");
            shown.sizes.push((*at, Size { columns: size.cols, rows: size.rows }));
        }
        self.resized = client.resized.len();
        if client.output.len() > self.output {
            let shown = self.shown.last_mut().expect("a start before output");
            assert!(!shown.moved || shown.snapshot.is_some(), "output before the snapshot");
            shown.bytes.extend_from_slice(&client.output[self.output..]);
            self.output = client.output.len();
        }
    }

    /// The connection's record of output was taken out.
    pub fn output_was_taken(&mut self) {
        self.output = 0;
    }

    fn start(&mut self, start: &Start, is_first: bool) {
        let cursor = if is_first { self.resumed.unwrap_or(0) } else { self.cursor() };
        match start.mode {
            StartMode::Delta => {
                assert_eq!((start.off, start.lost, &start.sid), (cursor, 0, &self.sid), "{start:?}");
                let shown = self.shown.last_mut().expect("something before a delta");
                if shown.current_size() != size_of(start) {
                    shown.sizes.push((cursor, size_of(start)));
                }
                return;
            }
            StartMode::Full => assert_eq!((start.off, start.lost), (0, 0), "{start:?}"),
            StartMode::Snapshot => {
                assert!(start.off >= cursor, "sent twice: {start:?} at {cursor}");
                assert!(is_first || start.off > cursor, "moved to where it is: {start:?}");
                assert_eq!(start.lost, start.off - cursor, "{start:?} at {cursor}");
            }
        }
        assert!(start.mode != StartMode::Full || cursor == 0, "{start:?} at {cursor}");
        self.sid.clone_from(&start.sid);
        self.lost += start.lost;
        self.shown.push(Shown {
            off: start.off,
            size: size_of(start),
            lost: start.lost,
            moved: start.mode == StartMode::Snapshot,
            snapshot: None,
            bytes: Vec::new(),
            sizes: Vec::new(),
        });
    }
}

/// The whole stream with all its sizes, as somebody saw it who missed nothing.
pub struct Truth {
    pub whole: Shown,
}

/// How a check came out.
#[derive(Debug, Default, Clone, Copy)]
pub struct Checked {
    pub bytes: u64,
    pub snapshots: u32,
    /// Snapshots whose state no sequence makes, or that xterm.js does not survive.
    pub left_out: u32,
}

impl Truth {
    pub fn of(witness: Transcript) -> Self {
        let [whole] = <[Shown; 1]>::try_from(witness.shown).ok().expect("the witness lost something");
        assert!(whole.off == 0 && !whole.moved, "the witness saw the stream from its first byte");
        Self { whole }
    }

    /// Every byte that `shown` has is the stream's at its place.
    pub fn check_bytes(&self, shown: &Shown) -> u64 {
        let expected = &self.whole.bytes[shown.off as usize..shown.end() as usize];
        if let Some(at) = (0..expected.len()).find(|&at| expected[at] != shown.bytes[at]) {
            panic!("another byte at offset {}", shown.off + at as u64);
        }
        expected.len() as u64
    }

    /// What `shown` makes of a terminal is what the whole stream makes of it. `own_sizes`: the client is told of every
    /// change; otherwise it made some itself.
    pub fn check_screen(&self, reference: &mut Reference, shown: &Shown, own_sizes: bool) -> Result<(), Why> {
        let end = shown.end();
        let between = |place: u64| place > shown.off && place < end;
        let here = |(at, _): &(u64, Size)| (shown.off..=end).contains(at);
        let mut sizes: Vec<_> = self.whole.sizes.iter().copied().filter(here).collect();
        // Where two sizes met at one place somebody may have been told of the last one only.
        if [&sizes, &shown.sizes].iter().any(|sizes| sizes.windows(2).any(|pair| pair[0].0 == pair[1].0)) {
            return Err(Why::LeftOut);
        }
        // What it began with may be from before a change at its place.
        sizes.retain(|(at, size)| *at > shown.off || *size != shown.size);
        if own_sizes {
            let before_end =
                |sizes: &[(u64, Size)]| sizes.iter().copied().filter(|(at, _)| between(*at)).collect::<Vec<_>>();
            assert_eq!(before_end(&shown.sizes), before_end(&sizes), "sizes from {} to {end}", shown.off);
        }
        let truth = self.whole.steps(&self.whole.sizes, end);
        if self.has_gaps(shown.off) {
            return Err(Why::LeftOut);
        }
        let expected = render(reference, self.whole.size, &truth)?;
        let got = render(reference, shown.size, &shown.steps(&sizes, end))?;
        let (mut expected, mut got) = (expected, got);
        // A laggard is sent fewer of the lines above the screen.
        trim(&mut expected, &mut got);
        let mut found = Vec::new();
        differences("", &expected, &got, &mut found);
        match found.is_empty() {
            true => Ok(()),
            false => Err(Why::Different(found.join("\n"))),
        }
    }

    /// Whether the state at `off` is one of the few that no sequence brings a terminal into.
    fn has_gaps(&self, off: u64) -> bool {
        let mut screen = screen::Screen::new(self.whole.size.columns, self.whole.size.rows, SCROLLBACK);
        for step in self.whole.steps(&self.whole.sizes, off) {
            match step {
                Step::Bytes(bytes) => screen.write(&bytes),
                Step::Resize(columns, rows) => screen.resize(columns, rows),
            }
        }
        !screen.snapshot(SCROLLBACK).gaps.is_empty()
    }

    /// Checks all that a client was shown.
    pub fn check(&self, reference: Option<&mut Reference>, transcript: &Transcript, own_sizes: bool) -> Checked {
        let bytes = transcript.shown.iter().map(|shown| self.check_bytes(shown)).sum();
        let mut checked = Checked { bytes, ..Checked::default() };
        let Some(reference) = reference else { return checked };
        for shown in transcript.shown.iter().filter(|shown| shown.snapshot.is_some()) {
            checked.snapshots += 1;
            match self.check_screen(reference, shown, own_sizes) {
                Ok(()) => {}
                Err(Why::LeftOut) => checked.left_out += 1,
                Err(Why::Different(found)) => {
                    panic!(
                        "the snapshot at {} and the rest until {} show something else:\n{found}",
                        shown.off,
                        shown.end()
                    )
                }
            }
        }
        checked
    }
}

/// Leaves as many lines of the main screen as both have.
fn trim(one: &mut serde_json::Value, other: &mut serde_json::Value) {
    let count = |state: &serde_json::Value| state["main"]["lines"].as_array().map_or(0, Vec::len);
    let (few, many) = if count(one) < count(other) { (one, other) } else { (other, one) };
    let (kept, surplus) = (count(few), count(many) - count(few));
    // What is above the screen of both is compared as far as it goes; with the first line goes what it went on from.
    if surplus == 0 || kept <= LAGGARD_SCROLLBACK {
        return;
    }
    for (state, leaves) in [(few, 1), (many, surplus + 1)] {
        if let Some(lines) = state["main"]["lines"].as_array_mut() {
            lines.drain(..leaves);
        }
        state["main"]["base"].take();
    }
}

pub enum Why {
    LeftOut,
    Different(String),
}

fn render(reference: &mut Reference, size: Size, steps: &[Step]) -> Result<serde_json::Value, Why> {
    let rendered = reference.render(size.columns, size.rows, SCROLLBACK, steps);
    rendered.map(|(state, _)| state).map_err(|_| Why::LeftOut)
}
