//! Messages, written for a provider.
//!
//! Invariant: what a message brought along goes back where it came from, unchanged. Anywhere else it is said in words that
//! every compatible server has: a tool answers with text, the model's earlier turns hold texts and calls, and no call is
//! parted from its result.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::message::signed;
use super::server::{has_custom_tools, takes_cache_hints, takes_file_urls, wants_reasoning};
use super::{DETAILS, FIELD, OF_TEXT, REASONING};
use crate::dialect::fields::url_of_media;
use crate::free_text;
use crate::seal;
use crate::turn::{Media, Message, Origin, Part, PartKind, Role, Source, ToolResult};

/// Who a part is written for.
#[derive(Clone, Copy)]
pub struct To<'a> {
    /// The provider.
    pub target: &'a Origin,
    /// The message was written there.
    pub native: bool,
    /// The whole request is written anew, in words that every server has. Otherwise a message keeps the shape in which
    /// it is recognised as the one that is stored.
    pub anew: bool,
}

impl<'a> To<'a> {
    /// Of a message that becomes part of a request written anew.
    pub fn anew(message: &Message, target: &'a Origin) -> Self {
        To { target, native: message.is_native_to(target), anew: true }
    }
}

/// Writes a stored message as elements of `messages`.
pub fn write_message(message: &Message, target: &Origin) -> Vec<Value> {
    write_elements(message, To { target, native: message.is_native_to(target), anew: false })
}

/// Writes a message as elements of `messages`.
pub fn write_elements(message: &Message, to: To<'_>) -> Vec<Value> {
    if let [Part { kind: PartKind::Other(value), .. }] = message.parts.as_slice()
        && value.get("role").is_some()
    {
        return if to.native { vec![value.clone()] } else { Vec::new() };
    }
    match message.role {
        Role::Tool => message.tool_results().map(|result| write_tool_result(result, message, to)).collect(),
        Role::User => write_user(message, to).into_iter().collect(),
        Role::Assistant => write_assistant(message, to).into_iter().collect(),
    }
}

fn write_user(message: &Message, to: To<'_>) -> Option<Value> {
    let parts: Vec<&Part> = message
        .parts
        .iter()
        .filter(|part| {
            !matches!(part.kind, PartKind::ToolCall(_) | PartKind::ToolResult(_) | PartKind::Reasoning(_))
        })
        .collect();
    let content = write_content(&parts, to);
    if !to.native && is_blank(&content) && !parts.is_empty() {
        return None;
    }
    let mut object = Map::new();
    object.insert("role".into(), "user".into());
    object.insert("content".into(), content);
    finish(&mut object, message, to);
    Some(Value::Object(object))
}

fn write_assistant(message: &Message, to: To<'_>) -> Option<Value> {
    let calls: Vec<Value> = message.parts.iter().filter_map(|part| write_tool_call(part, to)).collect();
    let spoken: Vec<&Part> = message.parts.iter().filter(|part| is_spoken(part, to.native)).collect();
    // `refusal` is a field of its own beside the content, which few other servers know.
    let refusal = message.parts.iter().find_map(|part| match &part.kind {
        PartKind::Refusal(text) if to.native => Some(text),
        _ => None,
    });
    let content = write_content(&spoken, to);
    if calls.is_empty() && refusal.is_none() && is_blank(&content) {
        // Nothing that another model could read: reasoning only, or a part of another dialect.
        return None;
    }
    let mut object = Map::new();
    object.insert("role".into(), "assistant".into());
    object.insert("content".into(), if spoken.is_empty() { Value::Null } else { content });
    if let Some(text) = refusal {
        object.insert("refusal".into(), text.clone().into());
    }
    if !calls.is_empty() {
        object.extend(write_reasoning(message, to));
        object.insert("tool_calls".into(), calls.into());
    }
    finish(&mut object, message, to);
    Some(Value::Object(object))
}

/// True for what stands in the content of the model's earlier turn.
fn is_spoken(part: &Part, native: bool) -> bool {
    match &part.kind {
        PartKind::ToolCall(_) | PartKind::ToolResult(_) => false,
        PartKind::Reasoning(_) => native && field_of(part) == Some("thinking"),
        PartKind::Text(text) => native || !text.is_empty(),
        PartKind::Refusal(_) => !native,
        PartKind::Image(_) | PartKind::Audio(_) | PartKind::File(_) | PartKind::Other(_) => native,
    }
}

