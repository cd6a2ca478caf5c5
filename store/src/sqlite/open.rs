//! Opening the file: its mode, the connections' settings, and that the migrations are applied.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::failure::{Attempt, Failure};
use crate::migrations::{self, Scripts};
use crate::{Result, StoreError};

/// How long a statement waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);
/// Private: it holds sealed secrets, and digests of everything that lets one in.
const MODE: u32 = 0o600;

/// The file that the connections are on, so that its loss is noticed: SQLite itself goes on happily with a file that
/// has no name any more.
pub(super) struct DatabaseFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl DatabaseFile {
    /// Whether the file that was opened is still the one at its path.
    pub(super) fn check(&self) -> Result<()> {
        let path = self.path.display();
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) != (self.device, self.inode) => {
                Err(StoreError::Unavailable(format!("{path} was replaced by another file")))
            }
            Ok(found) if found.len() == 0 => Err(StoreError::Unavailable(format!("{path} was emptied"))),
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::Unavailable(format!("{path}: {error}"))),
        }
    }
}

/// One connection that writes and one that only reads, to a database that is there and up to date.
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) reader: Connection,
    pub(super) file: DatabaseFile,
}

/// Opens or creates the database, blocking. Others may be opening the same file.
pub(super) fn open(path: &Path) -> Result<Opened> {
    let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("opening {}: {error}", path.display()));
    create_private(path).map_err(unavailable)?;
    let operation = format!("opening {}", path.display());
    let deadline = Instant::now() + BUSY;
    let writer = loop {
        match migrated(path).map_err(|failure| failure.during(&operation)) {
            Ok(writer) => break writer,
            // Switching to WAL does not wait as other statements do, so that is done here.
            Err(StoreError::Unavailable(_)) if Instant::now() < deadline && path.exists() => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    };
    let reader = reader(path).map_err(|failure| failure.during(&operation))?;
    let found = fs::metadata(path).map_err(unavailable)?;
    let file = DatabaseFile { path: path.to_owned(), device: found.dev(), inode: found.ino() };
    Ok(Opened { writer, reader, file })
}

/// SQLite gives its side files the mode of the database. A file that is there is never opened here: closing any
/// descriptor of it would drop the locks that this process already has on it (fcntl(2)).
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.permissions().mode() & 0o777 != MODE {
                fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn connect(path: &Path) -> Attempt<Connection> {
    // No URI names, and one thread for each connection.
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// A connection that writes, to a database that is up to date.
fn migrated(path: &Path) -> Attempt<Connection> {
    let mut db = writer(path)?;
    migrations::sqlite::up(&mut db, &Scripts::sqlite()).map_err(Failure::Migration)?;
    Ok(db)
}

pub(crate) fn writer(path: &Path) -> Attempt<Connection> {
    let mut db = connect(path)?;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::Misuse("the file system does not support SQLite's WAL mode"));
    }
    // A commit survives the process, though perhaps not the power; it never leaves half a transaction.
    db.pragma_update(None, "synchronous", "normal")?;
    db.pragma_update(None, "foreign_keys", true)?;
    // A transaction that starts by reading could not become a writing one beside another process.
    db.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(db)
}

pub(crate) fn reader(path: &Path) -> Attempt<Connection> {
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}
