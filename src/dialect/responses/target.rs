//! Requests for providers, written: <https://platform.openai.com/docs/api-reference/responses/create>.
//!
//! Invariant: a request carries the whole conversation and asks the provider to keep nothing; reasoning comes back sealed,
//! so that the next request can carry it, too.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::write::{Writer, check, write_content};
use crate::dialect::fields::located;
use crate::error::Error;
use crate::request::{
    Effort, Entry, Field, Format, Handling, Request, Thinking, Tool, ToolChoice, ToolKind, WebSearch, Written,
};
use crate::turn::{Origin, Part, PartKind, Role};

/// What becomes of each field of a request of another dialect.
pub const TABLE: &[(Field, Handling)] = &[
    (Field::MaxTokens, Handling::Mapped("/max_output_tokens")),
    (Field::Temperature, Handling::Mapped("/temperature")),
    (Field::TopP, Handling::Mapped("/top_p")),
    (Field::TopK, Handling::Refused("Responses has no sampling from the likeliest tokens")),
    (Field::FrequencyPenalty, Handling::Refused("Responses has no penalties")),
    (Field::PresencePenalty, Handling::Refused("Responses has no penalties")),
    (Field::Seed, Handling::Refused("Responses has no seed; its answers cannot be repeated")),
    (Field::LogitBias, Handling::Refused("Responses has no bias of tokens")),
    (Field::Logprobs, Handling::Mapped("/top_logprobs")),
    (Field::Stop, Handling::Refused("Responses has no stop sequences")),
    (Field::N, Handling::Refused("Responses gives one answer")),
    (Field::JsonObject, Handling::Mapped("/text/format")),
    (Field::JsonSchema, Handling::Mapped("/text/format")),
    (Field::Verbosity, Handling::Mapped("/text/verbosity")),
    (Field::Thinking, Handling::Mapped("/reasoning")),
    (Field::Tools, Handling::Mapped("/tools")),
    (Field::CustomTools, Handling::Mapped("/tools")),
    (Field::WebSearch, Handling::Mapped("/tools")),
    (Field::SearchContextSize, Handling::Mapped("/tools")),
    (Field::SearchLocation, Handling::Mapped("/tools")),
    (Field::SearchAllowedDomains, Handling::Mapped("/tools")),
    (
        Field::SearchBlockedDomains,
        Handling::Refused("Responses can search some domains only, not all but some"),
    ),
    (Field::SearchLimit, Handling::Mapped("/max_tool_calls")),
    (Field::ServerTools, Handling::Refused("the tool is another provider's own")),
    (Field::ToolChoice, Handling::Mapped("/tool_choice")),
    (Field::AllowedTools, Handling::Mapped("/tool_choice")),
    (Field::ParallelToolCalls, Handling::Mapped("/parallel_tool_calls")),
    (Field::User, Handling::Mapped("/user")),
    (Field::Metadata, Handling::Mapped("/metadata")),
    (Field::ServiceTier, Handling::Mapped("/service_tier")),
];

/// The fewest `max_output_tokens` that the API takes; clients of other dialects may ask for one.
const FEWEST_TOKENS: u64 = 16;

/// Writes a request. Errors: 400 that names the place of a part that cannot be said.
pub fn write_request(request: &Request, target: &Origin) -> Result<Written, Error> {
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    // The leading instructions go where every back end takes them; later ones keep their place.
    let (leading, entries) = leading_instructions(&request.entries);
    let instructions = leading.join("\n\n");
    set("model", Some(request.model.as_str().into()));
    set("instructions", (!instructions.is_empty()).then(|| instructions.into()));
    set("input", Some(write_input(entries, target)?));
    set("tools", (!request.tools.is_empty()).then(|| request.tools.iter().map(write_tool).collect()));
    set("tool_choice", request.tool_choice.as_ref().map(|choice| write_choice(choice, &request.tools)));
    set("max_tool_calls", request.searches().find_map(|search| search.max_uses).map(Value::from));
    set("parallel_tool_calls", request.parallel_tool_calls.map(Value::from));
    set("max_output_tokens", request.max_tokens.map(|count| count.max(FEWEST_TOKENS).into()));
    set("temperature", request.temperature.clone().map(Value::Number));
    set("top_p", request.top_p.clone().map(Value::Number));
    set("text", write_text(request));
    set("reasoning", write_thinking(&request.thinking));
    set("top_logprobs", request.logprobs.map(Value::from));
    set("user", request.user.as_deref().map(Value::from));
    set("metadata", request.metadata.clone().map(Value::Object));
    set("service_tier", request.service_tier.as_deref().map(|tier| service_tier(tier).into()));
    set("store", Some(false.into()));
    let logprobs = request.logprobs.map(|_| "message.output_text.logprobs");
    let include: Vec<&str> = ["reasoning.encrypted_content"].into_iter().chain(logprobs).collect();
    set("include", Some(include.into()));
    set("stream", request.stream.then(|| true.into()));
    Ok(Written::whole(Value::Object(body)))
}

/// The instructions that lead the conversation, as far as they are text; and what follows them.
fn leading_instructions(entries: &[Entry]) -> (Vec<&str>, &[Entry]) {
    let mut texts = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let said = match entry {
            Entry::Instruction(parts) => only_texts(parts),
            Entry::Message { .. } => None,
        };
        match said {
            Some(said) => texts.extend(said),
            None => return (texts, entries.get(at..).unwrap_or_default()),
        }
    }
    (texts, &[])
}

