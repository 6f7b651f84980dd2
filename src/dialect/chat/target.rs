//! Requests for providers, written; and the table of what becomes of each field.
//!
//! Invariant: the body holds what a compatible server knows and nothing else, and every tool result follows the call that
//! it answers without a message of another kind between.

use serde_json::{Map, Value, json};

use super::server::{
    call_id, is_legal_name, legal_name, max_tokens_field, takes_cache_hints, takes_file_urls,
    takes_stream_options,
};
use super::write::{To, is_cache_hint, media_of_result, write_content, write_elements};
use crate::error::Error;
use crate::request::{
    Entry, Field, Format, Handling, Request, Tool, ToolChoice, ToolKind, WebSearch, Written,
};
use crate::turn::{Message, Origin, Part, PartKind, Role, Source};

/// What becomes of each field of a request of another dialect.
pub const TABLE: &[(Field, Handling)] = &[
    (Field::MaxTokens, Handling::Mapped("/max_completion_tokens")),
    (Field::Temperature, Handling::Mapped("/temperature")),
    (Field::TopP, Handling::Mapped("/top_p")),
    (Field::TopK, Handling::Refused("Chat Completions has no such field")),
    (Field::FrequencyPenalty, Handling::Mapped("/frequency_penalty")),
    (Field::PresencePenalty, Handling::Mapped("/presence_penalty")),
    (Field::Seed, Handling::Mapped("/seed")),
    (Field::LogitBias, Handling::Mapped("/logit_bias")),
    (Field::Logprobs, Handling::Mapped("/logprobs")),
    (Field::Stop, Handling::Mapped("/stop")),
    // No other dialect of clients has the field. (Gemini has one, `candidateCount`, and is spoken to providers only.)
    (Field::N, Handling::Refused("a translated answer is one answer")),
    (Field::JsonObject, Handling::Mapped("/response_format/type")),
    (Field::JsonSchema, Handling::Mapped("/response_format/json_schema")),
    (Field::Verbosity, Handling::Mapped("/verbosity")),
    (Field::Thinking, Handling::Mapped("/reasoning_effort")),
    (Field::Tools, Handling::Mapped("/tools")),
    // As a function with one text where the server is not known to have custom tools; see `free_text`.
    (Field::CustomTools, Handling::Mapped("/tools")),
    (Field::WebSearch, Handling::Mapped("/web_search_options")),
    (Field::SearchContextSize, Handling::Mapped("/web_search_options/search_context_size")),
    (Field::SearchLocation, Handling::Mapped("/web_search_options/user_location")),
    (Field::SearchAllowedDomains, Handling::Refused("Chat Completions searches the whole web")),
    (Field::SearchBlockedDomains, Handling::Refused("Chat Completions searches the whole web")),
    (Field::SearchLimit, Handling::Ignored("Chat Completions counts no searches; a model makes few")),
    (Field::ServerTools, Handling::Refused("a tool that one provider runs is unknown to others")),
    (Field::ToolChoice, Handling::Mapped("/tool_choice")),
    (Field::AllowedTools, Handling::Mapped("/tool_choice/allowed_tools")),
    (Field::ParallelToolCalls, Handling::Mapped("/parallel_tool_calls")),
    (Field::User, Handling::Mapped("/user")),
    // OpenAI takes them with stored completions only, others refuse them.
    (Field::Metadata, Handling::Ignored("the caller's own notes, which no model reads")),
    (Field::ServiceTier, Handling::Mapped("/service_tier")),
];

/// Writes a request. Errors: 400 that names the place of a part that cannot be said.
pub fn write_request(request: &Request, target: &Origin) -> Result<Written, Error> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    let number = |number: &Option<serde_json::Number>| number.clone().map(Value::Number);
    put("model", Some(request.model.as_str().into()));
    put("messages", Some(write_messages(request, target)?.into()));
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        tools.extend(write_tool(tool, at, target)?);
    }
    put("tools", (!tools.is_empty()).then(|| tools.into()));
    put("web_search_options", request.searches().next().map(write_search));
    put("tool_choice", request.tool_choice.as_ref().map(|choice| write_tool_choice(choice, &request.tools)));
    put("parallel_tool_calls", request.parallel_tool_calls.map(Value::from));
    put(max_tokens_field(&target.provider), request.max_tokens.map(Value::from));
    put("temperature", number(&request.temperature));
    put("top_p", number(&request.top_p));
    put("frequency_penalty", number(&request.frequency_penalty));
    put("presence_penalty", number(&request.presence_penalty));
    put("seed", number(&request.seed));
    put("logit_bias", request.logit_bias.clone());
    put("logprobs", request.logprobs.map(|_| true.into()));
    put("top_logprobs", request.logprobs.filter(|most| *most > 0).map(Value::from));
    if !request.stop.is_empty() {
        put("stop", Some(request.stop.clone().into()));
    }
    put("response_format", request.format.as_ref().and_then(write_format));
    put("verbosity", request.verbosity.clone().map(Value::from));
    put("reasoning_effort", request.thinking.in_words().map(|effort| effort.as_str().into()));
    put("user", request.user.clone().map(Value::from));
    put("service_tier", request.service_tier.clone().map(Value::from));
    if request.stream {
        put("stream", Some(true.into()));
        if takes_stream_options(&target.provider) {
            put("stream_options", Some(json!({"include_usage": true})));
        }
    }
    Ok(Written::whole(Value::Object(body)))
}

