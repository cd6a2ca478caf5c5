-- Standbys are unknown to the release before: its reconciler finds and ends what is left of them.

DROP INDEX runners_pool;
ALTER TABLE runners DROP COLUMN ready_at;
ALTER TABLE runners DROP COLUMN template;
ALTER TABLE runners DROP COLUMN pool;
DROP TABLE pools;
