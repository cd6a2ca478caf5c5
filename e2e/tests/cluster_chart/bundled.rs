//! With the bundled PostgreSQL: an upgrade while sessions run, one that fails, the way back, and the end.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use serde_json::{Value, json};
use session::frames::TTY_R1;
use testkit::api::Api;
use testkit::cluster::chart::{self, Installation, RELEASE};
use testkit::cluster::rows::Rows;
use testkit::cluster::visitors::{ECHO, sit_at_a_terminal};
use testkit::connector::Connector;
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

use crate::{first_terminal, objects, text};

/// A variable of the gateways that upgrades change.
const MARK: &str = "CLISCALE_E2E_MARK";

#[tokio::test]
async fn a_session_survives_upgrades_good_and_bad_and_the_way_back_until_all_is_removed() -> Result<()> {
    chart::run(async |installation| {
        let database = installation.bundled_database().await?;
        let ran = installation.deploy(&["install"], &[&database, &marked("first")]).await?;
        let ready = ran.took;
        ran.succeeded()?;
        // The pods did it themselves: before the database was there, no hook could have.
        assert!(objects::pods(installation, "migration").await?.is_empty());
        let proxy = installation.proxy().await?;
        let api = installation.api(&Connector::default(), &proxy.url()).await?;
        let (entry, seconds) = first_terminal(installation, &api).await?;
        println!(
            "bundled database: install_to_ready_seconds={:.1} creation_to_first_terminal_seconds={seconds:.1}",
            ready.as_secs_f64()
        );
        api.delete(text(&entry, "sessionId")?).await?;

        let session = api.create(installation.request(ECHO)).await?;
        let over = AtomicBool::new(false);
        let sitting = sit_at_a_terminal(&api, &session, &over);
        let changing = async {
            let changed = change_and_go_back(installation, &api, &session, &database).await;
            over.store(true, Ordering::Relaxed);
            changed
        };
        let (returns, ()) = tokio::try_join!(sitting, changing)?;
        println!("the terminal came back {returns} times");
        assert!((2..=6).contains(&returns), "gateways were replaced twice");
        let runner = same_screen(&api, &session).await?;
        nothing_is_left_when_it_is_removed(installation, &runner).await
    })
    .await
}

fn marked(mark: &str) -> Value {
    json!({ "gateway": { "extraEnv": [{ "name": MARK, "value": mark }] } })
}

async fn mark(installation: &Installation) -> Result<String> {
    let gateway = installation.kubernetes.api::<Deployment>().get(&format!("{RELEASE}-gateway")).await?;
    let pod = gateway.spec.context("a spec")?.template.spec.context("a pod")?;
    let variables = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
    let mark = variables.into_iter().find(|variable| variable.name == MARK).and_then(|mark| mark.value.clone());
    mark.context("no mark")
}

async fn change_and_go_back(installation: &Installation, api: &Api, session: &Value, database: &Value) -> Result<()> {
    let secrets = objects::secrets(installation).await?;
    let unused = api.token(text(session, "sessionId")?, "viewer").await?;
    upgrade(installation, database).await?;
    assert_eq!(objects::secrets(installation).await?, secrets);
    enters(&unused).await.context("with a token from before the upgrade")?;
    a_bad_upgrade_changes_nothing(installation, api, database).await?;
    let ran = installation.helm(&["rollback", RELEASE, "1", "--wait", "--timeout", "150s"]).await?;
    println!("rollback: seconds={:.1}", ran.took.as_secs_f64());
    ran.succeeded()?;
    objects::wait_until_settled(installation).await?;
    assert_eq!(mark(installation).await?, "first");
    assert_eq!(objects::secrets(installation).await?, secrets);
    sessions_run(installation, api).await
}

/// A changed value reaches the pods, after a migration, and the database's own pod is left alone.
async fn upgrade(installation: &Installation, database: &Value) -> Result<()> {
    let postgres = uids(installation, "postgresql").await?;
    let ran = installation.deploy(&["upgrade"], &[database, &marked("second")]).await?;
    println!("upgrade: seconds={:.1}", ran.took.as_secs_f64());
    ran.succeeded()?;
    objects::wait_until_settled(installation).await?;
    assert_eq!(mark(installation).await?, "second");
    assert_eq!(uids(installation, "postgresql").await?, postgres);
    let (succeeded, log) = objects::migration(installation).await?;
    assert!(succeeded, "{log}");
    Ok(())
}