/// A search stands beside the tools here.
fn write_search(search: &WebSearch) -> Value {
    let mut options = Map::new();
    if let Some(size) = &search.context_size {
        options.insert("search_context_size".to_owned(), size.as_str().into());
    }
    if let Some(location) = &search.location {
        let location = json!({"type": "approximate", "approximate": location});
        options.insert("user_location".to_owned(), location);
    }
    Value::Object(options)
}

/// A tool; `None` for one that stands elsewhere.
fn write_tool(tool: &Tool, at: usize, target: &Origin) -> Result<Option<Value>, Error> {
    let mut inner = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            inner.insert(name.to_owned(), value);
        }
    };
    let (kind, name) = match &tool.kind {
        ToolKind::Function { name, description, parameters, strict } => {
            put("name", Some(name.as_str().into()));
            put("description", description.clone().map(Value::from));
            put("parameters", parameters.clone());
            put("strict", strict.map(Value::from));
            ("function", name)
        }
        ToolKind::Custom { name, description, format } => {
            put("name", Some(name.as_str().into()));
            put("description", description.clone().map(Value::from));
            put("format", format.as_ref().map(write_grammar));
            ("custom", name)
        }
        ToolKind::WebSearch(_) => return Ok(None),
        ToolKind::Server(_) => {
            let place = format!("tools[{at}]");
            return Err(Error::invalid(
                &place,
                format!(
                    "{place} is a tool that its provider runs; `{}` has no such tool. Leave it out, or use another model.",
                    target.provider
                ),
            ));
        }
    };
    if !is_legal_name(name) {
        let place = format!("tools[{at}].name");
        return Err(Error::invalid(
            &place,
            format!(
                "{place} must be 1 to 64 letters, digits, `_` or `-` for a model of `{}`.",
                target.provider
            ),
        ));
    }
    let mut object = Map::new();
    object.insert("type".to_owned(), kind.into());
    object.insert(kind.to_owned(), Value::Object(inner));
    for (name, value) in &tool.extra {
        if is_cache_hint(name, target) {
            object.insert(name.clone(), value.clone());
        }
    }
    Ok(Some(Value::Object(object)))
}

/// A grammar in the form of Responses, with its fields in an object of their own.
fn write_grammar(format: &Value) -> Value {
    match format {
        Value::Object(fields) if fields.get("type").is_some_and(|kind| kind == "grammar") => {
            let mut fields = fields.clone();
            fields.shift_remove("type");
            json!({"type": "grammar", "grammar": fields})
        }
        other => other.clone(),
    }
}

fn write_tool_choice(choice: &ToolChoice, tools: &[Tool]) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => name_tool(name, tools),
        ToolChoice::Allowed { required, names } => {
            let mode = if *required { "required" } else { "auto" };
            let tools: Vec<Value> = names.iter().map(|name| name_tool(name, tools)).collect();
            json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}})
        }
    }
}

fn name_tool(name: &str, tools: &[Tool]) -> Value {
    let custom =
        tools.iter().any(|tool| matches!(&tool.kind, ToolKind::Custom { name: known, .. } if known == name));
    if custom {
        json!({"type": "custom", "custom": {"name": name}})
    } else {
        json!({"type": "function", "function": {"name": name}})
    }
}

fn write_format(format: &Format) -> Option<Value> {
    match format {
        Format::Text => None,
        Format::JsonObject => Some(json!({"type": "json_object"})),
        Format::JsonSchema { name, description, schema, strict } => {
            let mut inner = Map::new();
            inner.insert("name".to_owned(), legal_name(name.as_deref().unwrap_or("answer")).into());
            if let Some(description) = description {
                inner.insert("description".to_owned(), description.as_str().into());
            }
            inner.insert("schema".to_owned(), schema.clone());
            if let Some(strict) = strict {
                inner.insert("strict".to_owned(), (*strict).into());
            }
            Some(json!({"type": "json_schema", "json_schema": inner}))
        }
    }
}

