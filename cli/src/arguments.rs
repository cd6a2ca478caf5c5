//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use session::SessionState;

use crate::api::ServerArgs;
use crate::up::UpFlags;

/// Some code and a command become a live terminal at a URL.
#[derive(Debug, Parser)]
#[command(name = "cliscale", version, about, arg_required_else_help = true, infer_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve everything from this process: API, terminals, sessions
    Up(Box<UpFlags>),
    /// Run a command in a session and attach to it
    Run(Box<RunArgs>),
    /// Attach this terminal to a session
    Attach(AttachArgs),
    /// Write what a session's terminal was sent to standard output
    Logs(LogsArgs),
    /// Make a fresh link to a session and open it in the browser
    Open(OpenArgs),
    /// List sessions, newest first
    Ls(ListArgs),
    /// Show a session as JSON
    Show(ShowArgs),
    /// End sessions
    Rm(RemoveArgs),
    /// Check what this machine needs to serve sessions
    Doctor(DoctorArgs),
}

/// Ctrl-] leaves a session; it goes on, and `cliscale attach` comes back. With the server that `run` starts for
/// itself, leaving ends it.
///
/// Exit codes: the command's own (128 + n when signal n ended it); 124 when the session's time was over; 125 when the
/// command could not be run or its end is not known; 130 after Ctrl-C; 2 for a wrong command line.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A folder, run as a copy, or the URL of a repository, of a folder in one, or of an archive
    #[arg(value_name = "CODE", default_value = ".")]
    pub code: String,
    /// Run this first [default: npm ci or npm install where there is a package.json; "" for nothing]
    #[arg(long, value_name = "COMMAND")]
    pub install: Option<String>,
    /// Reaches the command as $PROMPT
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// An environment entry; NAME alone takes it from here
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// The archive's SHA-256
    #[arg(long, value_name = "SHA256")]
    pub checksum: Option<String>,
    /// Run in the folder itself instead of in a copy
    #[arg(long)]
    pub in_place: bool,
    /// Seconds that the session may live
    #[arg(long, value_name = "SECONDS")]
    pub ttl: Option<u64>,
    /// Seconds without operator and output after which it ends
    #[arg(long, value_name = "SECONDS")]
    pub idle: Option<u64>,
    /// A label, to find the session by
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Let nobody hand out read-only links from the terminal's page
    #[arg(long)]
    pub no_share: bool,
    /// What its sandbox is made of, one of the server's templates [default: default]
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// Print the session's id and link, and leave it running
    #[arg(short, long)]
    pub detach: bool,
    /// Open the link in the browser, too
    #[arg(long)]
    pub open: bool,
    #[command(flatten)]
    pub server: ServerArgs,
    /// The command: one word is run as written by a shell, several are quoted first
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The session's id, or enough of its beginning or end
    pub id: String,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Every byte as it was written to the terminal: from the session's runner while the session runs and shortly after, and
/// then from its recording, as long as that is kept. With --follow, a slow reader holds the program up instead of missing any output, but no longer than
/// half a minute without reading on. Output that is missing is counted on standard error.
///
/// Exit codes: with --follow those of `cliscale run`; otherwise 0, or 1 when there is nothing to be read any more.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The session's id, or enough of its beginning or end
    pub id: String,
    /// Go on to the session's end, and exit with the command's code
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct OpenArgs {
    /// The session's id, or enough of its beginning or end
    pub id: String,
    /// Only print the link
    #[arg(long)]
    pub print: bool,
    /// A link that can watch but not type
    #[arg(long)]
    pub viewer: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// As the API's JSON
    #[arg(long)]
    pub json: bool,
    /// Only sessions in this state: pending, starting, running or ended
    #[arg(long)]
    pub state: Option<SessionState>,
    /// Only sessions with this label
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// At most this many
    #[arg(long, short = 'n', default_value = "50")]
    pub limit: usize,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The session's id, or enough of its beginning or end
    pub id: String,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The sessions' ids, or enough of their beginnings or ends
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The address that `up` is to listen on
    #[arg(long, value_name = "ADDRESS", env = "CLISCALE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Where `up` is to keep its data
    #[arg(long, value_name = "DIR", env = "CLISCALE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The runner's program
    #[arg(long, value_name = "FILE", env = "CLISCALE_RUNNER_BIN")]
    pub runner_bin: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_shows_no_variable_s_value() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands_mut() {
            assert!(!sub.render_long_help().to_string().contains("csk_"), "{}", sub.get_name());
        }
    }

    #[test]
    fn run_takes_code_before_and_the_command_after_the_dashes() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["cliscale", "run"], args].concat());
        let Ok(Cli { command: Command::Run(run) }) = parse(&["-e", "A=1", "--", "ls", "-l"]) else { panic!() };
        assert_eq!((run.code.as_str(), run.command), (".", vec!["ls".to_owned(), "-l".to_owned()]));
        let Ok(Cli { command: Command::Run(run) }) = parse(&["src", "--", "make"]) else { panic!() };
        assert_eq!(run.code, "src");
        assert!(parse(&["src"]).is_err());
    }
}
