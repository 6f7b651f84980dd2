//! OpenAI Chat Completions: <https://platform.openai.com/docs/api-reference/chat>.
//!
//! Invariant: reading a message and writing it back for the same provider gives what the client sent, but for the
//! wrapping of a single text, and for reasoning that led to no tool call. Of several choices (`n` > 1) the first is the
//! one remembered.

mod client;
mod request;
mod target;

pub use client::{StreamWriter, write_answer};
pub use request::{HINTS, NAMES, read_request};
pub use target::{TABLE, write_request};

use serde_json::{Map, Value, json};

use super::fields::{
    failure_text, media_from_url, number_at, only_text, read_messages, take_array, take_object, take_string,
    take_text, url_of_media, without_empty,
};
use super::{Content, Conversation, Delta};
use crate::body::Body;
use crate::error::Error;
use crate::sse::Event;
use crate::turn::{
    Answer, Ending, Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, Stop, ToolCall,
    ToolResult, Usage,
};

/// Reads the `messages` of a request. Errors: 400 that names the message and field.
pub fn read_conversation<'a>(body: &Body<'a>, origin: &Origin) -> Result<Conversation<'a>, Error> {
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

/// Reads a message object whose role is known.
fn read_message(mut object: Map<String, Value>, role: Role, origin: &Origin) -> Message {
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
        // DeepSeek wants even the empty reasoning of a call back.
        if let Some((reasoning, extra)) = read_reasoning(&mut object)
            && (!reasoning.text.is_empty() || object.contains_key("tool_calls"))
        {
            parts.push(Part { kind: PartKind::Reasoning(reasoning), extra });
        }
        parts.extend(content);
        if let Some(text) = take_string(&mut object, "refusal") {
            parts.push(PartKind::Refusal(text).into());
        }
        for call in take_array(&mut object, "tool_calls").unwrap_or_default() {
            parts.push(read_tool_call(call));
        }
    }
    Message { role, parts, name, origin: Some(origin.clone()), extra: without_empty(object) }
}

/// The field of reasoning in which DeepSeek and its kin write it; OpenRouter and Groq say `reasoning`.
const REASONING: &str = "reasoning_content";

/// Where, among the extras of reasoning, the name of its field is kept if it is another than [`REASONING`].
const FIELD: &str = "field";

fn read_reasoning(object: &mut Map<String, Value>) -> Option<(Reasoning, Map<String, Value>)> {
    let long = take_string(object, REASONING);
    let short = take_string(object, "reasoning");
    let mut extra = Map::new();
    let text = match (long, short) {
        (Some(long), short) if !long.is_empty() || short.is_none() => long,
        (_, Some(short)) => {
            extra.insert(FIELD.to_owned(), "reasoning".into());
            short
        }
        _ => return None,
    };
    Some((Reasoning { text, ..Reasoning::default() }, extra))
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
        _ => return PartKind::Other(Value::Object(object)).into(),
    };
    object.shift_remove("type");
    Part { kind, extra: without_empty(object) }
}

fn read_tool_call(value: Value) -> Part {
    let Value::Object(mut object) = value else { return PartKind::Other(value).into() };
    let custom = object.get("type").and_then(Value::as_str) == Some("custom");
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
        sealed: None,
    };
    object.shift_remove("type");
    object.shift_remove("index");
    Part { kind: PartKind::ToolCall(call), extra: without_empty(object) }
}

