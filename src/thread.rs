//! A thread's life: a turn begins, a turn ends, turns that nobody ended are closed, the index hears of it.
//!
//! Invariant: a user's message is stored before the model is asked; `prepare` and `commit` may come any number of times
//! and in any order, and the thread ends up the same. Each function is one transaction of the caller's.

mod copy;
pub mod deletion;
mod details;
mod forget;
mod notes;
mod post;
mod recall;
mod remember;
mod repeat;
mod transfer;
mod upkeep;

use std::collections::BTreeMap;

pub use self::copy::{copy, paste};
pub use self::deletion::{delete, delete_messages, link_response};
pub use self::details::{create, details, update};
pub use self::forget::forget_notes;
pub use self::notes::{correct, forget, history, notes};
pub use self::post::post;
pub use self::recall::{around, index_words, search, sources};
pub use self::remember::remember;
pub use self::repeat::{claim, keep_answer};
pub use self::transfer::{bring, rows};
use self::upkeep::plan;
pub use self::upkeep::{
    INDEX_INTERVAL_MS, Post, close_lost_turns, cycle_event, index_due, index_told, news, news_told,
    next_alarm, settle_job, take_job,
};
use crate::memory::activation::{Moment, activate};
use crate::memory::address::Scope;
use crate::memory::branch;
use crate::memory::context::{Item, Threads, Weight, weave, weight};
use crate::memory::database::Database;
use crate::memory::gap;
use crate::memory::injection::injection;
use crate::memory::reconcile::{Alignment, Place, reconcile};
use crate::memory::record;
use crate::memory::settings::Settings;
use crate::memory::state::State;
use crate::memory::store::{
    MAX_MESSAGES_PER_TURN, Store, StoredMessage, Thread, Turn, TurnStatus, first_seq,
};
use crate::protocol::{
    Commit, Committed, Configure, Injection, Messages, Observations, Prepare, Prepared, PublicMessage,
    ReadMessages, ReadObservations, ThreadKey,
};
use crate::time::{Zone, Zones};
use crate::tokens;
use crate::turn::{Message, chain_hash};

/// How many covered messages in front of a client's window are looked at, beside two for each answer that it begins with.
const BEFORE_WINDOW: usize = 16;

/// What a thread's logic has to know of its surroundings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What the deployment has set.
    pub settings: &'a Settings,
    /// The platform's calendar.
    pub zones: Zones<'a>,
}

impl Surroundings<'_> {
    /// The settings in force for a thread.
    fn settings(&self, state: &State) -> Settings {
        state.settings(self.settings)
    }
}

/// A turn begins: aligns the request with what is stored, stores what is new as a pending turn, lets notes take the place of
/// messages where it is time, and says what the model is to see.
pub fn prepare<D: Database>(
    store: &Store<D>,
    request: &Prepare,
    around: Surroundings<'_>,
) -> Result<Prepared, D::Error> {
    if request.messages.len() >= MAX_MESSAGES_PER_TURN {
        return Ok(Prepared::TooManyMessages);
    }
    if store.tombstone()?.is_some_and(|deleted_at| request.started_at <= deleted_at) {
        return Ok(Prepared::Deleted);
    }
    let thread = store.thread()?;
    if thread.as_ref().is_some_and(|thread| !owns(thread, &request.key)) {
        return Ok(Prepared::NotFound);
    }
    let (known, last) = store.turn_and_last(&request.turn)?;
    let turn = known.as_ref().map_or(last + 1, |turn| turn.seq);
    let kept = store.state()?;
    let mut state = kept.clone();
    state.hear(request);
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    let alignment = reconcile(store, turn, &request.messages, request.repeated)?;
    let exists = thread.is_some();
    if request.store && known.is_none() {
        begin_turn(store, thread, turn, request, &alignment, settings.gap_ms, &zone)?;
        if let Some(last) = alignment.branch_after {
            state.prefix_changed = true;
            branch::cut(store, &mut state, last, request.started_at, &zone)?;
        }
        let is_idle = settings.idle_activation && state.is_forgotten(request.started_at);
        if is_idle {
            state.profile = None;
        }
        let moment = Moment {
            settings: &settings,
            now: request.started_at,
            is_idle,
            thread: &request.key.thread,
            zone: &zone,
        };
        activate(store, &mut state, &moment)?;
    }
    if request.store && state != kept {
        store.save_state(&state)?;
    }
    if !request.inject {
        let items = (0..request.messages.len()).map(Item::Keep).collect();
        return Ok(Prepared::Ready {
            items,
            tokens: 0,
            remembered: 0,
            injection: Injection::default(),
            wants_profile: false,
            prompt_tokens: None,
        });
    }
    let conversation = if exists { conversation(store, turn, request, &alignment)? } else { Vec::new() };
    let remembered = conversation.len();
    let gaps = match conversation.first() {
        Some(first) => store.gaps_from(first.seq)?,
        None => store.gaps_from(first_seq(turn))?,
    };
    let items = weave(Threads {
        conversation,
        incoming: &request.messages,
        places: &alignment.places,
        first_new: first_seq(turn),
        gaps: gaps.into_iter().collect::<BTreeMap<_, _>>(),
    });
    let injection = injection(store, &state, &settings, request.started_at, &zone)?;
    let told: u64 = injection.texts().map(tokens::of_text).sum();
    let Weight { added, shown } = weight(&items, &request.messages);
    Ok(Prepared::Ready {
        tokens: added + told,
        prompt_tokens: shown.map(|shown| shown + told),
        remembered: remembered + injection.stable.len(),
        wants_profile: settings.scope == Scope::Resource && state.profile.is_none(),
        items,
        injection,
    })
}

