//! What the controller hears, also when it was away, and what a runner does when it is not wanted.

#[path = "reports/recording.rs"]
mod recording;
mod rig;

use std::time::Duration;

use http::StatusCode;
use rig::{Rig, SOON, Setup, eventually, is_alive};
use session::frames::TTY_R1;
use session::runner_api::{CLIENT_HEADER, PROTOCOL_VERSION, ROLE_HEADER};
use session::{EndReason, RunnerId, SessionId, Stage};
use testkit::fake_controller::FakeController;
use testkit::terminal_client::TerminalClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_calls_home_with_its_address_and_a_secret() {
    let rig = Rig::start().await;
    let ready = rig.controller.heard().ready.unwrap();
    assert_eq!(ready.protocol, PROTOCOL_VERSION);
    assert_eq!(ready.address.ip().to_string(), "127.0.0.1");
    assert_eq!(ready.secret.expose().len(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unspecified_listening_address_is_told_as_that_of_the_connection() {
    let rig = Rig::with(Setup { flags: vec!["--listen=0.0.0.0:0".into()], ..Setup::default() }).await;
    assert!(rig.address.starts_with("127.0.0.1:"), "{}", rig.address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_assigned_once() {
    let rig = Rig::start().await;
    let assignment = rig.assignment(rig.spec("read x"));
    assert_eq!(rig.controller.assign(&assignment).await.unwrap(), 200);
    assert_eq!(rig.controller.assign(&assignment).await.unwrap(), 200);
    let mut other = assignment.clone();
    other.epoch = 2;
    assert_eq!(rig.controller.assign(&other).await.unwrap(), 409);
    other = assignment.clone();
    other.session = SessionId::new();
    assert_eq!(rig.controller.assign(&other).await.unwrap(), 409);
    assert_eq!(rig.controller.end(other.session, EndReason::Cancelled).await.unwrap(), 409);
    let url = format!("http://{}/assign", rig.address);
    let unsigned = testkit::plain_http::send(http::Method::PUT, &url, Some("wrong"), &assignment).await.unwrap();
    assert_eq!(unsigned, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_before_the_session_waits_for_it_for_a_moment() {
    let rig = Rig::start().await;
    let bearer = rig.bearer();
    let headers = [("authorization", bearer.as_str()), (ROLE_HEADER, "operator"), (CLIENT_HEADER, "a")];
    let Err(refused) = TerminalClient::connect(&rig.ws_url(), &headers, &[TTY_R1]).await else { panic!("let in") };
    assert!(refused.to_string().contains("409"), "{refused:#}");
    let assigned = async {
        // It is there by then; if it is not, this proves less.
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.assign(rig.spec("echo here; read x")).await;
    };
    let (mut operator, ()) = tokio::join!(rig.operator("a"), assigned);
    operator.wait_for("here", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stage_is_lost_while_the_controller_is_away() {
    let rig = Rig::start().await;
    rig.assign(rig.spec("read x; echo done")).await;
    rig.controller.wait_stage(Stage::Running).await.unwrap();
    rig.controller.answer_with(Some(StatusCode::SERVICE_UNAVAILABLE));
    // The session does not wait for the controller.
    let mut operator = rig.operator("a").await;
    operator.wait_until(SOON, "a start", |operator| !operator.starts.is_empty()).await.unwrap();
    operator.type_text("\n").await.unwrap();
    operator.wait_closed(SOON).await.unwrap();
    assert!(operator.has("done"));
    rig.controller.wait_for(SOON, |heard| (heard.turned_away > 1).then_some(())).await.unwrap();
    use Stage::*;
    assert_eq!(rig.controller.heard().stage_names(), [Fetching, Running]);
    rig.controller.answer_with(None);
    rig.ended().await;
    assert_eq!(rig.controller.heard().stage_names(), [Fetching, Running, Ended]);
}

/// A session that would leave its trace, and the file where.
fn traced(rig: &Rig) -> (session::SessionSpec, std::path::PathBuf) {
    (rig.spec("echo ran >> $HOME/trace"), rig.folder.path().join("home/trace"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_is_begun_before_the_controller_has_noted_whose_the_session_is() {
    let rig = Rig::start().await;
    rig.controller.answer_with(Some(StatusCode::SERVICE_UNAVAILABLE));
    let (spec, trace) = traced(&rig);
    rig.assign(spec).await;
    rig.controller.wait_for(SOON, |heard| (heard.turned_away > 3).then_some(())).await.unwrap();
    assert!(!trace.exists());
    assert!(!rig.log().contains("running"), "{}", rig.log());
    rig.controller.answer_with(None);
    rig.ended().await;
    assert_eq!(std::fs::read_to_string(trace).unwrap(), "ran\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_whose_session_went_to_another_never_begins() {
    let mut rig = Rig::start().await;
    rig.controller.answer_with(Some(StatusCode::CONFLICT));
    let (spec, trace) = traced(&rig);
    rig.assign(spec).await;
    rig.exit_status().await;
    assert!(!trace.exists());
    assert!(!rig.log().contains("running"), "{}", rig.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_is_asked_for_another_one_says_that_it_is_not() {
    let rig = Rig::start().await;
    let url = format!("http://{}/healthz", rig.address);
    let ask = async |secret: Option<&str>| {
        testkit::plain_http::send(http::Method::GET, &url, secret, &()).await.unwrap().as_u16()
    };
    assert_eq!((ask(None).await, ask(Some(&rig.secret)).await, ask(Some("another's")).await), (200, 200, 401));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_runner_kills_everything_and_leaves() {
    let mut rig = Rig::with(Setup { flags: vec!["--heartbeat-secs=1".into()], ..Setup::default() }).await;
    rig.assign(rig.spec("echo $$ > $HOME/pid; sleep 1000")).await;
    let file = rig.folder.path().join("home/pid");
    let pid: i32 = eventually("its number", || std::fs::read_to_string(&file).ok()?.trim().parse().ok()).await;
    rig.controller.answer_with(Some(StatusCode::CONFLICT));
    rig.exit_status().await;
    assert!(!is_alive(pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_say_whether_anybody_cares() {
    let rig = Rig::with(Setup { flags: vec!["--heartbeat-secs=1".into()], ..Setup::default() }).await;
    rig.assign(rig.spec("read x")).await;
    let _operator = rig.operator("a").await;
    let beat = rig.controller.wait_for(SOON, |heard| heard.heartbeats.iter().find(|beat| beat.operators == 1).cloned());
    let beat = beat.await.unwrap();
    assert_eq!((beat.session, beat.epoch), (Some(rig.session), 1));
}

fn refused(arguments: &[&str], token: Option<&str>) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cliscale-runner"));
    command.args(arguments).env_remove("CLISCALE_BOOT_TOKEN");
    if let Some(token) = token {
        command.env("CLISCALE_BOOT_TOKEN", token);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_is_not_wanted_says_why() {
    let controller = FakeController::start().await.unwrap();
    let (url, id) = (format!("--controller-url={}", controller.url()), format!("--runner-id={}", controller.runner()));
    let start = |id: String, token: &'static str| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || refused(&[&url, &id, "--listen=127.0.0.1:0"], Some(token)))
    };
    let (code, said) = start(id.clone(), "wrong").await.unwrap();
    assert!(code == Some(69) && said.contains("refuses the boot token"), "{code:?} {said}");
    let (code, said) = start(format!("--runner-id={}", RunnerId::new()), "x").await.unwrap();
    assert!(code == Some(69) && said.contains("404"), "{code:?} {said}");
    let (code, said) = refused(&["--runner-id=x", "--linger-secs=y"], None);
    assert_eq!(code, Some(64));
    assert!(
        said.contains("--controller-url") && said.contains("--runner-id") && said.contains("--linger-secs"),
        "{said}"
    );
    let (code, said) = refused(&[&url, &id], None);
    assert!(code == Some(64) && said.contains("CLISCALE_BOOT_TOKEN is missing"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_comes_late_is_waited_for() {
    let controller = FakeController::start().await.unwrap();
    controller.answer_with(Some(StatusCode::BAD_GATEWAY));
    let mut runner = std::process::Command::new(env!("CARGO_BIN_EXE_cliscale-runner"))
        .args([
            "--listen=127.0.0.1:0",
            "--controller-url",
            &controller.url(),
            "--runner-id",
            &controller.runner().to_string(),
        ])
        .env("CLISCALE_BOOT_TOKEN", controller.boot_token())
        .spawn()
        .unwrap();
    let turned_away = controller.wait_for(SOON, |heard| (heard.turned_away > 2).then_some(())).await;
    controller.answer_with(None);
    let heard = controller.wait_ready().await;
    runner.kill().unwrap();
    runner.wait().unwrap();
    turned_away.unwrap();
    heard.unwrap();
}
