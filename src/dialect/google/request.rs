//! Requests, read.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{camel_names, config, part, tool};
use crate::body::Body;
use crate::dialect::fields::take_array;
use crate::error::Error;
use crate::request::{Entry, Field, Request};
use crate::turn::Part;

/// What the fields are called here.
pub const NAMES: &[(Field, &str)] = &[
    (Field::MaxTokens, "generationConfig.maxOutputTokens"),
    (Field::Temperature, "generationConfig.temperature"),
    (Field::TopP, "generationConfig.topP"),
    (Field::TopK, "generationConfig.topK"),
    (Field::FrequencyPenalty, "generationConfig.frequencyPenalty"),
    (Field::PresencePenalty, "generationConfig.presencePenalty"),
    (Field::Seed, "generationConfig.seed"),
    (Field::Logprobs, "generationConfig.responseLogprobs"),
    (Field::Stop, "generationConfig.stopSequences"),
    (Field::N, "generationConfig.candidateCount"),
    (Field::JsonObject, "generationConfig.responseMimeType"),
    (Field::JsonSchema, "generationConfig.responseJsonSchema"),
    (Field::Thinking, "generationConfig.thinkingConfig"),
    (Field::Tools, "tools"),
    (Field::WebSearch, "tools"),
    (Field::ServerTools, "tools"),
    (Field::ToolChoice, "toolConfig.functionCallingConfig"),
    (Field::AllowedTools, "toolConfig.functionCallingConfig.allowedFunctionNames"),
];

/// Fields without a word in the hub that other dialects can do without.
pub const HINTS: &[&str] = &["safetySettings", "labels", "store"];

/// Reads a request whose conversation is already known. Errors: 400 that names the field.
pub fn read_request(body: &Body<'_>, entries: Vec<Entry>) -> Result<Request, Error> {
    let mut request = Request { entries, ..Request::default() };
    request.model = body.string("model")?.map(String::from).unwrap_or_default();
    for name in body.names() {
        let value: Value = serde_json::from_str(body.raw(name).map_or("null", RawValue::get))
            .map_err(|error| Error::invalid(name, format!("The field `{name}` cannot be read: {error}.")))?;
        let name = super::camel(name);
        match (name.as_str(), value) {
            ("model" | "contents", _) | (_, Value::Null) => {}
            ("systemInstruction", value) => {
                let parts = read_instruction(value);
                if !parts.is_empty() {
                    request.entries.insert(0, Entry::Instruction(parts));
                }
            }
            ("tools", value) => request.tools = tool::read(value)?,
            ("toolConfig", Value::Object(fields)) => {
                let (choice, rest) = tool::read_config(fields);
                request.tool_choice = choice;
                keep(&mut request.rest, name, rest);
            }
            ("generationConfig", Value::Object(fields)) => {
                let rest = config::read(fields, &mut request)?;
                keep(&mut request.rest, name, rest);
            }
            ("toolConfig" | "generationConfig", _) => {
                return Err(Error::invalid(&name, format!("The field `{name}` must be an object.")));
            }
            (_, value) => drop(request.rest.insert(name, value)),
        }
    }
    Ok(request)
}

fn keep(rest: &mut Map<String, Value>, name: String, fields: Map<String, Value>) {
    if !fields.is_empty() {
        rest.insert(name, fields.into());
    }
}

/// A content, or its text alone.
fn read_instruction(value: Value) -> Vec<Part> {
    match value {
        Value::String(text) => vec![Part::text(text)],
        Value::Object(fields) => {
            let parts = take_array(&mut camel_names(fields), "parts").unwrap_or_default();
            parts.into_iter().map(part::read).collect()
        }
        _ => Vec::new(),
    }
}
