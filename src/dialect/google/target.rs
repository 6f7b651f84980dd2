//! Requests, written; and the table of what becomes of each field.
//!
//! Invariant: the body holds nothing that the API does not know; it refuses requests with unknown fields.

use serde_json::{Map, Value, json};

use super::model::Model;
use super::write::Writer;
use super::{config, tool};
use crate::error::Error;
use crate::request::{Entry, Field, Handling, Request, ToolKind, Written};
use crate::turn::{Origin, PartKind};

/// What becomes of each field of a request of another dialect.
pub const TABLE: &[(Field, Handling)] = &[
    (Field::MaxTokens, Handling::Mapped("/generationConfig/maxOutputTokens")),
    (Field::Temperature, Handling::Mapped("/generationConfig/temperature")),
    (Field::TopP, Handling::Mapped("/generationConfig/topP")),
    (Field::TopK, Handling::Mapped("/generationConfig/topK")),
    (Field::FrequencyPenalty, Handling::Mapped("/generationConfig/frequencyPenalty")),
    (Field::PresencePenalty, Handling::Mapped("/generationConfig/presencePenalty")),
    (Field::Seed, Handling::Mapped("/generationConfig/seed")),
    (Field::LogitBias, Handling::Refused("Gemini has other tokens, and no bias on them")),
    (Field::Logprobs, Handling::Mapped("/generationConfig/responseLogprobs")),
    (Field::Stop, Handling::Mapped("/generationConfig/stopSequences")),
    // Gemini has `candidateCount`, but only clients of Chat Completions can ask for several answers, and for them Google's
    // own OpenAI-compatible endpoint is spoken, which has `n`. A stream's steps tell one answer.
    (Field::N, Handling::Refused("one request gives one answer here; send it several times")),
    (Field::JsonObject, Handling::Mapped("/generationConfig/responseMimeType")),
    (Field::JsonSchema, Handling::Mapped("/generationConfig/responseJsonSchema")),
    (
        Field::Verbosity,
        Handling::Ignored("Gemini has no such setting; the answer says the same in its own length"),
    ),
    (Field::Thinking, Handling::Mapped("/generationConfig/thinkingConfig")),
    (Field::Tools, Handling::Mapped("/tools")),
    (
        Field::CustomTools,
        Handling::Emulated(
            "a function with one text; a grammar stands in its description, and the model is not held to it",
        ),
    ),
    (Field::WebSearch, Handling::Mapped("/tools")),
    (Field::SearchContextSize, Handling::Ignored("Gemini itself decides how much of what it finds it reads")),
    (
        Field::SearchLocation,
        Handling::Ignored("Gemini searches for the whole world; the prompt can name a place"),
    ),
    (Field::SearchAllowedDomains, Handling::Refused("Gemini searches the whole web")),
    (Field::SearchBlockedDomains, Handling::Refused("Gemini searches the whole web")),
    (Field::SearchLimit, Handling::Ignored("Gemini counts no searches; a model makes few")),
    (Field::ServerTools, Handling::Refused("the tool is run by another provider")),
    (Field::ToolChoice, Handling::Mapped("/toolConfig/functionCallingConfig")),
    (Field::AllowedTools, Handling::Mapped("/toolConfig/functionCallingConfig/allowedFunctionNames")),
    // Libraries send `false` as a precaution, with forced calls above all, where Gemini makes one anyway. Calls that do
    // come together have ids and are answered one by one, in every client's format.
    (
        Field::ParallelToolCalls,
        Handling::Ignored(
            "Gemini has no such switch; calls that come together can be run one after the other",
        ),
    ),
    (Field::User, Handling::Ignored("Gemini keeps no account of end users")),
    (Field::Metadata, Handling::Ignored("Gemini stores no notes on requests")),
    (Field::ServiceTier, Handling::Ignored("it is about price and speed, not the answer")),
];

/// Writes a request. All instructions go into `systemInstruction`, in order: Gemini knows none inside the conversation,
/// and as a user's words they would weigh less. Instructions alone are asked as a user's words, since the API wants a
/// content. Errors: 400 that names the place of a part that cannot be said.
pub fn write_request(request: &Request, target: &Origin) -> Result<Written, Error> {
    let model = Model::of(&request.model);
    let mut writer = Writer::new(target, model);
    let mut instructions: Vec<Value> = Vec::new();
    for entry in &request.entries {
        match entry {
            Entry::Message { message, place } => writer.add(message, place.as_deref())?,
            Entry::Instruction(parts) => {
                instructions.extend(parts.iter().filter_map(|part| match &part.kind {
                    PartKind::Text(text) if !text.is_empty() => Some(json!({ "text": text })),
                    _ => None,
                }))
            }
        }
    }
    let mut body = Map::new();
    let contents = writer.contents();
    if contents.is_empty() && !instructions.is_empty() {
        body.insert("contents".into(), json!([{"role": "user", "parts": instructions}]));
    } else {
        body.insert("contents".into(), contents.into());
        if !instructions.is_empty() {
            body.insert("systemInstruction".into(), json!({ "parts": instructions }));
        }
    }
    body.extend(tool::write(&request.tools, model)?.map(|tools| ("tools".to_owned(), tools)));
    // A choice among no functions is refused.
    let has_functions = request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Function { .. }));
    let choice = tool::write_choice(request.tool_choice.as_ref().filter(|_| has_functions));
    let mut tool_config = Map::new();
    tool_config.extend(choice.map(|choice| ("functionCallingConfig".to_owned(), choice)));
    if has_functions && model.is_third() && request.searches().next().is_some() {
        // Without it, the API refuses a search beside functions.
        tool_config.insert("includeServerSideToolInvocations".into(), true.into());
    }
    if !tool_config.is_empty() {
        body.insert("toolConfig".into(), tool_config.into());
    }
    let config = config::write(request, model)?;
    if !config.is_empty() {
        body.insert("generationConfig".into(), config.into());
    }
    for (name, value) in &request.rest {
        match (body.get_mut(name), value) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
            _ => drop(body.insert(name.clone(), value.clone())),
        }
    }
    Ok(Written::whole(body.into()))
}
