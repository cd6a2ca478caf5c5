//! What every implementation of `Store` must do. `contract!` makes one test of each function that it lists; a function
//! that is not listed is dead code, which clippy refuses.

pub mod creation;
pub mod keys;
pub mod limits;
pub mod pools;
pub mod runners;
pub mod sessions;
pub mod tickets;
pub mod tokens;
pub mod upkeep;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use session::{
    ApiKeyId, ClientId, CodeSource, DEFAULT_TEMPLATE, EndReason, Ended, Role, RunnerId, Secret, SessionId,
    SessionSecrets, SessionSpec,
};
use store::{
    Creation, Digest, NewRunner, NewSession, NewTicket, NewToken, Placement, PoolTarget, ReadyOutcome, RunnerCall,
    SessionRecord, Store, Time,
};

/// A fresh database with two stores on it, as two processes have it.
pub struct Database {
    pub store: Arc<dyn Store>,
    pub other: Arc<dyn Store>,
    /// What must outlive the stores: a directory, a server.
    pub kept: Box<dyn Any + Send + Sync>,
}

impl Database {
    /// Both stores in turn.
    pub fn replica(&self, n: usize) -> Arc<dyn Store> {
        Arc::clone(if n.is_multiple_of(2) { &self.store } else { &self.other })
    }
}

/// Runs `attempts` of them at once, half of them on each store, and collects the answers.
pub async fn at_once<T, F>(db: &Database, attempts: usize, attempt: impl Fn(usize, Arc<dyn Store>) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..attempts).map(|n| tokio::spawn(attempt(n, db.replica(n)))).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// The first moment of every test.
pub fn start() -> Time {
    Time::from_millisecond(1_800_000_000_123).unwrap()
}

pub fn after(seconds: i64) -> Time {
    after_millis(seconds * 1000)
}

pub fn after_millis(millis: i64) -> Time {
    Time::from_millisecond(start().as_millisecond() + millis).unwrap()
}

pub fn spec() -> SessionSpec {
    let code_url = "https://github.com/o/r/tree/main/a";
    assert!(CodeSource::parse(code_url, false).is_ok());
    SessionSpec {
        install_cmd: Some(String::new()),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        cols: 100,
        rows: 30,
        ..testkit::fake_controller::spec(code_url, "node index.js 'run' \"\u{2713}\"\n")
    }
}

pub fn secrets() -> SessionSecrets {
    SessionSecrets {
        env: [("KEY".to_owned(), Secret::new("hunter2"))].into(),
        prompt: Some(Secret::new("hello")),
        code_auth: None,
    }
}

/// A digest that stands for `text`.
pub fn digest(text: impl AsRef<str>) -> Digest {
    Digest::of(text.as_ref().as_bytes())
}

pub fn new_token(jti: &str) -> NewToken {
    NewToken { jti: jti.to_owned(), role: Role::Operator, expires_at: after(300) }
}

/// The boot token is made of the id.
pub fn new_runner() -> NewRunner {
    let id = RunnerId::new();
    NewRunner { id, boot_token: boot_token(id) }
}

pub fn boot_token(id: RunnerId) -> Digest {
    digest(format!("boot {id}"))
}

pub fn call_of(id: RunnerId) -> RunnerCall {
    RunnerCall {
        id,
        boot_token: boot_token(id),
        secret: Secret::new(format!("secret of {id}")),
        address: "10.0.0.1:7681".to_owned(),
    }
}

/// A session to create, with a token named like its id.
pub fn new_session() -> NewSession {
    let id = SessionId::new();
    NewSession {
        id,
        spec: spec(),
        secrets: secrets(),
        api_key: ApiKeyId::new(),
        expires_at: after(3600),
        idempotency: None,
        rate: None,
        max_sessions: None,
        token: new_token(&id.to_string()),
        placement: Placement::Runner(new_runner()),
    }
}

/// A ticket whose digests are made of its name.
pub fn ticket(name: &str) -> NewTicket {
    NewTicket { hash: digest(name), page_token: digest(format!("page of {name}")), client: ClientId::new() }
}

