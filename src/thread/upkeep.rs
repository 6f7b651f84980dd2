//! What a thread's object does by itself, when its alarm rings: closes turns that nobody ended, tells the index and the
//! resource, and has memory's jobs done.
//!
//! Invariant: whatever is left to do has a time at which the alarm rings for it, and can be done twice.

use serde_json::{Value, json};

use super::Surroundings;
use crate::memory::cycle::{Desk, Job, Reply, Verdict};
use crate::memory::database::Database;
use crate::memory::news::News;
use crate::memory::state::State;
use crate::memory::store::{Store, Thread, TurnStatus};

/// The index across threads hears of a thread at most this often, in milliseconds.
pub const INDEX_INTERVAL_MS: u64 = 60_000;

/// How much the resource's object is told at once.
const MAX_NEWS: u32 = 20;
/// How long to wait when it could not be told, in milliseconds.
const NEWS_RETRY_MS: u64 = 30_000;

/// Plans what there is to note.
pub(super) fn plan<D: Database>(
    store: &Store<D>,
    state: &State,
    now: u64,
    around: Surroundings<'_>,
) -> Result<(), D::Error> {
    let settings = around.settings(state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    Desk { store, settings: &settings, now, zone: &zone }.plan(state)
}

/// Closes the turns that nobody ended within `ttl` milliseconds; the users' messages stay. Gives their ids, for the log.
pub fn close_lost_turns<D: Database>(
    store: &Store<D>,
    now: u64,
    ttl: u64,
    around: Surroundings<'_>,
) -> Result<Vec<String>, D::Error> {
    let mut closed = Vec::new();
    for mut turn in store.pending_turns(now.saturating_sub(ttl))? {
        turn.status = TurnStatus::Lost;
        turn.finished_at = Some(now);
        store.save_turn(&turn)?;
        closed.push(turn.id);
    }
    if !closed.is_empty() {
        // What such a turn kept open can be noted now.
        plan(store, &store.state()?, now, around)?;
    }
    Ok(closed)
}

/// The next question to an observer or reflector, as the try `cycle`.
pub fn take_job<D: Database>(
    store: &Store<D>,
    now: u64,
    cycle: &str,
    around: Surroundings<'_>,
) -> Result<Option<Job>, D::Error> {
    let Some(thread) = store.thread()? else { return Ok(None) };
    let state = store.state()?;
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    Desk { store, settings: &settings, now, zone: &zone }.take(&state, &thread, cycle)
}

/// Makes of the reply to a question what it is worth, and plans what comes next. `jitter` is any number.
pub fn settle_job<D: Database>(
    store: &Store<D>,
    now: u64,
    cycle: &str,
    reply: &Reply,
    jitter: u64,
    around: Surroundings<'_>,
) -> Result<Verdict, D::Error> {
    let mut state = store.state()?;
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    let desk = Desk { store, settings: &settings, now, zone: &zone };
    let verdict = desk.settle(&mut state, cycle, reply, jitter)?;
    if verdict != Verdict::Late {
        store.save_state(&state)?;
        desk.plan(&state)?;
    }
    Ok(verdict)
}

/// What the resource's object is to hear.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// The thread that tells it.
    pub thread: Thread,
    /// What is told, oldest first.
    pub news: Vec<News>,
    /// The last of it, for [`news_told`].
    until: i64,
}

/// What the resource's object is to hear now, if it is time.
pub fn news<D: Database>(store: &Store<D>, now: u64) -> Result<Option<Post>, D::Error> {
    let waiting = store.outbox(MAX_NEWS)?;
    let (Some(thread), Some((until, _))) = (store.thread()?, waiting.last()) else { return Ok(None) };
    let until = *until;
    if store.state()?.news_retry_at > now {
        return Ok(None);
    }
    Ok(Some(Post { thread, until, news: waiting.into_iter().filter_map(|(_, news)| news).collect() }))
}

/// It was told, or could not be: then it is tried again in a while.
pub fn news_told<D: Database>(
    store: &Store<D>,
    post: &Post,
    now: u64,
    succeeded: bool,
) -> Result<(), D::Error> {
    let mut state = store.state()?;
    state.news_retry_at = if succeeded { 0 } else { now + NEWS_RETRY_MS };
    store.save_state(&state)?;
    if succeeded { store.posted(post.until) } else { Ok(()) }
}

/// A cycle in the form of the log: ids, counts and outcomes, no word of what was said.
pub fn cycle_event(job: &Job, reply: &Reply, verdict: &Verdict, took_ms: u64) -> Value {
    let (outcome, detail) = verdict.words();
    json!({
        "cycle": job.cycle,
        "operation": job.kind.as_str(),
        "project": job.thread.project,
        "thread": job.thread.id,
        "segment": job.segment,
        "messages": job.messages,
        "seq_from": job.range.0,
        "seq_to": job.range.1,
        "provider": reply.provider,
        "model": reply.model,
        "tokens_in": reply.usage.input,
        "tokens_out": reply.usage.output,
        "estimated": reply.estimated,
        "status": reply.status,
        "outcome": outcome,
        "detail": detail,
        "took_ms": took_ms,
    })
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
    let state = store.state()?;
    let waiting = store.waiting()?;
    let sweep = waiting.oldest_pending.map(|started_at| started_at + ttl);
    // One question at a time; the end of its lease is when it counts as lost.
    let job =
        waiting.running_until.or_else(|| waiting.planned_for.map(|due| due.max(state.latch.open_until)));
    let news = waiting.has_news.then_some(state.news_retry_at);
    let words = waiting.is_index_behind.then_some(now);
    let deletion = super::deletion::due(&waiting, now);
    Ok([index, sweep, job, news, words, deletion].into_iter().flatten().min().map(|due| due.max(now)))
}
