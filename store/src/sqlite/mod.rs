//! The embedded backend: SQLite in WAL mode.
