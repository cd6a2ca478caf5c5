//! `cliscale run`: a session, this terminal on it, and the command's exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use session::api::{CreateSession, Entry};
use session::{Role, SessionId};

use super::code::{Code, request};
use super::embedded::Embedded;
use super::open::open_in_browser;
use super::{FAILED, NOT_READ, verdict};
use crate::api::{Client, Server};
use crate::arguments::RunArgs;
use crate::attach::{Attach, AttachError, DETACH_NAME, Local, Outcome, StopSignals, Stopped, attach};

/// The server that the session runs on.
enum Host {
    Found(Server),
    Own(Box<Embedded>),
}

impl Host {
    fn client(&self) -> &Client {
        match self {
            Self::Found(server) => &server.client,
            Self::Own(embedded) => &embedded.client,
        }
    }

    fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }
}

pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let local = Local::of_this_process();
    let code = Code::of(&args.code)?;
    let request = request(&args, &code, local)?;
    let found = args.server.find()?;
    if args.detach && found.is_none() {
        bail!("--detach needs a server that goes on: start one with `cliscale up`, or name one with --server");
    }
    if let (Code::Folder(path), Some(Server { client, local: false })) = (&code, &found) {
        bail!(
            "{} is a folder of this machine, which {} cannot read; give the URL of a repository or an archive",
            path.display(),
            client.base()
        );
    }
    let mut stop = StopSignals::listen()?;
    let host = tokio::select! {
        host = host(found) => host?,
        by = stop.recv() => return Ok(ExitCode::from(by.exit_code())),
    };
    let done = in_session(&args, &request, &host, local, &mut stop).await;
    let workspace = done.as_ref().ok().and_then(|done| done.workspace.clone()).filter(|_| !args.in_place);
    if let Host::Own(embedded) = host {
        tokio::select! {
            () = embedded.stop(workspace.as_deref()) => {}
            // Asked twice: the runner notices by itself that we are gone.
            _ = stop.recv() => {}
        }
    }
    let done = done?;
    if let Some(path) = workspace.filter(|path| path.exists()) {
        eprintln!("workspace: {}", path.display());
    }
    Ok(ExitCode::from(done.code))
}

async fn host(found: Option<Server>) -> anyhow::Result<Host> {
    Ok(match found {
        Some(server) => Host::Found(server),
        None => Host::Own(Box::new(Embedded::start().await?)),
    })
}

struct Done {
    code: u8,
    workspace: Option<PathBuf>,
}

async fn in_session(
    args: &RunArgs,
    request: &CreateSession,
    host: &Host,
    local: Local,
    stop: &mut StopSignals,
) -> anyhow::Result<Done> {
    let client = host.client();
    let entry = tokio::select! {
        entry = client.create(request) => entry?,
        by = stop.recv() => return Ok(Done { code: by.exit_code(), workspace: None }),
    };
    let session = entry.session_id;
    if args.detach {
        println!("session_id={session}\nurl={}", entry.terminal_url);
        if args.open {
            open_in_browser(&entry.terminal_url);
        }
        return Ok(Done { code: 0, workspace: None });
    }
    introduce(args, client, session, local).await;
    let outcome = attach(Attach { client, entry, local }).await;
    let code = conclude(outcome, host, session, local).await?;
    // Asked for while the server still runs; a copy on another machine is of no use here.
    let view = client.session(session).await.ok();
    let workspace = view.and_then(|view| view.workspace).map(PathBuf::from).filter(|path| path.exists());
    Ok(Done { code, workspace })
}

/// The browser's link has a token of its own: ours is used by attaching.
async fn introduce(args: &RunArgs, client: &Client, session: SessionId, local: Local) {
    eprintln!("session: {session}");
    match client.mint(session, Role::Operator).await {
        Ok(Entry { terminal_url, .. }) => {
            eprintln!("browser: {terminal_url}");
            if args.open {
                open_in_browser(&terminal_url);
            }
        }
        // The terminal here works all the same.
        Err(error) => eprintln!("cliscale: no link for a browser: {error}"),
    }
    if local == Local::Terminal {
        eprintln!("detach:  {DETACH_NAME}");
    }
}

/// What the end of attaching means for the session, and the exit code.
async fn conclude(
    outcome: Result<Outcome, AttachError>,
    host: &Host,
    session: SessionId,
    local: Local,
) -> anyhow::Result<u8> {
    let client = host.client();
    Ok(match outcome {
        Ok(Outcome::Ended(ended) | Outcome::Unread(ended)) => {
            if let Some(line) = verdict::line(&ended) {
                eprintln!("cliscale: {line}");
            }
            verdict::exit_code(&ended)
        }
        Ok(Outcome::Detached) if host.is_own() => {
            eprintln!("cliscale: left, and with it ended: the session was on a server of this command's own");
            end(client, session).await;
            Stopped::Interrupt.exit_code()
        }
        Ok(Outcome::Detached) => {
            eprintln!("cliscale: the session goes on; come back with: cliscale attach {session}");
            0
        }
        // A closed window is like the detach key, where there is something to come back to.
        Ok(Outcome::Stopped(by @ Stopped::Hangup)) if local == Local::Terminal && !host.is_own() => by.exit_code(),
        Ok(Outcome::Stopped(by)) => {
            end(client, session).await;
            by.exit_code()
        }
        Ok(Outcome::OutputClosed) => {
            end(client, session).await;
            NOT_READ
        }
        Ok(Outcome::Closed) => 0,
        Err(error) => {
            eprintln!("cliscale: {error}");
            FAILED
        }
    })
}

async fn end(client: &Client, session: SessionId) {
    if let Err(error) = client.end(session).await {
        eprintln!("cliscale: the session could not be ended: {error}");
    }
}
