//! What a resource's object keeps, in SQLite.
//!
//! Invariant: a fact has one row, named by thread and note. What was forgotten leaves no text and no id, only digests and a
//! time, so that late messages do not bring it back.

use crate::memory::database::{Database, Row};
use crate::memory::note::Priority;
use crate::memory::profile::Fact;
use crate::memory::rewrite::{Copy, copy, paste};
use crate::memory::schema::{exists, migrate};

/// The tables, a script for each version; only ever append. In `forgotten`, no thread is the empty text and no note -1.
const SCHEMA: &[&str] = &["
    CREATE TABLE owner (one INTEGER PRIMARY KEY CHECK (one = 1), digest TEXT NOT NULL) STRICT;
    CREATE TABLE facts (
        thread TEXT NOT NULL, note INTEGER NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL,
        said_at INTEGER NOT NULL, zone INTEGER NOT NULL, priority TEXT NOT NULL,
        PRIMARY KEY (thread, note)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE forgotten (
        thread TEXT NOT NULL, note INTEGER NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (thread, note)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE profile (
        one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, text TEXT
    ) STRICT;
"];

const NO_NOTE: i64 = -1;

/// That something was forgotten: facts of a thread, or of all threads, that were said until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The digest of the thread; `None` for all.
    pub thread: Option<String>,
    /// The note; `None` for all.
    pub note: Option<i64>,
    /// When, in Unix milliseconds.
    pub at: u64,
}

/// Storage of one resource.
#[derive(Debug)]
pub struct Store<D>(D);

impl<D: Database> Store<D> {
    /// Opens the storage and brings its tables up to date.
    pub fn open(database: D) -> Result<Self, D::Error> {
        migrate(&database, "migrations", SCHEMA)?;
        Ok(Store(database))
    }

    /// Opens the storage of a resource that may not exist, without bringing it into being: `None` when nothing was ever
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

    /// The digest of whose storage this is, once it was used.
    pub fn owner(&self) -> Result<Option<String>, D::Error> {
        let rows = self.0.query("SELECT digest FROM owner", &[])?;
        Ok(rows.first().map(|row| row.text(0)))
    }

    /// Writes whose storage this is.
    pub fn save_owner(&self, digest: &str) -> Result<(), D::Error> {
        self.0.query("INSERT INTO owner (one, digest) VALUES (1, ?1)", &[digest.into()]).map(drop)
    }

    /// All facts.
    pub fn facts(&self) -> Result<Vec<Fact>, D::Error> {
        let rows = self.0.query(
            "SELECT key, text, said_at, zone, thread, note, priority FROM facts ORDER BY thread, note",
            &[],
        )?;
        Ok(rows.iter().map(read_fact).collect())
    }

    /// Adds a fact; false if its thread and note are there already.
    pub fn add(&self, fact: &Fact) -> Result<bool, D::Error> {
        let rows = self.0.query(
            "INSERT INTO facts (key, text, said_at, zone, thread, note, priority)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING RETURNING note",
            &[
                fact.key.as_str().into(),
                fact.text.as_str().into(),
                fact.said_at.into(),
                i64::from(fact.zone).into(),
                fact.thread.as_str().into(),
                fact.note.into(),
                fact.priority.letter().into(),
            ],
        )?;
        Ok(!rows.is_empty())
    }

    /// Removes the fact of a note.
    pub fn remove(&self, thread: &str, note: i64) -> Result<(), D::Error> {
        self.0
            .query("DELETE FROM facts WHERE thread = ?1 AND note = ?2", &[thread.into(), note.into()])
            .map(drop)
    }

    /// All that is known to be forgotten.
    pub fn forgotten(&self) -> Result<Vec<Forgotten>, D::Error> {
        let rows = self.0.query("SELECT thread, note, at FROM forgotten", &[])?;
        Ok(rows
            .iter()
            .map(|row| Forgotten {
                thread: Some(row.text(0)).filter(|thread| !thread.is_empty()),
                note: Some(row.integer(1)).filter(|note| *note != NO_NOTE),
                at: row.unsigned(2),
            })
            .collect())
    }

    /// Remembers that something was forgotten; the latest time counts.
    pub fn remember_forgotten(&self, forgotten: &Forgotten) -> Result<(), D::Error> {
        self.0
            .query(
                "INSERT INTO forgotten (thread, note, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
                &[
                    forgotten.thread.clone().unwrap_or_default().into(),
                    forgotten.note.unwrap_or(NO_NOTE).into(),
                    forgotten.at.into(),
                ],
            )
            .map(drop)
    }

    /// Knows no more of what was forgotten at `until` or before.
    pub fn remove_forgotten(&self, until: u64) -> Result<(), D::Error> {
        self.0.query("DELETE FROM forgotten WHERE at <= ?1", &[until.into()]).map(drop)
    }

    /// All rows; `None` where they are more than fit into memory.
    pub fn copy(&self) -> Result<Option<Copy>, D::Error> {
        copy(&self.0, &[])
    }

    /// Writes them into an empty storage.
    pub fn paste(&self, rows: &Copy) -> Result<(), D::Error> {
        paste(&self.0, rows)
    }

    /// The profile's text with the number of its format, if it was ever written.
    pub fn profile(&self) -> Result<Option<(u32, Option<String>)>, D::Error> {
        let rows = self.0.query("SELECT format, text FROM profile", &[])?;
        Ok(rows.first().map(|row| {
            (u32::try_from(row.integer(0)).unwrap_or(0), row.optional(1).map(|value| value.text()))
        }))
    }

    /// Writes the profile's text.
    pub fn save_profile(&self, format: u32, text: Option<&str>) -> Result<(), D::Error> {
        self.0
            .query(
                "INSERT OR REPLACE INTO profile (one, format, text) VALUES (1, ?1, ?2)",
                &[i64::from(format).into(), text.into()],
            )
            .map(drop)
    }
}

fn read_fact(row: &Row) -> Fact {
    Fact {
        key: row.text(0),
        text: row.text(1),
        said_at: row.unsigned(2),
        zone: i32::try_from(row.integer(3)).unwrap_or(0),
        thread: row.text(4),
        note: row.integer(5),
        // What this version cannot read (written by a newer one) matters, until that version says how much.
        priority: Priority::from_letter(&row.text(6)).unwrap_or(Priority::Medium),
    }
}
