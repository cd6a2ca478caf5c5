//! Who gets in, and what is never told: tokens, origins, hosts, secrets.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use session::frames::{TTY, TTY_R1};
use testkit::stack::{SOON, Stack};
use testkit::terminal_client::TerminalClient;

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry[name].as_str().expect("a string")
}

/// The close code and reason that a `tty.r1` client gets.
async fn refusal(url: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    let mut client = TerminalClient::open(url, headers, &[TTY_R1]).await?.expect("an accepted upgrade");
    client.wait_closed(SOON).await?;
    Ok(client.closed.flatten().expect("a close frame"))
}

/// The status that a stock client gets.
async fn status(url: &str, headers: &[(&str, &str)]) -> Result<u16> {
    Ok(TerminalClient::open(url, headers, &[TTY]).await?.err().expect("a refused upgrade").status)
}

#[tokio::test]
async fn a_token_enters_once_and_only_its_own_session() -> Result<()> {
    let stack = Stack::start().await?;
    let (entry, other) = (stack.run("cat").await?, stack.run("cat").await?);
    let used = text(&entry, "webSocketUrl");
    let foreign = used.replace(text(&entry, "sessionId"), text(&other, "sessionId"));
    assert_eq!(refusal(&foreign, &[]).await?, (4401, "token_invalid".into()));

    let attempts = (0..30).map(|_| TerminalClient::open(used, &[], &[TTY]));
    let entered = futures_util::future::join_all(attempts).await.into_iter().filter(|tried| matches!(tried, Ok(Ok(_))));
    assert_eq!(entered.count(), 1);
    assert_eq!(refusal(used, &[]).await?, (4401, "token_used".into()));
    assert_eq!(status(used, &[]).await?, 401);
    let page = reqwest::get(text(&entry, "terminalUrl")).await?;
    assert_eq!(page.status(), 401);
    assert!(page.text().await?.contains("token_used"));
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn forged_tokens_are_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let entry = stack.run("cat").await?;
    let base = format!("{}/ws/{}", stack.api_url.replace("http", "ws"), text(&entry, "sessionId"));
    let token = text(&entry, "sessionJWT");
    let claims = token.split('.').nth(1).expect("claims");
    let keys: Value = reqwest::get(format!("{}/.well-known/jwks.json", stack.api_url)).await?.json().await?;
    let modulus = text(&keys["keys"][0], "n");

    let header = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let hs256 = {
        // The public key used as a shared secret: the classic confusion of algorithms.
        let head = header(json!({ "alg": "HS256", "typ": "JWT", "kid": keys["keys"][0]["kid"] }));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(modulus)?);
        let signature = aws_lc_rs::hmac::sign(&key, format!("{head}.{claims}").as_bytes());
        format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let unsigned = format!("{}.{claims}.", header(json!({ "alg": "none", "typ": "JWT" })));
    let unknown_kid = format!("{}.{claims}.AAAA", header(json!({ "alg": "RS256", "typ": "JWT", "kid": "nobody" })));
    let tampered = {
        let mut said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
        said["exp"] = json!(4_000_000_000_u64);
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[1] = URL_SAFE_NO_PAD.encode(said.to_string());
        parts.join(".")
    };
    for forged in [&hs256, &unsigned, &unknown_kid, &tampered, "garbage", "", "%3Cscript%3Ealert(1)%3C/script%3E"] {
        let url = format!("{base}?token={forged}");
        let (code, reason) = refusal(&url, &[]).await?;
        assert_eq!(code, 4401, "{forged}: {reason}");
        assert_eq!(status(&url, &[]).await?, 401, "{forged}");
        let page = reqwest::get(url.replace("ws://", "http://")).await?.text().await?;
        assert!(!page.contains("<script>alert") && !page.contains("garbage"), "{page}");
    }
    // None of that burnt the real one.
    TerminalClient::connect(text(&entry, "webSocketUrl"), &[], &[TTY_R1]).await?;
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn another_site_may_not_open_the_terminal_unless_it_is_listed() -> Result<()> {
    let stack = Stack::options().env("CLISCALE_EMBED_ORIGINS", "https://product.example").start().await?;
    let entry = stack.run("cat").await?;
    let url = text(&entry, "webSocketUrl");
    for origin in ["https://evil.example", "null", "https://product.example.evil.example", "http://product.example"] {
        assert_eq!(refusal(url, &[("origin", origin)]).await?, (4403, "forbidden_origin".into()), "{origin}");
        assert_eq!(status(url, &[("origin", origin)]).await?, 403, "{origin}");
    }
    for origin in ["https://product.example", &*stack.api_url] {
        let entry = stack.token(text(&entry, "sessionId"), "operator").await?;
        TerminalClient::connect(text(&entry, "webSocketUrl"), &[("origin", origin)], &[TTY_R1]).await?;
    }
    let page = reqwest::get(text(&entry, "terminalUrl")).await?;
    let policy = page.headers()["content-security-policy"].to_str()?.to_owned();
    assert!(policy.contains("frame-ancestors https://product.example"), "{policy}");
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_name_that_somebody_else_points_here_is_not_answered() -> Result<()> {
    let stack = Stack::start().await?;
    let client = reqwest::Client::new();
    for path in ["/api/sessions", "/healthz", "/ws/_/x", "/"] {
        let request = client.get(format!("{}{path}", stack.api_url)).header("host", "rebound.example");
        assert_eq!(request.send().await?.status(), 421, "{path}");
    }
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn html_in_any_value_comes_back_as_json_only() -> Result<()> {
    let stack = Stack::start().await?;
    let evil = "<img src=x onerror=alert(1)>";
    for (method, path, body) in [
        (Method::POST, "/api/sessions".to_owned(), Some(json!({ "code_url": evil, "command": evil }))),
        (Method::POST, "/api/sessions".to_owned(), Some(json!({ evil: 1 }))),
        (Method::GET, "/api/sessions/%3Cimg%20src=x%3E".to_owned(), None),
        (Method::GET, "/ws/%3Cimg%20src=x%3E?token=%3Cimg%20src=x%3E".to_owned(), None),
        (Method::GET, "/%3Cimg%20src=x%3E".to_owned(), None),
        (Method::GET, "/docs/errors/%3Cimg%20src=x%3E".to_owned(), None),
    ] {
        let client = reqwest::Client::new();
        let mut request = client.request(method, format!("{}{path}", stack.api_url)).bearer_auth(&stack.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let kind = response.headers()["content-type"].to_str()?.to_owned();
        let answer = response.text().await?;
        assert!(!answer.contains("<img") || kind.contains("json"), "{path} answers {kind}: {answer}");
    }
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn secrets_are_in_no_answer_log_list_or_process_listing() -> Result<()> {
    let stack = Stack::start().await?;
    let folder = tempfile::tempdir()?;
    let command = "[ \"$MY_KEY\" = zq-env-secret ] && [ \"$PROMPT\" = zq-prompt-secret ] && echo has both; sleep 1000";
    let entry = stack
        .create(json!({ "code_url": folder.path(), "command": command, "install_cmd": "",
                        "env": { "MY_KEY": "zq-env-secret" }, "prompt": "zq-prompt-secret",
                        "code_auth": { "token": "zq-auth-secret" } }))
        .await?;
    let id = text(&entry, "sessionId");
    let mut client = TerminalClient::connect(text(&entry, "webSocketUrl"), &[], &[TTY_R1]).await?;
    client.wait_for("has both", SOON).await?;
    let (_, list) = stack.call(Method::GET, "/api/sessions", None).await?;
    let database = std::fs::read(stack.data_dir.join("cliscale.db"))?;
    let journal = std::fs::read(stack.data_dir.join("cliscale.db-wal")).unwrap_or_default();
    let stored = String::from_utf8_lossy(&[database, journal].concat()).into_owned();
    let listing = process_listing();
    for (place, shown) in [
        ("the view", stack.show(id).await?.to_string()),
        ("the list", list.to_string()),
        ("the log", stack.log()),
        ("the database", stored),
        ("a process listing", listing),
    ] {
        // The command itself names the secrets' values in its test; only it may.
        let shown = shown.replace("= zq-env-secret ]", "").replace("= zq-prompt-secret ]", "");
        for secret in ["zq-env-secret", "zq-prompt-secret", "zq-auth-secret"] {
            assert!(!shown.contains(secret), "{secret} is in {place}");
        }
    }
    let token = text(&entry, "sessionJWT");
    for secret in [token, &*stack.key, &client.tickets.expect("tickets").ticket] {
        assert!(!stack.log().contains(secret), "a token is in the log");
    }
    stack.stop().await?;
    Ok(())
}

/// The arguments of every process here, as any user may read them.
fn process_listing() -> String {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .collect::<Vec<_>>()
        .join("\n")
}
