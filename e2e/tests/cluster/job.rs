//! The whole job: code from anywhere, a terminal with input and an exit code, a sandbox, and nothing left behind.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::json;
use session::frames::TTY_R1;
use testkit::cluster::{ClusterOptions, ClusterStack, whole_job};
use testkit::connector::Connector;
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

use crate::{open, text};

/// One session from its creation to its end, whose link is used up then; answers its runner.
async fn whole_job(stack: &ClusterStack, code_url: &str) -> Result<String> {
    let (entry, view) = whole_job::by_a_client(stack, &Connector::default(), code_url).await?;
    let mut again = TerminalClient::open(text(&entry, "webSocketUrl")?, &[], &[TTY_R1]).await?.expect("an upgrade");
    again.wait_closed(SOON).await?;
    assert_eq!(again.closed.flatten(), Some((4401, "token_used".to_owned())));
    Ok(text(&view, "runnerId")?.to_owned())
}

#[tokio::test]
async fn every_kind_of_code_url_runs_the_whole_job_and_nothing_stays_behind() -> Result<()> {
    let options = ClusterOptions::default().set("CLISCALE_RUNNER_TTL_SECS", "2");
    options
        .run(async |stack| {
            let urls = whole_job::every_code_url(&stack.code)?;
            let runners =
                futures_util::future::try_join_all(urls.iter().map(|code_url| whole_job(stack, code_url))).await?;
            for runner in &runners {
                stack.wait_until_freed(runner).await?;
            }
            // The Jobs' time to live is Kubernetes' own business, and the rows' is the controllers'.
            let deadline = Instant::now() + SOON;
            while !stack.kubernetes.api::<Job>().list(&ListParams::default()).await?.items.is_empty() {
                assert!(Instant::now() < deadline, "a Job outlived its time");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(stack.rows.count("sessions").await?, 4);
            stack.rows.age(Duration::from_secs(30 * 24 * 3600)).await?;
            // A controller prunes as soon as it starts.
            stack.controllers[0].end("TERM").await?;
            stack.controllers[0].start(&[]).await?;
            for table in ["sessions", "runners"] {
                let deadline = Instant::now() + SOON;
                while stack.rows.count(table).await? > 0 {
                    assert!(Instant::now() < deadline, "{table} are not pruned");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Ok(())
        })
        .await
}

#[tokio::test]
async fn nothing_of_a_session_is_in_its_job_its_pod_or_any_log() -> Result<()> {
    ClusterOptions::default()
        .run(async |stack| {
            let secrets = ["zq-env-secret", "zq-prompt-secret", "zq-command-itself", "zq-auth-secret"];
            let command = "[ \"$MY_KEY\" = zq-env-secret ] && [ \"$PROMPT\" = zq-prompt-secret ] && echo has both; \
                           : zq-command-itself; sleep 1000";
            let entry = stack
                .create(json!({
                    "code_url": stack.code.empty, "command": command, "install_cmd": "",
                    "env": { "MY_KEY": "zq-env-secret" }, "prompt": "zq-prompt-secret",
                    "code_auth": { "token": "zq-auth-secret" },
                }))
                .await?;
            let mut client = open(&entry).await?;
            client.wait_for("has both", 2 * SOON).await?;
            let view = stack.show(text(&entry, "sessionId")?).await?;
            let runner = text(&view, "runnerId")?;
            // The kubelet tells a moment later, and only then gives the log.
            let runs = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
            stack.kubernetes.wait_for_pod(runner, "running", runs).await?;
            let seen = stack.seen(runner).await?;
            let places = [
                ("the Job", serde_json::to_string(&seen.job.context("a Job")?)?),
                ("the pod", serde_json::to_string(&seen.pod.context("a pod")?)?),
                ("an event", serde_json::to_string(&seen.events)?),
                ("a log of a controller or a gateway", stack.logs()?),
                ("the runner's log", runner_log(stack, runner).await?),
                ("the runners' rows", stack.rows.dump("runners").await?),
            ];
            for (place, shown) in &places {
                for secret in secrets.iter().copied().chain([&*stack.key, text(&entry, "sessionJWT")?]) {
                    assert!(!shown.contains(secret), "{secret} is in {place}");
                }
            }
            let sessions = stack.rows.dump("sessions").await?;
            for secret in ["zq-auth-secret", &*stack.key] {
                assert!(!sessions.contains(secret), "{secret} is in the sessions' rows");
            }
            Ok(())
        })
        .await
}

async fn runner_log(stack: &ClusterStack, runner: &str) -> Result<String> {
    let pod = stack.kubernetes.pod(runner).await?.context("a pod")?;
    let name = pod.metadata.name.context("a name")?;
    Ok(stack.kubernetes.api::<Pod>().logs(&name, &Default::default()).await?)
}

/// What a command in a pod finds out about its sandbox, a line for each.
const LOOK_AROUND: &str = r#"
echo "user=$(id -u):$(id -g) $(whoami)"
echo "home=$HOME $(touch "$HOME/x" && echo writable)"
echo "tmp=$(touch /tmp/x && echo writable)"
echo "spill=$(touch /var/spool/cliscale/x && echo writable)"
echo "root=$(touch /x 2>&1 && echo writable)"
echo "usr=$(touch /usr/bin/x 2>&1 && echo writable)"
echo "account=$(ls /var/run/secrets/kubernetes.io 2>&1 | head -n 1)"
echo "capabilities=$(awk '/^Cap(Prm|Eff|Bnd)/ { print $2 }' /proc/self/status | sort -u | tr '\n' ' ')"
echo "privileges=$(awk '/^NoNewPrivs/ { print $2 }' /proc/self/status)"
echo "seccomp=$(awk '/^Seccomp:/ { print $2 }' /proc/self/status)"
echo "supervisor=$(cat /proc/1/environ 2>/dev/null | tr '\0' '\n' | grep -c CLISCALE)"
echo "signalled=$(kill -KILL 1 2>&1; kill -TERM 1 2>&1; kill -0 1 2>&1 && echo alive)"
echo "variables=$(env | grep -cE 'BOOT_TOKEN|KUBERNETES_SERVICE|CONTROLLER_URL')"
id() { touch $HOME/started; }
run-parts() { touch $HOME/started; }
unset NPM_CONFIG_PREFIX
. /etc/profile
echo "profile=$NPM_CONFIG_PREFIX $(test -e $HOME/started || echo nothing) was started"
echo done
sleep 1000
"#;

#[tokio::test]
async fn a_command_finds_itself_in_a_hardened_pod() -> Result<()> {
    looks_around("volumes", "Read-only file system").await
}

#[tokio::test]
async fn a_pod_that_writes_to_its_image_is_as_hardened_but_for_that() -> Result<()> {
    looks_around("image", "Permission denied").await
}

/// `refused`: what keeps commands from writing where they shall not.
async fn looks_around(folders: &str, refused: &str) -> Result<()> {
    ClusterOptions::default()
        .set("CLISCALE_RUNNER_FOLDERS", folders)
        .run(async |stack| {
            let entry = stack.run(LOOK_AROUND).await?;
            let mut client = open(&entry).await?;
            client.wait_for("done\r\n", 2 * SOON).await?;
            let found = client.text();
            let line = |name: &str| {
                let line = found.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}=")));
                line.unwrap_or_else(|| panic!("no {name} in {found}")).to_owned()
            };
            assert!(line("user").starts_with("10001:10001 ") && !line("user").contains("cannot"), "{found}");
            assert_eq!(line("home"), "/workspace/home writable");
            assert_eq!((&*line("tmp"), &*line("spill")), ("writable", "writable"));
            for place in ["root", "usr"] {
                assert!(line(place).contains(refused), "{found}");
            }
            assert!(line("account").contains("No such file"), "{found}");
            assert_eq!(line("capabilities").trim(), "0000000000000000");
            assert_eq!((&*line("privileges"), &*line("seccomp")), ("1", "2"));
            assert_eq!(line("supervisor"), "0");
            assert_eq!(line("signalled"), "alive");
            assert_eq!(line("variables"), "0");
            // Every start waits for it.
            assert_eq!(line("profile"), "/workspace/home/.local nothing was started");
            Ok(())
        })
        .await
}

/// One module, packed as pip wants it.
const WHEEL: &[(&str, &[u8])] = &[
    ("greeting.py", b"print('hello from the cache')\n"),
    ("greeting-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"),
    ("greeting-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    (
        "greeting-1.0.dist-info/RECORD",
        b"greeting.py,,\ngreeting-1.0.dist-info/METADATA,,\ngreeting-1.0.dist-info/WHEEL,,\ngreeting-1.0.dist-info/RECORD,,\n",
    ),
];

#[tokio::test]
async fn an_install_takes_from_the_shared_caches_without_the_network_and_cannot_write_there() -> Result<()> {
    let caches = tempfile::tempdir()?;
    let wheels = caches.path().join("pip");
    std::fs::create_dir(&wheels)?;
    std::fs::write(wheels.join("greeting-1.0-py3-none-any.whl"), testkit::cluster::code::zip(WHEEL)?)?;
    for folder in [caches.path(), &wheels] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))?;
    }
    ClusterOptions::default()
        .pod("volumes", json!([{ "name": "caches", "hostPath": { "path": caches.path() } }]))
        .container("volumeMounts", json!([{ "name": "caches", "mountPath": "/caches", "readOnly": true }]))
        .container("env", json!([{ "name": "CLISCALE_INSTALL_CACHES", "value": "/caches" }]))
        .run(async |stack| {
            let command = "python3 -m greeting; touch /caches/pip/other 2>&1; ls /caches/pip | wc -l; exec cat";
            let mut request = stack.request(command);
            request["install_cmd"] = json!("pip install --quiet --no-index greeting");
            let mut client = open(&stack.create(request).await?).await?;
            client.wait_for("hello from the cache", 3 * SOON).await?;
            client.wait_for("Read-only file system\r\n1\r\n", SOON).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_runner_is_taken_in_where_the_network_hides_its_address() -> Result<()> {
    ClusterOptions::default()
        .rewriting_network()
        .run(async |stack| {
            let entry = stack.run("exit 4").await?;
            let view = stack.wait_ended(text(&entry, "sessionId")?).await?;
            assert_eq!((view["endReason"].as_str(), view["exitCode"].as_i64()), (Some("exited"), Some(4)), "{view}");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn the_page_in_a_browser_runs_the_sample_program_to_its_end() -> Result<()> {
    if !whole_job::has_browser("the_page_in_a_browser_runs_the_sample_program_to_its_end")? {
        return Ok(());
    }
    ClusterOptions::default()
        .run(async |stack| whole_job::in_a_browser(stack, &stack.code, &stack.logs_dir()).await)
        .await
}
