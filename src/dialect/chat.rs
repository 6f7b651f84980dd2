//! OpenAI Chat Completions: <https://platform.openai.com/docs/api-reference/chat>.
//!
//! Invariant: reading a message and writing it back for the same provider gives what the client sent, but for the
//! wrapping of a single text, and for reasoning that led to no tool call. Of several choices (`n` > 1) the first is the
//! one remembered.

mod answer;
mod client;
mod message;
mod request;
mod server;
mod target;
mod write;

pub use answer::{read_answer, read_event};
pub use client::{StreamWriter, write_answer};
pub use request::{HINTS, NAMES, read_request};
pub use server::has_custom_tools;
pub use target::{TABLE, write_request};
pub use write::write_message;

use serde_json::{Map, Value};

use self::message::{read_content, read_message};
use super::fields::{check_messages, read_messages};
use super::{Content, Conversation};
use crate::body::Body;
use crate::error::Error;
use crate::turn::{Message, Origin, PartKind, Role};

/// The field of reasoning in which DeepSeek and its kin write it; OpenRouter and Groq say `reasoning`.
const REASONING: &str = "reasoning_content";

/// OpenRouter's list of reasoning, seals included:
/// <https://openrouter.ai/docs/use-cases/reasoning-tokens#reasoning_details-array-structure>.
const DETAILS: &str = "reasoning_details";

/// Where, among the extras of reasoning, the name of its field is kept if it is another than [`REASONING`].
const FIELD: &str = "field";

/// Fields of the message, or of the choice, that are kept with the text that they are about.
const OF_TEXT: [&str; 2] = ["annotations", "logprobs"];

/// Reads the `messages` of a request. Errors: 400 that names the message and field.
pub fn read_conversation<'a>(body: &Body<'a>, origin: &Origin) -> Result<Conversation<'a>, Error> {
    check_messages(body)?;
    read_messages(body, |object, at| Ok(vec![read_element(object, at, origin)?]))
}

fn read_element(mut object: Map<String, Value>, at: usize, origin: &Origin) -> Result<Content, Error> {
    let role = match object.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => {
            return Ok(Content::Instruction(
                object.shift_remove("content").map(read_content).unwrap_or_default(),
            ));
        }
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        // The predecessor of `tool`; still accepted by some providers, kept whole.
        Some("function") => {
            let mut message = Message::new(Role::Tool, vec![PartKind::Other(Value::Object(object)).into()]);
            message.origin = Some(origin.clone());
            return Ok(Content::Message(message));
        }
        _ => {
            return Err(Error::invalid(
                &format!("messages[{at}].role"),
                format!("messages[{at}].role must be system, developer, user, assistant or tool."),
            ));
        }
    };
    Ok(Content::Message(read_message(object, role, origin)))
}

/// The event that tells a client that its stream is cut short. No `[DONE]` follows it.
pub fn write_failure(error: &Error) -> String {
    format!("data: {}\n\n", error.body())
}
