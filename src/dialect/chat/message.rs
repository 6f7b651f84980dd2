//! Messages of clients and of answers, read.
//!
//! Invariant: what has no word in the hub stays among the extras under its wire name; reasoning that carries a seal of ours
//! is taken from where the seal is, everything else from where its provider wrote it.

use serde_json::{Map, Value, json};

use super::{DETAILS, FIELD, REASONING};
use crate::dialect::fields::{
    media_from_url, take_array, take_object, take_string, take_text, without_empty,
};
use crate::seal;
use crate::turn::{Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult};

/// Reads a message object whose role is known.
pub fn read_message(mut object: Map<String, Value>, role: Role, origin: &Origin) -> Message {
    object.shift_remove("role");
    let name = take_string(&mut object, "name");
    let content = object.shift_remove("content").map(read_content).unwrap_or_default();
    let mut parts = Vec::new();
    if role == Role::Tool {
        let call_id = take_text(&mut object, "tool_call_id");
        parts.push(
            PartKind::ToolResult(ToolResult { call_id, content, custom: false, is_error: false }).into(),
        );
    } else {
        if let Some(sealed) = read_sealed(&mut object) {
            parts.extend(sealed);
        } else if let Some((reasoning, extra)) = read_reasoning(&mut object)
            // DeepSeek wants even the empty reasoning of a call back.
            && (!reasoning.text.is_empty() || object.contains_key("tool_calls"))
        {
            parts.push(Part { kind: PartKind::Reasoning(reasoning), extra });
        }
        parts.extend(content);
        if let Some(Part { kind: PartKind::Text(_), extra }) = parts.last_mut()
            && let Some(annotations) = take_array(&mut object, "annotations").filter(|list| !list.is_empty())
        {
            extra.insert("annotations".into(), annotations.into());
        }
        // Snowflake writes an empty refusal under every answer.
        if object.get("refusal").is_some_and(|text| text != "")
            && let Some(text) = take_string(&mut object, "refusal")
        {
            parts.push(PartKind::Refusal(text).into());
        }
        for call in take_array(&mut object, "tool_calls").unwrap_or_default() {
            parts.push(read_tool_call(call));
        }
    }
    Message { role, parts, name, origin: Some(origin.clone()), extra: without_empty(object) }
}

/// Reads reasoning from the field that the provider wrote it in, and remembers which one if it is not the usual one.
pub fn read_reasoning(object: &mut Map<String, Value>) -> Option<(Reasoning, Map<String, Value>)> {
    let long = take_string(object, REASONING);
    let short = take_string(object, "reasoning");
    let mut extra = Map::new();
    let text = match (long, short) {
        (Some(long), short) if !long.is_empty() || short.is_none() => long,
        (_, Some(short)) => {
            extra.insert(FIELD.to_owned(), "reasoning".into());
            short
        }
        // Snowflake has the list and nothing beside it.
        _ => {
            let text = text_of_details(object)?;
            extra.insert(FIELD.to_owned(), DETAILS.into());
            text
        }
    };
    Some((Reasoning { text, ..Reasoning::default() }, extra))
}

/// The words of `reasoning_details`, which stay where they are; `None` where there are none.
fn text_of_details(object: &Map<String, Value>) -> Option<String> {
    let details = object.get(DETAILS)?.as_array()?;
    let text: String = details
        .iter()
        .filter_map(|detail| detail.get("text").or_else(|| detail.get("summary")).and_then(Value::as_str))
        .collect();
    (!text.is_empty()).then_some(text)
}

