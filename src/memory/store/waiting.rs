//! What waits for the thread's alarm, asked for in one statement: an object asks after every message.
//!
//! Invariant: whatever is left to do in the tables is seen here, or the alarm would never ring for it.

use super::Store;
use crate::memory::database::Database;

/// What waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// When the oldest pending turn arrived, in Unix milliseconds.
    pub oldest_pending: Option<u64>,
    /// Until when the running job is left alone, if one runs; 0 for one that is not.
    pub running_until: Option<u64>,
    /// When the first of the planned jobs may be tried.
    pub planned_for: Option<u64>,
    /// The resource's object is to be told something.
    pub has_news: bool,
    /// Words are missing in the index.
    pub is_index_behind: bool,
    /// The deletion that is under way, as [`Store::save_departure`] was given it.
    pub departure: Option<String>,
    /// Stored responses are to be deleted.
    pub has_leaving_responses: bool,
}

/// What waits in a thread that has grown.
const MORE: &str = "
    (SELECT coalesce(lease_until, 0) FROM segments WHERE state = 'running' ORDER BY id LIMIT 1),
    (SELECT min(not_before) FROM segments WHERE state = 'planned'),
    EXISTS (SELECT 1 FROM outbox),
    (SELECT is_behind FROM search_progress),
    (SELECT body FROM departure)";

impl<D: Database> Store<D> {
    /// What waits.
    pub fn waiting(&self) -> Result<Waiting, D::Error> {
        let more = if self.has_grown()? { MORE } else { "NULL, NULL, 0, 0, NULL" };
        let rows = self.database.query(
            &format!(
                "SELECT (SELECT min(started_at) FROM turns WHERE status = 'pending'),
                 EXISTS (SELECT 1 FROM linked_responses WHERE leaving = 1), {more}"
            ),
            &[],
        )?;
        Ok(rows.first().map_or(Waiting::default(), |row| Waiting {
            oldest_pending: row.optional(0).map(|value| value.unsigned()),
            has_leaving_responses: row.integer(1) != 0,
            running_until: row.optional(2).map(|value| value.unsigned()),
            planned_for: row.optional(3).map(|value| value.unsigned()),
            has_news: row.integer(4) != 0,
            is_index_behind: row.integer(5) != 0,
            departure: row.optional(6).map(|value| value.text()),
        }))
    }
}
