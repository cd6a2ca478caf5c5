//! `cliscale open`: a fresh link, in the browser where there is one.

use std::process::ExitCode;

use session::Role;

use super::sessions;
use crate::arguments::OpenArgs;

pub async fn open(args: OpenArgs) -> anyhow::Result<ExitCode> {
    let server = args.server.require()?;
    let session = sessions::find(&server.client, &args.id).await?;
    let role = if args.viewer { Role::Viewer } else { Role::Operator };
    let url = server.client.mint(session, role).await?.terminal_url;
    if args.print || !open_in_browser(&url) {
        println!("{url}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens a link; `false` when there is nothing to open it with. The link works once, so one that the browser has is
/// not printed as if it were good for more.
pub fn open_in_browser(url: &str) -> bool {
    if !has_display() {
        return false;
    }
    match open::that_detached(url) {
        Ok(()) => {
            eprintln!("cliscale: opened in the browser");
            true
        }
        Err(error) => {
            eprintln!("cliscale: no browser could be opened: {error}");
            false
        }
    }
}

fn has_display() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY") || set("WSL_DISTRO_NAME") || set("BROWSER")
}
