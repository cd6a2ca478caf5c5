//! What a client sends, and how long it may be silent.

use axum::extract::ws::Message;
use bytes::Bytes;
use futures_util::StreamExt;
use session::frames::{ClientFrame, Hello, close};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite;

use super::{DEAD_AFTER, Done, Flow, PROTOCOL_ERROR, Stream, TOO_BIG};
use crate::clients::InputRefused;
use crate::terminal::Viewer;

/// Returns when nothing came for too long. A client of ours is heard of even while it is sent a flood, by what it
/// acknowledges; a stock one need not be, so it is judged by its pongs when there is nothing to send.
pub(super) async fn silence(flow: watch::Receiver<Flow>) {
    loop {
        let heard = flow.borrow().heard;
        if heard.elapsed() >= DEAD_AFTER {
            return;
        }
        sleep_until(heard + DEAD_AFTER).await;
    }
}

pub(super) async fn read_hello(stream: &mut Stream) -> Result<Hello, Done> {
    loop {
        let Some(bytes) = payload(stream.next().await)? else { continue };
        return match ClientFrame::decode(bytes) {
            Ok(ClientFrame::Hello(hello)) => Ok(hello),
            _ => Err(Some((PROTOCOL_ERROR, "the first message must be the hello"))),
        };
    }
}

/// The bytes of a data message, text or binary; `None` for pings and pongs.
fn payload(message: Option<Result<Message, axum::Error>>) -> Result<Option<Bytes>, Done> {
    match message {
        Some(Ok(Message::Binary(bytes))) => Ok(Some(bytes)),
        Some(Ok(Message::Text(text))) => Ok(Some(text.into())),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(None),
        Some(Err(error)) => Err(match error.into_inner().downcast_ref::<tungstenite::Error>() {
            Some(tungstenite::Error::Capacity(_)) => Some((TOO_BIG, "the message is too long")),
            Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => Some((PROTOCOL_ERROR, "")),
            _ => None,
        }),
    }
}

pub(super) async fn read_frames(stream: &mut Stream, viewer: &Viewer, flow: &watch::Sender<Flow>) -> Done {
    loop {
        let message = stream.next().await;
        if let Some(Ok(Message::Close(reason))) = &message
            && reason.as_ref().is_none_or(|reason| reason.code == close::ENDED)
        {
            viewer.finished();
        }
        let bytes = match payload(message) {
            Ok(bytes) => bytes,
            Err(done) => return done,
        };
        flow.send_modify(|flow| flow.heard = Instant::now());
        let Some(bytes) = bytes else { continue };
        let typed = match ClientFrame::decode(bytes) {
            Ok(ClientFrame::Input(bytes)) => viewer.type_input(None, bytes).await,
            Ok(ClientFrame::InputAt(at, bytes)) => viewer.type_input(Some(at), bytes).await,
            Ok(ClientFrame::Resize(size)) => {
                viewer.resize(size);
                continue;
            }
            Ok(ClientFrame::Take(take)) => {
                viewer.take_over(take);
                continue;
            }
            Ok(ClientFrame::Pause) => {
                flow.send_modify(|flow| flow.paused = true);
                continue;
            }
            Ok(ClientFrame::Resume) => {
                flow.send_modify(|flow| flow.paused = false);
                continue;
            }
            Ok(ClientFrame::Ack(at)) => {
                viewer.parsed(at);
                flow.send_modify(|flow| flow.parsed = flow.parsed.max(Some(at)));
                continue;
            }
            // ttyd ignores what it does not know, and so what a later version may send.
            Ok(ClientFrame::Hello(_)) | Err(_) => continue,
        };
        match typed {
            Ok(accepted) => flow.send_modify(|flow| flow.accepted = accepted),
            Err(InputRefused::Replaced) => return Some((close::TAKEN_OVER, "this client has connected anew")),
            Err(InputRefused::Gap) => return Some((PROTOCOL_ERROR, "input is missing before its offset")),
        }
    }
}
