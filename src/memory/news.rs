//! What a thread has to tell its resource.
//!
//! Invariant: told at least once, in order; each piece may come twice.

use serde::{Deserialize, Serialize};

use super::note::{Note, Speaker};
use super::profile::Fact;
use crate::time::Zone;

/// One piece of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// Lasting facts about the user.
    Promote(Vec<Fact>),
    /// Notes that no longer stand.
    Forget {
        /// Their numbers.
        notes: Vec<i64>,
        /// When they fell, in Unix milliseconds.
        at: u64,
    },
}

/// The lasting facts about the user that are among the notes: only what the user said, and under a key.
pub fn facts(notes: &[Note], thread: &str, zone: Zone<'_>) -> Vec<Fact> {
    notes
        .iter()
        .filter(|note| note.speaker == Speaker::User)
        .filter_map(|note| {
            Some(Fact {
                key: note.key.clone()?,
                text: note.text.clone(),
                said_at: note.said_at,
                zone: zone(note.said_at),
                thread: thread.to_owned(),
                note: note.id,
                priority: note.priority,
            })
        })
        .collect()
}
