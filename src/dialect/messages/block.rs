//! Content blocks of Messages, as they are read.
//!
//! Invariant: nothing is taken out of a block before it is sure what the block is; one that has no word in the hub
//! (server tools, search results, what is yet to come) stays whole.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::dialect::fields::{take_object, take_string, take_text, without_empty};
use crate::seal::is_wrapped;
use crate::turn::{Media, Part, PartKind, Reasoning, Source, ToolCall, ToolResult};

/// Reads the content of a message or of a tool result.
pub fn read_content(content: Value) -> Vec<Part> {
    match content {
        Value::String(text) => vec![Part::text(text)],
        Value::Array(blocks) => with_seals(blocks.into_iter().map(read_block).collect()),
        _ => Vec::new(),
    }
}

/// Puts the seals of calls back into their calls. Messages has no place for one in a call, so a client gets it as
/// redacted thinking right before (see the module `client`).
fn with_seals(parts: Vec<Part>) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::with_capacity(parts.len());
    for mut part in parts {
        if let PartKind::ToolCall(call) = &mut part.kind
            && let Some(Part { kind: PartKind::Reasoning(reasoning), extra }) = out.last()
            && extra.get("type").is_some_and(|kind| kind == "redacted_thinking")
            && reasoning.sealed.as_deref().is_some_and(is_wrapped)
        {
            call.sealed = reasoning.sealed.clone();
            out.pop();
        }
        out.push(part);
    }
    out
}

/// Reads one block.
pub fn read_block(value: Value) -> Part {
    let Value::Object(mut object) = value else { return PartKind::Other(value).into() };
    let has_text = |name: &str| object.get(name).is_some_and(Value::is_string);
    let kind = match object.get("type").and_then(Value::as_str) {
        Some("text") if has_text("text") => PartKind::Text(take_text(&mut object, "text")),
        Some("thinking") if has_text("thinking") => PartKind::Reasoning(Reasoning {
            text: take_text(&mut object, "thinking"),
            sealed: take_string(&mut object, "signature").filter(|seal| !seal.is_empty()),
            id: None,
        }),
        Some("redacted_thinking") if has_text("data") => {
            let sealed = take_string(&mut object, "data");
            // The type stays among the extras: it tells this seal from a signature.
            let kind = PartKind::Reasoning(Reasoning { sealed, ..Reasoning::default() });
            return Part { kind, extra: without_empty(object) };
        }
        Some("image") => match take_media(&mut object) {
            Some(media) => PartKind::Image(media),
            None => return PartKind::Other(Value::Object(object)).into(),
        },
        Some("document") => match take_media(&mut object) {
            Some(media) => PartKind::File(Media { name: take_string(&mut object, "title"), ..media }),
            None => return PartKind::Other(Value::Object(object)).into(),
        },
        Some("tool_use") if object.get("input").is_some_and(Value::is_object) => {
            PartKind::ToolCall(ToolCall {
                id: take_text(&mut object, "id"),
                name: take_text(&mut object, "name"),
                arguments: Value::from(take_object(&mut object, "input").unwrap_or_default()).to_string(),
                ..ToolCall::default()
            })
        }
        Some("tool_result") => {
            let is_error = object.shift_remove("is_error").as_ref().and_then(Value::as_bool);
            PartKind::ToolResult(ToolResult {
                call_id: take_text(&mut object, "tool_use_id"),
                content: object.shift_remove("content").map(read_content).unwrap_or_default(),
                custom: false,
                is_error: is_error.unwrap_or(false),
            })
        }
        _ => return PartKind::Other(Value::Object(object)).into(),
    };
    object.shift_remove("type");
    Part { kind, extra: without_empty(object) }
}

/// Takes the `source` of an image or a document, if it is one that the hub knows whole.
fn take_media(object: &mut Map<String, Value>) -> Option<Media> {
    let source = object.get("source")?.as_object()?;
    let form = source.get("type")?.as_str()?.to_owned();
    let field = match form.as_str() {
        "base64" | "text" => "data",
        "url" => "url",
        "file" => "file_id",
        _ => return None,
    };
    let known = |name: &String| matches!(name.as_str(), "type" | "media_type") || name == field;
    if !source.get(field).is_some_and(Value::is_string) || !source.keys().all(known) {
        return None;
    }
    let mut source = take_object(object, "source")?;
    let value = take_text(&mut source, field);
    Some(Media {
        source: match form.as_str() {
            // The other dialects have only encoded documents.
            "text" => Source::Data(STANDARD.encode(value)),
            "base64" => Source::Data(value),
            "url" => Source::Url(value),
            _ => Source::FileId(value),
        },
        media_type: take_string(&mut source, "media_type"),
        name: None,
        detail: None,
    })
}
