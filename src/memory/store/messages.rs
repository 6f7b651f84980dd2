//! The messages of a thread: adding them, and the questions that the thread's logic asks of them.
//!
//! Invariant: a message is never changed, only marked: superseded by a branch, claimed by a segment, covered by its notes.

use super::tables::GROWN_BY;
use super::{Store, first_seq, to_json, turn_of};
use crate::memory::database::{Database, Row, Value};
use crate::memory::schema::{may_go_on, pieces};
use crate::turn::{Message, Role};

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
    /// The notes of an active segment stand for it.
    pub covered: bool,
    /// The message; without parts where it is covered and only its place is asked for.
    pub message: Message,
}

/// How much of a conversation there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Messages.
    pub messages: u64,
    /// Their estimated tokens.
    pub tokens: u64,
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
    /// It was put into the thread over the memory API.
    pub is_posted: bool,
}

const MESSAGE: &str =
    "seq, id, content_hash, chain_hash, incomplete, created_at, tokens, superseded_by, body, covered";
/// Messages that were said in the conversation: those that were stored by hand for a note's sake claim segment 0.
const SAID: &str = "segment IS NOT 0";
const INPUT: &str = "seq, content_hash, chain_hash, EXISTS (
    SELECT 1 FROM turns WHERE turns.seq = messages.seq >> 20 AND turns.id GLOB 'post_*'
)";
/// What turn `?1` sees of the messages; `?2` is the place of its first own one.
const SEEN: &str = "seq < ?2 AND (superseded_by IS NULL OR superseded_by >= ?1)";

impl<D: Database> Store<D> {
    /// Adds a message.
    pub fn add_message(&self, stored: &StoredMessage) -> Result<(), D::Error> {
        let body = to_json(&stored.message);
        let mut pieces = pieces(&body);
        let turn = turn_of(stored.seq);
        let database = if turn >= GROWN_BY || stored.seq - first_seq(turn) >= GROWN_BY {
            self.grown()?
        } else {
            &self.database
        };
        database.query(
            &format!(
                "INSERT INTO messages ({MESSAGE}, role) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
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
                i64::from(stored.covered).into(),
                stored.message.role.as_str().into(),
            ],
        )?;
        for (part, piece) in (1i64..).zip(pieces) {
            self.grown()?.query(
                "INSERT INTO message_rest (seq, part, body) VALUES (?1, ?2, ?3)",
                &[stored.seq.into(), part.into(), piece.into()],
            )?;
        }
        Ok(())
    }

    /// The conversation as turn `turn` sees it, in order, as far as no notes stand for it.
    pub fn conversation(&self, turn: i64) -> Result<Vec<StoredMessage>, D::Error> {
        // Two questions, each answered by an index of its own: an `OR` would read the whole thread, and so would SQLite, to
        // save sorting the second.
        let rows = self.database.query(
            &format!(
                "SELECT {MESSAGE} FROM messages WHERE covered = 0 AND superseded_by IS NULL AND seq < ?2
                 UNION ALL
                 SELECT {MESSAGE} FROM messages INDEXED BY superseded_messages
                 WHERE covered = 0 AND superseded_by >= ?1 AND seq < ?2
                 ORDER BY 1"
            ),
            &[turn.into(), first_seq(turn).into()],
        )?;
        self.read_messages(rows)
    }