fn only_texts(parts: &[Part]) -> Option<Vec<&str>> {
    parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn write_input(entries: &[Entry], target: &Origin) -> Result<Value, Error> {
    let messages = entries.iter().filter_map(|entry| match entry {
        Entry::Message { message, .. } => Some(message),
        Entry::Instruction(_) => None,
    });
    let calls = messages.flat_map(|message| message.tool_calls());
    let custom_calls: BTreeSet<&str> =
        calls.filter(|call| call.custom).map(|call| call.id.as_str()).collect();
    let writer = Writer { target, custom_calls: &custom_calls };
    let mut items = Vec::new();
    for entry in entries {
        match entry {
            Entry::Instruction(parts) => {
                let parts: Vec<&Part> = parts.iter().collect();
                items.push(json!({"role": "developer", "content": write_content(&parts, Role::User, false)}));
            }
            Entry::Message { message, place } => {
                if let Some(place) = place {
                    check(message, place)?;
                }
                items.extend(writer.items(message));
            }
        }
    }
    Ok(items.into())
}

fn write_tool(tool: &Tool) -> Value {
    match &tool.kind {
        ToolKind::Function { name, description, parameters, strict } => {
            // Absent, `strict` means true here and false in every other dialect: true would refuse most schemas that
            // were not written for it, and make optional arguments required.
            let strict = strict.unwrap_or(false);
            let parameters = parameters.clone().unwrap_or_else(|| {
                if strict {
                    json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false})
                } else {
                    json!({"type": "object", "properties": {}})
                }
            });
            let mut written = named("function", name, description.as_deref());
            written.insert("parameters".to_owned(), parameters);
            written.insert("strict".to_owned(), strict.into());
            Value::Object(written)
        }
        ToolKind::Custom { name, description, format } => {
            let mut written = named("custom", name, description.as_deref());
            if let Some(format) = format {
                written.insert("format".to_owned(), format.clone());
            }
            Value::Object(written)
        }
        ToolKind::WebSearch(search) => write_search(search),
        ToolKind::Server(value) => value.clone(),
    }
}

fn write_search(search: &WebSearch) -> Value {
    let mut tool = Map::new();
    tool.insert("type".to_owned(), "web_search".into());
    if !search.allowed_domains.is_empty() {
        tool.insert("filters".to_owned(), json!({"allowed_domains": search.allowed_domains}));
    }
    if let Some(location) = &search.location {
        tool.insert("user_location".to_owned(), located(location));
    }
    if let Some(size) = &search.context_size {
        tool.insert("search_context_size".to_owned(), size.as_str().into());
    }
    Value::Object(tool)
}

fn named(kind: &str, name: &str, description: Option<&str>) -> Map<String, Value> {
    let mut tool = Map::new();
    tool.insert("type".to_owned(), kind.into());
    tool.insert("name".to_owned(), name.into());
    if let Some(description) = description {
        tool.insert("description".to_owned(), description.into());
    }
    tool
}

fn write_choice(choice: &ToolChoice, tools: &[Tool]) -> Value {
    let reference = |name: &str| {
        let custom = tools
            .iter()
            .any(|tool| matches!(&tool.kind, ToolKind::Custom { name: known, .. } if known == name));
        Value::Object(named(if custom { "custom" } else { "function" }, name, None))
    };
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => reference(name),
        ToolChoice::Allowed { required, names } => {
            let tools: Vec<Value> = names.iter().map(|name| reference(name)).collect();
            let mode = if *required { "required" } else { "auto" };
            json!({"type": "allowed_tools", "mode": mode, "tools": tools})
        }
    }
}

fn write_text(request: &Request) -> Option<Value> {
    let mut text = Map::new();
    if let Some(format) = &request.format {
        text.insert("format".to_owned(), write_format(format));
    }
    if let Some(verbosity) = &request.verbosity {
        text.insert("verbosity".to_owned(), verbosity.as_str().into());
    }
    (!text.is_empty()).then_some(Value::Object(text))
}

fn write_format(format: &Format) -> Value {
    match format {
        Format::Text => json!({"type": "text"}),
        Format::JsonObject => json!({"type": "json_object"}),
        Format::JsonSchema { name, description, schema, strict } => {
            let mut written =
                named("json_schema", name.as_deref().unwrap_or("answer"), description.as_deref());
            written.insert("schema".to_owned(), schema.clone());
            if let Some(strict) = strict {
                written.insert("strict".to_owned(), (*strict).into());
            }
            Value::Object(written)
        }
    }
}

fn write_thinking(thinking: &Thinking) -> Option<Value> {
    let mut reasoning = Map::new();
    if let Some(effort) = thinking.in_words() {
        reasoning.insert("effort".to_owned(), effort.as_str().into());
    }
    let hidden = thinking.shown == Some(false) || thinking.in_words() == Some(Effort::None);
    let summary = thinking.summary.as_deref().or((thinking.shown == Some(true)).then_some("auto"));
    if let Some(summary) = summary.filter(|_| !hidden) {
        reasoning.insert("summary".to_owned(), summary.into());
    }
    (!reasoning.is_empty()).then_some(Value::Object(reasoning))
}

/// Anthropic's word for the tier without priority is not OpenAI's.
fn service_tier(tier: &str) -> &str {
    match tier {
        "standard_only" | "standard" => "default",
        other => other,
    }
}
