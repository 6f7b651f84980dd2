//! Requests of clients, read: <https://platform.openai.com/docs/api-reference/responses/create>.
//!
//! Invariant: each field becomes a word of the hub, or is done with (the gateway itself keeps responses and streams), or
//! stays in `rest` under its name.

use serde_json::{Map, Value};

use super::item::{read_content, read_item};
use crate::body::Body;
use crate::dialect::Content;
use crate::dialect::fields::{take_array, take_object, take_string, without_empty};
use crate::dialect::request_fields::{RequestFields, wrong};
use crate::error::Error;
use crate::request::{
    Effort, Entry, Field, Format, Request, Thinking, Tool, ToolChoice, ToolKind, WebSearch,
};
use crate::turn::{Origin, PartKind};

/// What the fields are called here.
pub const NAMES: &[(Field, &str)] = &[
    (Field::MaxTokens, "max_output_tokens"),
    (Field::Temperature, "temperature"),
    (Field::TopP, "top_p"),
    (Field::FrequencyPenalty, "frequency_penalty"),
    (Field::PresencePenalty, "presence_penalty"),
    (Field::Logprobs, "top_logprobs"),
    (Field::JsonObject, "text.format"),
    (Field::JsonSchema, "text.format"),
    (Field::Verbosity, "text.verbosity"),
    (Field::Thinking, "reasoning"),
    (Field::Tools, "tools"),
    (Field::CustomTools, "tools"),
    (Field::WebSearch, "tools"),
    (Field::SearchContextSize, "tools[].search_context_size"),
    (Field::SearchLocation, "tools[].user_location"),
    (Field::SearchAllowedDomains, "tools[].filters.allowed_domains"),
    (Field::SearchLimit, "max_tool_calls"),
    (Field::ServerTools, "tools"),
    (Field::ToolChoice, "tool_choice"),
    (Field::AllowedTools, "tool_choice"),
    (Field::ParallelToolCalls, "parallel_tool_calls"),
    (Field::User, "user"),
    (Field::Metadata, "metadata"),
    (Field::ServiceTier, "service_tier"),
];

/// Fields without a word in the hub that other dialects can do without.
pub const HINTS: &[&str] = &[
    "truncation",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "reasoning.context",
];

/// Fields that are read elsewhere or need no answer: transport, and what the gateway keeps of responses itself.
const DONE_WITH: &[&str] =
    &["input", "models", "stream_options", "store", "previous_response_id", "conversation"];

/// What `include` may ask for that comes anyway, or concerns tools only that the provider runs.
const INCLUDED: &[&str] = &[
    "reasoning.encrypted_content",
    "message.input_image.image_url",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
];

/// Reads a request whose conversation is already known. Errors: 400 that names the field.
pub fn read_request(body: &Body<'_>, entries: Vec<Entry>) -> Result<Request, Error> {
    let mut fields = RequestFields::of(body, DONE_WITH);
    let mut request = Request {
        model: fields.string("model")?.unwrap_or_default(),
        stream: fields.flag("stream")?.unwrap_or_default(),
        // Streams of Responses always end with them.
        stream_usage: true,
        entries: read_instructions(&mut fields)?,
        parallel_tool_calls: fields.flag("parallel_tool_calls")?,
        max_tokens: fields.count("max_output_tokens")?,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        presence_penalty: fields.number("presence_penalty")?,
        user: fields.string("user")?,
        metadata: fields.object("metadata")?,
        service_tier: fields.string("service_tier")?,
        ..Request::default()
    };
    for entry in entries {
        check_entry(&entry)?;
        match entry {
            // Tools that were added on the way stand among the instructions, without words.
            Entry::Instruction(parts) if parts.is_empty() => {}
            entry => request.entries.push(entry),
        }
    }
    for (at, tool) in fields.array("tools")?.unwrap_or_default().into_iter().enumerate() {
        request.tools.push(read_tool(tool, &format!("tools[{at}]"))?);
    }
    read_added_tools(body, &mut request.tools)?;
    read_tool_choice(&mut fields, &mut request)?;
    read_text(&mut fields, &mut request)?;
    request.thinking = read_thinking(&mut fields)?;
    read_logprobs(&mut fields, &mut request)?;
    if fields.rest.get("truncation").and_then(Value::as_str) == Some("disabled") {
        fields.rest.shift_remove("truncation");
    }
    // It counts only calls of tools that the provider runs: searches, if there are no others.
    let runs_tools = request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Server(_)));
    if !runs_tools {
        let most = fields.count("max_tool_calls")?;
        for tool in &mut request.tools {
            if let ToolKind::WebSearch(search) = &mut tool.kind {
                search.max_uses = most;
            }
        }
    }
    request.rest = fields.rest;
    Ok(request)
}

