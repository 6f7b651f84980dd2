//! Requests of clients, read.
//!
//! Invariant: a field is consumed only if all of it is understood; the rest of it stays under its name, so that nothing is
//! left out in silence. Extensions that many compatible servers share are read like fields of OpenAI's own.

use serde_json::{Map, Number, Value};

use crate::body::Body;
use crate::dialect::fields::{take_object, take_string, without_empty};
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
    let mut fields = Fields { rest: Map::new() };
    for name in body.names().filter(|name| !CONSUMED.contains(name)) {
        let value = body.raw(name).and_then(|raw| serde_json::from_str(raw.get()).ok());
        if let Some(value) = value.filter(|value: &Value| !value.is_null()) {
            fields.rest.insert(name.to_owned(), value);
        }
    }
    let max_completion_tokens = fields.count("max_completion_tokens")?;
    let max_tokens = fields.count("max_tokens")?;
    let (tools, tool_choice) = fields.tools()?;
    Ok(Request {
        model: body.string("model")?.unwrap_or_default().into_owned(),
        stream: fields.flag("stream")?.unwrap_or(false),
        stream_usage: fields.stream_usage()?,
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
        logprobs: fields.logprobs()?,
        stop: fields.stop()?,
        n: fields.count("n")?,
        format: fields.format()?,
        verbosity: fields.text("verbosity")?,
        thinking: fields.thinking()?,
        user: fields.text("user")?,
        metadata: fields.object("metadata")?,
        service_tier: fields.text("service_tier")?,
        rest: fields.rest(),
    })
}

/// The fields that are not read yet.
struct Fields {
    rest: Map<String, Value>,
}

fn wrong(place: &str, kind: &str) -> Error {
    Error::invalid(place, format!("The field `{place}` must be {kind}."))
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.rest.shift_remove(name)
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, Error> {
        self.take(name).map(|value| value.as_bool().ok_or_else(|| wrong(name, "true or false"))).transpose()
    }

    fn count(&mut self, name: &str) -> Result<Option<u64>, Error> {
        self.take(name).map(|value| as_count(&value).ok_or_else(|| wrong(name, COUNT))).transpose()
    }

    fn number(&mut self, name: &str) -> Result<Option<Number>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(_) => Err(wrong(name, "a number")),
        }
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields)),
            Some(_) => Err(wrong(name, "an object")),
        }
    }

    fn stream_usage(&mut self) -> Result<bool, Error> {
        let options = self.object("stream_options")?.unwrap_or_default();
        match options.get("include_usage") {
            None | Some(Value::Null) => Ok(false),
            Some(value) => {
                value.as_bool().ok_or_else(|| wrong("stream_options.include_usage", "true or false"))
            }
        }
    }

    fn logprobs(&mut self) -> Result<Option<u64>, Error> {
        let wanted = self.flag("logprobs")?.unwrap_or(false);
        let alternatives = self.count("top_logprobs")?;
        Ok(wanted.then_some(alternatives.unwrap_or(0)))
    }

    fn stop(&mut self) -> Result<Vec<String>, Error> {
        match self.take("stop") {
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

    fn format(&mut self) -> Result<Option<Format>, Error> {
        let Some(mut format) = self.object("response_format")? else { return Ok(None) };
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
    fn tools(&mut self) -> Result<(Vec<Tool>, Option<ToolChoice>), Error> {
        let mut tools = Vec::new();
        for (field, read) in
            [("tools", read_tool as fn(Value, &str) -> Result<Tool, Error>), ("functions", read_function)]
        {
            match self.take(field) {
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
            self.take("function_call").map(|value| read_choice(value, "function_call")).transpose()?;
        let choice = self.take("tool_choice").map(|value| read_choice(value, "tool_choice")).transpose()?;
        tools.extend(self.web_search()?);
        Ok((tools, choice.or(former)))
    }

    /// A search of the web stands beside the tools here.
    fn web_search(&mut self) -> Result<Option<Tool>, Error> {
        const NAME: &str = "web_search_options";
        let Some(mut options) = self.object(NAME)? else { return Ok(None) };
        options.retain(|_, value| !value.is_null());
        let mut search = WebSearch {
            context_size: take_string(&mut options, "search_context_size"),
            ..WebSearch::default()
        };
        if let Some(mut location) = take_object(&mut options, "user_location") {
            let approximate = take_object(&mut location, "approximate")
                .ok_or_else(|| wrong("web_search_options.user_location.approximate", "an object"))?;
            search.location = Some(without_empty(approximate));
        }
        self.keep(NAME, options);
        Ok(Some(Tool { kind: ToolKind::WebSearch(search), extra: Map::new() }))
    }

    /// How much to think, in OpenAI's words, in OpenRouter's and in Anthropic's.
    fn thinking(&mut self) -> Result<Thinking, Error> {
        let mut thinking = Thinking::default();
        if let Some(word) = self.text("reasoning_effort")? {
            thinking.effort = read_effort(&word, "reasoning_effort")?;
        }
        self.openrouter_reasoning(&mut thinking)?;
        self.anthropic_thinking(&mut thinking)?;
        if let Some(shown) = self.flag("include_reasoning")? {
            thinking.shown = thinking.shown.or(Some(shown));
        }
        Ok(thinking)
    }

    /// <https://openrouter.ai/docs/use-cases/reasoning-tokens#controlling-reasoning-tokens>
    fn openrouter_reasoning(&mut self, thinking: &mut Thinking) -> Result<(), Error> {
        let Some(mut fields) = self.object("reasoning")? else { return Ok(()) };
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
                    thinking.summary =
                        Some(value.as_str().ok_or_else(|| wrong(&place, "a string"))?.to_owned());
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
        self.keep("reasoning", fields);
        Ok(())
    }

    /// <https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>
    fn anthropic_thinking(&mut self, thinking: &mut Thinking) -> Result<(), Error> {
        let Some(mut fields) = self.object("thinking")? else { return Ok(()) };
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
        self.keep("thinking", fields);
        Ok(())
    }

    fn keep(&mut self, name: &str, fields: Map<String, Value>) {
        if !fields.is_empty() {
            self.rest.insert(name.to_owned(), Value::Object(fields));
        }
    }

    /// What is left, without what asks for what every answer is.
    fn rest(mut self) -> Map<String, Value> {
        self.rest.retain(|name, value| name != "modalities" || *value != serde_json::json!(["text"]));
        self.rest
    }
}

const COUNT: &str = "a whole number";

/// A whole number, also one that was written with a fraction of zero.
fn as_count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64)
    })
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
