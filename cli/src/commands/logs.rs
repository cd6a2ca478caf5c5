//! `cliscale logs`: a session's output, as bytes, for files and CI. From its runner while that is there, and from what was
//! recorded after that.

use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, bail};
use session::{Ended, ProblemType, SessionId};

use super::attach::concluded;
use super::{NOT_READ, sessions};
use crate::api::Client;
use crate::arguments::LogsArgs;
use crate::attach::{Attach, Local, Outcome, attach, ended_as};

pub async fn logs(args: LogsArgs) -> anyhow::Result<ExitCode> {
    let server = args.server.require()?;
    let client = &server.client;
    let session = sessions::find(client, &args.id).await?;
    let local = Local::Log { follow: args.follow };
    let entry = match client.mint(session, local.role()).await {
        Ok(entry) => entry,
        Err(error) => match client.session(session).await.ok().as_ref().and_then(ended_as) {
            Some(ended) => return recorded(client, session, args.follow, &ended).await,
            None => return Err(error.into()),
        },
    };
    Ok(match attach(Attach { client, entry, local }).await? {
        Outcome::Unread(ended) => return recorded(client, session, args.follow, &ended).await,
        Outcome::Ended(ended) if args.follow => concluded(&ended),
        Outcome::Ended(_) | Outcome::Detached | Outcome::Closed => ExitCode::SUCCESS,
        Outcome::Stopped(by) => ExitCode::from(by.exit_code()),
        Outcome::OutputClosed => ExitCode::from(NOT_READ),
    })
}

const GONE: &str = "the session has ended, and its output is not kept any more: it is there while the session runs and \
    shortly after, and as long as its recording is kept, where one is made";

/// The output of a session whose runner is gone.
async fn recorded(client: &Client, session: SessionId, follow: bool, ended: &Ended) -> anyhow::Result<ExitCode> {
    let mut output = match client.recorded_output(session).await {
        Ok(output) => output,
        Err(error) if !matches!(error.problem(), Some(ProblemType::RecordingNotFound | ProblemType::NotFound)) => {
            return Err(error.into());
        }
        Err(_) if follow => {
            eprintln!("cliscale: {GONE}");
            return Ok(concluded(ended));
        }
        Err(_) => bail!(GONE),
    };
    loop {
        // Nothing else is to be done meanwhile, so that a reader may hold this up as long as it likes.
        let piece = output.piece().await?;
        let written = match &piece {
            Some(piece) => stdout().write_all(piece),
            None => stdout().flush(),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::from(NOT_READ)),
            written => written.context("the output cannot be written")?,
        }
        if piece.is_none() {
            return Ok(if follow { concluded(ended) } else { ExitCode::SUCCESS });
        }
    }
}