/// Instructions stand in front: a text, or items.
fn read_instructions(fields: &mut RequestFields) -> Result<Vec<Entry>, Error> {
    let items = match fields.rest.shift_remove("instructions") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => return Ok(Vec::new()),
        Some(text @ Value::String(_)) => return Ok(vec![Entry::Instruction(read_content(text))]),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong("instructions", "a string or an array of items")),
    };
    let mut entries = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let place = format!("instructions[{at}]");
        let Value::Object(item) = item else { return Err(wrong(&place, "an object")) };
        // Written by the caller, for nobody in particular.
        let origin = Origin { dialect: crate::dialect::Dialect::Responses, provider: String::new() };
        entries.push(match read_item(item, &place, &origin)? {
            Content::Instruction(parts) => Entry::Instruction(parts),
            Content::Message(message) => Entry::Message { message, place: Some(place) },
        });
    }
    Ok(entries)
}

/// Items that stand for something only OpenAI has. Leaving them out would lose what they stand for.
fn check_entry(entry: &Entry) -> Result<(), Error> {
    let Entry::Message { message, place: Some(place) } = entry else { return Ok(()) };
    for part in &message.parts {
        let PartKind::Other(value) = &part.kind else { continue };
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
        let why = match kind {
            "item_reference" => format!(
                "{place} refers to the item `{id}` by its id, which only the provider that made it can look up. Send the \
                 item itself."
            ),
            "compaction" | "compaction_summary" => format!(
                "{place} holds a conversation that only the provider that compacted it can read. Send the conversation \
                 itself, or use a model of that provider."
            ),
            _ => continue,
        };
        return Err(Error::invalid(place, why).with_code("unsupported_item"));
    }
    Ok(())
}

/// Tools that items of the conversation add on the way.
fn read_added_tools(body: &Body<'_>, tools: &mut Vec<Tool>) -> Result<(), Error> {
    let Some(input) = body.raw("input").filter(|raw| raw.get().contains("\"additional_tools\"")) else {
        return Ok(());
    };
    let items: Vec<Value> = serde_json::from_str(input.get()).unwrap_or_default();
    for (at, item) in items.into_iter().enumerate() {
        let Value::Object(mut item) = item else { continue };
        if item.get("type").and_then(Value::as_str) == Some("additional_tools") {
            for (index, tool) in take_array(&mut item, "tools").unwrap_or_default().into_iter().enumerate() {
                tools.push(read_tool(tool, &format!("input[{at}].tools[{index}]"))?);
            }
        }
    }
    Ok(())
}

fn read_tool(tool: Value, place: &str) -> Result<Tool, Error> {
    let Value::Object(mut tool) = tool else { return Err(wrong(place, "an object")) };
    let Some(kind) = take_string(&mut tool, "type") else {
        return Err(wrong(&format!("{place}.type"), "a string"));
    };
    if SEARCHES.contains(&kind.as_str())
        && let Some(search) = read_search(&tool)
    {
        return Ok(Tool { kind: ToolKind::WebSearch(search), extra: Map::new() });
    }
    if kind != "function" && kind != "custom" {
        let mut whole = Map::new();
        whole.insert("type".to_owned(), kind.into());
        whole.extend(tool);
        return Ok(Tool { kind: ToolKind::Server(Value::Object(whole)), extra: Map::new() });
    }
    tool.retain(|_, value| !value.is_null());
    let Some(name) = take_string(&mut tool, "name").filter(|name| !name.is_empty()) else {
        return Err(wrong(&format!("{place}.name"), "the tool's name, a string"));
    };
    let description = take_string(&mut tool, "description");
    let kind = if kind == "custom" {
        let format = tool.shift_remove("format");
        // Plain text is what there is without a format.
        let format = format.filter(|format| format.get("type").and_then(Value::as_str) != Some("text"));
        ToolKind::Custom { name, description, format }
    } else {
        let parameters = match tool.shift_remove("parameters") {
            None => None,
            Some(schema @ Value::Object(_)) => Some(schema),
            Some(_) => return Err(wrong(&format!("{place}.parameters"), "a JSON schema, an object")),
        };
        let strict = match tool.shift_remove("strict") {
            None => None,
            Some(Value::Bool(strict)) => Some(strict),
            Some(_) => return Err(wrong(&format!("{place}.strict"), "true or false")),
        };
        ToolKind::Function { name, description, parameters, strict }
    };
    Ok(Tool { kind, extra: tool })
}

/// The names of the search of the web, older ones included.
const SEARCHES: [&str; 4] =
    ["web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"];

/// A search of the web; `None` for one that asks for more than other dialects know.
fn read_search(tool: &Map<String, Value>) -> Option<WebSearch> {
    let mut tool = without_empty(tool.clone());
    let mut search =
        WebSearch { context_size: take_string(&mut tool, "search_context_size"), ..WebSearch::default() };
    if let Some(mut location) = take_object(&mut tool, "user_location") {
        location.shift_remove("type");
        search.location = Some(without_empty(location));
    }
    if let Some(mut filters) = take_object(&mut tool, "filters").map(without_empty) {
        if let Some(domains) = filters.shift_remove("allowed_domains") {
            search.allowed_domains = serde_json::from_value(domains).ok()?;
        }
        if !filters.is_empty() {
            return None;
        }
    }
    // Live access is the default.
    if tool.get("external_web_access") == Some(&true.into()) {
        tool.shift_remove("external_web_access");
    }
    tool.is_empty().then_some(search)
}

