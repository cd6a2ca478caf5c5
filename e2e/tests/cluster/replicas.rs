//! Several controllers and gateways side by side: tokens, keys, and restarts one by one.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use controller::keys::{KeyRing, PUBLISH_DELAY};
use futures_util::future::{join_all, try_join_all};
use serde_json::Value;
use session::frames::TTY_R1;
use testkit::cluster::visitors::{ECHO, keep_creating, sit_at_a_terminal};
use testkit::cluster::{ClusterOptions, ClusterStack};
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

use crate::text;

/// Opens an entry's terminal at one gateway itself; answers whether it was let in.
async fn enters(stack: &ClusterStack, entry: &Value, gateway: usize) -> Result<bool> {
    let url = stack.through_gateway(text(entry, "webSocketUrl")?, gateway)?;
    let mut client = TerminalClient::connect(&url, &[], &[TTY_R1]).await?;
    let told = |client: &TerminalClient| client.tickets.is_some() || client.closed.is_some();
    client.wait_until(SOON, "tickets or a refusal", told).await?;
    Ok(client.tickets.is_some())
}

#[tokio::test]
async fn a_token_of_one_controller_enters_by_the_other_gateway_once() -> Result<()> {
    ClusterOptions::default()
        .run(async |stack| {
            let (_, id, _) = stack.running("cat").await?;
            for (controller, gateway) in [(0, 1), (1, 0)] {
                let entry = stack.controller_api(controller)?.token(&id, "operator").await?;
                assert!(enters(stack, &entry, gateway).await?, "controller {controller}, gateway {gateway}");
                for gateway in [0, 1] {
                    assert!(!enters(stack, &entry, gateway).await?, "a used token entered by gateway {gateway}");
                }
            }
            Ok(())
        })
        .await
}

#[tokio::test]
async fn of_a_hundred_simultaneous_uses_across_both_gateways_exactly_one_enters() -> Result<()> {
    ClusterOptions::default()
        .run(async |stack| {
            let (entry, _, _) = stack.running("cat").await?;
            let attempts = (0..100).map(|attempt| enters(stack, &entry, attempt % 2));
            let entered = join_all(attempts).await.into_iter().collect::<Result<Vec<bool>>>()?;
            assert_eq!(entered.iter().filter(|entered| **entered).count(), 1);
            Ok(())
        })
        .await
}

/// The id of the key that signed a token.
fn signer(entry: &Value) -> Result<String> {
    let header = text(entry, "sessionJWT")?.split('.').next().context("a header")?;
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    Ok(text(&header, "kid")?.to_owned())
}

/// Adds a key to the ring as if it had been there for nearly as long as a key must be before it signs.
fn add_key(keys: &Path, signs_in: Duration) -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    KeyRing::open_or_create(elsewhere.path())?;
    let mut files = fs::read_dir(elsewhere.path())?.flatten().map(|entry| entry.path());
    let pem = files.find(|path| path.extension().is_some_and(|extension| extension == "pem")).context("a key")?;
    let name = pem.file_name().and_then(|name| name.to_str()).context("a name")?;
    let unfinished = keys.join(format!(".{name}.new"));
    fs::copy(&pem, &unfinished)?;
    let since = SystemTime::now() - (PUBLISH_DELAY - signs_in);
    fs::File::options().write(true).open(&unfinished)?.set_modified(since)?;
    Ok(fs::rename(&unfinished, keys.join(name))?)
}

#[tokio::test]
async fn a_new_signing_key_takes_over_without_a_refused_token() -> Result<()> {
    ClusterOptions::default()
        .run(async |stack| {
            let (first, id, _) = stack.running("cat").await?;
            let old = signer(&first)?;
            let kept = stack.token(&id, "viewer").await?;
            // Both controllers read the folder every five seconds.
            add_key(&stack.keys_dir(), Duration::from_secs(8))?;
            let deadline = Instant::now() + 2 * SOON;
            let mut changed = [false, false];
            while changed != [true, true] {
                assert!(Instant::now() < deadline, "the new key never signs: {changed:?}");
                for (controller, changed) in changed.iter_mut().enumerate() {
                    for gateway in [0, 1] {
                        let entry = stack.controller_api(controller)?.token(&id, "viewer").await?;
                        assert!(enters(stack, &entry, gateway).await?, "refused: {}", signer(&entry)?);
                        *changed |= signer(&entry)? != old;
                    }
                }
            }
            assert_eq!(signer(&kept)?, old);
            assert!(enters(stack, &kept, 0).await?, "a token of the old key was refused before its time");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn gateways_admit_with_the_keys_that_they_know_while_no_controller_is_there() -> Result<()> {
    ClusterOptions::default()
        .run(async |stack| {
            let (_, id, _) = stack.running("cat").await?;
            let entries = try_join_all((0..4).map(|_| stack.token(&id, "operator"))).await?;
            for controller in &stack.controllers {
                controller.end("KILL").await?;
            }
            for (index, entry) in entries.iter().enumerate() {
                assert!(enters(stack, entry, index % 2).await?, "refused without a controller");
            }
            Ok(())
        })
        .await
}

/// Each replica in turn: told to stop, seen to go, started again.
async fn restart_one_by_one(stack: &ClusterStack) -> Result<()> {
    for controller in &stack.controllers {
        controller.end("TERM").await?;
        controller.start(&[]).await?;
    }
    for gateway in &stack.gateways {
        gateway.end("TERM").await?;
        gateway.start(&[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn restarts_one_by_one_break_no_creation_and_lose_no_terminal() -> Result<()> {
    ClusterOptions::default()
        .run(async |stack| {
            let terminals = try_join_all((0..2).map(|_| stack.running(ECHO))).await?;
            let over = AtomicBool::new(false);
            let sitting = try_join_all(terminals.iter().map(|(entry, _, _)| sit_at_a_terminal(stack, entry, &over)));
            let body = stack.request("echo hello; exit 5");
            let creating = try_join_all(["0", "1"].map(|lane| keep_creating(stack, lane, &body, &over)));
            let restarting = async {
                let restarted = restart_one_by_one(stack).await;
                over.store(true, Ordering::Relaxed);
                restarted
            };
            let (returns, created, ()) = tokio::try_join!(sitting, creating, restarting)?;
            println!("terminals came back {returns:?} times; created and asked again {created:?}");
            assert!(created.iter().all(|created| created.count > 0), "{created:?}");
            assert!(created.iter().flat_map(|created| &created.again).all(|answer| answer == "503"), "{created:?}");
            // Once for each gateway, and perhaps once more for one that was just about to stop.
            assert!(returns.iter().all(|returns| *returns <= 3), "{returns:?}");
            for (_, id, _) in &terminals {
                assert_eq!(stack.show(id).await?["state"], "running");
            }
            Ok(())
        })
        .await
}
