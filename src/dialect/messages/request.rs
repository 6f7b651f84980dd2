//! Requests of clients, read: <https://docs.anthropic.com/en/api/messages>.
//!
//! Invariant: every top-level field ends as a word of the hub, in `rest`, or was the gateway's own; one of a wrong type is
//! a 400 that names it down to the element.

use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::block::read_block;
use super::schema;
use crate::body::Body;
use crate::dialect::fields::{take_object, take_string, take_text, without_empty};
use crate::dialect::request_fields::wrong;
use crate::error::Error;
use crate::request::{
    Effort, Entry, Field, Format, Request, Thinking, Tool, ToolChoice, ToolKind, WebSearch,
};
use crate::turn::{Part, PartKind};

/// What the fields are called here.
pub const NAMES: &[(Field, &str)] = &[
    (Field::MaxTokens, "max_tokens"),
    (Field::Temperature, "temperature"),
    (Field::TopP, "top_p"),
    (Field::TopK, "top_k"),
    (Field::Stop, "stop_sequences"),
    (Field::JsonSchema, "output_config.format"),
    (Field::Thinking, "thinking"),
    (Field::Tools, "tools"),
    (Field::WebSearch, "tools"),
    (Field::SearchLocation, "tools[].user_location"),
    (Field::SearchAllowedDomains, "tools[].allowed_domains"),
    (Field::SearchBlockedDomains, "tools[].blocked_domains"),
    (Field::SearchLimit, "tools[].max_uses"),
    (Field::ServerTools, "tools"),
    (Field::ToolChoice, "tool_choice"),
    (Field::ParallelToolCalls, "tool_choice.disable_parallel_tool_use"),
    (Field::User, "metadata.user_id"),
    (Field::Metadata, "metadata"),
    (Field::ServiceTier, "service_tier"),
];

/// Fields without a word in the hub that other dialects can do without: care for the cache, for the length of the
/// context, for speed and for diagnosis. Not among them is where inference runs (`inference_geo`), nor anything that gives
/// the model more to work with (`container`, `mcp_servers`).
pub const HINTS: &[&str] = &[
    "anthropic_beta",
    "betas",
    "cache_control",
    "context_management",
    "diagnostics",
    "output_config.task_budget",
    "speed",
    "user_profile_id",
];

/// Fields that are read elsewhere, or that the gateway itself answers to.
const CONSUMED: &[&str] = &["messages", "model", "models", "stream"];

/// Reads a request whose conversation is already known. Errors: 400 that names the field.
pub fn read_request(body: &Body<'_>, entries: Vec<Entry>) -> Result<Request, Error> {
    let stream = body.flag("stream")?.unwrap_or(false);
    // Streams of this dialect always end with token counts.
    let mut request = Request { stream, stream_usage: stream, entries, ..Request::default() };
    request.model = body.string("model")?.unwrap_or_default().into_owned();
    for name in body.names().filter(|name| !CONSUMED.contains(name)) {
        let raw = body.raw(name).map(RawValue::get).unwrap_or_default();
        let value: Value = serde_json::from_str(raw)
            .map_err(|error| Error::invalid(name, format!("The field `{name}` cannot be read: {error}.")))?;
        if !value.is_null() {
            read_field(&mut request, name, value)?;
        }
    }
    Ok(request)
}

