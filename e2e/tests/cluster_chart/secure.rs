//! The same installation behind TLS: addresses that say so, and a terminal by them.

use anyhow::Result;
use testkit::cluster::chart::proxy::Pair;
use testkit::cluster::chart::{IngressProxy, Installation};
use testkit::cluster::whole_job;
use testkit::connector::Connector;

use crate::text;

/// The proxy ends TLS, and what the API answers leads through it; who does not trust it does not get in.
pub async fn check(installation: &Installation, proxy: &IngressProxy, code_url: &str) -> Result<()> {
    let trusting = Connector::trusting(&proxy.authority);
    let api = installation.api(&trusting, &proxy.secure_url()).await?;
    whole_job::by_a_client(&api, &trusting, code_url).await?;
    if whole_job::has_browser("the page behind TLS")? {
        whole_job::in_a_browser(&api, &installation.code, &installation.logs_dir()).await?;
    }
    let entry = api.create(installation.request("exec cat")).await?;
    let base = proxy.https.to_string();
    assert!(text(&entry, "terminalUrl")?.starts_with(&format!("https://{base}/ws/")), "{entry}");
    assert!(text(&entry, "webSocketUrl")?.starts_with(&format!("wss://{base}/ws/")), "{entry}");
    let page = trusting.http()?.build()?.get(text(&entry, "terminalUrl")?).send().await?;
    assert_eq!((page.status().as_u16(), page.url().scheme()), (200, "https"));
    api.delete(text(&entry, "sessionId")?).await?;
    let stranger = Connector::trusting(&Pair::make(&["other".to_owned()])?.authority);
    assert!(stranger.connect(&proxy.secure_url()).await.is_err());
    Ok(())
}
