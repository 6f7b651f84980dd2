//! Writes the woven conversation, and what memory tells beside it, back into the request's body.
//!
//! Invariant: what the client sent keeps its bytes and its place, unless a stored message has to come into the middle of
//! an element or become part of it; system texts that led the request lead it still, and one from further down stays in
//! front of the message that it preceded. The same conversation with the same texts is written in the same bytes, so that
//! each request begins with the one before it.

mod cache_hints;
mod inject;

pub use cache_hints::with_cache_hints;
pub use inject::inject;

use std::ops::Range;

use serde_json::value::RawValue;

use crate::body::{Body, Edit};
use crate::dialect::{Content, Conversation, Dialect, Unit};
use crate::memory::context::Item;
use crate::protocol::Injection;
use crate::request::Entry;
use crate::tokens;
use crate::turn::{Message, Part, PartKind};

/// Who a prompt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// The model's name there.
    pub model: &'a str,
}

/// The messages of a request, system texts left out: what [`Item`]s count by.
pub fn messages(conversation: &Conversation<'_>) -> Vec<Message> {
    conversation
        .units
        .iter()
        .filter_map(|unit| match &unit.content {
            Content::Message(message) => Some(message.clone()),
            Content::Instruction(_) => None,
        })
        .collect()
}

/// The edits that put the items in the place of the request's messages, and the injection behind the instructions that
/// lead it; none when nothing changes.
pub fn edit(
    dialect: Dialect,
    body: &Body<'_>,
    conversation: &Conversation<'_>,
    items: &[Item],
    injection: &Injection,
    target: Target<'_>,
) -> Vec<Edit> {
    let woven = weave(dialect, conversation, items, target.provider);
    if injection.is_empty() {
        return woven.map(|elements| set_conversation(dialect, body, &elements)).into_iter().collect();
    }
    if dialect == Dialect::Messages {
        let conversation = woven.map(|elements| set_conversation(dialect, body, &elements));
        return conversation.into_iter().chain(inject::into_system(body, injection)).collect();
    }
    let mut elements =
        woven.unwrap_or_else(|| conversation.elements.iter().map(|raw| as_sent(raw)).collect());
    inject::into_elements(dialect, &mut elements, count_leading(conversation), injection, target);
    vec![set_conversation(dialect, body, &elements)]
}

fn set_conversation(dialect: Dialect, body: &Body<'_>, elements: &[String]) -> Edit {
    body.set(dialect.conversation_field(), format!("[{}]", elements.join(",")))
}

/// The elements of a request whose messages the items take the place of; `None` when nothing changes.
fn weave(
    dialect: Dialect,
    conversation: &Conversation<'_>,
    items: &[Item],
    provider: &str,
) -> Option<Vec<String>> {
    let places: Vec<usize> = conversation
        .units
        .iter()
        .enumerate()
        .filter(|(_, unit)| matches!(unit.content, Content::Message(_)))
        .map(|(at, _)| at)
        .collect();
    let unchanged = items.len() == places.len()
        && items.iter().enumerate().all(|(at, item)| matches!(item, Item::Keep(kept) if *kept == at));
    if unchanged {
        return None;
    }
    let mut writer =
        Writer { dialect, conversation, provider, next_system: 0, open: 0..0, elements: Vec::new() };
    writer.systems_before(places.first().copied().unwrap_or(conversation.units.len()));
    for item in items {
        match item {
            Item::Keep(at) => {
                if let Some(place) = places.get(*at) {
                    writer.systems_before(*place);
                    writer.sent(*place);
                }
            }
            Item::Replace(at, message) => {
                if let Some(place) = places.get(*at) {
                    writer.systems_before(*place);
                }
                writer.stored(message);
            }
            Item::Insert(message) => writer.stored(message),
        }
    }
    writer.systems_before(conversation.units.len());
    writer.close();
    let mut elements: Vec<String> = writer.elements.into_iter().map(|element| element.json).collect();
    let led = count_leading(conversation);
    if let Some(opening) = elements.get(led).and_then(|first| dialect.opening(first)) {
        elements.insert(led, opening);
    }
    Some(elements)
}

/// How many elements hold the instructions that lead a request.
fn count_leading(conversation: &Conversation<'_>) -> usize {
    let led = conversation.units.iter().take_while(|unit| matches!(unit.content, Content::Instruction(_)));
    led.last().map_or(0, |unit| unit.elements.end)
}

/// An element as the client sent it. Responses' `input` may be a bare string, which is short for one message of the user.
fn as_sent(raw: &RawValue) -> String {
    let text = raw.get();
    if text.starts_with('"') { format!("{{\"role\":\"user\",\"content\":{text}}}") } else { text.to_owned() }
}

/// Estimated tokens of what a request says beside its messages: its instructions, wherever they stand, and its tools.
pub fn outside_tokens(conversation: &Conversation<'_>, body: &Body<'_>) -> u64 {
    let inside: u64 = conversation
        .units
        .iter()
        .filter_map(|unit| match &unit.content {
            Content::Instruction(parts) => Some(parts),
            Content::Message(_) => None,
        })
        .flatten()
        .map(|part| match &part.kind {
            PartKind::Text(text) => tokens::of_text(text),
            _ => 0,
        })
        .sum();
    let fields = ["system", "instructions", "tools", "functions", "response_format", "text"];
    let beside: u64 =
        fields.into_iter().filter_map(|field| body.raw(field)).map(|raw| tokens::of_text(raw.get())).sum();
    inside + beside
}

/// How many messages a request holds, system texts left out.
pub fn count_messages(conversation: &Conversation<'_>) -> usize {
    conversation.units.iter().filter(|unit| matches!(unit.content, Content::Message(_))).count()
}

