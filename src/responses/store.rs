//! What a chain's object keeps, in SQLite.
//!
//! Invariant: a response goes on from one that was kept before it, so a line from any response to its root is a line of
//! falling `seq`. The texts of a deleted response are gone; its row stays for a while, without content, because others may
//! go on from it and a late message must not bring it back.

use super::id::ChainId;
use super::protocol::{Keep, Place, Point};
use crate::memory::database::{Database, Row};
use crate::memory::rewrite::{Copy, copy, paste};
use crate::memory::schema::{exists, migrate, pieces};

/// The tables, a script for each version; only ever append.
const SCHEMA: &[&str] = &["
    CREATE TABLE place (
        one INTEGER PRIMARY KEY CHECK (one = 1), project TEXT NOT NULL, chain TEXT NOT NULL
    ) STRICT;
    CREATE TABLE responses (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, previous TEXT, parent INTEGER,
        in_conversation INTEGER NOT NULL, created_at INTEGER NOT NULL, deleted_at INTEGER, maker TEXT
    ) STRICT;
    CREATE INDEX responses_by_id ON responses (id);
    CREATE INDEX conversation ON responses (seq) WHERE in_conversation = 1;
    CREATE TABLE bodies (
        seq INTEGER NOT NULL, kind INTEGER NOT NULL, part INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (seq, kind, part)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE pointers (
        id TEXT PRIMARY KEY, chain TEXT NOT NULL, created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
"];

const INPUT: i64 = 0;
const RESPONSE: i64 = 1;

/// The rows from response `?1` to its root.
const LINE: &str = "
    WITH RECURSIVE line (seq, id, parent, previous, maker) AS (
        SELECT seq, id, parent, previous, maker FROM responses WHERE seq = ?1
        UNION ALL
        SELECT r.seq, r.id, r.parent, r.previous, r.maker FROM line JOIN responses AS r ON r.seq = line.parent
    )";

/// A response without its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// The one that it goes on from.
    pub parent: Option<i64>,
    /// When it was made, in Unix milliseconds.
    pub created_at: u64,
    /// When it was deleted.
    pub deleted_at: Option<u64>,
}

/// The texts of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// JSON array of the input's items.
    pub input: String,
    /// The response object.
    pub response: String,
    /// The provider that made it in this form.
    pub maker: Option<String>,
}

/// Storage of one chain.
#[derive(Debug)]
pub struct Store<D>(D);

impl<D: Database> Store<D> {
    /// Opens the storage and brings its tables up to date.
    pub fn open(database: D) -> Result<Self, D::Error> {
        migrate(&database, "migrations", SCHEMA)?;
        Ok(Store(database))
    }

    /// Opens the storage of a chain that may not exist, without bringing it into being: `None` when nothing was ever
    /// stored.
    pub fn open_existing(database: D) -> Result<Option<Self>, D::Error> {
        if !exists(&database)? {
            return Ok(None);
        }
        Store::open(database).map(Some)
    }

    /// The database below.
    pub fn database(&self) -> &D {
        &self.0
    }

    /// Whose chain this is, once it was used.
    pub fn place(&self) -> Result<Option<(String, String)>, D::Error> {
        let rows = self.0.query("SELECT project, chain FROM place", &[])?;
        Ok(rows.first().map(|row| (row.text(0), row.text(1))))
    }

    /// Writes whose chain this is.
    pub fn save_place(&self, place: &Place) -> Result<(), D::Error> {
        let values = [place.project.as_str().into(), place.chain.as_str().into()];
        self.0.query("INSERT INTO place (one, project, chain) VALUES (1, ?1, ?2)", &values).map(drop)
    }

    /// The responses with this id, newest first: a provider may give an id twice.
    pub fn with_id(&self, id: &str) -> Result<Vec<Known>, D::Error> {
        let rows = self.0.query(
            "SELECT seq, parent, created_at, deleted_at FROM responses WHERE id = ?1 ORDER BY seq DESC",
            &[id.into()],
        )?;
        Ok(rows.iter().map(read_known).collect())
    }

    /// All responses, newest first.
    pub fn all(&self) -> Result<Vec<Known>, D::Error> {
        let rows = self
            .0
            .query("SELECT seq, parent, created_at, deleted_at FROM responses ORDER BY seq DESC", &[])?;
        Ok(rows.iter().map(read_known).collect())
    }

    /// The newest response of the conversation, deleted or not.
    pub fn last_of_conversation(&self) -> Result<Option<i64>, D::Error> {
        let rows = self.0.query("SELECT max(seq) FROM responses WHERE in_conversation = 1", &[])?;
        Ok(rows.first().and_then(|row| row.optional(0)).map(|value| value.integer()))
    }

    /// Adds a response.
    pub fn add(&self, keep: &Keep, parent: Option<i64>) -> Result<(), D::Error> {
        let rows = self.0.query(
            "INSERT INTO responses (id, previous, parent, in_conversation, created_at, maker)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING seq",
            &[
                keep.id.as_str().into(),
                keep.previous.clone().into(),
                parent.into(),
                i64::from(keep.conversation.is_some()).into(),
                keep.created_at.into(),
                keep.maker.clone().into(),
            ],
        )?;
        let seq = rows.first().map_or(0, |row| row.integer(0));
        // Texts that were JSON before are JSON again.
        let input = serde_json::to_string(&keep.input).unwrap_or_default();
        for (kind, text) in [(INPUT, input.as_str()), (RESPONSE, keep.response.get())] {
            for (part, piece) in (0i64..).zip(pieces(text)) {
                self.0.query(
                    "INSERT INTO bodies (seq, kind, part, body) VALUES (?1, ?2, ?3, ?4)",
                    &[seq.into(), kind.into(), part.into(), piece.into()],
                )?;
            }
        }
        Ok(())
    }

    /// The texts of a response and of all that it goes on from, oldest first; those of deleted ones are not there.
    pub fn texts_of_line(&self, seq: i64) -> Result<Vec<Texts>, D::Error> {
        self.texts(
            &format!(
                "{LINE} SELECT seq, id, maker, kind, body FROM line JOIN bodies USING (seq) ORDER BY seq, kind, part"
            ),
            seq,
        )
    }

    /// The response object; `None` if it was deleted.
    pub fn response(&self, seq: i64) -> Result<Option<String>, D::Error> {
        let texts = self.texts(
            "SELECT seq, '', NULL, kind, body FROM bodies WHERE seq = ?1 AND kind = 1 ORDER BY part",
            seq,
        )?;
        Ok(texts.into_iter().next().map(|texts| texts.response))
    }

    fn texts(&self, sql: &str, seq: i64) -> Result<Vec<Texts>, D::Error> {
        let mut all: Vec<Texts> = Vec::new();
        for row in self.0.query(sql, &[seq.into()])? {
            if all.last().is_none_or(|last| last.seq != row.integer(0)) {
                let maker = row.optional(2).map(|value| value.text());
                all.push(Texts { seq: row.integer(0), id: row.text(1), maker, ..Texts::default() });
            }
            if let Some(last) = all.last_mut() {
                let text = if row.integer(3) == INPUT { &mut last.input } else { &mut last.response };
                text.push_str(&row.text(4));
            }
        }
        Ok(all)
    }

    /// False when a response from `seq` to the root goes on from one that was not kept.
    pub fn is_whole(&self, seq: i64) -> Result<bool, D::Error> {
        let rows = self.0.query(
            &format!("{LINE} SELECT count(*) FROM line WHERE previous IS NOT NULL AND parent IS NULL"),
            &[seq.into()],
        )?;
        Ok(rows.first().is_none_or(|row| row.integer(0) == 0))
    }

    /// Deletes the texts of a response, and marks its row.
    pub fn erase(&self, seq: i64, at: u64) -> Result<(), D::Error> {
        self.0.query("DELETE FROM bodies WHERE seq = ?1", &[seq.into()])?;
        self.0
            .query(
                "UPDATE responses SET deleted_at = ?2, previous = NULL WHERE seq = ?1",
                &[seq.into(), at.into()],
            )
            .map(drop)
    }

    /// Adds the row of a response that was deleted before it came.
    pub fn add_erased(&self, id: &str, at: u64) -> Result<(), D::Error> {
        self.0
            .query(
                "INSERT INTO responses (id, in_conversation, created_at, deleted_at) VALUES (?1, 0, ?2, ?2)",
                &[id.into(), at.into()],
            )
            .map(drop)
    }

    /// Deletes the pointer of an id.
    pub fn remove_pointer(&self, id: &str) -> Result<(), D::Error> {
        self.0.query("DELETE FROM pointers WHERE id = ?1", &[id.into()]).map(drop)
    }

    /// All rows; `None` where they are more than fit into memory.
    pub fn copy(&self) -> Result<Option<Copy>, D::Error> {
        copy(&self.0, &[])
    }

    /// Writes them into an empty storage.
    pub fn paste(&self, rows: &Copy) -> Result<(), D::Error> {
        paste(&self.0, rows)
    }

    /// Deletes a response, its row too.
    pub fn remove(&self, seq: i64) -> Result<(), D::Error> {
        self.0.query("DELETE FROM bodies WHERE seq = ?1", &[seq.into()])?;
        self.0.query("DELETE FROM responses WHERE seq = ?1", &[seq.into()]).map(drop)
    }

    /// The pointer of an id: the chain, and when the response there was made.
    pub fn pointer(&self, id: &str) -> Result<Option<(ChainId, u64)>, D::Error> {
        let rows = self.0.query("SELECT chain, created_at FROM pointers WHERE id = ?1", &[id.into()])?;
        Ok(rows.first().map(|row| (ChainId::stored(row.text(0)), row.unsigned(1))))
    }

    /// Writes a pointer, in place of an older one.
    pub fn save_pointer(&self, point: &Point) -> Result<(), D::Error> {
        self.0
            .query(
                "INSERT OR REPLACE INTO pointers (id, chain, created_at) VALUES (?1, ?2, ?3)",
                &[point.id.as_str().into(), point.chain.as_str().into(), point.created_at.into()],
            )
            .map(drop)
    }

    /// Deletes the pointers to responses that were made at `until` or before.
    pub fn remove_pointers(&self, until: u64) -> Result<(), D::Error> {
        self.0.query("DELETE FROM pointers WHERE created_at <= ?1", &[until.into()]).map(drop)
    }

    /// True when neither a response nor a pointer is left.
    pub fn is_empty(&self) -> Result<bool, D::Error> {
        let rows = self
            .0
            .query("SELECT EXISTS (SELECT 1 FROM responses) OR EXISTS (SELECT 1 FROM pointers)", &[])?;
        Ok(rows.first().is_none_or(|row| row.integer(0) == 0))
    }

    /// The first moment after `now` at which a response or pointer is `ttl` old, or the row of a deleted one
    /// `deleted_ttl`.
    pub fn next_due(&self, now: u64, ttl: u64, deleted_ttl: u64) -> Result<Option<u64>, D::Error> {
        let rows = self.0.query(
            "SELECT min(due) FROM (
                 SELECT coalesce(deleted_at + ?3, created_at + ?2) AS due FROM responses
                 UNION ALL SELECT created_at + ?2 FROM pointers
             ) WHERE due > ?1",
            &[now.into(), ttl.into(), deleted_ttl.into()],
        )?;
        Ok(rows.first().and_then(|row| row.optional(0)).map(|value| value.unsigned()))
    }
}

fn read_known(row: &Row) -> Known {
    Known {
        seq: row.integer(0),
        parent: row.optional(1).map(|value| value.integer()),
        created_at: row.unsigned(2),
        deleted_at: row.optional(3).map(|value| value.unsigned()),
    }
}
