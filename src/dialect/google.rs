//! Gemini's own API, generateContent: <https://ai.google.dev/api/generate-content>.

use serde_json::Value;

use super::{Conversation, Delta};
use crate::body::Body;
use crate::error::Error;
use crate::request::{Entry, Field, Handling, Request};
use crate::sse::Event;
use crate::turn::{Answer, Message, Origin};

/// What the fields are called here.
pub const NAMES: &[(Field, &str)] = &[];
/// What becomes of each field of a request of another dialect.
pub const TABLE: &[(Field, Handling)] = &[];
/// Fields without a word in the hub that other dialects can do without.
pub const HINTS: &[&str] = &[];

/// Reads the conversation of a request.
pub fn read_conversation<'a>(_body: &Body<'a>, _origin: &Origin) -> Result<Conversation<'a>, Error> {
    Ok(Conversation { elements: Vec::new(), units: Vec::new() })
}

/// Reads a request whose conversation is already known. Errors: 400 that names the field.
pub fn read_request(_body: &Body<'_>, entries: Vec<Entry>) -> Result<Request, Error> {
    Ok(Request { entries, ..Request::default() })
}

/// Writes a request. Errors: 400 that names the place of a part that cannot be said.
pub fn write_request(_request: &Request, _target: &Origin) -> Result<Value, Error> {
    Ok(Value::Null)
}

/// Writes a stored message as elements of `contents`.
pub fn write_message(_message: &Message, _target: &Origin) -> Vec<Value> {
    Vec::new()
}

/// Reads a whole answer; `None` when it is not one.
pub fn read_answer(_json: &[u8], _origin: &Origin) -> Option<Answer> {
    None
}

/// Reads one event of a streamed answer.
pub fn read_event(_event: Event<'_>, _on_delta: &mut dyn FnMut(Delta)) {}
