//! Aligning what a client sends with what is stored, so that nothing is stored or sent twice.
//!
//! Some clients send only what is new, others the whole history, others its tail. Inputs (user and tool messages) are
//! compared by hash; the assistant's texts are not, because clients cut and reformat them, and the stored ones are true.
//! A client that keeps nothing but texts has no tool messages: for it the stored ones count as part of the answer.
//!
//! Invariant: two equal inputs in a row are two messages, unless the request says, by the answers it holds, by being a
//! retry or by following a failed turn, that it repeats history.

use super::database::Database;
use super::inner;
use super::store::{Store, StoredInput, TurnStatus, turn_of};
use crate::turn::{Message, Role, chain_hash};

/// How many places with the same content are tried as the start of a client's window.
const MAX_ANCHORS: u32 = 16;

/// Where an incoming message stands to the stored conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the stored input at this place.
    Stored(i64),
    /// An assistant's message between stored inputs; the stored answer there is the true one.
    Answer,
    /// It precedes what is stored and is not part of it: a summary of the client's own, say. Sent on, not stored.
    Outside,
    /// It is new.
    New,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// One place for each incoming message.
    pub places: Vec<Place>,
    /// Everything stored behind this place gives way to the new branch.
    pub branch_after: Option<i64>,
    /// The chain that new inputs continue.
    pub chain: Option<String>,
}

/// A run of incoming inputs that is stored.
struct Meeting {
    /// Which of the incoming inputs is its first.
    first: usize,
    /// The stored inputs of the run.
    stored: Vec<StoredInput>,
    /// Whether the client's copy of the answer behind the run is like the stored one; `None` without a copy.
    answer: Option<bool>,
}

/// Aligns the incoming messages of a turn. `repeated` says that the client marked the request as a retry.
pub fn reconcile<D: Database>(
    store: &Store<D>,
    turn: i64,
    incoming: &[Message],
    repeated: bool,
) -> Result<Alignment, D::Error> {
    let last = store.last_input(turn)?;
    let append = |chain: Option<String>| Alignment {
        places: vec![Place::New; incoming.len()],
        branch_after: None,
        chain,
    };
    let Some(last) = last else { return Ok(append(None)) };
    let inputs: Vec<(usize, String)> = incoming
        .iter()
        .enumerate()
        .filter(|(_, message)| message.is_input())
        .map(|(at, message)| (at, message.content_hash()))
        .collect();
    let contents: Vec<&str> = inputs.iter().map(|(_, content)| content.as_str()).collect();
    if !store.has_any_input(turn, &contents)? {
        return Ok(append(Some(last.chain_hash)));
    }
    let holds_answers = incoming.iter().any(|message| message.role == Role::Assistant);
    let texts = has_only_texts(incoming);
    let Some(meeting) = best_meeting(store, turn, incoming, &inputs, texts)? else {
        return Ok(append(Some(last.chain_hash)));
    };
    let Some(end) = meeting.stored.last() else { return Ok(append(Some(last.chain_hash))) };
    let end = last_of_round(store, turn, end, texts)?;
    // What was put into the thread beside its turns, a client that keeps the history itself does not have.
    let reaches_end = end.seq == last.seq || store.last_asked(turn)? == Some(end.seq);

    // A request without a single answer looks the same from a client that sends only what is new.
    let repeats = if holds_answers {
        reaches_end || meeting.stored.len() > 1 || starts_chain(&meeting) || meeting.answer == Some(true)
    } else {
        reaches_end && (repeated || is_unanswered(store, turn, &last)?)
    };
    if !repeats {
        return Ok(append(Some(last.chain_hash)));
    }

    let mut places = Vec::with_capacity(incoming.len());
    let matched = meeting.first..meeting.first + meeting.stored.len();
    let mut input = 0;
    for message in incoming {
        let place = if message.is_input() {
            input += 1;
            match input - 1 {
                at if at < matched.start => Place::Outside,
                at => meeting
                    .stored
                    .get(at - matched.start)
                    .map_or(Place::New, |found| Place::Stored(found.seq)),
            }
        } else if input <= matched.start {
            // Before the first match: the client's window may begin with an answer.
            if places.iter().all(|place| *place == Place::Answer) { Place::Answer } else { Place::Outside }
        } else if input <= matched.end {
            Place::Answer
        } else {
            Place::New
        };
        places.push(place);
    }
    let answer = store.answer_to(turn, end.seq)?;
    if answer.is_none() {
        // The client holds an answer that is not stored: it is news.
        let behind = inputs.get(matched.end - 1).map_or(0, |(at, _)| at + 1);
        places
            .iter_mut()
            .skip(behind)
            .filter(|place| **place == Place::Answer)
            .for_each(|place| *place = Place::New);
    }
    let asks_again = places.last().is_some_and(|place| matches!(place, Place::Stored(_)));
    let branch_after = if asks_again {
        Some(end.seq)
    } else if reaches_end {
        None
    } else {
        Some(answer.map_or(end.seq, |answer| answer.seq))
    };
    Ok(Alignment { places, branch_after, chain: Some(end.chain_hash) })
}

