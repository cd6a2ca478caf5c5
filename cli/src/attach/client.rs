//! Attaching this process to a session: sets the local side up, and puts it back however it ends.

use std::io::Write;
use std::sync::Arc;

use session::Ended;
use session::api::Entry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::Connector;

use super::Local;
use super::conversation::LocalEnd;
use super::display::Display;
use super::keyboard::Keyboard;
use super::modes::Modes;
use super::raw_mode::RawMode;
use super::stay::{GIVE_UP, Stay};
use super::stop::{StopSignals, Stopped};
use crate::api::{ApiError, Client, tls_config};

/// What to attach to, and with what.
pub struct Attach<'a> {
    pub client: &'a Client,
    pub entry: Entry,
    pub local: Local,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// The session did.
    Ended(Ended),
    /// The session did, before anything of the log that was wanted could be had.
    Unread(Ended),
    /// The detach key, or the terminal went away; or all of a log that was wanted is written.
    Detached,
    /// This process was told to go.
    Stopped(Stopped),
    /// Whoever read our output has left.
    OutputClosed,
    /// A stock ttyd closed the terminal, which says nothing about an exit code.
    Closed,
}

#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the terminal cannot be entered: {0}")]
    Refused(String),
    #[error("no connection for {minutes} minutes ({0}); the session may still run", minutes = GIVE_UP.as_secs() / 60)]
    GaveUp(String),
    #[error("the connection was lost ({0}), and a stock ttyd cannot take it up again")]
    Lost(String),
    #[error("another operator has taken over")]
    TakenOver,
    #[error("the local terminal: {0}")]
    Local(#[from] std::io::Error),
}

/// Attaches until the session, the connection or the person is done. The local terminal is as before when this
/// returns.
pub async fn attach(what: Attach<'_>) -> Result<Outcome, AttachError> {
    let Attach { client, entry, local } = what;
    let tls = Connector::Rustls(Arc::new(tls_config()?));
    let stop = StopSignals::listen()?;
    let resized = signal(SignalKind::window_change())?;
    let raw = if local == Local::Terminal { Some(RawMode::enter()?) } else { None };
    let display = Display::start(std::io::stdout(), local == Local::Stream);
    let keyboard = if local == Local::Terminal { Keyboard::start() } else { Keyboard::silent() };
    let written = display.written();
    let mut end = LocalEnd { local, keyboard, display, written, modes: Modes::default(), stop, resized };
    let mut outcome = match Stay::new(client, &entry, tls, local) {
        Ok(mut stay) => stay.until_done(&mut end).await,
        Err(error) => Err(error),
    };
    let LocalEnd { display, mut modes, mut stop, .. } = end;
    // A reader that stopped reading must not keep us once we were told to go.
    let left =
        matches!(outcome, Ok(Outcome::Stopped(_))) || (raw.is_some() && matches!(outcome, Ok(Outcome::Detached)));
    if !left {
        tokio::select! {
            () = display.finish() => {}
            by = stop.recv() => outcome = Ok(Outcome::Stopped(by)),
        }
    }
    if local == Local::Terminal {
        let mut out = std::io::stdout();
        let _ = out.write_all(&modes.undo()).and_then(|()| out.flush());
    }
    drop(raw);
    outcome
}

/// A line of our own, beside the program's output.
pub(super) fn notice(local: Local, text: &str) {
    let (dim, plain, end) = if local == Local::Terminal { ("\x1b[2m", "\x1b[0m", "\r\n") } else { ("", "", "\n") };
    let _ = write!(std::io::stderr(), "{dim}[cliscale] {text}{plain}{end}");
}
