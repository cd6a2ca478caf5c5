//! Finding the session that somebody means.

use anyhow::bail;
use session::SessionId;

use crate::api::{Client, ListQuery};

/// Sessions that are looked through for an abbreviated id.
const LOOKED_THROUGH: usize = 1000;
/// Fewer characters would often fit several.
const SHORTEST: usize = 4;

/// Reads an id, or its beginning or end. Ids begin with the time they were drawn at, so among sessions of the same
/// minute it is the end that tells them apart.
pub async fn find(client: &Client, text: &str) -> anyhow::Result<SessionId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let usable = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    if !usable || text.len() < SHORTEST {
        bail!("{text:?} is no session id, nor {SHORTEST} or more characters of one's beginning or end");
    }
    let query = ListQuery { limit: LOOKED_THROUGH, ..ListQuery::default() };
    let ids: Vec<String> = client.sessions(&query).await?.iter().map(|view| view.session_id.to_string()).collect();
    let fitting: Vec<&String> = ids.iter().filter(|id| id.starts_with(text) || id.ends_with(text)).collect();
    match fitting[..] {
        [id] => Ok(id.parse()?),
        [] => bail!("no session's id begins or ends with {text}"),
        _ => bail!("{} sessions' ids begin or end with {text}; give more of it", fitting.len()),
    }
}

/// Reads `KEY=VALUE`.
pub fn label(text: &str) -> anyhow::Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!("--label {text:?}: expected KEY=VALUE"),
    }
}
