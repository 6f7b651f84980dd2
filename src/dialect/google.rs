//! Gemini's own API, generateContent: <https://ai.google.dev/api/generate-content>. Spoken to providers only.
//!
//! Invariant: reading a content and writing it back for the same provider gives what was sent, but for the spelling of
//! names (`camelCase`, as the API's reference has them; `snake_case` is read as well), empty texts, and empty `args`.
//! Parts without a word in the hub (code that Google ran, its own tools) stay whole.

pub mod answer;
mod call_piece;
mod config;
mod grounding;
mod message;
mod model;
mod part;
mod request;
mod result;
mod schema;
mod signature;
mod target;
mod thinking;
mod tool;
mod write;

pub use answer::{read_answer, read_event};
pub use message::read_conversation;
pub use request::{HINTS, NAMES, read_request};
pub use target::{TABLE, write_request};
pub use write::write_message;

use serde_json::{Map, Value};

/// The path of a call below a provider's base, which ends with the API's version. A bare name is one of `models/`;
/// `models/x` and `tunedModels/x` are taken as they are.
pub fn path(model: &str, stream: bool) -> String {
    let (folder, name) = match model.split_once('/') {
        Some((folder @ ("models" | "tunedModels"), name)) => (folder, name),
        _ => ("models", model),
    };
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    format!("/{folder}/{encoded}:{method}")
}

/// An object with its own names in `camelCase`. What is inside its values stays: arguments are the tool's own.
fn camel_names(object: Map<String, Value>) -> Map<String, Value> {
    object.into_iter().map(|(name, value)| (camel(&name), value)).collect()
}

fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut words = name.split('_');
    out.push_str(words.next().unwrap_or_default());
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}
