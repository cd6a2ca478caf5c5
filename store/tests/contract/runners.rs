//! Runners: calling home, being assigned, replaced, living and going.

use session::{RunnerId, Secret, SessionSecrets, Stage};
use store::{Advance, Beat, ReadyOutcome, Replacement, RunnerCall, RunnerState};

use super::*;

pub async fn a_reserved_runner_becomes_its_sessions_and_a_standby_idle(db: &Database) {
    let idle = standby(&*db.store, start()).await;
    let runner = db.store.runner(idle).await.unwrap().unwrap();
    assert_eq!((runner.state, runner.session, runner.created_at), (RunnerState::Idle, None, start()));
    assert_eq!((runner.address, runner.seen_at), (Some(call_of(idle).address), Some(start())));
    db.store.runner_gone(idle, start()).await.unwrap();
    let (session, reserved) = create_ready(&*db.store).await;
    let runner = db.store.runner(reserved).await.unwrap().unwrap();
    assert_eq!((runner.state, runner.session), (RunnerState::Claimed, Some(session.id)));
    assert_eq!(db.store.runners().await.unwrap(), [runner]);
    assert_eq!(db.store.runner(RunnerId::new()).await.unwrap(), None);
}

pub async fn calling_home_again_is_the_same_call(db: &Database) {
    let session = create(&*db.store).await;
    let call = call_of(session.runner.unwrap());
    let answers = at_once(db, 10, move |_, store| {
        let call = call.clone();
        async move { store.runner_ready(call, after(1)).await.unwrap() }
    })
    .await;
    assert!(answers.iter().all(|answer| *answer == ReadyOutcome::Accepted { session: Some(session.id) }));
}

pub async fn another_secret_or_address_is_a_conflict(db: &Database) {
    let (session, runner) = create_ready(&*db.store).await;
    let call = call_of(runner);
    for other in [
        RunnerCall { secret: Secret::new("other"), ..call.clone() },
        RunnerCall { address: "10.0.0.2:7681".to_owned(), ..call.clone() },
    ] {
        assert_eq!(db.store.runner_ready(other, after(2)).await.unwrap(), ReadyOutcome::Conflict);
    }
    assert_eq!(db.store.ready_runner(runner).await.unwrap().unwrap().secret, call.secret);
    db.store.runner_gone(runner, after(3)).await.unwrap();
    assert_eq!(db.store.runner_ready(call, after(4)).await.unwrap(), ReadyOutcome::Conflict);
    assert_eq!(db.store.route(session.id).await.unwrap().unwrap().address, None);
}

pub async fn another_boot_token_is_refused(db: &Database) {
    let session = create(&*db.store).await;
    let runner = session.runner.unwrap();
    let wrong = RunnerCall { boot_token: digest("wrong"), ..call_of(runner) };
    assert_eq!(db.store.runner_ready(wrong.clone(), after(1)).await.unwrap(), ReadyOutcome::Refused);
    assert_eq!(db.store.runner_ready(call_of(RunnerId::new()), after(1)).await.unwrap(), ReadyOutcome::Refused);
    assert_eq!(db.store.runner(runner).await.unwrap().unwrap().state, RunnerState::Booting);
    db.store.runner_ready(call_of(runner), after(1)).await.unwrap();
    assert_eq!(db.store.runner_ready(wrong, after(1)).await.unwrap(), ReadyOutcome::Refused);
}

pub async fn a_session_that_has_ended_waits_for_no_runner(db: &Database) {
    let session = create(&*db.store).await;
    let runner = session.runner.unwrap();
    db.store.end(session.id, None, exited(0), after(1)).await.unwrap();
    let outcome = db.store.runner_ready(call_of(runner), after(2)).await.unwrap();
    assert_eq!(outcome, ReadyOutcome::Accepted { session: None });
    // It is not blank for others either: nobody is given a runner that was another's.
    assert_eq!(db.store.runner(runner).await.unwrap().unwrap().state, RunnerState::Claimed);
    assert_ne!(create(&*db.store).await.runner, Some(runner));
}