fn read_field(request: &mut Request, name: &str, value: Value) -> Result<(), Error> {
    match name {
        "system" => {
            let parts = read_system(value)?;
            if !parts.is_empty() {
                request.entries.insert(0, Entry::Instruction(parts));
            }
        }
        "max_tokens" => {
            let tokens = whole(&value, name)?;
            if tokens == 0 {
                let why = "`max_tokens` must be at least 1: filling a cache without an answer is not possible here.";
                return Err(Error::invalid(name, why));
            }
            request.max_tokens = Some(tokens);
        }
        "temperature" => request.temperature = Some(number(value, name)?),
        "top_p" => request.top_p = Some(number(value, name)?),
        "top_k" => request.top_k = Some(whole(&value, name)?),
        "stop_sequences" => {
            for (at, text) in array(value, name)?.into_iter().enumerate() {
                request.stop.push(string(text, &format!("{name}[{at}]"))?);
            }
        }
        "tools" => {
            for (at, tool) in array(value, name)?.into_iter().enumerate() {
                request.tools.push(read_tool(tool, &format!("{name}[{at}]"))?);
            }
        }
        "tool_choice" => read_tool_choice(request, object(value, name)?)?,
        "thinking" => read_thinking(&mut request.thinking, object(value, name)?)?,
        "output_config" => read_output(request, object(value, name)?)?,
        "output_format" => read_format(request, value, name)?,
        "metadata" => {
            let mut fields = object(value, name)?;
            match fields.shift_remove("user_id") {
                None | Some(Value::Null) => {}
                Some(user) => request.user = Some(string(user, "metadata.user_id")?),
            }
            request.metadata = (!fields.is_empty()).then_some(fields);
        }
        "service_tier" => {
            let tier = string(value, name)?;
            // The hub's word for it is OpenAI's.
            request.service_tier = Some(if tier == "standard_only" { "default".to_owned() } else { tier });
        }
        _ => {
            let nothing = match &value {
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => name == "speed" && value == "standard",
            };
            if !nothing {
                request.rest.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn read_system(value: Value) -> Result<Vec<Part>, Error> {
    match value {
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(vec![Part::text(text)]),
        Value::Array(blocks) => {
            let read = |(at, block)| match read_block(block) {
                part if matches!(part.kind, PartKind::Text(_)) => Ok(part),
                _ => Err(wrong(&format!("system[{at}]"), "a text block")),
            };
            blocks.into_iter().enumerate().map(read).collect()
        }
        _ => Err(wrong("system", "a string or an array of text blocks")),
    }
}

fn read_tool(value: Value, place: &str) -> Result<Tool, Error> {
    let mut fields = object(value, place)?;
    let kind = fields.get("type").and_then(Value::as_str);
    // Tools with a type of their own (web search, code execution, but bash and the text editor as well, which the client
    // runs) have a schema that only Claude knows.
    if kind.is_some_and(|kind| kind.starts_with("web_search_"))
        && let Some(search) = read_search(&fields)
    {
        fields.retain(|name, _| name == "cache_control");
        return Ok(Tool { kind: ToolKind::WebSearch(search), extra: without_empty(fields) });
    }
    if kind.is_some_and(|kind| kind != "custom" && kind != "function") {
        return Ok(Tool { kind: ToolKind::Server(Value::Object(fields)), extra: Map::new() });
    }
    fields.shift_remove("type");
    let name = take_string(&mut fields, "name")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| wrong(&format!("{place}.name"), "a string"))?;
    let description = match fields.shift_remove("description") {
        None | Some(Value::Null) => None,
        Some(text) => Some(string(text, &format!("{place}.description"))?),
    };
    let parameters = match fields.shift_remove("input_schema") {
        None | Some(Value::Null) => None,
        Some(schema) => Some(Value::Object(object(schema, &format!("{place}.input_schema"))?)),
    };
    let strict = match fields.shift_remove("strict") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(strict)) => Some(strict),
        Some(_) => return Err(wrong(&format!("{place}.strict"), "true or false")),
    };
    let kind = ToolKind::Function { name, description, parameters, strict };
    Ok(Tool { kind, extra: without_empty(fields) })
}

/// A search of the web; `None` for one that asks for more than other dialects know.
fn read_search(tool: &Map<String, Value>) -> Option<WebSearch> {
    let mut tool = without_empty(tool.clone());
    for name in ["type", "name", "cache_control"] {
        tool.shift_remove(name);
    }
    let mut domains = |name: &str| match tool.shift_remove(name) {
        None => Some(Vec::new()),
        Some(list) => serde_json::from_value::<Vec<String>>(list).ok(),
    };
    let mut search = WebSearch {
        allowed_domains: domains("allowed_domains")?,
        blocked_domains: domains("blocked_domains")?,
        ..WebSearch::default()
    };
    if let Some(most) = tool.shift_remove("max_uses") {
        search.max_uses = Some(most.as_u64()?);
    }
    if let Some(mut location) = take_object(&mut tool, "user_location") {
        location.shift_remove("type");
        search.location = Some(without_empty(location));
    }
    tool.is_empty().then_some(search)
}

fn read_tool_choice(request: &mut Request, mut fields: Map<String, Value>) -> Result<(), Error> {
    request.tool_choice = Some(match take_text(&mut fields, "type").as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => {
            let name = take_string(&mut fields, "name").filter(|name| !name.is_empty());
            ToolChoice::Named(name.ok_or_else(|| wrong("tool_choice.name", "a string"))?)
        }
        _ => return Err(wrong("tool_choice.type", "auto, any, tool or none")),
    });
    match fields.shift_remove("disable_parallel_tool_use") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(disabled)) => request.parallel_tool_calls = Some(!disabled),
        Some(_) => return Err(wrong("tool_choice.disable_parallel_tool_use", "true or false")),
    }
    Ok(())
}

