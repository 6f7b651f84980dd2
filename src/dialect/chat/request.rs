//! Requests of clients, read.
//!
//! Invariant: a field is consumed only if all of it is understood; the rest of it stays under its name, so that nothing is
//! left out in silence. Extensions that many compatible servers share are read like fields of OpenAI's own.

use serde_json::{Map, Value};

use crate::body::Body;
use crate::dialect::fields::{take_object, take_string, without_empty};
use crate::dialect::request_fields::{COUNT, RequestFields, as_count, wrong};
use crate::error::Error;
use crate::request::{
    Effort, Entry, Field, Format, Request, Thinking, Tool, ToolChoice, ToolKind, WebSearch,
};

/// What the fields are called here.
pub const NAMES: &[(Field, &str)] = &[
    (Field::MaxTokens, "max_completion_tokens"),
    (Field::Temperature, "temperature"),
    (Field::TopP, "top_p"),
    (Field::TopK, "top_k"),
    (Field::FrequencyPenalty, "frequency_penalty"),
    (Field::PresencePenalty, "presence_penalty"),
    (Field::Seed, "seed"),
    (Field::LogitBias, "logit_bias"),
    (Field::Logprobs, "logprobs"),
    (Field::Stop, "stop"),
    (Field::N, "n"),
    (Field::JsonObject, "response_format"),
    (Field::JsonSchema, "response_format"),
    (Field::Verbosity, "verbosity"),
    (Field::Thinking, "reasoning_effort"),
    (Field::Tools, "tools"),
    (Field::CustomTools, "tools"),
    (Field::WebSearch, "web_search_options"),
    (Field::SearchContextSize, "web_search_options.search_context_size"),
    (Field::SearchLocation, "web_search_options.user_location"),
    (Field::ServerTools, "tools"),
    (Field::ToolChoice, "tool_choice"),
    (Field::AllowedTools, "tool_choice"),
    (Field::ParallelToolCalls, "parallel_tool_calls"),
    (Field::User, "user"),
    (Field::Metadata, "metadata"),
    (Field::ServiceTier, "service_tier"),
];

/// Fields without a word in the hub that other dialects can do without: storage, caching, accounting, the providers' own
/// watch over abuse, and a guess at the answer that only makes it faster.
pub const HINTS: &[&str] = &[
    "store",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "session_id",
    "transforms",
    "usage",
];

/// What is about the transport, or is read elsewhere.
const CONSUMED: [&str; 3] = ["model", "models", "messages"];

/// Reads a request whose conversation is already known. Errors: 400 that names the field.
pub fn read_request(body: &Body<'_>, entries: Vec<Entry>) -> Result<Request, Error> {
    let mut fields = RequestFields::of(body, &CONSUMED);
    let max_completion_tokens = fields.count("max_completion_tokens")?;
    let max_tokens = fields.count("max_tokens")?;
    let (tools, tool_choice) = read_tools(&mut fields)?;
    Ok(Request {
        model: body.string("model")?.unwrap_or_default().into_owned(),
        stream: fields.flag("stream")?.unwrap_or(false),
        stream_usage: read_stream_usage(&mut fields)?,
        entries,
        tools,
        tool_choice,
        parallel_tool_calls: fields.flag("parallel_tool_calls")?,
        max_tokens: max_completion_tokens.or(max_tokens),
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.count("top_k")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        presence_penalty: fields.number("presence_penalty")?,
        seed: fields.number("seed")?,
        logit_bias: fields.object("logit_bias")?.map(Value::Object),
        logprobs: read_logprobs(&mut fields)?,
        stop: read_stop(&mut fields)?,
        n: fields.count("n")?,
        format: read_format(&mut fields)?,
        verbosity: fields.string("verbosity")?,
        thinking: read_thinking(&mut fields)?,
        user: fields.string("user")?,
        metadata: fields.object("metadata")?,
        service_tier: fields.string("service_tier")?,
        rest: rest(fields),
    })
}

