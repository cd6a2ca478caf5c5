//! Pruning, and whether the database answers.

use session::{Role, Stage};
use store::{AuditEntry, Idempotency, NewSession, Pruned, Retention, RunnerState, TicketOutcome};

use super::*;

pub async fn ended_sessions_go_with_all_that_is_theirs(db: &Database) {
    let idempotency = Some(Idempotency { key: "k".to_owned(), body: digest("b") });
    let new = NewSession { idempotency, ..new_session() };
    let session = created(db.store.create_session(new, start()).await.unwrap());
    let kept = create(&*db.store).await;
    db.store.add_token(session.id, new_token("used")).await.unwrap();
    db.store.consume_token("used", session.id, Some(ticket("t")), after(1)).await.unwrap();
    db.store.runner_ready(call_of(session.runner.unwrap()), after(1)).await.unwrap();
    db.store.end(session.id, None, exited(0), after(1)).await.unwrap();
    db.store.end(kept.id, None, exited(0), after(2)).await.unwrap();
    // A token that has not expired yet goes as well.
    let retention = Retention { sessions: std::time::Duration::from_secs(100), ..Retention::default() };
    assert_eq!(db.store.prune(retention, after_millis(100_999)).await.unwrap(), Pruned::default());
    let pruned = db.store.prune(retention, after(101)).await.unwrap();
    let expected = Pruned { sessions: 1, tokens: 1, tickets: 1, idempotency: 1, ..Pruned::default() };
    assert_eq!(pruned, expected);
    assert_eq!(db.store.session(session.id).await.unwrap(), None);
    assert!(db.store.route(session.id).await.unwrap().is_none());
    assert_eq!(db.store.page_token(digest("page of t"), session.id).await.unwrap(), None);
    assert!(db.store.session(kept.id).await.unwrap().is_some());
    // Its runner still has to be ended by somebody.
    let runner = db.store.runner(session.runner.unwrap()).await.unwrap().unwrap();
    assert_eq!((runner.state, runner.session), (RunnerState::Claimed, None));
}

pub async fn a_session_that_has_not_ended_is_never_pruned(db: &Database) {
    let queued = create(&*db.store).await;
    let running = create(&*db.store).await;
    db.store.advance(running.id, 1, Stage::Running, after(1)).await.unwrap();
    let nothing = std::time::Duration::ZERO;
    let retention = Retention { sessions: nothing, idempotency: nothing, audit: nothing };
    let pruned = db.store.prune(retention, after(365 * 86_400)).await.unwrap();
    assert_eq!((pruned.sessions, pruned.runners), (0, 0));
    for id in [queued.id, running.id] {
        assert!(db.store.session(id).await.unwrap().is_some());
    }
}

pub async fn expired_tokens_and_old_idempotency_rows_go(db: &Database) {
    let idempotency = Some(Idempotency { key: "k".to_owned(), body: digest("b") });
    let new = NewSession { idempotency, ..new_session() };
    created(db.store.create_session(new.clone(), start()).await.unwrap());
    assert_eq!(db.store.prune(Retention::default(), after_millis(299_999)).await.unwrap(), Pruned::default());
    let pruned = db.store.prune(Retention::default(), after(300)).await.unwrap();
    assert_eq!(pruned, Pruned { tokens: 1, ..Pruned::default() });
    let pruned = db.store.prune(Retention::default(), after(86_400)).await.unwrap();
    assert_eq!(pruned, Pruned { idempotency: 1, ..Pruned::default() });
    let again = NewSession { id: new_session().id, token: new_token("again"), ..new };
    let again = NewSession { placement: new_session().placement, ..again };
    created(db.store.create_session(again, after(86_400)).await.unwrap());
}

pub async fn tombstones_stay_while_their_session_lives(db: &Database) {
    let session = create(&*db.store).await;
    for name in ["lives", "over"] {
        db.store.add_token(session.id, new_token(name)).await.unwrap();
        db.store.consume_token(name, session.id, Some(ticket(name)), start()).await.unwrap();
        for (from, to) in [(name.to_owned(), format!("{name} 2")), (format!("{name} 2"), format!("{name} 3"))] {
            let returned = db.store.redeem_ticket(digest(from), session.id, ticket(&to), after(1)).await.unwrap();
            assert!(matches!(returned.unwrap().outcome, TicketOutcome::Redeemed { role: Role::Operator, .. }));
        }
    }
    assert_eq!(db.store.prune(Retention::default(), after(7200)).await.unwrap().tickets, 0);
    let present = async |name: &str, next: &str| {
        db.store.redeem_ticket(digest(name), session.id, ticket(next), after(7200)).await.unwrap().unwrap().outcome
    };
    assert_eq!(present("lives", "x").await, TicketOutcome::Reused);
    db.store.end(session.id, None, exited(0), after(7200)).await.unwrap();
    assert_eq!(db.store.prune(Retention::default(), after(7200)).await.unwrap().tickets, 1);
    assert_eq!(present("over", "x").await, TicketOutcome::Expired);
    // The way back to the result stays.
    assert!(matches!(present("over 3", "over 4").await, TicketOutcome::Redeemed { .. }));
}

pub async fn runners_go_an_hour_after_they_are_gone(db: &Database) {
    let (session, runner) = create_ready(&*db.store).await;
    db.store.runner_gone(runner, after(10)).await.unwrap();
    let standby = standby(&*db.store, start()).await;
    assert_eq!(db.store.prune(Retention::default(), after(3609)).await.unwrap().runners, 0);
    assert_eq!(db.store.prune(Retention::default(), after(3610)).await.unwrap().runners, 1);
    assert_eq!(db.store.runner(runner).await.unwrap(), None);
    assert!(db.store.runner(standby).await.unwrap().is_some());
    // Who served it is still told.
    assert_eq!(db.store.session(session.id).await.unwrap().unwrap().runner, Some(runner));
}

pub async fn audit_entries_go_in_their_time(db: &Database) {
    // A creation leaves one, too.
    create(&*db.store).await;
    for seconds in [0, 10] {
        let entry = AuditEntry { actor: "a key".to_owned(), action: "session.create", subject: "a session".to_owned() };
        db.store.audit(entry, after(seconds)).await.unwrap();
    }
    let retention = Retention { audit: HOUR, ..Retention::default() };
    assert_eq!(db.store.prune(retention, after(3605)).await.unwrap().audit, 2);
    assert_eq!(db.store.prune(retention, after(3605)).await.unwrap().audit, 0);
    assert_eq!(db.store.prune(retention, after(3610)).await.unwrap().audit, 1);
}

pub async fn a_database_that_is_there_answers(db: &Database) {
    db.store.ping().await.unwrap();
    db.other.ping().await.unwrap();
}
