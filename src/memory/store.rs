//! What a thread's object keeps, in SQLite, and the few questions that the thread's logic asks of it.
//!
//! Invariant: rows are only ever added or marked; a message's `seq` orders the conversation for good. All questions about
//! messages are asked on behalf of a turn, and answered as the conversation stood when that turn arrived: its own
//! messages, later ones and superseded ones are not seen, but those that the turn itself superseded are.

use serde::{Deserialize, Serialize};

use super::database::{Database, Row};
use super::schema::{exists, may_go_on, migrate, pieces};
use crate::turn::{Answer, Ending, Message, Role, Stop, Usage};

/// The tables, a script for each version; only ever append.
const SCHEMA: &[&str] = &["
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
"];

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The project that it belongs to.
    pub project: String,
    /// Its id, unique in the project.
    pub id: String,
    /// Its owner.
    pub resource: String,
    /// When it was first used, in Unix milliseconds.
    pub created_at: u64,
    /// When it was last used.
    pub updated_at: u64,
    /// When the index across threads last heard of it.
    pub indexed_at: Option<u64>,
    /// When to tell the index again, after it could not be told.
    pub index_retry_at: Option<u64>,
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

/// A message as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    /// Its place in the conversation.
    pub seq: i64,
    /// Its public id.
    pub id: String,
    /// SHA-256 of role and content.
    pub content_hash: String,
    /// SHA-256 of all inputs up to and with this one; `None` for the assistant's messages.
    pub chain_hash: Option<String>,
    /// True for an answer that was cut short.
    pub incomplete: bool,
    /// When it was stored, in Unix milliseconds.
    pub created_at: u64,
    /// Estimated tokens.
    pub tokens: u64,
    /// The turn whose branch replaced it.
    pub superseded_by: Option<i64>,
    /// The message.
    pub message: Message,
}

/// The hashes of a stored input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInput {
    /// Its place in the conversation.
    pub seq: i64,
    /// SHA-256 of role and content.
    pub content_hash: String,
    /// SHA-256 of all inputs up to and with this one.
    pub chain_hash: String,
}

/// Storage of one thread.
#[derive(Debug)]
pub struct Store<D>(D);

const THREAD: &str = "project, id, resource, created_at, updated_at, indexed_at, index_retry_at";
const TURN: &str =
    "seq, id, status, started_at, finished_at, messages, superseded_by, provider, model, usage, stop";
const MESSAGE: &str =
    "seq, id, content_hash, chain_hash, incomplete, created_at, tokens, superseded_by, body";
const INPUT: &str = "seq, content_hash, chain_hash";
/// What turn `?1` sees of the messages; `?2` is the place of its first own one.
const SEEN: &str = "seq < ?2 AND (superseded_by IS NULL OR superseded_by >= ?1)";

impl<D: Database> Store<D> {
    /// Opens the storage and brings its tables up to date.
    pub fn open(database: D) -> Result<Self, D::Error> {
        migrate(&database, SCHEMA)?;
        Ok(Store(database))
    }

    /// Opens the storage of a thread that may not exist, without bringing it into being: `None` when nothing was ever
    /// stored.
    pub fn open_existing(database: D) -> Result<Option<Self>, D::Error> {
        if !exists(&database)? {
            return Ok(None);
        }
        Store::open(database).map(Some)
    }

    /// Gives the database back.
    pub fn into_database(self) -> D {
        self.0
    }

    /// The thread, once it exists.
    pub fn thread(&self) -> Result<Option<Thread>, D::Error> {
        let rows = self.0.query(&format!("SELECT {THREAD} FROM thread"), &[])?;
        Ok(rows.first().map(|row| Thread {
            project: row.text(0),
            id: row.text(1),
            resource: row.text(2),
            created_at: row.unsigned(3),
            updated_at: row.unsigned(4),
            indexed_at: row.optional(5).map(|value| value.unsigned()),
            index_retry_at: row.optional(6).map(|value| value.unsigned()),
        }))
    }