fn read_stream_usage(request: &mut RequestFields) -> Result<bool, Error> {
    let options = request.object("stream_options")?.unwrap_or_default();
    match options.get("include_usage") {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| wrong("stream_options.include_usage", "true or false")),
    }
}

fn read_logprobs(request: &mut RequestFields) -> Result<Option<u64>, Error> {
    let wanted = request.flag("logprobs")?.unwrap_or(false);
    let alternatives = request.count("top_logprobs")?;
    Ok(wanted.then_some(alternatives.unwrap_or(0)))
}

fn read_stop(request: &mut RequestFields) -> Result<Vec<String>, Error> {
    match request.take("stop") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(at, item)| match item {
                Value::String(text) => Ok(text),
                _ => Err(wrong(&format!("stop[{at}]"), "a string")),
            })
            .collect(),
        Some(_) => Err(wrong("stop", "a string or an array of strings")),
    }
}

fn read_format(request: &mut RequestFields) -> Result<Option<Format>, Error> {
    let Some(mut format) = request.object("response_format")? else { return Ok(None) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(Some(Format::Text)),
        Some("json_object") => Ok(Some(Format::JsonObject)),
        Some("json_schema") => {
            let mut inner = take_object(&mut format, "json_schema")
                .ok_or_else(|| wrong("response_format.json_schema", "an object"))?;
            let schema = inner.shift_remove("schema").filter(Value::is_object);
            Ok(Some(Format::JsonSchema {
                name: take_string(&mut inner, "name"),
                description: take_string(&mut inner, "description"),
                schema: schema.ok_or_else(|| wrong("response_format.json_schema.schema", "an object"))?,
                strict: inner.get("strict").and_then(Value::as_bool),
            }))
        }
        _ => Err(wrong("response_format.type", "text, json_object or json_schema")),
    }
}

/// Tools and the choice among them, each under its present or its former name.
fn read_tools(request: &mut RequestFields) -> Result<(Vec<Tool>, Option<ToolChoice>), Error> {
    let mut tools = Vec::new();
    for (field, read) in
        [("tools", read_tool as fn(Value, &str) -> Result<Tool, Error>), ("functions", read_function)]
    {
        match request.take(field) {
            None => {}
            Some(Value::Array(items)) => {
                for (at, item) in items.into_iter().enumerate() {
                    tools.push(read(item, &format!("{field}[{at}]"))?);
                }
            }
            Some(_) => return Err(wrong(field, "an array")),
        }
    }
    let former =
        request.take("function_call").map(|value| read_choice(value, "function_call")).transpose()?;
    let choice = request.take("tool_choice").map(|value| read_choice(value, "tool_choice")).transpose()?;
    tools.extend(read_web_search(request)?);
    Ok((tools, choice.or(former)))
}

/// A search of the web stands beside the tools here.
fn read_web_search(request: &mut RequestFields) -> Result<Option<Tool>, Error> {
    const NAME: &str = "web_search_options";
    let Some(mut options) = request.object(NAME)? else { return Ok(None) };
    options.retain(|_, value| !value.is_null());
    let mut search =
        WebSearch { context_size: take_string(&mut options, "search_context_size"), ..WebSearch::default() };
    if let Some(mut location) = take_object(&mut options, "user_location") {
        let approximate = take_object(&mut location, "approximate")
            .ok_or_else(|| wrong("web_search_options.user_location.approximate", "an object"))?;
        search.location = Some(without_empty(approximate));
    }
    keep(request, NAME, options);
    Ok(Some(Tool { kind: ToolKind::WebSearch(search), extra: Map::new() }))
}

/// How much to think, in OpenAI's words, in OpenRouter's and in Anthropic's.
fn read_thinking(request: &mut RequestFields) -> Result<Thinking, Error> {
    let mut thinking = Thinking::default();
    if let Some(word) = request.string("reasoning_effort")? {
        thinking.effort = read_effort(&word, "reasoning_effort")?;
    }
    read_openrouter_reasoning(request, &mut thinking)?;
    read_anthropic_thinking(request, &mut thinking)?;
    if let Some(shown) = request.flag("include_reasoning")? {
        thinking.shown = thinking.shown.or(Some(shown));
    }
    Ok(thinking)
}

