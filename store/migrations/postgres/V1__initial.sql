-- Everything that CLI Scale keeps. Times are milliseconds since the Unix epoch (to_timestamp(created_at / 1000.0) shows
-- one), digests are SHA-256 (32 bytes), sealed columns are AES-256-GCM (src/seal.rs) and NULL once nobody needs them any
-- more. The columns are those of the embedded database (../sqlite), so that both backends mean the same.

CREATE TABLE sessions (
    id          UUID    NOT NULL PRIMARY KEY,
    api_key     UUID    NOT NULL,
    spec        TEXT    NOT NULL,   -- JSON, as it was written; what is secret in it is in `secrets`
    secrets     BYTEA,              -- sealed for `session:ID`; NULL from stage `assigned` on
    stage       TEXT    NOT NULL,   -- the state follows from it
    wire        TEXT    NOT NULL,
    -- Who serves it. No foreign key: it is still shown when the runner's row is pruned.
    runner_id   UUID,
    epoch       BIGINT  NOT NULL,
    created_at  BIGINT  NOT NULL,
    started_at  BIGINT,
    ended_at    BIGINT,
    expires_at  BIGINT  NOT NULL,
    active_at   BIGINT  NOT NULL,
    end_reason  TEXT,
    exit_code   INTEGER,
    end_signal  TEXT,
    end_message TEXT,
    CONSTRAINT sessions_end_has_reason CHECK ((stage = 'ended') = (end_reason IS NOT NULL)),
    CONSTRAINT sessions_end_has_time CHECK ((stage = 'ended') = (ended_at IS NOT NULL)),
    CONSTRAINT sessions_secrets_dropped CHECK (stage = 'queued' OR secrets IS NULL)
);

CREATE INDEX sessions_active ON sessions (id) WHERE stage <> 'ended';
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE stage = 'ended';
CREATE INDEX sessions_runner ON sessions (runner_id);

-- The labels that `spec` holds, to be searched.
CREATE TABLE session_labels (
    session_id UUID NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (session_id, name)
);

CREATE INDEX session_labels_value ON session_labels (name, value, session_id);

CREATE TABLE runners (
    id         UUID   NOT NULL PRIMARY KEY,
    state      TEXT   NOT NULL,
    session_id UUID   REFERENCES sessions (id) ON DELETE SET NULL,
    boot_token BYTEA,               -- digest; NULL: a fixed backend, which never calls home
    secret     BYTEA,               -- sealed for `runner:ID`; NULL before it called home and after it is gone
    address    TEXT,
    handle     TEXT,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT,
    gone_at    BIGINT,
    CONSTRAINT runners_gone_has_time CHECK ((state = 'gone') = (gone_at IS NOT NULL)),
    CONSTRAINT runners_secret_dropped CHECK (state <> 'gone' OR secret IS NULL)
);

-- A runner serves one session, and a session has one runner: the one that was replaced loses its session_id.
CREATE UNIQUE INDEX runners_session ON runners (session_id);
CREATE INDEX runners_idle ON runners (created_at, id) WHERE state = 'idle';
CREATE INDEX runners_living ON runners (created_at, id) WHERE state <> 'gone';
CREATE INDEX runners_gone ON runners (gone_at) WHERE state = 'gone';

-- One-time tokens: consumed by deletion. Unlogged, since a crash of the database that empties this table only makes
-- unused tokens invalid. It may refer to a logged table; no logged table can refer to it.
CREATE UNLOGGED TABLE tokens (
    jti        TEXT   NOT NULL PRIMARY KEY,
    session_id UUID   NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    role       TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX tokens_session ON tokens (session_id);
CREATE INDEX tokens_expiry ON tokens (expires_at);

-- Resume tickets. A family is one first ticket (whose digest names it) with all that followed from it. A dead ticket
-- is one whose successor was used; it stays as the tombstone by which its reuse is recognised.
CREATE TABLE tickets (
    digest        BYTEA   NOT NULL PRIMARY KEY,
    session_id    UUID    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    family        BYTEA   NOT NULL,
    parent        BYTEA,
    role          TEXT    NOT NULL,
    client_id     UUID    NOT NULL,
    superseded_at BIGINT,
    dead          BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE INDEX tickets_session ON tickets (session_id);
CREATE INDEX tickets_family ON tickets (family);
CREATE INDEX tickets_parent ON tickets (parent);
CREATE INDEX tickets_dead ON tickets (superseded_at) WHERE dead;

-- What the page's own requests are authorised by; each lives as long as its session, unless its family is ended.
CREATE TABLE page_tokens (
    digest     BYTEA NOT NULL PRIMARY KEY,
    session_id UUID  NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    family     BYTEA NOT NULL,
    role       TEXT  NOT NULL
);

CREATE INDEX page_tokens_session ON page_tokens (session_id);
CREATE INDEX page_tokens_family ON page_tokens (family);

CREATE TABLE idempotency (
    api_key    UUID   NOT NULL,
    name       TEXT   NOT NULL,
    body       BYTEA  NOT NULL,
    session_id UUID   NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (api_key, name)
);

CREATE INDEX idempotency_session ON idempotency (session_id);
CREATE INDEX idempotency_created ON idempotency (created_at);

-- The creations of the last minute, for exact rates.
CREATE TABLE creations (
    scope      TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX creations_scope ON creations (scope, created_at);
CREATE INDEX creations_created ON creations (created_at);

CREATE TABLE api_keys (
    id                 UUID   NOT NULL PRIMARY KEY,
    name               TEXT   NOT NULL,
    digest             BYTEA  NOT NULL,
    creates_per_minute BIGINT,
    created_at         BIGINT NOT NULL,
    revoked_at         BIGINT
);

CREATE UNIQUE INDEX api_keys_digest ON api_keys (digest) WHERE revoked_at IS NULL;

CREATE TABLE audit (
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    subject TEXT   NOT NULL
);

CREATE INDEX audit_at ON audit (at);
