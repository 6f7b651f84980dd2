//! Answers of Chat Completions: whole ones and streamed ones.
//!
//! Invariant: of several choices the first is read. What servers do differently (reasoning in three places, reasoning that
//! is missing from the completion's tokens, a stop under another name) is evened out here and nowhere else.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::message::{read_message, read_part, read_reasoning, read_tool_call};
use crate::dialect::Delta;
use crate::dialect::fields::{failure_text, number_at, take_array, take_string, without_empty};
use crate::sse::Event;
use crate::turn::{Answer, Ending, Origin, Part, PartKind, Role, Stop, Usage};

/// Reads a whole answer; `None` when it is not a chat completion.
pub fn read_answer(json: &[u8], origin: &Origin) -> Option<Answer> {
    let mut value: Value = serde_json::from_slice(json).ok()?;
    let usage = read_usage(&taken(&mut value, "usage"), &taken(&mut value, "x_groq"));
    let failed = value.get("error").is_some_and(|error| !error.is_null());
    let choice = value.get_mut("choices").and_then(|choices| choices.get_mut(0)).map(Value::take);
    if choice.is_none() && !failed && value.get("choices").is_none() {
        return None;
    }
    let mut choice = choice.unwrap_or_default();
    let stop = read_stop(&taken(&mut choice, "finish_reason"));
    let logprobs = read_logprobs(&taken(&mut choice, "logprobs"));
    let mut message = match taken(&mut choice, "message") {
        Value::Object(object) => Some(read_message(object, Role::Assistant, origin)),
        _ => None,
    }
    .filter(|message| !message.parts.is_empty());
    let texts = message.iter_mut().flat_map(|message| &mut message.parts);
    if let Some(text) = texts.filter(|part| matches!(part.kind, PartKind::Text(_))).last()
        && let Some(logprobs) = logprobs
    {
        text.extra.insert("logprobs".to_owned(), logprobs);
    }
    let ending = if failed { Ending::Failed } else { Ending::Complete };
    Some(Answer { message, usage, stop, ending })
}

/// Reads one event of a streamed answer.
pub fn read_event(event: Event<'_>, on_delta: &mut dyn FnMut(Delta)) {
    if event.data.trim() == "[DONE]" {
        return on_delta(Delta::End);
    }
    let Some(Chunk { error, usage, x_groq, choices }) = Chunk::read(event.data) else { return };
    if !error.is_null() {
        on_delta(Delta::Failure(failure_text(&error)));
    }
    if let Some(usage) = read_usage(&usage, &x_groq) {
        on_delta(Delta::Usage(usage));
    }
    for Choice { index, delta, logprobs, finish_reason } in choices {
        if index.as_u64().unwrap_or(0) != 0 {
            continue;
        }
        if let Value::Object(delta) = delta {
            read_delta(delta, on_delta);
        }
        if let Some(logprobs) = read_logprobs(&logprobs) {
            on_delta(Delta::TextExtra("logprobs".to_owned(), logprobs));
        }
        if let Some(stop) = read_stop(&finish_reason) {
            on_delta(Delta::Stop(stop));
        }
    }
}

/// What is read of an event; the rest, which every event repeats, is stepped over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Chunk {
    error: Value,
    usage: Value,
    /// Groq's older models report their usage here.
    x_groq: Value,
    choices: Vec<Choice>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice {
    index: Value,
    delta: Value,
    logprobs: Value,
    finish_reason: Value,
}

impl Chunk {
    /// Of JSON that is an object.
    fn read(json: &str) -> Option<Self> {
        let as_documented = json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok());
        // A field said twice, or choices that are none, cost nobody the rest of what is said.
        as_documented.flatten().or_else(|| serde_json::from_str(json).ok().map(Chunk::from_value))
    }

    fn from_value(mut value: Value) -> Self {
        let choices = match taken(&mut value, "choices") {
            Value::Array(choices) => choices.into_iter().map(Choice::from_value).collect(),
            _ => Vec::new(),
        };
        let mut taken = |name| taken(&mut value, name);
        Chunk { error: taken("error"), usage: taken("usage"), x_groq: taken("x_groq"), choices }
    }
}

