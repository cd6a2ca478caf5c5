//! Other programs that put a command's terminal behind a WebSocket, where they are installed: see `bench/peers/terminals`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use bench::machine;
use bench::pin::Running;
use bench::socket::Socket;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/terminals");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-terminado/bin/python3");

pub struct Peer {
    /// With its version.
    name: String,
    program: PathBuf,
    server: &'static str,
    /// What it takes for the key `~`, as text.
    key: &'static str,
}

pub struct Peers(Vec<Peer>);

/// A peer that has printed its port: each connection has a terminal of its own.
pub struct Listening {
    pub process: Running,
    address: String,
}

impl Peers {
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Those that are installed.
    pub fn find() -> Result<Self> {
        let python = PathBuf::from(PYTHON);
        let ask = "import terminado; print('terminado ' + terminado.__version__)";
        let terminado = machine::version_of(Command::new(&python).args(["-c", ask]));
        let terminado = terminado.map(|version| Peer {
            name: format!("terminado {version}"),
            program: python,
            server: "serve_terminado.py",
            key: r#"["stdin","~"]"#,
        });
        let ask = "console.log(require('node-pty/package.json').version)";
        let node_pty = machine::version_of(Command::new("node").args(["-e", ask]).current_dir(FOLDER));
        let node_pty = node_pty.map(|version| Peer {
            name: format!("node-pty {version}"),
            program: "node".into(),
            server: "serve-node-pty.mjs",
            key: "~",
        });
        Ok(Self(terminado.into_iter().chain(node_pty).collect()))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|peer| peer.name.as_str())
    }

    pub fn named(&self, name: &str) -> Option<&Peer> {
        self.0.iter().find(|peer| peer.name == name)
    }
}

impl Peer {
    /// Serves a shell's command.
    pub fn start(&self, command: &str) -> Result<Listening> {
        let mut server = Command::new(&self.program);
        server.arg(self.server).arg(command).current_dir(FOLDER).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Running::start(&mut server)?;
        let mut port = String::new();
        BufReader::new(process.0.stdout.take().context("its output")?).read_line(&mut port)?;
        Ok(Listening { process, address: format!("127.0.0.1:{}", port.trim()) })
    }

    pub fn type_key(&self, socket: &mut Socket) -> Result<()> {
        socket.send_text(self.key)
    }
}

impl Listening {
    pub fn attach(&self) -> Result<Socket> {
        Socket::open(&self.address, "/ws", None, &[])
    }
}
