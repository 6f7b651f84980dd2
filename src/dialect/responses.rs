//! OpenAI Responses: <https://platform.openai.com/docs/api-reference/responses>.
//!
//! Invariant: neighbouring items of the assistant (reasoning, text, calls) are one message, so that a conversation
//! looks the same whichever dialect carried it. Item ids are the provider's own and are never replayed, except with
//! sealed reasoning, which is worthless without its id.

use serde_json::{Map, Value, json};

use super::fields::{
    media_from_url, number_at, only_text, take_array, take_string, take_text, url_of_media, without_empty,
};
use super::{Content, Conversation, Delta, Unit};
use crate::body::Body;
use crate::error::Error;
use crate::sse::Event;
use crate::turn::{
    Answer, Ending, Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, Stop, ToolCall,
    ToolResult, Usage,
};

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
        let object: Map<String, Value> = serde_json::from_str(raw.get()).map_err(|error| {
            Error::invalid(&format!("input[{at}]"), format!("input[{at}] must be an object: {error}."))
        })?;
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
    if kind != "message" {
        let (role, part) = read_item_part(&kind, object);
        return Ok(Content::Message(message(role, vec![part])));
    }
    let role = match object.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => return Ok(Content::System),
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => {
            return Err(Error::invalid(
                &format!("input[{at}].role"),
                format!("input[{at}].role must be system, developer, user or assistant."),
            ));
        }
    };
    let parts = object.shift_remove("content").map(read_content).unwrap_or_default();
    let mut read = message(role, parts);
    if role == Role::User {
        for name in ["type", "role", "id", "status"] {
            object.shift_remove(name);
        }
        read.extra = without_empty(object);
    }
    Ok(Content::Message(read))
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
            };
            for name in ["type", "id", "status"] {
                object.shift_remove(name);
            }
            (Role::Assistant, Part { kind: PartKind::ToolCall(call), extra: without_empty(object) })
        }
        "function_call_output" | "custom_tool_call_output" => {
            let content = object.shift_remove("output").map(read_content).unwrap_or_default();
            let call_id = take_text(&mut object, "call_id");
            (
                Role::Tool,
                PartKind::ToolResult(ToolResult { call_id, content, custom, is_error: false }).into(),
            )
        }
        "reasoning" => {
            let mut text = String::new();
            for list in ["summary", "content"] {
                for mut item in take_array(&mut object, list).unwrap_or_default() {
                    if let Some(fields) = item.as_object_mut() {
                        text.push_str(&take_text(fields, "text"));
                    }
                }
            }
            let reasoning = Reasoning {
                text,
                sealed: take_string(&mut object, "encrypted_content"),
                id: take_string(&mut object, "id"),
            };
            (Role::Assistant, PartKind::Reasoning(reasoning).into())
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
        let item = match &part.kind {
            PartKind::ToolCall(call) if call.custom => {
                json!({"type": "custom_tool_call", "call_id": call.id, "name": call.name, "input": call.arguments})
            }
            PartKind::ToolCall(call) => {
                json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments})
            }
            PartKind::ToolResult(result) => {
                let parts: Vec<&Part> = result.content.iter().collect();
                let output = write_content(&parts, Role::User, native);
                let kind = if result.custom { "custom_tool_call_output" } else { "function_call_output" };
                json!({"type": kind, "call_id": result.call_id, "output": output})
            }
            PartKind::Reasoning(Reasoning { text, sealed: Some(sealed), id: Some(id) }) if native => {
                let summary: Vec<Value> = if text.is_empty() {
                    Vec::new()
                } else {
                    vec![json!({"type": "summary_text", "text": text})]
                };
                json!({"type": "reasoning", "id": id, "summary": summary, "encrypted_content": sealed})
            }
            PartKind::Reasoning(_) => continue,
            PartKind::Other(value) if is_item(value) => {
                if !native {
                    continue;
                }
                value.clone()
            }
            _ => {
                spoken.push(part);
                continue;
            }
        };
        flush(&mut spoken, message, native, &mut items);
        items.push(item);
    }
    flush(&mut spoken, message, native, &mut items);
    items
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
    }
    items.push(Value::Object(object));
}

fn write_content(parts: &[&Part], role: Role, native: bool) -> Value {
    if parts.len() <= 1
        && let Some(text) = only_text(parts, native)
    {
        return text.into();
    }
    parts.iter().filter_map(|part| write_part(part, role, native)).collect()
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
    }
    Some(object)
}

/// Reads a whole answer; `None` when it is not a response object.
pub fn read_answer(json: &[u8], origin: &Origin) -> Option<Answer> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let failed = value.get("error").is_some_and(|error| !error.is_null());
    if !failed && value.get("output").is_none() {
        return None;
    }
    Some(read_response(value, origin))
}