pub async fn an_assignment_holds_all_that_the_runner_needs(db: &Database) {
    let (session, runner) = create_ready(&*db.store).await;
    let assignment = db.other.assignment(runner).await.unwrap().unwrap();
    assert_eq!(assignment.session, session);
    assert_eq!(assignment.secrets, secrets());
    let call = call_of(runner);
    assert_eq!((assignment.runner, assignment.address), (runner, call.address));
    assert_eq!(assignment.runner_secret, call.secret);
}

pub async fn an_assignment_is_for_ready_runners_of_live_sessions(db: &Database) {
    let idle = standby(&*db.store, start()).await;
    assert!(db.store.assignment(idle).await.unwrap().is_none());
    assert!(db.store.assignment(RunnerId::new()).await.unwrap().is_none());
    let session = create(&*db.store).await;
    assert_eq!(session.runner, Some(idle));
    assert!(db.store.assignment(idle).await.unwrap().is_some(), "an idle one is ready as it is claimed");
    let session = create(&*db.store).await;
    let runner = session.runner.unwrap();
    assert!(db.store.assignment(runner).await.unwrap().is_none(), "it has not called home");
    db.store.runner_ready(call_of(runner), after(1)).await.unwrap();
    db.store.end(session.id, None, exited(0), after(2)).await.unwrap();
    assert!(db.store.assignment(runner).await.unwrap().is_none(), "the session has ended");
}

pub async fn secrets_are_gone_once_the_runner_has_them(db: &Database) {
    let (session, runner) = create_ready(&*db.store).await;
    assert_eq!(db.store.advance(session.id, 1, Stage::Assigned, after(2)).await.unwrap(), Advance::Moved);
    let assignment = db.store.assignment(runner).await.unwrap().unwrap();
    assert_eq!(assignment.session.stage, Stage::Assigned);
    assert_eq!(assignment.secrets, SessionSecrets::default());
}

pub async fn a_runner_is_ready_from_its_call_home_until_it_is_gone(db: &Database) {
    let session = create(&*db.store).await;
    let runner = session.runner.unwrap();
    assert!(db.store.ready_runner(runner).await.unwrap().is_none());
    let call = call_of(runner);
    db.store.runner_ready(call.clone(), after(1)).await.unwrap();
    let ready = db.other.ready_runner(runner).await.unwrap().unwrap();
    assert_eq!((ready.address, ready.secret, ready.session), (call.address, call.secret, Some(session.clone())));
    db.store.end(session.id, None, exited(0), after(2)).await.unwrap();
    let ready = db.other.ready_runner(runner).await.unwrap().expect("what is left comes after the end");
    assert_eq!(ready.session.and_then(|session| session.ended), Some(exited(0)));
    db.store.runner_gone(runner, after(3)).await.unwrap();
    assert!(db.store.ready_runner(runner).await.unwrap().is_none());
    assert!(db.store.ready_runner(RunnerId::new()).await.unwrap().is_none());

    let idle = standby(&*db.store, after(3)).await;
    assert!(db.store.ready_runner(idle).await.unwrap().unwrap().session.is_none());
    let several = db.store.ready_runners(vec![runner, idle, RunnerId::new()]).await.unwrap();
    assert_eq!(several.iter().map(|ready| ready.id).collect::<Vec<_>>(), [idle]);
    assert!(db.store.ready_runners(Vec::new()).await.unwrap().is_empty());
}

pub async fn a_runner_that_was_replaced_has_neither_a_secret_nor_a_session(db: &Database) {
    let (session, old) = create_ready(&*db.store).await;
    let new = new_runner();
    let id = new.id;
    db.store.replace_runner(session.id, old, new, after(2)).await.unwrap();
    for none in [old, id] {
        assert!(db.store.ready_runner(none).await.unwrap().is_none(), "replaced, not there yet");
    }
    db.store.runner_ready(call_of(id), after(3)).await.unwrap();
    let ready = db.store.ready_runner(id).await.unwrap().unwrap();
    assert_eq!(ready.session.map(|session| (session.id, session.epoch)), Some((session.id, 2)));
}

