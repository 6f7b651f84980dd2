//! Output items for clients, and whole answers made of them:
//! <https://platform.openai.com/docs/api-reference/responses/object>.
//!
//! Invariant: an item has the same id and the same fields whether the answer is streamed or whole. Neighbouring texts and
//! refusals are one message item, all else is an item of its own; parts that have no item (a sound, most parts of another
//! dialect) are left out.

use serde_json::{Map, Value, json};

use super::call_seal;
use super::object::{State, response};
use super::write::write_summary;
use crate::dialect::Dialect;
use crate::dialect::citation::citations;
use crate::frame::Frame;
use crate::seal;
use crate::turn::{Answer, Media, Part, PartKind, Reasoning, Source, ToolCall};

/// Writes a whole answer.
pub fn write_answer(answer: &Answer, frame: &Frame) -> Value {
    let mut output: Vec<Value> = Vec::new();
    let mut said: Vec<Value> = Vec::new();
    for part in answer.message.iter().flat_map(|message| &message.parts) {
        if part.is_blank() {
            continue;
        }
        if let Some(content) = content(part) {
            said.push(content);
            continue;
        }
        let at = output.len() + usize::from(!said.is_empty());
        let items = match &part.kind {
            PartKind::Reasoning(thoughts) => vec![reasoning(frame, at, thoughts)],
            PartKind::ToolCall(call) => {
                let carrier = call_carrier(frame, at, call);
                let at = at + usize::from(carrier.is_some());
                carrier.into_iter().chain([tool_call(frame, at, call, COMPLETED)]).collect()
            }
            PartKind::Image(media) => picture(frame, at, media).into_iter().collect(),
            PartKind::Other(step) => web_search(frame, at, step).into_iter().collect(),
            _ => Vec::new(),
        };
        if !items.is_empty() {
            end_message(frame, &mut output, &mut said);
            output.extend(items);
        }
    }
    end_message(frame, &mut output, &mut said);
    response(frame, &State::Ended(answer.stop.as_ref()), output, answer.usage)
}

fn end_message(frame: &Frame, output: &mut Vec<Value>, said: &mut Vec<Value>) {
    if !said.is_empty() {
        let at = output.len();
        output.push(message(frame, at, std::mem::take(said), COMPLETED));
    }
}

/// The state of an item that is being made.
pub(super) const IN_PROGRESS: &str = "in_progress";
/// The state of an item that is whole.
pub(super) const COMPLETED: &str = "completed";

/// The id of the item at a place of the output.
pub(super) fn item_id(frame: &Frame, kind: &str, at: usize) -> String {
    format!("{kind}_{}{at}", frame.id)
}

pub(super) fn message(frame: &Frame, at: usize, content: Vec<Value>, status: &str) -> Value {
    json!({
        "id": item_id(frame, "msg", at),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    })
}

/// A text or refusal as content of a message item; `None` for any other part.
pub(super) fn content(part: &Part) -> Option<Value> {
    match &part.kind {
        PartKind::Text(text) => {
            let annotations: Vec<Value> =
                citations(part).iter().map(|citation| citation.for_responses()).collect();
            let tokens = part.extra.get("logprobs").and_then(Value::as_array);
            let logprobs = logprobs(tokens.map(Vec::as_slice).unwrap_or_default());
            Some(
                json!({"type": "output_text", "annotations": annotations, "logprobs": logprobs, "text": text}),
            )
        }
        PartKind::Refusal(text) => Some(json!({"type": "refusal", "refusal": text})),
        _ => None,
    }
}

/// Log probabilities with all the fields that they must have here.
pub(super) fn logprobs(tokens: &[Value]) -> Value {
    let whole = |token: &Value| {
        let mut fields = token.as_object().cloned().unwrap_or_default();
        for name in ["bytes", "top_logprobs"] {
            if fields.get(name).is_none_or(Value::is_null) {
                fields.insert(name.to_owned(), json!([]));
            }
        }
        Value::Object(fields)
    };
    tokens.iter().map(whole).collect()
}

pub(super) fn reasoning(frame: &Frame, at: usize, reasoning: &Reasoning) -> Value {
    let mut item = Map::new();
    item.insert("id".to_owned(), item_id(frame, "rs", at).into());
    item.insert("type".to_owned(), "reasoning".into());
    item.insert("summary".to_owned(), write_summary(&reasoning.text));
    if let Some(sealed) = &reasoning.sealed {
        let own = frame.origin.dialect == Dialect::Responses;
        let sealed = if own { sealed.clone() } else { seal::wrap(&frame.origin, sealed) };
        item.insert("encrypted_content".to_owned(), sealed.into());
    }
    Value::Object(item)
}

/// The item in front of a call that carries the call's seal; see [`call_seal`].
pub(super) fn call_carrier(frame: &Frame, at: usize, call: &ToolCall) -> Option<Value> {
    let sealed = call_seal::wrap(&frame.origin, &call.id, call.sealed.as_deref()?);
    Some(json!({
        "id": item_id(frame, "rs", at),
        "type": "reasoning",
        "summary": [],
        "encrypted_content": sealed,
    }))
}

/// The id of the item of a call.
pub(super) fn tool_call_id(frame: &Frame, at: usize, custom: bool) -> String {
    item_id(frame, if custom { "ctc" } else { "fc" }, at)
}

/// A call as far as its arguments have come.
pub(super) fn tool_call(frame: &Frame, at: usize, call: &ToolCall, status: &str) -> Value {
    let (kind, input) =
        if call.custom { ("custom_tool_call", "input") } else { ("function_call", "arguments") };
    let mut item = Map::new();
    item.insert("id".to_owned(), tool_call_id(frame, at, call.custom).into());
    item.insert("type".to_owned(), kind.into());
    item.insert("status".to_owned(), status.into());
    item.insert("call_id".to_owned(), call.id.as_str().into());
    item.insert("name".to_owned(), call.name.as_str().into());
    item.insert(input.to_owned(), call.arguments.as_str().into());
    Value::Object(item)
}

/// A search of the web that the provider of another dialect ran, as OpenAI tells its own; `None` for any other step.
pub(super) fn web_search(frame: &Frame, at: usize, step: &Value) -> Option<Value> {
    let is = |name: &str, word: &str| step.get(name).is_some_and(|value| value == word);
    if !is("type", "server_tool_use") || !is("name", "web_search") {
        return None;
    }
    let query = step.pointer("/input/query").and_then(Value::as_str).unwrap_or_default();
    Some(json!({
        "id": item_id(frame, "ws", at),
        "type": "web_search_call",
        "status": COMPLETED,
        "action": {"type": "search", "query": query},
    }))
}

/// A picture that the model drew, as the call of the tool that draws at OpenAI; `None` without its bytes.
pub(super) fn picture(frame: &Frame, at: usize, media: &Media) -> Option<Value> {
    let Source::Data(bytes) = &media.source else { return None };
    Some(json!({
        "id": item_id(frame, "ig", at),
        "type": "image_generation_call",
        "status": COMPLETED,
        "result": bytes,
    }))
}