/// What stands beside the content: the name, and fields that only their own provider knows.
fn finish(object: &mut Map<String, Value>, message: &Message, to: To<'_>) {
    if let Some(name) = &message.name {
        object.insert("name".into(), name.clone().into());
    }
    if to.native {
        object.extend(message.extra.clone());
        let of_text = |part: &Part| part.extra.get("annotations").and_then(Value::as_array).cloned();
        let annotations: Vec<Value> = message.parts.iter().filter_map(of_text).flatten().collect();
        if annotations.is_empty() {
            return;
        }
        match object.get_mut("annotations") {
            Some(Value::Array(before)) => before.extend(annotations),
            _ => drop(object.insert("annotations".into(), annotations.into())),
        }
    }
}

/// Models that think between calls want the thoughts back with them, and only then.
fn write_reasoning(message: &Message, to: To<'_>) -> Option<(String, Value)> {
    let same_provider = message.origin.as_ref().is_some_and(|origin| origin.provider == to.target.provider);
    let wanted = to.native || (same_provider && wants_reasoning(&to.target.provider));
    if !wanted {
        return None;
    }
    message.parts.iter().find_map(|part| {
        let PartKind::Reasoning(reasoning) = &part.kind else { return None };
        let field = field_of(part).filter(|_| to.native).unwrap_or(REASONING);
        // These two are written where they stood.
        (field != DETAILS && field != "thinking").then(|| (field.to_owned(), reasoning.text.clone().into()))
    })
}

fn field_of(part: &Part) -> Option<&str> {
    part.extra.get(FIELD).and_then(Value::as_str)
}

