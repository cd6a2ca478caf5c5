//! The vocabulary that every part of CLI Scale shares: ids, the session's specification and states, token claims,
//! problem types, terminal frames, and the words that runners and gateways exchange with the controller.
//!
//! Pure: no runtime, no sockets, no database. What is decided here can be tested without starting anything.

pub mod api;
pub mod claims;
pub mod code_url;
pub mod frames;
pub mod gateway_api;
pub mod ids;
pub mod problem;
pub mod recording;
pub mod runner_api;
pub mod secret;
pub mod spec;
pub mod state;

pub use claims::{Claims, Role};
pub use code_url::{AllowedHosts, CodeSource};
pub use ids::{ApiKeyId, ClientId, RunnerId, SessionId};
pub use problem::ProblemType;
pub use recording::{Record, RecordingPolicy};
pub use secret::Secret;
pub use spec::{DEFAULT_TEMPLATE, SessionSecrets, SessionSpec, SpecLimits};
pub use state::{EndReason, Ended, SessionState, Stage};
