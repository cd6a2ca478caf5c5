//! What was applied, set against what this program has. Pure: the backends read the history, this judges it.

use refinery::Migration;

use super::error::{MigrateError, Result};
use super::{Script, Scripts};
use crate::Time;

/// refinery's own table.
pub(super) const TABLE: &str = "refinery_schema_history";
/// Of [`Applied`], in the order of its fields.
pub(super) const SELECT: &str =
    "SELECT version, name, applied_on, checksum FROM refinery_schema_history ORDER BY version";

/// A row of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) version: i32,
    pub(super) name: String,
    pub(super) at: Time,
    pub(super) checksum: u64,
}

impl Applied {
    /// As refinery writes it; it panics on anything else, so this looks first.
    pub(super) fn new(version: i32, name: String, at: &str, checksum: &str) -> Result<Self> {
        let unreadable = |what: &str| MigrateError::History(format!("V{version}__{name}: {what}"));
        let at = at.parse().map_err(|_| unreadable("applied_on"))?;
        let checksum = checksum.parse().map_err(|_| unreadable("checksum"))?;
        Ok(Self { version, name, at, checksum })
    }

    fn title(&self) -> String {
        format!("V{}__{}", self.version, self.name)
    }
}

/// How a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Applied,
    /// Not yet applied.
    Pending,
    /// What was applied has another name or text than what this program has.
    Differs,
    /// Not applied, though a later one was.
    Skipped,
    /// Applied by a newer release: this program does not know it, and runs on it.
    Newer,
}

/// One migration, as `migrate status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub version: i32,
    pub name: String,
    pub applied: Option<Time>,
    pub state: State,
}

impl Entry {
    /// `V1__initial`.
    pub fn title(&self) -> String {
        format!("V{}__{}", self.version, self.name)
    }
}

/// Every migration that this program has or that was applied, by version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub entries: Vec<Entry>,
}

impl Status {
    pub(super) fn new(scripts: &Scripts, applied: &[Applied]) -> Result<Self> {
        let last = applied.iter().map(|row| row.version).max();
        let mut entries = Vec::new();
        for script in scripts.iter() {
            let row = applied.iter().find(|row| row.version == script.version);
            let state = match row {
                Some(row) if is(row, &script.migration()?) => State::Applied,
                Some(_) => State::Differs,
                None if last.is_some_and(|last| last > script.version) => State::Skipped,
                None => State::Pending,
            };
            let name = row.map_or(script.name, |row| &row.name).to_owned();
            entries.push(Entry { version: script.version, name, applied: row.map(|row| row.at), state });
        }
        for row in applied.iter().filter(|row| scripts.get(row.version).is_none()) {
            let (version, name) = (row.version, row.name.clone());
            entries.push(Entry { version, name, applied: Some(row.at), state: State::Newer });
        }
        entries.sort_by_key(|entry| entry.version);
        Ok(Self { entries })
    }

    /// Those in `state`.
    pub fn titles(&self, state: State) -> Vec<String> {
        self.entries.iter().filter(|entry| entry.state == state).map(Entry::title).collect()
    }

    /// Whether nothing is left to apply.
    pub fn is_current(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.state, State::Applied | State::Newer))
    }

    /// Refuses a history that this program's migrations cannot follow on.
    pub fn check(&self, scripts: &Scripts) -> Result<()> {
        for entry in &self.entries {
            let own = scripts.get(entry.version).map_or_else(|| entry.title(), Script::title);
            match entry.state {
                State::Differs => return Err(MigrateError::Differs { applied: entry.title(), own }),
                State::Skipped => {
                    let later = self.entries.iter().rfind(|entry| entry.applied.is_some());
                    return Err(MigrateError::Skipped {
                        skipped: own,
                        later: later.map_or_else(String::new, Entry::title),
                    });
                }
                State::Applied | State::Pending | State::Newer => {}
            }
        }
        Ok(())
    }
}

fn is(row: &Applied, own: &Migration) -> bool {
    row.name == own.name() && row.checksum == own.checksum()
}