impl Choice {
    fn from_value(mut value: Value) -> Self {
        let mut taken = |name| taken(&mut value, name);
        Choice {
            index: taken("index"),
            delta: taken("delta"),
            logprobs: taken("logprobs"),
            finish_reason: taken("finish_reason"),
        }
    }
}

/// A field's value; null where there is none.
fn taken(value: &mut Value, name: &str) -> Value {
    value.get_mut(name).map(Value::take).unwrap_or_default()
}

fn read_delta(mut delta: Map<String, Value>, on_delta: &mut dyn FnMut(Delta)) {
    delta.shift_remove("role");
    if let Some((reasoning, extra)) = read_reasoning(&mut delta) {
        on_delta(Delta::Reasoning { reasoning, extra });
    }
    match delta.shift_remove("content") {
        Some(Value::String(text)) if !text.is_empty() => on_delta(Delta::Text(text)),
        // Mistral streams reasoning models' content as parts.
        Some(Value::Array(parts)) => parts.into_iter().map(read_part).for_each(|part| match part.kind {
            PartKind::Text(text) => on_delta(Delta::Text(text)),
            PartKind::Reasoning(reasoning) => on_delta(Delta::Reasoning { reasoning, extra: part.extra }),
            // A thought that is closed without another word.
            PartKind::Other(value) if value.get("thinking") == Some(&Value::Array(Vec::new())) => {}
            _ => on_delta(Delta::Part(part)),
        }),
        _ => {}
    }
    if let Some(text) = take_string(&mut delta, "refusal") {
        on_delta(Delta::Refusal(text));
    }
    for (at, call) in take_array(&mut delta, "tool_calls").unwrap_or_default().into_iter().enumerate() {
        let slot = call.get("index").and_then(Value::as_u64).unwrap_or(at as u64);
        if let Part { kind: PartKind::ToolCall(call), extra } = read_tool_call(call) {
            on_delta(Delta::ToolCall { slot, call, extra });
        }
    }
    for (name, value) in without_empty(delta) {
        on_delta(match name.as_str() {
            "annotations" => Delta::TextExtra(name, value),
            _ => Delta::Extra(name, value),
        });
    }
}

/// The log probabilities of the answer's words. Those of a refusal have no place in other dialects.
fn read_logprobs(logprobs: &Value) -> Option<Value> {
    let tokens = logprobs.get("content")?.as_array()?;
    (!tokens.is_empty()).then(|| tokens.clone().into())
}

fn read_usage(usage: &Value, x_groq: &Value) -> Option<Usage> {
    let usage = [Some(usage), x_groq.get("usage")].into_iter().flatten().find(|usage| usage.is_object())?;
    let input = number_at(usage, &["prompt_tokens"]);
    let total = number_at(usage, &["total_tokens"]);
    Some(Usage {
        input,
        // xAI and Gemini count reasoning in the total only.
        output: number_at(usage, &["completion_tokens"]).max(total.saturating_sub(input)),
        cached: number_at(usage, &["prompt_tokens_details", "cached_tokens"]),
        cache_write: number_at(usage, &["prompt_tokens_details", "cache_write_tokens"]),
        cache_write_1h: 0,
        reasoning: number_at(usage, &["completion_tokens_details", "reasoning_tokens"]),
    })
}

/// Why the model stopped, by the words of OpenAI and of the servers that are compatible with it.
fn read_stop(reason: &Value) -> Option<Stop> {
    Some(match reason.as_str()? {
        // Snowflake writes an empty word under every piece.
        "" => return None,
        "stop" | "eos" | "end_turn" => Stop::End,
        "length" | "max_tokens" | "model_length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::ToolCalls,
        "content_filter" | "sensitive" => Stop::ContentFilter,
        other => Stop::Other(other.to_owned()),
    })
}