pub fn created(creation: Creation) -> SessionRecord {
    match creation {
        Creation::Created { session, .. } => session,
        other => panic!("not created: {other:?}"),
    }
}

/// A session as it is right after its creation.
pub async fn create(store: &dyn Store) -> SessionRecord {
    created(store.create_session(new_session(), start()).await.unwrap())
}

/// A session whose runner has called home.
pub async fn create_ready(store: &dyn Store) -> (SessionRecord, RunnerId) {
    let session = create(store).await;
    let runner = session.runner.unwrap();
    let outcome = store.runner_ready(call_of(runner), after(1)).await.unwrap();
    assert_eq!(outcome, ReadyOutcome::Accepted { session: Some(session.id) });
    (session, runner)
}

/// What a pool of sessions without a template of their own is to be; as large as a test likes.
pub fn target() -> PoolTarget {
    let (template, revision) = ("template a".to_owned(), "revision a".to_owned());
    PoolTarget { name: DEFAULT_TEMPLATE.to_owned(), template, revision, min: 999, max: 999, burst: 999, max_idle: HOUR }
}

/// A standby that boots.
pub async fn booting(store: &dyn Store, added: Time) -> RunnerId {
    let new = new_runner();
    let id = new.id;
    store.adopt_pool(target(), added).await.unwrap();
    assert_eq!(store.refill_pool(target(), vec![new], added).await.unwrap().added, 1);
    id
}

/// A standby that has called home.
pub async fn standby(store: &dyn Store, added: Time) -> RunnerId {
    let id = booting(store, added).await;
    assert_eq!(store.runner_ready(call_of(id), added).await.unwrap(), ReadyOutcome::Accepted { session: None });
    id
}

pub fn exited(code: i32) -> Ended {
    Ended { reason: EndReason::Exited, exit_code: Some(code), signal: None, message: None }
}

pub const HOUR: Duration = Duration::from_secs(3600);

/// Makes one test of each contract. `$database` is an async function that gives a fresh [`Database`], or perhaps one.
macro_rules! contract {
    ($database:path; $($module:ident { $($name:ident),+ $(,)? })+) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                // A backend that is not installed here has said so.
                let database: Option<crate::contract::Database> = $database().await.into();
                let Some(database) = database else { return };
                crate::contract::$module::$name(&database).await;
                drop(database.kept);
            })+
        })+
    };
}

