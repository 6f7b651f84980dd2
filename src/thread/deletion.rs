//! Deleting: messages, or the thread with all that was made of it.
//!
//! Invariant: what is deleted is unreadable from that transaction on, and a mark keeps late messages from bringing it back.
//! What other objects keep of the thread is known until they were told, however often the object dies in between.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::upkeep::plan;
use super::{Surroundings, owns};
use crate::memory::database::Database;
use crate::memory::erasure::erase;
use crate::memory::store::{LinkedResponse, Store, Waiting};
use crate::protocol::deletion::{Delete, DeleteMessages, Deleted, LinkResponse, Linked, MessagesDeleted};

/// How long to wait before others are told again, when they could not be, in milliseconds.
const RETRY_MS: u64 = 30_000;

/// A thread whose own rows are gone, until everybody else was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The project.
    pub project: String,
    /// The thread's id.
    pub thread: String,
    /// Its owner.
    pub resource: String,
    /// When it was deleted, in Unix milliseconds.
    pub deleted_at: u64,
    /// Others are told again at this time at the latest.
    pub retry_at: u64,
    messages: u64,
    notes: u64,
    jobs: u64,
    responses: u64,
}

impl Departure {
    /// What there was.
    pub fn receipt(&self) -> Deleted {
        Deleted::Deleted {
            deleted_at: self.deleted_at,
            resource: self.resource.clone(),
            messages: self.messages,
            notes: self.notes,
            jobs: self.jobs,
            responses: self.responses,
        }
    }
}

/// Deletes all that the thread holds, but for what is needed to tell others. A deletion that was begun and not ended is
/// answered again.
pub fn delete<D: Database>(store: &Store<D>, request: &Delete, now: u64) -> Result<Deleted, D::Error> {
    let Some(thread) = store.thread()?.filter(|thread| owns(thread, &request.key)) else {
        let begun = departure(store)?.filter(|begun| {
            begun.project == request.key.project
                && begun.thread == request.key.thread
                && request.key.resource.as_ref().is_none_or(|resource| *resource == begun.resource)
        });
        return Ok(begun.map_or(Deleted::NotFound, |begun| begun.receipt()));
    };
    if request.created_until.is_some_and(|until| thread.created_at > until)
        || request.idle_since.is_some_and(|since| thread.updated_at > since)
    {
        return Ok(Deleted::TooYoung);
    }
    let counts = store.counts()?;
    let responses = store.send_responses_away()?;
    store.empty()?;
    store.bury(now)?;
    let leaving = Departure {
        project: thread.project,
        thread: thread.id,
        resource: thread.resource,
        deleted_at: now,
        retry_at: now + RETRY_MS,
        messages: counts.messages,
        notes: counts.notes,
        jobs: counts.jobs,
        responses,
    };
    save(store, &leaving)?;
    Ok(leaving.receipt())
}

/// The deletion that is under way, if one is.
pub fn departure<D: Database>(store: &Store<D>) -> Result<Option<Departure>, D::Error> {
    Ok(store.departure()?.as_deref().and_then(read))
}

/// The project whose responses are to be deleted.
pub fn project<D: Database>(store: &Store<D>) -> Result<Option<String>, D::Error> {
    Ok(match departure(store)? {
        Some(leaving) => Some(leaving.project),
        None => store.thread()?.map(|thread| thread.project),
    })
}

/// Others could not be told: they are in a while.
pub fn postpone<D: Database>(store: &Store<D>, now: u64) -> Result<(), D::Error> {
    match departure(store)? {
        Some(leaving) => save(store, &Departure { retry_at: now + RETRY_MS, ..leaving }),
        None => Ok(()),
    }
}

/// Everybody was told. True when nothing is there any more, and the storage is to go as a whole; else a new thread is in it.
pub fn departed<D: Database>(store: &Store<D>) -> Result<bool, D::Error> {
    store.save_departure(None)?;
    Ok(store.thread()?.is_none())
}

/// Deletes messages, and all that was made of them. Ids that are no messages of the thread are passed over.
pub fn delete_messages<D: Database>(
    store: &Store<D>,
    request: &DeleteMessages,
    now: u64,
    around: Surroundings<'_>,
) -> Result<MessagesDeleted, D::Error> {
    if store.thread()?.is_none_or(|thread| !owns(&thread, &request.key)) {
        return Ok(MessagesDeleted::NotFound);
    }
    let places = store.places_of(&request.ids)?;
    if places.is_empty() {
        return Ok(MessagesDeleted::Deleted {
            deleted_at: now,
            messages: 0,
            ids: Vec::new(),
            notes: 0,
            jobs: 0,
            responses: 0,
        });
    }
    let ids = store.message_ids(&places)?.into_iter().map(|(_, id)| id).collect();
    let mut state = store.state()?;
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    let named = places.len() as u64;
    let all: BTreeSet<i64> = store.replaced_twins(&places)?.into_iter().chain(places).collect();
    let counts = erase(store, &mut state, &all.into_iter().collect::<Vec<_>>(), now, &zone)?;
    state.erased_at = Some(now);
    store.save_state(&state)?;
    plan(store, &state, now, around)?;
    Ok(MessagesDeleted::Deleted {
        deleted_at: now,
        messages: named,
        ids,
        notes: counts.notes,
        jobs: counts.jobs,
        responses: store.send_responses_away()?,
    })
}

/// Remembers that a response was made in the thread.
pub fn link_response<D: Database>(store: &Store<D>, asked: &LinkResponse) -> Result<Linked, D::Error> {
    if store.tombstone()?.is_some_and(|deleted_at| asked.created_at <= deleted_at) {
        return Ok(Linked::Deleted);
    }
    if store.thread()?.is_some_and(|thread| !owns(&thread, &asked.key)) {
        return Ok(Linked::NotFound);
    }
    if store.state()?.erased_at.is_some_and(|erased_at| asked.created_at <= erased_at) {
        return Ok(Linked::Deleted);
    }
    let linked = LinkedResponse { id: asked.id.clone(), chain: asked.chain.clone() };
    store.link_response(&linked, asked.created_at)?;
    Ok(Linked::Linked)
}

/// When others are to be told of what was deleted, in Unix milliseconds; `None` when all were.
pub(super) fn due(waiting: &Waiting, now: u64) -> Option<u64> {
    let leaving = waiting.departure.as_deref().and_then(read);
    match leaving {
        Some(leaving) => Some(leaving.retry_at),
        None => waiting.has_leaving_responses.then_some(now + RETRY_MS),
    }
}

fn read(body: &str) -> Option<Departure> {
    serde_json::from_str(body).ok()
}

fn save<D: Database>(store: &Store<D>, leaving: &Departure) -> Result<(), D::Error> {
    store.save_departure(serde_json::to_string(leaving).ok())
}
