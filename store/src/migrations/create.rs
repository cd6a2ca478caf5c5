//! New migration files, from a template, in a source checkout.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::files;

/// Where the migrations are in a checkout.
const FOLDER: &str = "store/migrations";

const UP: &str = "\
-- What this adds, and why.
-- Expand only: the previous release runs on this schema (docs/migrations.md). Runs in one transaction with its record.

";

const UNDO: &str = "\
-- Takes back what the migration beside this file added, and nothing else.

";

/// Why no files were written.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("{0}")]
    Name(String),
    #[error("{0} is not inside a source checkout of this project: there is no {FOLDER}")]
    NoCheckout(PathBuf),
    #[error("the migrations that are there must be in order first: {0}")]
    Files(String),
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
}

/// Writes the next migration and its undo for both backends in the checkout that `place` is in, and tells their paths.
pub fn create(place: &Path, name: &str) -> Result<Vec<PathBuf>, CreateError> {
    files::check_name(name).map_err(CreateError::Name)?;
    let is_checkout = |folder: &&Path| files::BACKENDS.iter().all(|backend| folder.join(FOLDER).join(backend).is_dir());
    let root = place.ancestors().find(is_checkout).ok_or_else(|| CreateError::NoCheckout(place.to_owned()))?;
    let folder = root.join(FOLDER);
    let [pairs, _] = files::all(&folder).map_err(CreateError::Files)?;
    let version = pairs.last().map_or(1, |pair| pair.version + 1);
    let [up, undo] = files::names(version, name);
    let mut written = Vec::new();
    for backend in files::BACKENDS {
        for (file, text) in [(&up, UP), (&undo, UNDO)] {
            let path = folder.join(backend).join(file);
            // Never over what somebody else has just written.
            let outcome = fs::OpenOptions::new().write(true).create_new(true).open(&path);
            outcome
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| CreateError::Io(path.clone(), error))?;
            written.push(path);
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for backend in files::BACKENDS {
            let folder = dir.path().join(FOLDER).join(backend);
            fs::create_dir_all(&folder).unwrap();
            for file in files::names(1, "initial") {
                fs::write(folder.join(file), "SELECT 1;").unwrap();
            }
        }
        dir
    }

    #[test]
    fn the_next_migration_and_its_undo_are_written_for_both_backends() {
        let dir = checkout();
        let below = dir.path().join("store/src");
        fs::create_dir_all(&below).unwrap();
        let written = create(&below, "add_zone").unwrap();
        assert_eq!(written.len(), 4);
        assert!(written[1].ends_with("store/migrations/sqlite/V2__add_zone.undo.sql"), "{written:?}");
        assert!(written[2].ends_with("store/migrations/postgres/V2__add_zone.sql"), "{written:?}");
        // The build waits for them to be written, and so does the next one.
        let error = create(&below, "next").unwrap_err();
        assert!(error.to_string().contains("holds no statement yet"), "{error}");
        for path in written {
            fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"SELECT 1;\n").unwrap();
        }
        assert!(create(&below, "next").unwrap()[0].ends_with("V3__next.sql"));
    }

    #[test]
    fn nothing_is_written_outside_of_a_checkout_or_under_a_bad_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(create(dir.path(), "add_zone"), Err(CreateError::NoCheckout(_))));
        assert!(matches!(create(checkout().path(), "../x"), Err(CreateError::Name(_))));
    }
}
