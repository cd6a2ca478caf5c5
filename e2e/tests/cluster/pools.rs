//! The standby pool on a real cluster: each standby goes to one session, whatever dies or goes wrong meanwhile.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use controller::fault::Point;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::cluster::hits::Hits;
use testkit::cluster::{ClusterOptions, ClusterStack, wait_for_end};
use tokio_postgres::Client;

use crate::text;

/// How long fifty pods may take on a small node.
const PATIENCE: Duration = Duration::from_secs(180);

fn with_pool(pool: Value) -> ClusterOptions {
    ClusterOptions::default().set("CLISCALE_CREATE_RATE", "100000/min").pools(json!([pool]))
}

/// Null until a controller has made it.
async fn pool(stack: &ClusterStack) -> Result<Value> {
    let (status, list) = stack.call(Method::GET, "/api/pools", None).await?;
    anyhow::ensure!(status == 200, "{status}: {list}");
    Ok(list["pools"][0].clone())
}

async fn wait_for_pool(stack: &ClusterStack, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pool = pool(stack).await?;
        if is(&pool) {
            return Ok(pool);
        }
        anyhow::ensure!(Instant::now() < deadline, "the pool never was {what}: {pool}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn wait_until_idle(stack: &ClusterStack, count: u64) -> Result<Value> {
    wait_for_pool(stack, &format!("{count} idle"), |pool| pool["idle"] == count && pool["booting"] == 0).await
}

async fn standbys(stack: &ClusterStack) -> Result<Vec<Pod>> {
    let marked = ListParams::default().labels("cliscale.dev/standby=true");
    Ok(stack.kubernetes.api::<Pod>().list(&marked).await?.items)
}

#[tokio::test]
async fn of_300_creations_at_once_on_a_pool_of_50_each_standby_goes_to_one_session() -> Result<()> {
    let pool = json!({"name": "default", "min": 50, "max": 50, "perMinute": 3000, "whenEmpty": "refuse"});
    with_pool(pool)
        .run(async |stack| {
            wait_until_idle(stack, 50).await?;
            let hits = Hits::start(stack.kubernetes.host).await?;
            let controllers = [stack.controller_api(0)?, stack.controller_api(1)?];
            let creations = (0..300).map(|number| {
                let (controller, name) = (&controllers[number % 2], format!("n{number}"));
                let body = stack.request(&format!("{}; exit 3", hits.call(&name)));
                async move { controller.try_create(&name, &body).await.map(|answer| (name, answer)) }
            });
            let (mut runners, mut refused, mut ran) = (HashSet::new(), 0, Vec::new());
            for (name, answer) in futures_util::future::try_join_all(creations).await? {
                match answer.status {
                    201 => ran.push((name, text(&answer.body, "sessionId")?.to_owned())),
                    503 => {
                        assert!(answer.retry_after.is_some(), "{answer:?}");
                        refused += 1;
                    }
                    _ => panic!("{answer:?}"),
                }
            }
            assert_eq!((ran.len(), refused), (50, 250));
            for (name, id) in &ran {
                let view = stack.wait_ended(id).await?;
                assert_eq!((&view["endReason"], &view["exitCode"]), (&json!("exited"), &json!(3)), "{view}");
                assert_eq!(hits.count(name), 1, "{name} did not run once");
                assert!(runners.insert(text(&view, "runnerId")?.to_owned()), "a runner served two sessions");
            }
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_controller_that_dies_with_a_claim_in_hand_leaves_it_to_the_next() -> Result<()> {
    with_pool(json!({"name": "default", "min": 2, "perMinute": 3000}))
        .controllers(1)
        .gateways(0)
        .run(async |stack| {
            let (hits, controller) = (Hits::start(stack.kubernetes.host).await?, &stack.controllers[0]);
            for point in [Point::Committed, Point::BeforeAssign, Point::Assigned] {
                wait_until_idle(stack, 2).await?;
                controller.end("KILL").await?;
                controller.start(&[("CLISCALE_FAULT", point.as_str())]).await?;
                let name = point.as_str();
                let body = stack.request(&format!("{}; exit 7", hits.call(name)));
                // It may die before it answers.
                let _ = stack.controller_api(0)?.try_create(name, &body).await;
                let died = wait_for_end(controller.ended()?).await;
                died.with_context(|| format!("{name} was never come to"))?;
                controller.start(&[]).await?;
                let api = stack.controller_api(0)?;
                let answer = api.try_create(name, &body).await?;
                let view = api.wait_ended(text(&answer.body, "sessionId")?).await?;
                assert_eq!((&view["endReason"], &view["exitCode"]), (&json!("exited"), &json!(7)), "{name}: {view}");
                assert_eq!(hits.count(name), 1, "{name}: the command ran more or less than once");
            }
            // And the pool is kept on.
            wait_until_idle(stack, 2).await?;
            Ok(())
        })
        .await
}

/// Stops every claim in the middle of its statement for as long as somebody holds the lock.
const HOLD_CLAIMS: &str = "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$; \
    CREATE TRIGGER hold AFTER UPDATE ON runners FOR EACH ROW WHEN (NEW.state = 'claimed') EXECUTE FUNCTION hold()";
const HELD: &str = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted";

/// The controller dies while its claim is held. Where its connection is lost with it, nothing was ever claimed; where
/// the database goes on, all of it was, and the next controller starts the session that was asked for.
#[tokio::test]
async fn a_claim_in_which_a_controller_dies_is_made_whole_or_never() -> Result<()> {
    with_pool(json!({"name": "default", "min": 1, "max": 1, "perMinute": 3000}))
        .controllers(1)
        .gateways(0)
        .run(async |stack| {
            wait_until_idle(stack, 1).await?;
            let standby = standbys(stack).await?.first().context("a standby")?.labels()["cliscale.dev/runner"].clone();
            let hits = Hits::start(stack.kubernetes.host).await?;
            let database = stack.database.client().await?;
            database.batch_execute(HOLD_CLAIMS).await?;
            let body = stack.request(&format!("{}; exit 7", hits.call("held")));
            let sessions = async || anyhow::Ok(database.query_one("SELECT COUNT(*) FROM sessions", &[]).await?.get(0));

            let claim = die_in_a_claim(stack, &database, &body).await?;
            database.execute("SELECT pg_terminate_backend($1, 10000)", &[&claim]).await?;
            database.execute("SELECT pg_advisory_unlock(4711)", &[]).await?;
            assert_eq!(sessions().await?, 0_i64);
            stack.controllers[0].start(&[]).await?;

            die_in_a_claim(stack, &database, &body).await?;
            // It waits for the claim's end.
            database.batch_execute("SELECT pg_advisory_unlock(4711); DROP TRIGGER hold ON runners").await?;
            assert_eq!(sessions().await?, 1_i64);
            stack.controllers[0].start(&[]).await?;
            let answer = stack.controller_api(0)?.try_create("held", &body).await?;
            let view = stack.controller_api(0)?.wait_ended(text(&answer.body, "sessionId")?).await?;
            assert_eq!((&view["runnerId"], &view["exitCode"]), (&json!(standby), &json!(7)), "{view}");
            assert_eq!((sessions().await?, hits.count("held")), (1_i64, 1));
            Ok(())
        })
        .await
}

/// Asks for a session and kills the controller while the database holds its claim; gives the connection that does.
async fn die_in_a_claim(stack: &ClusterStack, database: &Client, body: &Value) -> Result<i32> {
    database.execute("SELECT pg_advisory_lock(4711)", &[]).await?;
    let api = stack.controller_api(0)?;
    let killed = async {
        let deadline = Instant::now() + PATIENCE;
        let claim = loop {
            if let Some(row) = database.query_opt(HELD, &[]).await? {
                break row.get(0);
            }
            anyhow::ensure!(Instant::now() < deadline, "no claim was held");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        stack.controllers[0].end("KILL").await?;
        anyhow::Ok(claim)
    };
    let (answer, claim) = tokio::join!(api.try_create("held", body), killed);
    anyhow::ensure!(answer.is_err(), "{answer:?}");
    claim
}

#[tokio::test]
async fn a_standby_is_marked_until_a_session_has_it_and_a_lost_one_is_replaced() -> Result<()> {
    with_pool(json!({"name": "default", "min": 2, "perMinute": 3000, "labels": {"team": "blue"}}))
        .gateways(1)
        .run(async |stack| {
            wait_until_idle(stack, 2).await?;
            let marked = standbys(stack).await?;
            assert_eq!(marked.len(), 2);
            for pod in &marked {
                assert_eq!(pod.annotations()["cluster-autoscaler.kubernetes.io/safe-to-evict"], "true");
                assert_eq!(
                    (pod.labels()["cliscale.dev/template"].as_str(), &*pod.labels()["team"]),
                    ("default", "blue")
                );
            }
            let (_, id, runner) = stack.running("sleep 1000").await?;
            assert!(marked.iter().any(|pod| pod.labels()["cliscale.dev/runner"] == runner), "{runner} is no standby");
            let labelled = |pod: &Pod| pod.labels().get("cliscale.dev/session") == Some(&id);
            let pod = stack.kubernetes.wait_for_pod(&runner, "labelled with its session", labelled).await?;
            assert_eq!(pod.annotations()["cluster-autoscaler.kubernetes.io/safe-to-evict"], "false");
            assert!(!pod.labels().contains_key("cliscale.dev/standby"), "{:?}", pod.labels());
            // Taken away while it waits, as a drain of its node would.
            wait_until_idle(stack, 2).await?;
            let lost = standbys(stack).await?.first().context("a standby")?.name_any();
            stack.kubernetes.api::<Pod>().delete(&lost, &DeleteParams::default().grace_period(0)).await?;
            let deadline = Instant::now() + PATIENCE;
            let replaced = async || {
                let now = standbys(stack).await?;
                anyhow::Ok(now.len() == 2 && now.iter().all(|pod| pod.name_any() != lost))
            };
            while !replaced().await? {
                anyhow::ensure!(Instant::now() < deadline, "a standby that was taken away is not replaced");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            wait_until_idle(stack, 2).await?;
            stack.delete(&id).await
        })
        .await
}

#[tokio::test]
async fn a_standby_whose_address_is_another_pods_by_now_gets_nothing_of_the_session() -> Result<()> {
    with_pool(json!({"name": "default", "min": 2, "perMinute": 3000}))
        .run(async |stack| {
            wait_until_idle(stack, 2).await?;
            let hits = Hits::start(stack.kubernetes.host).await?;
            let idle = stack.rows.idle_runners().await?;
            let [old, other] = &idle[..] else { anyhow::bail!("{idle:?}") };
            stack.rows.move_runner(old, other).await?;
            let entry = stack.run(&format!("{}; exit 4", hits.call("moved"))).await?;
            let view = stack.wait_ended(text(&entry, "sessionId")?).await?;
            assert_eq!((&view["exitCode"], &view["runnerId"]), (&json!(4), &json!(other)), "{view}");
            assert_eq!(hits.count("moved"), 1);
            stack.wait_until_freed(old).await
        })
        .await
}

#[tokio::test]
async fn a_changed_template_retires_its_standbys_while_sessions_go_on_starting() -> Result<()> {
    let changed = json!([{"name": "default", "min": 2, "perMinute": 3000, "labels": {"version": "two"}}]);
    with_pool(json!({"name": "default", "min": 2, "perMinute": 3000, "labels": {"version": "one"}}))
        .gateways(0)
        .run(async |stack| {
            wait_until_idle(stack, 2).await?;
            let file = stack.write_pools("changed", &changed)?;
            let claims = async {
                for _ in 0..6 {
                    let view = stack.wait_ended(text(&stack.run("exit 5").await?, "sessionId")?).await?;
                    assert_eq!(view["exitCode"], 5, "{view}");
                }
                anyhow::Ok(())
            };
            let upgrade = async {
                for controller in &stack.controllers {
                    controller.end("TERM").await?;
                    controller.start(&[("CLISCALE_POOLS", &file)]).await?;
                }
                anyhow::Ok(())
            };
            tokio::try_join!(claims, upgrade)?;
            let deadline = Instant::now() + PATIENCE;
            loop {
                let all = standbys(stack).await?;
                let new = all.iter().filter(|pod| pod.labels()["version"] == "two").count();
                if (new, all.len()) == (2, 2) {
                    return Ok(());
                }
                anyhow::ensure!(Instant::now() < deadline, "{new} of {} standbys are new", all.len());
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await
}
