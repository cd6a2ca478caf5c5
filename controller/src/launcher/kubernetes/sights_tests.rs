//! What is known of runners as their Jobs and pods come and go.

use session::EndReason;

use super::super::judge::JobFailure;
use super::*;
use crate::launcher::Verdict;

const PATIENCE: Duration = Duration::from_secs(60);

fn job() -> JobFacts {
    JobFacts { finished: false, failed: None, deadline: Some("2026-01-01T01:00:00Z".parse().unwrap()) }
}

fn pod(standing: Standing) -> PodFacts {
    PodFacts {
        uid: "u".to_owned(),
        addresses: vec!["10.88.0.7".parse().unwrap()],
        standing,
        told_to_go: None,
        standby: false,
    }
}

/// Sights that have listed everything, with one runner whose Job is there.
fn world() -> (Sights, RunnerId, broadcast::Receiver<RunnerId>) {
    let sights = Sights::new(PATIENCE);
    let runner = RunnerId::new();
    sights.job_seen(runner, job());
    sights.jobs_listed(&HashSet::from([runner]));
    sights.pods_listed(&HashSet::new());
    let news = sights.news();
    (sights, runner, news)
}

fn reason(sights: &Sights, runner: RunnerId) -> EndReason {
    match sights.condition(runner) {
        Condition::Over(verdict) => verdict.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn news_comes_when_a_condition_changes_and_not_before() {
    let (sights, runner, mut news) = world();
    sights.pod_seen(runner, pod(Standing::Fine));
    assert!(news.try_recv().is_err());
    assert!(sights.has_address(runner, "10.88.0.7".parse().unwrap()));
    assert!(!sights.has_address(runner, "10.88.0.8".parse().unwrap()));
    sights.pod_seen(runner, pod(Standing::Doubtful));
    assert_eq!(news.try_recv().unwrap(), runner);
    assert_eq!(sights.condition(runner), Condition::Doubtful);
    sights.pod_gone(runner, None);
    assert_eq!(news.try_recv().unwrap(), runner);
    assert_eq!(reason(&sights, runner), EndReason::NodeLost);
    assert!(!sights.has_address(runner, "10.88.0.7".parse().unwrap()), "the address may be another's by now");
}

#[test]
fn what_kubernetes_says_of_the_pod_counts_more_than_that_it_is_gone() {
    let (sights, runner, _news) = world();
    sights.pod_seen(runner, pod(Standing::Fine));
    let evicted = Standing::Over(Verdict::new(EndReason::Evicted, "low on disk"));
    sights.pod_gone(runner, Some(pod(evicted)));
    // Told again, as a list and a watch may do, and of another pod.
    sights.pod_gone(runner, None);
    sights.pod_gone(runner, Some(PodFacts { uid: "other".to_owned(), ..pod(Standing::Fine) }));
    sights.job_gone(runner);
    sights.job_gone(runner);
    assert_eq!(reason(&sights, runner), EndReason::Evicted);
}

#[test]
fn a_pod_deleted_after_the_deadline_timed_out_even_before_the_job_says_so() {
    let (sights, runner, _news) = world();
    let deleted = Standing::Over(Verdict::new(EndReason::RunnerLost, "deleted"));
    let told_to_go = Some("2026-01-01T01:00:00Z".parse().unwrap());
    sights.pod_seen(runner, PodFacts { told_to_go, ..pod(deleted.clone()) });
    assert_eq!(reason(&sights, runner), EndReason::TimedOut);

    let (sights, runner, _news) = world();
    let told_to_go = Some("2026-01-01T00:30:00Z".parse().unwrap());
    sights.pod_seen(runner, PodFacts { told_to_go, ..pod(deleted) });
    assert_eq!(reason(&sights, runner), EndReason::RunnerLost);
    let failed = Some(JobFailure { past_deadline: true, words: "DeadlineExceeded".to_owned() });
    sights.job_seen(runner, JobFacts { failed, ..job() });
    assert_eq!(reason(&sights, runner), EndReason::TimedOut);
}

#[test]
fn what_a_list_lacks_is_gone() {
    let (sights, runner, mut news) = world();
    sights.pod_seen(runner, pod(Standing::Fine));
    sights.pods_listed(&HashSet::new());
    assert_eq!(reason(&sights, runner), EndReason::RunnerLost);
    assert_eq!(news.try_recv().unwrap(), runner);

    let (sights, runner, _news) = world();
    sights.jobs_listed(&HashSet::new());
    assert_eq!(reason(&sights, runner), EndReason::RunnerLost);
}

#[test]
fn nothing_is_concluded_from_what_was_not_listed_yet() {
    let sights = Sights::new(PATIENCE);
    let runner = RunnerId::new();
    let failed = Some(JobFailure { past_deadline: false, words: "BackoffLimitExceeded".to_owned() });
    sights.job_seen(runner, JobFacts { finished: true, failed, deadline: None });
    sights.jobs_listed(&HashSet::from([runner]));
    assert!(!sights.is_complete());
    assert_eq!(sights.condition(runner), Condition::Fine);
    let mut news = sights.news();
    sights.pod_seen(runner, pod(Standing::Over(Verdict::new(EndReason::OomKilled, "memory"))));
    sights.pods_listed(&HashSet::from([runner]));
    assert_eq!(reason(&sights, runner), EndReason::OomKilled);
    assert_eq!(news.try_recv().unwrap(), runner);
    assert!(sights.has_finished(runner));
}

#[test]
fn a_refusal_counts_until_there_is_a_pod_after_all() {
    let (sights, runner, mut news) = world();
    sights.pod_refused(runner, "pods is forbidden: exceeded quota".to_owned());
    assert_eq!(news.try_recv().unwrap(), runner);
    let Condition::Over(verdict) = sights.condition(runner) else { panic!() };
    assert_eq!(verdict.reason, EndReason::StartFailed);
    assert!(verdict.message.ends_with("exceeded quota"), "{}", verdict.message);
    sights.pod_seen(runner, pod(Standing::Fine));
    assert_eq!(sights.condition(runner), Condition::Fine);
    // Events tell of Jobs that are nobody's here.
    let stranger = RunnerId::new();
    sights.pod_refused(stranger, "forbidden".to_owned());
    assert_eq!(sights.condition(stranger), Condition::Fine);
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_node_is_given_its_time() {
    let (sights, runner, mut news) = world();
    let sights = Arc::new(sights);
    let clock = tokio::spawn(Arc::clone(&sights).watch_the_clock());
    sights.pod_seen(runner, pod(Standing::Unplaced("0/1 nodes".to_owned())));
    tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
    assert_eq!(sights.condition(runner), Condition::Fine);
    let told = tokio::time::timeout(Duration::from_secs(5), news.recv()).await;
    assert_eq!(told.unwrap().unwrap(), runner);
    assert_eq!(reason(&sights, runner), EndReason::StartFailed);
    clock.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_remembered_for_a_while_and_not_without_end() {
    let (sights, runner, _news) = world();
    sights.job_gone(runner);
    for _ in 0..MAX_GONE {
        let other = RunnerId::new();
        sights.job_seen(other, job());
        tokio::time::advance(Duration::from_millis(1)).await;
        sights.job_gone(other);
    }
    let living = RunnerId::new();
    sights.job_seen(living, job());
    sights.forget();
    assert_eq!(sights.lock().len(), MAX_GONE + 1);
    assert_eq!(sights.condition(runner), Condition::Fine, "the oldest was forgotten");
    tokio::time::advance(MEMORY).await;
    sights.forget();
    assert_eq!(sights.lock().keys().copied().collect::<Vec<_>>(), [living]);
}
