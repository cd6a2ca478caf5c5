//! The all-in-one image: as `docker run -p 127.0.0.1:PORT:8080` runs it, the URL that it prints gives a terminal.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use session::frames::TTY_R1;
use testkit::cluster::Kubernetes;
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;
use tokio::net::{TcpListener, TcpStream};

use crate::image;
use crate::pods::{ended, in_namespace, log, wait_for};

const NAME: &str = "all-in-one";
/// Stands in for the sample program, whose packages a pod without a registry cannot fetch.
const DEMO: &str = "const reader = require('node:readline').createInterface({ input: process.stdin, output: process.stdout });\n\
    reader.question(`${process.env.PROMPT} Who are you? `, name => {\n\
      const { execSync } = require('node:child_process');\n\
      const say = (what, line) => console.log(`${what}=${execSync(line).toString().trim()}`);\n\
      console.log(`hello ${name}`);\n\
      say('first', 'cat /proc/1/comm');\n\
      say('user', 'whoami');\n\
      execSync('setsid sleep 0.2 >/dev/null 2>&1 &');\n\
      setTimeout(() => { say('zombies', 'ps -eo stat= | grep -c ^Z || true'); console.log('done'); }, 1000);\n\
    });\n";

/// What a published port does: everything that comes to it goes to the container.
async fn publish(listener: TcpListener, container: SocketAddr) {
    while let Ok((mut client, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(container).await {
                // Whoever hung up first is told the other way by the copy's end.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

async fn start(kubernetes: &Kubernetes, public_url: &str) -> Result<Pod> {
    let demo = json!({ "metadata": { "name": "demo" }, "data": { "index.js": DEMO } });
    kubernetes.create::<ConfigMap>(demo).await?;
    kubernetes
        .create::<Pod>(json!({
            // Held back at its deletion, so that it can be seen how it ended.
            "metadata": { "name": NAME, "finalizers": ["cliscale.dev/e2e"] },
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "it",
                    "image": image("cliscale"),
                    "imagePullPolicy": "IfNotPresent",
                    "env": [
                        { "name": "CLISCALE_PUBLIC_URL", "value": public_url },
                        { "name": "CLISCALE_DEMO_DIR", "value": "/demo" },
                    ],
                    "volumeMounts": [{ "name": "demo", "mountPath": "/demo" }],
                    "resources": { "requests": { "cpu": "10m", "memory": "64Mi" } },
                }],
                "volumes": [{ "name": "demo", "configMap": { "name": "demo" } }],
            },
        }))
        .await?;
    wait_for(kubernetes, NAME, "running", |pod| {
        pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
    })
    .await
}

/// The `demo_url` that it prints.
async fn printed_url(kubernetes: &Kubernetes) -> Result<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let log = log(kubernetes, NAME).await?;
        if let Some(url) = log.lines().find_map(|line| line.strip_prefix("demo_url=")) {
            return Ok(url.to_owned());
        }
        assert!(Instant::now() < deadline, "no demo_url is printed: {log}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ends it with SIGTERM; answers its exit code and how long it took.
async fn end(kubernetes: &Kubernetes) -> Result<(i32, Duration)> {
    let pods = kubernetes.api::<Pod>();
    let begin = Instant::now();
    pods.delete(NAME, &DeleteParams::default()).await?;
    let pod = wait_for(kubernetes, NAME, "at its end", |pod| ended(pod).is_some()).await?;
    let code = ended(&pod).context("an end")?.exit_code;
    Ok((code, begin.elapsed()))
}

async fn release(kubernetes: &Kubernetes) -> Result<()> {
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    kubernetes.api::<Pod>().patch(NAME, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn whole_job(kubernetes: &Kubernetes) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let public_url = format!("http://{}", listener.local_addr()?);
    let pod = start(kubernetes, &public_url).await?;
    let address = pod.status.and_then(|status| status.pod_ip).context("an address")?;
    let publisher = tokio::spawn(publish(listener, format!("{address}:8080").parse()?));

    let url = printed_url(kubernetes).await?;
    assert!(url.starts_with(&format!("{public_url}/")), "{url}");
    let page = reqwest::get(&url).await?;
    assert_eq!(page.status(), 200);
    assert!(page.text().await?.contains("<html"));
    let mut client = TerminalClient::connect(&url.replacen("http", "ws", 1), &[], &[TTY_R1]).await?;
    client.wait_for("Hello! Who are you? ", 2 * SOON).await?;
    client.type_at_offset(b"world\r").await?;
    client.wait_for("done\r\n", SOON).await?;
    for line in ["hello world", "first=tini", "user=cliscale", "zombies=0"] {
        assert!(client.has(line), "no {line}: {}", client.text());
    }
    publisher.abort();
    let (code, took) = end(kubernetes).await?;
    assert_eq!(code, 0);
    // Longer, and it would have been killed.
    assert!(took < Duration::from_secs(20), "it took {took:?} to end");
    println!("the all-in-one image ended {:.1} s after SIGTERM", took.as_secs_f64());
    Ok(())
}

#[tokio::test]
async fn the_url_that_it_prints_gives_a_terminal_and_sigterm_ends_it() -> Result<()> {
    in_namespace(async |kubernetes| {
        let outcome = whole_job(kubernetes).await;
        let released = release(kubernetes).await;
        outcome.and(released)
    })
    .await
}
