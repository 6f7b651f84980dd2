//! Messages, written as items of `input`: <https://platform.openai.com/docs/api-reference/responses/create>.
//!
//! Invariant: to where a message came from it goes back as it was; elsewhere goes only what the API knows, and what it
//! cannot say is refused where the client can mend it and left out where it cannot.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::ITEM;
use crate::dialect::fields::url_of_media;
use crate::error::Error;
use crate::seal;
use crate::turn::{Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolResult, hex};

/// The longest id of a call that the API takes.
const LONGEST_CALL_ID: usize = 64;

/// Writes a stored message as items of `input`.
pub fn write_message(message: &Message, target: &Origin) -> Vec<Value> {
    Writer { target, custom_calls: &BTreeSet::new() }.items(message)
}

/// Writes messages for a provider.
pub(super) struct Writer<'a> {
    /// Who is asked.
    pub target: &'a Origin,
    /// The ids of calls of custom tools. Other dialects do not say of a result which kind of tool it came from.
    pub custom_calls: &'a BTreeSet<&'a str>,
}

/// What a message holds that no item can. Errors: 400 that names the part.
pub(super) fn check(message: &Message, place: &str) -> Result<(), Error> {
    if message.role == Role::Assistant {
        return Ok(());
    }
    for (at, part) in message.parts.iter().enumerate() {
        let inner = match &part.kind {
            PartKind::ToolResult(result) => result.content.as_slice(),
            _ => std::slice::from_ref(part),
        };
        if inner.iter().any(|part| matches!(part.kind, PartKind::Audio(_))) {
            let place = format!("{place}.content[{at}]");
            let why = format!(
                "{place} is sound, which this model's API (Responses) does not take. Send a transcript, or use another model."
            );
            return Err(Error::invalid(&place, why).with_code("unsupported_content"));
        }
    }
    Ok(())
}

