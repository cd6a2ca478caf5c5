//! A connection after its upgrade: the bare socket. hyper's own wrapping of it, with the buffers of the handshake, is gone.

use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// After so much silence the kernel looks whether the other side's machine is still there, and then so often.
const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));

/// The connection is not one of TCP, which all servers and clients here have.
#[derive(Debug, thiserror::Error)]
#[error("the upgraded connection is no TCP socket")]
pub struct NotTcp;

pub struct Upgraded {
    pub io: TcpStream,
    /// What came with the handshake.
    pub unread: Bytes,
}

impl Upgraded {
    pub fn new(io: TcpStream, unread: &[u8]) -> Self {
        // A keystroke is one small frame; it must not wait for the next.
        let _ = io.set_nodelay(true);
        let _ = SockRef::from(&io).set_tcp_keepalive(&KEEP_ALIVE);
        // A copy, since the rest of the buffer would stay with it.
        Self { io, unread: Bytes::copy_from_slice(unread) }
    }
}

impl TryFrom<hyper::upgrade::Upgraded> for Upgraded {
    type Error = NotTcp;

    fn try_from(upgraded: hyper::upgrade::Upgraded) -> Result<Self, NotTcp> {
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| NotTcp)?;
        Ok(Self::new(parts.io.into_inner(), &parts.read_buf))
    }
}
