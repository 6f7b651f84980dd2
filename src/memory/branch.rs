//! What becomes of notes when the conversation that they were made from is replaced.
//!
//! Invariant: after a branch no live note rests on a replaced message, and every message that stands is raw or covered by
//! notes that stand. Notes that a fallen note had replaced come back.

use std::collections::BTreeSet;

use super::activation::render_anew;
use super::database::Database;
use super::news::News;
use super::note::Note;
use super::state::State;
use super::store::{NoteStatus, SegmentState, Store};
use crate::time::Zone;

/// Takes back what was made from messages behind `seq`; those messages are marked as replaced already.
pub fn cut<D: Database>(
    store: &Store<D>,
    state: &mut State,
    seq: i64,
    now: u64,
    zone: Zone<'_>,
) -> Result<(), D::Error> {
    let mut fallen: BTreeSet<i64> = BTreeSet::new();
    let mut log_changes = false;
    for mut segment in store.segments_reaching(seq)? {
        let standing: Vec<i64> =
            store.claimed_places(segment.id)?.into_iter().filter(|place| *place <= seq).collect();
        store.cover(&standing, false)?;
        store.claim(&standing, None)?;
        log_changes |= segment.state == SegmentState::Active;
        segment.state = SegmentState::Superseded;
        segment.lease_until = None;
        store.save_segment(&segment)?;
        fallen.extend(store.notes_of(segment.id)?.iter().map(|note| note.id));
    }
    if fallen.is_empty() {
        return Ok(());
    }
    // A note that brought others together falls with any of them.
    let mut rising = fallen.iter().copied().collect::<Vec<_>>();
    while let Some(id) = rising.pop() {
        if let Some(successor) = store.successor(id)?
            && fallen.insert(successor)
        {
            rising.push(successor);
        }
    }
    let ids: Vec<i64> = fallen.iter().copied().collect();
    let mut returning: Vec<Note> = Vec::new();
    for id in &ids {
        returning.extend(store.predecessors(*id)?.into_iter().filter(|note| !fallen.contains(&note.id)));
    }
    store.mark_notes(&ids, NoteStatus::Superseded, None)?;
    let returning: Vec<i64> = returning.into_iter().map(|note| note.id).collect();
    store.mark_notes(&returning, NoteStatus::Active, None)?;
    if log_changes {
        render_anew(store, 0, zone)?;
        state.log_version += 1;
        state.prefix_changed = true;
        store.post(&News::Forget { notes: ids, at: now })?;
    }
    Ok(())
}
