//! Stopping, killing and starting again: no session stays `running` for ever, and no process of one lives on.

use std::path::Path;

use anyhow::Result;
use session::frames::TTY_R1;
use testkit::stack::{SOON, Stack, is_running, wait_until};
use testkit::terminal_client::TerminalClient;

/// Starts a session whose command leaves a daemon behind; answers the session's id and the pids of both.
async fn session_with_daemon(stack: &Stack, folder: &Path) -> Result<(String, Vec<u32>)> {
    let (own, daemon) = (folder.join("own"), folder.join("daemon"));
    let command = format!(
        "(setsid sh -c 'echo $$ > {daemon}.tmp; mv {daemon}.tmp {daemon}; exec sleep 1000' >/dev/null 2>&1 &) ; \
         echo $$ > {own}.tmp; mv {own}.tmp {own}; exec sleep 1000",
        daemon = daemon.display(),
        own = own.display()
    );
    let entry = stack.run(&command).await?;
    wait_until("the command runs", || own.exists() && daemon.exists()).await;
    let id = entry["sessionId"].as_str().expect("an id").to_owned();
    stack.wait_for(&id, "running", |view| view["state"] == "running").await?;
    let pid = |path: &Path| -> Result<u32> { Ok(std::fs::read_to_string(path)?.trim().parse()?) };
    let pids = vec![pid(&own)?, pid(&daemon)?];
    assert!(pids.iter().all(|&pid| is_running(pid)));
    Ok((id, pids))
}

async fn gone(pids: &[u32]) {
    wait_until("every process of the session is gone", || !pids.iter().any(|&pid| is_running(pid))).await;
}

#[tokio::test]
async fn a_stop_ends_sessions_and_their_whole_process_tree() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let stack = Stack::options().data_dir(&data).start().await?;
    let (id, pids) = session_with_daemon(&stack, folder.path()).await?;
    assert!(stack.stop().await?.success());
    gone(&pids).await;
    let stack = Stack::options().data_dir(&data).start().await?;
    let view = stack.show(&id).await?;
    assert_eq!((view["state"].as_str(), view["endReason"].as_str()), (Some("ended"), Some("cancelled")), "{view}");
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn after_kill_9_nothing_lives_on_and_the_session_ends_at_the_next_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let stack = Stack::options().data_dir(&data).start().await?;
    let key = stack.key.clone();
    let (id, pids) = session_with_daemon(&stack, folder.path()).await?;
    stack.kill().await?;
    gone(&pids).await;
    let stack = Stack::options().data_dir(&data).start().await?;
    assert_eq!(stack.key, key, "the API key survives a restart");
    let view = stack.wait_ended(&id).await?;
    assert_eq!(view["endReason"], "runner_lost", "{view}");
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_runner_ends_its_session_and_its_command() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start().await?;
    let (id, pids) = session_with_daemon(&stack, folder.path()).await?;
    let runner = parent_of(pids[0]);
    testkit::stack::signal(runner, "KILL").await?;
    let view = stack.wait_ended(&id).await?;
    assert_eq!(view["endReason"], "runner_lost", "{view}");
    gone(&pids).await;
    // The next session is not harmed.
    let next = stack.run("exit 3").await?;
    assert_eq!(stack.wait_ended(next["sessionId"].as_str().expect("an id")).await?["exitCode"], 3);
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn runner_and_server_killed_at_once_leave_nothing_after_the_next_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let stack = Stack::options().data_dir(&data).start().await?;
    let (id, pids) = session_with_daemon(&stack, folder.path()).await?;
    let (runner, server) = (parent_of(pids[0]), stack.pid());
    // Stopped first, so that neither can act on the other's death.
    for name in ["STOP", "KILL"] {
        for pid in [runner, server] {
            testkit::stack::signal(pid, name).await?;
        }
    }
    wait_until("both are gone", || !is_running(runner)).await;
    drop(stack);
    let stack = Stack::options().data_dir(&data).start().await?;
    gone(&pids).await;
    assert_eq!(stack.wait_ended(&id).await?["endReason"], "runner_lost");
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_open_terminal_hears_of_the_stop() -> Result<()> {
    let stack = Stack::start().await?;
    let entry = stack.run("cat").await?;
    let mut client = TerminalClient::connect(entry["webSocketUrl"].as_str().expect("a URL"), &[], &[TTY_R1]).await?;
    client.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await?;
    let stopping = tokio::spawn(stack.stop());
    let code = client.wait_closed(SOON).await?;
    // The session's own end, or the gateway's drain: both are told on a frame boundary.
    assert!(matches!(code, Some(1000 | 1012)), "{code:?} {:?}", client.exit);
    assert!(stopping.await??.success());
    Ok(())
}

fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("PPid");
    line.trim().parse().expect("a pid")
}
