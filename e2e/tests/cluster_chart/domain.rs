//! A name and its certificate, given to an installation that had neither.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use testkit::cluster::chart::Installation;
use testkit::cluster::chart::proxy::Pair;
use testkit::cluster::whole_job;
use testkit::connector::Connector;

use crate::{objects, text};

const NAME: &str = "terminal.test";
const CERTIFICATE: &str = "terminal-tls";

/// An upgrade brings both without replacing a pod. From then on it is the name alone that leads in, and by TLS.
pub async fn comes_later(installation: &Installation, values: &Value, code_url: &str) -> Result<()> {
    let pair = Pair::make(&[NAME.to_owned()])?;
    let certificate = json!({
        "metadata": { "name": CERTIFICATE },
        "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": pair.authority },
    });
    installation.kubernetes.create::<Secret>(certificate).await?;
    let pods = objects::serving(installation).await?;
    let ingress = json!({ "ingress": { "hostname": NAME, "tls": { "enabled": true, "secretName": CERTIFICATE } } });
    installation.deploy(&["upgrade"], &[values, &ingress]).await?.succeeded()?;
    assert_eq!(objects::serving(installation).await?, pods);

    let proxy = installation.proxy().await?;
    let connector = Connector::trusting(&pair.authority).knowing(NAME, proxy.https.ip());
    let base = format!("{NAME}:{}", proxy.https.port());
    let api = installation.api(&connector, &format!("https://{base}")).await?;
    whole_job::by_a_client(&api, &connector, code_url).await?;
    let entry = api.create(installation.request("true")).await?;
    assert!(text(&entry, "terminalUrl")?.starts_with(&format!("https://{base}/ws/")), "{entry}");

    let client = connector.http()?.redirect(Policy::none()).build()?;
    let plain = client.get(format!("http://{NAME}:{}/docs", proxy.http.port())).send().await?;
    let location = plain.headers().get("location").and_then(|location| location.to_str().ok());
    assert_eq!((plain.status().as_u16(), location), (308, Some(&*format!("https://{base}/docs"))));
    let nameless = client.get(format!("{}/docs", proxy.url())).send().await?;
    assert_eq!(nameless.status(), 404);
    Ok(())
}
