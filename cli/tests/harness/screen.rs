//! A real pseudo-terminal, as a person has one before them.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use testkit::stack::{binary, wait_until};

use super::World;

/// A terminal with a shell command in it, and everything that it has shown.
pub struct Screen {
    pub master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Screen {
    pub fn start(world: &World, script: &str, size: (u16, u16)) -> Self {
        let size = PtySize { cols: size.0, rows: size.1, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new("sh");
        command.args(["-c", script]);
        command.env_clear();
        world.variables().into_iter().for_each(|(name, value)| command.env(name, value));
        command.env("CLISCALE", binary("cliscale"));
        command.env("TERM", "xterm-256color");
        command.cwd(world.dir.path());
        let child = pair.slave.spawn_command(command).unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, seen) = (pair.master.try_clone_reader().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                seen.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self { keys: pair.master.take_writer().unwrap(), master: pair.master, child, shown }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    pub async fn sees(&self, text: &str) {
        wait_until(&format!("{text:?} is shown"), || self.text().contains(text)).await;
    }

    pub fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub async fn exits(mut self) -> (u32, String) {
        let child = &mut self.child;
        let mut code = None;
        let deadline = std::time::Instant::now() + testkit::stack::SOON;
        while code.is_none() {
            assert!(std::time::Instant::now() < deadline, "the terminal's shell did not end");
            code = child.try_wait().unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        (code.unwrap().exit_code(), String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
