//! `cliscale rm`: ends sessions.

use std::process::ExitCode;

use super::sessions;
use crate::arguments::RemoveArgs;

/// Ends each one it can, and fails when there was one that it could not.
pub async fn remove(args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let server = args.server.require()?;
    let mut code = ExitCode::SUCCESS;
    for text in &args.ids {
        let ended = async {
            let session = sessions::find(&server.client, text).await?;
            server.client.end(session).await?;
            anyhow::Ok(session)
        };
        match ended.await {
            Ok(session) => println!("{session}"),
            Err(error) => {
                eprintln!("cliscale: {text}: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
