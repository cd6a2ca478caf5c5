//! A viewer that sees a whole session: the program waits for it rather than let it miss anything.

use session::frames::{ClientFrame, Hello, TTY_R1};
use session::runner_api::{CLIENT_HEADER, ROLE_HEADER};
use testkit::terminal_client::TerminalClient;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Rig, SOON};
use crate::rig::transcript::{Transcript, Truth};

pub struct Witness {
    seen: watch::Receiver<Vec<u8>>,
    task: JoinHandle<Transcript>,
}

impl Witness {
    pub async fn attach(rig: &Rig) -> Self {
        let bearer = rig.bearer();
        let headers = [("authorization", bearer.as_str()), (ROLE_HEADER, "viewer"), (CLIENT_HEADER, "witness")];
        let mut client = TerminalClient::open(&rig.ws_url(), &headers, &[TTY_R1]).await.unwrap().ok().unwrap();
        client.hello(Hello { lossless: true, ..Hello::default() }).await.unwrap();
        let (seeing, seen) = watch::channel(Vec::new());
        let task = tokio::spawn(async move {
            let mut transcript = Transcript::default();
            transcript.connect(0);
            while client.take_one().await.unwrap() {
                transcript.take_in(&client);
                if client.output.is_empty() {
                    continue;
                }
                // The program goes on when it knows that this was taken.
                client.send(ClientFrame::Ack(transcript.cursor())).await.unwrap();
                seeing.send_modify(|seen| seen.append(&mut client.output));
                transcript.output_was_taken();
            }
            transcript
        });
        Self { seen, task }
    }

    /// Waits until all the output so far is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&[u8]) -> bool) {
        let waited =
            tokio::time::timeout(SOON, self.seen.wait_for(|seen| wanted(seen))).await.map(|waited| waited.is_ok());
        if waited == Ok(true) {
            return;
        }
        let seen = self.seen.borrow();
        let tail = String::from_utf8_lossy(&seen[seen.len().saturating_sub(500)..]).into_owned();
        panic!("no {what}; the end of the output: {tail:?}");
    }

    pub async fn shows(&mut self, text: &str) {
        self.until(text, |seen| position(seen, text).is_some()).await;
    }

    /// Everything, once the session is over.
    pub async fn truth(self) -> Truth {
        Truth::of(self.task.await.unwrap())
    }
}

/// Where `text` begins in `output`.
pub fn position(output: &[u8], text: &str) -> Option<usize> {
    output.windows(text.len()).position(|window| window == text.as_bytes())
}
