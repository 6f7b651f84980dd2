//! Notes that are taken out of the log by hand.
//!
//! Invariant: afterwards nothing in the thread says what a forgotten note said in the words of a note: not the notes that it was
//! rewritten from, not the log, not the index, not the news to the resource. The messages that it rests on stay, but for those
//! that were stored for its sake alone.

use std::collections::BTreeSet;

use super::remember::BY_HAND;
use super::upkeep::plan;
use super::{Surroundings, owns};
use crate::memory::activation::render_anew;
use crate::memory::database::Database;
use crate::memory::erasure::{free_segments, take_back};
use crate::memory::news::News;
use crate::memory::note::Note;
use crate::memory::store::{NoteStatus, Store};
use crate::protocol::{ForgetNotes, NotesForgotten};

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
    let ids: Vec<i64> = fallen.iter().copied().collect();
    let all = store.notes_at(&ids)?;
    let words: Vec<i64> =
        all.iter().filter(|note| note.segment == BY_HAND).flat_map(|note| note.sources.clone()).collect();
    let words = store.by_hand(&words)?;
    // Whoever is at work was shown the log as it was.
    free_segments(store, &BTreeSet::new(), &[])?;
    store.erase_notes(&ids)?;
    store.erase_messages(&words)?;
    take_back(store, &fallen)?;
    store.post(&News::Forget { notes: ids, at: now })?;
    let mut state = store.state()?;
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    render_anew(store, BY_HAND, &zone)?;
    state.profile = None;
    state.log_version += 1;
    state.prefix_changed = true;
    store.save_state(&state)?;
    plan(store, &state, now, around)?;
    Ok(NotesForgotten::Forgotten { notes: meant.into_iter().map(|note| (note.id, note.text)).collect() })
}
