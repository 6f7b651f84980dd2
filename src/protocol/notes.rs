//! Messages about the notes of a thread, one by one, and about the log as it was before.

use serde::{Deserialize, Serialize};

use super::ThreadKey;
use crate::memory::note::{Priority, Speaker};
use crate::memory::record::Record;
use crate::memory::store::NoteStatus;

/// `POST`: [`ReadNotes`] to [`Notes`].
pub const NOTES: &str = "/v1/notes";
/// `POST`: [`Correct`] to [`Corrected`].
pub const CORRECT: &str = "/v1/correct";
/// `POST`: [`Forget`] to [`Forgotten`].
pub const FORGET: &str = "/v1/forget";
/// `POST`: [`ReadHistory`] to [`History`].
pub const HISTORY: &str = "/v1/history";

/// Asks for a page of notes, in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadNotes {
    /// Whose thread.
    pub key: ThreadKey,
    /// Those of these statuses.
    pub statuses: Vec<NoteStatus>,
    /// How many at most.
    pub limit: u32,
    /// How many to pass over.
    pub offset: u32,
    /// Newest first.
    pub descending: bool,
}

/// The answer to [`ReadNotes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notes {
    /// The page.
    Page {
        /// The notes.
        notes: Vec<PublicNote>,
        /// How many there are in all.
        total: u64,
    },
    /// There is no such thread.
    NotFound,
}

/// A note as the object hands it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicNote {
    /// Its number in the thread.
    pub id: i64,
    /// What is noted.
    pub text: String,
    /// How much it matters.
    pub priority: Priority,
    /// Whose words it rests on.
    pub speaker: Speaker,
    /// When that was said, in Unix milliseconds.
    pub said_at: u64,
    /// The days it refers to, in the form of notes (`2026-12-03..2026-12-05`).
    pub refers: Option<String>,
    /// For stable facts about the user: what the fact is about.
    pub key: Option<String>,
    /// What has become of it.
    pub status: NoteStatus,
    /// The note that it is a detail of.
    pub parent: Option<i64>,
    /// The note that took its place.
    pub superseded_by: Option<i64>,
    /// The ids of the messages that it rests on, in order, without those that a branch replaced.
    pub messages: Vec<String>,
    /// Its estimated tokens in the log.
    pub tokens: u64,
    /// When it was made, in Unix milliseconds.
    pub created_at: u64,
    /// When its owner put it right.
    pub corrected_at: Option<u64>,
}

/// Puts a note right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correct {
    /// Whose thread.
    pub key: ThreadKey,
    /// The note's number.
    pub note: i64,
    /// What it is to say; `None` leaves that.
    #[serde(default)]
    pub text: Option<String>,
    /// How much it is to matter.
    #[serde(default)]
    pub priority: Option<Priority>,
}

/// The answer to [`Correct`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Corrected {
    /// It stands as its owner wants it.
    Note(Box<PublicNote>),
    /// It has left the log; the note that took its place, if one did.
    Gone(Option<i64>),
    /// There is no such thread, or no such note in it.
    NotFound,
}

/// Takes a note away, and what says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forget {
    /// Whose thread.
    pub key: ThreadKey,
    /// The note's number.
    pub note: i64,
}

/// The answer to [`Forget`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgotten {
    /// It is gone.
    Forgotten {
        /// When, in Unix milliseconds.
        deleted_at: u64,
        /// How many notes went: it, its details, what it was made from, what was made of it.
        notes: u64,
        /// How many notes came back that one of them had taken the place of.
        restored: u64,
    },
    /// There is no such thread, or no such note in it.
    NotFound,
}

/// Asks for the log as it is and as it was before each rewrite, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadHistory {
    /// Whose thread.
    pub key: ThreadKey,
    /// How many at most.
    pub limit: u32,
    /// How many to pass over.
    pub offset: u32,
    /// Those that began then or later, in Unix milliseconds.
    pub from: u64,
    /// Those that began then or before.
    pub to: u64,
}

/// The answer to [`ReadHistory`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Generations of the log; `created_at` is when each began, `updated_at` when a past one ended.
    Records {
        /// Newest first.
        records: Vec<Record>,
        /// How often the log was rewritten: the generation of this number is the one in force.
        current: u64,
    },
    /// There is no such thread.
    NotFound,
}
