//! Creating a session: the request's checks in order, ONE transaction, and then the runner. Also signs ways in.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderMap;
use service::Problem;
use session::api::{CreateSession, Entry};
use session::{Claims, ProblemType, Role, SessionId, SessionSpec};
use store::{ApiKey, Creation, Idempotency, NewSession, NewToken, Placement, Rate, SessionRecord, Time};

use super::view::{Addresses, Signed};
use super::{Controller, attempts, idempotency, view};
use crate::auth;
use crate::fault::{self, Point};
use crate::launcher::Unavailable;

/// What a caller who found no room is told to wait: sessions end at any moment, so this is a guess.
const CAPACITY_RETRY_SECS: u64 = 10;

/// How a creation was answered.
pub enum Answer {
    Created(Entry),
    /// The same request came before.
    Repeated(Entry),
}

/// Whoever asks, as limits count it.
pub struct Caller {
    pub key: ApiKey,
    pub rate: Rate,
    pub addresses: Addresses,
}

impl Controller {
    /// Who asks, and whether they may ask at all now.
    pub(super) async fn admit_creator(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Caller, Problem> {
        let key = auth::authenticate(&*self.0.store, headers).await?;
        let client: IpAddr = self.0.config.public.client(headers, peer);
        let rate = attempts::rate_of(&self.0.config, &key, client);
        self.0.attempts.count(&rate)?;
        let addresses = Addresses::of_request(&self.0.config.public, headers)?;
        Ok(Caller { key, rate, addresses })
    }

    /// Creates the session and starts what is to run it.
    pub(super) async fn create(
        &self,
        caller: Caller,
        request: CreateSession,
        idempotency: Option<Idempotency>,
    ) -> Result<Answer, Problem> {
        let (spec, secrets) = SessionSpec::validate(request, &self.0.config.limits).map_err(|errors| {
            let detail = errors.iter().map(|error| format!("{} {}", error.field, error.detail)).collect::<Vec<_>>();
            Problem::new(ProblemType::ValidationFailed, detail.join("; ")).with_fields(errors)
        })?;
        let plan = self.0.lifecycle.plan().map_err(|error| {
            tracing::error!(%error, "a runner could not be planned");
            Problem::internal()
        })?;
        let away = self.0.lifecycle.launcher_away();
        let refuses_cold = self.0.lifecycle.refuses_cold(&spec.template);
        let now = Time::now();
        let token = new_token(Role::Operator, now)?;
        let new = NewSession {
            id: SessionId::new(),
            expires_at: later(now, spec.ttl_secs),
            spec,
            secrets,
            api_key: caller.key.id,
            idempotency,
            rate: attempts::counted(&caller.rate),
            max_sessions: self.0.config.max_sessions,
            token: token.clone(),
            placement: if away.is_some() || refuses_cold { Placement::IdleRunner } else { plan.placement() },
        };
        match self.0.store.create_session(new, now).await? {
            Creation::Created { session, runner, idle } => {
                fault::pass(Point::Committed);
                let warm = idle.is_some();
                self.0.lifecycle.begin(&session, runner, idle, plan);
                tracing::info!(session = %session.id, %runner, warm, key = %caller.key.id, "session created");
                Ok(Answer::Created(self.entry(&session, token, &caller.addresses).await?))
            }
            Creation::Repeated(session) => {
                self.record(&caller.key, "session.token", session.id).await;
                Ok(Answer::Repeated(self.entry(&session, token, &caller.addresses).await?))
            }
            Creation::IdempotencyMismatch => Err(idempotency::mismatch()),
            Creation::RateLimited { retry_after_secs } => {
                Err(attempts::refusal(&caller.rate, "too many sessions created", retry_after_secs))
            }
            Creation::AtCapacity { active } => Err(self.at_capacity(active)),
            Creation::NoIdleRunner => Err(no_runner(away)),
        }
    }

    fn at_capacity(&self, active: u32) -> Problem {
        let limit = self.0.config.max_sessions.unwrap_or(active);
        let detail = format!(
            "{active} sessions are active and the limit is {limit}, set by --max-sessions (CLISCALE_MAX_SESSIONS); \
             end one, or wait until one ends"
        );
        Problem::new(ProblemType::Capacity, detail).retry_after(CAPACITY_RETRY_SECS)
    }

    /// A further one-time token for a session that can still be entered.
    pub(super) async fn mint(
        &self,
        key: &ApiKey,
        session: SessionRecord,
        role: Role,
        addresses: &Addresses,
    ) -> Result<Entry, Problem> {
        let token = self.further_token(&session, role).await?;
        self.record(key, "session.token", session.id).await;
        self.entry(&session, token, addresses).await
    }

    /// Draws and stores a token for a session that can still be entered, or whose recording can be watched.
    pub(super) async fn further_token(&self, session: &SessionRecord, role: Role) -> Result<NewToken, Problem> {
        if role == Role::Viewer && session.wire == session::frames::Wire::Tty {
            let detail = "this session's backend is a stock ttyd, which cannot keep a viewer from typing";
            return Err(Problem::new(ProblemType::ViewerUnsupported, detail));
        }
        // The result stays readable for as long as the runner is there, and its recording longer than that.
        let gone = || Problem::new(ProblemType::SessionEnded, "the session has ended and its terminal is gone");
        if session.state().is_ended() {
            let route = self.0.store.route(session.id).await?;
            if route.and_then(|route| route.address).is_none() && !self.is_recorded(session.id).await {
                return Err(gone());
            }
        }
        let token = new_token(role, Time::now())?;
        if !self.0.store.add_token(session.id, token.clone()).await? {
            return Err(gone());
        }
        Ok(token)
    }

    /// Signs a stored token and puts it into an answer.
    async fn entry(&self, session: &SessionRecord, token: NewToken, addresses: &Addresses) -> Result<Entry, Problem> {
        let signed = self.sign(session.id, token).await?;
        Ok(view::entry(session, signed, addresses))
    }

    /// Signs a stored token.
    pub(super) async fn sign(&self, session: SessionId, token: NewToken) -> Result<Signed, Problem> {
        // As it was drawn: a lifetime before its end.
        let drawn = token.expires_at.as_second() - session::claims::TOKEN_LIFETIME_SECS;
        let claims = Claims::new(&self.0.config.issuer, session, token.role, token.jti, drawn);
        let keys = std::sync::Arc::clone(&self.0.keys);
        let signed = tokio::task::spawn_blocking(move || keys.sign(&claims)).await;
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, %session, "a token could not be signed");
            Problem::internal()
        };
        let jwt = signed.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        Ok(Signed { token: jwt, role: token.role, expires_at: token.expires_at })
    }

    /// Adds to the audit trail what an API key did to a session.
    pub(super) async fn record(&self, key: &ApiKey, action: &'static str, session: SessionId) {
        auth::record(&*self.0.store, key.id.to_string(), action, session.to_string()).await;
    }
}

/// The 503 of a session that nothing could, or shall, be launched for.
fn no_runner(away: Option<Unavailable>) -> Problem {
    let (reason, seconds) = match away {
        // At least one, since 0 means at once.
        Some(away) => (away.reason, away.retry_after.as_secs().max(1)),
        None => ("every standby of this template is in use", CAPACITY_RETRY_SECS),
    };
    Problem::new(ProblemType::Unavailable, format!("{reason}; nothing was changed")).retry_after(seconds)
}

/// Draws a token: 128 random bits.
fn new_token(role: Role, now: Time) -> Result<NewToken, Problem> {
    let mut bits = [0; 16];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| {
        tracing::error!("no random bytes");
        Problem::internal()
    })?;
    // Whole seconds, as the token's own `exp` counts.
    let now = Time::from_second(now.as_second()).unwrap_or(now);
    let expires_at = later(now, session::claims::TOKEN_LIFETIME_SECS.unsigned_abs());
    Ok(NewToken { jti: hex::encode(bits), role, expires_at })
}

/// Saturates at the end of time, which no validated duration reaches.
fn later(now: Time, seconds: u64) -> Time {
    now.saturating_add(Duration::from_secs(seconds)).unwrap_or(Time::MAX)
}
