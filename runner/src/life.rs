//! One session from assignment to end: fetch, install, run, and what is said of it in the terminal and to the
//! controller. Whatever happens, it ends with nothing running below this process and the whole output in the terminal.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use session::frames::{Exit, Size, Waiting};
use session::runner_api::Assign;
use session::{EndReason, Ended, Stage};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::caches::Caches;
use crate::ending::{Ender, watch};
use crate::environment::{Environment, install_line};
use crate::files::Files;
use crate::pty::{self, Master};
use crate::reports::Reports;
use crate::shield::OomScore;
use crate::terminal::{Terminal, Typed};
use crate::tree::{self, Reaper, Status};
use crate::{code, oom};

/// What a job is asked with before it is killed, and how long it has each time. SIGTERM comes alone: a program that
/// tidies up on it seldom knows SIGHUP, which interactive shells in turn need, since they ignore SIGTERM.
const REQUESTS: [(Signal, Duration); 2] =
    [(Signal::SIGTERM, Duration::from_millis(1500)), (Signal::SIGHUP, Duration::from_millis(1500))];
/// How long output is read on after the command's end while its children hold the terminal.
const TAIL: Duration = Duration::from_secs(2);
/// How long the kernel may take to end what was killed.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Read at once: the kernel seldom has more than a page ready.
const READ: usize = 16 * 1024;

/// The terminal that the running job has; none between jobs.
#[derive(Clone, Default)]
pub struct Screen(Arc<Mutex<Option<Arc<Master>>>>);

/// A session that was just assigned.
pub struct Session {
    pub assign: Assign,
    pub terminal: Arc<Terminal>,
    /// What operators type, for whatever job runs.
    pub typed: Typed,
    pub screen: Screen,
    pub ender: Ender,
    pub files: Arc<Files>,
}

/// What a session needs of the runner around it.
pub struct Surroundings<'a> {
    pub workspace: &'a Path,
    pub home: &'a Path,
    pub caches: &'a Caches,
    /// [`crate::settings::Settings::container`]
    pub container: bool,
    pub oom: &'a OomScore,
    pub reports: &'a Reports,
}

/// How a job ended: by itself, or because somebody asked; then its own status may be unknown.
struct Outcome {
    asked: Option<Ended>,
    status: Option<Status>,
}

impl Screen {
    pub fn resize(&self, size: Size) {
        if let Some(master) = &*self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            master.resize(size);
        }
    }

    fn show(&self, master: Option<Arc<Master>>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = master;
    }
}

/// Lives the session and returns how it ended; by then the terminal is finished and nothing of it runs.
pub async fn live(mut session: Session, around: Surroundings<'_>) -> Ended {
    let (terminal, ender) = (Arc::clone(&session.terminal), session.ender.clone());
    let idle = Duration::from_secs(session.assign.spec.idle_secs);
    let ended = tokio::select! {
        ended = session.course(&around) => ended,
        () = watch(&terminal, &ender, idle) => unreachable!("it never returns"),
        () = terminal.keep_up() => unreachable!("it never returns"),
    };
    let exit = ended.clone();
    terminal.finish(|end| Exit {
        code: exit.exit_code,
        signal: exit.signal,
        reason: exit.reason,
        end,
        message: exit.message,
    });
    ended
}

impl Session {
    async fn course(&mut self, around: &Surroundings<'_>) -> Ended {
        let ended = self.perform(around).await.unwrap_or_else(|ended| ended);
        // Jobs see to their own; this is for what an install left behind when no command followed.
        tree::kill_all(Pid::from_raw(0), KILL_LIMIT).await;
        if !matches!(ended.reason, EndReason::Exited) {
            let message = ended.message.as_deref().unwrap_or(ended.reason.as_str());
            self.terminal.say(&format!("\x1b[0m\x1b[31m› {}\x1b[0m", printable(message)));
        }
        ended
    }

    async fn perform(&mut self, around: &Surroundings<'_>) -> Result<Ended, Ended> {
        // Whoever assigned the session may have missed the answer, and then gives it to another runner. From the first report
        // on (that code is fetched) the controller does so no more, and a runner that was replaced before hears of it here.
        // So no command is run any earlier, or it might run twice; code that is fetched twice harms nobody.
        let taken = async {
            tokio::select! {
                () = around.reports.taken() => Ok(()),
                asked = self.ender.asked() => Err(asked),
            }
        };
        let (taken, folder, defaults) = tokio::join!(taken, self.fetch(around), around.caches.variables());
        taken?;
        let Assign { session, secrets, .. } = &self.assign;
        let environment = Environment::new(*session, secrets, around.home, around.container, defaults);
        if !environment.has_shell() {
            let message = "There is neither bash nor /bin/sh here to run a command with.";
            return Err(Ended::because(EndReason::StartFailed, message));
        }
        let folder = folder?;
        self.run(around, &environment, &folder).await
    }

    async fn fetch(&self, around: &Surroundings<'_>) -> Result<PathBuf, Ended> {
        self.enter(around, Stage::Fetching, &code::shown_source(&self.assign));
        let fetching = code::bring(&self.assign, around.workspace, &self.terminal, self.ender.token());
        match fetching.await {
            // Being asked to end cancels a fetch, which then fails for that reason and no other.
            _ if self.ender.token().is_cancelled() => Err(self.ender.asked().await),
            Ok(folder) => {
                if let Err(error) = self.files.open(&folder) {
                    tracing::warn!(%error, "the session's files can be had by its terminal only");
                }
                Ok(folder)
            }
            Err(message) => Err(Ended::because(EndReason::FetchFailed, message)),
        }
    }

