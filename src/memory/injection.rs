//! What a model is told beside the messages: the resource's profile, the log, and what moves with the clock.
//!
//! Invariant: the texts that stay come first and change only when the log or the pinned profile does; without notes nothing
//! is told at all.

use super::database::Database;
use super::note::Note;
use super::render;
use super::state::State;
use super::store::{NoteStatus, Store};
use crate::memory::address::Scope;
use crate::memory::settings::Settings;
use crate::protocol::Injection;
use crate::time::Zone;

/// What a thread tells now.
pub fn injection<D: Database>(
    store: &Store<D>,
    state: &State,
    settings: &Settings,
    now: u64,
    zone: Zone<'_>,
) -> Result<Injection, D::Error> {
    let log = render::log(&store.rendered()?);
    let profile = state.profile.as_ref().filter(|text| settings.scope == Scope::Resource && !text.is_empty());
    let volatile = match log {
        Some(_) => Some(render::now(now, &settings.time_zone, &unfrozen(store)?, zone)),
        None => None,
    };
    Ok(Injection { stable: profile.cloned().into_iter().chain(log).collect(), volatile })
}

/// The live notes that no frozen stretch shows.
fn unfrozen<D: Database>(store: &Store<D>) -> Result<Vec<Note>, D::Error> {
    store.notes_unfrozen(NoteStatus::Active)
}