/// Reads a response object, as in a whole answer and in the last event of a streamed one.
fn read_response(mut response: Value, origin: &Origin) -> Answer {
    let usage = response.get("usage").filter(|usage| usage.is_object()).map(|usage| Usage {
        input: number_at(usage, &["input_tokens"]),
        output: number_at(usage, &["output_tokens"]),
        cached: number_at(usage, &["input_tokens_details", "cached_tokens"]),
        cache_write: number_at(usage, &["input_tokens_details", "cache_write_tokens"]),
        reasoning: number_at(usage, &["output_tokens_details", "reasoning_tokens"]),
    });
    let failed = response.get("error").is_some_and(|error| !error.is_null());
    let reason = response.pointer("/incomplete_details/reason").and_then(Value::as_str).map(str::to_owned);
    let status = response.get("status").and_then(Value::as_str).unwrap_or("completed").to_owned();
    let mut parts = Vec::new();
    for item in response.as_object_mut().and_then(|object| take_array(object, "output")).unwrap_or_default() {
        let Value::Object(mut item) = item else { continue };
        let kind = item.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
        if kind == "message" {
            parts.extend(item.shift_remove("content").map(read_content).unwrap_or_default());
        } else {
            parts.push(read_item_part(&kind, item).1);
        }
    }
    let calls = parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
    let (ending, stop) = match status.as_str() {
        _ if failed => (Ending::Failed, None),
        "completed" if calls => (Ending::Complete, Some(Stop::ToolCalls)),
        "completed" => (Ending::Complete, Some(Stop::End)),
        "incomplete" => (
            Ending::Complete,
            Some(match reason.as_deref() {
                Some("max_output_tokens") | None => Stop::Length,
                Some("content_filter") => Stop::ContentFilter,
                Some(other) => Stop::Other(other.to_owned()),
            }),
        ),
        "failed" => (Ending::Failed, None),
        // Cancelled, or still queued in the background: what is here is not the whole answer.
        _ => (Ending::Truncated, None),
    };
    let message = (!parts.is_empty())
        .then(|| Message { origin: Some(origin.clone()), ..Message::new(Role::Assistant, parts) });
    Answer { message, usage, stop, ending }
}

/// Reads one event of a streamed answer.
pub fn read_event(event: Event<'_>, origin: &Origin, on_delta: &mut dyn FnMut(Delta)) {
    // Most events only repeat what others say; parsing them would be work for nothing.
    let kind = if event.name.is_empty() { None } else { Some(event.name) };
    if kind.is_some_and(|kind| !is_read(kind)) {
        return;
    }
    let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(event.data) else { return };
    let kind = take_text(&mut object, "type");
    let slot = object.get("output_index").and_then(Value::as_u64).unwrap_or(0);
    let piece = take_text(&mut object, "delta");
    match kind.as_str() {
        "response.output_text.delta" => on_delta(Delta::Text(piece)),
        "response.refusal.delta" => on_delta(Delta::Refusal(piece)),
        "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
            on_delta(Delta::Reasoning(Reasoning { text: piece, ..Reasoning::default() }));
        }
        "response.output_item.added" => {
            let item = object.shift_remove("item").unwrap_or_default();
            if let Value::Object(item) = item
                && let Some("function_call" | "custom_tool_call") = item.get("type").and_then(Value::as_str)
            {
                let kind = item.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
                if let Part { kind: PartKind::ToolCall(call), extra } = read_item_part(&kind, item).1 {
                    on_delta(Delta::ToolCall { slot, call, extra });
                }
            }
        }
        "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
            let custom = kind.starts_with("response.custom");
            let call = ToolCall { id: String::new(), name: String::new(), arguments: piece, custom };
            on_delta(Delta::ToolCall { slot, call, extra: Map::new() });
        }
        "response.completed" | "response.incomplete" | "response.failed" => {
            let answer = read_response(object.shift_remove("response").unwrap_or_default(), origin);
            if let Some(usage) = answer.usage {
                on_delta(Delta::Usage(usage));
            }
            // Some back ends close with an empty `output`; what was streamed then stands.
            if let Some(message) = answer.message {
                on_delta(Delta::Message(message));
            }
            if let Some(stop) = answer.stop {
                on_delta(Delta::Stop(stop));
            }
            on_delta(if kind == "response.failed" { Delta::Failure } else { Delta::End });
        }
        "error" => on_delta(Delta::Failure),
        _ => {}
    }
}

fn is_read(kind: &str) -> bool {
    kind.ends_with(".delta")
        || matches!(
            kind,
            "response.output_item.added"
                | "response.completed"
                | "response.incomplete"
                | "response.failed"
                | "error"
        )
}

/// The event that tells a client that its stream is cut short.
pub fn write_failure(error: &Error) -> String {
    let data = json!({
        "type": "response.failed",
        "response": {
            "object": "response",
            "status": "failed",
            "error": {"code": error.code().unwrap_or(error.type_name()), "message": error.message()},
            "output": [],
        },
    });
    format!("event: response.failed\ndata: {data}\n\n")
}
