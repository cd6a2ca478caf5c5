//! Advancing, ending, listing and routing.

use std::collections::BTreeMap;

use session::{EndReason, Ended, SessionState, Stage};
use store::{Advance, EndOutcome, Extension, Filter, NewSession};
use tokio::sync::broadcast::error::TryRecvError;

use super::*;

pub async fn stages_move_forward_and_never_back(db: &Database) {
    let id = create(&*db.store).await.id;
    for (stage, expected) in [
        (Stage::Queued, Advance::Unchanged),
        (Stage::Assigned, Advance::Moved),
        (Stage::Assigned, Advance::Unchanged),
        (Stage::Installing, Advance::Moved),
        (Stage::Fetching, Advance::Unchanged),
        (Stage::Running, Advance::Moved),
        (Stage::Assigned, Advance::Unchanged),
    ] {
        assert_eq!(db.store.advance(id, 1, stage, after(1)).await.unwrap(), expected, "{stage}");
    }
    assert_eq!(db.store.session(id).await.unwrap().unwrap().stage, Stage::Running);
    let nobody = session::SessionId::new();
    assert_eq!(db.store.advance(nobody, 1, Stage::Running, after(1)).await.unwrap(), Advance::Unknown);
}

pub async fn a_session_starts_when_its_command_runs(db: &Database) {
    let id = create(&*db.store).await.id;
    db.store.advance(id, 1, Stage::Fetching, after(1)).await.unwrap();
    assert_eq!(db.store.session(id).await.unwrap().unwrap().started_at, None);
    db.store.advance(id, 1, Stage::Running, after(2)).await.unwrap();
    db.store.advance(id, 1, Stage::Running, after(3)).await.unwrap();
    assert_eq!(db.store.session(id).await.unwrap().unwrap().started_at, Some(after(2)));
    db.store.end(id, None, exited(0), after(4)).await.unwrap();
    let session = db.store.session(id).await.unwrap().unwrap();
    assert_eq!((session.started_at, session.ended_at), (Some(after(2)), Some(after(4))));
}

pub async fn a_stage_alone_cannot_end_a_session(db: &Database) {
    let session = create(&*db.store).await;
    assert!(db.store.advance(session.id, 1, Stage::Ended, after(1)).await.is_err());
    assert_eq!(db.store.session(session.id).await.unwrap(), Some(session));
}

pub async fn a_report_of_another_epoch_is_fenced(db: &Database) {
    let session = create(&*db.store).await;
    for epoch in [0, 2] {
        assert_eq!(db.store.advance(session.id, epoch, Stage::Running, after(1)).await.unwrap(), Advance::Fenced);
        let outcome = db.store.end(session.id, Some(epoch), exited(0), after(1)).await.unwrap();
        assert_eq!(outcome, EndOutcome::Fenced);
    }
    assert_eq!(db.store.session(session.id).await.unwrap(), Some(session));
}

pub async fn nothing_moves_an_ended_session(db: &Database) {
    let id = create(&*db.store).await.id;
    let EndOutcome::Ended(ended) = db.store.end(id, Some(1), exited(0), after(1)).await.unwrap() else {
        panic!("not ended");
    };
    for &stage in Stage::ALL.iter().filter(|&&stage| stage != Stage::Ended) {
        assert_eq!(db.store.advance(id, 1, stage, after(2)).await.unwrap(), Advance::Fenced, "{stage}");
    }
    assert_eq!(db.store.session(id).await.unwrap(), Some(ended));
}

pub async fn the_first_reason_stays(db: &Database) {
    let id = create(&*db.store).await.id;
    let killed = Ended {
        reason: EndReason::OomKilled,
        exit_code: Some(137),
        signal: Some("SIGKILL".to_owned()),
        message: Some("It used more than 1 GiB.".to_owned()),
    };
    let EndOutcome::Ended(first) = db.store.end(id, None, killed.clone(), after(1)).await.unwrap() else {
        panic!("not ended");
    };
    assert_eq!((first.stage, first.state()), (Stage::Ended, SessionState::Ended));
    assert_eq!((first.ended.as_ref(), first.ended_at), (Some(&killed), Some(after(1))));
    let second = db.store.end(id, None, exited(0), after(2)).await.unwrap();
    assert_eq!(second, EndOutcome::Already(first.clone()));
    assert_eq!(db.other.session(id).await.unwrap(), Some(first));
    let nobody = session::SessionId::new();
    assert_eq!(db.store.end(nobody, None, exited(0), after(2)).await.unwrap(), EndOutcome::Unknown);
}

