//! What a thread's object keeps, in SQLite, and the few questions that the thread's logic asks of it.
//!
//! Invariant: rows are only ever added or marked; a message's `seq` orders the conversation for good. All questions about
//! messages are asked on behalf of a turn, and answered as the conversation stood when that turn arrived: its own
//! messages, later ones and superseded ones are not seen, but those that the turn itself superseded are.

mod copies;
mod erasure;
mod generations;
mod idempotency;
mod messages;
mod note_rows;
mod notes;
mod rows;
mod search;
mod segments;
mod singles;
mod tables;
mod waiting;
mod weights;

use std::cell::Cell;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::erasure::LinkedResponse;
pub use self::idempotency::IdempotencyKey;
pub use self::messages::{Extent, StoredInput, StoredMessage};
pub use self::note_rows::NoteRow;
pub use self::notes::{NewNote, NoteStatus, Rendered};
pub use self::rows::Brought;
pub use self::search::FoundMessage;
pub use self::segments::{Kind, Segment, SegmentState};
use self::singles::Singles;
pub use self::tables::GROWN_BY;
pub use self::waiting::Waiting;
pub use self::weights::Weights;
use super::database::{Database, Row};
use super::schema::exists;
use crate::protocol::ThreadKey;
use crate::turn::{Answer, Ending, Stop, Usage};

/// Messages of one turn share the upper bits of their `seq`.
const TURN_SHIFT: u32 = 20;

/// The most messages that one turn can add.
pub const MAX_MESSAGES_PER_TURN: usize = 1 << TURN_SHIFT;

/// The place of a turn's first message.
pub fn first_seq(turn: i64) -> i64 {
    turn << TURN_SHIFT
}

/// The turn that a message belongs to.
pub fn turn_of(seq: i64) -> i64 {
    seq >> TURN_SHIFT
}

/// The thread's one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The project that it belongs to.
    pub project: String,
    /// Its id, unique in the project.
    pub id: String,
    /// Its owner.
    pub resource: String,
    /// What its owner calls it.
    #[serde(default)]
    pub title: Option<String>,
    /// What its owner keeps with it: JSON.
    #[serde(default)]
    pub metadata: Option<String>,
    /// When it was first used, in Unix milliseconds.
    pub created_at: u64,
    /// When it was last used.
    pub updated_at: u64,
    /// When the index across threads last heard of it.
    pub indexed_at: Option<u64>,
    /// When to tell the index again, after it could not be told.
    pub index_retry_at: Option<u64>,
}

impl Thread {
    /// Whose it is.
    pub fn key(&self) -> ThreadKey {
        let Thread { project, id, resource, .. } = self;
        ThreadKey { project: project.clone(), thread: id.clone(), resource: Some(resource.clone()) }
    }
}

/// How far a turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// The provider is answering.
    Pending,
    /// Answered in full.
    Complete,
    /// The client left, or the answer was cut short.
    Incomplete,
    /// The provider refused or failed.
    Failed,
    /// Nobody ever reported its end.
    Lost,
}

impl TurnStatus {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            TurnStatus::Pending => "pending",
            TurnStatus::Complete => "complete",
            TurnStatus::Incomplete => "incomplete",
            TurnStatus::Failed => "failed",
            TurnStatus::Lost => "lost",
        }
    }

    /// How a turn with this answer has ended.
    pub fn of(answer: &Answer) -> Self {
        match (answer.ending, &answer.message) {
            (Ending::Complete, _) => TurnStatus::Complete,
            (Ending::Failed, None) => TurnStatus::Failed,
            (Ending::Failed | Ending::Truncated | Ending::Unread, _) => TurnStatus::Incomplete,
        }
    }

    /// The status behind a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Pending, Self::Complete, Self::Incomplete, Self::Failed, Self::Lost]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Its number in the thread, from 1, in order of arrival.
    pub seq: i64,
    /// The id that makes `prepare` and `commit` idempotent.
    pub id: String,
    /// How far it has come.
    pub status: TurnStatus,
    /// When it arrived, in Unix milliseconds.
    pub started_at: u64,
    /// When its end was reported.
    pub finished_at: Option<u64>,
    /// How many messages it holds.
    pub messages: i64,
    /// Set when a later turn replaced what this one answers.
    pub superseded_by: Option<i64>,
    /// The provider that answered.
    pub provider: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// Token counts as reported.
    pub usage: Option<Usage>,
    /// Why the model stopped.
    pub stop: Option<Stop>,
}

/// How much there is of what a deletion takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages, replaced ones included.
    pub messages: u64,
    /// Notes, whatever became of them.
    pub notes: u64,
    /// Jobs that wait or are under way.
    pub jobs: u64,
}

/// Storage of one thread.
#[derive(Debug)]
pub struct Store<D> {
    database: D,
    singles: Singles,
    /// Whether it has all tables; `None` where that has to be looked up.
    has_grown: Cell<Option<bool>>,
}

const TURN: &str =
    "seq, id, status, started_at, finished_at, messages, superseded_by, provider, model, usage, stop";

impl<D: Database> Store<D> {
    /// Opens the storage and brings its tables up to date.
    pub fn open(database: D) -> Result<Self, D::Error> {
        let store = Store { database, singles: Singles::default(), has_grown: Cell::new(None) };
        store.bring_up_to_date()?;
        Ok(store)
    }

