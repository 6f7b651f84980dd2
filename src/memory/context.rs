//! What the model is shown: the stored conversation woven into the messages of a request.
//!
//! Invariant: nothing is shown twice, the client's own bytes are kept wherever they say the same, and a tool's result
//! always stands right behind its call, as providers demand.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::gap::marked;
use super::reconcile::{Place, has_only_texts};
use super::store::StoredMessage;
use crate::tokens;
use crate::turn::{Message, Part, PartKind, Role, ToolResult};

/// What a model is told where a tool's result never came.
const NO_RESULT: &str = "No result was recorded for this call.";

/// One message of the prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// The client's message with this index, as sent.
    Keep(usize),
    /// A stored message.
    Insert(Message),
    /// A stored message in the place of the client's copy of it.
    Replace(usize, Message),
}

/// What is woven.
#[derive(Debug, Default)]
pub struct Threads<'a> {
    /// The stored conversation, in order. Messages that notes stand for are in it as far as the client sent copies of them,
    /// which are left out.
    pub conversation: Vec<StoredMessage>,
    /// The client's messages.
    pub incoming: &'a [Message],
    /// Where each of them stands.
    pub places: &'a [Place],
    /// The place that the first new one of them gets, and the next ones behind it.
    pub first_new: i64,
    /// The marks of pauses, by the place of the message that they stand before.
    pub gaps: BTreeMap<i64, String>,
}

/// Weaves the conversation into the incoming messages.
pub fn weave(threads: Threads<'_>) -> Vec<Item> {
    let Threads { conversation, incoming, places, first_new, gaps } = threads;
    let mut stored: VecDeque<StoredMessage> = conversation.into();
    let mut items = Vec::with_capacity(stored.len() + incoming.len());
    let insert = |stored: StoredMessage| {
        let gap = gaps.get(&stored.seq);
        let message = readable(stored)?;
        Some(Item::Insert(gap.and_then(|gap| marked(&message, gap)).unwrap_or(message)))
    };
    let keep =
        |at: usize, message: &Message, seq: i64| match gaps.get(&seq).and_then(|gap| marked(message, gap)) {
            Some(marked) => Item::Replace(at, marked),
            None => Item::Keep(at),
        };
    let texts = has_only_texts(incoming);
    if let Some(start) = window_start(&stored, places, texts) {
        items.extend(stored.drain(..start).filter_map(insert));
    }
    let mut new = first_new;
    for (at, (message, place)) in incoming.iter().zip(places).enumerate() {
        if texts && *place == Place::Answer {
            let ahead = count_ahead(&stored, places.get(at..).unwrap_or_default());
            items.extend(stored.drain(..ahead).filter_map(insert));
        }
        match place {
            Place::Stored(seq) => {
                while let Some(before) = stored.pop_front_if(|next| next.seq < *seq) {
                    items.extend(insert(before));
                }
                let known = stored.pop_front_if(|next| next.seq == *seq);
                if known.is_none_or(|known| !known.covered) {
                    items.push(keep(at, message, *seq));
                }
            }
            Place::Answer => match stored.pop_front_if(|next| next.message.role == Role::Assistant) {
                Some(answer) if answer.covered => {}
                Some(answer)
                    if answer.content_hash == message.content_hash()
                        && !lost_thoughts(&answer.message, message) =>
                {
                    items.push(Item::Keep(at));
                }
                Some(answer) => items.extend(readable(answer).map(|message| Item::Replace(at, message))),
                None => items.push(Item::Keep(at)),
            },
            Place::Outside => items.push(Item::Keep(at)),
            Place::New => {
                items.extend(stored.drain(..).filter_map(insert));
                items.push(keep(at, message, new));
                new += 1;
            }
        }
    }
    items.extend(stored.drain(..).filter_map(insert));
    pair_tools(items, incoming)
}