pub async fn a_deadline_moves_to_later_and_never_back(db: &Database) {
    let session = create(&*db.store).await;
    let later = session.expires_at + jiff::SignedDuration::from_secs(600);
    let mut extended = session.clone();
    extended.expires_at = later;
    assert_eq!(db.store.extend(session.id, later).await.unwrap(), Extension::Extended(Box::new(extended.clone())));
    // One that is earlier, or the same again, changes nothing.
    for earlier in [session.expires_at, later] {
        assert_eq!(
            db.store.extend(session.id, earlier).await.unwrap(),
            Extension::Extended(Box::new(extended.clone()))
        );
    }
    assert_eq!(db.other.session(session.id).await.unwrap(), Some(extended.clone()));
    db.store.end(session.id, None, exited(0), after(1)).await.unwrap();
    let too_late = later + jiff::SignedDuration::from_secs(600);
    assert_eq!(db.store.extend(session.id, too_late).await.unwrap(), Extension::Ended);
    assert_eq!(db.other.session(session.id).await.unwrap().unwrap().expires_at, later);
    assert_eq!(db.store.extend(session::SessionId::new(), later).await.unwrap(), Extension::Unknown);
}

pub async fn of_many_simultaneous_ends_one_wins(db: &Database) {
    let id = create(&*db.store).await.id;
    let outcomes =
        at_once(db, 50, move |n, store| async move { store.end(id, None, exited(n as i32), after(1)).await.unwrap() })
            .await;
    let mut winners = Vec::new();
    let mut seen = Vec::new();
    for outcome in outcomes {
        match outcome {
            EndOutcome::Ended(session) => winners.push(session),
            EndOutcome::Already(session) => seen.push(session),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((winners.len(), seen.len()), (1, 49));
    assert!(seen.iter().all(|session| *session == winners[0]));
}

pub async fn an_end_is_legal_in_every_stage(db: &Database) {
    for &stage in Stage::ALL.iter().filter(|&&stage| stage != Stage::Ended) {
        let id = create(&*db.store).await.id;
        db.store.advance(id, 1, stage, after(1)).await.unwrap();
        let outcome = db.store.end(id, Some(1), exited(0), after(2)).await.unwrap();
        assert!(matches!(outcome, EndOutcome::Ended(_)), "{stage}: {outcome:?}");
    }
}

pub async fn sessions_are_listed_newest_first_and_page_by_page(db: &Database) {
    let mut all = Vec::new();
    for _ in 0..7 {
        all.insert(0, create(&*db.store).await);
    }
    assert_eq!(db.store.sessions(Filter::default()).await.unwrap(), all);
    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let page = db.store.sessions(Filter { before, limit: 3, ..Filter::default() }).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        // One that is created meanwhile does not shift the pages.
        create(&*db.store).await;
        pages.extend(page);
    }
    assert_eq!(pages, all);
}

pub async fn sessions_are_listed_by_state(db: &Database) {
    let mut ids = Vec::new();
    for stage in [Stage::Queued, Stage::Fetching, Stage::Installing, Stage::Running] {
        let id = create(&*db.store).await.id;
        db.store.advance(id, 1, stage, after(1)).await.unwrap();
        ids.push(id);
    }
    let over = create(&*db.store).await.id;
    db.store.end(over, None, exited(0), after(1)).await.unwrap();
    ids.push(over);
    for (filter, expected) in [
        (Filter { state: Some(SessionState::Pending), ..Filter::default() }, vec![ids[0]]),
        (Filter { state: Some(SessionState::Starting), ..Filter::default() }, vec![ids[2], ids[1]]),
        (Filter { state: Some(SessionState::Running), ..Filter::default() }, vec![ids[3]]),
        (Filter { state: Some(SessionState::Ended), ..Filter::default() }, vec![over]),
    ] {
        let text = format!("{filter:?}");
        let found: Vec<_> = db.store.sessions(filter).await.unwrap().into_iter().map(|session| session.id).collect();
        assert_eq!(found, expected, "{text}");
    }
}

pub async fn of_active_sessions_only_what_is_watched_is_read(db: &Database) {
    let mut expected = Vec::new();
    for stage in [Stage::Queued, Stage::Assigned, Stage::Running].into_iter().cycle().take(100) {
        let id = create(&*db.store).await.id;
        db.store.advance(id, 1, stage, after(1)).await.unwrap();
        expected.extend(db.store.session(id).await.unwrap().unwrap().active());
    }
    assert_eq!(expected.len(), 100);
    let over = create(&*db.store).await.id;
    db.store.end(over, None, exited(0), after(1)).await.unwrap();
    assert_eq!(db.store.session(over).await.unwrap().unwrap().active(), None);
    let mut found = db.store.active_sessions().await.unwrap();
    found.sort_by_key(|session| session.id);
    assert_eq!(found, expected);
    assert_eq!((found[0].idle_secs, found[0].epoch, found[0].stage), (900, 1, Stage::Queued));
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub async fn sessions_are_listed_by_all_of_the_labels(db: &Database) {
    let mut ids = Vec::new();
    for pairs in
        [&[("team", "a"), ("tier", "x")][..], &[("team", "a"), ("tier", "y")], &[("team", "b"), ("tier", "x")], &[]]
    {
        let mut new: NewSession = new_session();
        new.spec.labels = labels(pairs);
        ids.push(created(db.store.create_session(new, start()).await.unwrap()).id);
    }
    for (pairs, expected) in [
        (&[][..], vec![ids[3], ids[2], ids[1], ids[0]]),
        (&[("team", "a")], vec![ids[1], ids[0]]),
        (&[("tier", "x")], vec![ids[2], ids[0]]),
        (&[("team", "a"), ("tier", "x")], vec![ids[0]]),
        (&[("team", "x")], vec![]),
        (&[("team", "")], vec![]),
        (&[("team' OR '1'='1", "a")], vec![]),
    ] {
        let found = db.store.sessions(Filter { labels: labels(pairs), ..Filter::default() }).await.unwrap();
        assert_eq!(found.into_iter().map(|session| session.id).collect::<Vec<_>>(), expected, "{pairs:?}");
    }
}

pub async fn a_route_has_an_address_while_the_runner_is_there(db: &Database) {
    let session = create(&*db.store).await;
    let runner = session.runner.unwrap();
    let route = db.store.route(session.id).await.unwrap().unwrap();
    assert_eq!((route.stage, route.epoch, route.address, route.secret), (Stage::Queued, 1, None, None));
    let call = call_of(runner);
    db.store.runner_ready(call.clone(), after(1)).await.unwrap();
    let there = (Some(call.address), Some(call.secret));
    let route = db.store.route(session.id).await.unwrap().unwrap();
    assert_eq!((route.address, route.secret), there);
    // The result stays readable while the runner lingers.
    db.store.end(session.id, None, exited(3), after(2)).await.unwrap();
    let route = db.store.route(session.id).await.unwrap().unwrap();
    assert_eq!((route.stage, route.ended), (Stage::Ended, Some(exited(3))));
    assert_eq!((route.address, route.secret), there);
    db.store.runner_gone(runner, after(3)).await.unwrap();
    let route = db.store.route(session.id).await.unwrap().unwrap();
    assert_eq!((route.ended, route.address, route.secret), (Some(exited(3)), None, None));
    assert!(db.store.route(session::SessionId::new()).await.unwrap().is_none());
}

pub async fn changes_are_told_after_they_are_made(db: &Database) {
    let mut changes = db.store.changes();
    let session = create(&*db.store).await;
    let (id, old) = (session.id, session.runner.unwrap());
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty), "nobody waits for one that nobody knows of");
    let new = new_runner();
    let runner = new.id;
    db.store.replace_runner(id, old, new, after(1)).await.unwrap();
    assert_eq!(changes.try_recv(), Ok(id), "replaced");
    db.store.runner_ready(call_of(runner), after(1)).await.unwrap();
    assert_eq!(changes.try_recv(), Ok(id), "ready");
    db.store.advance(id, 2, Stage::Running, after(1)).await.unwrap();
    assert_eq!(changes.try_recv(), Ok(id), "advanced");
    db.store.runner_gone(runner, after(1)).await.unwrap();
    assert_eq!(changes.try_recv(), Ok(id), "gone");
    db.store.end(id, None, exited(0), after(1)).await.unwrap();
    assert_eq!(changes.try_recv(), Ok(id), "ended");
    // What changes nothing is not told.
    db.store.advance(id, 2, Stage::Running, after(1)).await.unwrap();
    db.store.end(id, None, exited(0), after(1)).await.unwrap();
    db.store.runner_gone(runner, after(1)).await.unwrap();
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
}