fn write_messages(request: &Request, target: &Origin) -> Result<Vec<Value>, Error> {
    let mut out = Vec::with_capacity(request.entries.len());
    // What tools returned beside text: told by the user once all results of the group are said.
    let mut shown: Vec<Value> = Vec::new();
    for entry in &request.entries {
        match entry {
            Entry::Instruction(parts) => {
                let parts: Vec<&Part> =
                    parts.iter().filter(|part| matches!(part.kind, PartKind::Text(_))).collect();
                let to = To { target, native: false, anew: true };
                if !parts.is_empty() {
                    let content = match glued(&parts, target) {
                        Some(text) => text.into(),
                        None => write_content(&parts, to),
                    };
                    out.push(json!({"role": "system", "content": content}));
                }
            }
            Entry::Message { message, place } => {
                let to = To::anew(message, target);
                if let Some(place) = place {
                    check_parts(message, place, to)?;
                }
                if message.role != Role::Tool {
                    show(&mut out, &mut shown);
                }
                out.extend(write_elements(message, to));
                if !to.native {
                    shown.extend(message.tool_results().flat_map(|result| {
                        let media = media_of_result(result, to);
                        let from = call_id(&result.call_id, &target.provider);
                        let about = format!("Returned by the tool call {from}:");
                        let head = (!media.is_empty()).then(|| json!({"type": "text", "text": about}));
                        head.into_iter().chain(media)
                    }));
                }
            }
        }
    }
    show(&mut out, &mut shown);
    for message in &mut out {
        mend(message, &target.provider);
    }
    Ok(out)
}

/// Several texts of an instruction as one: every server takes a text there, and not every one takes parts. `None` where
/// parts are taken and may carry cache hints.
fn glued(parts: &[&Part], target: &Origin) -> Option<String> {
    let texts: Vec<&str> = parts
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    (!takes_cache_hints(&target.provider)).then(|| texts.join("\n\n"))
}

fn show(out: &mut Vec<Value>, shown: &mut Vec<Value>) {
    if !shown.is_empty() {
        out.push(json!({"role": "user", "content": std::mem::take(shown)}));
    }
}

/// Makes the ids of calls and results, and the names of what was called, such as the provider takes.
fn mend(message: &mut Value, provider: &str) {
    if let Some(Value::String(id)) = message.get_mut("tool_call_id") {
        *id = call_id(id, provider).into_owned();
    }
    for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(id)) = call.get_mut("id") {
            *id = call_id(id, provider).into_owned();
        }
        for kind in ["function", "custom"] {
            if let Some(Value::String(name)) = call.get_mut(kind).and_then(|tool| tool.get_mut("name")) {
                *name = legal_name(name).into_owned();
            }
        }
    }
}

/// Refuses what the client itself sent and the provider has no form for. Errors: 400 that names the part.
fn check_parts(message: &Message, place: &str, to: To<'_>) -> Result<(), Error> {
    if message.role == Role::Assistant || to.native {
        return Ok(());
    }
    for (at, part) in message.parts.iter().enumerate() {
        let inner = match &part.kind {
            PartKind::ToolResult(result) => result.content.as_slice(),
            _ => std::slice::from_ref(part),
        };
        for part in inner {
            if let Some(why) = unsayable(part, to) {
                let place = format!("{place}.content[{at}]");
                return Err(Error::invalid(
                    &place,
                    format!("{place} cannot be sent to a model of `{}`: {why}.", to.target.provider),
                ));
            }
        }
    }
    Ok(())
}

fn unsayable(part: &Part, to: To<'_>) -> Option<&'static str> {
    match &part.kind {
        PartKind::Image(media) | PartKind::Audio(media) | PartKind::File(media)
            if matches!(media.source, Source::FileId(_)) =>
        {
            Some("only the provider that holds a file knows its id; send the bytes")
        }
        PartKind::Audio(media) if matches!(media.source, Source::Url(_)) => {
            Some("it takes sound as bytes only; send them in base64")
        }
        PartKind::File(media)
            if matches!(media.source, Source::Url(_)) && !takes_file_urls(&to.target.provider) =>
        {
            Some("it takes documents as bytes only; send them in base64")
        }
        PartKind::Other(_) => Some("it has no such part"),
        _ => None,
    }
}