fn is_blank(content: &Value) -> bool {
    match content {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn write_tool_result(result: &ToolResult, message: &Message, to: To<'_>) -> Value {
    let mut object = Map::new();
    object.insert("role".into(), "tool".into());
    object.insert("tool_call_id".into(), result.call_id.clone().into());
    let parts: Vec<&Part> = result.content.iter().collect();
    let only_text = parts.iter().all(|part| matches!(part.kind, PartKind::Text(_)));
    let as_it_is = to.native || (only_text && !to.anew);
    let content = if as_it_is { write_content(&parts, to) } else { text_of_result(result).into() };
    object.insert("content".into(), content);
    if to.native {
        finish(&mut object, message, to);
    }
    Value::Object(object)
}

/// What a tool returned, in words: other servers take nothing else from a tool.
fn text_of_result(result: &ToolResult) -> String {
    let mut out = String::new();
    let mut add = |text: &str| {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(text);
    };
    if result.is_error {
        add("Error:");
    }
    for part in &result.content {
        match &part.kind {
            PartKind::Text(text) | PartKind::Refusal(text) => add(text),
            PartKind::Image(_) => add("[image]"),
            PartKind::Audio(_) => add("[audio]"),
            PartKind::File(media) => match text_of_file(media) {
                Some(text) => add(&text),
                None => add("[file]"),
            },
            _ => {}
        }
    }
    out
}

/// What a tool returned beside text, for a message of the user's.
pub fn media_of_result(result: &ToolResult, to: To<'_>) -> Vec<Value> {
    let is_media = |part: &&Part| match &part.kind {
        PartKind::Image(_) | PartKind::Audio(_) => true,
        PartKind::File(media) => text_of_file(media).is_none(),
        _ => false,
    };
    result.content.iter().filter(is_media).filter_map(|part| write_part(part, to)).collect()
}

/// Writes a content: one text is a string; several stay apart, so that nothing is glued that was not.
pub fn write_content(parts: &[&Part], to: To<'_>) -> Value {
    let kept = |part: &Part| {
        part.extra.keys().any(|name| {
            if to.native { !OF_TEXT.contains(&name.as_str()) } else { is_cache_hint(name, to.target) }
        })
    };
    match parts {
        [] => "".into(),
        [part @ Part { kind: PartKind::Text(text), .. }] if !kept(part) => text.clone().into(),
        _ => parts.iter().filter_map(|part| write_part(part, to)).collect(),
    }
}

/// True for a cache hint that the target understands, wherever the message was written.
pub fn is_cache_hint(name: &str, target: &Origin) -> bool {
    name == "cache_control" && takes_cache_hints(&target.provider)
}

/// Writes one part of a content; `None` for what cannot be said there.
pub fn write_part(part: &Part, to: To<'_>) -> Option<Value> {
    let mut object = match &part.kind {
        PartKind::Text(text) => json!({"type": "text", "text": text}),
        PartKind::Refusal(text) if to.native => json!({"type": "refusal", "refusal": text}),
        PartKind::Refusal(text) => json!({"type": "text", "text": text}),
        PartKind::Image(media) => {
            let mut image = json!({"url": url_of_media(media)?});
            if let (Some(detail), Value::Object(fields)) = (&media.detail, &mut image) {
                fields.insert("detail".into(), detail.clone().into());
            }
            json!({"type": "image_url", "image_url": image})
        }
        PartKind::Audio(media) => match &media.source {
            Source::Data(data) => {
                let format = if to.native { media.media_type.as_deref() } else { audio_format(media) };
                json!({"type": "input_audio", "input_audio": {"data": data, "format": format}})
            }
            _ => return None,
        },
        PartKind::File(media) => write_file(media, to)?,
        PartKind::Other(value) if to.native => return Some(value.clone()),
        PartKind::Reasoning(reasoning) if to.native && field_of(part) == Some("thinking") => {
            json!({"type": "thinking", "thinking": [{"type": "text", "text": reasoning.text}]})
        }
        _ => return None,
    };
    if let Value::Object(fields) = &mut object {
        for (name, value) in &part.extra {
            let kept = if to.native {
                name != FIELD && !OF_TEXT.contains(&name.as_str())
            } else {
                is_cache_hint(name, to.target)
            };
            if kept {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
    Some(object)
}

fn write_file(media: &Media, to: To<'_>) -> Option<Value> {
    if let (false, true, Some(text)) = (to.native, to.anew, text_of_file(media)) {
        return Some(json!({"type": "text", "text": text}));
    }
    let mut file = match &media.source {
        Source::FileId(id) if to.native => json!({"file_id": id}),
        Source::FileId(_) => return None,
        Source::Url(_) if !to.native && !takes_file_urls(&to.target.provider) => return None,
        _ => json!({"file_data": url_of_media(media)?}),
    };
    let name = match &media.name {
        None if !to.native => Some("document.pdf"),
        name => name.as_deref(),
    };
    if let (Some(name), Value::Object(fields)) = (name, &mut file) {
        fields.insert("filename".into(), name.into());
    }
    Some(json!({"type": "file", "file": file}))
}

/// The text of a document that is nothing but text: Chat Completions takes PDF only.
fn text_of_file(media: &Media) -> Option<String> {
    let Source::Data(data) = &media.source else { return None };
    media.media_type.as_deref().filter(|kind| kind.starts_with("text/"))?;
    String::from_utf8(STANDARD.decode(data).ok()?).ok()
}

/// The bare format of a sound (`wav`, `mp3`).
fn audio_format(media: &Media) -> Option<&str> {
    let format = media.media_type.as_deref()?;
    Some(match format.strip_prefix("audio/").unwrap_or(format) {
        "mpeg" => "mp3",
        "x-wav" | "wave" | "vnd.wave" => "wav",
        other => other,
    })
}

fn write_tool_call(part: &Part, to: To<'_>) -> Option<Value> {
    let PartKind::ToolCall(call) = &part.kind else { return None };
    let stands_in = to.anew && !has_custom_tools(&to.target.provider);
    let mut object = if call.custom && stands_in {
        let arguments = free_text::object(call).to_string();
        json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
    } else if call.custom {
        json!({"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}})
    } else {
        json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.written_arguments()}})
    };
    let seal = call.sealed.as_deref().and_then(|sealed| seal::opened(sealed, to.native, to.target));
    if let Value::Object(fields) = &mut object {
        if let Some(seal) = seal {
            fields.insert("extra_content".into(), signed(seal));
        }
        if to.native {
            fields.extend(part.extra.clone());
        }
    }
    Some(object)
}