    /// Writes the thread's row.
    pub fn save_thread(&self, thread: &Thread) -> Result<(), D::Error> {
        self.0
            .query(
                &format!(
                    "INSERT OR REPLACE INTO thread (one, {THREAD}) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                ),
                &[
                    thread.project.as_str().into(),
                    thread.id.as_str().into(),
                    thread.resource.as_str().into(),
                    thread.created_at.into(),
                    thread.updated_at.into(),
                    thread.indexed_at.into(),
                    thread.index_retry_at.into(),
                ],
            )
            .map(drop)
    }

    /// A turn by its id.
    pub fn turn(&self, id: &str) -> Result<Option<Turn>, D::Error> {
        let rows = self.0.query(&format!("SELECT {TURN} FROM turns WHERE id = ?1"), &[id.into()])?;
        Ok(rows.first().map(read_turn))
    }

    /// A turn by its number.
    pub fn turn_at(&self, seq: i64) -> Result<Option<Turn>, D::Error> {
        let rows = self.0.query(&format!("SELECT {TURN} FROM turns WHERE seq = ?1"), &[seq.into()])?;
        Ok(rows.first().map(read_turn))
    }

    /// The number of the newest turn, 0 without any.
    pub fn last_turn(&self) -> Result<i64, D::Error> {
        let rows = self.0.query("SELECT coalesce(max(seq), 0) FROM turns", &[])?;
        Ok(rows.first().map_or(0, |row| row.integer(0)))
    }

    /// Writes a turn's row.
    pub fn save_turn(&self, turn: &Turn) -> Result<(), D::Error> {
        self.0
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
        let rows = self.0.query(
            &format!("SELECT {TURN} FROM turns WHERE status = 'pending' AND started_at <= ?1 ORDER BY seq"),
            &[until.into()],
        )?;
        Ok(rows.iter().map(read_turn).collect())
    }

    /// When the oldest pending turn arrived.
    pub fn oldest_pending(&self) -> Result<Option<u64>, D::Error> {
        let rows = self.0.query("SELECT min(started_at) FROM turns WHERE status = 'pending'", &[])?;
        Ok(rows.first().and_then(|row| row.optional(0)).map(|value| value.unsigned()))
    }

    /// Adds a message.
    pub fn add_message(&self, stored: &StoredMessage) -> Result<(), D::Error> {
        let body = to_json(&stored.message);
        let mut pieces = pieces(&body);
        self.0.query(
            &format!(
                "INSERT INTO messages ({MESSAGE}, role) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            ),
            &[
                stored.seq.into(),
                stored.id.as_str().into(),
                stored.content_hash.as_str().into(),
                stored.chain_hash.clone().into(),
                i64::from(stored.incomplete).into(),
                stored.created_at.into(),
                stored.tokens.into(),
                stored.superseded_by.into(),
                pieces.next().unwrap_or_default().into(),
                stored.message.role.as_str().into(),
            ],
        )?;
        for (part, piece) in (1i64..).zip(pieces) {
            self.0.query(
                "INSERT INTO message_rest (seq, part, body) VALUES (?1, ?2, ?3)",
                &[stored.seq.into(), part.into(), piece.into()],
            )?;
        }
        Ok(())
    }

    /// The conversation as turn `turn` sees it, in order.
    pub fn conversation(&self, turn: i64) -> Result<Vec<StoredMessage>, D::Error> {
        let rows = self.0.query(
            &format!("SELECT {MESSAGE} FROM messages WHERE {SEEN} ORDER BY seq"),
            &[turn.into(), first_seq(turn).into()],
        )?;
        self.read_messages(rows)
    }

    /// Messages that no branch replaced, as a page, and how many there are in all.
    pub fn page(
        &self,
        limit: u32,
        offset: u32,
        descending: bool,
    ) -> Result<(Vec<StoredMessage>, u64), D::Error> {
        let order = if descending { "DESC" } else { "ASC" };
        let rows = self.0.query(
            &format!(
                "SELECT {MESSAGE} FROM messages WHERE superseded_by IS NULL ORDER BY seq {order} LIMIT ?1 OFFSET ?2"
            ),
            &[i64::from(limit).into(), i64::from(offset).into()],
        )?;
        let count = self.0.query("SELECT count(*) FROM messages WHERE superseded_by IS NULL", &[])?;
        Ok((self.read_messages(rows)?, count.first().map_or(0, |row| row.unsigned(0))))
    }

    /// The newest input that `turn` sees.
    pub fn last_input(&self, turn: i64) -> Result<Option<StoredInput>, D::Error> {
        let rows = self.0.query(
            &format!(
                "SELECT {INPUT} FROM messages WHERE {SEEN} AND chain_hash IS NOT NULL ORDER BY seq DESC LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into()],
        )?;
        Ok(rows.first().map(read_input))
    }

    /// The newest input before `until` that `turn` sees.
    pub fn input_before(&self, turn: i64, until: i64) -> Result<Option<StoredInput>, D::Error> {
        let rows = self.0.query(
            &format!(
                "SELECT {INPUT} FROM messages WHERE {SEEN} AND seq < ?3 AND chain_hash IS NOT NULL
                 ORDER BY seq DESC LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into(), until.into()],
        )?;
        Ok(rows.first().map(read_input))
    }

    /// The newest message of the user that `turn` sees.
    pub fn last_of_user(&self, turn: i64) -> Result<Option<StoredInput>, D::Error> {
        let rows = self.0.query(
            &format!("SELECT {INPUT} FROM messages WHERE {SEEN} AND role = 'user' ORDER BY seq DESC LIMIT 1"),
            &[turn.into(), first_seq(turn).into()],
        )?;
        Ok(rows.first().map(read_input))
    }

    /// The input with this chain hash.
    pub fn input_by_chain(&self, turn: i64, chain_hash: &str) -> Result<Option<StoredInput>, D::Error> {
        let rows = self.0.query(
            &format!(
                "SELECT {INPUT} FROM messages WHERE {SEEN} AND chain_hash = ?3 ORDER BY seq DESC LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into(), chain_hash.into()],
        )?;
        Ok(rows.first().map(read_input))
    }

    /// The newest inputs with this content, newest first, at most `limit`.
    pub fn inputs_by_content(
        &self,
        turn: i64,
        content_hash: &str,
        limit: u32,
    ) -> Result<Vec<StoredInput>, D::Error> {
        let rows = self.0.query(
            &format!(
                "SELECT {INPUT} FROM messages WHERE {SEEN} AND content_hash = ?3 AND chain_hash IS NOT NULL
                 ORDER BY seq DESC LIMIT ?4"
            ),
            &[turn.into(), first_seq(turn).into(), content_hash.into(), i64::from(limit).into()],
        )?;
        Ok(rows.iter().map(read_input).collect())
    }

    /// The inputs behind `seq`, in order, at most `limit`.
    pub fn inputs_after(&self, turn: i64, seq: i64, limit: u32) -> Result<Vec<StoredInput>, D::Error> {
        let rows = self.0.query(
            &format!(
                "SELECT {INPUT} FROM messages WHERE {SEEN} AND seq > ?3 AND chain_hash IS NOT NULL
                 ORDER BY seq LIMIT ?4"
            ),
            &[turn.into(), first_seq(turn).into(), seq.into(), i64::from(limit).into()],
        )?;
        Ok(rows.iter().map(read_input).collect())
    }

    /// The user's messages behind `seq`, in order, at most `limit`.
    pub fn of_user_after(&self, turn: i64, seq: i64, limit: u32) -> Result<Vec<StoredInput>, D::Error> {
        let rows = self.0.query(
            &format!(
                "SELECT {INPUT} FROM messages WHERE {SEEN} AND seq > ?3 AND role = 'user' ORDER BY seq LIMIT ?4"
            ),
            &[turn.into(), first_seq(turn).into(), seq.into(), i64::from(limit).into()],
        )?;
        Ok(rows.iter().map(read_input).collect())
    }

    /// The last of the assistant's messages that stand behind `seq` with no input between.
    pub fn answer_to(&self, turn: i64, seq: i64) -> Result<Option<StoredMessage>, D::Error> {
        let until = self.inputs_after(turn, seq, 1)?.first().map_or(i64::MAX, |next| next.seq);
        let rows = self.0.query(
            &format!(
                "SELECT {MESSAGE} FROM messages WHERE {SEEN} AND seq > ?3 AND seq < ?4 ORDER BY seq DESC LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into(), seq.into(), until.min(first_seq(turn)).into()],
        )?;
        Ok(self.read_messages(rows)?.pop())
    }

    /// Marks the messages behind `seq` that `turn` sees, and the turns still answering there, as replaced by `turn`.
    pub fn supersede_after(&self, turn: i64, seq: i64) -> Result<(), D::Error> {
        self.0.query(
            "UPDATE messages SET superseded_by = ?1 WHERE seq < ?2 AND seq > ?3 AND superseded_by IS NULL",
            &[turn.into(), first_seq(turn).into(), seq.into()],
        )?;
        // The turn of `seq` itself may still be answering; if it has answered, the mark changes nothing.
        self.0.query(
            "UPDATE turns SET superseded_by = ?1 WHERE seq < ?1 AND seq >= ?2 AND superseded_by IS NULL",
            &[turn.into(), turn_of(seq).into()],
        )?;
        Ok(())
    }

    fn read_messages(&self, rows: Vec<Row>) -> Result<Vec<StoredMessage>, D::Error> {
        rows.iter().map(|row| self.read_message(row)).collect()
    }

    fn read_message(&self, row: &Row) -> Result<StoredMessage, D::Error> {
        let seq = row.integer(0);
        let mut body = row.text(8);
        if may_go_on(&body) {
            for rest in
                self.0.query("SELECT body FROM message_rest WHERE seq = ?1 ORDER BY part", &[seq.into()])?
            {
                body.push_str(&rest.text(0));
            }
        }
        // What this version cannot read (written by a newer one) is an empty message, not a dead thread.
        let message =
            serde_json::from_str(&body).unwrap_or_else(|_| Message::new(Role::Assistant, Vec::new()));
        Ok(StoredMessage {
            seq,
            id: row.text(1),
            content_hash: row.text(2),
            chain_hash: row.optional(3).map(|value| value.text()),
            incomplete: row.integer(4) != 0,
            created_at: row.unsigned(5),
            tokens: row.unsigned(6),
            superseded_by: row.optional(7).map(|value| value.integer()),
            message,
        })
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

fn read_input(row: &Row) -> StoredInput {
    StoredInput { seq: row.integer(0), content_hash: row.text(1), chain_hash: row.text(2) }
}

/// JSON of one of our own types, which have no part that cannot be written.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
