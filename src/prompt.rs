//! Writes the woven conversation back into the request's body.
//!
//! Invariant: what the client sent keeps its bytes and its place; system texts that led the request lead it still, and
//! one from further down stays in front of the message that it preceded.

use serde_json::Value;

use crate::body::{Body, Edit};
use crate::dialect::{Content, Conversation, Dialect, Unit};
use crate::memory::context::Item;
use crate::turn::Message;

/// The messages of a request, system texts left out: what [`Item`]s count by.
pub fn messages(conversation: &Conversation<'_>) -> Vec<Message> {
    conversation
        .units
        .iter()
        .filter_map(|unit| match &unit.content {
            Content::Message(message) => Some(message.clone()),
            Content::System => None,
        })
        .collect()
}

/// The edit that puts the items in the place of the request's messages; `None` when nothing changes.
pub fn edit(
    dialect: Dialect,
    body: &Body<'_>,
    conversation: &Conversation<'_>,
    items: &[Item],
    provider: &str,
) -> Option<Edit> {
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
    let mut writer = Writer { dialect, conversation, provider, next_system: 0, elements: Vec::new() };
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
    Some(body.set(dialect.conversation_field(), format!("[{}]", writer.elements.join(","))))
}

struct Writer<'a> {
    dialect: Dialect,
    conversation: &'a Conversation<'a>,
    provider: &'a str,
    /// System texts before this unit are written.
    next_system: usize,
    elements: Vec<String>,
}

impl Writer<'_> {
    fn systems_before(&mut self, end: usize) {
        for at in self.next_system..end {
            if matches!(self.conversation.units.get(at), Some(Unit { content: Content::System, .. })) {
                self.sent(at);
            }
        }
        self.next_system = self.next_system.max(end);
    }

    /// A unit of the request, as it was sent.
    fn sent(&mut self, at: usize) {
        let Some(unit) = self.conversation.units.get(at) else { return };
        for raw in self.conversation.elements.get(unit.elements.clone()).unwrap_or_default() {
            let text = raw.get();
            // Responses' `input` may be a bare string, which is short for one message of the user.
            self.elements.push(if text.starts_with('"') {
                format!("{{\"role\":\"user\",\"content\":{text}}}")
            } else {
                text.to_owned()
            });
        }
    }

    fn stored(&mut self, message: &Message) {
        let written = self.dialect.write_message(message, self.provider);
        self.elements.extend(written.iter().map(Value::to_string));
    }
}
