//! Notes as rows: what their owner sees of them, puts right and takes away.
//!
//! Invariant: only here is a note changed or deleted, and only at its owner's word.

use super::notes::{NOTE, read_note};
use super::{NoteStatus, Store, to_json};
use crate::memory::database::{Database, Row, Value};
use crate::memory::note::Note;
use crate::memory::search::indexed;

/// A note and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteRow {
    /// The note.
    pub note: Note,
    /// Its place in the log.
    pub status: NoteStatus,
    /// The note that took its place.
    pub superseded_by: Option<i64>,
    /// Its estimated tokens in the log.
    pub tokens: u64,
    /// When it was made, in Unix milliseconds.
    pub created_at: u64,
    /// When its owner put it right.
    pub corrected_at: Option<u64>,
}

const ROW: &str = "status, superseded_by, tokens, created_at, corrected_at";

impl<D: Database> Store<D> {
    /// A page of the notes of some statuses, in the order in which they were made; and how many there are.
    pub fn note_page(
        &self,
        statuses: &[NoteStatus],
        limit: u32,
        offset: u32,
        descending: bool,
    ) -> Result<(Vec<NoteRow>, u64), D::Error> {
        let words = to_json(&statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>());
        let order = if descending { "DESC" } else { "ASC" };
        let which = "status IN (SELECT value FROM json_each(?1))";
        let rows = self.grown()?.query(
            &format!("SELECT {NOTE}, {ROW} FROM notes WHERE {which} ORDER BY id {order} LIMIT ?2 OFFSET ?3"),
            &[words.as_str().into(), i64::from(limit).into(), i64::from(offset).into()],
        )?;
        let count = self
            .grown()?
            .query(&format!("SELECT count(*) FROM notes WHERE {which}"), &[words.as_str().into()])?;
        Ok((rows.iter().map(read_row).collect(), count.first().map_or(0, |row| row.unsigned(0))))
    }

    /// One note.
    pub fn note_row(&self, id: i64) -> Result<Option<NoteRow>, D::Error> {
        let rows =
            self.grown()?.query(&format!("SELECT {NOTE}, {ROW} FROM notes WHERE id = ?1"), &[id.into()])?;
        Ok(rows.first().map(read_row))
    }

    /// The public ids of the messages at these places that no branch replaced, each with its place.
    pub fn message_ids(&self, seqs: &[i64]) -> Result<Vec<(i64, String)>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT seq, id FROM messages WHERE seq IN (SELECT value FROM json_each(?1)) AND superseded_by IS NULL
             ORDER BY seq",
            &[to_json(&seqs).into()],
        )?;
        Ok(rows.iter().map(|row| (row.integer(0), row.text(1))).collect())
    }

    /// Writes what a note says from now on, and that it is its owner's word.
    pub fn correct_note(&self, note: &Note, tokens: u64, at: u64) -> Result<(), D::Error> {
        self.grown()?.query(
            "UPDATE notes SET text = ?2, priority = ?3, speaker = ?4, tokens = ?5, corrected_at = ?6 WHERE id = ?1",
            &[
                note.id.into(),
                note.text.as_str().into(),
                note.priority.letter().into(),
                note.speaker.as_str().into(),
                tokens.into(),
                at.into(),
            ],
        )?;
        self.put_words(vec![(-note.id, indexed(&note.text))])
    }

    /// The live notes that their owner has put right: no model changes them.
    pub fn corrected_notes(&self) -> Result<Vec<i64>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT id FROM notes WHERE status = 'active' AND corrected_at IS NOT NULL ORDER BY id",
            &[],
        )?;
        Ok(rows.iter().map(|row| row.integer(0)).collect())
    }

    /// The details of a note, whatever became of them.
    pub fn details_of(&self, note: i64) -> Result<Vec<i64>, D::Error> {
        let rows =
            self.grown()?.query("SELECT id FROM notes WHERE parent = ?1 ORDER BY id", &[note.into()])?;
        Ok(rows.iter().map(|row| row.integer(0)).collect())
    }

    /// Deletes notes, and with them their words from the index.
    pub fn delete_notes(&self, ids: &[i64]) -> Result<(), D::Error> {
        self.grown()?
            .query("DELETE FROM notes WHERE id IN (SELECT value FROM json_each(?1))", &[to_json(&ids).into()])
            .map(drop)
    }

    /// Calls back the rewrites of the log that are planned, under way or ready: they may say what is to be forgotten.
    pub fn withdraw_rewrites(&self) -> Result<(), D::Error> {
        self.grown()?
            .query(
                "UPDATE segments SET state = 'superseded', script = NULL, lease_until = NULL
                 WHERE kind = 'reflect' AND state IN ('planned', 'running', 'ready')",
                &[],
            )
            .map(drop)
    }
}

fn read_row(row: &Row) -> NoteRow {
    NoteRow {
        note: read_note(row),
        status: NoteStatus::from_word(&row.text(10)).unwrap_or(NoteStatus::Dropped),
        superseded_by: row.optional(11).map(Value::integer),
        tokens: row.unsigned(12),
        created_at: row.unsigned(13),
        corrected_at: row.optional(14).map(Value::unsigned),
    }
}
