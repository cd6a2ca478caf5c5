//! What is drawn before a session is created, so that its transaction can name the runner that will be launched after.

use session::{RunnerId, Secret};
use store::{Digest, NewRunner, Placement};

/// The system's random source failed.
#[derive(Debug, thiserror::Error)]
#[error("no random numbers are to be had")]
pub struct PlanError;

/// A runner to be: its id, and the boot token that it will prove itself with.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) runner: RunnerId,
    pub(super) boot_token: Secret,
    fixed: Option<String>,
}

impl Plan {
    pub(super) fn draw(fixed: Option<&str>) -> Result<Self, PlanError> {
        // 256 bits: nobody guesses one in a runner's short boot, nor from its digest in the database.
        let mut bits = [0; 32];
        aws_lc_rs::rand::fill(&mut bits).map_err(|_| PlanError)?;
        Ok(Self {
            runner: RunnerId::new(),
            boot_token: Secret::new(hex::encode(bits)),
            fixed: fixed.map(str::to_owned),
        })
    }

    /// What the creating transaction records. The boot token itself stays here.
    pub fn placement(&self) -> Placement {
        match &self.fixed {
            Some(address) => Placement::Fixed { runner: self.runner, address: address.clone() },
            None => Placement::Runner(self.new_runner()),
        }
    }

    /// What the database keeps of it.
    pub(super) fn new_runner(&self) -> NewRunner {
        NewRunner { id: self.runner, boot_token: Digest::of(self.boot_token.expose().as_bytes()) }
    }
}