/// Writes a stored message as elements of `messages`.
pub fn write_message(message: &Message, target: &Origin) -> Vec<Value> {
    let native = message.is_native_to(target);
    if let [Part { kind: PartKind::Other(value), .. }] = message.parts.as_slice()
        && value.get("role").is_some()
    {
        return if native { vec![value.clone()] } else { Vec::new() };
    }
    if message.role == Role::Tool {
        return message.tool_results().map(|result| write_tool_result(result, message, native)).collect();
    }
    let mut object = Map::new();
    object.insert("role".into(), message.role.as_str().into());
    let calls: Vec<Value> = message.parts.iter().filter_map(|part| write_tool_call(part, native)).collect();
    let spoken: Vec<&Part> = message
        .parts
        .iter()
        .filter(|part| match part.kind {
            PartKind::ToolCall(_) | PartKind::ToolResult(_) | PartKind::Reasoning(_) => false,
            // `refusal` is a field of its own beside the content.
            PartKind::Refusal(_) => message.role == Role::User,
            _ => true,
        })
        .collect();
    let refusal: Option<&String> = message.parts.iter().find_map(|part| match &part.kind {
        PartKind::Refusal(text) if message.role == Role::Assistant => Some(text),
        _ => None,
    });
    let content = write_content(&spoken, native);
    if message.role == Role::Assistant && calls.is_empty() && refusal.is_none() && is_blank(&content) {
        // Nothing that another model could read: reasoning only, or a part of another dialect.
        return Vec::new();
    }
    let content = if spoken.is_empty() && message.role == Role::Assistant { Value::Null } else { content };
    object.insert("content".into(), content);
    if let Some(text) = refusal {
        object.insert("refusal".into(), text.clone().into());
    }
    if let Some(name) = &message.name {
        object.insert("name".into(), name.clone().into());
    }
    if !calls.is_empty() {
        // Models that think between calls want the thoughts back with them, and only then.
        if native {
            object.extend(write_reasoning(message));
        }
        object.insert("tool_calls".into(), calls.into());
    }
    if native {
        object.extend(message.extra.clone());
    }
    vec![Value::Object(object)]
}

fn write_reasoning(message: &Message) -> Option<(String, Value)> {
    message.parts.iter().find_map(|part| {
        let PartKind::Reasoning(reasoning) = &part.kind else { return None };
        let field = part.extra.get(FIELD).and_then(Value::as_str).unwrap_or(REASONING);
        Some((field.to_owned(), reasoning.text.clone().into()))
    })
}

fn is_blank(content: &Value) -> bool {
    match content {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn write_tool_result(result: &ToolResult, message: &Message, native: bool) -> Value {
    let parts: Vec<&Part> = result.content.iter().collect();
    let mut object = Map::new();
    object.insert("role".into(), "tool".into());
    object.insert("tool_call_id".into(), result.call_id.clone().into());
    object.insert("content".into(), write_content(&parts, native));
    if native {
        if let Some(name) = &message.name {
            object.insert("name".into(), name.clone().into());
        }
        object.extend(message.extra.clone());
    }
    Value::Object(object)
}

fn write_content(parts: &[&Part], native: bool) -> Value {
    // One text is a string; several stay apart, so that nothing is glued that was not.
    if parts.len() <= 1
        && let Some(text) = only_text(parts, native)
    {
        return text.into();
    }
    parts.iter().filter_map(|part| write_part(part, native)).collect()
}

fn write_part(part: &Part, native: bool) -> Option<Value> {
    let mut object = match &part.kind {
        PartKind::Text(text) => json!({"type": "text", "text": text}),
        PartKind::Refusal(text) => json!({"type": "refusal", "refusal": text}),
        PartKind::Image(media) => {
            let mut image = json!({"url": url_of_media(media)?});
            if let (Some(detail), Value::Object(fields)) = (&media.detail, &mut image) {
                fields.insert("detail".into(), detail.clone().into());
            }
            json!({"type": "image_url", "image_url": image})
        }
        PartKind::Audio(media) => match &media.source {
            Source::Data(data) => {
                json!({"type": "input_audio", "input_audio": {"data": data, "format": media.media_type}})
            }
            _ => return None,
        },
        PartKind::File(media) => {
            let mut file = match &media.source {
                Source::FileId(id) => json!({"file_id": id}),
                _ => json!({"file_data": url_of_media(media)?}),
            };
            if let (Some(name), Value::Object(fields)) = (&media.name, &mut file) {
                fields.insert("filename".into(), name.clone().into());
            }
            json!({"type": "file", "file": file})
        }
        PartKind::Other(value) if native => return Some(value.clone()),
        _ => return None,
    };
    if let (true, Value::Object(fields)) = (native, &mut object) {
        fields.extend(part.extra.clone());
    }
    Some(object)
}

fn write_tool_call(part: &Part, native: bool) -> Option<Value> {
    let PartKind::ToolCall(call) = &part.kind else { return None };
    let mut object = if call.custom {
        json!({"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}})
    } else {
        json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.written_arguments()}})
    };
    if let (true, Value::Object(fields)) = (native, &mut object) {
        fields.extend(part.extra.clone());
    }
    Some(object)
}

/// Reads a whole answer; `None` when it is not a chat completion.
pub fn read_answer(json: &[u8], origin: &Origin) -> Option<Answer> {
    let mut value: Value = serde_json::from_slice(json).ok()?;
    let usage = read_usage(&value);
    let failed = value.get("error").is_some_and(|error| !error.is_null());
    let choice = value.get_mut("choices").and_then(|choices| choices.get_mut(0)).map(Value::take);
    if choice.is_none() && !failed && value.get("choices").is_none() {
        return None;
    }
    let stop = choice.as_ref().and_then(|choice| read_stop(choice.get("finish_reason")));
    let message = choice
        .and_then(|mut choice| choice.get_mut("message").map(Value::take))
        .and_then(|message| match message {
            Value::Object(object) => Some(read_message(object, Role::Assistant, origin)),
            _ => None,
        })
        .filter(|message| !message.parts.is_empty());
    let ending = if failed { Ending::Failed } else { Ending::Complete };
    Some(Answer { message, usage, stop, ending })
}

/// Reads one event of a streamed answer.
pub fn read_event(event: Event<'_>, on_delta: &mut dyn FnMut(Delta)) {
    if event.data.trim() == "[DONE]" {
        return on_delta(Delta::End);
    }
    let Ok(mut value) = serde_json::from_str::<Value>(event.data) else { return };
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        on_delta(Delta::Failure(failure_text(error)));
    }
    if let Some(usage) = read_usage(&value) {
        on_delta(Delta::Usage(usage));
    }
    for choice in value.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
        if choice.get("index").and_then(Value::as_u64).unwrap_or(0) != 0 {
            continue;
        }
        if let Some(Value::Object(delta)) = choice.get_mut("delta").map(Value::take) {
            read_delta(delta, on_delta);
        }
        if let Some(stop) = read_stop(choice.get("finish_reason")) {
            on_delta(Delta::Stop(stop));
        }
    }
}

