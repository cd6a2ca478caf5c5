//! Every documented route of the public address: what it takes, what it answers, and how it refuses.

use session::ProblemType as P;

use super::{Bearer, Content, Operation, Parameter};

const ID: Parameter = Parameter {
    name: "id",
    place: "path",
    about: "The session's id.",
    schema: r#"{"type":"string","format":"uuid"}"#,
    many: false,
};

const fn query(name: &'static str, about: &'static str, schema: &'static str, many: bool) -> Parameter {
    Parameter { name, place: "query", about, schema, many }
}

const fn open(path: &'static str, id: &'static str, summary: &'static str, content: Content) -> Operation {
    let answers: &'static [(u16, &'static str, Content)] = match content {
        Content::Html => &[(200, "A page", Content::Html)],
        Content::Text => &[(200, "Text", Content::Text)],
        Content::Json | Content::Schema(_) | Content::Asciicast | Content::Log => &[(200, "JSON", Content::Json)],
    };
    Operation {
        method: "get",
        path,
        id,
        summary,
        bearer: Bearer::None,
        body: None,
        parameters: &[],
        answers,
        problems: &[],
    }
}

/// Every route of the controller's public address.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        method: "post",
        path: "/api/sessions",
        id: "createSession",
        summary: "Create a session: fetch code, install, run a command, and give a one-time link to its terminal.",
        bearer: Bearer::ApiKey,
        body: Some("CreateSession"),
        parameters: &[Parameter {
            name: "Idempotency-Key",
            place: "header",
            about: "Requests with the same key and body are one: a repeat answers with the same session and a fresh token.",
            schema: r#"{"type":"string","minLength":1,"maxLength":255,"pattern":"^[!-~]+$"}"#,
            many: false,
        }],
        answers: &[
            (201, "Created", Content::Schema("Entry")),
            (200, "The same request came before (Idempotent-Replayed: true)", Content::Schema("Entry")),
        ],
        problems: &[
            P::InvalidRequest,
            P::Unauthorized,
            P::PayloadTooLarge,
            P::UnsupportedMediaType,
            P::ValidationFailed,
            P::IdempotencyMismatch,
            P::RateLimited,
            P::Capacity,
            P::Unavailable,
        ],
    },
    Operation {
        method: "get",
        path: "/api/sessions",
        id: "listSessions",
        summary: "List sessions, newest first.",
        bearer: Bearer::ApiKey,
        body: None,
        parameters: &[
            query("limit", "Sessions per page.", r#"{"type":"integer","minimum":1,"maximum":100,"default":20}"#, false),
            query("cursor", "The nextCursor of the page before.", r#"{"type":"string"}"#, false),
            query("state", "Only sessions in this state.", r##"{"$ref":"#/components/schemas/SessionState"}"##, false),
            query("label", "Only sessions with this label, KEY=VALUE.", r#"{"type":"string"}"#, true),
        ],
        answers: &[(200, "A page of sessions", Content::Schema("SessionPage"))],
        problems: &[P::InvalidRequest, P::Unauthorized, P::Unavailable],
    },
    Operation {
        method: "get",
        path: "/api/sessions/{id}",
        id: "showSession",
        summary: "Read a session.",
        bearer: Bearer::ApiKey,
        body: None,
        parameters: &[ID],
        answers: &[(200, "The session", Content::Schema("SessionView"))],
        problems: &[P::Unauthorized, P::SessionUnknown, P::Unavailable],
    },
    Operation {
        method: "delete",
        path: "/api/sessions/{id}",
        id: "endSession",
        summary: "End a session. Valid in every state: one that has ended stays as it is.",
        bearer: Bearer::ApiKey,
        body: None,
        parameters: &[ID],
        answers: &[(200, "The session, ended", Content::Schema("SessionView"))],
        problems: &[P::Unauthorized, P::SessionUnknown, P::Unavailable],
    },
    Operation {
        method: "post",
        path: "/api/sessions/{id}/tokens",
        id: "mintToken",
        summary: "Give a further one-time link, for an operator or a viewer.",
        bearer: Bearer::ApiKey,
        body: Some("MintToken"),
        parameters: &[ID],
        answers: &[(201, "A way in, once", Content::Schema("Entry"))],
        problems: &[
            P::InvalidRequest,
            P::Unauthorized,
            P::ViewerUnsupported,
            P::SessionUnknown,
            P::SessionEnded,
            P::PayloadTooLarge,
            P::UnsupportedMediaType,
            P::Unavailable,
        ],
    },
    Operation {
        method: "post",
        path: "/api/sessions/{id}/extend",
        id: "extendSession",
        summary: "Let a session live longer, within its max_ttl_seconds. A deadline that is later already stays.",
        bearer: Bearer::ApiKey,
        body: Some("ExtendSession"),
        parameters: &[ID],
        answers: &[(200, "The session, with its new expiresAt", Content::Schema("SessionView"))],
        problems: &[
            P::InvalidRequest,
            P::Unauthorized,
            P::SessionUnknown,
            P::Conflict,
            P::PayloadTooLarge,
            P::UnsupportedMediaType,
            P::ValidationFailed,
            P::Unavailable,
        ],
    },
    Operation {
        method: "get",
        path: "/api/sessions/{id}/recording",
        id: "showRecording",
        summary: "What the session's terminal showed, as asciicast v3; while it runs, what there is so far.",
        bearer: Bearer::ApiKey,
        body: None,
        parameters: &[
            ID,
            Parameter {
                name: "Range",
                place: "header",
                about: "One range of bytes.",
                schema: r#"{"type":"string","example":"bytes=0-1023"}"#,
                many: false,
            },
        ],
        answers: &[(200, "The recording", Content::Asciicast), (206, "The range of it", Content::Asciicast)],
        problems: &[P::Unauthorized, P::SessionUnknown, P::RecordingNotFound, P::RangeNotSatisfiable, P::Unavailable],
    },
    Operation {
        method: "get",
        path: "/api/sessions/{id}/log",
        id: "showLog",
        summary: "What the session printed, out of its recording, also after its end.",
        bearer: Bearer::ApiKey,
        body: None,
        parameters: &[
            ID,
            query(
                "format",
                "text: line by line as it was read; raw: the bytes that the terminal got.",
                r#"{"type":"string","enum":["text","raw"],"default":"text"}"#,
                false,
            ),
        ],
        answers: &[(200, "The log", Content::Log)],
        problems: &[P::InvalidRequest, P::Unauthorized, P::SessionUnknown, P::RecordingNotFound, P::Unavailable],
    },
    Operation {
        method: "get",
        path: "/api/pools",
        id: "listPools",
        summary: "List the pools of standbys.",
        bearer: Bearer::ApiKey,
        body: None,
        parameters: &[],
        answers: &[(200, "Every pool, by name", Content::Schema("PoolList"))],
        problems: &[P::Unauthorized, P::Unavailable],
    },
    Operation {
        method: "patch",
        path: "/api/pools/{name}",
        id: "changePool",
        summary: "Pause or resume the filling of a pool.",
        bearer: Bearer::ApiKey,
        body: Some("ChangePool"),
        parameters: &[Parameter {
            name: "name",
            place: "path",
            about: "The pool's, which is its template's.",
            schema: r#"{"type":"string"}"#,
            many: false,
        }],
        answers: &[(200, "The pool", Content::Schema("PoolView"))],
        problems: &[
            P::InvalidRequest,
            P::Unauthorized,
            P::NotFound,
            P::PayloadTooLarge,
            P::UnsupportedMediaType,
            P::Unavailable,
        ],
    },
    open(
        "/.well-known/jwks.json",
        "showKeys",
        "The public keys that session tokens are verified with (RFC 7517).",
        Content::Json,
    ),
    open("/openapi.json", "showOpenapi", "This API as OpenAPI 3.1.", Content::Json),
    open("/docs", "showDocs", "This list of routes.", Content::Html),
    open("/docs/errors", "listErrors", "Every error, its cause and what to do.", Content::Text),
    Operation {
        method: "get",
        path: "/docs/errors/{slug}",
        id: "showError",
        summary: "One error: its cause and what to do. Each problem's type leads here.",
        bearer: Bearer::None,
        body: None,
        parameters: &[Parameter {
            name: "slug",
            place: "path",
            about: "The end of a problem's type.",
            schema: r#"{"type":"string"}"#,
            many: false,
        }],
        answers: &[(200, "Text", Content::Text)],
        problems: &[P::NotFound],
    },
    open("/", "showStart", "What this server is.", Content::Html),
];

/// What pages and programs ask gateways for, on the same address.
pub const GATEWAY_OPERATIONS: &[Operation] = &[
    Operation {
        method: "post",
        path: "/ws/{id}/share",
        id: "shareSession",
        summary: "Give a one-time link to watch with. For operators' pages: the bearer token is the pageToken of a terminal \
              connection.",
        bearer: Bearer::PageToken,
        body: None,
        parameters: &[ID],
        answers: &[(200, "A way to watch, once", Content::Schema("SharedLink"))],
        problems: &[
            P::InvalidRequest,
            P::PageTokenInvalid,
            P::Forbidden,
            P::ShareForbidden,
            P::ViewerUnsupported,
            P::SessionEnded,
            P::RateLimited,
            P::Unavailable,
        ],
    },
    Operation {
        method: "post",
        path: "/ws/{id}/extend",
        id: "extendTerminal",
        summary: "Let a session live longer, within its max_ttl_seconds. For operators' pages: the bearer token is the pageToken \
              of a terminal connection.",
        bearer: Bearer::PageToken,
        body: Some("ExtendTerminal"),
        parameters: &[ID],
        answers: &[(200, "Its deadline now, and the latest that it can have", Content::Schema("Extended"))],
        problems: &[
            P::InvalidRequest,
            P::PageTokenInvalid,
            P::Forbidden,
            P::Conflict,
            P::ValidationFailed,
            P::Unavailable,
        ],
    },
];

/// Every documented route of the public address.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain(GATEWAY_OPERATIONS)
}
