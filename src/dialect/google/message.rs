//! The conversation of a request, read: `contents`.
//!
//! Invariant: a user's content that brings results is read as one tool message for each and a user message for what is
//! said beside them, so that a conversation looks the same whichever dialect carried it.

use serde_json::{Map, Value};

use super::camel_names;
use super::part;
use super::result;
use crate::body::Body;
use crate::dialect::fields::{read_object, take_array};
use crate::dialect::{Content, Conversation, Unit};
use crate::error::Error;
use crate::turn::{Message, Origin, Part, Role};

/// Reads the `contents` of a request. Errors: 400 that names the content and field.
pub fn read_conversation<'a>(body: &Body<'a>, origin: &Origin) -> Result<Conversation<'a>, Error> {
    let elements = body.array("contents")?.unwrap_or_default();
    if elements.is_empty() {
        return Err(Error::invalid(
            "contents",
            "The field `contents` is missing or empty. Send one content at least.",
        ));
    }
    let mut units = Vec::with_capacity(elements.len());
    for (at, raw) in elements.iter().enumerate() {
        for mut message in read_content(read_object(raw, "contents", at)?, at)? {
            message.origin = Some(origin.clone());
            units.push(Unit { elements: at..at + 1, content: Content::Message(message) });
        }
    }
    Ok(Conversation { elements, units })
}

fn read_content(object: Map<String, Value>, at: usize) -> Result<Vec<Message>, Error> {
    let mut object = camel_names(object);
    let role = match object.get("role").map(|role| role.as_str().unwrap_or_default()) {
        None | Some("user" | "function") => Role::User,
        Some("model") => Role::Assistant,
        Some(_) => {
            return Err(Error::invalid(
                &format!("contents[{at}].role"),
                format!(
                    "contents[{at}].role must be user or model. Instructions belong into `systemInstruction`."
                ),
            ));
        }
    };
    let parts = take_array(&mut object, "parts").unwrap_or_default();
    if role == Role::Assistant {
        return Ok(vec![Message::new(role, parts.into_iter().map(part::read).collect())]);
    }
    let mut messages: Vec<Message> = Vec::new();
    for value in parts {
        match result::read(value) {
            Ok(result) => messages.push(Message::new(Role::Tool, vec![result])),
            Err(value) => {
                let part: Part = part::read(value);
                match messages.last_mut() {
                    Some(open) if open.role == Role::User => open.parts.push(part),
                    _ => messages.push(Message::new(Role::User, vec![part])),
                }
            }
        }
    }
    if messages.is_empty() {
        messages.push(Message::new(Role::User, Vec::new()));
    }
    Ok(messages)
}
