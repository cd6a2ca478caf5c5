//! Before a server serves: each connection does once what it will do when sessions start, for a session that is nowhere.
//!
//! A connection parses and plans a statement when it has it for the first time, and that takes longer than running it.
//! Sessions that start at the same moment, right after a server has, would all wait for that.

use futures_util::FutureExt;
use session::spec::CreateSession;
use session::{ApiKeyId, ClientId, EndReason, Ended, Role, RunnerId, SessionId, SessionSpec, SpecLimits, Stage};

use super::database::{Database, Work};
use super::failure::Attempt;
use super::lease::Lease;
use super::{create, keys, runners, sessions, tickets, tokens};
use crate::{Digest, NewSession, NewTicket, NewToken, Placement, Rate, Result, Time};

/// Connections that are made beforehand at most, however many there may be later.
const CONNECTIONS: usize = 8;

/// Which server it is, and so what it does, and has the right to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Controller,
    Gateway,
}

pub(super) async fn rehearse(database: &Database, part: Part, now: Time) -> Result<()> {
    let work: Work<Time, ()> = match part {
        Part::Controller => |db, &now| controller(db, now).boxed(),
        Part::Gateway => |db, &now| gateway(db, now).boxed(),
    };
    database.rehearse(CONNECTIONS, &now, work).await.map_err(|failure| failure.during("rehearsing"))
}

async fn controller(db: &mut Lease, now: Time) -> Attempt<()> {
    keys::find(db, nothing()).await?;
    if let Some(new) = refused(now) {
        create::create_session(db, &new, now).await?;
    }
    let (session, runner) = (SessionId::new(), RunnerId::new());
    runners::assignment(db, runner).await?;
    runners::find_ready(db, runner).await?;
    sessions::advance(db, session, 1, Stage::Running, now).await?;
    sessions::end(db, session, None, &Ended::because(EndReason::Exited, ""), now).await?;
    runners::find_all_ready(db, &[runner]).await?;
    runners::beat(db, &[], now).await
}

async fn gateway(db: &mut Lease, now: Time) -> Attempt<()> {
    let session = SessionId::new();
    let ticket = NewTicket { hash: nothing(), page_token: nothing(), client: ClientId::new() };
    sessions::route(db, session).await?;
    tokens::enter(db, "", session, &ticket, now).await?;
    tickets::redeem(db, nothing(), session, &ticket, now).await?;
    tickets::page_token(db, nothing(), session).await?;
    Ok(())
}

/// No token has it, since none is empty.
fn nothing() -> Digest {
    Digest::of(b"")
}

/// A session that is not created, since its rate allows none.
fn refused(now: Time) -> Option<NewSession> {
    let request = CreateSession {
        code_url: "https://nowhere.invalid/a.zip".to_owned(),
        command: ":".to_owned(),
        ..Default::default()
    };
    let (spec, secrets) = SessionSpec::validate(request, &SpecLimits::default()).ok()?;
    Some(NewSession {
        id: SessionId::new(),
        spec,
        secrets,
        api_key: ApiKeyId::new(),
        expires_at: now,
        idempotency: None,
        rate: Some(Rate { scope: String::new(), per_minute: 0 }),
        max_sessions: None,
        token: NewToken { jti: String::new(), role: Role::Viewer, expires_at: now },
        placement: Placement::IdleRunner,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testkit::postgres::Server;

    use super::super::rows;
    use super::super::{PostgresConfig, PostgresStore};
    use super::*;
    use crate::SealKey;

    /// How many statements each of the two connections has planned once and for all.
    async fn planned(store: &PostgresStore) -> [i64; 2] {
        let count: Work<(), i64> = |db, ()| {
            let sql = "SELECT COUNT(*) FROM pg_prepared_statements \
                       WHERE generic_plans > 0 AND statement NOT LIKE '%pg_prepared_statements%'";
            async move {
                let rows = rows::all(db, sql, &[], |row| rows::column(row, "count")).await?;
                Ok(rows[0])
            }
            .boxed()
        };
        let count = async || store.database.read("counting", (), count).await.unwrap();
        // The pool lends in turn.
        [count().await, count().await]
    }

    #[tokio::test]
    async fn every_connection_has_planned_what_starts_sessions_and_nothing_is_changed() {
        if testkit::postgres::missing() {
            return;
        }
        let kept = Server::shared().await.unwrap().database().await.unwrap();
        let config = PostgresConfig { max_connections: 2, ..PostgresConfig::new(kept.url.parse().unwrap()) };
        let store = PostgresStore::open(&config, SealKey::new(&[7; 32]), Duration::ZERO).await.unwrap();
        store.rehearse(Part::Gateway).await.unwrap();
        // A route, an entrance, a return, a page's token.
        assert_eq!(planned(&store).await, [4, 4]);
        store.rehearse(Part::Controller).await.unwrap();
        // A key, a creation, an assignment, a runner and several, a stage, a session, an end, two for heartbeats.
        assert_eq!(planned(&store).await, [14, 14]);
        let admin = kept.client().await.unwrap();
        for table in ["sessions", "runners", "tokens", "tickets", "page_tokens", "creations", "audit"] {
            let rows = admin.query(&format!("SELECT FROM {table}"), &[]).await.unwrap();
            assert!(rows.is_empty(), "{table}");
        }
    }
}