impl Writer<'_> {
    /// The items of one message.
    pub fn items(&self, message: &Message) -> Vec<Value> {
        let native = message.is_native_to(self.target);
        let mut items = Vec::new();
        let mut spoken: Vec<&Part> = Vec::new();
        for part in &message.parts {
            let mut item = match &part.kind {
                PartKind::ToolCall(call) if call.custom => {
                    json!({"type": "custom_tool_call", "call_id": call_id(&call.id, native), "name": call.name,
                           "input": call.arguments})
                }
                PartKind::ToolCall(call) => {
                    json!({"type": "function_call", "call_id": call_id(&call.id, native), "name": call.name,
                           "arguments": call.written_arguments()})
                }
                PartKind::ToolResult(result) => self.tool_result(result, native),
                PartKind::Reasoning(reasoning) => match self.reasoning(reasoning, part, native) {
                    Some(item) => item,
                    None => continue,
                },
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

    fn tool_result(&self, result: &ToolResult, native: bool) -> Value {
        let failed = if result.is_error { Some(Part::text(FAILED)) } else { None };
        let parts: Vec<&Part> = failed.iter().chain(&result.content).collect();
        // The mark of a failure and the words after it are one text.
        let output = match (&failed, result.content.as_slice()) {
            (Some(_), [Part { kind: PartKind::Text(text), .. }]) => format!("{FAILED} {text}").into(),
            _ => write_content(&parts, Role::Tool, native),
        };
        let custom = result.custom || self.custom_calls.contains(result.call_id.as_str());
        let kind = if custom { "custom_tool_call_output" } else { "function_call_output" };
        json!({"type": kind, "call_id": call_id(&result.call_id, native), "output": output})
    }

    /// Reasoning that its provider can take back: sealed, or shown in full. The rest is known to it by id alone, and only
    /// as long as it keeps the response.
    fn reasoning(&self, reasoning: &Reasoning, part: &Part, native: bool) -> Option<Value> {
        let sealed = reasoning.sealed.as_deref().and_then(|seal| seal::opened(seal, native, self.target));
        let shown = native && part.extra.contains_key("content");
        // The id of an item that carried a wrapped seal is ours; the provider compares it with the one inside.
        let carried = reasoning.sealed.as_deref().is_some_and(seal::is_wrapped);
        let id = reasoning.id.as_deref().filter(|_| !carried);
        if sealed.is_none() && (!shown || id.is_none()) {
            return None;
        }
        let mut item = Map::new();
        item.insert("type".to_owned(), "reasoning".into());
        if let Some(id) = id {
            item.insert("id".to_owned(), id.into());
        }
        item.insert("summary".to_owned(), write_summary(if shown { "" } else { &reasoning.text }));
        if let Some(sealed) = sealed {
            item.insert("encrypted_content".to_owned(), sealed.into());
        }
        Some(Value::Object(item))
    }
}

/// What is put before the result of a tool that failed, for which the API has no word.
const FAILED: &str = "Error:";

/// A call's id; one that is too long, as some gateways make them, is replaced by its digest.
fn call_id(id: &str, native: bool) -> Cow<'_, str> {
    if native || id.len() <= LONGEST_CALL_ID {
        return Cow::Borrowed(id);
    }
    let digest: String = hex(&Sha256::digest(id.as_bytes())).chars().take(32).collect();
    Cow::Owned(format!("call_{digest}"))
}

pub(super) fn write_summary(text: &str) -> Value {
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
    let content = write_content(&parts, message.role, native);
    // Nothing of it could be said here.
    if !native && content.as_array().is_some_and(Vec::is_empty) {
        return;
    }
    let mut object = Map::new();
    if message.role == Role::Assistant && content.is_array() {
        // What the model said in parts is an output message, which has an id; any will do, and this one stays the same.
        let id: String = message.content_hash().chars().take(48).collect();
        object.insert("type".into(), "message".into());
        object.insert("id".into(), format!("msg_{id}").into());
        object.insert("status".into(), "completed".into());
    }
    object.insert("role".into(), if message.role == Role::Assistant { "assistant" } else { "user" }.into());
    object.insert("content".into(), content);
    if native {
        object.extend(message.extra.clone());
        if let Some(Value::Object(fields)) = parts.first().and_then(|part| part.extra.get(ITEM)) {
            object.extend(fields.clone());
        }
    }
    items.push(Value::Object(object));
}

/// Writes content: of a message, of a tool's result, of instructions.
pub(super) fn write_content(parts: &[&Part], role: Role, native: bool) -> Value {
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
    let spoken = role == Role::Assistant;
    let mut object = match &part.kind {
        PartKind::Text(text) if spoken => {
            json!({"type": "output_text", "text": text, "annotations": []})
        }
        PartKind::Text(text) => json!({"type": "input_text", "text": text}),
        PartKind::Refusal(text) if spoken || native => json!({"type": "refusal", "refusal": text}),
        PartKind::Refusal(text) => json!({"type": "input_text", "text": text}),
        // What the model itself drew or wrote as a file cannot be put into its mouth.
        PartKind::Image(_) | PartKind::File(_) if spoken && !native => return None,
        PartKind::Image(media) => write_image(media)?,
        PartKind::File(media) => write_file(media, native)?,
        PartKind::Other(value) if native => return Some(value.clone()),
        _ => return None,
    };
    if let (true, Value::Object(fields)) = (native, &mut object) {
        fields.extend(part.extra.clone());
        fields.shift_remove(ITEM);
    }
    Some(object)
}

fn write_image(media: &Media) -> Option<Value> {
    let mut image = Map::new();
    image.insert("type".to_owned(), "input_image".into());
    match &media.source {
        Source::FileId(id) => image.insert("file_id".to_owned(), id.as_str().into()),
        _ => image.insert("image_url".to_owned(), url_of_media(media)?.into()),
    };
    image.insert("detail".to_owned(), media.detail.as_deref().unwrap_or("auto").into());
    Some(Value::Object(image))
}

fn write_file(media: &Media, native: bool) -> Option<Value> {
    let mut file = Map::new();
    file.insert("type".to_owned(), "input_file".into());
    let mut name = media.name.as_deref();
    match &media.source {
        Source::FileId(id) => file.insert("file_id".to_owned(), id.as_str().into()),
        Source::Url(url) => file.insert("file_url".to_owned(), url.as_str().into()),
        Source::Data(_) => {
            // Bytes are refused without a name, whose ending says what they are.
            name = name.or_else(|| (!native).then(|| name_of_type(media.media_type.as_deref())));
            file.insert("file_data".to_owned(), url_of_media(media)?.into())
        }
    };
    if let Some(name) = name {
        file.insert("filename".to_owned(), name.into());
    }
    Some(Value::Object(file))
}

/// A name for a document that came without one.
fn name_of_type(media_type: Option<&str>) -> &'static str {
    match media_type {
        Some("text/plain") => "document.txt",
        Some("text/markdown") => "document.md",
        Some("text/html") => "document.html",
        Some("text/csv") => "document.csv",
        Some("application/json") => "document.json",
        _ => "document.pdf",
    }
}
