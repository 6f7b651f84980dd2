//! A thread's notes for their owner: to see, to put right and to forget.
//!
//! Invariant: what its owner put right, no model changes; what was forgotten is in no prompt from then on, and no text of it
//! stays: neither in a note that it was made from or that was made of it, nor in a detail of it, nor in the log as it was
//! before, nor in a rewrite under way. The messages of the conversation stay; words that were stored for a note alone go with it.

use std::collections::BTreeSet;

use super::remember::erase_words;
use super::upkeep::plan;
use super::{Surroundings, owns};
use crate::memory::activation::render_anew;
use crate::memory::address::Scope;
use crate::memory::database::Database;
use crate::memory::news::{News, facts};
use crate::memory::note::{Note, Speaker};
use crate::memory::record;
use crate::memory::render;
use crate::memory::secrets;
use crate::memory::state::State;
use crate::memory::store::{NoteRow, NoteStatus, Store};
use crate::protocol::{
    Correct, Corrected, Forget, Forgotten, History, Notes, PublicNote, ReadHistory, ReadNotes,
};
use crate::time::Zone;
use crate::tokens;

/// A page of the thread's notes.
pub fn notes<D: Database>(store: &Store<D>, request: &ReadNotes) -> Result<Notes, D::Error> {
    if store.thread()?.is_none_or(|thread| !owns(&thread, &request.key)) {
        return Ok(Notes::NotFound);
    }
    let (rows, total) =
        store.note_page(&request.statuses, request.limit, request.offset, request.descending)?;
    let notes = rows.into_iter().map(|row| public(store, row)).collect::<Result<Vec<_>, _>>()?;
    Ok(Notes::Page { notes, total })
}

fn public<D: Database>(store: &Store<D>, row: NoteRow) -> Result<PublicNote, D::Error> {
    let messages = store.message_ids(&row.note.sources)?;
    let note = row.note;
    Ok(PublicNote {
        id: note.id,
        text: note.text,
        priority: note.priority,
        speaker: note.speaker,
        said_at: note.said_at,
        refers: note.refers.map(|days| days.to_string()),
        key: note.key,
        status: row.status,
        parent: note.parent,
        superseded_by: row.superseded_by,
        messages: messages.into_iter().map(|(_, id)| id).collect(),
        tokens: row.tokens,
        created_at: row.created_at,
        corrected_at: row.corrected_at,
    })
}

/// Puts a note right: it stays where it is in the log, and is the user's word.
pub fn correct<D: Database>(
    store: &Store<D>,
    request: &Correct,
    now: u64,
    around: Surroundings<'_>,
) -> Result<Corrected, D::Error> {
    let Some(thread) = store.thread()?.filter(|thread| owns(thread, &request.key)) else {
        return Ok(Corrected::NotFound);
    };
    let Some(row) = store.note_row(request.note)? else { return Ok(Corrected::NotFound) };
    if !matches!(row.status, NoteStatus::Active | NoteStatus::Buffered) {
        return Ok(Corrected::Gone(row.superseded_by));
    }
    let mut state = store.state()?;
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    let mut note = row.note;
    if let Some(text) = &request.text {
        note.text = secrets::mask(text).into_owned();
    }
    note.priority = request.priority.unwrap_or(note.priority);
    note.speaker = Speaker::User;
    store.correct_note(&note, tokens::of_text(&render::line(&note, &zone)), now)?;
    if row.status == NoteStatus::Active {
        rewritten(store, &mut state, &zone)?;
        // What it said before was given up a moment ago, what it says is said now: so neither undoes the other.
        store.post(&News::Forget { notes: vec![note.id], at: now.saturating_sub(1) })?;
        if settings.scope == Scope::Resource {
            let said = Note { said_at: now, ..note.clone() };
            store.post(&News::Promote(facts(&[said], &thread.id, &zone)))?;
        }
        store.save_state(&state)?;
        plan(store, &state, now, around)?;
    }
    let Some(row) = store.note_row(note.id)? else { return Ok(Corrected::NotFound) };
    Ok(Corrected::Note(Box::new(public(store, row)?)))
}

