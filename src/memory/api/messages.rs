//! Messages as clients post them: in the form in which the memory API gives them out, and in those of OpenAI, Anthropic,
//! the AI SDK and Mastra.
//!
//! Invariant: what the API gives out can be posted again, and is the same message. A tool's result is a message of its own,
//! as in every stored conversation, wherever a client keeps it.

use serde_json::{Map, Value};

use super::body::{self, Fields};
use crate::dialect::fields::media_from_url;
use crate::error::Error;
use crate::protocol::Posted;
use crate::turn::{Media, Message, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult};

/// So many messages are taken at once.
pub const MAX_MESSAGES: usize = 1_000;

/// Parts that only mark where a step began.
const MARKS: [&str; 2] = ["step-start", "step-finish"];

/// `POST /v1/memory/threads/{id}/messages`. Errors: 400 that names the field.
pub fn read(body: &[u8]) -> Result<Vec<Posted>, Error> {
    let object = body::read(body)?;
    let fields = Fields::of(&object);
    let messages = fields.get("messages").and_then(Value::as_array).filter(|list| !list.is_empty());
    let Some(messages) = messages.filter(|list| list.len() <= MAX_MESSAGES) else {
        return Err(fields.refuse("messages", &format!("must be a list of 1 to {MAX_MESSAGES} messages")));
    };
    let mut out = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        let path = format!("messages[{at}]");
        let Some(object) = message.as_object() else {
            return Err(Error::invalid(&path, format!("`{path}` must be an object.")));
        };
        read_message(Fields::at(object, &path), &mut out)?;
    }
    Ok(out)
}

fn read_message(fields: Fields<'_>, out: &mut Vec<Posted>) -> Result<(), Error> {
    let role = fields.text("role")?.and_then(Role::from_word).ok_or_else(|| {
        fields.refuse(
            "role",
            "must be user, assistant or tool; instructions belong to requests and are not stored",
        )
    })?;
    fields.text("type")?;
    let id = fields.id("id")?;
    let created_at = fields.time("createdAt")?;
    let mut parts = content(fields)?;
    if let Some(calls) = fields.get("tool_calls") {
        let calls = calls.as_array().ok_or_else(|| fields.refuse("tool_calls", "must be a list"))?;
        for (at, call) in calls.iter().enumerate() {
            parts.push(function_call(call, &fields.path(&format!("tool_calls[{at}]")))?);
        }
    }
    if let Some(call_id) = fields.text("tool_call_id")? {
        let result =
            ToolResult { call_id: call_id.to_owned(), content: parts, custom: false, is_error: false };
        parts = vec![PartKind::ToolResult(result).into()];
    }
    let is_result = |part: &Part| matches!(part.kind, PartKind::ToolResult(_));
    if role == Role::Tool && !parts.iter().all(is_result) {
        return Err(fields.refuse("tool_call_id", "is missing: the id of the call that the tool answered"));
    }
    if parts.iter().all(Part::is_blank) {
        return Err(fields.refuse("content", "is missing or empty"));
    }
    for (nth, (role, parts)) in apart(role, parts).into_iter().enumerate() {
        let id = id.map(|id| if nth == 0 { id.to_owned() } else { format!("{id}.{nth}") });
        let mut message = Message::new(role, parts);
        message.name = fields.text("name")?.filter(|_| role != Role::Tool).map(str::to_owned);
        out.push(Posted { id, created_at, message });
    }
    Ok(())
}

/// The parts as messages: each result of a tool is one, and what stands between results.
fn apart(role: Role, parts: Vec<Part>) -> Vec<(Role, Vec<Part>)> {
    let mut out: Vec<(Role, Vec<Part>)> = Vec::new();
    for part in parts {
        match (&part.kind, out.last_mut()) {
            (PartKind::ToolResult(_), _) => out.push((Role::Tool, vec![part])),
            (_, Some((last, parts))) if *last == role => parts.push(part),
            _ => out.push((role, vec![part])),
        }
    }
    out
}

fn content(fields: Fields<'_>) -> Result<Vec<Part>, Error> {
    let path = fields.path("content");
    match fields.get("content") {
        // The AI SDK's messages of a user interface have their parts beside the content.
        None => match fields.get("parts") {
            Some(list) => parts(list, &fields.path("parts")),
            None => Ok(Vec::new()),
        },
        Some(Value::Object(object)) => {
            // Mastra's second format; its `content` is the text of its parts once more.
            let inner = Fields::at(object, &path);
            match (inner.get("parts"), inner.get("content")) {
                (Some(list), _) => parts(list, &inner.path("parts")),
                (None, Some(Value::String(text))) => Ok(vec![Part::text(text.as_str())]),
                _ => Err(inner.refuse("parts", "must be a list of parts")),
            }
        }
        Some(value) => parts(value, &path),
    }
}

