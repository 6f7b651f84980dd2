//! A thread's life: a turn begins, a turn ends, turns that nobody ended are closed, the index hears of it.
//!
//! Invariant: a user's message is stored before the model is asked; `prepare` and `commit` may come any number of times
//! and in any order, and the thread ends up the same. Each function is one transaction of the caller's.

use crate::memory::context::{Item, added_tokens, weave};
use crate::memory::database::Database;
use crate::memory::reconcile::{Alignment, Place, reconcile};
use crate::memory::store::{
    MAX_MESSAGES_PER_TURN, Store, StoredMessage, Thread, Turn, TurnStatus, first_seq,
};
use crate::protocol::{
    Commit, Committed, Injection, Messages, Prepare, Prepared, PublicMessage, ReadMessages, ThreadKey,
};
use crate::tokens;
use crate::turn::{Message, chain_hash};

/// The index across threads hears of a thread at most this often, in milliseconds.
pub const INDEX_INTERVAL_MS: u64 = 60_000;

/// A turn begins: aligns the request with what is stored, stores what is new as a pending turn, and says what the model
/// is to see.
pub fn prepare<D: Database>(store: &Store<D>, request: &Prepare) -> Result<Prepared, D::Error> {
    if request.messages.len() >= MAX_MESSAGES_PER_TURN {
        return Ok(Prepared::TooManyMessages);
    }
    let thread = store.thread()?;
    if thread.as_ref().is_some_and(|thread| !owns(thread, &request.key)) {
        return Ok(Prepared::NotFound);
    }
    let known = store.turn(&request.turn)?;
    let turn = match &known {
        Some(turn) => turn.seq,
        None => store.last_turn()? + 1,
    };
    let alignment = reconcile(store, turn, &request.messages, request.repeated)?;
    let mut conversation =
        if request.inject && thread.is_some() { store.conversation(turn)? } else { Vec::new() };
    if let Some(last) = alignment.branch_after {
        conversation.retain(|stored| stored.seq <= last);
    }
    if request.store && known.is_none() {
        begin_turn(store, thread, turn, request, &alignment)?;
    }
    if !request.inject {
        let items = (0..request.messages.len()).map(Item::Keep).collect();
        return Ok(Prepared::Ready { items, tokens: 0, remembered: 0, injection: Injection::default() });
    }
    let remembered = conversation.len();
    let items = weave(conversation, &request.messages, &alignment.places);
    Ok(Prepared::Ready { tokens: added_tokens(&items), items, remembered, injection: Injection::default() })
}

fn begin_turn<D: Database>(
    store: &Store<D>,
    thread: Option<Thread>,
    seq: i64,
    request: &Prepare,
    alignment: &Alignment,
) -> Result<(), D::Error> {
    let at = request.started_at;
    let mut thread = thread.unwrap_or_else(|| Thread {
        project: request.key.project.clone(),
        id: request.key.thread.clone(),
        resource: request.key.resource.clone().unwrap_or_default(),
        created_at: at,
        updated_at: at,
        indexed_at: None,
        index_retry_at: None,
    });
    thread.updated_at = thread.updated_at.max(at);
    store.save_thread(&thread)?;
    if let Some(last) = alignment.branch_after {
        store.supersede_after(seq, last)?;
    }
    let mut turn = Turn {
        seq,
        id: request.turn.clone(),
        status: TurnStatus::Pending,
        started_at: at,
        finished_at: None,
        messages: 0,
        superseded_by: None,
        provider: None,
        model: None,
        usage: None,
        stop: None,
    };
    let mut chain = alignment.chain.clone();
    for (message, place) in request.messages.iter().zip(&alignment.places) {
        if *place == Place::New {
            add(store, &mut turn, message, at, false, &mut chain)?;
        }
    }
    store.save_turn(&turn)
}

/// Adds a message to a turn, as its next one.
fn add<D: Database>(
    store: &Store<D>,
    turn: &mut Turn,
    message: &Message,
    at: u64,
    incomplete: bool,
    chain: &mut Option<String>,
) -> Result<(), D::Error> {
    let content_hash = message.content_hash();
    if message.is_input() {
        *chain = Some(chain_hash(chain.as_deref(), &content_hash));
    }
    let name = turn.id.strip_prefix("turn_").unwrap_or(&turn.id);
    store.add_message(&StoredMessage {
        seq: first_seq(turn.seq) + turn.messages,
        id: format!("msg_{name}_{}", turn.messages),
        content_hash,
        chain_hash: chain.clone().filter(|_| message.is_input()),
        incomplete,
        created_at: at,
        tokens: tokens::of_message(message),
        superseded_by: turn.superseded_by,
        covered: false,
        message: message.clone(),
    })?;
    turn.messages += 1;
    Ok(())
}

