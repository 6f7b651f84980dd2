//! Answers of Responses: whole ones, streamed ones, and the event that ends a broken one.
//!
//! Invariant: the response object that closes a stream is read like a whole answer, and is the truth; what was streamed
//! before stands only where that object is empty or never comes.

use serde_json::{Map, Value, json};

use super::ITEM;
use super::item::{PARAGRAPH, read_item_part, read_spoken};
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
        cache_write_1h: 0,
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
    parts.retain(says_something);
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

/// False for reasoning that is neither shown nor sealed: its id alone is of no use to anybody.
fn says_something(part: &Part) -> bool {
    match &part.kind {
        PartKind::Reasoning(Reasoning { text, sealed, .. }) => {
            !text.is_empty() || sealed.is_some() || part.extra.contains_key("content")
        }
        _ => true,
    }
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
    let index = |name: &str| object.get(name).and_then(Value::as_u64).unwrap_or(0);
    let slot = index("output_index");
    match kind.as_str() {
        "response.created" => {
            if let Some(id) = object.get("response").and_then(|response| response.get("id")?.as_str()) {
                on_delta(Delta::Id(id.to_owned()));
            }
        }
        "response.output_text.delta" => {
            on_delta(Delta::Text(take_text(&mut object, "delta")));
            if let Some(logprobs) = take_array(&mut object, "logprobs").filter(|tokens| !tokens.is_empty()) {
                on_delta(Delta::TextExtra("logprobs".to_owned(), logprobs.into()));
            }
        }
        "response.refusal.delta" => on_delta(Delta::Refusal(take_text(&mut object, "delta"))),
        "response.output_text.annotation.added" => {
            if let Some(annotation @ Value::Object(_)) = object.shift_remove("annotation") {
                on_delta(Delta::TextExtra("annotations".to_owned(), Value::Array(vec![annotation])));
            }
        }
        "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
            on_delta(words_of_reasoning(&take_text(&mut object, "delta")));
        }
        "response.reasoning_summary_part.added" if index("summary_index") > 0 => {
            on_delta(words_of_reasoning(PARAGRAPH));
        }
        "response.content_part.added" => {
            match object.get("part").and_then(|part| part.get("type")).and_then(Value::as_str) {
                Some("reasoning_text") if index("content_index") > 0 => {
                    on_delta(words_of_reasoning(PARAGRAPH));
                }
                // What follows is a text of its own, not more of the one before.
                Some("output_text") => on_delta(Delta::Part(Part::text(""))),
                _ => {}
            }
        }
        "response.output_item.added" | "response.output_item.done" => {
            if let Some(Value::Object(item)) = object.shift_remove("item") {
                read_item_event(item, slot, kind.ends_with(".done"), on_delta);
            }
        }
        "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
            let call = ToolCall {
                arguments: take_text(&mut object, "delta"),
                custom: kind.starts_with("response.custom"),
                ..ToolCall::default()
            };
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

fn words_of_reasoning(text: &str) -> Delta {
    let reasoning = Reasoning { text: text.to_owned(), ..Reasoning::default() };
    Delta::Reasoning { reasoning, extra: Map::new() }
}

/// Reads an item that begins or is `done`. What was streamed of it is not said again.
fn read_item_event(item: Map<String, Value>, slot: u64, done: bool, on_delta: &mut dyn FnMut(Delta)) {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
    match (kind.as_str(), done) {
        ("function_call" | "custom_tool_call", false) => {
            if let Part { kind: PartKind::ToolCall(call), extra } = read_item_part(&kind, item).1 {
                on_delta(Delta::ToolCall { slot, call, extra });
            }
        }
        // What follows is reasoning of its own, not more of the one before.
        ("reasoning", false) => {
            on_delta(Delta::Part(PartKind::Reasoning(Reasoning::default()).into()));
        }
        ("reasoning", true) => {
            let part = read_item_part(&kind, item).1;
            if says_something(&part)
                && let Part { kind: PartKind::Reasoning(reasoning), extra } = part
            {
                let reasoning = Reasoning { text: String::new(), ..reasoning };
                on_delta(Delta::Reasoning { reasoning, extra });
            }
        }
        ("message", true) => {
            // The item's own fields stand with its first text, which is the one just said only if it is the only one.
            if let [Part { kind: PartKind::Text(text), extra }] = read_spoken(item).as_mut_slice()
                && !text.is_empty()
                && let Some(fields) = extra.shift_remove(ITEM)
            {
                on_delta(Delta::TextExtra(ITEM.to_owned(), fields));
            }
        }
        ("message" | "function_call" | "custom_tool_call", _) | (_, false) => {}
        (_, true) => on_delta(Delta::Part(read_item_part(&kind, item).1)),
    }
}

fn is_read(kind: &str) -> bool {
    matches!(
        kind,
        "response.created"
            | "response.output_text.delta"
            | "response.refusal.delta"
            | "response.reasoning_summary_text.delta"
            | "response.reasoning_text.delta"
            | "response.function_call_arguments.delta"
            | "response.custom_tool_call_input.delta"
            | "response.output_text.annotation.added"
            | "response.reasoning_summary_part.added"
            | "response.content_part.added"
            | "response.output_item.added"
            | "response.output_item.done"
            | "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "error"
    )
}

/// The event that tells a client that its stream is cut short. `id` is the response's, where the stream has told it.
pub fn write_failure(error: &Error, id: Option<&str>) -> String {
    let mut response = Map::new();
    response.extend(id.map(|id| ("id".to_owned(), id.into())));
    response.insert("object".to_owned(), "response".into());
    response.insert("status".to_owned(), "failed".into());
    let error = json!({"code": error.code().unwrap_or(error.type_name()), "message": error.message()});
    response.insert("error".to_owned(), error);
    response.insert("output".to_owned(), json!([]));
    let data = json!({"type": "response.failed", "response": response});
    format!("event: response.failed\ndata: {data}\n\n")
}
