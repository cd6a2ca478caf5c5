//! Controllers that die at each step of a session's start: no command runs twice, no Job is left over, no session hangs.
//! And what lives longer than what it belongs to: a runner than its session, a session than its runner.

use anyhow::{Context, Result};
use controller::fault::Point;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::Value;
use testkit::api::Api;
use testkit::cluster::hits::Hits;
use testkit::cluster::{ClusterOptions, ClusterStack, wait_for_end};

use crate::text;

/// One point's session: its command calls once and exits with 7, or, where the point is about an end that somebody asks
/// for, goes on until it is deleted.
struct Start {
    point: Point,
    body: Value,
}

impl Start {
    fn new(stack: &ClusterStack, hits: &Hits, point: Point) -> Self {
        let then = if point == Point::Ended { "sleep 1000" } else { "exit 7" };
        Self { point, body: stack.request(&format!("{}; {then}", hits.call(point.as_str()))) }
    }

    /// Asks the controller that is going to die, which may do so before it answers.
    async fn ask(&self, doomed: &Api, hits: &Hits) -> Result<()> {
        let asked = doomed.try_create(self.point.as_str(), &self.body).await;
        if self.point == Point::Ended {
            let answer = asked?.body;
            hits.wait_for(self.point.as_str()).await?;
            // It dies while it answers this.
            let _ = doomed.delete(text(&answer, "sessionId")?).await;
        }
        Ok(())
    }

    /// Asks for the same session again where somebody lives, and sees it to its end.
    async fn finish(&self, stack: &ClusterStack, survivor: &Api, hits: &Hits) -> Result<()> {
        let answer = survivor.try_create(self.point.as_str(), &self.body).await?;
        let id = answer.body["sessionId"].as_str();
        // An ended session gives no token any more, and names itself all the same.
        let id = match id {
            Some(id) => id.to_owned(),
            None => only_session_of(survivor, &self.body["command"]).await?,
        };
        let view = survivor.wait_ended(&id).await?;
        let expected = match self.point {
            Point::Ended => (Some("cancelled"), None),
            _ => (Some("exited"), Some(7)),
        };
        assert_eq!(
            (view["endReason"].as_str(), view["exitCode"].as_i64()),
            expected,
            "{}: {view}",
            self.point.as_str()
        );
        assert_eq!(
            hits.count(self.point.as_str()),
            1,
            "{}: the command ran more or less than once",
            self.point.as_str()
        );
        stack.wait_until_freed(text(&view, "runnerId")?).await
    }
}

async fn only_session_of(api: &Api, command: &Value) -> Result<String> {
    let (_, list) = api.call(reqwest::Method::GET, "/api/sessions", None).await?;
    let sessions = list["sessions"].as_array().cloned().unwrap_or_default();
    let mut own = sessions.iter().filter(|session| session["command"] == *command);
    let id = own.next().and_then(|session| session["sessionId"].as_str()).with_context(|| list.to_string())?;
    anyhow::ensure!(own.next().is_none(), "two sessions of one key: {list}");
    Ok(id.to_owned())
}

#[tokio::test]
async fn whatever_step_a_controller_dies_at_another_one_finishes() -> Result<()> {
    let survivor = Point::ALL.len();
    let mut options = ClusterOptions::default().controllers(survivor + 1).gateways(0).fall_back_to(survivor);
    for (index, point) in Point::ALL.into_iter().enumerate() {
        options = options.fault(index, point.as_str());
    }
    options
        .run(async |stack| {
            let hits = Hits::start(stack.kubernetes.host).await?;
            let surviving = stack.controller_api(survivor)?;
            let lives = Point::ALL.into_iter().enumerate().map(async |(index, point)| {
                let start = Start::new(stack, &hits, point);
                start.ask(&stack.controller_api(index)?, &hits).await?;
                let died = wait_for_end(stack.controllers[index].ended()?).await;
                died.with_context(|| format!("{} was never come to", point.as_str()))?;
                start.finish(stack, &surviving, &hits).await.with_context(|| point.as_str())
            });
            futures_util::future::try_join_all(lives).await?;
            stack.wait_until_nothing_is_left().await
        })
        .await
}

/// The same without anybody else: the one controller starts again and finishes.
async fn restarts_and_finishes(points: &[Point]) -> Result<()> {
    ClusterOptions::default()
        .controllers(1)
        .gateways(0)
        .run(async |stack| {
            let hits = Hits::start(stack.kubernetes.host).await?;
            let controller = &stack.controllers[0];
            for &point in points {
                controller.end("KILL").await?;
                controller.start(&[("CLISCALE_FAULT", point.as_str())]).await?;
                let start = Start::new(stack, &hits, point);
                start.ask(&stack.controller_api(0)?, &hits).await?;
                let died = wait_for_end(controller.ended()?).await;
                died.with_context(|| format!("{} was never come to", point.as_str()))?;
                controller.start(&[]).await?;
                start.finish(stack, &stack.controller_api(0)?, &hits).await.with_context(|| point.as_str())?;
            }
            stack.wait_until_nothing_is_left().await
        })
        .await
}

#[tokio::test]
async fn a_controller_that_died_before_its_runner_called_finishes_after_its_restart() -> Result<()> {
    restarts_and_finishes(&[Point::Committed, Point::BeforeLaunch, Point::Launched, Point::HandleStored]).await
}

#[tokio::test]
async fn a_controller_that_died_after_its_runner_called_finishes_after_its_restart() -> Result<()> {
    let points = [Point::CalledHome, Point::BeforeAssign, Point::Assigned, Point::StageStored, Point::Ended];
    restarts_and_finishes(&points).await
}

#[tokio::test]
async fn a_runner_that_outlives_its_session_is_destroyed() -> Result<()> {
    ClusterOptions::default()
        .gateways(0)
        .run(async |stack| {
            let (_, id, runner) = stack.running("trap '' TERM HUP; sleep 1000").await?;
            stack.rows.end_session(&id).await?;
            stack.wait_until_freed(&runner).await
        })
        .await
}

#[tokio::test]
async fn a_session_that_outlives_its_runner_is_ended() -> Result<()> {
    ClusterOptions::default()
        .gateways(0)
        .run(async |stack| {
            let (_, id, runner) = stack.running("sleep 1000").await?;
            for controller in &stack.controllers {
                controller.end("KILL").await?;
            }
            let job = stack.kubernetes.job(&runner).await?.context("a Job")?.name_any();
            stack.kubernetes.api::<Job>().delete(&job, &DeleteParams::background().grace_period(0)).await?;
            stack.wait_until_no_pod(&runner).await?;
            for controller in &stack.controllers {
                controller.start(&[]).await?;
            }
            let view = stack.wait_ended(&id).await?;
            assert_eq!(view["endReason"], "runner_lost", "{view}");
            stack.wait_until_freed(&runner).await
        })
        .await
}
