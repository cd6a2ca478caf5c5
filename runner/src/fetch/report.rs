//! What the terminal shows of a fetch: lines, and percent lines that overwrite each other.
//!
//! Everything passes through here, so that no server-supplied name moves the cursor or sets a title, and no
//! credential is shown, whoever echoes it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use session::spec::CodeAuth;

use super::limits::{bytes, seconds};

/// Takes progress text for the terminal: lines end in `\r\n`, percent lines begin with `\r`.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Percent lines are at least this far apart: about five a second.
const PERCENT_EVERY: Duration = Duration::from_millis(200);
/// Characters of one shown line; a percent line that wraps could not be overwritten.
const MAX_LINE: usize = 300;
const MAX_PERCENT: usize = 78;

/// The user that tokens belong to where none is named; forges ignore it.
const TOKEN_USER: &str = "x-access-token";

pub(super) struct Reporter {
    say: Say,
    secrets: Vec<String>,
    state: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    last_percent: Option<Instant>,
    /// A percent line stands in the terminal, to be overwritten.
    open: bool,
}

impl Reporter {
    pub(super) fn new(say: Say, auth: Option<&CodeAuth>) -> Self {
        let secrets = auth.map(|auth| vec![auth.token.expose().to_owned(), basic(auth)]).unwrap_or_default();
        Self { say, secrets, state: Mutex::default() }
    }

    /// Shows a whole line.
    pub(super) fn line(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let erase = if std::mem::take(&mut state.open) { "\r\x1b[K" } else { "" };
        (self.say)(&format!("{erase}{}\r\n", shown(&self.redact(text), MAX_LINE)));
    }

    /// Shows a line that the next one overwrites, unless one was shown just before.
    pub(super) fn percent(&self, text: impl FnOnce() -> String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last_percent.is_some_and(|last| last.elapsed() < PERCENT_EVERY) {
            return;
        }
        *state = Shown { last_percent: Some(Instant::now()), open: true };
        (self.say)(&format!("\r{}\x1b[K", shown(&self.redact(&text()), MAX_PERCENT)));
    }

    /// `text` without the session's credentials.
    pub(super) fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[secret]"))
    }
}

/// The value of a Basic `Authorization` header, without the scheme.
pub(super) fn basic(auth: &CodeAuth) -> String {
    let user = auth.username.as_deref().unwrap_or(TOKEN_USER);
    BASE64.encode(format!("{user}:{}", auth.token.expose()))
}

/// `text` fit for a terminal: at most `max` characters, none of which acts (C0, C1, DEL) or reorders (bidi).
pub(super) fn shown(text: &str, max: usize) -> String {
    let acts = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out: String = text.chars().take(max).map(|c| if acts(c) { '?' } else { c }).collect();
    if text.chars().nth(max).is_some() {
        out.push_str("...");
    }
    out
}

/// A name that others chose, quoted and fit for a terminal.
pub(super) fn quoted(name: &[u8]) -> String {
    format!("\"{}\"", shown(&String::from_utf8_lossy(name), 120))
}

/// Counts a transfer and shows how far it is.
pub(super) struct Transfer<'a> {
    reporter: &'a Reporter,
    total: Option<u64>,
    pub(super) done: u64,
    started: Instant,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(reporter: &'a Reporter, total: Option<u64>) -> Self {
        Self { reporter, total, done: 0, started: Instant::now() }
    }

    pub(super) fn advance(&mut self, count: u64) {
        self.done += count;
        let done = self.done;
        self.reporter.percent(|| match self.total {
            Some(total) if total > 0 => {
                format!("  {} of {}, {}%", bytes(done), bytes(total), done.min(total) * 100 / total)
            }
            _ => format!("  {}", bytes(done)),
        });
    }

    pub(super) fn close(&self, verb: &str) {
        self.reporter.line(&format!("{verb} {} in {}", bytes(self.done), seconds(self.started.elapsed())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use session::Secret;

    fn recording(auth: Option<&CodeAuth>) -> (Reporter, Arc<Mutex<String>>) {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = text.clone();
        (Reporter::new(Arc::new(move |part: &str| sink.lock().unwrap().push_str(part)), auth), text)
    }

    #[test]
    fn control_and_reordering_characters_never_reach_the_terminal() {
        let (reporter, text) = recording(None);
        reporter.line("remote: \x1b]0;owned\x07 \u{9b}31m \u{202e}txt.exe\r\nnext");
        assert_eq!(*text.lock().unwrap(), "remote: ?]0;owned? ?31m ?txt.exe??next\r\n");
    }

    #[test]
    fn an_echoed_credential_is_not_shown() {
        let auth = CodeAuth { username: Some("me".into()), token: Secret::new("s3cret") };
        let (reporter, text) = recording(Some(&auth));
        reporter.line(&format!("you sent s3cret and {}", basic(&auth)));
        assert_eq!(*text.lock().unwrap(), "you sent [secret] and [secret]\r\n");
    }

    #[test]
    fn percent_lines_are_throttled_and_overwritten() {
        let (reporter, text) = recording(None);
        let mut transfer = Transfer::new(&reporter, Some(1000));
        for _ in 0..1000 {
            transfer.advance(1);
        }
        reporter.line("done");
        let text = text.lock().unwrap();
        assert!(text.starts_with("\r  1 bytes of 1000 bytes, 0%\x1b[K"), "{text:?}");
        assert!(text.ends_with("\r\x1b[Kdone\r\n"), "{text:?}");
        assert!(text.matches('%').count() < 50);
    }
}
