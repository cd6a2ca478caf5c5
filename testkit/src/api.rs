//! A client of the sessions' API, with a key.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::connector::Connector;

/// One address of the API.
pub struct Api {
    pub api_url: String,
    pub key: String,
    http: reqwest::Client,
    patience: Duration,
}

/// An answer with what a client needs to know of it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Api {
    /// `patience`: how long anything that should happen soon may take.
    pub fn new(api_url: &str, key: &str, patience: Duration) -> Result<Self> {
        Self::by(&Connector::default(), api_url, key, patience)
    }

    /// The same, by a connector that may trust more.
    pub fn by(connector: &Connector, api_url: &str, key: &str, patience: Duration) -> Result<Self> {
        Ok(Self { api_url: api_url.to_owned(), key: key.to_owned(), http: connector.http()?.build()?, patience })
    }

    /// Sends a request with the API key; answers status and body.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
        let answer = self.ask(method, path, body).await?;
        Ok((answer.status, answer.body))
    }

    /// The same, with the whole answer.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Self::answer(request).await
    }

    /// Tries to create a session. With the same key and body again, it is the same session.
    pub async fn try_create(&self, idempotency_key: &str, body: &Value) -> Result<Answer> {
        let request = self.request(Method::POST, "/api/sessions").header("idempotency-key", idempotency_key);
        Self::answer(request.json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.api_url)).bearer_auth(&self.key)
    }

    async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let text = response.text().await?;
        Ok(Answer { status, retry_after, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// Creates a session, which must succeed.
    pub async fn create(&self, body: Value) -> Result<Value> {
        let (status, answer) = self.call(Method::POST, "/api/sessions", Some(body)).await?;
        if status != 201 {
            bail!("creating a session answered {status}: {answer}");
        }
        Ok(answer)
    }

    pub async fn show(&self, id: &str) -> Result<Value> {
        let (status, answer) = self.call(Method::GET, &format!("/api/sessions/{id}"), None).await?;
        if status != 200 {
            bail!("reading session {id} answered {status}: {answer}");
        }
        Ok(answer)
    }

    /// Waits until a session's view satisfies `done`.
    pub async fn wait_for(&self, id: &str, what: &str, done: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + self.patience;
        loop {
            let view = self.show(id).await?;
            if done(&view) {
                return Ok(view);
            }
            if Instant::now() > deadline {
                bail!("session {id} is not {what}: {view}");
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    pub async fn wait_ended(&self, id: &str) -> Result<Value> {
        self.wait_for(id, "ended", |view| view["state"] == "ended").await
    }

    /// A further one-time token.
    pub async fn token(&self, id: &str, role: &str) -> Result<Value> {
        let path = format!("/api/sessions/{id}/tokens");
        let (status, answer) = self.call(Method::POST, &path, Some(json!({ "role": role }))).await?;
        if status != 201 {
            bail!("a further token answered {status}: {answer}");
        }
        Ok(answer)
    }

    /// Ends a session.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let (status, answer) = self.call(Method::DELETE, &format!("/api/sessions/{id}"), None).await?;
        anyhow::ensure!(status == 200, "ending session {id} answered {status}: {answer}");
        Ok(())
    }
}