/// The migration that a rollback takes back: the last that was applied, if it is this program's own. `None`: none was.
pub(super) fn last<'s>(scripts: &'s Scripts, applied: &[Applied]) -> Result<Option<&'s Script>> {
    let Some(row) = applied.iter().max_by_key(|row| row.version) else { return Ok(None) };
    let Some(script) = scripts.get(row.version) else { return Err(MigrateError::NoUndo(row.title())) };
    if is(row, &script.migration()?) {
        return Ok(Some(script));
    }
    Err(MigrateError::Differs { applied: row.title(), own: script.title() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Script = Script { version: 1, name: "a", up: "SELECT 1", undo: "SELECT 1" };
    const B: Script = Script { version: 2, name: "b", up: "SELECT 2", undo: "SELECT 2" };
    const C: Script = Script { version: 3, name: "c", up: "SELECT 3", undo: "SELECT 3" };

    fn scripts(scripts: &[Script]) -> Scripts {
        Scripts(scripts.to_vec())
    }

    fn row(script: Script) -> Applied {
        let checksum = script.migration().unwrap().checksum().to_string();
        Applied::new(script.version, script.name.to_owned(), "2026-01-02T03:04:05.123456789Z", &checksum).unwrap()
    }

    fn states(own: &[Script], applied: &[Applied]) -> Vec<State> {
        Status::new(&scripts(own), applied).unwrap().entries.iter().map(|entry| entry.state).collect()
    }

    #[test]
    fn every_migration_stands_somewhere() {
        use State::{Differs, Newer, Pending, Skipped};
        let changed = Applied { checksum: 7, ..row(B) };
        let renamed = Applied { name: "other".to_owned(), ..row(B) };
        assert_eq!(states(&[A, B], &[]), [Pending, Pending]);
        assert_eq!(states(&[A, B], &[row(A)]), [State::Applied, Pending]);
        assert_eq!(states(&[A, B], &[row(A), row(B)]), [State::Applied, State::Applied]);
        assert_eq!(states(&[A], &[row(A), row(B)]), [State::Applied, Newer]);
        assert_eq!(states(&[A, B], &[row(A), changed]), [State::Applied, Differs]);
        assert_eq!(states(&[A, B], &[row(A), renamed]), [State::Applied, Differs]);
        assert_eq!(states(&[A, B, C], &[row(A), row(C)]), [State::Applied, Skipped, State::Applied]);
    }

    #[test]
    fn what_cannot_be_followed_on_names_the_migration() {
        let check = |own: &[Script], applied: &[Applied]| {
            Status::new(&scripts(own), applied).unwrap().check(&scripts(own)).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[A], &[row(A), row(B)]), Ok(()));
        assert_eq!(check(&[A, B], &[row(A)]), Ok(()));
        let renamed = Applied { name: "other".to_owned(), ..row(B) };
        let error = check(&[A, B], &[row(A), renamed]).unwrap_err();
        assert!(error.contains("V2__other was applied, but is not the V2__b"), "{error}");
        let error = check(&[A, B, C], &[row(A), row(C)]).unwrap_err();
        assert!(error.contains("V2__b was never applied, though the later V3__c was"), "{error}");
    }

    #[test]
    fn only_ones_own_last_migration_is_taken_back() {
        let own = scripts(&[A, B]);
        assert!(last(&own, &[]).unwrap().is_none());
        assert_eq!(last(&own, &[row(A), row(B)]).unwrap().unwrap().version, 2);
        assert_eq!(last(&own, &[row(A)]).unwrap().unwrap().version, 1);
        assert!(matches!(last(&own, &[row(A), row(C)]), Err(MigrateError::NoUndo(title)) if title == "V3__c"));
        let changed = Applied { checksum: 7, ..row(B) };
        assert!(matches!(last(&own, &[row(A), changed]), Err(MigrateError::Differs { .. })));
    }

    #[test]
    fn a_history_that_refinery_would_panic_on_is_an_error() {
        for (at, checksum) in [("yesterday", "1"), ("2026-01-02T03:04:05Z", "-1")] {
            let error = Applied::new(1, "a".to_owned(), at, checksum).unwrap_err();
            assert!(matches!(error, MigrateError::History(_)), "{error}");
        }
    }
}