/// Where in the conversation a client's window begins, if it begins with answers: before the stored answers that they
/// are copies of, so that each finds its own.
fn window_start(stored: &VecDeque<StoredMessage>, places: &[Place], texts: bool) -> Option<usize> {
    let copies = places.iter().take_while(|place| **place == Place::Answer).count();
    let Some(Place::Stored(first)) = places.get(copies).filter(|_| copies > 0) else { return None };
    let question = stored.iter().position(|message| message.seq == *first)?;
    let (mut start, mut left) = (question, copies);
    for (at, message) in stored.iter().enumerate().take(question).rev() {
        match message.message.role {
            Role::Assistant if left > 0 => (start, left) = (at, left - 1),
            Role::Tool if texts => {}
            _ => break,
        }
    }
    Some(start)
}

/// How many stored messages come ahead of the one that the first of these copies is of, where the client keeps only texts:
/// calls that it has no copies of, and results. Its last copy is of the last answer before the user's next message.
fn count_ahead(stored: &VecDeque<StoredMessage>, places: &[Place]) -> usize {
    let copies = places.iter().take_while(|place| **place == Place::Answer).count();
    let answers = || {
        let round = stored.iter().enumerate().take_while(|(_, next)| next.message.role != Role::User);
        round.filter(|(_, next)| next.message.role == Role::Assistant).map(|(at, _)| at)
    };
    answers().nth(answers().count().saturating_sub(copies)).unwrap_or(0)
}

/// Wire fields without a word in the hub that carry thoughts: OpenRouter's, and Google's in its two forms.
const FIELDS_OF_THOUGHT: [&str; 3] = ["reasoning_details", "extra_content", "thoughtSignature"];

/// True when the client's copy of an answer lacks thoughts that its provider wants back: many clients drop them. Of use
/// only where the same provider is asked again.
fn lost_thoughts(stored: &Message, copy: &Message) -> bool {
    let provider = |message: &Message| message.origin.as_ref().map(|origin| origin.provider.clone());
    let has_thoughts =
        |extra: &Map<String, Value>| FIELDS_OF_THOUGHT.iter().any(|name| extra.contains_key(*name));
    let seals = |message: &Message| {
        has_thoughts(&message.extra)
            || message.parts.iter().any(|part| match &part.kind {
                PartKind::Reasoning(reasoning) => reasoning.sealed.is_some(),
                PartKind::ToolCall(call) => call.sealed.is_some() || has_thoughts(&part.extra),
                _ => has_thoughts(&part.extra),
            })
    };
    // Models that think between calls want their thoughts back with the calls, sealed or not.
    let thinks = |message: &Message| {
        message.tool_calls().next().is_some()
            && message.parts.iter().any(|part| matches!(part.kind, PartKind::Reasoning(_)))
    };
    provider(stored) == provider(copy)
        && ((seals(stored) && !seals(copy)) || (thinks(stored) && !thinks(copy)))
}

/// Estimated tokens of a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Of what was added to the client's own messages.
    pub added: u64,
    /// Of all that is shown; `None` where pictures, sound or files are among it.
    pub shown: Option<u64>,
}

/// What the items weigh.
pub fn weight(items: &[Item], incoming: &[Message]) -> Weight {
    let mut weight = Weight { added: 0, shown: Some(0) };
    for item in items {
        let Some(message) = of(item, incoming) else { continue };
        let tokens = tokens::of_message(message);
        if !matches!(item, Item::Keep(_)) {
            weight.added += tokens;
        }
        weight.shown = weight.shown.filter(|_| !tokens::holds_media(message)).map(|shown| shown + tokens);
    }
    weight
}

/// A stored message as a model can take it: an answer that was cut short loses the calls whose arguments are torn, and
/// the calls of the provider's own tools that it has no result of; `None` when nothing is left.
fn readable(stored: StoredMessage) -> Option<Message> {
    let mut message = stored.message;
    if stored.incomplete {
        let answered: Vec<String> =
            message.parts.iter().filter_map(|part| field(part, "tool_use_id")).collect();
        message.parts.retain(|part| match &part.kind {
            PartKind::ToolCall(call) => {
                serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments).is_ok()
                    && !call.name.is_empty()
            }
            PartKind::Other(_) => {
                let is_call = field(part, "type").is_some_and(|kind| kind.ends_with("_tool_use"));
                !is_call || field(part, "id").is_some_and(|id| answered.contains(&id))
            }
            _ => true,
        });
    }
    (!message.parts.is_empty()).then_some(message)
}

