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
mod waiting;
mod weights;

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
pub use self::waiting::Waiting;
pub use self::weights::Weights;
use super::database::{Database, Row};
use super::schema::{exists, migrate};
use crate::protocol::ThreadKey;
use crate::turn::{Answer, Ending, Stop, Usage};

/// The tables, a script for each version; only ever append.
const SCHEMA: &[&str] = &[
    "
    CREATE TABLE thread (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        project TEXT NOT NULL, id TEXT NOT NULL, resource TEXT NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        indexed_at INTEGER, index_retry_at INTEGER
    ) STRICT;
    CREATE TABLE turns (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
        started_at INTEGER NOT NULL, finished_at INTEGER, messages INTEGER NOT NULL,
        superseded_by INTEGER, provider TEXT, model TEXT, usage TEXT, stop TEXT
    ) STRICT;
    CREATE INDEX pending_turns ON turns (started_at) WHERE status = 'pending';
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, role TEXT NOT NULL,
        content_hash TEXT NOT NULL, chain_hash TEXT, incomplete INTEGER NOT NULL,
        created_at INTEGER NOT NULL, tokens INTEGER NOT NULL, superseded_by INTEGER, body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX inputs_by_chain ON messages (chain_hash) WHERE chain_hash IS NOT NULL;
    CREATE INDEX inputs_by_content ON messages (content_hash) WHERE chain_hash IS NOT NULL;
    CREATE TABLE message_rest (
        seq INTEGER NOT NULL, part INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (seq, part)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- The segment that has claimed a message; -1 once a branch replaced it unclaimed.
    ALTER TABLE messages ADD COLUMN segment INTEGER;
    -- 1 while the notes of an active segment stand for a message.
    ALTER TABLE messages ADD COLUMN covered INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX raw_messages ON messages (seq) WHERE covered = 0 AND superseded_by IS NULL;
    CREATE INDEX superseded_messages ON messages (superseded_by, seq) WHERE superseded_by IS NOT NULL;
    CREATE INDEX unclaimed_messages ON messages (seq) WHERE segment IS NULL;
    CREATE INDEX messages_by_segment ON messages (segment, seq) WHERE segment IS NOT NULL;
    CREATE TABLE segments (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, state TEXT NOT NULL, cycle TEXT UNIQUE,
        seq_from INTEGER NOT NULL, seq_to INTEGER NOT NULL, tokens INTEGER NOT NULL,
        attempt INTEGER NOT NULL, level INTEGER NOT NULL, not_before INTEGER NOT NULL, lease_until INTEGER,
        planned_at INTEGER NOT NULL, ready_at INTEGER, activated_at INTEGER,
        provider TEXT, model TEXT, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
        error TEXT, script TEXT
    ) STRICT;
    CREATE INDEX segments_by_state ON segments (state, id);
    CREATE TABLE notes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, segment INTEGER NOT NULL, parent INTEGER,
        priority TEXT NOT NULL, speaker TEXT NOT NULL, said_at INTEGER NOT NULL, refers TEXT, key TEXT,
        text TEXT NOT NULL, sources TEXT NOT NULL, last_source INTEGER NOT NULL, tokens INTEGER NOT NULL,
        status TEXT NOT NULL, superseded_by INTEGER, frozen INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX notes_by_status ON notes (status, id);
    CREATE INDEX unfrozen_notes ON notes (status, id) WHERE frozen = 0;
    CREATE INDEX notes_by_segment ON notes (segment, id);
    CREATE INDEX notes_by_successor ON notes (superseded_by) WHERE superseded_by IS NOT NULL;
    CREATE TABLE render (
        ord INTEGER PRIMARY KEY, segment INTEGER NOT NULL, last_day TEXT, bytes TEXT NOT NULL
    ) STRICT;
    CREATE TABLE gaps (seq INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
    CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT;
    CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL) STRICT;
    CREATE TABLE tombstone (one INTEGER PRIMARY KEY CHECK (one = 1), deleted_at INTEGER NOT NULL) STRICT;
",
    "
    -- Words of messages and notes. Marks (Mn, Mc) are parts of words: Indian scripts write vowels with them.
    CREATE VIRTUAL TABLE words USING fts5(
        text, content = '', contentless_delete = 1,
        tokenize = \"porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'\"
    );
    CREATE TABLE search_progress (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        message INTEGER NOT NULL, note INTEGER NOT NULL, is_behind INTEGER NOT NULL
    ) STRICT;
    INSERT INTO search_progress (one, message, note, is_behind) VALUES (1, 0, 0, 0);
    -- Answers that came when the index had already passed their places.
    CREATE TABLE unindexed_messages (seq INTEGER PRIMARY KEY) STRICT;
    CREATE TRIGGER message_behind_index AFTER INSERT ON messages
    WHEN NEW.seq <= (SELECT message FROM search_progress) BEGIN
        INSERT OR IGNORE INTO unindexed_messages (seq) VALUES (NEW.seq);
    END;
    CREATE TRIGGER message_leaves_index AFTER DELETE ON messages BEGIN
        DELETE FROM words WHERE rowid = OLD.seq;
        DELETE FROM unindexed_messages WHERE seq = OLD.seq;
    END;
    CREATE TRIGGER note_leaves_index AFTER DELETE ON notes BEGIN
        DELETE FROM words WHERE rowid = -OLD.id;
    END;
",
    "
    ALTER TABLE thread ADD COLUMN title TEXT;
    ALTER TABLE thread ADD COLUMN metadata TEXT; -- JSON
    CREATE INDEX messages_by_id ON messages (id);
    -- When the thread's owner put a note right; from then on no model changes it.
    ALTER TABLE notes ADD COLUMN corrected_at INTEGER;
    -- The log as it was before each rewrite: how it stood, and its text in pieces.
    CREATE TABLE generations (
        generation INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE generation_log (
        generation INTEGER NOT NULL, part INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (generation, part)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Stored responses that were made in the thread: they go when it goes.
    CREATE TABLE linked_responses (
        id TEXT PRIMARY KEY, chain TEXT NOT NULL, created_at INTEGER NOT NULL,
        leaving INTEGER NOT NULL DEFAULT 0 -- 1 once it is to be deleted
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX leaving_responses ON linked_responses (id) WHERE leaving = 1;
    -- A deletion of the thread of which not everybody was told yet, in JSON.
    CREATE TABLE departure (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL) STRICT;
",
    "
    -- Requests that a client may send twice, each by its key: which turn it became, and its answer where that was whole.
    CREATE TABLE idempotency_keys (
        key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, turn TEXT NOT NULL, claimed_at INTEGER NOT NULL, answer TEXT
    ) STRICT;
    CREATE INDEX idempotency_keys_by_age ON idempotency_keys (claimed_at);
",
];

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
}

const TURN: &str =
    "seq, id, status, started_at, finished_at, messages, superseded_by, provider, model, usage, stop";

impl<D: Database> Store<D> {
    /// Opens the storage and brings its tables up to date.
    pub fn open(database: D) -> Result<Self, D::Error> {
        migrate(&database, SCHEMA)?;
        Ok(Store { database, singles: Singles::default() })
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
        let rows = self.database.query(
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
        self.database.run(
            "DELETE FROM message_rest; DELETE FROM messages; DELETE FROM notes; DELETE FROM render;
             DELETE FROM segments; DELETE FROM gaps; DELETE FROM outbox; DELETE FROM state; DELETE FROM turns;
             DELETE FROM generation_log; DELETE FROM generations; DELETE FROM thread; UPDATE search_progress SET message = 0, note = 0, is_behind = 0;",
        )?;
        self.forget_singles();
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
