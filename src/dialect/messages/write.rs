//! Stored messages, written as elements of `messages`.
//!
//! Invariant: what is written is what the API takes, wherever the message came from: no blank texts, no unsigned
//! thinking, no media of a type it does not know, and ids and names in its alphabet. Signatures, cache hints and blocks
//! without a word in the hub go back only to the provider that they came from.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::dialect::fields::only_text;
use crate::turn::{Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult};

/// The picture types that the API takes.
const IMAGE_TYPES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Writes a stored message as elements of `messages`; none when it holds nothing that the API takes.
pub fn write_message(message: &Message, target: &Origin) -> Vec<Value> {
    let native = message.is_native_to(target);
    // The API takes no message of the assistant that ends in thinking, as one does that was cut short there.
    let end = match message.role {
        Role::Assistant => message
            .parts
            .iter()
            .rposition(|part| !matches!(part.kind, PartKind::Reasoning(_)))
            .map_or(0, |last| last + 1),
        Role::User | Role::Tool => message.parts.len(),
    };
    let Some(content) = write_content(message.parts.get(..end).unwrap_or_default(), native) else {
        return Vec::new();
    };
    let mut object = Map::new();
    object.insert("role".into(), if message.role == Role::Assistant { "assistant" } else { "user" }.into());
    object.insert("content".into(), content);
    if native {
        object.extend(message.extra.clone());
    }
    vec![Value::Object(object)]
}

/// A single text as a string, all else as blocks; `None` when nothing is left.
fn write_content(parts: &[Part], native: bool) -> Option<Value> {
    if let [part] = parts
        && let Some(text) = only_text(&[part], native)
    {
        return (!text.trim().is_empty()).then(|| text.into());
    }
    let blocks: Vec<Value> = parts.iter().filter_map(|part| write_block(part, native)).collect();
    (!blocks.is_empty()).then(|| blocks.into())
}

fn write_block(part: &Part, native: bool) -> Option<Value> {
    let mut object = match &part.kind {
        PartKind::Text(text) | PartKind::Refusal(text) if text.trim().is_empty() => return None,
        PartKind::Text(text) | PartKind::Refusal(text) => json!({"type": "text", "text": text}),
        PartKind::Image(media) => json!({"type": "image", "source": image_source(media, native)?}),
        PartKind::File(media) => {
            let mut document = json!({"type": "document", "source": document_source(media, native)?});
            if let (Some(name), Value::Object(fields)) = (&media.name, &mut document) {
                fields.insert("title".into(), name.clone().into());
            }
            document
        }
        PartKind::Audio(_) => return None,
        PartKind::ToolCall(call) => {
            json!({"type": "tool_use", "id": legal(&call.id), "name": legal(&call.name), "input": input(call)})
        }
        PartKind::ToolResult(result) => write_result(result, native),
        PartKind::Reasoning(Reasoning { sealed: Some(data), .. })
            if native && part.extra.get("type").is_some_and(|kind| kind == "redacted_thinking") =>
        {
            json!({"type": "redacted_thinking", "data": data})
        }
        PartKind::Reasoning(Reasoning { text, sealed: Some(signature), .. }) if native => {
            json!({"type": "thinking", "thinking": text, "signature": signature})
        }
        PartKind::Reasoning(_) => return None,
        PartKind::Other(value) if native => value.clone(),
        PartKind::Other(_) => return None,
    };
    if let (true, Value::Object(fields)) = (native, &mut object) {
        fields.extend(part.extra.clone());
    }
    Some(object)
}

fn write_result(result: &ToolResult, native: bool) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), "tool_result".into());
    object.insert("tool_use_id".into(), legal(&result.call_id).into());
    if let Some(content) = write_content(&result.content, native) {
        object.insert("content".into(), content);
    }
    if result.is_error {
        object.insert("is_error".into(), true.into());
    }
    Value::Object(object)
}

/// The arguments as the object that the API wants. Free text, and what is no object, stands in a field of one.
fn input(call: &ToolCall) -> Value {
    match serde_json::from_str(call.written_arguments()) {
        Ok(Value::Object(fields)) if !call.custom => Value::Object(fields),
        Ok(other) if !call.custom => json!({ "input": other }),
        _ => json!({ "input": call.arguments }),
    }
}

/// An id or a name in the API's alphabet. Other providers' ids hold dots and colons; a call and its result change alike.
fn legal(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    name.chars()
        .map(|char| if char.is_ascii_alphanumeric() || matches!(char, '_' | '-') { char } else { '_' })
        .collect()
}

fn image_source(media: &Media, native: bool) -> Option<Value> {
    let media_type = media.media_type.as_deref().unwrap_or("image/png");
    match &media.source {
        Source::Url(url) => Some(json!({"type": "url", "url": url})),
        Source::Data(data) => (native || IMAGE_TYPES.contains(&media_type))
            .then(|| json!({"type": "base64", "media_type": media_type, "data": data})),
        Source::FileId(id) => native.then(|| json!({"type": "file", "file_id": id})),
    }
}

fn document_source(media: &Media, native: bool) -> Option<Value> {
    let media_type = media.media_type.as_deref().unwrap_or("application/pdf");
    match &media.source {
        Source::Url(url) => Some(json!({"type": "url", "url": url})),
        Source::Data(data) if media_type.starts_with("text/") => {
            let text = String::from_utf8(STANDARD.decode(data).ok()?).ok()?;
            Some(json!({"type": "text", "media_type": "text/plain", "data": text}))
        }
        Source::Data(data) => (native || media_type == "application/pdf")
            .then(|| json!({"type": "base64", "media_type": media_type, "data": data})),
        Source::FileId(id) => native.then(|| json!({"type": "file", "file_id": id})),
    }
}
