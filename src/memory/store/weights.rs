//! How much there is of what memory's triggers look at, asked for in one statement: every answer asks.
//!
//! Invariant: estimated tokens as they are stored; what corrects them is the state's business.

use super::Store;
use crate::memory::database::Database;

/// Estimated tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Of the messages that go into prompts as they were said.
    pub raw: u64,
    /// Of the messages that no segment has claimed.
    pub unclaimed: u64,
    /// Of the notes in use.
    pub notes: u64,
}

impl<D: Database> Store<D> {
    /// How much there is.
    pub fn weights(&self) -> Result<Weights, D::Error> {
        let notes = if self.has_grown()? {
            "(SELECT coalesce(sum(tokens), 0) FROM notes WHERE status = 'active')"
        } else {
            "0"
        };
        let rows = self.database.query(
            &format!(
                "SELECT
                 (SELECT coalesce(sum(tokens), 0) FROM messages WHERE covered = 0 AND superseded_by IS NULL),
                 (SELECT coalesce(sum(tokens), 0) FROM messages WHERE segment IS NULL), {notes}"
            ),
            &[],
        )?;
        Ok(rows.first().map_or(Weights::default(), |row| Weights {
            raw: row.unsigned(0),
            unclaimed: row.unsigned(1),
            notes: row.unsigned(2),
        }))
    }
}