/// <https://openrouter.ai/docs/use-cases/reasoning-tokens#controlling-reasoning-tokens>
fn read_openrouter_reasoning(request: &mut RequestFields, thinking: &mut Thinking) -> Result<(), Error> {
    let Some(mut fields) = request.object("reasoning")? else { return Ok(()) };
    let mut enabled = None;
    for (name, value) in std::mem::take(&mut fields) {
        let place = format!("reasoning.{name}");
        match name.as_str() {
            _ if value.is_null() => {}
            "effort" => {
                let word = value.as_str().ok_or_else(|| wrong(&place, "a string"))?;
                thinking.effort = read_effort(word, &place)?;
            }
            "max_tokens" => {
                thinking.budget = Some(as_count(&value).ok_or_else(|| wrong(&place, COUNT))?);
            }
            "exclude" => {
                thinking.shown = Some(!value.as_bool().ok_or_else(|| wrong(&place, "true or false"))?);
            }
            "enabled" => {
                enabled = Some(value.as_bool().ok_or_else(|| wrong(&place, "true or false"))?);
            }
            "summary" => {
                thinking.summary = Some(value.as_str().ok_or_else(|| wrong(&place, "a string"))?.to_owned());
            }
            _ => drop(fields.insert(name, value)),
        }
    }
    match enabled {
        Some(false) => *thinking = Thinking { effort: Some(Effort::None), ..Thinking::default() },
        Some(true) if thinking.effort.is_none() && thinking.budget.is_none() => {
            thinking.effort = Some(Effort::Medium);
        }
        _ => {}
    }
    keep(request, "reasoning", fields);
    Ok(())
}

/// <https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>
fn read_anthropic_thinking(request: &mut RequestFields, thinking: &mut Thinking) -> Result<(), Error> {
    let Some(mut fields) = request.object("thinking")? else { return Ok(()) };
    let budget = fields.shift_remove("budget_tokens").filter(|value| !value.is_null());
    let budget = budget
        .map(|value| as_count(&value).ok_or_else(|| wrong("thinking.budget_tokens", COUNT)))
        .transpose()?;
    match take_string(&mut fields, "type").as_deref() {
        Some("enabled") => {
            thinking.budget = budget.or(thinking.budget);
            thinking.adaptive = thinking.budget.is_none() && thinking.effort.is_none();
        }
        Some("adaptive") => thinking.adaptive = true,
        Some("disabled") => thinking.effort = Some(Effort::None),
        _ => return Err(wrong("thinking.type", "enabled, disabled or adaptive")),
    }
    match take_string(&mut fields, "display").as_deref() {
        None => {}
        Some("summarized") => thinking.shown = Some(true),
        Some("omitted") => thinking.shown = Some(false),
        Some(_) => return Err(wrong("thinking.display", "summarized or omitted")),
    }
    keep(request, "thinking", fields);
    Ok(())
}

fn keep(request: &mut RequestFields, name: &str, fields: Map<String, Value>) {
    if !fields.is_empty() {
        request.rest.insert(name.to_owned(), Value::Object(fields));
    }
}

/// What is left, without what asks for what every answer is.
fn rest(mut request: RequestFields) -> Map<String, Value> {
    request.rest.retain(|name, value| name != "modalities" || *value != serde_json::json!(["text"]));
    request.rest
}

fn read_effort(word: &str, place: &str) -> Result<Option<Effort>, Error> {
    match word {
        // Groq's word for the model's own.
        "default" => Ok(None),
        _ => Effort::from_word(word)
            .map(Some)
            .ok_or_else(|| wrong(place, "none, minimal, low, medium, high, xhigh or max")),
    }
}