/// Every contract, on the databases that `$database` makes.
macro_rules! every_contract {
    ($database:path) => {
        crate::contract::contract! { $database;
            creation {
                a_new_session_is_queued_and_has_a_runner_reserved,
                what_is_stored_is_what_was_given,
                an_idle_runner_is_claimed_before_a_new_one_is_made,
                where_only_an_idle_runner_will_do_nothing_is_created_without_one,
                twenty_creations_on_ten_idle_runners_claim_each_once,
                a_fixed_backend_is_there_at_once_and_has_no_secret,
                the_same_key_and_body_give_the_same_session_and_one_more_token,
                the_same_key_with_another_body_is_a_mismatch,
                idempotency_keys_of_two_api_keys_are_apart,
                twenty_simultaneous_repeats_make_one_session,
                a_repeat_of_a_pruned_session_is_a_new_session,
            }
            limits {
                a_rate_is_a_sliding_window_and_says_when_to_come_back,
                rates_are_apart_by_scope,
                fifty_simultaneous_creations_stay_within_the_rate,
                fifty_simultaneous_creations_stay_within_the_capacity,
                an_ended_session_makes_room,
                a_refused_creation_leaves_nothing_behind,
                a_repeat_is_neither_limited_nor_counted,
            }
            sessions {
                stages_move_forward_and_never_back,
                a_session_starts_when_its_command_runs,
                a_stage_alone_cannot_end_a_session,
                a_report_of_another_epoch_is_fenced,
                nothing_moves_an_ended_session,
                the_first_reason_stays,
                of_many_simultaneous_ends_one_wins,
                an_end_is_legal_in_every_stage,
                a_deadline_moves_to_later_and_never_back,
                sessions_are_listed_newest_first_and_page_by_page,
                sessions_are_listed_by_state,
                of_active_sessions_only_what_is_watched_is_read,
                sessions_are_listed_by_all_of_the_labels,
                a_route_has_an_address_while_the_runner_is_there,
                changes_are_told_after_they_are_made,
            }
            tokens {
                of_200_simultaneous_attempts_one_gets_the_role,
                a_token_is_good_for_its_own_session_until_it_expires,
                a_token_needs_a_session,
                a_token_waits_until_it_is_consumed,
                a_token_without_a_ticket_gives_the_role_alone,
                entering_finds_the_way_and_uses_the_token_up_once,
                in_front_of_another_wire_entering_leaves_the_token,
            }
            tickets {
                a_successor_keeps_role_and_client_and_leads_to_the_session,
                a_lost_answer_locks_nobody_out,
                a_superseded_ticket_is_good_for_a_minute,
                reuse_after_the_successor_was_used_ends_the_family_and_no_other,
                a_ticket_is_worth_nothing_for_another_session,
                of_simultaneous_redemptions_one_successor_is_left,
                every_sequence_of_redemptions_keeps_the_rules,
                a_page_token_speaks_for_its_session_and_lives_with_it,
            }
            keys {
                a_key_is_found_by_its_hash_until_it_is_revoked,
                adding_the_same_key_again_changes_nothing,
                keys_are_listed_oldest_first,
            }
            runners {
                a_reserved_runner_becomes_its_sessions_and_a_standby_idle,
                calling_home_again_is_the_same_call,
                another_secret_or_address_is_a_conflict,
                another_boot_token_is_refused,
                a_session_that_has_ended_waits_for_no_runner,
                an_assignment_holds_all_that_the_runner_needs,
                an_assignment_is_for_ready_runners_of_live_sessions,
                secrets_are_gone_once_the_runner_has_them,
                a_runner_is_ready_from_its_call_home_until_it_is_gone,
                a_runner_that_was_replaced_has_neither_a_secret_nor_a_session,
                a_runner_that_cannot_be_reached_is_replaced_once,
                an_idle_runner_replaces_one_that_cannot_be_reached,
                a_session_that_was_accepted_keeps_its_runner,
                heartbeats_record_life_and_activity,
                a_runner_that_is_gone_leaves_its_session_as_it_is,
                a_note_of_the_launcher_is_kept,
                whoever_notes_a_launch_learns_whether_the_runner_is_wanted,
            }
            pools {
                of_many_refills_at_once_no_more_are_added_than_are_missing,
                a_pool_never_has_more_than_its_most_however_many_are_claimed,
                only_standbys_of_the_pools_own_template_are_handed_out,
                a_pool_is_the_one_who_adopted_it_last_until_nobody_confirms_it,
                standbys_of_another_template_too_old_or_too_many_are_retired_unless_claimed,
                a_pool_that_is_not_there_is_made_by_its_first_refill,
                a_refill_that_offers_nothing_keeps_a_pool_from_being_abandoned,
                standbys_of_a_pool_that_nobody_has_are_retired,
                a_standby_that_dies_early_makes_its_pool_wait_ever_longer,
                standbys_that_fail_together_count_once,
                a_pool_is_paused_and_resumed,
                of_claims_and_retirements_at_once_each_standby_goes_one_way,
            }
            upkeep {
                ended_sessions_go_with_all_that_is_theirs,
                a_session_that_has_not_ended_is_never_pruned,
                expired_tokens_and_old_idempotency_rows_go,
                tombstones_stay_while_their_session_lives,
                runners_go_an_hour_after_they_are_gone,
                audit_entries_go_in_their_time,
                a_database_that_is_there_answers,
            }
        }
    };
}

pub(crate) use {contract, every_contract};
