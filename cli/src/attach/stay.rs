//! Staying attached, over as many connections as it takes: in by token, back by ticket, and by a fresh token when the
//! ticket is no longer good. Where a connection cannot tell, the session's own record has the last word.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use session::api::{Entry, SessionView};
use session::frames::{ClientFrame, Exit, Size, Wire, close};
use session::{EndReason, Ended, SessionId};
use tokio_tungstenite::Connector;
use url::Url;

use super::Local;
use super::client::{AttachError, Outcome, notice};
use super::conversation::{LocalEnd, Turn, converse};
use super::keyboard::DETACH_NAME;
use super::link::{Link, Unopened};
use super::place::Place;
use crate::api::{ApiError, Client};

/// Without any connection for so long, attaching is given up; the session goes on.
pub const GIVE_UP: Duration = Duration::from_secs(300);
/// A session that has ended is asked for the rest of its output for so long, if there is no way in.
const REST: Duration = Duration::from_secs(30);
/// Ways in that are refused one after the other before that is taken for an answer.
const REFUSALS: u32 = 3;
/// The same for a session that has ended: by ticket, and by a fresh token.
const REFUSALS_AFTER_END: u32 = 2;

pub struct Stay<'a> {
    client: &'a Client,
    session: SessionId,
    tls: Connector,
    place: Place,
    /// The terminal's address, without a token.
    address: Url,
    /// The same with a token that was not tried yet.
    unused: Option<Url>,
    refusals: u32,
    attempts: u32,
    waits: ExponentialBackoff,
    /// Since when there was no connection.
    alone_since: Instant,
}

/// How an attempt to be connected ended.
enum Parted {
    Done(Outcome),
    Failed(AttachError),
    /// It may go better later.
    Away(String),
    /// Not with this token or ticket.
    Unwelcome(String),
}

impl<'a> Stay<'a> {
    pub fn new(client: &'a Client, entry: &Entry, tls: Connector, local: Local) -> Result<Self, AttachError> {
        let url = terminal_url(entry)?;
        let mut address = url.clone();
        address.set_query(None);
        Ok(Self {
            client,
            session: entry.session_id,
            tls,
            place: Place::new(local),
            address,
            unused: Some(url),
            refusals: 0,
            attempts: 0,
            waits: waits(),
            alone_since: Instant::now(),
        })
    }

    pub async fn until_done(&mut self, end: &mut LocalEnd) -> Result<Outcome, AttachError> {
        loop {
            let size = end.local.size();
            let opened = tokio::select! {
                opened = self.open(size) => opened,
                left = left(end) => return Ok(left),
            };
            let parted = match opened {
                Ok(link) => self.talk(link, end).await,
                Err(parted) => parted,
            };
            let why = match parted {
                Parted::Done(outcome) => return Ok(outcome),
                Parted::Failed(error) => return Err(error),
                Parted::Away(why) => why,
                Parted::Unwelcome(why) => {
                    self.place.ticket = None;
                    self.refusals += 1;
                    why
                }
            };
            let next = tokio::select! {
                next = self.reconsider(why) => next?,
                left = left(end) => return Ok(left),
            };
            if let Some(ended) = next {
                return Ok(self.concluded(ended));
            }
        }
    }

    /// One way in, tried.
    async fn open(&mut self, size: Option<Size>) -> Result<Link, Parted> {
        let (url, ticket) = match (self.unused.take(), &self.place.ticket) {
            (Some(url), _) => (url, None),
            (None, Some(ticket)) => (self.address.clone(), Some(ticket.clone())),
            (None, None) => (self.mint().await?, None),
        };
        let mut link = match Link::open(&url, ticket.as_deref(), self.tls.clone()).await {
            Ok(link) => link,
            Err(Unopened::Away(why)) => return Err(Parted::Away(why)),
            Err(Unopened::Refused { status: 401, why }) => return Err(Parted::Unwelcome(why)),
            // Gone or unknown: the session's record knows more.
            Err(Unopened::Refused { status: 404 | 410, why }) => return Err(Parted::Unwelcome(why)),
            Err(Unopened::Refused { why, .. }) => return Err(Parted::Failed(AttachError::Refused(why))),
        };
        let hello = self.place.begin(ticket.is_some(), size);
        link.send(ClientFrame::Hello(hello)).await.map_err(Parted::Away)?;
        Ok(link)
    }

    fn concluded(&self, ended: Ended) -> Outcome {
        let local = self.place.local();
        if matches!(local, Local::Log { .. }) && !self.place.complete {
            if !self.place.has_begun() {
                return Outcome::Unread(ended);
            }
            notice(local, "the session has ended and the end of its output is not kept any more");
        }
        Outcome::Ended(ended)
    }

    async fn mint(&self) -> Result<Url, Parted> {
        match self.client.mint(self.session, self.place.local().role()).await {
            Ok(entry) => terminal_url(&entry).map_err(Parted::Failed),
            Err(error @ ApiError::Unreachable { .. }) => Err(Parted::Away(error.to_string())),
            // A session that has just ended gives no tokens; its record says how it ended.
            Err(error) => Err(Parted::Unwelcome(error.to_string())),
        }
    }

