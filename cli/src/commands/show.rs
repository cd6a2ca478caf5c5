//! `cliscale show`: one session as the API's JSON.

use std::process::ExitCode;

use super::sessions;
use crate::arguments::ShowArgs;

pub async fn show(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let server = args.server.require()?;
    let session = sessions::find(&server.client, &args.id).await?;
    println!("{}", serde_json::to_string_pretty(&server.client.session(session).await?)?);
    Ok(ExitCode::SUCCESS)
}
