//! An operator with a terminal that answers what programs ask, as the page's does: only with the keyboard, and only
//! what was asked after it came.

use screen::{Query, QueryScanner, Screen, Theme};
use session::frames::{ClientFrame, Hello, TTY_R1};
use session::runner_api::{CLIENT_HEADER, ROLE_HEADER};
use testkit::terminal_client::TerminalClient;
use tokio_tungstenite::tungstenite::Message;

use super::{Rig, SOON};
use crate::rig::cutting::Cutting;
use crate::rig::transcript::Transcript;
use crate::rig::witness::position;

const SIZE: (u16, u16) = (80, 24);

pub struct Answering {
    name: &'static str,
    /// What it says to DA, unlike any other terminal.
    attributes: String,
    pub client: TerminalClient,
    pub transcript: Transcript,
    screen: Screen,
    scanner: QueryScanner,
    /// Everything it typed, for it may have to type it again.
    typed: Vec<u8>,
    /// Input that the runner had before all of it.
    before: Option<u64>,
    /// Of its record on this connection.
    starts: usize,
    snapshots: usize,
    output: usize,
    pub answered: usize,
    /// What the program asked while it was attached, whoever was to answer.
    pub asked: usize,
}

impl Answering {
    /// `number` is in its answer to DA.
    pub async fn attach(rig: &Rig, name: &'static str, number: u16) -> Self {
        let client = Self::connect(rig, name, usize::MAX).await.expect("a connection that is not cut");
        let mut answering = Self {
            name,
            attributes: format!("\x1b[?62;{number}c"),
            client,
            transcript: Transcript::default(),
            screen: Screen::new(SIZE.0, SIZE.1, 0),
            scanner: QueryScanner::default(),
            typed: Vec::new(),
            before: None,
            starts: 0,
            snapshots: 0,
            output: 0,
            answered: 0,
            asked: 0,
        };
        answering.say_hello().await.unwrap();
        // All that was before it came is not taken for what comes of what it types.
        let is_there = |client: &TerminalClient| {
            !client.presences.is_empty() && client.starts.first().is_some_and(|start| client.offset >= start.end)
        };
        while !is_there(&answering.client) {
            assert!(answering.step().await.unwrap(), "{name} was closed: {:?}", answering.client.closed);
        }
        answering
    }

    async fn connect(rig: &Rig, name: &str, reads: usize) -> anyhow::Result<TerminalClient> {
        let bearer = rig.bearer();
        let headers = [("authorization", bearer.as_str()), (ROLE_HEADER, "operator"), (CLIENT_HEADER, name)];
        let stream = Cutting::connect(&rig.address, reads, usize::MAX).await?;
        let opened = TerminalClient::open_over(Box::new(stream), &rig.ws_url(), &headers, &[TTY_R1]).await?;
        Ok(opened.unwrap_or_else(|refused| panic!("{name} was refused: {refused:?}")))
    }

    async fn say_hello(&mut self) -> anyhow::Result<()> {
        let resume = self.transcript.connect(0);
        self.client.hello(Hello { columns: Some(SIZE.0), rows: Some(SIZE.1), resume, ..Hello::default() }).await
    }

    /// Drops the connection and comes back with one that breaks after `reads` bytes.
    pub async fn reconnect(&mut self, rig: &Rig, reads: usize) -> anyhow::Result<()> {
        self.client = Self::connect(rig, self.name, reads).await?;
        (self.starts, self.snapshots, self.output) = (0, 0, 0);
        self.say_hello().await
    }

    /// Says goodbye; what it saw and typed is kept.
    pub async fn leave(&mut self) {
        self.client.send_raw(Message::Close(None)).await.unwrap();
        // What it would say to what still comes is said no more.
        while let Ok(true) = self.step().await {}
    }

    pub fn holds(&self) -> bool {
        self.client.presences.last().is_some_and(|presence| presence.holds)
    }

    pub async fn type_text(&mut self, text: &str) {
        self.send(text.as_bytes()).await.unwrap();
    }

    /// Types, and waits for what comes of it.
    pub async fn type_and_see(&mut self, text: &str, shown: &str) {
        let before = self.client.output.len();
        self.type_text(text).await;
        self.until(shown, |answering| position(&answering.client.output[before..], shown).is_some()).await;
    }

    async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.typed.extend_from_slice(bytes);
        self.client.type_at_offset(bytes).await
    }

    /// Takes in and answers until `done`.
    pub async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let wait = async {
            while !done(self) {
                assert!(self.step().await.unwrap(), "closed before {what}: {:?}", self.client.closed);
            }
        };
        if tokio::time::timeout(SOON, wait).await.is_err() {
            let seen = &self.client.output;
            let tail = String::from_utf8_lossy(&seen[seen.len().saturating_sub(500)..]);
            panic!("no {what}; the end of the output: {tail:?}");
        }
    }

    pub async fn until_shows(&mut self, text: &str) {
        self.until(text, |answering| answering.client.has(text)).await;
    }

    /// Takes in one message and answers what is asked in it; false once the connection is over.
    pub async fn step(&mut self) -> anyhow::Result<bool> {
        if !self.client.take_one().await? {
            return Ok(false);
        }
        self.transcript.take_in(&self.client);
        if self.client.starts.len() > self.starts {
            let start = &self.client.starts[self.starts];
            if self.starts == 0 {
                // What the runner has not accepted of an earlier connection's input comes again.
                // What the client of this name typed before is not this one's to type again.
                let before = *self.before.get_or_insert(start.input);
                let again = self.typed.split_off((start.input - before) as usize);
                self.client.typed = start.input;
                if !again.is_empty() {
                    self.send(&again).await?;
                }
            }
            self.starts = self.client.starts.len();
        }
        if self.client.snapshots.len() > self.snapshots {
            self.snapshots = self.client.snapshots.len();
            let start = self.client.starts.last().expect("a start before a snapshot");
            self.screen = Screen::new(start.cols, start.rows, 0);
            self.scanner = QueryScanner::default();
            let snapshot = &self.client.snapshots[self.snapshots - 1];
            self.screen.write(snapshot);
            // It may end in the middle of a question.
            self.scanner.scan(snapshot, |_, query| panic!("a snapshot asks {query:?}"));
        }
        self.answer().await?;
        Ok(true)
    }

    async fn answer(&mut self) -> anyhow::Result<()> {
        let bytes = self.client.output[self.output..].to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        self.output = self.client.output.len();
        let begin = self.client.offset - bytes.len() as u64;
        let live = self.client.starts.last().map_or(0, |start| start.end);
        let mut questions = Vec::new();
        self.scanner.scan(&bytes, |end, query| questions.push((end, query)));
        let mut at = 0;
        for (end, query) in questions {
            self.screen.write(&bytes[at..end]);
            at = end;
            if begin + end as u64 <= live {
                continue;
            }
            self.asked += 1;
            if !self.holds() {
                continue;
            }
            let answer = match query {
                Query::PrimaryAttributes => Some(self.attributes.clone().into_bytes()),
                other => self.screen.answer(&other, &Theme::default()),
            };
            if let Some(answer) = answer {
                self.answered += 1;
                self.send(&answer).await?;
            }
        }
        self.screen.write(&bytes[at..]);
        // Told after the answers: until here there is nothing left to answer.
        self.client.send(ClientFrame::Ack(self.client.offset)).await
    }
}