    async fn talk(&mut self, mut link: Link, end: &mut LocalEnd) -> Parted {
        let turn = converse(&mut link, &mut self.place, end).await;
        let wire = link.wire;
        if self.place.is_started() || wire == Wire::Tty {
            // It was a connection to the terminal itself.
            (self.refusals, self.attempts) = (0, 0);
            self.waits = waits();
            self.alone_since = Instant::now();
        }
        match turn {
            Turn::Exit(exit) => Parted::Done(self.concluded(ended_by(exit))),
            Turn::Detached => {
                link.close().await;
                Parted::Done(Outcome::Detached)
            }
            Turn::Stopped(by) => {
                link.close().await;
                Parted::Done(Outcome::Stopped(by))
            }
            Turn::OutputClosed => {
                link.close().await;
                Parted::Done(Outcome::OutputClosed)
            }
            Turn::Closed(close::TAKEN_OVER) => Parted::Failed(AttachError::TakenOver),
            Turn::Closed(code @ close::FORBIDDEN) => Parted::Failed(AttachError::Refused(format!("code {code}"))),
            Turn::Closed(code @ (close::TOKEN | close::UNKNOWN | close::EXPIRED)) => {
                Parted::Unwelcome(format!("code {code}"))
            }
            Turn::Closed(close::ENDED) if wire == Wire::Tty => match self.ended().await {
                Ok(Some(ended)) => Parted::Done(Outcome::Ended(ended)),
                _ => Parted::Done(Outcome::Closed),
            },
            Turn::Closed(code) if wire == Wire::Tty => Parted::Failed(AttachError::Lost(format!("code {code}"))),
            Turn::Lost(why) if wire == Wire::Tty => Parted::Failed(AttachError::Lost(why)),
            Turn::Closed(code) => Parted::Away(format!("code {code}")),
            Turn::Lost(why) => Parted::Away(why),
        }
    }

    /// After a failure: is the session over, is it time to give up, and if neither, when to go on.
    async fn reconsider(&mut self, why: String) -> Result<Option<Ended>, AttachError> {
        if let Some(ended) = self.ended().await?
            && (self.refusals >= REFUSALS_AFTER_END || self.alone_since.elapsed() > REST)
        {
            return Ok(Some(ended));
        }
        if self.refusals >= REFUSALS {
            return Err(AttachError::Refused(why));
        }
        if self.alone_since.elapsed() > GIVE_UP {
            return Err(AttachError::GaveUp(why));
        }
        self.attempts += 1;
        if self.attempts == 2 {
            // A hiccup is not worth a line across somebody's editor; an outage is.
            self.place.spoil();
            let leave = if self.place.local() == Local::Terminal { DETACH_NAME } else { "Ctrl-C" };
            notice(self.place.local(), &format!("no connection ({why}); trying again, {leave} leaves"));
        }
        // Never empty: there is no maximum of times.
        tokio::time::sleep(self.waits.next().unwrap_or(GIVE_UP)).await;
        Ok(None)
    }

    /// How the session ended, by its record; `None` while it goes on or nobody can say.
    async fn ended(&self) -> Result<Option<Ended>, AttachError> {
        match self.client.session(self.session).await {
            Ok(view) => Ok(ended_as(&view)),
            Err(ApiError::Problem(problem)) if problem.status < 500 && problem.status != 429 => {
                Err(ApiError::Problem(problem).into())
            }
            Err(_) => Ok(None),
        }
    }
}

/// What a session's record says of its end, if it has ended.
pub fn ended_as(view: &SessionView) -> Option<Ended> {
    view.state.is_ended().then(|| Ended {
        reason: view.end_reason.unwrap_or(EndReason::RunnerLost),
        exit_code: view.exit_code,
        signal: view.signal.clone(),
        message: view.end_message.clone(),
    })
}

fn ended_by(exit: Exit) -> Ended {
    Ended { reason: exit.reason, exit_code: exit.code, signal: exit.signal, message: exit.message }
}

/// The person wants to go, or the system wants us to.
async fn left(end: &mut LocalEnd) -> Outcome {
    tokio::select! {
        () = end.keyboard.leave.notified() => Outcome::Detached,
        by = end.stop.recv() => Outcome::Stopped(by),
    }
}

fn terminal_url(entry: &Entry) -> Result<Url, AttachError> {
    let url =
        Url::parse(&entry.web_socket_url).map_err(|_| AttachError::Refused("its address is no URL".to_owned()))?;
    if matches!(url.scheme(), "ws" | "wss") {
        return Ok(url);
    }
    Err(AttachError::Refused(format!("its address has the scheme {:?}", url.scheme())))
}

fn waits() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(10))
        .with_jitter()
        .without_max_times()
        .build()
}
