//! What clients and the backend say to each other: whole WebSocket frames by hand, so that the driver costs little and
//! every proxy carries the same bytes.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// RFC 6455, 1.3: any key does.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MAX_HEAD: usize = 16 * 1024;
/// What the backend says first: output of the word `ready`.
pub const READY: [u8; 8] = [0x82, 6, b'0', b'r', b'e', b'a', b'd', b'y'];
/// A keystroke of a client, masked with zeros, and its echo.
pub const STROKE: [u8; 8] = [0x82, 0x82, 0, 0, 0, 0, b'0', b'x'];
pub const ECHO: [u8; 4] = [0x82, 2, b'0', b'x'];
const ORDER_PAYLOAD: usize = 17;

/// What a client has the backend do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Answer each [`STROKE`] with an [`ECHO`].
    Echo,
    /// Send so many bytes in frames of this size, so many frames at a time.
    Flood { bytes: u64, frame: u32, batch: u32 },
}

impl Order {
    /// As one frame.
    pub fn encode(self) -> Vec<u8> {
        let (kind, bytes, frame, batch) = match self {
            Self::Echo => (b'e', 0, 0, 0),
            Self::Flood { bytes, frame, batch } => (b'f', bytes, frame, batch),
        };
        let mut order = vec![0x82, 0x80 | ORDER_PAYLOAD as u8, 0, 0, 0, 0, kind];
        order.extend(bytes.to_be_bytes());
        order.extend(frame.to_be_bytes());
        order.extend(batch.to_be_bytes());
        order
    }

    pub async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut order = [0; 6 + ORDER_PAYLOAD];
        stream.read_exact(&mut order).await?;
        let [_, _, _, _, _, _, kind, rest @ ..] = order;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = rest;
        match kind {
            b'e' => Ok(Self::Echo),
            b'f' => Ok(Self::Flood {
                bytes: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                frame: u32::from_be_bytes([i, j, k, l]),
                batch: u32::from_be_bytes([m, n, o, p]),
            }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Whole frames of output, headers included.
pub fn frames(frame: usize, count: usize) -> Vec<u8> {
    let mut one = vec![0x82];
    match frame {
        short @ 0..=125 => one.push(short as u8),
        middle @ 126..=0xffff => {
            one.push(126);
            one.extend((middle as u16).to_be_bytes());
        }
        long => {
            one.push(127);
            one.extend((long as u64).to_be_bytes());
        }
    }
    one.push(b'0');
    one.resize(one.len() + frame - 1, b'y');
    one.repeat(count)
}

/// Asks for an upgrade, and reads the answer's head.
pub async fn ask(stream: &mut TcpStream, path: &str, protocols: &str) -> io::Result<()> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: {protocols}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(stream).await?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "101" { Ok(()) } else { Err(io::Error::other(format!("the upgrade was answered with {status}"))) }
}

/// The backend's side of it.
pub async fn answer(stream: &mut TcpStream) -> io::Result<()> {
    let head = read_head(stream).await?;
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    };
    let key = header("sec-websocket-key").ok_or(io::ErrorKind::InvalidData)?;
    let protocol = header("sec-websocket-protocol").and_then(|all| all.split(',').next()).unwrap_or("tty");
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )
    .into_bytes();
    answer.extend(READY);
    stream.write_all(&answer).await
}

/// Up to the empty line and nothing beyond it: what follows may come in the same piece.
async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    loop {
        let seen = stream.peek(&mut piece).await?;
        if seen == 0 || head.len() > MAX_HEAD {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = head.len();
        head.extend_from_slice(&piece[..seen]);
        let end = head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let taken = end.map_or(seen, |end| end - before);
        stream.read_exact(&mut piece[..taken]).await?;
        if let Some(end) = end {
            head.truncate(end);
            return String::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData.into());
        }
    }
}

/// The payload of the next frame.
pub async fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let length = match head[1] & 0x7f {
        126 => usize::from(stream.read_u16().await?),
        127 => return Err(io::ErrorKind::InvalidData.into()),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    if head[0] & 0x0f == 8 {
        let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        return Err(io::Error::other(format!("closed with {code}")));
    }
    Ok(payload)
}