pub async fn a_runner_that_cannot_be_reached_is_replaced_once(db: &Database) {
    let (session, old) = create_ready(&*db.store).await;
    let outcomes = at_once(db, 8, move |_, store| async move {
        let new = new_runner();
        let id = new.id;
        (id, store.replace_runner(session.id, old, new, after(2)).await.unwrap())
    })
    .await;
    let replaced: Vec<_> = outcomes.into_iter().filter_map(|(id, next)| Some((id, next?))).collect();
    let [(new, Replacement { epoch: 2, runner, idle_since: None })] = replaced[..] else { panic!("{replaced:?}") };
    assert_eq!(runner, new);
    let record = db.store.session(session.id).await.unwrap().unwrap();
    assert_eq!((record.runner, record.epoch, record.stage), (Some(new), 2, Stage::Queued));
    let gone = db.store.runner(old).await.unwrap().unwrap();
    assert_eq!((gone.state, gone.session), (RunnerState::Gone, None));
    assert!(db.store.ready_runner(old).await.unwrap().is_none());
    // The old one is fenced, and its end is nobody's.
    assert_eq!(db.store.advance(session.id, 1, Stage::Assigned, after(3)).await.unwrap(), Advance::Fenced);
    assert_eq!(db.store.runner_gone(old, after(3)).await.unwrap(), None);
    // The new one gets the secrets.
    let outcome = db.store.runner_ready(call_of(new), after(4)).await.unwrap();
    assert_eq!(outcome, ReadyOutcome::Accepted { session: Some(session.id) });
    let assignment = db.store.assignment(new).await.unwrap().unwrap();
    assert_eq!((assignment.session.epoch, assignment.secrets), (2, secrets()));
    assert_eq!(db.store.advance(session.id, 2, Stage::Assigned, after(5)).await.unwrap(), Advance::Moved);
}

pub async fn an_idle_runner_replaces_one_that_cannot_be_reached(db: &Database) {
    let (session, old) = create_ready(&*db.store).await;
    let idle = standby(&*db.store, after(2)).await;
    let next = db.store.replace_runner(session.id, old, new_runner(), after(3)).await.unwrap();
    assert_eq!(next, Some(Replacement { epoch: 2, runner: idle, idle_since: Some(after(2)) }));
    assert_eq!(db.store.runners().await.unwrap().len(), 1, "the new one is not needed");
    let assignment = db.store.assignment(idle).await.unwrap().unwrap();
    assert_eq!((assignment.session.epoch, assignment.secrets), (2, secrets()));
}

pub async fn a_session_that_was_accepted_keeps_its_runner(db: &Database) {
    let (accepted, runner) = create_ready(&*db.store).await;
    db.store.advance(accepted.id, 1, Stage::Assigned, after(2)).await.unwrap();
    assert_eq!(db.store.replace_runner(accepted.id, runner, new_runner(), after(3)).await.unwrap(), None);
    let (ended, over) = create_ready(&*db.store).await;
    db.store.end(ended.id, None, exited(0), after(2)).await.unwrap();
    assert_eq!(db.store.replace_runner(ended.id, over, new_runner(), after(3)).await.unwrap(), None);
    let nobody = session::SessionId::new();
    assert_eq!(db.store.replace_runner(nobody, over, new_runner(), after(3)).await.unwrap(), None);
    assert_eq!(db.store.runners().await.unwrap().len(), 2);
}

