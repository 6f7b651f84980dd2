//! How a thread's memory stands, for its owner to see.
//!
//! Invariant: a flag is true only while a model is really at work, or has been asked for and could still answer.

use serde::{Deserialize, Serialize};

use super::database::Database;
use super::render;
use super::settings::Settings;
use super::state::{Junk, State};
use super::store::{Kind, NoteStatus, SegmentState, Store, Thread};
use crate::memory::address::Scope;

/// How a thread's memory stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The thread's id.
    pub thread: String,
    /// Its owner.
    pub resource: String,
    /// How far its memory reaches.
    pub scope: Scope,
    /// When the thread was first used, in Unix milliseconds.
    pub created_at: u64,
    /// When it was last used.
    pub updated_at: u64,
    /// When messages last became notes.
    pub last_observed_at: Option<u64>,
    /// How often the log was rewritten.
    pub reflections: u64,
    /// The log as it is put before the model.
    pub log: Option<String>,
    /// Tokens of messages that became notes, as long as they were messages.
    pub tokens_observed: u64,
    /// Tokens of the live notes.
    pub note_tokens: u64,
    /// How many live notes there are.
    pub notes: u64,
    /// Notes that wait for their turn.
    pub buffered_notes: u64,
    /// Tokens of messages that are put before the model as they were said.
    pub raw_tokens: u64,
    /// An observer is at work.
    pub is_observing: bool,
    /// A reflector is at work.
    pub is_reflecting: bool,
    /// Raw tokens are over the threshold: what is at work is waited for.
    pub is_over_observe: bool,
    /// Note tokens are over the threshold of the swap.
    pub is_over_swap: bool,
    /// What was not taken of the observers' answers.
    pub junk: Junk,
    /// Failed cycles since the last success.
    pub failures: u32,
    /// Until when a failing observer is left alone, if it is.
    pub paused_until: Option<u64>,
    /// The thresholds in force, as (observe, swap).
    pub thresholds: (u64, u64),
    /// The models in force, as (observer, reflector).
    pub models: (String, String),
}

impl Record {
    /// Nothing is noted, and nothing under way.
    pub fn is_untouched(&self) -> bool {
        self.notes + self.buffered_notes == 0
            && self.last_observed_at.is_none()
            && !self.is_observing
            && self.failures == 0
    }
}

/// Reads it.
pub fn record<D: Database>(
    store: &Store<D>,
    thread: Thread,
    state: &State,
    settings: &Settings,
    now: u64,
) -> Result<Record, D::Error> {
    let running = store.segments(SegmentState::Running)?;
    let works = |kind: Kind| {
        running
            .iter()
            .any(|segment| segment.kind == kind && segment.lease_until.is_some_and(|until| until > now))
    };
    let notes = store.note_extent(NoteStatus::Active)?;
    let raw_tokens = state.corrected(store.raw_extent()?.tokens);
    Ok(Record {
        thread: thread.id,
        resource: thread.resource,
        scope: settings.scope,
        created_at: thread.created_at,
        updated_at: thread.updated_at,
        last_observed_at: state.last_observed_at,
        reflections: state.reflections,
        log: render::log(&store.rendered()?),
        tokens_observed: state.tokens_observed,
        note_tokens: notes.tokens,
        notes: notes.messages,
        buffered_notes: store.note_extent(NoteStatus::Buffered)?.messages,
        raw_tokens,
        is_observing: works(Kind::Observe),
        is_reflecting: works(Kind::Reflect),
        is_over_observe: raw_tokens >= settings.observe_tokens,
        is_over_swap: notes.tokens >= settings.swap_tokens,
        junk: state.junk,
        failures: state.latch.failures,
        paused_until: state.latch.is_open(now).then_some(state.latch.open_until),
        thresholds: (settings.observe_tokens, settings.swap_tokens),
        models: (settings.observer_model.clone(), settings.reflector_model.clone()),
    })
}
