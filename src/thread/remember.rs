//! What is to be remembered though it was said in no turn: an agent asks for it over MCP.
//!
//! Invariant: it is told to models as a note from the moment that it is stored, never as a message; it is the agent's word,
//! not the user's, and stays when the conversation around it is replaced.

use super::{Surroundings, owns};
use crate::memory::activation::render_anew;
use crate::memory::database::Database;
use crate::memory::note::{Note, Priority, Speaker};
use crate::memory::render;
use crate::memory::secrets;
use crate::memory::store::{NewNote, NoteStatus, Store, StoredMessage, Thread, Turn, TurnStatus, first_seq};
use crate::protocol::{Remember, Remembered};
use crate::tokens;
use crate::turn::{Message, Part, Role};

/// The segment of notes, and of the messages behind them, that no observer made: there is none of that number.
const BY_HAND: i64 = 0;

/// Notes something. The words are kept as a message of their own, so that the note has a source like any other; no prompt
/// shows that message, and no client's history is compared with it.
pub fn remember<D: Database>(
    store: &Store<D>,
    request: &Remember,
    around: Surroundings<'_>,
) -> Result<Remembered, D::Error> {
    if store.tombstone()?.is_some_and(|deleted_at| request.at <= deleted_at) {
        return Ok(Remembered::Deleted);
    }
    let thread = store.thread()?;
    if thread.as_ref().is_some_and(|thread| !owns(thread, &request.key)) {
        return Ok(Remembered::NotFound);
    }
    if let Some(turn) = store.turn(&request.turn)? {
        let known = store.notes_of(BY_HAND)?.into_iter().find(|note| note.sources == [first_seq(turn.seq)]);
        return Ok(known.map_or(Remembered::NotFound, |note| Remembered::Noted { note: note.id }));
    }
    let at = request.at;
    let mut thread = thread.unwrap_or_else(|| Thread {
        project: request.key.project.clone(),
        id: request.key.thread.clone(),
        resource: request.key.resource.clone().unwrap_or_default(),
        title: None,
        metadata: None,
        created_at: at,
        updated_at: at,
        indexed_at: None,
        index_retry_at: None,
    });
    thread.updated_at = thread.updated_at.max(at);
    store.save_thread(&thread)?;
    let seq = add(store, request)?;
    let state = store.state()?;
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    let note = Note {
        id: 0,
        segment: BY_HAND,
        parent: None,
        priority: Priority::High,
        speaker: Speaker::Assistant,
        said_at: at,
        refers: None,
        key: None,
        text: secrets::mask(&request.text).into_owned(),
        sources: vec![seq],
    };
    let tokens = tokens::of_text(&render::line(&note, &zone));
    let id = store.add_note(&NewNote { note, status: NoteStatus::Active, tokens, created_at: at })?;
    // Beside a log it is told behind it until that is written anew, so that the prompt's beginning stays.
    if store.rendered()?.is_empty() {
        let mut state = state;
        render_anew(store, BY_HAND, &zone)?;
        state.log_version += 1;
        state.prefix_changed = true;
        store.save_state(&state)?;
    }
    Ok(Remembered::Noted { note: id })
}

/// Erases the words that were stored for the sake of these notes alone.
pub(super) fn erase_words<D: Database>(store: &Store<D>, notes: &[i64]) -> Result<(), D::Error> {
    let notes = store.notes_at(notes)?;
    let words: Vec<i64> =
        notes.into_iter().filter(|note| note.segment == BY_HAND).flat_map(|note| note.sources).collect();
    store.erase_messages(&store.by_hand(&words)?)
}

/// Stores the words as a turn of their own; gives their place.
fn add<D: Database>(store: &Store<D>, request: &Remember) -> Result<i64, D::Error> {
    let turn = store.last_turn()? + 1;
    let seq = first_seq(turn);
    let message = Message::new(Role::Assistant, vec![Part::text(&request.text)]);
    let name = request.turn.strip_prefix("turn_").unwrap_or(&request.turn);
    store.save_turn(&Turn {
        seq: turn,
        id: request.turn.clone(),
        status: TurnStatus::Complete,
        started_at: request.at,
        finished_at: Some(request.at),
        messages: 1,
        superseded_by: None,
        provider: None,
        model: None,
        usage: None,
        stop: None,
    })?;
    store.add_message(&StoredMessage {
        seq,
        id: format!("msg_{name}_0"),
        content_hash: message.content_hash(),
        chain_hash: None,
        incomplete: false,
        created_at: request.at,
        tokens: tokens::of_message(&message),
        superseded_by: None,
        covered: true,
        message,
    })?;
    store.claim(&[seq], Some(BY_HAND))?;
    Ok(seq)
}