/// The stored conversation as the turn sees it, with the places of those covered messages that the client sent copies of.
fn conversation<D: Database>(
    store: &Store<D>,
    turn: i64,
    request: &Prepare,
    alignment: &Alignment,
) -> Result<Vec<StoredMessage>, D::Error> {
    let mut conversation = store.conversation(turn)?;
    let first = alignment.places.iter().find_map(|place| match place {
        Place::Stored(seq) => Some(*seq),
        _ => None,
    });
    if let Some(first) = first {
        let copies = alignment.places.iter().take_while(|place| **place == Place::Answer).count();
        let before = u32::try_from(2 * copies + BEFORE_WINDOW).unwrap_or(u32::MAX);
        conversation.extend(store.covered(turn, first, before)?);
    }
    // A result that comes after its call has left the prompt brings the call back: providers refuse one without the other.
    let late = request.messages.iter().zip(&alignment.places).filter(|(_, place)| **place == Place::New);
    for result in late.flat_map(|(message, _)| message.tool_results()) {
        let is_there = |message: &Message| message.tool_calls().any(|call| call.id == result.call_id);
        if !conversation.iter().any(|stored| is_there(&stored.message))
            && !request.messages.iter().any(is_there)
            && let Some(call) = store.covered_call(turn, &result.call_id)?
        {
            conversation.retain(|stored| stored.seq != call.seq);
            conversation.push(StoredMessage { covered: false, ..call });
        }
    }
    conversation.sort_by_key(|stored| stored.seq);
    if let Some(last) = alignment.branch_after {
        conversation.retain(|stored| stored.seq <= last);
    }
    Ok(conversation)
}

fn begin_turn<D: Database>(
    store: &Store<D>,
    thread: Option<Thread>,
    seq: i64,
    request: &Prepare,
    alignment: &Alignment,
    gap_ms: u64,
    zone: Zone<'_>,
) -> Result<(), D::Error> {
    let at = request.started_at;
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
    if let Some(last) = alignment.branch_after {
        store.supersede_after(seq, last)?;
    }
    let before = store.last_said_at(seq)?;
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
    if turn.messages > 0
        && let Some(mark) = before.and_then(|before| gap::mark(before, at, gap_ms, zone))
    {
        store.add_gap(first_seq(seq), &mark)?;
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
    store.add_message(&StoredMessage {
        seq: first_seq(turn.seq) + turn.messages,
        id: message_id(turn, turn.messages),
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

/// A turn ends: stores the answer as far as it came, and how the turn ended; plans what there is to note.
pub fn commit<D: Database>(
    store: &Store<D>,
    request: &Commit,
    around: Surroundings<'_>,
) -> Result<Committed, D::Error> {
    if let Some(beginning) = &request.prepare {
        match prepare(store, beginning, around)? {
            Prepared::Deleted => return Ok(Committed::Deleted),
            Prepared::NotFound => return Ok(Committed::NotFound),
            Prepared::TooManyMessages => return Ok(Committed::TooManyMessages),
            Prepared::Ready { .. } => {}
        }
    }
    let Some(mut turn) = store.turn(&request.turn)? else { return Ok(Committed::UnknownTurn) };
    if !matches!(turn.status, TurnStatus::Pending | TurnStatus::Lost) {
        return Ok(stored(&turn, request));
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
    let mut state = store.state()?;
    state.answered(&turn, request);
    store.save_state(&state)?;
    plan(store, &state, request.finished_at, around)?;
    Ok(stored(&turn, request))
}

fn stored(turn: &Turn, request: &Commit) -> Committed {
    if !request.names_messages {
        return Committed::Stored;
    }
    Committed::StoredAs { message_ids: (0..turn.messages).map(|at| message_id(turn, at)).collect() }
}

/// The id of a turn's message.
fn message_id(turn: &Turn, at: i64) -> String {
    format!("msg_{}_{at}", turn.id.strip_prefix("turn_").unwrap_or(&turn.id))
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

/// How the thread's memory stands.
pub fn observations<D: Database>(
    store: &Store<D>,
    request: &ReadObservations,
    now: u64,
    around: Surroundings<'_>,
) -> Result<Observations, D::Error> {
    let Some(thread) = store.thread()?.filter(|thread| owns(thread, &request.key)) else {
        return Ok(Observations::NotFound);
    };
    let state = store.state()?;
    let record = record::record(store, thread, &state, &around.settings(&state), now)?;
    Ok(Observations::Record(Box::new(record)))
}

/// Sets what the thread's memory does otherwise than its project's.
pub fn configure<D: Database>(
    store: &Store<D>,
    request: &Configure,
    now: u64,
    around: Surroundings<'_>,
) -> Result<Observations, D::Error> {
    if store.thread()?.is_none_or(|thread| !owns(&thread, &request.key)) {
        return Ok(Observations::NotFound);
    }
    let mut state = store.state()?;
    state.overrides = std::mem::take(&mut state.overrides).with(&request.overrides);
    store.save_state(&state)?;
    plan(store, &state, now, around)?;
    observations(store, &ReadObservations { key: request.key.clone() }, now, around)
}

fn owns(thread: &Thread, key: &ThreadKey) -> bool {
    thread.project == key.project
        && thread.id == key.thread
        && key.resource.as_ref().is_none_or(|resource| *resource == thread.resource)
}