    /// The messages that notes stand for, as turn `turn` sees them, from `seq` on and `before` more in front of it: their
    /// places and roles, without what they say.
    pub fn covered(&self, turn: i64, seq: i64, before: u32) -> Result<Vec<StoredMessage>, D::Error> {
        const PLACE: &str =
            "seq, id, content_hash, chain_hash, incomplete, created_at, tokens, superseded_by, role, covered";
        let rows = self.database.query(
            &format!(
                "SELECT * FROM (
                     SELECT {PLACE} FROM messages WHERE covered = 1 AND {SAID} AND {SEEN} AND seq < ?3 ORDER BY seq DESC LIMIT ?4
                 )
                 UNION ALL SELECT {PLACE} FROM messages WHERE covered = 1 AND {SAID} AND {SEEN} AND seq >= ?3
                 ORDER BY 1"
            ),
            &[turn.into(), first_seq(turn).into(), seq.into(), i64::from(before).into()],
        )?;
        Ok(rows
            .iter()
            .map(|row| {
                let role = Role::from_word(&row.text(8)).unwrap_or(Role::Assistant);
                read_stored(row, Message::new(role, Vec::new()))
            })
            .collect())
    }

    /// The newest answer that holds the call with this id, if notes stand for it.
    pub fn covered_call(&self, turn: i64, call_id: &str) -> Result<Option<StoredMessage>, D::Error> {
        let rows = self.database.query(
            &format!(
                "SELECT {MESSAGE} FROM messages
                 WHERE covered = 1 AND {SEEN} AND role = 'assistant' AND instr(body, ?3) > 0
                 ORDER BY seq DESC LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into(), serde_json::Value::from(call_id).to_string().into()],
        )?;
        Ok(self.read_messages(rows)?.pop())
    }

    /// The message with this public id, whatever became of it.
    pub fn by_id(&self, id: &str) -> Result<Option<StoredMessage>, D::Error> {
        let rows = self.grown()?.query(
            &format!("SELECT {MESSAGE} FROM messages WHERE id = ?1 ORDER BY seq LIMIT 1"),
            &[id.into()],
        )?;
        Ok(self.read_messages(rows)?.pop())
    }

    /// The newest input that `turn` sees of those that came with a turn, and not over the memory API.
    pub fn last_asked(&self, turn: i64) -> Result<Option<i64>, D::Error> {
        let rows = self.database.query(
            &format!(
                "SELECT seq FROM messages WHERE {SEEN} AND chain_hash IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.seq = messages.seq >> 20 AND turns.id GLOB 'post_*')
                 ORDER BY seq DESC LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into()],
        )?;
        Ok(rows.first().map(|row| row.integer(0)))
    }

    /// How many inputs came over the memory API.
    pub fn count_posted(&self) -> Result<u32, D::Error> {
        let rows = self
            .database
            .query("SELECT coalesce(sum(messages), 0) FROM turns WHERE id GLOB 'post_*'", &[])?;
        Ok(rows.first().map_or(0, |row| u32::try_from(row.unsigned(0)).unwrap_or(u32::MAX)))
    }

    /// Messages that no branch replaced, as a page, and how many there are in all.
    pub fn page(
        &self,
        limit: u32,
        offset: u32,
        descending: bool,
    ) -> Result<(Vec<StoredMessage>, u64), D::Error> {
        let order = if descending { "DESC" } else { "ASC" };
        let rows = self.database.query(
            &format!(
                "SELECT {MESSAGE} FROM messages WHERE superseded_by IS NULL ORDER BY seq {order} LIMIT ?1 OFFSET ?2"
            ),
            &[i64::from(limit).into(), i64::from(offset).into()],
        )?;
        let count = self.database.query("SELECT count(*) FROM messages WHERE superseded_by IS NULL", &[])?;
        Ok((self.read_messages(rows)?, count.first().map_or(0, |row| row.unsigned(0))))
    }

    /// The newest input that `turn` sees.
    pub fn last_input(&self, turn: i64) -> Result<Option<StoredInput>, D::Error> {
        let rows = self.database.query(
            &format!(
                "SELECT {INPUT} FROM messages WHERE {SEEN} AND chain_hash IS NOT NULL ORDER BY seq DESC LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into()],
        )?;
        Ok(rows.first().map(read_input))
    }

    /// The newest input before `until` that `turn` sees.
    pub fn input_before(&self, turn: i64, until: i64) -> Result<Option<StoredInput>, D::Error> {
        let rows = self.database.query(
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
        let rows = self.database.query(
            &format!("SELECT {INPUT} FROM messages WHERE {SEEN} AND role = 'user' ORDER BY seq DESC LIMIT 1"),
            &[turn.into(), first_seq(turn).into()],
        )?;
        Ok(rows.first().map(read_input))
    }

    /// The input with this chain hash.
    pub fn input_by_chain(&self, turn: i64, chain_hash: &str) -> Result<Option<StoredInput>, D::Error> {
        let rows = self.database.query(
            &format!(
                "SELECT {INPUT} FROM messages WHERE {SEEN} AND chain_hash = ?3 ORDER BY seq DESC LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into(), chain_hash.into()],
        )?;
        Ok(rows.first().map(read_input))
    }

    /// True when `turn` sees an input with one of these contents.
    pub fn has_any_input(&self, turn: i64, content_hashes: &[&str]) -> Result<bool, D::Error> {
        let rows = self.database.query(
            &format!(
                "SELECT 1 FROM messages WHERE {SEEN} AND chain_hash IS NOT NULL
                 AND content_hash IN (SELECT value FROM json_each(?3)) LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into(), to_json(&content_hashes).into()],
        )?;
        Ok(!rows.is_empty())
    }

    /// The newest inputs with this content, newest first, at most `limit`.
    pub fn inputs_by_content(
        &self,
        turn: i64,
        content_hash: &str,
        limit: u32,
    ) -> Result<Vec<StoredInput>, D::Error> {
        let rows = self.database.query(
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
        let rows = self.database.query(
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
        let rows = self.database.query(
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
        let rows = self.database.query(
            &format!(
                "SELECT {MESSAGE} FROM messages WHERE {SEEN} AND seq > ?3 AND seq < ?4 ORDER BY seq DESC LIMIT 1"
            ),
            &[turn.into(), first_seq(turn).into(), seq.into(), until.min(first_seq(turn)).into()],
        )?;
        Ok(self.read_messages(rows)?.pop())
    }

    /// Marks the messages behind `seq` that `turn` sees, and the turns still answering there, as replaced by `turn`.
    pub fn supersede_after(&self, turn: i64, seq: i64) -> Result<(), D::Error> {
        self.database.query(
            &format!(
                "UPDATE messages SET superseded_by = ?1, segment = coalesce(segment, -1)
                 WHERE seq < ?2 AND seq > ?3 AND superseded_by IS NULL AND {SAID}"
            ),
            &[turn.into(), first_seq(turn).into(), seq.into()],
        )?;
        // The turn of `seq` itself may still be answering; if it has answered, the mark changes nothing.
        self.database.query(
            "UPDATE turns SET superseded_by = ?1 WHERE seq < ?1 AND seq >= ?2 AND superseded_by IS NULL",
            &[turn.into(), turn_of(seq).into()],
        )?;
        Ok(())
    }

    /// Those of these places at which a message was stored by hand.
    pub fn by_hand(&self, seqs: &[i64]) -> Result<Vec<i64>, D::Error> {
        let rows = self.database.query(
            "SELECT seq FROM messages WHERE segment = 0 AND seq IN (SELECT value FROM json_each(?1))",
            &[to_json(&seqs).into()],
        )?;
        Ok(rows.iter().map(|row| row.integer(0)).collect())
    }

    /// How much of the conversation goes into prompts as it was said.
    pub fn raw_extent(&self) -> Result<Extent, D::Error> {
        self.extent("covered = 0 AND superseded_by IS NULL")
    }

    fn extent(&self, which: &str) -> Result<Extent, D::Error> {
        let rows = self
            .database
            .query(&format!("SELECT count(*), coalesce(sum(tokens), 0) FROM messages WHERE {which}"), &[])?;
        Ok(rows
            .first()
            .map_or(Extent::default(), |row| Extent { messages: row.unsigned(0), tokens: row.unsigned(1) }))
    }

    /// The first messages before `until` that no segment has claimed, in order: at most `rows`, and no more than `bytes` of
    /// them unless a single one is larger. What is behind them is for the next time.
    pub fn unclaimed(&self, until: i64, rows: u32, bytes: u64) -> Result<Vec<StoredMessage>, D::Error> {
        let sizes = self.grown()?.query(
            "SELECT m.seq, octet_length(m.body)
                 + (SELECT coalesce(sum(octet_length(r.body)), 0) FROM message_rest AS r WHERE r.seq = m.seq)
             FROM messages AS m WHERE m.segment IS NULL AND m.seq < ?1 ORDER BY m.seq LIMIT ?2",
            &[until.into(), i64::from(rows).into()],
        )?;
        let mut sum = 0;
        let last = sizes
            .iter()
            .take_while(|row| {
                let is_first = sum == 0;
                sum += row.unsigned(1);
                is_first || sum <= bytes
            })
            .last();
        let Some(last) = last.map(|row| row.integer(0)) else { return Ok(Vec::new()) };
        let rows = self.grown()?.query(
            &format!("SELECT {MESSAGE} FROM messages WHERE segment IS NULL AND seq <= ?1 ORDER BY seq"),
            &[last.into()],
        )?;
        self.read_messages(rows)
    }

    /// The raw messages that no branch replaced, newest first, as places with tokens and roles.
    pub fn raw_places(&self) -> Result<Vec<(i64, u64, Role)>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT seq, tokens, role FROM messages WHERE covered = 0 AND superseded_by IS NULL ORDER BY seq DESC",
            &[],
        )?;
        Ok(rows
            .iter()
            .map(|row| {
                (row.integer(0), row.unsigned(1), Role::from_word(&row.text(2)).unwrap_or(Role::Assistant))
            })
            .collect())
    }

    /// The messages that a segment has claimed, in order.
    pub fn claimed_by(&self, segment: i64) -> Result<Vec<StoredMessage>, D::Error> {
        let rows = self.grown()?.query(
            &format!("SELECT {MESSAGE} FROM messages WHERE segment = ?1 ORDER BY seq"),
            &[segment.into()],
        )?;
        self.read_messages(rows)
    }

    /// The places of the messages that a segment has claimed and no branch replaced, in order.
    pub fn claimed_places(&self, segment: i64) -> Result<Vec<i64>, D::Error> {
        self.places("segment = ?1 AND superseded_by IS NULL", &[segment.into()])
    }

    /// The places of raw messages whose segment is in use.
    pub fn left_behind(&self) -> Result<Vec<i64>, D::Error> {
        // By way of the raw messages, which are few, and not of all segments that ever came into use.
        self.places(
            "covered = 0 AND superseded_by IS NULL
             AND EXISTS (SELECT 1 FROM segments WHERE id = +messages.segment AND state = 'active')",
            &[],
        )
    }

    fn places(&self, which: &str, values: &[Value]) -> Result<Vec<i64>, D::Error> {
        let rows =
            self.grown()?.query(&format!("SELECT seq FROM messages WHERE {which} ORDER BY seq"), values)?;
        Ok(rows.iter().map(|row| row.integer(0)).collect())
    }

    /// Gives messages to a segment; `None` makes them free again.
    pub fn claim(&self, seqs: &[i64], segment: Option<i64>) -> Result<(), D::Error> {
        self.mark("segment = ?1", segment.into(), seqs)
    }

    /// Marks messages as covered by notes, or as raw again.
    pub fn cover(&self, seqs: &[i64], covered: bool) -> Result<(), D::Error> {
        self.mark("covered = ?1", i64::from(covered).into(), seqs)
    }

    fn mark(&self, change: &str, value: Value, seqs: &[i64]) -> Result<(), D::Error> {
        // A list in JSON is one parameter, of which a statement takes at most a hundred.
        for some in seqs.chunks(10_000) {
            self.database.query(
                &format!("UPDATE messages SET {change} WHERE seq IN (SELECT value FROM json_each(?2))"),
                &[value.clone(), to_json(&some).into()],
            )?;
        }
        Ok(())
    }

    /// When the newest message before a turn was stored.
    pub fn last_said_at(&self, turn: i64) -> Result<Option<u64>, D::Error> {
        let rows = self.database.query(
            &format!("SELECT created_at FROM messages WHERE {SEEN} ORDER BY seq DESC LIMIT 1"),
            &[turn.into(), first_seq(turn).into()],
        )?;
        Ok(rows.first().map(|row| row.unsigned(0)))
    }

    /// Keeps what stands in front of a message for the time that passed before it.
    pub fn add_gap(&self, seq: i64, text: &str) -> Result<(), D::Error> {
        self.grown()?
            .query("INSERT OR IGNORE INTO gaps (seq, text) VALUES (?1, ?2)", &[seq.into(), text.into()])
            .map(drop)
    }

    /// What stands in front of the messages from `seq` on.
    pub fn gaps_from(&self, seq: i64) -> Result<Vec<(i64, String)>, D::Error> {
        if !self.has_grown()? {
            return Ok(Vec::new());
        }
        let rows =
            self.database.query("SELECT seq, text FROM gaps WHERE seq >= ?1 ORDER BY seq", &[seq.into()])?;
        Ok(rows.iter().map(|row| (row.integer(0), row.text(1))).collect())
    }

    fn read_messages(&self, rows: Vec<Row>) -> Result<Vec<StoredMessage>, D::Error> {
        rows.iter().map(|row| self.read_message(row)).collect()
    }

    fn read_message(&self, row: &Row) -> Result<StoredMessage, D::Error> {
        let message = self.read_body(row.integer(0), row.text(8))?;
        Ok(read_stored(row, message))
    }

    /// The message whose body begins with `body`.
    pub(super) fn read_body(&self, seq: i64, mut body: String) -> Result<Message, D::Error> {
        if may_go_on(&body) {
            for rest in self
                .grown()?
                .query("SELECT body FROM message_rest WHERE seq = ?1 ORDER BY part", &[seq.into()])?
            {
                body.push_str(&rest.text(0));
            }
        }
        // What this version cannot read (written by a newer one) is an empty message, not a dead thread.
        Ok(serde_json::from_str(&body).unwrap_or_else(|_| Message::new(Role::Assistant, Vec::new())))
    }
}

fn read_stored(row: &Row, message: Message) -> StoredMessage {
    StoredMessage {
        seq: row.integer(0),
        id: row.text(1),
        content_hash: row.text(2),
        chain_hash: row.optional(3).map(|value| value.text()),
        incomplete: row.integer(4) != 0,
        created_at: row.unsigned(5),
        tokens: row.unsigned(6),
        superseded_by: row.optional(7).map(|value| value.integer()),
        covered: row.integer(9) != 0,
        message,
    }
}

fn read_input(row: &Row) -> StoredInput {
    StoredInput {
        seq: row.integer(0),
        content_hash: row.text(1),
        chain_hash: row.text(2),
        is_posted: row.integer(3) != 0,
    }
}
