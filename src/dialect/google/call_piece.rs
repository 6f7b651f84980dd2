//! Calls whose arguments come in pieces (`partialArgs`, `willContinue`), as Vertex streams them when it is asked to:
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling>.
//!
//! Invariant: one call comes at a time. The piece with the name begins it; the first that does not say that it goes on
//! ends it.

use serde_json::{Map, Value};

use super::camel_names;
use super::part::SIGNATURE;
use crate::dialect::fields::{take_array, take_object, take_string, take_text, without_empty};
use crate::dialect::{Delta, Growth};
use crate::turn::{Part, PartKind, ToolCall};

/// The slot of the call that is coming.
const SLOT: u64 = 1;

/// Reads a part that holds a piece of a call; gives back any other.
pub fn read(value: Value, on_delta: &mut dyn FnMut(Delta)) -> Result<(), Value> {
    let Some(call) = value.get("functionCall").or_else(|| value.get("function_call")) else {
        return Err(value);
    };
    let Some(mut call) = call.as_object().cloned().map(camel_names) else { return Err(value) };
    let name = take_text(&mut call, "name");
    let goes_on = call.shift_remove("willContinue").is_some_and(|goes_on| goes_on == Value::Bool(true));
    let pieces = take_array(&mut call, "partialArgs");
    let is_whole = !name.is_empty() && !goes_on && pieces.is_none();
    let known = |name: &String| matches!(name.as_str(), "id" | "args");
    if is_whole || !call.keys().all(known) || (name.is_empty() && !call.is_empty()) {
        return Err(value);
    }
    let Value::Object(part) = value else { return Err(value) };
    let mut extra = camel_names(part);
    extra.shift_remove("functionCall");
    if !name.is_empty() {
        let arguments = take_object(&mut call, "args").map(|args| Value::from(args).to_string());
        let call = ToolCall {
            id: take_text(&mut call, "id"),
            name,
            arguments: arguments.unwrap_or_default(),
            custom: false,
            sealed: take_string(&mut extra, SIGNATURE),
        };
        let part = Part { kind: PartKind::ToolCall(call), extra: without_empty(extra) };
        on_delta(Delta::Open { slot: SLOT, part });
    }
    for piece in pieces.unwrap_or_default() {
        if let Value::Object(piece) = piece
            && let Some(growth) = read_piece(camel_names(piece))
        {
            on_delta(Delta::Grow { slot: SLOT, growth });
        }
    }
    if !goes_on {
        on_delta(Delta::Close { slot: SLOT });
    }
    Ok(())
}

fn read_piece(mut piece: Map<String, Value>) -> Option<Growth> {
    let path = take_string(&mut piece, "jsonPath")?;
    let value = ["stringValue", "numberValue", "boolValue"].iter().find_map(|name| piece.shift_remove(*name));
    let is_null = || piece.contains_key("nullValue").then_some(Value::Null);
    Some(Growth::Argument { path, piece: value.or_else(is_null)? })
}