    async fn run(&mut self, around: &Surroundings<'_>, with: &Environment, folder: &Path) -> Result<Ended, Ended> {
        if let Some(line) = install_line(self.assign.spec.install_cmd.as_deref(), folder) {
            self.enter(around, Stage::Installing, &line);
            let outcome = self.job(around, with.command(&line, folder), false).await?;
            if let Some(asked) = outcome.asked {
                return Err(outcome.status.into_iter().fold(asked, with_status));
            }
            if let Some(status) = outcome.status.filter(|status| status.code != 0) {
                let message = format!("The install command failed with exit code {}.", status.code);
                return Err(with_status(Ended::because(EndReason::InstallFailed, message), status));
            }
        }
        let command = with.command(&self.assign.spec.command, folder);
        // The command's text is left out: what looks like output must be output.
        self.enter(around, Stage::Running, "");
        let kills_before = oom::kills();
        let Outcome { asked, status } = self.job(around, command, true).await?;
        if let Some(asked) = asked {
            return Ok(status.into_iter().fold(asked, with_status));
        }
        let status = status.unwrap_or(Status { code: 1, signal: None });
        let killed = status.code == 128 + libc::SIGKILL && oom::kills() > kills_before;
        Ok(match killed {
            true => with_status(Ended::because(EndReason::OomKilled, "The command ran out of memory."), status),
            false => {
                let Status { code, signal } = status;
                Ended { reason: EndReason::Exited, exit_code: Some(code), signal, message: None }
            }
        })
    }

    /// Runs one job to its end. `last`: nothing may be left of it afterwards.
    async fn job(&mut self, around: &Surroundings<'_>, command: Command, last: bool) -> Result<Outcome, Ended> {
        let failed = |error: std::io::Error| {
            Ended::because(EndReason::StartFailed, format!("The command could not be started: {error}."))
        };
        let mut reaper = Reaper::new().map_err(failed)?;
        let job = pty::spawn(command, self.terminal.size(), around.oom).map_err(failed)?;
        let master = Arc::new(job.master);
        self.screen.show(Some(Arc::clone(&master)));
        // It may have been changed since it was asked for.
        master.resize(self.terminal.size());
        let mut draining = {
            let (master, terminal) = (Arc::clone(&master), Arc::clone(&self.terminal));
            tokio::task::spawn_blocking(move || drain(&master, &terminal))
        };
        let ended = tokio::select! {
            status = reaper.wait_for(job.pid) => Ok(status),
            asked = self.ender.asked() => Err(asked),
            () = feed(&master, &mut self.typed) => unreachable!("it never returns"),
        };
        let outcome = match ended {
            Ok(status) => {
                tokio::select! {
                    _ = timeout(TAIL, &mut draining) => {}
                    _ = self.ender.asked() => {}
                }
                Outcome { asked: None, status: Some(status) }
            }
            Err(asked) => {
                let status = ask_to_end(job.pid, &mut reaper).await;
                let killed = tree::kill_all(job.pid, KILL_LIMIT).await;
                Outcome { asked: Some(asked), status: status.or(killed) }
            }
        };
        self.screen.show(None);
        if last {
            tree::kill_all(job.pid, KILL_LIMIT).await;
        }
        if last || outcome.asked.is_some() {
            drained(draining).await;
        }
        // What an install leaves running goes on being read: its reader ends with the last of it.
        Ok(outcome)
    }

    fn enter(&self, around: &Surroundings<'_>, stage: Stage, what: &str) {
        let what = printable(what.lines().next().unwrap_or_default());
        let text = format!("{stage} {what}");
        self.terminal.say(&format!("\x1b[2m› {}\x1b[0m", text.trim_end()));
        self.terminal.enter(Waiting { stage, text: text.trim_end().to_owned() });
        around.reports.stage(stage);
        tracing::info!(%stage, "session");
    }
}

/// `None`: it did not end by itself.
async fn ask_to_end(job: Pid, reaper: &mut Reaper) -> Option<Status> {
    for (signal, grace) in REQUESTS {
        tree::ask(job, signal);
        if let Ok(status) = timeout(grace, reaper.wait_for(job)).await {
            return Some(status);
        }
    }
    None
}

/// Waits for what is left in the terminal. Everything that held it is dead, so only the reading itself takes time.
async fn drained(mut draining: JoinHandle<()>) {
    if !draining.is_finished() && timeout(TAIL, &mut draining).await.is_err() {
        // Its thread cannot be told to stop, and ends with this process.
        tracing::warn!("the terminal was still held when the session ended");
    }
}

/// Reads the terminal to its end, watched or not. Blocks: a flood would keep the runtime waking for its pieces.
fn drain(master: &Master, terminal: &Arc<Terminal>) {
    let mut reading = master.reading();
    let mut buffer = vec![0; READ];
    loop {
        match reading.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                if !terminal.has_room(read) {
                    Handle::current().block_on(terminal.make_room(read));
                }
                terminal.push(&buffer[..read]);
            }
            Err(error) => return tracing::warn!(%error, "the terminal cannot be read"),
        }
    }
}

/// Types what operators send. Never returns: a program that reads nothing only makes them wait.
async fn feed(master: &Master, typed: &mut Typed) {
    while let Some(bytes) = typed.recv().await {
        if let Err(error) = master.write_all(&bytes).await {
            tracing::debug!(%error, "input had nobody to go to");
        }
    }
    std::future::pending().await
}

fn with_status(ended: Ended, status: Status) -> Ended {
    Ended { exit_code: Some(status.code), signal: status.signal, ..ended }
}

/// `text` without anything that a terminal would obey, on one line and not too long.
fn printable(text: &str) -> String {
    const LONGEST: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
