//! What gateways and the controller say to each other, at `/internal/gateway/...` of the controller's internal port.
//! The gateway shows its service token as `Authorization: Bearer`.

use serde::{Deserialize, Serialize};

use crate::ids::SessionId;
use crate::secret::Secret;

/// Where a gateway asks for a viewer's token: a POST without a body, answered 201 with a [`ViewerToken`].
pub const VIEWER_TOKENS: &str = "/internal/gateway/sessions/{id}/viewer-tokens";

/// The same for one session.
pub fn viewer_tokens_path(session: SessionId) -> String {
    VIEWER_TOKENS.replace("{id}", &session.to_string())
}

/// A one-time token to watch a session with. Whoever asked has seen to it that an operator wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewerToken {
    pub token: Secret,
    /// When it can no longer be used; RFC 3339.
    pub expires_at: String,
}
