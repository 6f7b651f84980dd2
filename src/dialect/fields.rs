//! Small readers of JSON that the dialects share.
//!
//! Invariant: readers are lenient. What has another type than expected counts as absent, and stays in the object.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Content, Conversation, Unit};
use crate::body::Body;
use crate::error::Error;
use crate::turn::{Media, Part, PartKind, Source};

/// Checks that `messages` is there, an array, and not empty. Errors: 400 that names the field.
pub fn check_messages(body: &Body<'_>) -> Result<(), Error> {
    match body.raw("messages").map(|raw| raw.get().trim_start()) {
        None | Some("null") => Err(Error::invalid("messages", "The field `messages` is missing.")),
        Some(text) if !text.starts_with('[') => {
            Err(Error::invalid("messages", "The field `messages` must be an array."))
        }
        Some(text) if text.trim_start_matches('[').trim_start() == "]" => {
            Err(Error::invalid("messages", "The field `messages` is empty. Send at least one message."))
        }
        Some(_) => Ok(()),
    }
}

/// Reads the `messages` of a request that was checked; `read` says what the element at an index holds. Errors: 400 that
/// names the message and field.
pub fn read_messages<'a>(
    body: &Body<'a>,
    read: impl Fn(Map<String, Value>, usize) -> Result<Vec<Content>, Error>,
) -> Result<Conversation<'a>, Error> {
    let elements = body.array("messages")?.unwrap_or_default();
    let mut units = Vec::with_capacity(elements.len());
    for (at, raw) in elements.iter().enumerate() {
        let contents = read(read_object(raw, "messages", at)?, at)?;
        units.extend(contents.into_iter().map(|content| Unit { elements: at..at + 1, content }));
    }
    Ok(Conversation { elements, units })
}

/// One element of a conversation's array as an object. Errors: 400 that names the element.
pub fn read_object(raw: &RawValue, field: &str, at: usize) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(raw.get()).map_err(|error| {
        let place = format!("{field}[{at}]");
        Error::invalid(&place, format!("{place} must be an object: {error}."))
    })
}

/// Takes a string field out of an object.
pub fn take_string(object: &mut Map<String, Value>, name: &str) -> Option<String> {
    match object.get_mut(name) {
        Some(Value::String(text)) => {
            let text = std::mem::take(text);
            object.shift_remove(name);
            Some(text)
        }
        _ => None,
    }
}

/// Takes a string field, or an empty string.
pub fn take_text(object: &mut Map<String, Value>, name: &str) -> String {
    take_string(object, name).unwrap_or_default()
}

/// Takes an array field out of an object.
pub fn take_array(object: &mut Map<String, Value>, name: &str) -> Option<Vec<Value>> {
    match object.get_mut(name) {
        Some(Value::Array(items)) => {
            let items = std::mem::take(items);
            object.shift_remove(name);
            Some(items)
        }
        _ => None,
    }
}

/// Takes an object field out of an object.
pub fn take_object(object: &mut Map<String, Value>, name: &str) -> Option<Map<String, Value>> {
    match object.get_mut(name) {
        Some(Value::Object(inner)) => {
            let inner = std::mem::take(inner);
            object.shift_remove(name);
            Some(inner)
        }
        _ => None,
    }
}

/// A whole number at a path of fields, or 0.
pub fn number_at(value: &Value, path: &[&str]) -> u64 {
    path.iter().try_fold(value, |inner, name| inner.get(name)).and_then(Value::as_u64).unwrap_or(0)
}

/// What an error object says: its message, or itself where it has none.
pub fn failure_text(error: &Value) -> String {
    match error.get("message").unwrap_or(error) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// About where a user is, as Responses and Messages have it.
pub fn located(location: &Map<String, Value>) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), "approximate".into());
    object.extend(location.clone());
    Value::Object(object)
}

/// Drops fields that say nothing: null, empty arrays, empty objects.
pub fn without_empty(mut object: Map<String, Value>) -> Map<String, Value> {
    object.retain(|_, value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    });
    object
}

/// A media part from a URL that may be a `data:` URL with base64 in it.
pub fn media_from_url(url: String) -> Media {
    let embedded = url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"))
        .map(|(media_type, data)| (media_type.to_owned(), data.to_owned()));
    match embedded {
        Some((media_type, data)) => {
            Media { source: Source::Data(data), media_type: Some(media_type), name: None, detail: None }
        }
        None => Media { source: Source::Url(url), media_type: None, name: None, detail: None },
    }
}

/// The URL of a media part: its own, or a `data:` URL of its bytes; `None` for a provider's file id.
pub fn url_of_media(media: &Media) -> Option<String> {
    match &media.source {
        Source::Url(url) => Some(url.clone()),
        Source::Data(data) => Some(format!(
            "data:{};base64,{data}",
            media.media_type.as_deref().unwrap_or("application/octet-stream")
        )),
        Source::FileId(_) => None,
    }
}

/// The text of parts that are nothing but plain texts; `None` when there is anything else among them, or when they
/// carry extras that `native` says must be kept.
pub fn only_text(parts: &[&Part], native: bool) -> Option<String> {
    let mut out = String::new();
    for part in parts {
        match &part.kind {
            PartKind::Text(text) if !native || part.extra.is_empty() => out.push_str(text),
            _ => return None,
        }
    }
    Some(out)
}
