//! An operator's way with detours: a first install that fails, another image for runners, a name and TLS later.

use anyhow::Result;
use serde_json::{Value, json};
use testkit::cluster::chart::{self, Installation};
use testkit::cluster::whole_job;
use testkit::connector::Connector;
use url::Url;

use crate::{domain, images, limits, objects};

#[tokio::test]
async fn a_failed_install_is_repaired_and_then_any_image_runs_limits_hold_and_a_name_comes_later() -> Result<()> {
    chart::run(async |installation| {
        let database = installation.external_database().await?;
        let values = json!({
            "database": { "url": database.url },
            "gateway": { "replicas": 1 },
            "runner": { "installer": { "enabled": true }, "image": { "repository": "debian" } },
            "sessions": { "createRate": format!("{}/min", limits::RATE) },
        });
        a_wrong_password_stops_the_install(installation, &values, &database.url).await?;
        installation.deploy(&["upgrade", "--install"], &[&values]).await?.succeeded()?;
        let proxy = installation.proxy().await?;
        let api = installation.api(&Connector::default(), &proxy.url()).await?;
        let ran = images::archives_run(installation, &api);
        tokio::try_join!(ran, images::repositories_name_git(installation, &api))?;
        limits::clients_are_told_apart(installation, &proxy, &api.key).await?;
        let urls = whole_job::every_code_url(&installation.code)?;
        domain::comes_later(installation, &values, &urls[3]).await
    })
    .await
}

/// The migration says why, and not what the password was; nothing else was made.
async fn a_wrong_password_stops_the_install(installation: &Installation, values: &Value, url: &str) -> Result<()> {
    let mut url = Url::parse(url)?;
    url.set_password(Some("another-password")).expect("a URL with a host");
    let ran = installation.deploy(&["install"], &[values, &json!({ "database": { "url": url.as_str() } })]).await?;
    println!("failed install: seconds={:.1}", ran.took.as_secs_f64());
    let complaint = ran.failed()?;
    assert!(complaint.contains("failed pre-install"), "{complaint}");
    let (succeeded, log) = objects::migration(installation).await?;
    assert!(!succeeded && log.contains("password authentication failed"), "{log}");
    assert!(!log.contains("another-password"), "the password is in the log");
    assert!(objects::serving(installation).await?.is_empty());
    Ok(())
}
