//! Notes of the log that are taken out by hand, several at once, with the words that were stored for their sake alone.
//!
//! Invariant: what goes is what [`forget`](super::forget) takes away for each of them; no job that was shown the log before
//! brings it back. The messages of the conversation stay.

use std::collections::BTreeSet;

use super::notes::forget;
use super::remember::erase_words;
use super::{Surroundings, owns};
use crate::memory::database::Database;
use crate::memory::erasure::{free_segments, take_back};
use crate::memory::note::Note;
use crate::memory::store::{NoteStatus, Store};
use crate::protocol::{Forget, ForgetNotes, NotesForgotten};

/// Forgets notes of the log, with their details. Numbers that are no notes of the log are passed over: forgetting twice is
/// forgetting once.
pub fn forget_notes<D: Database>(
    store: &Store<D>,
    request: &ForgetNotes,
    now: u64,
    around: Surroundings<'_>,
) -> Result<NotesForgotten, D::Error> {
    if store.thread()?.is_none_or(|thread| !owns(&thread, &request.key)) {
        return Ok(NotesForgotten::NotFound);
    }
    let is_meant = |id: i64| request.notes.contains(&id);
    let meant: Vec<Note> = store
        .notes(NoteStatus::Active)?
        .into_iter()
        .filter(|note| is_meant(note.id) || note.parent.is_some_and(is_meant))
        .collect();
    if meant.is_empty() {
        return Ok(NotesForgotten::Forgotten { notes: Vec::new() });
    }
    let mut fallen: BTreeSet<i64> = meant.iter().map(|note| note.id).collect();
    let mut falling: Vec<i64> = fallen.iter().copied().collect();
    while let Some(id) = falling.pop() {
        let before = store.predecessors(id)?;
        falling.extend(before.iter().map(|note| note.id).filter(|id| fallen.insert(*id)));
    }
    erase_words(store, &fallen.iter().copied().collect::<Vec<_>>())?;
    // Whoever is at work was shown the log as it was.
    free_segments(store, &BTreeSet::new(), &[])?;
    take_back(store, &fallen)?;
    for note in &meant {
        // A detail is gone with its note.
        forget(store, &Forget { key: request.key.clone(), note: note.id }, now, around)?;
    }
    Ok(NotesForgotten::Forgotten { notes: meant.into_iter().map(|note| (note.id, note.text)).collect() })
}
