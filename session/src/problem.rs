//! Problem types (RFC 9457): what can go wrong for a caller, each with its status and title.
//! Every slug has its entry in `docs/errors.md`; a test of the controller holds them together.

use crate::state::words;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

words!(
    /// The kinds of problem. The slug ends the problem's `type`: `/docs/errors/{slug}`.
    ProblemType, "problem type" {
        /// The request could not be read: not JSON, or a member with the wrong type or an unknown name.
        InvalidRequest = "invalid_request",
        /// The request was read, but a value is outside its limits.
        ValidationFailed = "validation_failed",
        /// No API key, or one that is not known.
        Unauthorized = "unauthorized",
        /// Known, but not allowed.
        Forbidden = "forbidden",
        /// No such thing.
        NotFound = "not_found",
        /// The path exists, but not for this method.
        MethodNotAllowed = "method_not_allowed",
        /// The body is longer than any request needs.
        PayloadTooLarge = "payload_too_large",
        /// The body is not `application/json`.
        UnsupportedMediaType = "unsupported_media_type",
        /// The `Idempotency-Key` was used before with another body.
        IdempotencyMismatch = "idempotency_mismatch",
        /// The session's state does not allow this.
        Conflict = "conflict",
        /// The request names a host that this server does not answer for.
        UnknownHost = "unknown_host",
        /// Too many session creations, or links.
        RateLimited = "rate_limited",
        /// As many sessions as this server may run are running.
        Capacity = "capacity",
        /// The database or what starts runners is away, or the process is stopping.
        Unavailable = "unavailable",
        /// Our mistake.
        Internal = "internal",
        /// The link was used before.
        TokenUsed = "token_used",
        /// The link was not used in time.
        TokenExpired = "token_expired",
        /// The link's token is not one of ours, or is for another session.
        TokenInvalid = "token_invalid",
        /// The link has no token, and this browser tab holds no ticket.
        TokenMissing = "token_missing",
        /// The tab's resume ticket is too old.
        TicketExpired = "ticket_expired",
        /// The tab's resume ticket was used again after its successor.
        TicketReused = "ticket_reused",
        /// What the page shows is not the token of one that is in the session.
        PageTokenInvalid = "page_token_invalid",
        /// The session, or the server, hands out no read-only links.
        ShareForbidden = "share_forbidden",
        /// The page that opened the terminal is not allowed to.
        ForbiddenOrigin = "forbidden_origin",
        /// The session's backend cannot hold viewers off.
        ViewerUnsupported = "viewer_unsupported",
        /// No session has this id.
        SessionUnknown = "session_unknown",
        /// The session is over and its terminal is gone.
        SessionEnded = "session_ended",
        /// The gateway holds as many connections as it may.
        TooManyConnections = "too_many_connections",
        /// The session's folder has no such file.
        FileNotFound = "file_not_found",
        /// A folder, link, pipe or device is where a file was asked for.
        NotAFile = "not_a_file",
        /// The file has not so many bytes.
        RangeNotSatisfiable = "range_not_satisfiable",
        /// As many files as may be are on their way.
        TooManyTransfers = "too_many_transfers",
        /// The request's body did not come in time.
        RequestTimeout = "request_timeout",
        /// The session's disk is full.
        InsufficientStorage = "insufficient_storage",
        /// The session was not recorded, or its recording is not kept any more.
        RecordingNotFound = "recording_not_found",
        /// As much of the session is recorded as is kept. For runners.
        RecordingFull = "recording_full",
    }
);

impl ProblemType {
    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        use ProblemType::*;
        match self {
            InvalidRequest => 400,
            Unauthorized | TokenUsed | TokenExpired | TokenInvalid | TokenMissing | TicketExpired | TicketReused
            | PageTokenInvalid => 401,
            Forbidden | ForbiddenOrigin | ViewerUnsupported | ShareForbidden => 403,
            NotFound | SessionUnknown | FileNotFound | RecordingNotFound => 404,
            MethodNotAllowed => 405,
            RequestTimeout => 408,
            Conflict | NotAFile => 409,
            SessionEnded => 410,
            PayloadTooLarge | RecordingFull => 413,
            UnsupportedMediaType => 415,
            RangeNotSatisfiable => 416,
            UnknownHost => 421,
            ValidationFailed | IdempotencyMismatch => 422,
            RateLimited | TooManyConnections | TooManyTransfers => 429,
            Internal => 500,
            Capacity | Unavailable => 503,
            InsufficientStorage => 507,
        }
    }

    /// A short sentence that is the same for every occurrence.
    pub const fn title(self) -> &'static str {
        use ProblemType::*;
        match self {
            InvalidRequest => "The request could not be read",
            ValidationFailed => "A value is outside its limits",
            Unauthorized => "An API key is needed",
            Forbidden => "Not allowed",
            NotFound => "Not found",
            MethodNotAllowed => "Method not allowed",
            PayloadTooLarge => "The request is too large",
            UnsupportedMediaType => "The body must be JSON",
            IdempotencyMismatch => "The idempotency key was used for another request",
            Conflict => "The session's state does not allow this",
            UnknownHost => "This server does not answer for that host",
            RateLimited => "Too many requests of this kind",
            Capacity => "No room for another session",
            Unavailable => "Temporarily unavailable",
            Internal => "Internal error",
            TokenUsed => "This link has been used",
            TokenExpired => "This link has expired",
            TokenInvalid => "This link is not valid",
            TokenMissing => "This link is incomplete",
            TicketExpired => "This tab was away for too long",
            TicketReused => "This tab's ticket was used twice",
            PageTokenInvalid => "This tab is not known to be in the session",
            ShareForbidden => "No read-only links are handed out",
            ForbiddenOrigin => "This site may not open the terminal",
            ViewerUnsupported => "This terminal cannot be watched",
            SessionUnknown => "No such session",
            SessionEnded => "The session has ended",
            TooManyConnections => "Too many connections",
            FileNotFound => "No such file",
            NotAFile => "Not a file",
            RangeNotSatisfiable => "The file has no such range",
            TooManyTransfers => "Too many files are on their way",
            RequestTimeout => "The request came too slowly",
            InsufficientStorage => "The session's disk is full",
            RecordingNotFound => "No recording of this session is kept",
            RecordingFull => "The recording is as long as it may be",
        }
    }

    /// The `type` member: a path on this server that answers with the entry of `docs/errors.md`.
    pub fn uri(self) -> String {
        format!("/docs/errors/{self}")
    }

    /// The WebSocket close code that says the same to a `tty.r1` client, where there is one.
    pub const fn close_code(self) -> u16 {
        use crate::frames::close;
        use ProblemType::*;
        match self {
            TokenUsed | TokenExpired | TokenInvalid | TokenMissing | TicketExpired | TicketReused
            | PageTokenInvalid => close::TOKEN,
            ForbiddenOrigin | ViewerUnsupported | Forbidden | ShareForbidden => close::FORBIDDEN,
            SessionUnknown | NotFound => close::UNKNOWN,
            SessionEnded => close::EXPIRED,
            TooManyConnections | RateLimited => close::FULL,
            _ => close::UNAVAILABLE,
        }
    }
}

/// One field that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// The field as the request spells it, such as `env.PATH` or `ttl_seconds`.
    pub field: String,
    /// What is wrong, with the limit where there is one.
    pub detail: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

/// The body of a problem response, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemBody {
    /// Where the problem is explained, relative to this server.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// The fields that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds to wait before trying again; also in `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_secs: Option<u64>,
}

impl ProblemBody {
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self {
            kind: kind.uri(),
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_secs: None,
        }
    }
}
