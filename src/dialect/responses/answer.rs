//! Answers of Responses: whole ones, streamed ones, and the event that ends a broken one.
//!
//! Invariant: the response object that closes a stream is read like a whole answer, and is the truth; what was streamed
//! before stands only where that object is empty or never comes.

use serde_json::{Map, Value, json};

use super::{read_item_part, read_spoken};
use crate::dialect::Delta;
use crate::dialect::fields::{failure_text, number_at, take_array, take_text};
use crate::error::Error;
use crate::sse::Event;
use crate::turn::{Answer, Ending, Message, Origin, Part, PartKind, Reasoning, Role, Stop, ToolCall, Usage};

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
        let Value::Object(item) = item else { continue };
        let kind = item.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
        if kind == "message" {
            parts.extend(read_spoken(item));
        } else {
            parts.push(read_item_part(&kind, item).1);
        }
    }
    let calls = parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
    let (ending, stop) = match status.as_str() {
        _ if failed => (Ending::Failed, None),
        // Some back ends say `complete`.
        "completed" | "complete" if calls => (Ending::Complete, Some(Stop::ToolCalls)),
        "completed" | "complete" => (Ending::Complete, Some(Stop::End)),
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
            let reasoning = Reasoning { text: piece, ..Reasoning::default() };
            on_delta(Delta::Reasoning { reasoning, extra: Map::new() });
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
            let call =
                ToolCall { id: String::new(), name: String::new(), arguments: piece, custom, sealed: None };
            on_delta(Delta::ToolCall { slot, call, extra: Map::new() });
        }
        "response.completed" | "response.incomplete" | "response.failed" => {
            let failure = object.get("response").and_then(|response| response.get("error")).map(failure_text);
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
            on_delta(if kind == "response.failed" {
                Delta::Failure(failure.unwrap_or_default())
            } else {
                Delta::End
            });
        }
        // The error's fields stand in the event itself; some back ends wrap them.
        "error" => on_delta(Delta::Failure(failure_text(
            object.get("error").unwrap_or(&Value::Object(object.clone())),
        ))),
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