/// A text, or a list of parts.
fn parts(value: &Value, path: &str) -> Result<Vec<Part>, Error> {
    let list = match value {
        Value::String(text) => return Ok(vec![Part::text(text.as_str())]),
        Value::Array(list) => list,
        _ => return Err(Error::invalid(path, format!("`{path}` must be a text or a list of parts."))),
    };
    let mut out = Vec::with_capacity(list.len());
    for (at, value) in list.iter().enumerate() {
        let path = format!("{path}[{at}]");
        match value {
            Value::String(text) => out.push(Part::text(text.as_str())),
            Value::Object(object) => read_part(Fields::at(object, &path), object, &mut out)?,
            _ => {
                return Err(Error::invalid(
                    &path,
                    format!("`{path}` must be a part: an object with a type."),
                ));
            }
        }
    }
    Ok(out)
}

fn read_part(fields: Fields<'_>, object: &Map<String, Value>, out: &mut Vec<Part>) -> Result<(), Error> {
    let kind = match fields.text("type")?.unwrap_or_default() {
        "text" | "input_text" | "output_text" => PartKind::Text(needed(fields, "text")?),
        "refusal" => PartKind::Refusal(needed(fields, "refusal")?),
        "reasoning" | "thinking" => {
            let words = ["text", "reasoning", "thinking"].into_iter().find_map(|name| fields.get(name));
            let text = words.and_then(Value::as_str).unwrap_or_default().to_owned();
            PartKind::Reasoning(Reasoning { text, ..Reasoning::default() })
        }
        "image" | "image_url" | "input_image" => {
            PartKind::Image(media(fields, &["image", "image_url", "source"])?)
        }
        "audio" | "input_audio" => PartKind::Audio(media(fields, &["audio", "input_audio"])?),
        "file" | "input_file" | "document" => {
            let media = media(fields, &["file", "source"])?;
            let is_image = media.media_type.as_deref().is_some_and(|kind| kind.starts_with("image/"));
            if is_image { PartKind::Image(media) } else { PartKind::File(media) }
        }
        "tool_call" | "tool-call" | "tool_use" => PartKind::ToolCall(call(fields)?),
        "tool_result" | "tool-result" => PartKind::ToolResult(result(fields)?),
        "tool-invocation" => {
            let inner = fields.object("toolInvocation")?;
            let inner = inner.ok_or_else(|| fields.refuse("toolInvocation", "is missing"))?;
            let path = fields.path("toolInvocation");
            return invocation(Fields::at(inner, &path), out);
        }
        "other" => PartKind::Other(fields.get("value").cloned().unwrap_or_default()),
        mark if MARKS.contains(&mark) => return Ok(()),
        // The AI SDK's parts of a tool are named after it.
        kind if kind.starts_with("tool-") && fields.has("toolCallId") => return invocation(fields, out),
        kind if kind.starts_with("data-") || kind.starts_with("source") => {
            PartKind::Other(Value::Object(object.clone()))
        }
        _ => {
            let known = "text, refusal, reasoning, image, audio, file, tool_call or tool_result";
            return Err(fields.refuse("type", &format!("must be {known}")));
        }
    };
    out.push(kind.into());
    Ok(())
}

fn needed(fields: Fields<'_>, name: &str) -> Result<String, Error> {
    fields.text(name)?.map(str::to_owned).ok_or_else(|| fields.refuse(name, "is missing"))
}

/// The first of the names that has a text. Errors: 400 that names the first name.
fn either(fields: Fields<'_>, names: &[&str]) -> Result<String, Error> {
    for name in names {
        if let Some(text) = fields.text(name)?.filter(|text| !text.is_empty()) {
            return Ok(text.to_owned());
        }
    }
    Err(fields.refuse(names.first().copied().unwrap_or_default(), "is missing"))
}