/// Takes `reasoning_details` that a client brings back with seals that we wrapped; `None` where it holds none, and is the
/// provider's own. The words beside it say the same again.
fn read_sealed(object: &mut Map<String, Value>) -> Option<Vec<Part>> {
    let seal_of = |detail: &Value| {
        ["signature", "data"].iter().find_map(|name| detail.get(name)?.as_str().map(str::to_owned))
    };
    let ours = object
        .get(DETAILS)
        .and_then(Value::as_array)?
        .iter()
        .any(|detail| seal_of(detail).is_some_and(|seal| seal::is_wrapped(&seal)));
    if !ours {
        return None;
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut last = None;
    for detail in take_array(object, DETAILS)? {
        let text = ["text", "summary"].iter().find_map(|name| detail.get(name)?.as_str()).unwrap_or_default();
        let index = detail.get("index").and_then(Value::as_u64);
        let sealed = seal_of(&detail);
        // Some clients keep the pieces of a stream apart.
        if index.is_some()
            && index == last
            && let Some(PartKind::Reasoning(known)) = parts.last_mut().map(|part| &mut part.kind)
        {
            known.text.push_str(text);
            known.sealed = sealed.or(known.sealed.take());
            continue;
        }
        last = index;
        let id = detail.get("id").and_then(Value::as_str).map(str::to_owned);
        parts.push(PartKind::Reasoning(Reasoning { text: text.to_owned(), sealed, id }).into());
    }
    object.shift_remove(REASONING);
    object.shift_remove("reasoning");
    Some(parts)
}

/// Reads a content: a text, or parts.
pub fn read_content(content: Value) -> Vec<Part> {
    match content {
        Value::String(text) => vec![Part::text(text)],
        Value::Array(items) => items.into_iter().map(read_part).collect(),
        _ => Vec::new(),
    }
}

/// Reads one part of a content.
pub fn read_part(value: Value) -> Part {
    let Value::Object(mut object) = value else { return PartKind::Other(value).into() };
    let kind = match object.get("type").and_then(Value::as_str) {
        Some("text") if object.get("text").is_some_and(Value::is_string) => {
            PartKind::Text(take_text(&mut object, "text"))
        }
        Some("refusal") if object.get("refusal").is_some_and(Value::is_string) => {
            PartKind::Refusal(take_text(&mut object, "refusal"))
        }
        Some("image_url") => match object.get("image_url").and_then(|image| image.get("url")) {
            Some(Value::String(_)) => {
                let mut image = take_object(&mut object, "image_url").unwrap_or_default();
                let mut media = media_from_url(take_text(&mut image, "url"));
                media.detail = take_string(&mut image, "detail");
                PartKind::Image(media)
            }
            _ => return PartKind::Other(Value::Object(object)).into(),
        },
        Some("input_audio") => match object.get("input_audio").and_then(|audio| audio.get("data")) {
            Some(Value::String(_)) => {
                let mut audio = take_object(&mut object, "input_audio").unwrap_or_default();
                PartKind::Audio(Media {
                    source: Source::Data(take_text(&mut audio, "data")),
                    media_type: take_string(&mut audio, "format"),
                    name: None,
                    detail: None,
                })
            }
            _ => return PartKind::Other(Value::Object(object)).into(),
        },
        Some("file") => {
            let mut file = take_object(&mut object, "file").unwrap_or_default();
            let name = take_string(&mut file, "filename");
            let media = match (take_string(&mut file, "file_id"), take_string(&mut file, "file_data")) {
                (Some(id), _) => Media { source: Source::FileId(id), media_type: None, name, detail: None },
                (None, Some(data)) => Media { name, ..media_from_url(data) },
                (None, None) => {
                    object.insert("file".into(), Value::Object(file));
                    return PartKind::Other(Value::Object(object)).into();
                }
            };
            PartKind::File(media)
        }
        Some("thinking") => match take_thought(&mut object) {
            Some(text) => {
                object.insert(FIELD.into(), "thinking".into());
                PartKind::Reasoning(Reasoning { text, ..Reasoning::default() })
            }
            None => return PartKind::Other(Value::Object(object)).into(),
        },
        _ => return PartKind::Other(Value::Object(object)).into(),
    };
    object.shift_remove("type");
    Part { kind, extra: without_empty(object) }
}

/// Takes the words of a thinking part of Mistral's (`{"thinking":[{"type":"text","text"}]}`), if it holds one text and no
/// more: <https://docs.mistral.ai/capabilities/reasoning/>.
fn take_thought(object: &mut Map<String, Value>) -> Option<String> {
    let pieces = object.get("thinking").and_then(Value::as_array)?;
    let [Value::Object(piece)] = pieces.as_slice() else { return None };
    let plain = piece.len() == 2 && piece.get("type").is_some_and(|kind| kind == "text");
    let text = piece.get("text").and_then(Value::as_str).filter(|_| plain)?.to_owned();
    object.shift_remove("thinking");
    Some(text)
}

/// Reads a tool call, or a piece of one.
pub fn read_tool_call(value: Value) -> Part {
    let Value::Object(mut object) = value else { return PartKind::Other(value).into() };
    // The pieces of a stream have no type.
    let custom = match object.get("type").and_then(Value::as_str) {
        Some(kind) => kind == "custom",
        None => object.contains_key("custom"),
    };
    let (field, arguments) = if custom { ("custom", "input") } else { ("function", "arguments") };
    let mut function = take_object(&mut object, field).unwrap_or_default();
    let call = ToolCall {
        id: take_text(&mut object, "id"),
        name: take_text(&mut function, "name"),
        arguments: match function.shift_remove(arguments) {
            Some(Value::String(text)) => text,
            // Some model servers send the object itself.
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        },
        custom,
        sealed: take_signature(&mut object),
    };
    object.shift_remove("type");
    object.shift_remove("index");
    Part { kind: PartKind::ToolCall(call), extra: without_empty(object) }
}

/// Gemini's signature of a call, as its OpenAI-compatible API and we write it. What stands beside it stays.
fn take_signature(object: &mut Map<String, Value>) -> Option<String> {
    let beside = object.get("extra_content")?;
    let signature = beside.pointer("/google/thought_signature").and_then(Value::as_str)?.to_owned();
    if seal::is_wrapped(&signature) || *beside == signed(&signature) {
        object.shift_remove("extra_content");
    }
    Some(signature)
}

/// The field `extra_content` of a call that carries a signature:
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>.
pub fn signed(signature: &str) -> Value {
    json!({"google": {"thought_signature": signature}})
}