    /// Opens the storage of a thread that may not exist, without bringing it into being: `None` when nothing was ever
    /// stored.
    pub fn open_existing(database: D) -> Result<Option<Self>, D::Error> {
        if !exists(&database)? {
            return Ok(None);
        }
        Store::open(database).map(Some)
    }

    /// The database below.
    pub fn database(&self) -> &D {
        &self.database
    }

    /// Gives the database back.
    pub fn into_database(self) -> D {
        self.database
    }

    /// How much there is of what a deletion takes.
    pub fn counts(&self) -> Result<Counts, D::Error> {
        let rows = self.grown()?.query(
            "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM notes),
                 (SELECT count(*) FROM segments WHERE state IN ('planned', 'running'))",
            &[],
        )?;
        Ok(rows.first().map_or(Counts::default(), |row| Counts {
            messages: row.unsigned(0),
            notes: row.unsigned(1),
            jobs: row.unsigned(2),
        }))
    }

    /// Deletes every row but the mark of a deletion.
    pub fn empty(&self) -> Result<(), D::Error> {
        self.grown()?.run(
            "DELETE FROM message_rest; DELETE FROM messages; DELETE FROM notes; DELETE FROM render;
             DELETE FROM segments; DELETE FROM gaps; DELETE FROM outbox; DELETE FROM state; DELETE FROM turns;
             DELETE FROM generation_log; DELETE FROM generations; DELETE FROM thread; UPDATE search_progress SET message = 0, note = 0, is_behind = 0;",
        )?;
        self.undone();
        Ok(())
    }

    /// A turn by its id.
    pub fn turn(&self, id: &str) -> Result<Option<Turn>, D::Error> {
        let rows = self.database.query(&format!("SELECT {TURN} FROM turns WHERE id = ?1"), &[id.into()])?;
        Ok(rows.first().map(read_turn))
    }

    /// A turn by its number.
    pub fn turn_at(&self, seq: i64) -> Result<Option<Turn>, D::Error> {
        let rows = self.database.query(&format!("SELECT {TURN} FROM turns WHERE seq = ?1"), &[seq.into()])?;
        Ok(rows.first().map(read_turn))
    }

    /// The number of the newest turn, 0 without any.
    pub fn last_turn(&self) -> Result<i64, D::Error> {
        let rows = self.database.query("SELECT coalesce(max(seq), 0) FROM turns", &[])?;
        Ok(rows.first().map_or(0, |row| row.integer(0)))
    }

    /// A turn by its id, and the number of the newest turn, 0 without any.
    pub fn turn_and_last(&self, id: &str) -> Result<(Option<Turn>, i64), D::Error> {
        let rows = self.database.query(
            &format!(
                "SELECT {TURN}, last FROM (SELECT coalesce(max(seq), 0) AS last FROM turns)
                 LEFT JOIN turns ON turns.id = ?1"
            ),
            &[id.into()],
        )?;
        let Some(row) = rows.first() else { return Ok((None, 0)) };
        Ok((row.optional(0).map(|_| read_turn(row)), row.integer(11)))
    }

    /// Writes a turn's row.
    pub fn save_turn(&self, turn: &Turn) -> Result<(), D::Error> {
        self.database
            .query(
                &format!(
                    "INSERT OR REPLACE INTO turns ({TURN}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                ),
                &[
                    turn.seq.into(),
                    turn.id.as_str().into(),
                    turn.status.as_str().into(),
                    turn.started_at.into(),
                    turn.finished_at.into(),
                    turn.messages.into(),
                    turn.superseded_by.into(),
                    turn.provider.clone().into(),
                    turn.model.clone().into(),
                    turn.usage.map(|usage| to_json(&usage)).into(),
                    turn.stop.as_ref().map(to_json).into(),
                ],
            )
            .map(drop)
    }

    /// Turns that are still pending and arrived at `until` or before.
    pub fn pending_turns(&self, until: u64) -> Result<Vec<Turn>, D::Error> {
        let rows = self.database.query(
            &format!("SELECT {TURN} FROM turns WHERE status = 'pending' AND started_at <= ?1 ORDER BY seq"),
            &[until.into()],
        )?;
        Ok(rows.iter().map(read_turn).collect())
    }

    /// The number of the oldest turn that is still pending.
    pub fn first_pending(&self) -> Result<Option<i64>, D::Error> {
        let rows = self
            .database
            .query("SELECT min(seq) FROM turns INDEXED BY pending_turns WHERE status = 'pending'", &[])?;
        Ok(rows.first().and_then(|row| row.optional(0)).map(|value| value.integer()))
    }
}

fn read_turn(row: &Row) -> Turn {
    Turn {
        seq: row.integer(0),
        id: row.text(1),
        status: TurnStatus::from_word(&row.text(2)).unwrap_or(TurnStatus::Lost),
        started_at: row.unsigned(3),
        finished_at: row.optional(4).map(|value| value.unsigned()),
        messages: row.integer(5),
        superseded_by: row.optional(6).map(|value| value.integer()),
        provider: row.optional(7).map(|value| value.text()),
        model: row.optional(8).map(|value| value.text()),
        usage: row.optional(9).and_then(|value| serde_json::from_str(&value.text()).ok()),
        stop: row.optional(10).and_then(|value| serde_json::from_str(&value.text()).ok()),
    }
}

/// What [`to_json`] wrote; `None` for what a newer version wrote otherwise.
fn from_json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// JSON of one of our own types, which have no part that cannot be written.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