/// An upgrade whose migration fails stops there: its log tells why, and what was there goes on serving.
async fn a_bad_upgrade_changes_nothing(installation: &Installation, api: &Api, database: &Value) -> Result<()> {
    let serving = objects::serving(installation).await?;
    let rows = Rows::connect_to(&database_url(installation).await?).await?;
    // As if somebody had used the number for something else.
    let name = rows.rename_last_migration("something_else").await?;
    let ran = installation.deploy(&["upgrade"], &[database, &marked("third")]).await?;
    println!("failed upgrade: seconds={:.1}", ran.took.as_secs_f64());
    let complaint = ran.failed()?;
    assert!(complaint.contains("pre-upgrade hooks failed"), "{complaint}");
    let (succeeded, log) = objects::migration(installation).await?;
    assert!(!succeeded && log.contains("something_else"), "{log}");
    assert_eq!(objects::serving(installation).await?, serving);
    assert_eq!(mark(installation).await?, "second");
    sessions_run(installation, api).await?;
    rows.rename_last_migration(&name).await?;
    Ok(())
}

async fn uids(installation: &Installation, component: &str) -> Result<Vec<Option<String>>> {
    let pods = objects::pods(installation, component).await?;
    anyhow::ensure!(!pods.is_empty(), "no pods of {component}");
    Ok(pods.iter().map(ResourceExt::uid).collect())
}

/// The release's own database as this machine reaches it.
async fn database_url(installation: &Installation) -> Result<String> {
    let service = installation.kubernetes.api::<Service>().get(&format!("{RELEASE}-postgresql")).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).filter(|address| address != "None");
    let address = match address {
        Some(address) => address,
        None => {
            let pods = objects::pods(installation, "postgresql").await?;
            let status = pods.into_iter().next().and_then(|pod| pod.status);
            status.and_then(|status| status.pod_ip).context("PostgreSQL's address")?
        }
    };
    let password = installation.secret(&format!("{RELEASE}-postgresql"), "password").await?;
    Ok(format!("postgres://cliscale:{password}@{address}:5432/cliscale?sslmode=disable"))
}

async fn sessions_run(installation: &Installation, api: &Api) -> Result<()> {
    let entry = api.create(installation.request("exit 4")).await?;
    let view = api.wait_ended(text(&entry, "sessionId")?).await?;
    assert_eq!(view["exitCode"], 4, "{view}");
    Ok(())
}

/// A token lets in once.
async fn enters(entry: &Value) -> Result<TerminalClient> {
    let mut client = TerminalClient::connect(text(entry, "webSocketUrl")?, &[], &[TTY_R1]).await?;
    client.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await?;
    Ok(client)
}

/// Whoever comes new sees what was there before everything. Answers the session's runner.
async fn same_screen(api: &Api, session: &Value) -> Result<String> {
    let id = text(session, "sessionId")?;
    let view = api.show(id).await?;
    assert_eq!(view["state"], "running", "{view}");
    let entry = api.token(id, "viewer").await?;
    let mut client = enters(&entry).await?;
    client.wait_for("got line-1-of-mine", SOON).await?;
    Ok(text(&view, "runnerId")?.to_owned())
}

/// Uninstalling takes everything away but the Jobs of sessions that run, which go on to their end or are deleted.
async fn nothing_is_left_when_it_is_removed(installation: &Installation, runner: &str) -> Result<()> {
    let ran = installation.helm(&["uninstall", RELEASE, "--wait", "--timeout", "150s"]).await?;
    println!("uninstall: seconds={:.1}", ran.took.as_secs_f64());
    ran.succeeded()?;
    objects::wait_until_left(installation, |left| left.iter().all(|name| name.contains(runner))).await?;
    assert_eq!(objects::left(installation).await?.len(), 2, "the Job and the pod of a session that runs");
    let runners = format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=runner");
    installation.kubectl(&["delete", "jobs", "--selector", &runners]).await?.succeeded()?;
    objects::wait_until_left(installation, |left| left.is_empty()).await
}
