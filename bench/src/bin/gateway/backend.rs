//! What stands behind every proxy: a terminal server that does what its clients order.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::spawn_local;

use crate::wire::{self, ECHO, Order, STROKE};

/// Listens for as long as the program runs.
pub fn start() -> io::Result<SocketAddr> {
    let listener = listen()?;
    let address = listener.local_addr()?;
    spawn_local(async move {
        let mut floods: HashMap<(u32, u32), Rc<[u8]>> = HashMap::new();
        // One buffer for all floods of a kind: those who measure memory look at the proxy, but the driver must not swap.
        for (frame, batch) in [(4096, 1), (4096, 16)] {
            floods.insert((frame, batch), wire::frames(frame as usize, batch as usize).into());
        }
        let floods = Rc::new(floods);
        while let Ok((stream, _)) = listener.accept().await {
            let floods = Rc::clone(&floods);
            spawn_local(async move {
                // A client that leaves ends it.
                let _ = serve(stream, &floods).await;
            });
        }
    });
    Ok(address)
}

/// With room for thousands that come at once.
fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(4096)
}

async fn serve(mut stream: TcpStream, floods: &HashMap<(u32, u32), Rc<[u8]>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    wire::answer(&mut stream).await?;
    match Order::read(&mut stream).await? {
        Order::Echo => loop {
            let mut stroke = STROKE;
            stream.read_exact(&mut stroke).await?;
            stream.write_all(&ECHO).await?;
        },
        Order::Flood { bytes, frame, batch } => {
            let batch = floods.get(&(frame, batch)).ok_or(io::ErrorKind::InvalidInput)?;
            let mut sent = 0;
            while sent < bytes {
                stream.write_all(batch).await?;
                sent += batch.len() as u64;
            }
            // Until the client leaves.
            stream.read_u8().await.map(drop)
        }
    }
}
