//! A launcher that does nothing: it remembers which runners it was asked for, and tells whoever plays them.

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use controller::launcher::{Launch, LaunchError, Launcher, LauncherKind};
use session::{RunnerId, Secret};

/// What is told, as one line each on standard output.
pub enum News {
    /// The runner may call home with this token.
    Launched(RunnerId, Secret),
    Destroyed(RunnerId),
}

impl News {
    pub fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (what, runner) = (words.next()?, words.next()?.parse().ok()?);
        match what {
            "launched" => Some(Self::Launched(runner, Secret::new(words.next()?))),
            "destroyed" => Some(Self::Destroyed(runner)),
            _ => None,
        }
    }

    fn tell(&self) -> Result<(), LaunchError> {
        let mut output = std::io::stdout().lock();
        let told = match self {
            Self::Launched(runner, token) => writeln!(output, "launched {runner} {}", token.expose()),
            Self::Destroyed(runner) => writeln!(output, "destroyed {runner}"),
        };
        told.map_err(LaunchError::Start)
    }
}

#[derive(Default)]
pub struct IdleLauncher(Mutex<HashSet<RunnerId>>);

impl IdleLauncher {
    fn runners(&self) -> MutexGuard<'_, HashSet<RunnerId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Launcher for IdleLauncher {
    fn kind(&self) -> LauncherKind {
        LauncherKind::Process
    }

    async fn launch(&self, request: Launch) -> Result<String, LaunchError> {
        self.runners().insert(request.runner);
        News::Launched(request.runner, request.boot_token).tell()?;
        Ok(String::new())
    }

    async fn alive(&self) -> Result<Vec<RunnerId>, LaunchError> {
        Ok(self.runners().iter().copied().collect())
    }

    async fn destroy(&self, runner: RunnerId, _handle: Option<&str>) -> Result<(), LaunchError> {
        if self.runners().remove(&runner) { News::Destroyed(runner).tell() } else { Ok(()) }
    }
}
