//! A program that writes a known stream, as much of it at a time as it is told to.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::Rig;
use crate::rig::witness::position;

/// Dropping it ends the program.
pub struct Player {
    control: BufReader<UnixStream>,
    typed: PathBuf,
}

impl Player {
    /// Assigns the program to the rig, whose terminal is raw once it shows that it is ready.
    pub async fn start(rig: &Rig, stream: &[u8]) -> Self {
        let home = rig.folder.path().join("home");
        std::fs::write(home.join("stream"), stream).unwrap();
        std::fs::write(home.join("player.py"), include_str!("player.py")).unwrap();
        let listener = UnixListener::bind(home.join("control")).unwrap();
        rig.assign(rig.spec("exec python3 $HOME/player.py")).await;
        let (control, _) = listener.accept().await.unwrap();
        Self { control: BufReader::new(control), typed: home.join("typed") }
    }

    /// Where the program's output begins in the terminal's, once it is ready.
    pub fn beginning(output: &[u8]) -> Option<usize> {
        position(output, "ready\n").map(|at| at + 6)
    }

    /// Has it write so many bytes.
    pub async fn play(&mut self, bytes: usize) {
        self.control.write_all(format!("{bytes}\n").as_bytes()).await.unwrap();
    }

    /// Waits until it has written them; returns its own time.
    pub async fn played(&mut self) -> Duration {
        let mut line = String::new();
        self.control.read_line(&mut line).await.unwrap();
        Duration::from_nanos(line.trim().parse().expect("the program's time"))
    }

    /// All that it was typed so far.
    pub fn typed(&self) -> Vec<u8> {
        std::fs::read(&self.typed).unwrap_or_default()
    }
}
