//! OpenAI Responses: <https://platform.openai.com/docs/api-reference/responses>.
//!
//! Invariant: neighbouring items of the assistant (reasoning, text, calls) are one message, so that a conversation
//! looks the same whichever dialect carried it. Item ids are the provider's own and are never replayed, except with
//! sealed reasoning, which is worthless without its id.

mod answer;
mod client;
mod request;
mod target;

pub use answer::{read_answer, read_event, write_failure};
pub use client::{StreamWriter, write_answer};
pub use request::{HINTS, NAMES, read_request};
pub use target::{TABLE, write_request};

use serde_json::{Map, Value, json};

use super::fields::{media_from_url, read_object, take_string, take_text, url_of_media, without_empty};
use super::{Content, Conversation, Unit};
use crate::body::Body;
use crate::error::Error;
use crate::turn::{Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult};

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
        let content = read_item(object, at, origin)?;
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
    Ok(Conversation { elements, units })
}

fn read_item(mut object: Map<String, Value>, at: usize, origin: &Origin) -> Result<Content, Error> {
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
                &format!("input[{at}].role"),
                format!("input[{at}].role must be system, developer, user or assistant."),
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
fn read_spoken(mut item: Map<String, Value>) -> Vec<Part> {
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
fn read_item_part(kind: &str, mut object: Map<String, Value>) -> (Role, Part) {
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
                items.filter_map(|item| item.get("text").and_then(Value::as_str)).collect::<String>()
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

fn read_content(content: Value) -> Vec<Part> {
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

/// Writes a stored message as items of `input`.
pub fn write_message(message: &Message, target: &Origin) -> Vec<Value> {
    let native = message.is_native_to(target);
    let mut items = Vec::new();
    let mut spoken: Vec<&Part> = Vec::new();
    for part in &message.parts {
        let mut item = match &part.kind {
            PartKind::ToolCall(call) if call.custom => {
                json!({"type": "custom_tool_call", "call_id": call.id, "name": call.name, "input": call.arguments})
            }
            PartKind::ToolCall(call) => {
                json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.written_arguments()})
            }
            PartKind::ToolResult(result) => {
                let parts: Vec<&Part> = result.content.iter().collect();
                let output = write_content(&parts, Role::User, native);
                let kind = if result.custom { "custom_tool_call_output" } else { "function_call_output" };
                json!({"type": kind, "call_id": result.call_id, "output": output})
            }
            PartKind::Reasoning(reasoning) if native && is_replayable(reasoning, part) => {
                let text = if part.extra.contains_key("content") { "" } else { reasoning.text.as_str() };
                let mut item =
                    json!({"type": "reasoning", "id": reasoning.id, "summary": write_summary(text)});
                if let (Some(sealed), Value::Object(fields)) = (&reasoning.sealed, &mut item) {
                    fields.insert("encrypted_content".into(), sealed.clone().into());
                }
                item
            }
            PartKind::Reasoning(_) => continue,
            PartKind::Other(value) if is_item(value) => {
                if !native {
                    continue;
                }
                value.clone()
            }
            _ => {
                if native && part.extra.contains_key(ITEM) {
                    flush(&mut spoken, message, native, &mut items);
                }
                spoken.push(part);
                continue;
            }
        };
        if let (true, Value::Object(fields)) = (native, &mut item) {
            fields.extend(part.extra.clone());
        }
        flush(&mut spoken, message, native, &mut items);
        items.push(item);
    }
    flush(&mut spoken, message, native, &mut items);
    items
}

/// True for reasoning that its provider can take back: sealed, or shown in full. The rest is known to it by id alone, and
/// only as long as it keeps the response.
fn is_replayable(reasoning: &Reasoning, part: &Part) -> bool {
    reasoning.id.is_some() && (reasoning.sealed.is_some() || part.extra.contains_key("content"))
}

fn write_summary(text: &str) -> Value {
    if text.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": text}]) }
}

/// True for a part that was an item of its own, false for one from inside a message's content.
fn is_item(value: &Value) -> bool {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    !kind.starts_with("input_") && !kind.starts_with("output_") && kind != "refusal"
}

fn flush(spoken: &mut Vec<&Part>, message: &Message, native: bool, items: &mut Vec<Value>) {
    let parts = std::mem::take(spoken);
    if parts.is_empty() {
        return;
    }
    let mut object = Map::new();
    object.insert("role".into(), if message.role == Role::Assistant { "assistant" } else { "user" }.into());
    object.insert("content".into(), write_content(&parts, message.role, native));
    if native {
        object.extend(message.extra.clone());
        if let Some(Value::Object(fields)) = parts.first().and_then(|part| part.extra.get(ITEM)) {
            object.extend(fields.clone());
        }
    }
    items.push(Value::Object(object));
}

fn write_content(parts: &[&Part], role: Role, native: bool) -> Value {
    // One text is a string; several stay apart, so that nothing is glued that was not.
    match parts {
        [] => "".into(),
        [Part { kind: PartKind::Text(text), extra }] if !native || extra.keys().all(|name| name == ITEM) => {
            text.as_str().into()
        }
        _ => parts.iter().filter_map(|part| write_part(part, role, native)).collect(),
    }
}

fn write_part(part: &Part, role: Role, native: bool) -> Option<Value> {
    let mut object = match &part.kind {
        PartKind::Text(text) if role == Role::Assistant => {
            json!({"type": "output_text", "text": text, "annotations": []})
        }
        PartKind::Text(text) => json!({"type": "input_text", "text": text}),
        PartKind::Refusal(text) => json!({"type": "refusal", "refusal": text}),
        PartKind::Image(media) => {
            let mut image = match &media.source {
                Source::FileId(id) => json!({"type": "input_image", "file_id": id}),
                _ => json!({"type": "input_image", "image_url": url_of_media(media)?}),
            };
            if let Value::Object(fields) = &mut image {
                fields.insert(
                    "detail".into(),
                    media.detail.clone().unwrap_or_else(|| "auto".to_owned()).into(),
                );
            }
            image
        }
        PartKind::File(media) => {
            let mut file = match &media.source {
                Source::FileId(id) => json!({"type": "input_file", "file_id": id}),
                Source::Url(url) => json!({"type": "input_file", "file_url": url}),
                Source::Data(_) => json!({"type": "input_file", "file_data": url_of_media(media)?}),
            };
            if let (Some(name), Value::Object(fields)) = (&media.name, &mut file) {
                fields.insert("filename".into(), name.clone().into());
            }
            file
        }
        PartKind::Other(value) if native => return Some(value.clone()),
        _ => return None,
    };
    if let (true, Value::Object(fields)) = (native, &mut object) {
        fields.extend(part.extra.clone());
        fields.shift_remove(ITEM);
    }
    Some(object)
}

/// Stands in.
pub fn echo(_body: &Body<'_>) -> Map<String, Value> {
    Map::new()
}