/// A turn ends: stores the answer as far as it came, and how the turn ended.
pub fn commit<D: Database>(store: &Store<D>, request: &Commit) -> Result<Committed, D::Error> {
    if let Some(beginning) = &request.prepare {
        match prepare(store, beginning)? {
            Prepared::NotFound => return Ok(Committed::NotFound),
            Prepared::TooManyMessages => return Ok(Committed::TooManyMessages),
            Prepared::Ready { .. } => {}
        }
    }
    let Some(mut turn) = store.turn(&request.turn)? else { return Ok(Committed::UnknownTurn) };
    if !matches!(turn.status, TurnStatus::Pending | TurnStatus::Lost) {
        return Ok(Committed::Stored);
    }
    if let Some(answer) = request.answer.as_ref().filter(|answer| !answer.parts.is_empty()) {
        let incomplete = request.status != TurnStatus::Complete;
        add(store, &mut turn, answer, request.finished_at, incomplete, &mut None)?;
    }
    turn.status = request.status;
    turn.finished_at = Some(request.finished_at);
    turn.provider = Some(request.provider.clone());
    turn.model = Some(request.model.clone());
    turn.usage = request.usage;
    turn.stop = request.stop.clone();
    store.save_turn(&turn)?;
    if let Some(mut thread) = store.thread()? {
        thread.updated_at = thread.updated_at.max(request.finished_at);
        store.save_thread(&thread)?;
    }
    Ok(Committed::Stored)
}

/// Closes the turns that nobody ended within `ttl` milliseconds; the users' messages stay. Gives their ids, for the log.
pub fn close_lost_turns<D: Database>(store: &Store<D>, now: u64, ttl: u64) -> Result<Vec<String>, D::Error> {
    let mut closed = Vec::new();
    for mut turn in store.pending_turns(now.saturating_sub(ttl))? {
        turn.status = TurnStatus::Lost;
        turn.finished_at = Some(now);
        store.save_turn(&turn)?;
        closed.push(turn.id);
    }
    Ok(closed)
}

/// A page of the thread's messages, without those that a branch replaced.
pub fn messages<D: Database>(store: &Store<D>, request: &ReadMessages) -> Result<Messages, D::Error> {
    if store.thread()?.is_none_or(|thread| !owns(&thread, &request.key)) {
        return Ok(Messages::NotFound);
    }
    let (page, total) = store.page(request.limit, request.offset, request.descending)?;
    let messages = page
        .into_iter()
        .map(|stored| PublicMessage {
            id: stored.id,
            created_at: stored.created_at,
            incomplete: stored.incomplete,
            message: stored.message,
        })
        .collect();
    Ok(Messages::Page { messages, total })
}

fn owns(thread: &Thread, key: &ThreadKey) -> bool {
    thread.project == key.project
        && thread.id == key.thread
        && key.resource.as_ref().is_none_or(|resource| *resource == thread.resource)
}

/// When the index is to hear of the thread; `None` when it knows all there is.
pub fn index_due(thread: &Thread) -> Option<u64> {
    if thread.indexed_at.is_some_and(|known| known >= thread.updated_at) {
        return None;
    }
    let due = thread.indexed_at.map_or(0, |known| known + INDEX_INTERVAL_MS);
    Some(thread.index_retry_at.map_or(due, |retry| retry.max(due)))
}

/// The index was told of the thread as it stood at `updated_at`, or could not be: then it is tried again, later each
/// time, by a multiple of how long it has been waiting.
pub fn index_told<D: Database>(
    store: &Store<D>,
    updated_at: u64,
    now: u64,
    succeeded: bool,
) -> Result<(), D::Error> {
    let Some(mut thread) = store.thread()? else { return Ok(()) };
    if succeeded {
        thread.indexed_at = Some(updated_at);
        thread.index_retry_at = None;
    } else {
        let waiting = now.saturating_sub(thread.updated_at);
        thread.index_retry_at = Some(now + waiting.clamp(1_000, 3_600_000));
    }
    store.save_thread(&thread)
}

/// When the object has to wake up by itself, in Unix milliseconds; `None` when there is nothing to do.
pub fn next_alarm<D: Database>(store: &Store<D>, now: u64, ttl: u64) -> Result<Option<u64>, D::Error> {
    let index = store.thread()?.as_ref().and_then(index_due);
    let sweep = store.oldest_pending()?.map(|started_at| started_at + ttl);
    Ok(index.into_iter().chain(sweep).min().map(|due| due.max(now)))
}
