//! Messages come into a thread without a model being asked.
//!
//! Invariant: all of a posting is stored, or nothing; a message that is there already under its id is not stored again.
//! What is posted stands behind all turns that have arrived and before all that will.

use std::collections::BTreeMap;

use super::upkeep::plan;
use super::{Surroundings, owns};
use crate::memory::database::Database;
use crate::memory::gap;
use crate::memory::store::{Store, StoredMessage, Turn, TurnStatus, first_seq};
use crate::protocol::{Post, Posting, PublicMessage};
use crate::tokens;
use crate::turn::chain_hash;

/// Puts messages behind all that the thread holds, and plans what there is to note.
pub fn post<D: Database>(
    store: &Store<D>,
    request: &Post,
    now: u64,
    around: Surroundings<'_>,
) -> Result<Posting, D::Error> {
    let Some(mut thread) = store.thread()?.filter(|thread| owns(thread, &request.key)) else {
        return Ok(Posting::NotFound);
    };
    let mut state = store.state()?;
    state.project.clone_from(&request.project);
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    let seq = store.last_turn()? + 1;
    let mut chain = store.last_input(seq)?.map(|last| last.chain_hash);
    let mut before = store.last_said_at(seq)?;
    let mut added: Vec<StoredMessage> = Vec::new();
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    let mut answer = Vec::with_capacity(request.messages.len());
    for posted in &request.messages {
        let content_hash = posted.message.content_hash();
        if let Some(id) = &posted.id {
            if let Some(there) = store.by_id(id)? {
                if there.content_hash != content_hash {
                    return Ok(Posting::Conflict(id.clone()));
                }
                answer.push(public(&there));
                continue;
            }
            match named.insert(id.clone(), content_hash.clone()) {
                None => {}
                Some(known) if known == content_hash => {
                    answer.extend(added.iter().find(|stored| stored.id == *id).map(public));
                    continue;
                }
                Some(_) => return Ok(Posting::Conflict(id.clone())),
            }
        }
        let place = i64::try_from(added.len()).unwrap_or(i64::MAX);
        let at = posted.created_at.unwrap_or(now);
        if posted.message.is_input() {
            chain = Some(chain_hash(chain.as_deref(), &content_hash));
        }
        if let Some(mark) = before.and_then(|before| gap::mark(before, at, settings.gap_ms, &zone)) {
            store.add_gap(first_seq(seq) + place, &mark)?;
        }
        before = Some(at);
        let stored = StoredMessage {
            seq: first_seq(seq) + place,
            id: posted.id.clone().unwrap_or_else(|| format!("msg_{}_{place}", request.token)),
            content_hash,
            chain_hash: chain.clone().filter(|_| posted.message.is_input()),
            incomplete: false,
            created_at: at,
            tokens: tokens::of_message(&posted.message),
            superseded_by: None,
            covered: false,
            message: posted.message.clone(),
        };
        answer.push(public(&stored));
        added.push(stored);
    }
    if added.is_empty() {
        return Ok(Posting::Stored(answer));
    }
    added.iter().try_for_each(|stored| store.add_message(stored))?;
    store.save_turn(&Turn {
        seq,
        id: format!("post_{}", request.token),
        status: TurnStatus::Complete,
        started_at: now,
        finished_at: Some(now),
        messages: i64::try_from(added.len()).unwrap_or(i64::MAX),
        superseded_by: None,
        provider: None,
        model: None,
        usage: None,
        stop: None,
    })?;
    thread.updated_at = thread.updated_at.max(now);
    store.save_thread(&thread)?;
    store.save_state(&state)?;
    plan(store, &state, now, around)?;
    Ok(Posting::Stored(answer))
}

fn public(stored: &StoredMessage) -> PublicMessage {
    PublicMessage {
        id: stored.id.clone(),
        created_at: stored.created_at,
        incomplete: stored.incomplete,
        message: stored.message.clone(),
    }
}
