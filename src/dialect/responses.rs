//! OpenAI Responses: <https://platform.openai.com/docs/api-reference/responses>.
//!
//! Invariant: neighbouring items of the assistant (reasoning, text, calls) are one message, so that a conversation
//! looks the same whichever dialect carried it. Item ids are the provider's own and are never replayed, except with
//! sealed reasoning, which is worthless without its id.

mod answer;
mod call_seal;
mod client;
mod item;
mod object;
mod request;
mod stream;
mod target;
mod write;

pub use answer::{read_answer, read_event, write_failure};
pub use client::write_answer;
pub use object::echo;
pub use request::{HINTS, NAMES, read_request};
pub use stream::StreamWriter;
pub use target::{TABLE, write_request};
pub use write::write_message;

use self::item::read_item;
use super::fields::read_object;
use super::{Content, Conversation, Unit};
use crate::body::Body;
use crate::error::Error;
use crate::turn::{Message, Origin, Part, Role};

/// Where, among the extras of a text, the fields of the item are kept that it begins: neighbouring items are one message,
/// so they cannot stand with the message.
const ITEM: &str = "message";

/// Checks the form of `input`. A request that continues another, or uses a stored prompt, may leave it out.
/// Errors: 400 that names the field.
pub fn check(body: &Body<'_>) -> Result<(), Error> {
    let may_lack_input = body.has("previous_response_id") || body.has("conversation") || body.has("prompt");
    match body.raw("input").map(|raw| raw.get().trim_start()) {
        None | Some("null") if may_lack_input => Ok(()),
        None | Some("null") => Err(Error::invalid("input", "The field `input` is missing.")),
        Some(text) if text.starts_with('"') || text.starts_with('[') => Ok(()),
        Some(_) => Err(Error::invalid("input", "The field `input` must be a string or an array of items.")),
    }
}

/// Reads the `input` of a request. Errors: 400 that names the item and field.
pub fn read_conversation<'a>(body: &Body<'a>, origin: &Origin) -> Result<Conversation<'a>, Error> {
    check(body)?;
    let Some(input) = body.raw("input").filter(|_| body.has("input")) else {
        return Ok(Conversation { elements: Vec::new(), units: Vec::new() });
    };
    if input.get().starts_with('"') {
        let text = body.string("input")?.unwrap_or_default().into_owned();
        let message =
            Message { origin: Some(origin.clone()), ..Message::new(Role::User, vec![Part::text(text)]) };
        return Ok(Conversation {
            elements: vec![input],
            units: vec![Unit { elements: 0..1, content: Content::Message(message) }],
        });
    }
    let elements = body.array("input")?.unwrap_or_default();
    let mut units: Vec<Unit> = Vec::with_capacity(elements.len());
    for (at, raw) in elements.iter().enumerate() {
        let object = read_object(raw, "input", at)?;
        let content = read_item(object, &format!("input[{at}]"), origin)?;
        if let Content::Message(next) = &content
            && next.role == Role::Assistant
            && let Some(Unit { elements, content: Content::Message(open) }) = units.last_mut()
            && open.role == Role::Assistant
        {
            open.parts.extend(next.parts.iter().cloned());
            elements.end = at + 1;
            continue;
        }
        units.push(Unit { elements: at..at + 1, content });
    }
    for unit in &mut units {
        if let Content::Message(message) = &mut unit.content {
            call_seal::restore(&mut message.parts);
        }
    }
    Ok(Conversation { elements, units })
}
