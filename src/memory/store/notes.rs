//! Notes and the frozen log that is made of them.
//!
//! Invariant: a note is never changed, only marked, and removed only where it is to be forgotten: what it said, and which notes
//! it gave way to, can always be told. The log in prompts is the frozen texts one after the other.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::{Store, from_json, to_json};
use crate::memory::database::{Database, Row};
use crate::memory::news::News;
use crate::memory::note::{Days, Note, Priority, Speaker};

/// What has become of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteStatus {
    /// Its segment is not in use yet.
    Buffered,
    /// It is in the log.
    Active,
    /// Another note, or a branch, took its place.
    Superseded,
    /// A reflector left it out.
    Dropped,
}

impl NoteStatus {
    /// All of them.
    pub const ALL: [NoteStatus; 4] = [Self::Buffered, Self::Active, Self::Superseded, Self::Dropped];

    /// The status behind the word in storage.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// The word in storage.
    pub fn as_str(self) -> &'static str {
        match self {
            NoteStatus::Buffered => "buffered",
            NoteStatus::Active => "active",
            NoteStatus::Superseded => "superseded",
            NoteStatus::Dropped => "dropped",
        }
    }
}

/// A note that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNote {
    /// Everything but its number, which is ignored.
    pub note: Note,
    /// Its place in the log.
    pub status: NoteStatus,
    /// Its estimated tokens in the log.
    pub tokens: u64,
    /// When it was made, in Unix milliseconds.
    pub created_at: u64,
}

/// A frozen stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The segment whose notes it shows.
    pub segment: i64,
    /// The day under which its last note stands.
    pub last_day: Option<NaiveDate>,
    /// Its lines.
    pub text: String,
}

pub(super) const NOTE: &str = "id, segment, parent, priority, speaker, said_at, refers, key, text, sources";

