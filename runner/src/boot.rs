//! The first moments: the boot token comes in, the runner's own secret is drawn.

use std::io::{self, Read};

use session::Secret;
use tokio_util::sync::CancellationToken;

/// Where the boot token is read from without a lifeline.
pub const TOKEN_VARIABLE: &str = "CLISCALE_BOOT_TOKEN";
/// A boot token is far shorter; whatever never ends its line is not a launcher.
const MAX_TOKEN: usize = 4096;

/// There is no boot token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{TOKEN_VARIABLE} is missing (or use --lifeline and write the boot token to stdin)")]
    Missing,
    #[error("stdin's first line is not a boot token")]
    NotALine,
    #[error("stdin cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

pub fn token_from_environment() -> Result<Secret, TokenError> {
    std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()).map(Secret::new).ok_or(TokenError::Missing)
}

/// Reads the boot token from the lifeline's first line, byte by byte: what follows stays unread. Blocks.
pub fn token_from_lifeline(lifeline: &mut impl Read) -> Result<Secret, TokenError> {
    let mut line = Vec::new();
    let mut byte = [0];
    while lifeline.read(&mut byte)? == 1 && byte[0] != b'\n' && line.len() < MAX_TOKEN {
        line.push(byte[0]);
    }
    let token = String::from_utf8(line).map_err(|_| TokenError::NotALine)?;
    match token.trim() {
        token if byte[0] == b'\n' && !token.is_empty() => Ok(Secret::new(token)),
        _ => Err(TokenError::NotALine),
    }
}

/// Cancels the token once the lifeline has ended: whoever held its other end is gone.
pub fn watch_lifeline(mut lifeline: impl Read + Send + 'static) -> io::Result<CancellationToken> {
    let gone = CancellationToken::new();
    let told = gone.clone();
    // A thread, since a blocked read of stdin can neither be cancelled nor waited out by the runtime.
    std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        let mut ignored = [0; 512];
        loop {
            match lifeline.read(&mut ignored) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return told.cancel(),
            }
        }
    })?;
    Ok(gone)
}

/// 256 random bits in hex.
pub fn draw_secret() -> Secret {
    let mut bits = [0; 32];
    // The system's own source, since the TLS library's takes 50 ms to gather entropy before its first byte.
    // It fails only where there is no such source, and then nothing may be served.
    getrandom::fill(&mut bits).expect("the system's random source works");
    Secret::new(hex::encode(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_first_line_and_nothing_after_it_is_read() {
        let mut lifeline: &[u8] = b"abc\nrest";
        assert_eq!(token_from_lifeline(&mut lifeline).unwrap(), Secret::new("abc"));
        assert_eq!(lifeline, b"rest");
        assert!(token_from_lifeline(&mut &b"abc"[..]).is_err());
        assert!(token_from_lifeline(&mut &b"\n"[..]).is_err());
    }

    #[test]
    fn no_two_secrets_are_alike() {
        assert_eq!(draw_secret().expose().len(), 64);
        assert_ne!(draw_secret(), draw_secret());
    }
}
