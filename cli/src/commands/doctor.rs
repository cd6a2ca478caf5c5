//! `cliscale doctor`: what this machine has of what serving sessions needs, and what to do about the rest.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::arguments::DoctorArgs;
use crate::up::{data_dir, find_runner};

/// One thing that was looked at.
struct Check {
    what: String,
    /// What there is, or what to do.
    found: Result<String, String>,
    /// Nothing works without it.
    required: bool,
}

pub async fn doctor(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let checks = tokio::task::spawn_blocking(move || checks(&args)).await?;
    let mut code = ExitCode::SUCCESS;
    for Check { what, found, required } in checks {
        match found {
            Ok(found) => println!("ok       {what}: {found}"),
            Err(remedy) if required => {
                println!("missing  {what}: {remedy}");
                code = ExitCode::FAILURE;
            }
            Err(remedy) => println!("without  {what}: {remedy}"),
        }
    }
    Ok(code)
}

fn checks(args: &DoctorArgs) -> Vec<Check> {
    let package = |name: &str| format!("install it, such as by `apt-get install {name}` or `brew install {name}`");
    let program = |name: &str, remedy: String, required| Check {
        what: name.to_owned(),
        found: version(name).ok_or(remedy),
        required,
    };
    let runner = find_runner(args.runner_bin.as_deref());
    vec![
        Check {
            what: "cliscale-runner".to_owned(),
            found: runner.map(|path| path.display().to_string()).map_err(|error| error.to_string()),
            required: true,
        },
        program("git", format!("{}; repositories cannot be fetched without it", package("git")), true),
        program("bash", format!("{}; commands are run by sh without it", package("bash")), false),
        program(
            "node",
            "install Node.js 20 or later (https://nodejs.org); --demo and Node programs need it".into(),
            false,
        ),
        program("npm", "it comes with Node.js; code with a package.json needs it".into(), false),
        Check { what: "data directory".to_owned(), found: writable(args.data_dir.as_deref()), required: true },
        Check { what: "listen address".to_owned(), found: free(&args.listen), required: true },
    ]
}

/// The first line of `NAME --version`.
fn version(name: &str) -> Option<String> {
    let output = Command::new(name).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

fn writable(named: Option<&Path>) -> Result<String, String> {
    let path = named.map(Path::to_owned).or_else(data_dir::default_path);
    let path = path.ok_or("no home directory is known; name one with --data-dir (CLISCALE_DATA_DIR)")?;
    if let Some(server) = data_dir::running_server(&path) {
        return Ok(format!("{}, used by the server at {} (process {})", path.display(), server.api_url, server.pid));
    }
    let existing = nearest_existing(&path);
    match tempfile::tempfile_in(&existing) {
        Ok(_) => Ok(path.display().to_string()),
        Err(error) => Err(format!("{} cannot be written ({error}); name another with --data-dir", existing.display())),
    }
}

/// The directory itself may only be made at the first start.
fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn free(listen: &str) -> Result<String, String> {
    let address: SocketAddr = listen.parse().map_err(|_| format!("{listen:?} is no ADDRESS:PORT"))?;
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(format!("{address} is busy; choose another with --listen (CLISCALE_LISTEN)"))
        }
        Err(error) => Err(format!("{address}: {error}")),
    }
}
