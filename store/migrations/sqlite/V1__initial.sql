-- Everything that CLI Scale keeps. Times are milliseconds since the Unix epoch, ids are lower-case UUIDs, digests are
-- SHA-256 (32 bytes), sealed columns are AES-256-GCM (src/seal.rs) and NULL once nobody needs them any more.

CREATE TABLE sessions (
    id          TEXT    NOT NULL PRIMARY KEY,
    api_key     TEXT    NOT NULL,
    spec        TEXT    NOT NULL,   -- JSON; what is secret in it is in `secrets`
    secrets     BLOB,               -- sealed for `session:ID`; NULL from stage `assigned` on
    stage       TEXT    NOT NULL,   -- the state follows from it
    wire        TEXT    NOT NULL,
    -- Who serves it. No foreign key: it is still shown when the runner's row is pruned.
    runner_id   TEXT,
    epoch       INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER,
    expires_at  INTEGER NOT NULL,
    active_at   INTEGER NOT NULL,
    end_reason  TEXT,
    exit_code   INTEGER,
    end_signal  TEXT,
    end_message TEXT,
    CHECK ((stage = 'ended') = (end_reason IS NOT NULL)),
    CHECK ((stage = 'ended') = (ended_at IS NOT NULL)),
    CHECK (stage = 'queued' OR secrets IS NULL)
) STRICT;

CREATE INDEX sessions_active ON sessions (id) WHERE stage <> 'ended';
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE stage = 'ended';
CREATE INDEX sessions_runner ON sessions (runner_id);

-- The labels that `spec` holds, to be searched.
CREATE TABLE session_labels (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (session_id, name)
) STRICT;

CREATE INDEX session_labels_value ON session_labels (name, value, session_id);

CREATE TABLE runners (
    id         TEXT    NOT NULL PRIMARY KEY,
    state      TEXT    NOT NULL,
    session_id TEXT    REFERENCES sessions (id) ON DELETE SET NULL,
    boot_token BLOB,                -- digest; NULL: a fixed backend, which never calls home
    secret     BLOB,                -- sealed for `runner:ID`; NULL before it called home and after it is gone
    address    TEXT,
    handle     TEXT,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER,
    gone_at    INTEGER,
    CHECK ((state = 'gone') = (gone_at IS NOT NULL)),
    CHECK (state <> 'gone' OR secret IS NULL)
) STRICT;

-- A runner serves one session, and a session has one runner: the one that was replaced loses its session_id.
CREATE UNIQUE INDEX runners_session ON runners (session_id);
CREATE INDEX runners_state ON runners (state, created_at, id);

-- One-time tokens: consumed by deletion.
CREATE TABLE tokens (
    jti        TEXT    NOT NULL PRIMARY KEY,
    session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    role       TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX tokens_session ON tokens (session_id);
CREATE INDEX tokens_expiry ON tokens (expires_at);

-- Resume tickets. A family is one first ticket (whose digest names it) with all that followed from it. A dead ticket
-- is one whose successor was used; it stays as the tombstone by which its reuse is recognised.
CREATE TABLE tickets (
    digest        BLOB    NOT NULL PRIMARY KEY,
    session_id    TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    family        BLOB    NOT NULL,
    parent        BLOB,
    role          TEXT    NOT NULL,
    client_id     TEXT    NOT NULL,
    superseded_at INTEGER,
    dead          INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX tickets_session ON tickets (session_id);
CREATE INDEX tickets_family ON tickets (family);
CREATE INDEX tickets_parent ON tickets (parent);

-- What the page's own requests are authorised by; each lives as long as its session, unless its family is ended.
CREATE TABLE page_tokens (
    digest     BLOB NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    family     BLOB NOT NULL,
    role       TEXT NOT NULL
) STRICT;

CREATE INDEX page_tokens_session ON page_tokens (session_id);
CREATE INDEX page_tokens_family ON page_tokens (family);

CREATE TABLE idempotency (
    api_key    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    body       BLOB    NOT NULL,
    session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (api_key, name)
) STRICT;

CREATE INDEX idempotency_session ON idempotency (session_id);
CREATE INDEX idempotency_created ON idempotency (created_at);

-- The creations of the last minute, for exact rates.
CREATE TABLE creations (
    scope      TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX creations_scope ON creations (scope, created_at);

CREATE TABLE api_keys (
    id                 TEXT    NOT NULL PRIMARY KEY,
    name               TEXT    NOT NULL,
    digest             BLOB    NOT NULL,
    creates_per_minute INTEGER,
    created_at         INTEGER NOT NULL,
    revoked_at         INTEGER
) STRICT;

CREATE UNIQUE INDEX api_keys_digest ON api_keys (digest) WHERE revoked_at IS NULL;

CREATE TABLE audit (
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_at ON audit (at);
