//! A git server, on loopback unless told otherwise: the real `git http-backend` behind HTTP, over bare repositories in a temporary folder.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::archive_server::SeenRequest;

const MAX_REQUEST: usize = 16 * 1024 * 1024;

struct Shared {
    root: PathBuf,
    /// The value that `Authorization` must have.
    authorization: Mutex<Option<String>>,
    /// Path prefixes, and what takes their place in a redirect (a path or a URL).
    redirects: Mutex<HashMap<String, String>>,
    /// Path prefixes that never answer a POST.
    stalled: Mutex<Vec<String>>,
    seen: Mutex<Vec<SeenRequest>>,
}

/// Serves until dropped.
pub struct GitServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    folder: TempDir,
}

impl GitServer {
    pub async fn start() -> Self {
        Self::listen(Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()).await
    }

    /// For those who see this machine at `host`.
    pub async fn start_for(host: IpAddr) -> Self {
        Self::listen(Ipv4Addr::UNSPECIFIED.into(), host).await
    }

    async fn listen(on: IpAddr, host: IpAddr) -> Self {
        let listener = TcpListener::bind((on, 0)).await.expect("a free port");
        let address = SocketAddr::new(host, listener.local_addr().expect("a bound listener").port());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shared = Arc::new(Shared {
            root: folder.path().join("bare"),
            authorization: Mutex::default(),
            redirects: Mutex::default(),
            stalled: Mutex::default(),
            seen: Mutex::default(),
        });
        std::fs::create_dir(&shared.root).expect("a new folder");
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { address, shared, task, folder }
    }

    /// A new repository at the path `name`, for example `o/r.git`.
    pub fn create_repo(&self, name: &str) -> Repo {
        let bare = self.shared.root.join(name);
        let work = self.folder.path().join("work").join(name);
        std::fs::create_dir_all(&bare).expect("a new folder");
        std::fs::create_dir_all(&work).expect("a new folder");
        run_git(&bare, &["init", "-q", "--bare"]);
        run_git(&bare, &["config", "uploadpack.allowFilter", "true"]);
        run_git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        run_git(&work, &["init", "-q"]);
        run_git(&work, &["remote", "add", "origin", bare.to_str().expect("a UTF-8 path")]);
        Repo { bare, work }
    }

    /// From now on only this `Authorization` header is let in, for example `Basic ...`.
    pub fn require(&self, authorization: &str) {
        *self.shared.authorization.lock().unwrap() = Some(authorization.to_owned());
    }

    /// Redirects each path that begins with `from` to `to` and the rest of the path.
    pub fn redirect(&self, from: &str, to: &str) {
        self.shared.redirects.lock().unwrap().insert(from.to_owned(), to.to_owned());
    }

    /// Lets each POST to a path that begins with `prefix` wait for ever.
    pub fn stall(&self, prefix: &str) {
        self.shared.stalled.lock().unwrap().push(prefix.to_owned());
    }

    pub fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().expect("a path")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn seen(&self) -> Vec<SeenRequest> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A bare repository that is served, and a work tree beside it to make commits in.
pub struct Repo {
    pub bare: PathBuf,
    pub work: PathBuf,
}

impl Repo {
    /// Writes files, commits everything on the current branch and publishes it; gives the commit's id.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.work.join(name);
            std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a new folder");
            std::fs::write(path, content).expect("a new file");
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "change"]);
        self.publish();
        self.git(&["rev-parse", "HEAD"])
    }

    /// Makes a branch here and goes to it.
    pub fn branch(&self, name: &str) {
        self.git(&["checkout", "-q", "-b", name]);
    }

    pub fn switch(&self, name: &str) {
        self.git(&["checkout", "-q", name, "--"]);
    }

    /// An annotated tag of the current commit.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", "-a", "-m", "tag", name]);
        self.publish();
    }

    /// Runs git in the work tree; gives its trimmed output.
    pub fn git(&self, args: &[&str]) -> String {
        run_git(&self.work, args)
    }

    pub fn publish(&self) {
        self.git(&["push", "-q", "--force", "origin", "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"]);
    }
}

fn isolated(command: &mut Command) -> &mut Command {
    for (key, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_AUTHOR_NAME", "Test"),
        ("GIT_AUTHOR_EMAIL", "test@example.com"),
        ("GIT_COMMITTER_NAME", "Test"),
        ("GIT_COMMITTER_EMAIL", "test@example.com"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "init.defaultBranch"),
        ("GIT_CONFIG_VALUE_0", "main"),
    ] {
        command.env(key, value);
    }
    command
}

fn run_git(folder: &Path, args: &[&str]) -> String {
    let output = isolated(Command::new("git").args(args).current_dir(folder)).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = text(request.headers(), header::AUTHORIZATION.as_str());
    shared.seen.lock().unwrap().push(SeenRequest { path: path.clone(), authorization: authorization.clone() });
    if let Some(to) = redirected(&shared, &path, request.uri().query()) {
        return respond(StatusCode::MOVED_PERMANENTLY, &[("location".into(), to)], Body::empty());
    }
    let wanted = shared.authorization.lock().unwrap().clone();
    if wanted.is_some() && wanted != authorization {
        let challenge = [("www-authenticate".to_owned(), "Basic realm=\"git\"".to_owned())];
        return respond(StatusCode::UNAUTHORIZED, &challenge, Body::empty());
    }
    let stalled = shared.stalled.lock().unwrap().iter().any(|prefix| path.starts_with(prefix));
    if stalled && request.method() == "POST" {
        std::future::pending::<()>().await;
    }
    run_backend(&shared.root, &path, request).await
}

fn redirected(shared: &Shared, path: &str, query: Option<&str>) -> Option<String> {
    let redirects = shared.redirects.lock().unwrap();
    let (to, rest) = redirects.iter().find_map(|(from, to)| Some((to, path.strip_prefix(from)?)))?;
    Some(format!("{to}{rest}{}{}", if query.is_some() { "?" } else { "" }, query.unwrap_or_default()))
}

/// CGI (RFC 3875): the request in the environment and on standard input, the answer on standard output.
async fn run_backend(root: &Path, path: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_REQUEST).await.expect("a request that fits");
    let mut command = Command::new("git");
    isolated(command.arg("http-backend"));
    command
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_LENGTH", body.len().to_string());
    for (name, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("git-protocol", "HTTP_GIT_PROTOCOL"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
    ] {
        command.envs(text(&parts.headers, name).map(|value| (variable, value)));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("git runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let feeding = async move {
        // It may answer without reading all.
        let _ = stdin.write_all(&body).await;
    };
    let ((), output) = tokio::join!(feeding, child.wait_with_output());
    parse_answer(&output.expect("git ran").stdout)
}

fn parse_answer(output: &[u8]) -> Response {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("CGI headers");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut status = StatusCode::OK;
    let mut headers = Vec::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        match name.to_ascii_lowercase().as_str() {
            "status" => {
                status =
                    value[..3].parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok()).expect("a status")
            }
            name => headers.push((name.to_owned(), value.to_owned())),
        }
    }
    respond(status, &headers, Body::from(output[end + 4..].to_vec()))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn respond(status: StatusCode, headers: &[(String, String)], body: Body) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body).expect("valid headers")
}