/// Looks for runs of incoming inputs that are stored: from the start of the thread by chain hash, and from the first
/// input that is known at all. The best one has no answer that differs from the client's copy, or else reaches the end
/// of what is stored, or else is the longest.
fn best_meeting<D: Database>(
    store: &Store<D>,
    turn: i64,
    incoming: &[Message],
    inputs: &[(usize, String)],
    texts: bool,
) -> Result<Option<Meeting>, D::Error> {
    let newest = if texts { store.last_of_user(turn)? } else { store.last_input(turn)? };
    let mut best: Option<(Meeting, (bool, bool, usize))> = None;
    let mut consider = |first: usize, stored: Vec<StoredInput>| {
        // The first and the last answer of the run tell enough; comparing all would read the whole thread.
        let mut answer = None;
        for at in [0, stored.len().saturating_sub(1)] {
            let copies = inputs.get(first + at).map_or(0, |(place, _)| place + 1);
            let mut copies = incoming.iter().skip(copies).take_while(|next| !next.is_input());
            let copy = if texts { copies.last() } else { copies.next() };
            if let (Some(copy), Some(input)) = (copy, stored.get(at)) {
                let told = store.answer_to(turn, last_of_round(store, turn, input, texts)?.seq)?;
                let alike = told.is_some_and(|told| is_alike(&told.message, copy));
                answer = Some(answer != Some(false) && alike);
            }
        }
        let reaches_end =
            stored.last().is_some_and(|end| newest.as_ref().is_some_and(|newest| end.seq == newest.seq));
        let score = (answer != Some(false), reaches_end, stored.len());
        if best.as_ref().is_none_or(|(_, known)| *known < score) {
            best = Some((Meeting { first, stored, answer }, score));
        }
        Ok(score.0 && reaches_end)
    };
    let sure = match run_from_start(store, turn, inputs, texts)? {
        Some(stored) => consider(0, stored)?,
        None => false,
    };
    if !sure {
        for (first, stored) in runs_from_anchor(store, turn, inputs, texts)? {
            consider(first, stored)?;
        }
    }
    Ok(best.map(|(meeting, _)| meeting))
}

/// The longest run that begins with the thread's first input.
fn run_from_start<D: Database>(
    store: &Store<D>,
    turn: i64,
    inputs: &[(usize, String)],
    texts: bool,
) -> Result<Option<Vec<StoredInput>>, D::Error> {
    if texts {
        // The chain counts tool messages, too.
        let wanted = u32::try_from(inputs.len()).unwrap_or(u32::MAX).saturating_add(store.count_posted()?);
        let stored = store.of_user_after(turn, i64::MIN, wanted)?;
        let run: Vec<StoredInput> = equal_run(inputs, stored).collect();
        return Ok((!run.is_empty()).then_some(run));
    }
    let mut chains: Vec<String> = Vec::with_capacity(inputs.len());
    for (_, content) in inputs {
        chains.push(chain_hash(chains.last().map(String::as_str), content));
    }
    while let Some(chain) = chains.last() {
        if store.input_by_chain(turn, chain)?.is_some() {
            let stored = chains
                .iter()
                .map(|chain| store.input_by_chain(turn, chain))
                .collect::<Result<Vec<_>, _>>()?;
            return Ok(Some(stored.into_iter().flatten().collect()));
        }
        chains.pop();
    }
    Ok(None)
}