/// A text field of a part that is kept whole.
fn field(part: &Part, name: &str) -> Option<String> {
    let PartKind::Other(value) = &part.kind else { return None };
    value.get(name).and_then(|value| value.as_str()).map(str::to_owned)
}

/// Puts each stored tool result behind its call, answers calls that never got one, and drops results without a call.
/// Parallel turns on one thread, and answers cut short, leave such gaps.
fn pair_tools(items: Vec<Item>, incoming: &[Message]) -> Vec<Item> {
    let mut rest: VecDeque<Item> = items.into();
    let mut out: Vec<Item> = Vec::with_capacity(rest.len());
    while let Some(item) = rest.pop_front() {
        if matches!(&item, Item::Insert(message) if answers_any(message)) {
            // Not right behind its call: results that belong to one were taken along with it below.
            continue;
        }
        let calls: Vec<(String, bool)> = of(&item, incoming)
            .map(|message| {
                // A result of the gateway's own tool stands in the message that called it.
                let calls = message.tool_calls().filter(|call| !answers(message, &call.id));
                calls.map(|call| (call.id.clone(), call.custom)).collect()
            })
            .unwrap_or_default();
        let kept = matches!(item, Item::Keep(_));
        out.push(item);
        for (id, custom) in calls {
            let result = rest
                .iter()
                .position(|later| of(later, incoming).is_some_and(|message| answers(message, &id)));
            match result.and_then(|at| rest.remove(at)) {
                Some(mut result) => {
                    // Only Responses tells the results of custom tools from others; what came through chat does not.
                    if let Item::Insert(message) = &mut result {
                        for part in &mut message.parts {
                            if let PartKind::ToolResult(result) = &mut part.kind
                                && result.call_id == id
                            {
                                result.custom = custom;
                            }
                        }
                    }
                    out.push(result);
                }
                None if kept => {}
                None => out.push(Item::Insert(unanswered(id, custom))),
            }
        }
    }
    out
}

fn of<'a>(item: &'a Item, incoming: &'a [Message]) -> Option<&'a Message> {
    match item {
        Item::Keep(at) => incoming.get(*at),
        Item::Insert(message) | Item::Replace(_, message) => Some(message),
    }
}

fn answers(message: &Message, call_id: &str) -> bool {
    message.tool_results().any(|result| result.call_id == call_id)
}

fn answers_any(message: &Message) -> bool {
    message.role == Role::Tool && message.tool_results().next().is_some()
}

fn unanswered(call_id: String, custom: bool) -> Message {
    let result = ToolResult { call_id, content: vec![Part::text(NO_RESULT)], custom, is_error: false };
    Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_cut_short_loses_the_calls_that_nothing_answers() {
        let other = |value| Part::from(PartKind::Other(value));
        let parts = vec![
            other(json!({"type": "server_tool_use", "id": "s1", "input": {"query": "q"}})),
            other(json!({"type": "web_search_tool_result", "tool_use_id": "s1", "content": []})),
            Part::text("said"),
            other(json!({"type": "server_tool_use", "id": "s2", "input": {}})),
        ];
        let stored = |incomplete| StoredMessage {
            seq: 1,
            id: String::new(),
            content_hash: String::new(),
            chain_hash: None,
            incomplete,
            superseded_by: None,
            covered: false,
            tokens: 0,
            created_at: 0,
            message: Message::new(Role::Assistant, parts.clone()),
        };
        assert_eq!(readable(stored(true)).map(|message| message.parts), Some(parts[..3].to_vec()));
        assert_eq!(readable(stored(false)).map(|message| message.parts.len()), Some(4));
    }
}