pub async fn heartbeats_record_life_and_activity(db: &Database) {
    let (session, runner) = create_ready(&*db.store).await;
    let idle = standby(&*db.store, start()).await;
    let active_at = async || db.store.session(session.id).await.unwrap().unwrap().active_at;
    let beat = |operators, quiet_ms| Beat { runner, operators, quiet_ms };
    let other = Beat { runner: idle, operators: 0, quiet_ms: 0 };
    let unknown = Beat { runner: RunnerId::new(), operators: 1, quiet_ms: 0 };
    db.store.beat(vec![other, unknown, beat(0, 20_000)], after(60)).await.unwrap();
    assert_eq!(active_at().await, after(40));
    for id in [runner, idle] {
        assert_eq!(db.store.runner(id).await.unwrap().unwrap().seen_at, Some(after(60)));
    }
    // Quiet for longer than before: nothing is taken back.
    db.store.beat(vec![beat(0, u64::MAX)], after(61)).await.unwrap();
    assert_eq!(active_at().await, after(40));
    db.store.beat(vec![beat(2, 3_600_000)], after(120)).await.unwrap();
    assert_eq!(active_at().await, after(120));
    // A batch that comes late takes nothing back either.
    db.store.beat(vec![beat(1, 0)], after(100)).await.unwrap();
    assert_eq!(active_at().await, after(120));
    assert_eq!(db.store.runner(runner).await.unwrap().unwrap().seen_at, Some(after(120)));
    db.store.end(session.id, None, exited(0), after(130)).await.unwrap();
    db.store.beat(vec![beat(1, 0)], after(140)).await.unwrap();
    assert_eq!(active_at().await, after(120));
    db.store.beat(Vec::new(), after(141)).await.unwrap();
}

pub async fn a_runner_that_is_gone_leaves_its_session_as_it_is(db: &Database) {
    let (session, runner) = create_ready(&*db.store).await;
    let before = db.store.session(session.id).await.unwrap();
    for _ in 0..2 {
        assert_eq!(db.store.runner_gone(runner, after(2)).await.unwrap(), Some(session.id));
    }
    assert_eq!(db.store.session(session.id).await.unwrap(), before);
    let record = db.store.runner(runner).await.unwrap().unwrap();
    assert_eq!((record.state, record.session), (RunnerState::Gone, Some(session.id)));
    assert!(db.store.runners().await.unwrap().is_empty());
    let idle = standby(&*db.store, start()).await;
    assert_eq!(db.store.runner_gone(idle, after(2)).await.unwrap(), None);
    assert_eq!(db.store.runner_gone(RunnerId::new(), after(2)).await.unwrap(), None);
    // What is gone is never claimed.
    assert_ne!(create(&*db.store).await.runner, Some(idle));
}

pub async fn a_note_of_the_launcher_is_kept(db: &Database) {
    let runner = create(&*db.store).await.runner.unwrap();
    assert_eq!(db.store.runner(runner).await.unwrap().unwrap().handle, None);
    for handle in ["pid 1", "pid 2"] {
        assert!(db.store.set_runner_handle(runner, handle.to_owned()).await.unwrap());
        assert_eq!(db.other.runner(runner).await.unwrap().unwrap().handle.as_deref(), Some(handle));
    }
}

pub async fn whoever_notes_a_launch_learns_whether_the_runner_is_wanted(db: &Database) {
    let noted = |runner| db.store.set_runner_handle(runner, "pid 1".to_owned());
    assert!(noted(standby(&*db.store, start()).await).await.unwrap(), "a standby");
    let replaced = create(&*db.store).await;
    let (old, new) = (replaced.runner.unwrap(), new_runner());
    let next = new.id;
    db.store.replace_runner(replaced.id, old, new, after(1)).await.unwrap();
    assert_eq!((noted(old).await.unwrap(), noted(next).await.unwrap()), (false, true), "replaced");
    db.store.end(replaced.id, None, exited(0), after(1)).await.unwrap();
    assert!(!noted(next).await.unwrap(), "ended");
    assert!(!noted(RunnerId::new()).await.unwrap(), "unknown");
}