/// What a call was made with: text as it is, anything else as JSON.
fn as_text(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn call(fields: Fields<'_>) -> Result<ToolCall, Error> {
    let arguments = ["arguments", "args", "input"].into_iter().find_map(|name| fields.get(name));
    let name = match fields.text("type")?.and_then(|kind| kind.strip_prefix("tool-")) {
        Some(name) if !["call", "result", "invocation"].contains(&name) => name.to_owned(),
        _ => either(fields, &["toolName", "name"])?,
    };
    Ok(ToolCall {
        id: either(fields, &["toolCallId", "id"])?,
        name,
        arguments: as_text(arguments),
        ..ToolCall::default()
    })
}

/// A call in OpenAI's form: `{id, type, function: {name, arguments}}`.
fn function_call(value: &Value, path: &str) -> Result<Part, Error> {
    let object = value.as_object();
    let object = object.ok_or_else(|| Error::invalid(path, format!("`{path}` must be an object.")))?;
    let fields = Fields::at(object, path);
    let (kind, custom) = if fields.has("custom") { ("custom", true) } else { ("function", false) };
    let inner = fields.object(kind)?.ok_or_else(|| fields.refuse("function", "is missing"))?;
    let inner_path = fields.path(kind);
    let inner = Fields::at(inner, &inner_path);
    let arguments = inner.get(if custom { "input" } else { "arguments" });
    let call = ToolCall {
        id: needed(fields, "id")?,
        name: needed(inner, "name")?,
        arguments: as_text(arguments),
        custom,
        sealed: None,
    };
    Ok(PartKind::ToolCall(call).into())
}

fn result(fields: Fields<'_>) -> Result<ToolResult, Error> {
    let is_error = ["is_error", "isError"].iter().any(|name| fields.get(name) == Some(&Value::Bool(true)));
    Ok(ToolResult {
        call_id: either(fields, &["toolCallId", "tool_use_id", "tool_call_id"])?,
        content: outcome(fields)?,
        custom: false,
        is_error,
    })
}

/// What a tool returned: parts where it is some, a text, or any JSON as its text.
fn outcome(fields: Fields<'_>) -> Result<Vec<Part>, Error> {
    let path = fields.path("content");
    if let Some(value) = fields.get("content") {
        return parts(value, &path);
    }
    let value = ["output", "result"].into_iter().find_map(|name| fields.get(name));
    // The AI SDK wraps what a tool returned: `{type: "text" | "json" | …, value}`.
    let inner = value
        .and_then(Value::as_object)
        .filter(|object| object.contains_key("type"))
        .and_then(|object| object.get("value"));
    Ok(value.map(|value| Part::text(as_text(Some(inner.unwrap_or(value))))).into_iter().collect())
}

/// A call, with its result where the tool has returned.
fn invocation(fields: Fields<'_>, out: &mut Vec<Part>) -> Result<(), Error> {
    let call = call(fields)?;
    let call_id = call.id.clone();
    out.push(PartKind::ToolCall(call).into());
    let (error, has_returned) = (fields.text("errorText")?, fields.has("result") || fields.has("output"));
    let content = match error {
        Some(text) => vec![Part::text(text)],
        None => outcome(fields)?,
    };
    if has_returned || error.is_some() {
        let result = ToolResult { call_id, content, custom: false, is_error: error.is_some() };
        out.push(PartKind::ToolResult(result).into());
    }
    Ok(())
}

/// A picture, a sound or a file. `nested` are the fields in which clients keep it.
fn media(fields: Fields<'_>, nested: &[&str]) -> Result<Media, Error> {
    let found = nested.iter().find_map(|name| Some((*name, fields.get(name)?)));
    let missing = || fields.refuse("url", "is missing: give url, data (base64) or fileId");
    let mut media = match found {
        Some((_, Value::String(text))) => reference(text),
        Some((name, Value::Object(object))) => {
            let path = fields.path(name);
            source(Fields::at(object, &path))?.ok_or_else(missing)?
        }
        Some((name, _)) => return Err(fields.refuse(name, "must be a text or an object")),
        None => source(fields)?.ok_or_else(missing)?,
    };
    for (names, to) in [
        (["mediaType", "mimeType", "media_type"], &mut media.media_type),
        (["name", "filename", "title"], &mut media.name),
    ] {
        for name in names {
            if let (None, Some(text)) = (to.as_ref(), fields.text(name)?) {
                *to = Some(text.to_owned());
            }
        }
    }
    Ok(media)
}

fn source(fields: Fields<'_>) -> Result<Option<Media>, Error> {
    let first = |names: &[&str]| -> Result<Option<String>, Error> {
        for name in names {
            if let Some(text) = fields.text(name)? {
                return Ok(Some(text.to_owned()));
            }
        }
        Ok(None)
    };
    let id = first(&["fileId", "file_id"])?;
    let kind = first(&["mediaType", "mimeType", "media_type", "format"])?;
    let name = first(&["name", "filename"])?;
    let mut media = match (first(&["url", "image_url", "data", "file_data", "file_url"])?, id) {
        (Some(text), _) => reference(&text),
        (None, Some(id)) => Media { source: Source::FileId(id), media_type: None, name: None, detail: None },
        (None, None) => return Ok(None),
    };
    media.media_type = media.media_type.or(kind);
    media.name = media.name.or(name);
    Ok(Some(media))
}

/// An address, a `data:` URL, or base64.
fn reference(text: &str) -> Media {
    if ["data:", "http:", "https:", "gs:", "s3:", "file:"].iter().any(|scheme| text.starts_with(scheme)) {
        return media_from_url(text.to_owned());
    }
    Media { source: Source::Data(text.to_owned()), media_type: None, name: None, detail: None }
}
