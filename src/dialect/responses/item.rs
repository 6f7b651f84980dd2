//! Items of a conversation, read: what stands in `input`, and in a response's `output`.
//!
//! Invariant: fields without a word in the hub stay with their part, except ids and states, which are the provider's own.

use serde_json::{Map, Value};

use super::ITEM;
use super::write::write_summary;
use crate::dialect::Content;
use crate::dialect::fields::{media_from_url, take_string, take_text, without_empty};
use crate::error::Error;
use crate::turn::{Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult};

/// What stands between the parts of a summary: each is a paragraph of its own.
pub(super) const PARAGRAPH: &str = "\n\n";

/// Reads one item of a conversation. Errors: 400 that names the item and field.
pub(super) fn read_item(
    mut object: Map<String, Value>,
    place: &str,
    origin: &Origin,
) -> Result<Content, Error> {
    let message = |role, parts| Message { origin: Some(origin.clone()), ..Message::new(role, parts) };
    let kind = object.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
    // Texts, and tools that are added on the way.
    if let Some("system" | "developer") = object.get("role").and_then(Value::as_str) {
        return Ok(Content::Instruction(
            object.shift_remove("content").map(read_content).unwrap_or_default(),
        ));
    }
    if kind != "message" {
        let (role, part) = read_item_part(&kind, object);
        return Ok(Content::Message(message(role, vec![part])));
    }
    let role = match object.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => {
            return Err(Error::invalid(
                &format!("{place}.role"),
                format!("{place}.role must be system, developer, user or assistant."),
            ));
        }
    };
    if role == Role::Assistant {
        return Ok(Content::Message(message(role, read_spoken(object))));
    }
    let mut read = message(role, object.shift_remove("content").map(read_content).unwrap_or_default());
    read.extra = item_fields(object);
    Ok(Content::Message(read))
}

/// Reads what the assistant says in one item.
pub(super) fn read_spoken(mut item: Map<String, Value>) -> Vec<Part> {
    let mut parts = item.shift_remove("content").map(read_content).unwrap_or_default();
    let fields = item_fields(item);
    if let Some(first) = parts.first_mut().filter(|_| !fields.is_empty()) {
        first.extra.insert(ITEM.to_owned(), fields.into());
    }
    parts
}

/// The fields of an item that have no word in the hub and may go back: its id and status may not.
fn item_fields(mut item: Map<String, Value>) -> Map<String, Value> {
    for name in ["type", "role", "id", "status"] {
        item.shift_remove(name);
    }
    without_empty(item)
}

/// Reads an item that is not a message: whose it is, and the part that it becomes.
pub(super) fn read_item_part(kind: &str, mut object: Map<String, Value>) -> (Role, Part) {
    let custom = kind.starts_with("custom_");
    match kind {
        "function_call" | "custom_tool_call" => {
            let call = ToolCall {
                id: take_text(&mut object, "call_id"),
                name: take_text(&mut object, "name"),
                arguments: take_text(&mut object, if custom { "input" } else { "arguments" }),
                custom,
                sealed: None,
            };
            (Role::Assistant, Part { kind: PartKind::ToolCall(call), extra: item_fields(object) })
        }
        "function_call_output" | "custom_tool_call_output" => {
            let content = object.shift_remove("output").map(read_content).unwrap_or_default();
            let call_id = take_text(&mut object, "call_id");
            let result = ToolResult { call_id, content, custom, is_error: false };
            (Role::Tool, Part { kind: PartKind::ToolResult(result), extra: item_fields(object) })
        }
        "reasoning" => {
            let texts = |list: &str| {
                let items = object.get(list).and_then(Value::as_array).into_iter().flatten();
                let texts: Vec<&str> =
                    items.filter_map(|item| item.get("text").and_then(Value::as_str)).collect();
                texts.join(PARAGRAPH)
            };
            let (summary, content) = (texts("summary"), texts("content"));
            // A single summary can be written again from its text.
            if content.is_empty() && object.get("summary") == Some(&write_summary(&summary)) {
                object.shift_remove("summary");
            }
            let text = if summary.is_empty() { content } else { summary };
            let reasoning = Reasoning {
                text,
                sealed: take_string(&mut object, "encrypted_content"),
                id: take_string(&mut object, "id"),
            };
            (Role::Assistant, Part { kind: PartKind::Reasoning(reasoning), extra: item_fields(object) })
        }
        // Results of tools that the client runs end in `_output`; all else comes from the model or the provider.
        _ => {
            let role = if kind.ends_with("_output") { Role::Tool } else { Role::Assistant };
            (role, PartKind::Other(Value::Object(object)).into())
        }
    }
}

pub(super) fn read_content(content: Value) -> Vec<Part> {
    match content {
        Value::String(text) => vec![Part::text(text)],
        Value::Array(items) => items.into_iter().map(read_part).collect(),
        _ => Vec::new(),
    }
}

fn read_part(value: Value) -> Part {
    let Value::Object(mut object) = value else { return PartKind::Other(value).into() };
    let kind = match object.get("type").and_then(Value::as_str) {
        Some("input_text" | "output_text") if object.get("text").is_some_and(Value::is_string) => {
            PartKind::Text(take_text(&mut object, "text"))
        }
        Some("refusal") if object.get("refusal").is_some_and(Value::is_string) => {
            PartKind::Refusal(take_text(&mut object, "refusal"))
        }
        Some("input_image") => {
            let detail = take_string(&mut object, "detail");
            match (take_string(&mut object, "file_id"), take_string(&mut object, "image_url")) {
                (Some(id), _) => PartKind::Image(Media {
                    source: Source::FileId(id),
                    media_type: None,
                    name: None,
                    detail,
                }),
                (None, Some(url)) => PartKind::Image(Media { detail, ..media_from_url(url) }),
                (None, None) => return PartKind::Other(Value::Object(object)).into(),
            }
        }
        Some("input_file") => {
            let name = take_string(&mut object, "filename");
            let id = take_string(&mut object, "file_id");
            let url = take_string(&mut object, "file_data").or_else(|| take_string(&mut object, "file_url"));
            match (id, url) {
                (Some(id), _) => {
                    PartKind::File(Media { source: Source::FileId(id), media_type: None, name, detail: None })
                }
                (None, Some(url)) => PartKind::File(Media { name, ..media_from_url(url) }),
                (None, None) => return PartKind::Other(Value::Object(object)).into(),
            }
        }
        _ => return PartKind::Other(Value::Object(object)).into(),
    };
    object.shift_remove("type");
    Part { kind, extra: without_empty(object) }
}