fn read_tool(value: Value, place: &str) -> Result<Tool, Error> {
    let Value::Object(mut object) = value else { return Err(wrong(place, "an object")) };
    let kind = match take_string(&mut object, "type").as_deref() {
        // Some clients leave the type of a function out.
        Some("function") | None if object.contains_key("function") || !object.contains_key("custom") => {
            let place = format!("{place}.function");
            let function = object.shift_remove("function").unwrap_or_default();
            let Value::Object(function) = function else { return Err(wrong(&place, "an object")) };
            read_function_kind(function, &place)?
        }
        Some("custom") => {
            let place = format!("{place}.custom");
            let mut custom = take_object(&mut object, "custom").ok_or_else(|| wrong(&place, "an object"))?;
            ToolKind::Custom {
                name: read_name(&mut custom, &place)?,
                description: take_string(&mut custom, "description"),
                format: custom.shift_remove("format").and_then(read_grammar),
            }
        }
        Some(other) => {
            object.insert("type".to_owned(), other.into());
            return Ok(Tool { kind: ToolKind::Server(Value::Object(object)), extra: Map::new() });
        }
        None => return Err(wrong(&format!("{place}.type"), "function or custom")),
    };
    object.retain(|_, value| !value.is_null());
    Ok(Tool { kind, extra: object })
}

/// An element of the former field `functions`: a function without the wrapping.
fn read_function(value: Value, place: &str) -> Result<Tool, Error> {
    let Value::Object(function) = value else { return Err(wrong(place, "an object")) };
    Ok(Tool { kind: read_function_kind(function, place)?, extra: Map::new() })
}

fn read_function_kind(mut function: Map<String, Value>, place: &str) -> Result<ToolKind, Error> {
    let parameters = function.shift_remove("parameters").filter(|value| !value.is_null());
    if parameters.as_ref().is_some_and(|value| !value.is_object()) {
        return Err(wrong(&format!("{place}.parameters"), "an object"));
    }
    Ok(ToolKind::Function {
        name: read_name(&mut function, place)?,
        description: take_string(&mut function, "description"),
        parameters,
        strict: function.get("strict").and_then(Value::as_bool),
    })
}

fn read_name(object: &mut Map<String, Value>, place: &str) -> Result<String, Error> {
    take_string(object, "name")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| wrong(&format!("{place}.name"), "a string that is not empty"))
}

/// A grammar with its fields beside its type, as Responses has it; free text is no format.
fn read_grammar(format: Value) -> Option<Value> {
    let Value::Object(mut object) = format else { return None };
    match object.get("type").and_then(Value::as_str) {
        Some("text") => None,
        _ => {
            if let Some(grammar) = take_object(&mut object, "grammar") {
                object.extend(grammar);
            }
            Some(Value::Object(object))
        }
    }
}

fn read_choice(value: Value, field: &str) -> Result<ToolChoice, Error> {
    let name_in = |value: &Value| {
        let inner = value.get("function").or_else(|| value.get("custom")).unwrap_or(value);
        inner.get("name").and_then(Value::as_str).map(str::to_owned)
    };
    if let Value::String(word) = &value {
        return match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            // Mistral's word.
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(wrong(field, "auto, none, required, or an object that names a tool")),
        };
    }
    if value.get("type").is_some_and(|kind| kind == "allowed_tools") {
        let allowed = value.get("allowed_tools").unwrap_or(&value);
        let tools = allowed.get("tools").and_then(Value::as_array);
        let names: Option<Vec<String>> = tools
            .ok_or_else(|| wrong(&format!("{field}.allowed_tools.tools"), "an array"))?
            .iter()
            .map(name_in)
            .collect();
        return Ok(ToolChoice::Allowed {
            required: allowed.get("mode").is_some_and(|mode| mode == "required"),
            names: names
                .ok_or_else(|| wrong(&format!("{field}.allowed_tools.tools"), "an array of named tools"))?,
        });
    }
    name_in(&value)
        .map(ToolChoice::Named)
        .ok_or_else(|| wrong(field, "auto, none, required, or an object that names a tool"))
}