fn read_thinking(thinking: &mut Thinking, mut fields: Map<String, Value>) -> Result<(), Error> {
    match take_text(&mut fields, "type").as_str() {
        "disabled" => thinking.effort = Some(Effort::None),
        "between_tools" => thinking.effort = Some(Effort::Minimal),
        "adaptive" => thinking.adaptive = true,
        "enabled" => {
            let budget = fields.get("budget_tokens").unwrap_or(&Value::Null);
            thinking.budget = Some(whole(budget, "thinking.budget_tokens")?);
        }
        _ => return Err(wrong("thinking.type", "enabled, adaptive or disabled")),
    }
    thinking.shown = match fields.get("display").and_then(Value::as_str) {
        Some("omitted") => Some(false),
        Some(_) => Some(true),
        None => None,
    };
    Ok(())
}

fn read_output(request: &mut Request, mut fields: Map<String, Value>) -> Result<(), Error> {
    match fields.shift_remove("effort") {
        None | Some(Value::Null) => {}
        Some(effort) => {
            let effort = effort
                .as_str()
                .and_then(Effort::from_word)
                .ok_or_else(|| wrong("output_config.effort", "low, medium, high, xhigh or max"))?;
            // Thinking that is switched off stays off: the effort is for the rest of the answer then.
            request.thinking.effort.get_or_insert(effort);
        }
    }
    if let Some(format) = fields.shift_remove("format").filter(|format| !format.is_null()) {
        read_format(request, format, "output_config.format")?;
    }
    let rest = without_empty(fields).into_iter();
    request.rest.extend(rest.map(|(name, value)| (format!("output_config.{name}"), value)));
    Ok(())
}

fn read_format(request: &mut Request, value: Value, place: &str) -> Result<(), Error> {
    let mut fields = object(value, place)?;
    if fields.get("type").and_then(Value::as_str) != Some("json_schema") {
        return Err(wrong(&format!("{place}.type"), "json_schema"));
    }
    let schema = take_object(&mut fields, "schema").map(Value::Object);
    let schema = schema.ok_or_else(|| wrong(&format!("{place}.schema"), "an object"))?;
    // The API holds the model to the schema. Others do so only for schemas that leave nothing open.
    let strict = schema::is_closed(&schema).then_some(true);
    request.format = Some(Format::JsonSchema { name: None, description: None, schema, strict });
    Ok(())
}

fn string(value: Value, place: &str) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(wrong(place, "a string")),
    }
}

fn array(value: Value, place: &str) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(wrong(place, "an array")),
    }
}

fn object(value: Value, place: &str) -> Result<Map<String, Value>, Error> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(wrong(place, "an object")),
    }
}

fn number(value: Value, place: &str) -> Result<Number, Error> {
    match value {
        Value::Number(number) => Ok(number),
        _ => Err(wrong(place, "a number")),
    }
}

fn whole(value: &Value, place: &str) -> Result<u64, Error> {
    value.as_u64().ok_or_else(|| wrong(place, "a whole number"))
}
