//! Answers of Messages, read: whole ones and streamed ones.
//!
//! Invariant: a streamed answer reads like the same answer whole. Blocks are told apart by their index, so they may come
//! interleaved; a `message_start` begins the answer, again if need be.

use serde_json::{Map, Value};

use super::block::{read_block, read_content};
use crate::dialect::fields::{failure_text, number_at, take_array, take_object, take_text};
use crate::dialect::{Delta, Growth};
use crate::sse::Event;
use crate::turn::{Answer, Ending, Message, Origin, PartKind, Role, Stop, Usage};

/// Reads a whole answer; `None` when it is not a message.
pub fn read_answer(json: &[u8], origin: &Origin) -> Option<Answer> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(json) else { return None };
    let failed = object.get("error").is_some_and(|error| !error.is_null());
    let content = take_array(&mut object, "content");
    if content.is_none() && !failed {
        return None;
    }
    let message = message(content.unwrap_or_default(), origin);
    Some(Answer {
        message: (!message.parts.is_empty()).then_some(message),
        usage: read_usage(object.get("usage")),
        stop: read_stop(object.get("stop_reason")),
        ending: if failed { Ending::Failed } else { Ending::Complete },
    })
}

fn message(content: Vec<Value>, origin: &Origin) -> Message {
    let mut parts = read_content(Value::Array(content));
    parts.retain(|part| !part.is_blank());
    Message { origin: Some(origin.clone()), ..Message::new(Role::Assistant, parts) }
}

/// Reads one event of a streamed answer.
pub fn read_event(event: Event<'_>, origin: &Origin, on_delta: &mut dyn FnMut(Delta)) {
    if event.name == "ping" {
        return;
    }
    let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(event.data) else { return };
    let kind = take_text(&mut object, "type");
    let slot = object.get("index").and_then(Value::as_u64).unwrap_or(0);
    match kind.as_str() {
        "message_start" => {
            let mut start = take_object(&mut object, "message").unwrap_or_default();
            on_delta(Delta::Message(message(take_array(&mut start, "content").unwrap_or_default(), origin)));
            if let Some(usage) = read_usage(start.get("usage")) {
                on_delta(Delta::Usage(usage));
            }
        }
        "content_block_start" => {
            let mut part = read_block(object.shift_remove("content_block").unwrap_or_default());
            if let PartKind::ToolCall(call) = &mut part.kind
                && call.arguments == "{}"
            {
                // Not the arguments, only their beginning: the pieces follow.
                call.arguments.clear();
            }
            on_delta(Delta::Open { slot, part });
        }
        "content_block_delta" => {
            for growth in read_growth(take_object(&mut object, "delta").unwrap_or_default()) {
                on_delta(Delta::Grow { slot, growth });
            }
        }
        "content_block_stop" => on_delta(Delta::Close { slot }),
        "message_delta" => {
            if let Some(usage) = read_usage(object.get("usage")) {
                on_delta(Delta::Usage(usage));
            }
            if let Some(stop) = read_stop(object.get("delta").and_then(|delta| delta.get("stop_reason"))) {
                on_delta(Delta::Stop(stop));
            }
        }
        "message_stop" => on_delta(Delta::End),
        "error" => on_delta(Delta::Failure(object.get("error").map(failure_text).unwrap_or_default())),
        _ => {}
    }
}

fn read_growth(mut delta: Map<String, Value>) -> Vec<Growth> {
    let piece = |text: String, of: fn(String) -> Growth| {
        // Empty pieces are common, and say nothing: the only piece of a call without arguments is one.
        if text.is_empty() { Vec::new() } else { vec![of(text)] }
    };
    let kind = take_text(&mut delta, "type");
    match kind.as_str() {
        "text_delta" => piece(take_text(&mut delta, "text"), Growth::Text),
        "thinking_delta" => piece(take_text(&mut delta, "thinking"), Growth::Text),
        "signature_delta" => piece(take_text(&mut delta, "signature"), Growth::Sealed),
        "input_json_delta" => piece(take_text(&mut delta, "partial_json"), Growth::Input),
        "citations_delta" => delta
            .shift_remove("citation")
            .map(|citation| Growth::Extra("citations".to_owned(), Value::Array(vec![citation])))
            .into_iter()
            .collect(),
        // A summary of the conversation comes in one delta, with all of its fields.
        "compaction_delta" => delta.into_iter().map(|(name, value)| Growth::Extra(name, value)).collect(),
        _ => Vec::new(),
    }
}

/// Anthropic counts what it read from and wrote to its cache beside the input, not in it.
fn read_usage(usage: Option<&Value>) -> Option<Usage> {
    let usage = usage.filter(|usage| usage.is_object())?;
    let cached = number_at(usage, &["cache_read_input_tokens"]);
    let cache_write = number_at(usage, &["cache_creation_input_tokens"]);
    Some(Usage {
        input: number_at(usage, &["input_tokens"]).saturating_add(cached).saturating_add(cache_write),
        output: number_at(usage, &["output_tokens"]),
        cached,
        cache_write,
        cache_write_1h: number_at(usage, &["cache_creation", "ephemeral_1h_input_tokens"]),
        reasoning: number_at(usage, &["output_tokens_details", "thinking_tokens"]),
    })
}

fn read_stop(reason: Option<&Value>) -> Option<Stop> {
    Some(match reason?.as_str()? {
        "end_turn" | "stop_sequence" => Stop::End,
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "tool_use" => Stop::ToolCalls,
        "refusal" => Stop::ContentFilter,
        // `pause_turn` and `compaction`: the client is to send the answer back, and the model goes on.
        other => Stop::Other(other.to_owned()),
    })
}