fn read_delta(mut delta: Map<String, Value>, on_delta: &mut dyn FnMut(Delta)) {
    delta.shift_remove("role");
    if let Some((reasoning, extra)) = read_reasoning(&mut delta) {
        on_delta(Delta::Reasoning { reasoning, extra });
    }
    match delta.shift_remove("content") {
        Some(Value::String(text)) if !text.is_empty() => on_delta(Delta::Text(text)),
        // Mistral streams reasoning models' content as parts.
        Some(Value::Array(parts)) => parts.into_iter().map(read_part).for_each(|part| match part.kind {
            PartKind::Text(text) => on_delta(Delta::Text(text)),
            _ => on_delta(Delta::Part(part)),
        }),
        _ => {}
    }
    if let Some(text) = take_string(&mut delta, "refusal") {
        on_delta(Delta::Refusal(text));
    }
    for (at, call) in take_array(&mut delta, "tool_calls").unwrap_or_default().into_iter().enumerate() {
        let slot = call.get("index").and_then(Value::as_u64).unwrap_or(at as u64);
        if let Part { kind: PartKind::ToolCall(call), extra } = read_tool_call(call) {
            on_delta(Delta::ToolCall { slot, call, extra });
        }
    }
    for (name, value) in without_empty(delta) {
        on_delta(Delta::Extra(name, value));
    }
}

fn read_usage(value: &Value) -> Option<Usage> {
    let usage = value.get("usage").filter(|usage| usage.is_object())?;
    Some(Usage {
        input: number_at(usage, &["prompt_tokens"]),
        output: number_at(usage, &["completion_tokens"]),
        cached: number_at(usage, &["prompt_tokens_details", "cached_tokens"]),
        cache_write: number_at(usage, &["prompt_tokens_details", "cache_write_tokens"]),
        reasoning: number_at(usage, &["completion_tokens_details", "reasoning_tokens"]),
    })
}

fn read_stop(reason: Option<&Value>) -> Option<Stop> {
    Some(match reason?.as_str()? {
        "stop" => Stop::End,
        "length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::ToolCalls,
        "content_filter" => Stop::ContentFilter,
        other => Stop::Other(other.to_owned()),
    })
}

/// The event that tells a client that its stream is cut short. No `[DONE]` follows it.
pub fn write_failure(error: &Error) -> String {
    format!("data: {}\n\n", error.body())
}