/// The items with those messages written anew that carry sealed thoughts of another provider, or in a form that only we
/// read: a provider would refuse them as they are.
pub fn unsealed(conversation: &Conversation<'_>, items: Vec<Item>) -> Vec<Item> {
    let sent: Vec<&Message> = conversation
        .units
        .iter()
        .filter_map(|unit| match &unit.content {
            Content::Message(message) => Some(message),
            Content::Instruction(_) => None,
        })
        .collect();
    items
        .into_iter()
        .map(|item| match item {
            Item::Keep(at) => match sent.get(at).filter(|message| message.has_wrapped_seals()) {
                Some(message) => Item::Replace(at, (*message).clone()),
                None => Item::Keep(at),
            },
            other => other,
        })
        .collect()
}

/// The items as the entries of a request that is written anew: instructions stay in front of the message that they
/// preceded.
pub fn entries(dialect: Dialect, conversation: Conversation<'_>, items: Vec<Item>) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::with_capacity(conversation.units.len() + items.len());
    let mut sent: Vec<Option<Message>> = Vec::new();
    // What stands in front of each message: instructions, and the message's place in the request.
    let mut before: Vec<(Vec<Entry>, String)> = Vec::new();
    let mut waiting = Vec::new();
    for unit in conversation.units {
        match unit.content {
            Content::Instruction(parts) => waiting.push(Entry::Instruction(parts)),
            Content::Message(message) => {
                let place = format!("{}[{}]", dialect.conversation_field(), unit.elements.start);
                before.push((std::mem::take(&mut waiting), place));
                sent.push(Some(message));
            }
        }
    }
    let mut led = 0;
    let mut lead = |out: &mut Vec<Entry>, at: usize| {
        for (instructions, _) in before.iter_mut().take(at + 1).skip(led) {
            out.append(instructions);
        }
        led = led.max(at + 1);
        before.get(at).map(|(_, place)| place.clone())
    };
    lead(&mut out, 0);
    for item in items {
        match item {
            Item::Keep(at) => {
                let place = lead(&mut out, at);
                if let Some(message) = sent.get_mut(at).and_then(Option::take) {
                    out.push(Entry::Message { message, place });
                }
            }
            Item::Replace(at, message) => {
                lead(&mut out, at);
                out.push(stored_entry(message));
            }
            Item::Insert(message) => out.push(stored_entry(message)),
        }
    }
    lead(&mut out, sent.len());
    out.extend(waiting);
    out
}

fn stored_entry(mut message: Message) -> Entry {
    message.parts.iter_mut().for_each(forget_cache_hints);
    Entry::Message { message, place: None }
}

fn forget_cache_hints(part: &mut Part) {
    part.extra.shift_remove("cache_control");
    if let PartKind::ToolResult(result) = &mut part.kind {
        result.content.iter_mut().for_each(forget_cache_hints);
    }
}

struct Writer<'a> {
    dialect: Dialect,
    conversation: &'a Conversation<'a>,
    provider: &'a str,
    /// System texts before this unit are written.
    next_system: usize,
    /// Units of one element that are to be written as they were sent, if none of the element's is missing.
    open: Range<usize>,
    elements: Vec<Element>,
}

struct Element {
    json: String,
    /// True for the client's own bytes.
    sent: bool,
}

impl Writer<'_> {
    fn systems_before(&mut self, end: usize) {
        for at in self.next_system..end {
            if matches!(self.conversation.units.get(at), Some(Unit { content: Content::Instruction(_), .. }))
            {
                self.sent(at);
            }
        }
        self.next_system = self.next_system.max(end);
    }

    /// A unit of the request, as it was sent.
    fn sent(&mut self, at: usize) {
        if self.open.end == at
            && self.element_of(at).is_some()
            && self.element_of(at) == self.element_of(self.open.start)
        {
            self.open.end = at + 1;
            return;
        }
        self.close();
        self.open = at..at + 1;
    }

    /// The elements that a unit consists of.
    fn element_of(&self, at: usize) -> Option<&Range<usize>> {
        self.conversation.units.get(at).map(|unit| &unit.elements)
    }

    /// Writes the open units: as sent if they are all of their element, else from what was read.
    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open.is_empty() {
            return;
        }
        let conversation = self.conversation;
        let Some(elements) = conversation.units.get(open.start).map(|unit| &unit.elements) else { return };
        let outside = |at: Option<usize>| at.and_then(|at| self.element_of(at)) != Some(elements);
        if outside(open.start.checked_sub(1)) && outside(Some(open.end)) {
            for raw in conversation.elements.get(elements.clone()).unwrap_or_default() {
                self.add(as_sent(raw), true);
            }
            return;
        }
        for unit in conversation.units.get(open).unwrap_or_default() {
            if let Content::Message(message) = &unit.content {
                self.written(message);
            }
        }
    }

    /// A stored message, without the cache hints that it was sent with: they belong to their own request, providers take
    /// only a few, and a prefix is found again without them.
    fn stored(&mut self, message: &Message) {
        self.close();
        let mut message = message.clone();
        message.parts.iter_mut().for_each(forget_cache_hints);
        self.written(&message);
    }

    fn written(&mut self, message: &Message) {
        for value in self.dialect.write_message(message, self.provider) {
            self.add(value.to_string(), false);
        }
    }

    fn add(&mut self, json: String, sent: bool) {
        if let Some(last) = self.elements.last_mut()
            && !(sent && last.sent)
            && let Some(joined) = self.dialect.join(&last.json, &json)
        {
            *last = Element { json: joined, sent: false };
            return;
        }
        self.elements.push(Element { json, sent });
    }
}
