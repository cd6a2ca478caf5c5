//! The page token: what a tab that is in a session shows with its requests under `/ws/{id}/...`.
//!
//! It is looked at first, so that nobody else learns anything of the session, not even whether there is one.

use http::{HeaderMap, header};
use service::Problem;
use session::{ProblemType, Role, SessionId};
use store::Digest;

use crate::Inner;

/// Ours have 43 characters.
const MAX_PAGE_TOKEN: usize = 128;

/// Whose page asks. A session that is not there has no page tokens, and an id that is none has none either.
pub async fn holder(
    gateway: &Inner,
    session: Option<SessionId>,
    headers: &HeaderMap,
) -> Result<(SessionId, Role), Problem> {
    let refused =
        || Problem::new(ProblemType::PageTokenInvalid, "send the tab's page token as: Authorization: Bearer TOKEN");
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).ok_or_else(refused)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > MAX_PAGE_TOKEN {
        return Err(refused());
    }
    let session = session.ok_or_else(refused)?;
    let role = gateway.store.page_token(Digest::of(token.as_bytes()), session).await?.ok_or_else(refused)?;
    Ok((session, role))
}