impl<D: Database> Store<D> {
    /// Adds a note; gives its number.
    pub fn add_note(&self, new: &NewNote) -> Result<i64, D::Error> {
        let note = &new.note;
        let rows = self.grown()?.query(
            "INSERT INTO notes (segment, parent, priority, speaker, said_at, refers, key, text, sources, last_source,
                 tokens, status, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) RETURNING id",
            &[
                note.segment.into(),
                note.parent.into(),
                note.priority.letter().into(),
                note.speaker.as_str().into(),
                note.said_at.into(),
                note.refers.map(|days| days.to_string()).into(),
                note.key.clone().into(),
                note.text.as_str().into(),
                to_json(&note.sources).into(),
                note.sources.last().copied().unwrap_or_default().into(),
                new.tokens.into(),
                new.status.as_str().into(),
                new.created_at.into(),
            ],
        )?;
        Ok(rows.first().map_or(0, |row| row.integer(0)))
    }

    /// The notes of a status, in the order in which they were made.
    pub fn notes(&self, status: NoteStatus) -> Result<Vec<Note>, D::Error> {
        let rows = self.grown()?.query(
            &format!("SELECT {NOTE} FROM notes WHERE status = ?1 ORDER BY id"),
            &[status.as_str().into()],
        )?;
        Ok(rows.iter().map(read_note).collect())
    }

    /// The notes of a status that no frozen stretch shows: those of segments in use that came into it later, by hand.
    pub fn notes_unfrozen(&self, status: NoteStatus) -> Result<Vec<Note>, D::Error> {
        let rows = self.grown()?.query(
            &format!("SELECT {NOTE} FROM notes WHERE status = ?1 AND frozen = 0 ORDER BY id"),
            &[status.as_str().into()],
        )?;
        Ok(rows.iter().map(read_note).collect())
    }

    /// Marks all live notes as shown by the frozen log.
    pub fn freeze_notes(&self) -> Result<(), D::Error> {
        self.grown()?
            .query("UPDATE notes SET frozen = 1 WHERE frozen = 0 AND status = 'active'", &[])
            .map(drop)
    }

    /// Marks a segment's notes as shown by the frozen log.
    pub fn freeze_notes_of(&self, segment: i64) -> Result<(), D::Error> {
        self.grown()?.query("UPDATE notes SET frozen = 1 WHERE segment = ?1", &[segment.into()]).map(drop)
    }

    /// The notes that a segment made, whatever became of them.
    pub fn notes_of(&self, segment: i64) -> Result<Vec<Note>, D::Error> {
        let rows = self
            .grown()?
            .query(&format!("SELECT {NOTE} FROM notes WHERE segment = ?1 ORDER BY id"), &[segment.into()])?;
        Ok(rows.iter().map(read_note).collect())
    }

    /// The notes with these numbers, whatever became of them.
    pub fn notes_at(&self, ids: &[i64]) -> Result<Vec<Note>, D::Error> {
        let rows = self.grown()?.query(
            &format!("SELECT {NOTE} FROM notes WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id"),
            &[to_json(&ids).into()],
        )?;
        Ok(rows.iter().map(read_note).collect())
    }

    /// The notes that gave way to a note.
    pub fn predecessors(&self, note: i64) -> Result<Vec<Note>, D::Error> {
        let rows = self.grown()?.query(
            &format!("SELECT {NOTE} FROM notes WHERE superseded_by = ?1 ORDER BY id"),
            &[note.into()],
        )?;
        Ok(rows.iter().map(read_note).collect())
    }

    /// The note that a note gave way to.
    pub fn successor(&self, note: i64) -> Result<Option<i64>, D::Error> {
        let rows = self.grown()?.query("SELECT superseded_by FROM notes WHERE id = ?1", &[note.into()])?;
        Ok(rows.first().and_then(|row| row.optional(0)).map(|value| value.integer()))
    }

    /// Gives the live details of a note to another.
    pub fn adopt(&self, from: i64, to: i64) -> Result<(), D::Error> {
        self.grown()?
            .query(
                "UPDATE notes SET parent = ?2 WHERE parent = ?1 AND status = 'active'",
                &[from.into(), to.into()],
            )
            .map(drop)
    }

    /// Estimated tokens and number of the notes of a status.
    pub fn note_extent(&self, status: NoteStatus) -> Result<super::Extent, D::Error> {
        let rows = self.grown()?.query(
            "SELECT count(*), coalesce(sum(tokens), 0) FROM notes WHERE status = ?1",
            &[status.as_str().into()],
        )?;
        Ok(rows.first().map_or(super::Extent::default(), |row| super::Extent {
            messages: row.unsigned(0),
            tokens: row.unsigned(1),
        }))
    }

    /// Gives notes another status.
    pub fn mark_notes(
        &self,
        ids: &[i64],
        status: NoteStatus,
        superseded_by: Option<i64>,
    ) -> Result<(), D::Error> {
        self.grown()?
            .query(
                "UPDATE notes SET status = ?1, superseded_by = ?2 WHERE id IN (SELECT value FROM json_each(?3))",
                &[status.as_str().into(), superseded_by.into(), to_json(&ids).into()],
            )
            .map(drop)
    }

    /// The frozen log, in order.
    pub fn rendered(&self) -> Result<Vec<Rendered>, D::Error> {
        if !self.has_grown()? {
            return Ok(Vec::new());
        }
        let rows = self.grown()?.query("SELECT segment, last_day, bytes FROM render ORDER BY ord", &[])?;
        Ok(rows
            .iter()
            .map(|row| Rendered {
                segment: row.integer(0),
                last_day: row.optional(1).and_then(|day| day.text().parse().ok()),
                text: row.text(2),
            })
            .collect())
    }

    /// Adds a stretch to the frozen log.
    pub fn append_render(&self, rendered: &Rendered) -> Result<(), D::Error> {
        self.grown()?
            .query(
                "INSERT INTO render (ord, segment, last_day, bytes)
                 VALUES ((SELECT coalesce(max(ord), 0) + 1 FROM render), ?1, ?2, ?3)",
                &[
                    rendered.segment.into(),
                    rendered.last_day.map(|day| day.to_string()).into(),
                    rendered.text.as_str().into(),
                ],
            )
            .map(drop)
    }

    /// Empties the frozen log, for one that is written anew.
    pub fn clear_render(&self) -> Result<(), D::Error> {
        self.grown()?.query("DELETE FROM render", &[]).map(drop)
    }

    /// Keeps something that the resource's object is to be told.
    pub fn post(&self, news: &News) -> Result<(), D::Error> {
        self.grown()?.query("INSERT INTO outbox (body) VALUES (?1)", &[to_json(news).into()]).map(drop)
    }

    /// What the resource's object is still to be told, oldest first, at most `limit`; `None` for what only a newer version
    /// can read.
    pub fn outbox(&self, limit: u32) -> Result<Vec<(i64, Option<News>)>, D::Error> {
        if !self.has_grown()? {
            return Ok(Vec::new());
        }
        let rows = self
            .grown()?
            .query("SELECT id, body FROM outbox ORDER BY id LIMIT ?1", &[i64::from(limit).into()])?;
        Ok(rows.iter().map(|row| (row.integer(0), from_json(&row.text(1)))).collect())
    }

    /// They were told up to this one.
    pub fn posted(&self, until: i64) -> Result<(), D::Error> {
        self.grown()?.query("DELETE FROM outbox WHERE id <= ?1", &[until.into()]).map(drop)
    }
}

pub(super) fn read_note(row: &Row) -> Note {
    Note {
        id: row.integer(0),
        segment: row.integer(1),
        parent: row.optional(2).map(|value| value.integer()),
        priority: Priority::from_letter(&row.text(3)).unwrap_or(Priority::Medium),
        speaker: Speaker::from_word(&row.text(4)).unwrap_or(Speaker::Assistant),
        said_at: row.unsigned(5),
        refers: row.optional(6).and_then(|value| Days::read(&value.text())),
        key: row.optional(7).map(|value| value.text()),
        text: row.text(8),
        sources: from_json(&row.text(9)).unwrap_or_default(),
    }
}
