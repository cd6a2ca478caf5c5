//! `cliscale logs`: a session's output, as bytes, for files and CI.

use std::process::ExitCode;

use anyhow::bail;

use super::attach::concluded;
use super::{NOT_READ, sessions};
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
            Some(ended) if args.follow => {
                eprintln!("cliscale: {GONE}");
                return Ok(concluded(&ended));
            }
            Some(_) => bail!(GONE),
            None => return Err(error.into()),
        },
    };
    Ok(match attach(Attach { client, entry, local }).await? {
        Outcome::Ended(ended) if args.follow => concluded(&ended),
        Outcome::Ended(_) | Outcome::Detached | Outcome::Closed => ExitCode::SUCCESS,
        Outcome::Stopped(by) => ExitCode::from(by.exit_code()),
        Outcome::OutputClosed => ExitCode::from(NOT_READ),
    })
}

const GONE: &str = "the session has ended, and its output is not kept any more: it is there while the session runs and \
    shortly after";
