//! The files of the migrations: how they are named, and what must be true of them. The build embeds them by these rules
//! (build.rs includes this file, so it uses nothing but std), and `create` adds to them.
//!
//! A migration is two files in the folder of each backend: `V<version>__<name>.sql`, and `V<version>__<name>.undo.sql`
//! that takes it back. Versions count from 1 without holes, and both backends have the same.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the backends.
pub const BACKENDS: [&str; 2] = ["sqlite", "postgres"];

/// The history keeps names of up to 255 characters; one that long says too much.
const NAME_MAX: usize = 60;

/// One migration of one backend.
#[derive(Debug, PartialEq, Eq)]
pub struct Pair {
    pub version: i32,
    pub name: String,
    pub up: PathBuf,
    pub undo: PathBuf,
}

/// The names of the two files.
pub fn names(version: i32, name: &str) -> [String; 2] {
    [format!("V{version}__{name}.sql"), format!("V{version}__{name}.undo.sql")]
}

/// `lower_snake`, such as `add_runner_zone`.
pub fn check_name(name: &str) -> Result<(), String> {
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let snake = name.split('_').all(word) && name.starts_with(|c: char| c.is_ascii_lowercase());
    if snake && name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(format!("{name:?} is no name for a migration: lower_snake of up to {NAME_MAX} characters, such as add_zone"))
}

/// The migrations of every backend in `folder`, in the order of [`BACKENDS`] and of their versions.
pub fn all(folder: &Path) -> Result<[Vec<Pair>; 2], String> {
    let [first, second] = BACKENDS.map(|backend| list(&folder.join(backend)));
    let both = [first?, second?];
    let [one, other] =
        both.each_ref().map(|pairs| pairs.iter().map(|pair| (pair.version, &pair.name)).collect::<Vec<_>>());
    if one != other {
        return Err(format!("the migrations differ: {} has {one:?}, {} has {other:?}", BACKENDS[0], BACKENDS[1]));
    }
    Ok(both)
}

fn list(folder: &Path) -> Result<Vec<Pair>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    let mut pairs = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (version, name) = parse(&file).ok_or_else(|| format!("{}: not named like a migration", path.display()))?;
        check_name(name)?;
        check_script(&path)?;
        if !file.ends_with(".undo.sql") {
            let undo = folder.join(&names(version, name)[1]);
            if !undo.is_file() {
                return Err(format!("{}: has no {}", path.display(), undo.display()));
            }
            pairs.push(Pair { version, name: name.to_owned(), up: path, undo });
        } else if !folder.join(&names(version, name)[0]).is_file() {
            return Err(format!("{}: undoes a migration that is not there", path.display()));
        }
    }
    pairs.sort_by_key(|pair| pair.version);
    for (expected, pair) in (1..).zip(&pairs) {
        if pair.version != expected {
            return Err(format!("{}: V{expected} is due", pair.up.display()));
        }
    }
    Ok(pairs)
}

/// The version and the name that a file's name states.
fn parse(file: &str) -> Option<(i32, &str)> {
    let stem = file.strip_suffix(".undo.sql").or_else(|| file.strip_suffix(".sql"))?;
    let (version, name) = stem.strip_prefix('V')?.split_once("__")?;
    let canonical = !version.starts_with('0') && version.bytes().all(|byte| byte.is_ascii_digit());
    Some((version.parse().ok().filter(|_| canonical)?, name))
}

/// A script does something, and leaves beginning and ending its transaction to whoever runs it: a COMMIT in the middle
/// would let a kill leave half a migration.
fn check_script(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--"));
    if lines().next().is_none() {
        return Err(format!("{}: holds no statement yet", path.display()));
    }
    // BEGIN on a line of its own opens the body of a trigger or function.
    let ends = |line: &str| {
        let line = line.to_ascii_uppercase();
        ["COMMIT", "ROLLBACK", "ABORT", "BEGIN;", "BEGIN TRANSACTION", "START TRANSACTION", "END TRANSACTION"]
            .iter()
            .any(|word| line.starts_with(word))
    };
    match lines().find(|line| ends(line)) {
        Some(line) => Err(format!("{}: {line:?}: a migration runs inside a transaction already", path.display())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folders with these files, each with its text.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for backend in BACKENDS {
            fs::create_dir(dir.path().join(backend)).unwrap();
        }
        for (file, text) in files {
            fs::write(dir.path().join(file), text).unwrap();
        }
        dir
    }

    const FIRST: [(&str, &str); 4] = [
        ("sqlite/V1__a.sql", "SELECT 1;"),
        ("sqlite/V1__a.undo.sql", "SELECT 1;"),
        ("postgres/V1__a.sql", "SELECT 1;"),
        ("postgres/V1__a.undo.sql", "SELECT 1;"),
    ];

    #[test]
    fn migrations_are_listed_with_their_undo_by_version() {
        let mut files = FIRST.to_vec();
        for backend in BACKENDS {
            for n in 2..=11 {
                for file in names(n, "b") {
                    files.push((format!("{backend}/{file}").leak(), "CREATE TRIGGER x\nBEGIN\nSELECT 1;\nEND;"));
                }
            }
        }
        let [sqlite, postgres] = all(folder(&files).path()).unwrap();
        assert_eq!(sqlite.iter().map(|pair| pair.version).collect::<Vec<_>>(), (1..=11).collect::<Vec<_>>());
        assert_eq!(postgres[10].name, "b");
        assert!(postgres[10].undo.ends_with("postgres/V11__b.undo.sql"));
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_with_the_file() {
        for (more, said) in [
            (("sqlite/V2__b.sql", "SELECT 1;"), "has no"),
            (("sqlite/V2__b.undo.sql", "SELECT 1;"), "undoes a migration that is not there"),
            (("sqlite/notes.txt", "SELECT 1;"), "notes.txt: not named like a migration"),
            (("sqlite/V02__b.sql", "SELECT 1;"), "not named like a migration"),
            (("sqlite/V2__B.sql", "SELECT 1;"), "lower_snake"),
            (("sqlite/V1__a.sql", "-- Nothing.\n\n"), "V1__a.sql: holds no statement yet"),
            (("sqlite/V1__a.sql", "SELECT 1;\n  commit;"), "runs inside a transaction already"),
        ] {
            let mut files = FIRST.to_vec();
            files.push(more);
            let error = all(folder(&files).path()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn both_backends_have_the_same_versions_without_holes() {
        let third = [("sqlite/V3__c.sql", "SELECT 1;"), ("sqlite/V3__c.undo.sql", "SELECT 1;")];
        let error = all(folder(&[FIRST.as_slice(), &third].concat()).path()).unwrap_err();
        assert!(error.contains("V2 is due"), "{error}");
        let second = [("sqlite/V2__c.sql", "SELECT 1;"), ("sqlite/V2__c.undo.sql", "SELECT 1;")];
        let error = all(folder(&[FIRST.as_slice(), &second].concat()).path()).unwrap_err();
        assert!(error.contains("the migrations differ"), "{error}");
    }

    #[test]
    fn a_name_is_lower_snake() {
        for good in ["a", "add_zone", "v2_of_x"] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "A", "a__b", "_a", "a_", "1a", "a-b", "a/b", "../a", "é", &"a".repeat(61)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
