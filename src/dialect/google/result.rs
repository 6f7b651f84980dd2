//! Results of functions: `functionResponse`, <https://ai.google.dev/gemini-api/docs/function-calling>.
//!
//! Invariant: a response is always an object. A result that is one goes as it is; any other text stands in its field
//! `result`, and what a tool failed with in its field `error`, as Google's own clients write it. Both read back.

use serde_json::{Map, Value, json};

use super::camel_names;
use super::part::{self, legal_name};
use crate::dialect::fields::{take_array, take_object, take_text};
use crate::turn::{Origin, Part, PartKind, ToolResult};

/// Reads a part that holds a result, or gives it back.
pub fn read(value: Value) -> Result<Part, Value> {
    let Value::Object(object) = value else { return Err(value) };
    let mut object = camel_names(object);
    let Some(inner) = object.get("functionResponse").and_then(Value::as_object) else {
        return Err(object.into());
    };
    let known = |name: &String| matches!(name.as_str(), "id" | "name" | "response" | "parts");
    if !inner.keys().all(known) || !inner.get("response").is_none_or(Value::is_object) {
        return Err(object.into());
    }
    let mut inner = take_object(&mut object, "functionResponse").unwrap_or_default();
    let (text, is_error) = read_response(take_object(&mut inner, "response").unwrap_or_default());
    let mut content = vec![Part::text(text)];
    content.extend(take_array(&mut inner, "parts").unwrap_or_default().into_iter().map(read_media));
    let result = ToolResult { call_id: take_text(&mut inner, "id"), content, custom: false, is_error };
    // The call's name: nothing else ties a response without an id to its call.
    let name = take_text(&mut inner, "name");
    object.insert("name".into(), name.into());
    Ok(Part { kind: PartKind::ToolResult(result), extra: object })
}

fn read_media(value: Value) -> Part {
    let Value::Object(object) = value else { return PartKind::Other(value).into() };
    let mut object = camel_names(object);
    match part::take_media(&mut object) {
        Some(kind) => Part { kind, extra: object },
        None => PartKind::Other(object.into()).into(),
    }
}

/// The text of a response, and whether it is a failure.
fn read_response(response: Map<String, Value>) -> (String, bool) {
    if response.len() == 1 {
        match (response.get("result"), response.get("error")) {
            (Some(Value::String(text)), _) if !is_object(text) => return (text.clone(), false),
            (_, Some(Value::String(text))) => return (text.clone(), true),
            _ => {}
        }
    }
    (Value::from(response).to_string(), false)
}

fn is_object(text: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(text).is_ok()
}

/// A result for the API: the part, and the pictures and files of it that have to stand beside it.
pub struct Written {
    /// The part.
    pub part: Value,
    /// Parts that follow the responses.
    pub beside: Vec<Value>,
}

/// Writes a result. `name` is its call's; `id` stands only where the call's does. `holds_media` says that the model takes
/// pictures and files inside a response, as Gemini 3 and newer do; older ones get them beside it.
pub fn write(
    result: &ToolResult,
    name: &str,
    id: Option<&str>,
    holds_media: bool,
    native: bool,
    target: &Origin,
) -> Written {
    let mut words = Vec::new();
    let mut media = Vec::new();
    for part in &result.content {
        match &part.kind {
            PartKind::Text(text) | PartKind::Refusal(text) => words.push(text.as_str()),
            _ => media.extend(part::write(part, native, target).map(Value::from)),
        }
    }
    let text = words.join("\n");
    let response = match serde_json::from_str(&text) {
        _ if result.is_error => json!({ "error": text }),
        Ok(Value::Object(fields)) => Value::Object(fields),
        _ => json!({ "result": text }),
    };
    let mut inner = Map::new();
    inner.extend(id.map(|id| ("id".to_owned(), id.into())));
    inner.insert("name".into(), legal_name(name).into());
    inner.insert("response".into(), response);
    let mut beside = Vec::new();
    if media.is_empty() {
    } else if holds_media || native {
        inner.insert("parts".into(), media.into());
    } else {
        beside = media;
    }
    Written { part: json!({ "functionResponse": inner }), beside }
}
