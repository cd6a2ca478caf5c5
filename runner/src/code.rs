//! Brings the session's code to its workspace, with every line of it shown in the terminal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use session::CodeSource;
use session::runner_api::Assign;
use tokio_util::sync::CancellationToken;

use crate::fetch::{FetchLimits, FetchRequest, Say, fetch};
use crate::terminal::Terminal;

/// Fetches what `assign` names; the error is the user's sentence.
pub async fn bring(
    assign: &Assign,
    workspace: &Path,
    terminal: &Arc<Terminal>,
    cancel: CancellationToken,
) -> Result<PathBuf, String> {
    let source = CodeSource::parse(&assign.spec.code_url, assign.fetch.allow_local)
        .map_err(|error| format!("code_url {error}"))?;
    std::fs::create_dir_all(workspace).map_err(|error| format!("the workspace cannot be made: {error}"))?;
    let shown = Arc::clone(terminal);
    let say: Say = Arc::new(move |text| shown.print(text));
    let request = FetchRequest {
        source,
        checksum_sha256: assign.spec.checksum_sha256.clone(),
        auth: assign.secrets.code_auth.clone(),
        policy: assign.fetch.clone(),
        workspace: workspace.to_owned(),
        in_place: assign.spec.in_place,
    };
    let fetched = fetch(request, &FetchLimits::default(), say, cancel).await.map_err(|error| error.to_string())?;
    Ok(fetched.folder)
}

/// Where the code comes from, as it may be shown: without a query, which may hold a key.
pub fn shown_source(assign: &Assign) -> String {
    match CodeSource::parse(&assign.spec.code_url, assign.fetch.allow_local) {
        Ok(CodeSource::Folder { path }) => path.display().to_string(),
        _ => url::Url::parse(&assign.spec.code_url).map_or_else(
            |_| String::new(),
            |mut url| {
                url.set_query(None);
                url.to_string()
            },
        ),
    }
}
