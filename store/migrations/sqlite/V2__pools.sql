-- Pools of standbys. The release before this one fills none; while both run, it may take an idle runner of any.

CREATE TABLE pools (
    name         TEXT    NOT NULL PRIMARY KEY,
    template     TEXT    NOT NULL,   -- digest of what its standbys are made of; only those of this one are handed out
    revision     TEXT    NOT NULL,   -- digest of all that it is configured as
    paused       INTEGER NOT NULL DEFAULT 0,
    failures     INTEGER NOT NULL DEFAULT 0,
    failed_at    INTEGER,
    retry_at     INTEGER,
    confirmed_at INTEGER NOT NULL    -- when a controller last was configured like this
) STRICT;

ALTER TABLE runners ADD COLUMN pool TEXT;       -- NULL: made for its session
ALTER TABLE runners ADD COLUMN template TEXT;
ALTER TABLE runners ADD COLUMN ready_at INTEGER; -- when it called home first

CREATE INDEX runners_pool ON runners (pool, state, created_at, id) WHERE pool IS NOT NULL;
