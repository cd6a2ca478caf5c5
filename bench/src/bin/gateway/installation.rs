//! Our gateway as it is installed: the release's program on PostgreSQL, one session that runs, keys to sign with.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use bench::OURS;
use bench::pin::{Running, SUBJECT, pinned};
use bench::signer::{LIFETIME, Signer};
use session::{ApiKeyId, Role, RunnerId, Secret, SessionId, SessionSpec, SpecLimits, Stage};
use store::postgres::{PostgresConfig, PostgresStore};
use store::{Digest, NewRunner, NewSession, NewToken, Placement, RunnerCall, SealKey, Store, Time};
use testkit::postgres::{Server, TestDatabase};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::spawn_local;

use crate::entrance::Entrance;
use crate::subject::{Subject, free_port};

const SEAL_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A database with one running session, and its keys. Everything ends with it.
pub struct Installation {
    /// Its database is in it.
    _server: Server,
    pub database: TestDatabase,
    pub session: SessionId,
    store: PostgresStore,
    signer: Signer,
    jwks: SocketAddr,
    key_file: PathBuf,
}

impl Installation {
    pub async fn start(folder: &Path, backend: SocketAddr) -> Result<Self> {
        let server = Server::start_new().await?;
        let database = server.database().await?;
        let key_file = folder.join("seal-key");
        std::fs::write(&key_file, SEAL_KEY)?;
        let config = PostgresConfig::new(database.url.parse()?);
        let store = PostgresStore::open(&config, SealKey::from_hex(SEAL_KEY)?, LIFETIME).await?;
        let session = running_session(&store, &backend.to_string(), "runner-secret-0123456789").await?;
        let signer = Signer::draw()?;
        let jwks = serve_keys(serde_json::to_string(&signer.jwks)?).await?;
        Ok(Self { _server: server, database, session, store, signer, jwks, key_file })
    }

    /// The gateway, with this many tokens to enter with.
    pub async fn gateway(&self, program: &Path, tokens: usize) -> Result<Subject> {
        let address = free_port().await?;
        let mut command = pinned(program, SUBJECT);
        // The log is written as by default.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env("CLISCALE_DATABASE_URL", &self.database.url);
        command.arg("--listen").arg(address.to_string()).arg("--admin").arg(free_port().await?.to_string());
        command.arg("--encryption-key-file").arg(&self.key_file);
        command.arg("--jwks-url").arg(format!("http://{}/", self.jwks)).arg("--max-connections=20000");
        let process = Running::start(&mut command)?;
        let unused = RefCell::new(self.tokens(self.session, tokens).await?);
        let entrance = Entrance::Tokens { session: self.session, unused };
        let mut subject = Subject { name: OURS.to_owned(), address, process: Some(process), entrance };
        subject.wait_until_it_listens().await?;
        Ok(subject)
    }

    /// Further tokens, for the next measurement.
    pub async fn provide(&self, subject: &Subject, count: usize) -> Result<()> {
        if let Entrance::Tokens { unused, .. } = &subject.entrance {
            let missing = count.saturating_sub(unused.borrow().len());
            let tokens = self.tokens(self.session, missing).await?;
            unused.borrow_mut().extend(tokens);
        }
        Ok(())
    }

    /// The processor time that PostgreSQL has used, children that ended included.
    pub fn database_secs(&self) -> Result<f64> {
        bench::proc::secs_of_children("postgres")
    }

    /// The way in to another session, whose runner this is; for one connection.
    pub async fn entrance(&self, address: &str, secret: &str) -> Result<Entrance> {
        let session = running_session(&self.store, address, secret).await?;
        let unused = RefCell::new(self.tokens(session, 1).await?);
        Ok(Entrance::Tokens { session, unused })
    }

    async fn tokens(&self, session: SessionId, count: usize) -> Result<Vec<String>> {
        let now = Time::now();
        let (mut ids, mut tokens) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let (jti, token) = self.signer.token(session)?;
            tokens.push(token);
            ids.push(jti);
        }
        let client = self.database.client().await?;
        let expires = (now + LIFETIME).as_millisecond();
        let sql = "INSERT INTO tokens (jti, session_id, role, expires_at) \
                   SELECT unnest($1::text[]), $2::text::uuid, 'operator', $3::bigint";
        client.execute(sql, &[&ids, &session.to_string(), &expires]).await?;
        Ok(tokens)
    }
}

async fn running_session(store: &dyn Store, address: &str, secret: &str) -> Result<SessionId> {
    let request = session::api::CreateSession {
        code_url: "https://github.com/o/r.git".into(),
        command: "sh".into(),
        ..Default::default()
    };
    let (spec, secrets) = SessionSpec::validate(request, &SpecLimits::default()).ok().context("a valid request")?;
    let (id, runner, now) = (SessionId::new(), RunnerId::new(), Time::now());
    let boot_token = Digest::of(b"boot");
    let jti = SessionId::new().to_string().replace('-', "");
    let new = NewSession {
        id,
        spec,
        secrets,
        api_key: ApiKeyId::new(),
        expires_at: now + LIFETIME,
        idempotency: None,
        rate: None,
        max_sessions: None,
        token: NewToken { jti, role: Role::Operator, expires_at: now + LIFETIME },
        placement: Placement::Runner(NewRunner { id: runner, boot_token }),
    };
    store.create_session(new, now).await?;
    let call = RunnerCall { id: runner, boot_token, secret: Secret::new(secret), address: address.to_owned() };
    store.runner_ready(call, now).await?;
    store.advance(id, 1, Stage::Running, now).await?;
    let route = store.route(id).await?.context("the session")?;
    ensure!(route.address.is_some(), "the session has its runner");
    Ok(id)
}

/// Stands for the controller's key set, for as long as the program runs.
async fn serve_keys(body: String) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            // One small request; whoever sends another kind is answered the same.
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Ok(address)
}

/// Where Debian has pgbench, if it is installed.
pub fn pgbench() -> Option<PathBuf> {
    let found =
        std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|version| version.path().join("bin/pgbench"));
    found.filter(|path| path.exists()).max()
}
