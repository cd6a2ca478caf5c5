//! The static launcher: every session is given the ttyd-compatible server at one fixed address. Nothing is started and
//! nothing is ended.

use async_trait::async_trait;
use session::RunnerId;
use session::frames::Wire;

use super::{Launch, LaunchError, Launcher, LauncherKind};

/// Gives every session the same ttyd-compatible server.
#[derive(Debug, Clone)]
pub struct StaticLauncher {
    address: String,
}

impl StaticLauncher {
    /// `address` is `HOST:PORT`.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }
}

#[async_trait]
impl Launcher for StaticLauncher {
    fn kind(&self) -> LauncherKind {
        LauncherKind::Static
    }

    fn wire(&self) -> Wire {
        Wire::Tty
    }

    fn fixed_address(&self) -> Option<&str> {
        Some(&self.address)
    }

    async fn launch(&self, _request: Launch) -> Result<String, LaunchError> {
        Err(LaunchError::Unsupported)
    }

    async fn alive(&self) -> Result<Vec<RunnerId>, LaunchError> {
        Ok(Vec::new())
    }

    async fn destroy(&self, _runner: RunnerId, _handle: Option<&str>) -> Result<(), LaunchError> {
        Ok(())
    }
}
