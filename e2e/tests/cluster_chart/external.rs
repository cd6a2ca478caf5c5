//! With a database outside of the cluster: from `helm install` to the whole job through the Ingress.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::ListParams;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::api::Api;
use testkit::cluster::chart::{self, IngressProxy, Installation, RELEASE};
use testkit::cluster::rows::Rows;
use testkit::cluster::whole_job;
use testkit::connector::Connector;
use testkit::stack::SOON;

use crate::{first_terminal, objects, rights, rollout, secure, text};

#[tokio::test]
async fn from_install_to_the_whole_job_through_the_ingress_and_on_through_restarts() -> Result<()> {
    chart::run(async |installation| {
        let database = installation.external_database().await?;
        let values = json!({ "database": { "url": database.url } });
        let began = Instant::now();
        let ran = installation.deploy(&["install"], &[&values]).await?;
        let (ready, notes) = (ran.took, ran.succeeded()?);
        let proxy = installation.proxy().await?;
        let connector = Connector::default();
        let api = installation.api(&connector, &proxy.url()).await?;
        let (entry, seconds) = first_terminal(installation, &api).await?;
        println!(
            "external database: install_to_ready_seconds={:.1} install_to_first_terminal_seconds={:.1} \
             creation_to_first_terminal_seconds={seconds:.1}",
            ready.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
        api.delete(text(&entry, "sessionId")?).await?;
        assert!(notes.contains("kubectl") && notes.contains("cliscale-api-key"), "{notes}");
        migrated_before_the_servers_started(installation).await?;
        again_changes_nothing(installation, &values).await?;

        let urls = whole_job::every_code_url(&installation.code)?;
        try_join_all(urls.iter().map(|url| whole_job::by_a_client(&api, &connector, url))).await?;
        if whole_job::has_browser("the page through the Ingress")? {
            whole_job::in_a_browser(&api, &installation.code, &installation.logs_dir()).await?;
        }
        secure::check(installation, &proxy, &urls[3]).await?;
        nothing_else_is_reached(&proxy, &api).await?;
        rights::check(installation).await?;
        no_job_is_left(installation).await?;

        let rows = Rows::connect(&database.database).await?;
        let old = rows.count("sessions").await?;
        rows.age(Duration::from_secs(30 * 24 * 3600)).await?;
        // Controllers prune as soon as they start.
        rollout::restart_both_in_use(installation, &api).await?;
        wait_until_pruned(&rows, old).await?;

        installation.helm(&["uninstall", RELEASE, "--wait", "--timeout", "150s"]).await?.succeeded()?;
        objects::wait_until_left(installation, |left| left.is_empty()).await
    })
    .await
}

async fn migrated_before_the_servers_started(installation: &Installation) -> Result<()> {
    let (succeeded, log) = objects::migration(installation).await?;
    assert!(succeeded && log.contains("V1__initial"), "{log}");
    for component in ["controller", "gateway"] {
        for pod in objects::pods(installation, component).await? {
            let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
            let restarts: i32 = containers.into_iter().flatten().map(|container| container.restart_count).sum();
            assert_eq!(restarts, 0, "{} was restarted", pod.name_any());
        }
    }
    Ok(())
}

/// A second installation of the same name is refused; an upgrade to the same changes no pod and no secret.
async fn again_changes_nothing(installation: &Installation, values: &Value) -> Result<()> {
    let secrets = objects::secrets(installation).await?;
    let pods = objects::serving(installation).await?;
    let complaint = installation.deploy(&["install"], &[values]).await?.failed()?;
    assert!(complaint.contains("cannot re-use a name that is still in use"), "{complaint}");
    let ran = installation.deploy(&["upgrade", "--install"], &[values]).await?;
    println!("upgrade to the same: seconds={:.1}", ran.took.as_secs_f64());
    ran.succeeded()?;
    assert_eq!(objects::secrets(installation).await?, secrets);
    assert_eq!(objects::serving(installation).await?, pods);
    Ok(())
}

/// The Ingress leads to the API and to terminals alone.
async fn nothing_else_is_reached(proxy: &IngressProxy, api: &Api) -> Result<()> {
    for (path, wanted) in [
        ("/api/sessions", 200),
        ("/.well-known/jwks.json", 200),
        ("/openapi.json", 200),
        ("/docs", 200),
        ("/", 404),
        ("/metrics", 404),
        ("/healthz", 404),
        ("/readyz", 404),
        ("/internal/gateway/tokens", 404),
        ("/api/../metrics", 404),
        ("/api/%2e%2e/internal/runners/x/ready", 404),
        ("/ws/%2e%2e/metrics", 404),
        ("//internal/runners/x/ready", 404),
        ("/apis", 404),
        ("/wsx", 404),
    ] {
        // As written: a client's own library would resolve dots.
        let status = raw_status(proxy, path, &api.key).await?;
        assert_eq!(status, wanted, "{path}");
    }
    assert_eq!(raw_status(proxy, "/api/sessions", "another").await?, 401);
    // What is too long is said so by the API, not by the proxy.
    let long = json!({ "code_url": "https://code.example/a.zip", "command": "x".repeat(1_300_000) });
    let (status, answer) = api.call(Method::POST, "/api/sessions", Some(long)).await?;
    assert_eq!((status, answer["status"].as_u64()), (413, Some(413)), "{answer}");
    Ok(())
}

async fn raw_status(proxy: &IngressProxy, path: &str, key: &str) -> Result<u16> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = Connector::default().connect(&proxy.url()).await?;
    let host = proxy.http;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let head = String::from_utf8_lossy(&answer);
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")
}

/// The Jobs' time to live is Kubernetes' own business.
async fn no_job_is_left(installation: &Installation) -> Result<()> {
    let runners = ListParams::default().labels("app.kubernetes.io/component=runner");
    let deadline = Instant::now() + SOON;
    loop {
        let jobs = installation.kubernetes.api::<Job>().list(&runners).await?.items;
        if jobs.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = jobs.iter().map(ResourceExt::name_any).collect();
        anyhow::ensure!(Instant::now() < deadline, "Jobs outlived their time: {names:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Of the sessions that had ended long ago none is left; `old`: how many there were.
async fn wait_until_pruned(rows: &Rows, old: i64) -> Result<()> {
    anyhow::ensure!(old >= 7, "only {old} sessions were there");
    let deadline = Instant::now() + SOON;
    while rows.count_ended_before(Duration::from_secs(24 * 3600)).await? > 0 {
        anyhow::ensure!(Instant::now() < deadline, "old sessions are not pruned");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