fn read_tool_choice(fields: &mut RequestFields, request: &mut Request) -> Result<(), Error> {
    let Some(choice) = fields.rest.shift_remove("tool_choice") else { return Ok(()) };
    request.tool_choice = match &choice {
        Value::String(word) => Some(match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => return Err(wrong("tool_choice", "`auto`, `none`, `required` or an object")),
        }),
        Value::Object(object) => match object.get("type").and_then(Value::as_str) {
            Some("function" | "custom") => match name_of(&choice) {
                Some(name) => Some(ToolChoice::Named(name)),
                None => return Err(wrong("tool_choice.name", "the tool's name, a string")),
            },
            Some("allowed_tools") => read_allowed(object)?,
            Some(_) => None,
            None => return Err(wrong("tool_choice.type", "a string")),
        },
        _ => return Err(wrong("tool_choice", "a string or an object")),
    };
    if request.tool_choice.is_none() {
        // A tool that the provider runs, which has no name.
        fields.rest.insert("tool_choice".to_owned(), choice);
    }
    Ok(())
}

/// `None` where tools are among them that have no name.
fn read_allowed(choice: &Map<String, Value>) -> Result<Option<ToolChoice>, Error> {
    let required = match choice.get("mode").and_then(Value::as_str) {
        Some("required") => true,
        Some("auto") | None => false,
        Some(_) => return Err(wrong("tool_choice.mode", "`auto` or `required`")),
    };
    let Some(tools) = choice.get("tools").and_then(Value::as_array) else {
        return Err(wrong("tool_choice.tools", "an array of tools"));
    };
    let named = tools.iter().map(|tool| {
        let kind = tool.get("type").and_then(Value::as_str);
        name_of(tool).filter(|_| matches!(kind, Some("function" | "custom")))
    });
    Ok(named.collect::<Option<Vec<_>>>().map(|names| ToolChoice::Allowed { required, names }))
}

fn name_of(tool: &Value) -> Option<String> {
    tool.get("name").and_then(Value::as_str).map(str::to_owned)
}

/// The answer's form and its wordiness.
fn read_text(fields: &mut RequestFields, request: &mut Request) -> Result<(), Error> {
    let Some(mut text) = fields.object("text")? else { return Ok(()) };
    text.retain(|_, value| !value.is_null());
    request.verbosity = take_string(&mut text, "verbosity");
    if let Some(mut format) = take_object(&mut text, "format") {
        request.format = Some(match format.get("type").and_then(Value::as_str) {
            Some("text") => Format::Text,
            Some("json_object") => Format::JsonObject,
            Some("json_schema") => {
                let Some(schema @ Value::Object(_)) = format.shift_remove("schema") else {
                    return Err(wrong("text.format.schema", "a JSON schema, an object"));
                };
                Format::JsonSchema {
                    name: take_string(&mut format, "name"),
                    description: take_string(&mut format, "description"),
                    schema,
                    strict: format.get("strict").and_then(Value::as_bool),
                }
            }
            _ => return Err(wrong("text.format.type", "`text`, `json_object` or `json_schema`")),
        });
    }
    match text.keys().next().map(String::as_str) {
        Some("format") => Err(wrong("text.format", "an object")),
        Some("verbosity") => Err(wrong("text.verbosity", "a string")),
        _ => {
            keep(fields, "text", text);
            Ok(())
        }
    }
}

fn read_thinking(fields: &mut RequestFields) -> Result<Thinking, Error> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok(Thinking::default()) };
    reasoning.retain(|_, value| !value.is_null());
    let effort = match reasoning.shift_remove("effort") {
        None => None,
        Some(word) => Some(word.as_str().and_then(Effort::from_word).ok_or_else(|| {
            wrong("reasoning.effort", "`none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`")
        })?),
    };
    // The older name of the same.
    let older = take_string(&mut reasoning, "generate_summary");
    let summary = take_string(&mut reasoning, "summary").or(older);
    if reasoning.get("context").and_then(Value::as_str) == Some("auto") {
        reasoning.shift_remove("context");
    }
    keep(fields, "reasoning", reasoning);
    Ok(Thinking { effort, shown: summary.is_some().then_some(true), summary, ..Thinking::default() })
}

/// Log probabilities, and what else is to be included.
fn read_logprobs(fields: &mut RequestFields, request: &mut Request) -> Result<(), Error> {
    let top = fields.count("top_logprobs")?;
    let mut include = fields.array("include")?.unwrap_or_default();
    let asked = include.iter().any(|entry| entry == "message.output_text.logprobs");
    request.logprobs = if asked { Some(top.unwrap_or(0)) } else { top.filter(|top| *top > 0) };
    include.retain(|entry| {
        entry
            .as_str()
            .is_none_or(|entry| entry != "message.output_text.logprobs" && !INCLUDED.contains(&entry))
    });
    if !include.is_empty() {
        fields.rest.insert("include".to_owned(), include.into());
    }
    Ok(())
}

/// Keeps what was not understood of an object, by its full names.
fn keep(fields: &mut RequestFields, name: &str, inner: Map<String, Value>) {
    for (field, value) in inner {
        fields.rest.insert(format!("{name}.{field}"), value);
    }
}