/// The runs that begin, somewhere in the thread, with the first incoming input that is known at all.
fn runs_from_anchor<D: Database>(
    store: &Store<D>,
    turn: i64,
    inputs: &[(usize, String)],
    texts: bool,
) -> Result<Vec<(usize, Vec<StoredInput>)>, D::Error> {
    for (first, (_, content)) in inputs.iter().enumerate() {
        let mut runs = Vec::new();
        for anchor in store.inputs_by_content(turn, content, MAX_ANCHORS)? {
            let wanted = u32::try_from(inputs.len() - first - 1).unwrap_or(u32::MAX);
            let wanted = wanted.saturating_add(store.count_posted()?);
            let followers = if texts {
                store.of_user_after(turn, anchor.seq, wanted)?
            } else {
                store.inputs_after(turn, anchor.seq, wanted)?
            };
            let mut stored = vec![anchor];
            stored.extend(equal_run(inputs.get(first + 1..).unwrap_or_default(), followers));
            runs.push((first, stored));
        }
        if !runs.is_empty() {
            return Ok(runs);
        }
    }
    Ok(Vec::new())
}

/// The stored inputs, as far as the incoming ones are the same. One that was put into the thread beside its turns may be
/// missing among them.
fn equal_run(inputs: &[(usize, String)], stored: Vec<StoredInput>) -> impl Iterator<Item = StoredInput> {
    let mut stored = stored.into_iter();
    inputs.iter().map_while(move |(_, content)| {
        let next = stored.find(|next| next.content_hash == *content || !next.is_posted)?;
        (next.content_hash == *content).then_some(next)
    })
}

/// The last input that the answer to `input` rests on: itself, or, for a client that keeps only texts, the last of the
/// tool messages up to the user's next message.
fn last_of_round<D: Database>(
    store: &Store<D>,
    turn: i64,
    input: &StoredInput,
    texts: bool,
) -> Result<StoredInput, D::Error> {
    if !texts {
        return Ok(input.clone());
    }
    let until = store.of_user_after(turn, input.seq, 1)?.first().map_or(i64::MAX, |next| next.seq);
    Ok(store.input_before(turn, until)?.unwrap_or_else(|| input.clone()))
}

/// True for the messages of a client that keeps no tool calls and results, or of a conversation without any.
pub fn has_only_texts(incoming: &[Message]) -> bool {
    incoming.iter().all(|message| message.role != Role::Tool && message.tool_calls().next().is_none())
}

/// True when the run begins with the thread's very first input.
fn starts_chain(meeting: &Meeting) -> bool {
    meeting.stored.first().is_some_and(|first| first.chain_hash == chain_hash(None, &first.content_hash))
}

/// Compares a stored answer with the client's copy of it, which may be cut or differ in white space.
fn is_alike(stored: &Message, copy: &Message) -> bool {
    let squeezed = |message: &Message| message.text().split_whitespace().collect::<Vec<_>>().join(" ");
    let calls = |message: &Message| message.tool_calls().map(|call| call.id.clone()).collect::<Vec<_>>();
    let stored = &inner::visible(stored.clone());
    let (stored_text, copy_text) = (squeezed(stored), squeezed(copy));
    calls(stored) == calls(copy) && stored_text.starts_with(copy_text.trim_end_matches(['.', '…', ' ']))
}

/// True when the newest input was never answered and nobody is answering it.
fn is_unanswered<D: Database>(store: &Store<D>, turn: i64, last: &StoredInput) -> Result<bool, D::Error> {
    let over = store
        .turn_at(turn_of(last.seq))?
        .is_some_and(|turn| !matches!(turn.status, TurnStatus::Pending | TurnStatus::Complete));
    Ok(over && store.answer_to(turn, last.seq)?.is_none())
}
