//! `cliscale attach`: this terminal on a session that runs already.

use std::process::ExitCode;

use super::{FAILED, sessions, verdict};
use crate::arguments::AttachArgs;
use crate::attach::{Attach, Local, Outcome, attach as attach_to, ended_as};

pub async fn attach(args: AttachArgs) -> anyhow::Result<ExitCode> {
    let server = args.server.require()?;
    let client = &server.client;
    let session = sessions::find(client, &args.id).await?;
    let local = Local::of_this_process();
    let entry = match client.mint(session, local.role()).await {
        Ok(entry) => entry,
        Err(error) => match client.session(session).await.ok().as_ref().and_then(ended_as) {
            // Nothing to attach to any more, but everything to say.
            Some(ended) => return Ok(concluded(&ended)),
            None => return Err(error.into()),
        },
    };
    Ok(match attach_to(Attach { client, entry, local }).await? {
        Outcome::Ended(ended) | Outcome::Unread(ended) => concluded(&ended),
        Outcome::Detached => {
            eprintln!("cliscale: the session goes on; come back with: cliscale attach {session}");
            ExitCode::SUCCESS
        }
        Outcome::Stopped(by) => ExitCode::from(by.exit_code()),
        Outcome::OutputClosed => ExitCode::from(FAILED),
        Outcome::Closed => ExitCode::SUCCESS,
    })
}

/// Says how a session ended, where that needs saying, and answers the exit code.
pub(super) fn concluded(ended: &session::Ended) -> ExitCode {
    if let Some(line) = verdict::line(ended) {
        eprintln!("cliscale: {line}");
    }
    ExitCode::from(verdict::exit_code(ended))
}
