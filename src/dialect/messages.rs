//! Anthropic Messages: <https://docs.anthropic.com/en/api/messages>. This file reads requests.
//!
//! Invariant: reading a message and writing it back for the same provider gives what the client sent, but for the
//! wrapping of a single text, the spelling of an object (`is_error: false`, null and empty fields) and blank texts,
//! which the API refuses. A user's element that brings tool results is read as one tool message for each and a user
//! message for what is said beside them, so that a conversation looks the same whichever dialect carried it.

mod answer;
mod block;
mod client;
mod conversation;
mod model;
mod request;
mod schema;
mod target;
mod write;

pub use answer::{read_answer, read_event};
pub use client::{StreamWriter, write_answer, write_failure};
pub use request::{HINTS, NAMES, read_request};
pub use target::{TABLE, write_request};
pub use write::write_message;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use self::block::read_content;
use super::fields::{check_messages, read_messages, without_empty};
use super::{Content, Conversation};
use crate::body::Body;
use crate::error::Error;
use crate::turn::{Message, Origin, Part, PartKind, Role};

/// True when the request goes on with a conversation that the provider keeps: `thread` of the type `continue`.
pub fn continues_upstream(body: &Body<'_>) -> bool {
    body.raw("thread")
        .and_then(|thread| Body::parse(thread.get().as_bytes()).ok())
        .and_then(|thread| thread.string("type").ok().flatten().map(|kind| kind == "continue"))
        .unwrap_or(false)
}

/// Checks the form of `messages`. A request that continues another may add none. Errors: 400 that names the field.
pub fn check(body: &Body<'_>) -> Result<(), Error> {
    let adds_none = continues_upstream(body) && body.array("messages")?.is_some_and(|added| added.is_empty());
    if adds_none { Ok(()) } else { check_messages(body) }
}

/// Reads the `messages` of a request. Errors: 400 that names the message and field.
pub fn read_conversation<'a>(body: &Body<'a>, origin: &Origin) -> Result<Conversation<'a>, Error> {
    check(body)?;
    read_messages(body, |object, at| read_element(object, at, origin))
}

fn read_element(mut object: Map<String, Value>, at: usize, origin: &Origin) -> Result<Vec<Content>, Error> {
    let role = match object.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        // Newer models take instructions and tools between the messages, too, beside the field `system`.
        Some("system") => {
            let parts = object.shift_remove("content").map(read_content).unwrap_or_default();
            return Ok(vec![Content::Instruction(parts)]);
        }
        _ => {
            return Err(Error::invalid(
                &format!("messages[{at}].role"),
                format!(
                    "messages[{at}].role must be user or assistant. Instructions belong into the field `system`, tool \
                     results into a user message."
                ),
            ));
        }
    };
    object.shift_remove("role");
    let parts = object.shift_remove("content").map(read_content).unwrap_or_default();
    let mut messages = divided(role, parts);
    if let Some(last) = messages.last_mut() {
        last.extra = without_empty(object);
    }
    for message in &mut messages {
        message.origin = Some(origin.clone());
    }
    Ok(messages.into_iter().map(Content::Message).collect())
}

/// A user's parts as messages: each tool result is one of its own. There is always at least one message.
fn divided(role: Role, parts: Vec<Part>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for part in parts {
        let is_result = role == Role::User && matches!(part.kind, PartKind::ToolResult(_));
        match messages.last_mut() {
            _ if is_result => messages.push(Message::new(Role::Tool, vec![part])),
            Some(open) if open.role == role => open.parts.push(part),
            _ => messages.push(Message::new(role, vec![part])),
        }
    }
    if messages.is_empty() {
        messages.push(Message::new(role, Vec::new()));
    }
    messages
}

/// Two elements as one where the first holds nothing but tool results and the second begins with one: all results of a
/// turn's calls must stand in the element right behind it. Blocks keep their bytes, and so do the second's other fields.
pub fn join(before: &str, after: &str) -> Option<String> {
    let before = Body::parse(before.as_bytes()).ok()?;
    let after = Body::parse(after.as_bytes()).ok()?;
    let of_user = |body: &Body<'_>| body.string("role").ok().flatten().as_deref() == Some("user");
    if !of_user(&before) || !of_user(&after) {
        return None;
    }
    let results = before.array("content").ok()??;
    let rest = after.array("content").ok()??;
    if results.is_empty() || !results.iter().all(|block| is_result(block)) || !is_result(rest.first()?) {
        return None;
    }
    let blocks: Vec<&str> = results.iter().chain(&rest).map(|block| block.get()).collect();
    let edit = after.set("content", format!("[{}]", blocks.join(",")));
    String::from_utf8(after.edited(vec![edit])).ok()
}

/// Words of the user's to put before a conversation that begins with this element, when it is the assistant's: the API
/// wants the user to begin.
pub fn opening(first: &str) -> Option<String> {
    let first = Body::parse(first.as_bytes()).ok()?;
    let by_assistant = first.string("role").ok()?? == "assistant";
    by_assistant.then(|| json!({"role": "user", "content": conversation::FILLER}).to_string())
}

fn is_result(block: &RawValue) -> bool {
    Body::parse(block.get().as_bytes())
        .ok()
        .and_then(|block| block.string("type").ok().flatten().map(|kind| kind == "tool_result"))
        .unwrap_or(false)
}
