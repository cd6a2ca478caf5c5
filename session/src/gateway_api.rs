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

/// Where a gateway asks for a session's recording: a GET, answered with asciicast; a range is understood.
pub const RECORDING: &str = "/internal/gateway/sessions/{id}/recording";
/// Where a gateway asks for what a session printed: a GET with `?format=text` or `raw`.
pub const LOG: &str = "/internal/gateway/sessions/{id}/log";

/// [`RECORDING`] of one session.
pub fn recording_path(session: SessionId) -> String {
    RECORDING.replace("{id}", &session.to_string())
}

/// [`LOG`] of one session.
pub fn log_path(session: SessionId) -> String {
    LOG.replace("{id}", &session.to_string())
}

/// Where a gateway asks for more time: a POST with an [`crate::api::ExtendSession`], answered with an
/// [`crate::api::Extended`].
pub const EXTEND: &str = "/internal/gateway/sessions/{id}/extend";

/// [`EXTEND`] of one session.
pub fn extend_path(session: SessionId) -> String {
    EXTEND.replace("{id}", &session.to_string())
}

/// A one-time token to watch a session with. Whoever asked has seen to it that an operator wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewerToken {
    pub token: Secret,
    /// When it can no longer be used; RFC 3339.
    pub expires_at: String,
}
