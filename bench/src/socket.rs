//! A WebSocket's client by hand, blocking: it costs as little as reading costs, whatever it reads from.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use session::frames::TTY_R1;

/// RFC 6455, 1.3: any key does.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Long enough for whatever starts a shell.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Socket(BufReader<TcpStream>);

impl Socket {
    pub fn open(address: &str, path: &str, protocol: Option<&str>, headers: &[(&str, &str)]) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        );
        for (name, value) in protocol.map(|protocol| ("Sec-WebSocket-Protocol", protocol)).iter().chain(headers) {
            request += &format!("{name}: {value}\r\n");
        }
        (&stream).write_all(format!("{request}\r\n").as_bytes())?;
        let mut reader = BufReader::with_capacity(1 << 20, stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        ensure!(line.contains(" 101 "), "{address} does not upgrade: {line}");
        while line != "\r\n" {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "the answer was cut");
        }
        Ok(Self(reader))
    }

    /// A client of our own protocol that has said its hello.
    pub fn attach(address: &str, path: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let mut socket = Self::open(address, path, Some(TTY_R1), headers)?;
        socket.send(br#"{"AuthToken":"","columns":80,"rows":24}"#)?;
        Ok(socket)
    }

    /// A binary message, masked with zeros.
    pub fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.send_as(0x82, payload)
    }

    pub fn send_text(&mut self, text: &str) -> Result<()> {
        self.send_as(0x81, text.as_bytes())
    }

    fn send_as(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).context("a short message")?;
        let mut frame = vec![kind, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        Ok(self.0.get_mut().write_all(&frame)?)
    }

    /// The payload of the next message.
    pub fn read(&mut self) -> Result<Vec<u8>> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length)?;
                u16::from_be_bytes(length).into()
            }
            127 => {
                let mut length = [0; 8];
                self.0.read_exact(&mut length)?;
                usize::try_from(u64::from_be_bytes(length))?
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        ensure!(head[0] & 0x0f != 8, "the connection was closed");
        Ok(payload)
    }

    /// Reads until `text` has come, whatever lies around it.
    pub fn read_until(&mut self, text: &[u8]) -> Result<()> {
        let (deadline, mut seen) = (Instant::now() + PATIENCE, Vec::new());
        while !seen.windows(text.len()).any(|window| window == text) {
            ensure!(Instant::now() < deadline, "{} did not come", String::from_utf8_lossy(text));
            seen.extend(self.read()?);
        }
        Ok(())
    }

    /// Reads so many bytes of whatever comes.
    pub fn drain(&mut self, bytes: u64) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            match self.0.fill_buf() {
                Ok([]) => bail!("the flood was cut"),
                Ok(buffer) => {
                    let count = buffer.len();
                    self.0.consume(count);
                    left = left.saturating_sub(count as u64);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
