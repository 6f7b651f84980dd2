//! A thread is copied into another one.
//!
//! Invariant: a copy knows nothing that its filter withholds: neither a message nor a note that rests on one. What it may
//! know it knows as the original does: its log has the same lines, and messages that notes stand for are not said again. A
//! limit of messages takes away words, not knowledge: notes of older messages stay.

use super::upkeep::plan;
use super::{Surroundings, notes, owns};
use crate::memory::address::Scope;
use crate::memory::database::Database;
use crate::memory::news::{News, facts};
use crate::memory::state::Latch;
use crate::memory::store::{NoteStatus, Store, Thread};
use crate::protocol::{Copied, Paste, Pasted, PublicMessage, ReadCopy, Snapshot};

/// So much is handed over at once, in bytes of texts: it is in memory several times on its way.
const MAX_BYTES: u64 = 12 * 1024 * 1024;

/// What the thread holds, or what a filter leaves of it.
pub fn copy<D: Database>(store: &Store<D>, request: &ReadCopy) -> Result<Copied, D::Error> {
    let Some(thread) = store.thread()?.filter(|thread| owns(thread, &request.key)) else {
        return Ok(Copied::NotFound);
    };
    let mut chosen = store.chosen(&request.filter)?;
    let withheld = store.segments_beside(&chosen)?;
    if let Some(limit) = request.limit {
        chosen.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    if store.copy_bytes(&chosen)? > MAX_BYTES {
        return Ok(Copied::TooLarge);
    }
    let tables = store.copy_out(&chosen)?;
    Ok(Copied::Thread(Box::new(Snapshot { thread, state: store.state()?, tables, withheld })))
}

/// Makes a thread of a copy.
pub fn paste<D: Database>(
    store: &Store<D>,
    request: &Paste,
    now: u64,
    around: Surroundings<'_>,
) -> Result<Pasted, D::Error> {
    if store.thread()?.is_some() {
        return Ok(Pasted::Conflict);
    }
    let at = store.tombstone()?.map_or(now, |deleted_at| now.max(deleted_at + 1));
    let thread = Thread {
        project: request.key.project.clone(),
        id: request.key.thread.clone(),
        resource: request.key.resource.clone().unwrap_or_default(),
        title: request.title.clone(),
        metadata: request.metadata.clone(),
        created_at: at,
        updated_at: at,
        indexed_at: None,
        index_retry_at: None,
    };
    store.save_thread(&thread)?;
    store.copy_in(&request.snapshot.tables, &request.token)?;
    let mut state = request.snapshot.state.clone();
    state.latch = Latch::default();
    state.news_retry_at = 0;
    if thread.resource != request.snapshot.thread.resource {
        state.profile = None;
    }
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    let mut falling = Vec::new();
    for segment in &request.snapshot.withheld {
        falling.extend(store.release(*segment)?);
    }
    if !falling.is_empty() {
        notes::take_out(store, &falling)?;
        notes::rewritten(store, &mut state, &zone)?;
    }
    if settings.scope == Scope::Resource {
        let known = facts(&store.notes(NoteStatus::Active)?, &thread.id, &zone);
        if !known.is_empty() {
            store.post(&News::Promote(known))?;
        }
    }
    store.save_state(&state)?;
    plan(store, &state, now, around)?;
    let (messages, _) = store.page(u32::MAX, 0, false)?;
    let messages = messages
        .into_iter()
        .map(|stored| PublicMessage {
            id: stored.id,
            created_at: stored.created_at,
            incomplete: stored.incomplete,
            message: stored.message,
        })
        .collect();
    Ok(Pasted::Thread { thread: Box::new(thread), messages })
}
