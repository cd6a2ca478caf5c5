//! Both Deployments restarted pod by pod while they are used.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use futures_util::future::try_join_all;
use testkit::api::Api;
use testkit::cluster::chart::{Installation, RELEASE};
use testkit::cluster::visitors::{ECHO, keep_creating, sit_at_a_terminal};

use crate::objects;

/// Restarts both, with people at terminals and sessions created all the time: no creation fails that is tried once
/// more, and every terminal comes back to where it was.
pub async fn restart_both_in_use(installation: &Installation, api: &Api) -> Result<()> {
    let terminals = try_join_all((0..2).map(|_| api.create(installation.request(ECHO)))).await?;
    let over = AtomicBool::new(false);
    let sitting = try_join_all(terminals.iter().map(|entry| sit_at_a_terminal(api, entry, &over)));
    let body = installation.request("echo hello; exit 5");
    let creating = try_join_all(["0", "1"].map(|lane| keep_creating(api, lane, &body, &over)));
    let restarting = async {
        let restarted = restart(installation).await;
        over.store(true, Ordering::Relaxed);
        restarted
    };
    let (returns, created, seconds) = tokio::try_join!(sitting, creating, restarting)?;
    assert!(returns.iter().all(|returns| *returns > 0), "no gateway was replaced: {returns:?}");
    println!("rollout: seconds={seconds:.1} created={created:?} returns={returns:?}");
    assert!(created.iter().all(|created| created.count > 0), "{created:?}");
    assert!(returns.iter().all(|returns| *returns <= 4), "{returns:?}");
    for entry in &terminals {
        let id = crate::text(entry, "sessionId")?;
        assert_eq!(api.show(id).await?["state"], "running");
        api.delete(id).await?;
    }
    Ok(())
}

async fn restart(installation: &Installation) -> Result<f64> {
    let began = Instant::now();
    let deployments = ["controller", "gateway"].map(|part| format!("deployment/{RELEASE}-{part}"));
    let [controller, gateway] = &deployments;
    installation.kubectl(&["rollout", "restart", controller, gateway]).await?.succeeded()?;
    for deployment in &deployments {
        installation.kubectl(&["rollout", "status", deployment, "--timeout", "120s"]).await?.succeeded()?;
    }
    objects::wait_until_settled(installation).await?;
    Ok(began.elapsed().as_secs_f64())
}