/// Takes a note away, and all that says the same.
pub fn forget<D: Database>(
    store: &Store<D>,
    request: &Forget,
    now: u64,
    around: Surroundings<'_>,
) -> Result<Forgotten, D::Error> {
    let Some(thread) = store.thread()?.filter(|thread| owns(thread, &request.key)) else {
        return Ok(Forgotten::NotFound);
    };
    if store.note_row(request.note)?.is_none() {
        return Ok(Forgotten::NotFound);
    }
    let same = what_says_the_same(store, request.note)?;
    erase_words(store, &same)?;
    let Fallen { ids, texts, returning } = take_out(store, &same)?;
    store.compact_index()?;
    store.forget_in_generations(&texts)?;
    store.withdraw_rewrites()?;
    let mut state = store.state()?;
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    rewritten(store, &mut state, &zone)?;
    let notes = ids.len() as u64;
    store.post(&News::Forget { notes: ids, at: now })?;
    if settings.scope == Scope::Resource && !returning.is_empty() {
        store.post(&News::Promote(facts(&store.notes_at(&returning)?, &thread.id, &zone)))?;
    }
    store.save_state(&state)?;
    plan(store, &state, now, around)?;
    Ok(Forgotten::Forgotten { deleted_at: now, notes, restored: returning.len() as u64 })
}

/// A note with its details and what it was made from, to the ground.
fn what_says_the_same<D: Database>(store: &Store<D>, note: i64) -> Result<Vec<i64>, D::Error> {
    let mut same = BTreeSet::from([note]);
    let mut open = vec![note];
    while let Some(id) = open.pop() {
        let before = store.predecessors(id)?.into_iter().map(|note| note.id);
        let more: Vec<i64> = before.chain(store.details_of(id)?).collect();
        open.extend(more.into_iter().filter(|id| same.insert(*id)));
    }
    Ok(same.into_iter().collect())
}

/// Notes that were taken out.
pub(super) struct Fallen {
    /// Their numbers.
    ids: Vec<i64>,
    /// What they said, as the log has it.
    texts: Vec<String>,
    /// The notes that came back.
    returning: Vec<i64>,
}

/// Deletes notes, and those that were made of any of them; what these had taken the place of comes back.
pub(super) fn take_out<D: Database>(store: &Store<D>, notes: &[i64]) -> Result<Fallen, D::Error> {
    let mut falling: BTreeSet<i64> = notes.iter().copied().collect();
    let mut rising = notes.to_vec();
    let mut made_of_them = Vec::new();
    while let Some(id) = rising.pop() {
        if let Some(successor) = store.successor(id)?
            && falling.insert(successor)
        {
            rising.push(successor);
            made_of_them.push(successor);
        }
    }
    let mut returning = Vec::new();
    for successor in made_of_them {
        let before = store.predecessors(successor)?.into_iter().map(|note| note.id);
        returning.extend(before.filter(|id| !falling.contains(id)));
    }
    let ids: Vec<i64> = falling.into_iter().collect();
    let gone = store.notes_at(&ids)?;
    let texts = gone.iter().map(|note| render::inert(&note.text).into_owned()).collect();
    store.mark_notes(&returning, NoteStatus::Active, None)?;
    store.delete_notes(&ids)?;
    Ok(Fallen { ids, texts, returning })
}

/// The log is written anew, and the profile looked at again.
pub(super) fn rewritten<D: Database>(
    store: &Store<D>,
    state: &mut State,
    zone: Zone<'_>,
) -> Result<(), D::Error> {
    render_anew(store, 0, zone)?;
    state.log_version += 1;
    state.prefix_changed = true;
    state.profile = None;
    Ok(())
}

/// The log as it is, and as it was before each rewrite; newest first.
pub fn history<D: Database>(
    store: &Store<D>,
    request: &ReadHistory,
    now: u64,
    around: Surroundings<'_>,
) -> Result<History, D::Error> {
    let Some(thread) = store.thread()?.filter(|thread| owns(thread, &request.key)) else {
        return Ok(History::NotFound);
    };
    let state = store.state()?;
    let current = record::record(store, thread, &state, &around.settings(&state), now)?;
    let began = store.last_generation_ended()?.unwrap_or(current.created_at);
    let is_asked = !current.is_untouched() && (request.from..=request.to).contains(&began);
    let (limit, offset) = (request.limit, request.offset);
    let mut records = Vec::new();
    let is_shown = is_asked && offset == 0 && limit > 0;
    if is_shown {
        records.push(record::Record { created_at: began, ..current });
    }
    let (limit, offset) =
        if is_asked { (limit - u32::from(is_shown), offset.saturating_sub(1)) } else { (limit, offset) };
    records.extend(store.generations((request.from, request.to), limit, offset)?);
    Ok(History::Records { records, current: state.reflections })
}
