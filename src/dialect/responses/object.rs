//! The response object that a client gets: around the output, what was asked and how it ended.
//! <https://platform.openai.com/docs/api-reference/responses/object>
//!
//! Invariant: every field that the object must have is there, whatever the client's request left out.

use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::error::{Error, Kind};
use crate::frame::Frame;
use crate::turn::{Stop, Usage};

/// The fields of a request that its response repeats.
const ECHOED: &[&str] = &[
    "background",
    "conversation",
    "frequency_penalty",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "presence_penalty",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// The fields of a request that its response repeats, for [`Frame::echo`]. Null counts as absent.
pub fn echo(body: &Body<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    for name in ECHOED.iter().filter(|name| body.has(name)) {
        if let Some(value) = body.raw(name).and_then(|raw| serde_json::from_str(raw.get()).ok()) {
            fields.insert((*name).to_owned(), value);
        }
    }
    fields
}

/// How far a response has come.
pub(super) enum State<'a> {
    /// It is being made.
    InProgress,
    /// It ended.
    Ended(Option<&'a Stop>),
    /// It broke off.
    Failed(&'a Error),
}

/// The id of a response.
pub(super) fn id(frame: &Frame) -> String {
    format!("resp_{}", frame.id)
}

/// The response object.
pub(super) fn response(frame: &Frame, state: &State<'_>, output: Vec<Value>, usage: Option<Usage>) -> Value {
    let (status, error, incomplete) = match state {
        State::InProgress => ("in_progress", Value::Null, Value::Null),
        State::Failed(error) => ("failed", failure(error), Value::Null),
        State::Ended(stop) => match stop.and_then(why_incomplete) {
            Some(reason) => ("incomplete", Value::Null, json!({ "reason": reason })),
            None => ("completed", Value::Null, Value::Null),
        },
    };
    let mut object = Map::new();
    let mut set = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    let asked = |name: &str| frame.echo.get(name).cloned();
    let or_null = |name: &str| asked(name).unwrap_or_default();
    set("id", id(frame).into());
    set("object", "response".into());
    set("created_at", frame.created_at_seconds().into());
    set("status", status.into());
    set("background", asked("background").unwrap_or(false.into()));
    // The time of the end is not known here, and a false one is worse than none.
    set("completed_at", Value::Null);
    set("error", error);
    set("frequency_penalty", asked("frequency_penalty").unwrap_or(0.into()));
    set("incomplete_details", incomplete);
    set("instructions", or_null("instructions"));
    set("max_output_tokens", or_null("max_output_tokens"));
    set("max_tool_calls", or_null("max_tool_calls"));
    set("metadata", asked("metadata").unwrap_or_else(|| json!({})));
    set("model", frame.model.as_str().into());
    set("output", output.into());
    set("parallel_tool_calls", asked("parallel_tool_calls").unwrap_or(true.into()));
    set("presence_penalty", asked("presence_penalty").unwrap_or(0.into()));
    set("previous_response_id", or_null("previous_response_id"));
    set("prompt_cache_key", or_null("prompt_cache_key"));
    set("reasoning", with_defaults(asked("reasoning"), json!({"effort": null, "summary": null})));
    set("safety_identifier", or_null("safety_identifier"));
    set("service_tier", asked("service_tier").filter(|tier| tier != "auto").unwrap_or("default".into()));
    set("store", asked("store").unwrap_or(true.into()));
    set("temperature", asked("temperature").unwrap_or(1.into()));
    set("text", with_defaults(asked("text"), json!({"format": {"type": "text"}})));
    set("tool_choice", asked("tool_choice").unwrap_or("auto".into()));
    set("tools", tools(asked("tools")));
    set("top_logprobs", asked("top_logprobs").unwrap_or(0.into()));
    set("top_p", asked("top_p").unwrap_or(1.into()));
    set("truncation", asked("truncation").unwrap_or("disabled".into()));
    set("usage", usage.map_or(Value::Null, write_usage));
    if let Some(user) = asked("user") {
        set("user", user);
    }
    // The request may name it, the response wraps it.
    match asked("conversation") {
        Some(Value::String(id)) => set("conversation", json!({ "id": id })),
        Some(other) => set("conversation", other),
        None => {}
    }
    Value::Object(object)
}

/// Why a response is not whole; `None` where it is.
fn why_incomplete(stop: &Stop) -> Option<&'static str> {
    match stop {
        Stop::Length => Some("max_output_tokens"),
        Stop::ContentFilter => Some("content_filter"),
        Stop::End | Stop::ToolCalls | Stop::Other(_) => None,
    }
}

fn failure(error: &Error) -> Value {
    let code = match error.kind() {
        Kind::Refused(429) => "rate_limit_exceeded",
        _ => error.code().unwrap_or(error.type_name()),
    };
    json!({"code": code, "message": error.message()})
}

fn write_usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    })
}

/// What was asked, and the defaults of what was not.
fn with_defaults(asked: Option<Value>, defaults: Value) -> Value {
    match (asked, defaults) {
        (Some(Value::Object(asked)), Value::Object(mut fields)) => {
            fields.extend(asked.into_iter().filter(|(_, value)| !value.is_null()));
            Value::Object(fields)
        }
        (_, defaults) => defaults,
    }
}

/// The tools, functions with all the fields that they must have.
fn tools(asked: Option<Value>) -> Value {
    let Some(Value::Array(tools)) = asked else { return json!([]) };
    let whole = |mut tool: Value| {
        if let Value::Object(fields) = &mut tool
            && fields.get("type").and_then(Value::as_str) == Some("function")
        {
            for name in ["description", "parameters"] {
                fields.entry(name).or_insert(Value::Null);
            }
            fields.entry("strict").or_insert(false.into());
        }
        tool
    };
    tools.into_iter().map(whole).collect()
}
