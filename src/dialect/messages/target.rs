//! Requests for providers, written; and the table of what becomes of each field.
//!
//! Invariant: a request is one that the model takes: what models differ in is decided here by [`Model`], and nothing that
//! the API does not know is sent.

use serde_json::{Map, Number, Value, json};

use super::conversation::{Conversation, hint_at_most};
use super::model::{Asking, Model, Off};
use super::schema;
use super::write::legal;
use crate::dialect::fields::located;
use crate::error::Error;
use crate::request::{
    Effort, Field, Format, Handling, Request, Tool, ToolChoice, ToolKind, WebSearch, Written,
};
use crate::turn::Origin;

/// What becomes of each field of a request of another dialect.
pub const TABLE: &[(Field, Handling)] = &[
    (Field::MaxTokens, Handling::Mapped("/max_tokens")),
    (
        Field::Temperature,
        Handling::Emulated(
            "temperature, at most 1; left out where the model takes none, and while it thinks",
        ),
    ),
    (
        Field::TopP,
        Handling::Emulated(
            "top_p; left out where the model takes none or not beside temperature, and below 0.95 while it thinks",
        ),
    ),
    (Field::TopK, Handling::Emulated("top_k; left out where the model takes none, and while it thinks")),
    (Field::FrequencyPenalty, Handling::Refused("the API has no penalties")),
    (Field::PresencePenalty, Handling::Refused("the API has no penalties")),
    (Field::Seed, Handling::Refused("the API cannot repeat its sampling")),
    (Field::LogitBias, Handling::Refused("token ids differ between providers")),
    (Field::Logprobs, Handling::Refused("the API tells no log probabilities")),
    (Field::Stop, Handling::Mapped("/stop_sequences")),
    (Field::N, Handling::Refused("the API gives one answer")),
    (Field::JsonObject, Handling::Emulated("an instruction to answer with one JSON object")),
    (
        Field::JsonSchema,
        Handling::Emulated(
            "output_config.format; an instruction with the schema where the model or the schema is not fit for it",
        ),
    ),
    (Field::Verbosity, Handling::Ignored("how wordy an answer is, the instructions say as well")),
    (
        Field::Thinking,
        Handling::Emulated("thinking and output_config.effort, in the model's own form; see `thinking`"),
    ),
    (Field::Tools, Handling::Mapped("/tools")),
    (
        Field::CustomTools,
        Handling::Emulated(
            "a tool with one text; a grammar stands in its description, and the model is not held to it",
        ),
    ),
    (Field::WebSearch, Handling::Mapped("/tools")),
    (Field::SearchContextSize, Handling::Ignored("Claude itself decides how much of what it finds it reads")),
    (Field::SearchLocation, Handling::Mapped("/tools")),
    (Field::SearchAllowedDomains, Handling::Mapped("/tools")),
    (Field::SearchBlockedDomains, Handling::Mapped("/tools")),
    (Field::SearchLimit, Handling::Mapped("/tools")),
    (Field::ServerTools, Handling::Refused("tools that another provider runs do not exist there")),
    (Field::ToolChoice, Handling::Mapped("/tool_choice")),
    (Field::AllowedTools, Handling::Emulated("only the allowed tools are sent")),
    (Field::ParallelToolCalls, Handling::Mapped("/tool_choice/disable_parallel_tool_use")),
    (Field::User, Handling::Mapped("/metadata/user_id")),
    (Field::Metadata, Handling::Ignored("notes for the caller's own records; they do not reach the model")),
    (Field::ServiceTier, Handling::Mapped("/service_tier")),
];

/// The least budget of thinking: <https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>.
const LEAST_BUDGET: u64 = 1_024;
/// What is left for the answer's words behind a budget that would take it all.
const LEAST_WORDS: u64 = 1_024;

/// Writes a request. Errors: 400 that names the place of a part that cannot be said.
pub fn write_request(request: &Request, target: &Origin) -> Result<Written, Error> {
    let model = Model::named(&request.model);
    let mut conversation = Conversation::read(&request.entries, target)?;
    let tools = tools(request, &model);
    let choice = choice(request, &tools, &model, &mut conversation);
    let thinking = thinking(request, &model, &conversation, choice.as_ref())?;
    conversation.finish(model.prefill && !thinking.on);
    let format = request.format.as_ref().and_then(|format| write_format(format, &model, &mut conversation));

    let mut body = Map::new();
    body.insert("model".into(), request.model.as_str().into());
    body.insert("max_tokens".into(), thinking.max_tokens.into());
    body.extend(conversation.system().map(|system| ("system".to_owned(), system)));
    body.insert("messages".into(), conversation.messages());
    if !tools.is_empty() {
        body.insert("tools".into(), tools.into());
    }
    body.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
    let left_out = write_sampling(request, &model, thinking.on, &mut body);
    write_stop(request, &mut body)?;
    body.extend(thinking.field.map(|field| ("thinking".to_owned(), field)));
    let mut output = Map::new();
    output.extend(thinking.effort.map(|effort| ("effort".to_owned(), effort.into())));
    output.extend(format.map(|format| ("format".to_owned(), format)));
    if !output.is_empty() {
        body.insert("output_config".into(), output.into());
    }
    if let Some(user) = &request.user {
        body.insert("metadata".into(), json!({ "user_id": user }));
    }
    if let Some(tier) = &request.service_tier {
        // `auto` takes capacity that was bought beforehand, where there is some; `standard_only` never does.
        let tier = if matches!(tier.as_str(), "auto" | "priority") { "auto" } else { "standard_only" };
        body.insert("service_tier".into(), tier.into());
    }
    if request.stream {
        body.insert("stream".into(), true.into());
    }
    hint_at_most(4, &mut body);
    Ok(Written { body: Value::Object(body), left_out })
}

fn tools(request: &Request, model: &Model) -> Vec<Value> {
    let allowed = |tool: &&Tool| match (&request.tool_choice, &tool.kind) {
        (Some(ToolChoice::Allowed { names, .. }), ToolKind::Function { name, .. }) => names.contains(name),
        _ => true,
    };
    request.tools.iter().filter(allowed).filter_map(|tool| write_tool(tool, model)).collect()
}

fn write_tool(tool: &Tool, model: &Model) -> Option<Value> {
    let ToolKind::Function { name, description, parameters, strict } = &tool.kind else {
        return match &tool.kind {
            ToolKind::WebSearch(search) => Some(write_search(search, &tool.extra)),
            _ => None,
        };
    };
    let mut object = Map::new();
    object.insert("name".into(), legal(name).into());
    if let Some(description) = description.as_ref().filter(|text| !text.is_empty()) {
        object.insert("description".into(), description.as_str().into());
    }
    let followed = (*strict == Some(true) && model.formats)
        .then(|| schema::strict(&input_schema(parameters.as_ref())))
        .flatten();
    let is_strict = followed.is_some();
    object.insert("input_schema".into(), followed.unwrap_or_else(|| input_schema(parameters.as_ref())));
    if is_strict {
        object.insert("strict".into(), true.into());
    }
    if let Some(hint) = tool.extra.get("cache_control").filter(|hint| hint.is_object()) {
        object.insert("cache_control".into(), hint.clone());
    }
    Some(Value::Object(object))
}

/// <https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool>
fn write_search(search: &WebSearch, extra: &Map<String, Value>) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), SEARCH.into());
    object.insert("name".into(), "web_search".into());
    object.extend(search.max_uses.map(|most| ("max_uses".to_owned(), most.into())));
    for (name, domains) in
        [("allowed_domains", &search.allowed_domains), ("blocked_domains", &search.blocked_domains)]
    {
        if !domains.is_empty() {
            object.insert(name.into(), domains.clone().into());
        }
    }
    object.extend(search.location.as_ref().map(|location| ("user_location".to_owned(), located(location))));
    object.extend(extra.get("cache_control").map(|hint| ("cache_control".to_owned(), hint.clone())));
    Value::Object(object)
}

/// The version of the search that all models with one know.
const SEARCH: &str = "web_search_20250305";

/// The schema of a tool's input. The API wants an object at the top, and no choice between several.
fn input_schema(parameters: Option<&Value>) -> Value {
    let mut schema = parameters.and_then(Value::as_object).cloned().unwrap_or_default();
    for name in ["anyOf", "oneOf", "allOf"] {
        if let Some(variants) = schema.shift_remove(name) {
            let before = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            let text = format!("{before} ({name}: {variants})").trim_start().to_owned();
            schema.insert("description".into(), text.into());
        }
    }
    if schema.get("type").is_none_or(|kind| kind != "object") {
        schema.insert("type".into(), "object".into());
    }
    schema.entry("properties").or_insert_with(|| json!({}));
    Value::Object(schema)
}

/// The choice between the tools. A model that cannot be forced is told in words.
fn choice(
    request: &Request,
    tools: &[Value],
    model: &Model,
    conversation: &mut Conversation,
) -> Option<Value> {
    let names = |wanted: &str| tools.iter().any(|tool| tool.get("name").is_some_and(|name| name == wanted));
    let wanted = match request.tool_choice.as_ref() {
        Some(ToolChoice::Named(name)) => json!({"type": "tool", "name": legal(name)}),
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => json!({"type": "any"}),
        Some(ToolChoice::None) => json!({"type": "none"}),
        Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => json!({"type": "auto"}),
        None => request.parallel_tool_calls.map(|_| json!({"type": "auto"}))?,
    };
    if tools.is_empty() {
        return None;
    }
    let kind = wanted.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = wanted.get("name").and_then(Value::as_str).filter(|name| names(name)).map(str::to_owned);
    let mut choice = wanted;
    if matches!(kind.as_str(), "tool" | "any") && !model.can_be_forced() {
        conversation.instruct(match name {
            Some(name) => format!("Answer by calling the tool `{name}`, and with nothing else."),
            None => "Answer by calling one of the tools, and with nothing else.".to_owned(),
        });
        choice = json!({"type": "auto"});
    }
    if let (Some(parallel), true, Value::Object(fields)) =
        (request.parallel_tool_calls, kind != "none", &mut choice)
    {
        fields.insert("disable_parallel_tool_use".into(), (!parallel).into());
    }
    Some(choice)
}

/// What a request says about thinking.
#[derive(Debug, Default)]
struct Asked {
    on: bool,
    max_tokens: u64,
    field: Option<Value>,
    effort: Option<&'static str>,
}

/// Thinking in the model's own form. The API refuses it together with a forced tool, and by budget behind a turn whose
/// thoughts are missing (a client dropped them, or another provider had them): such requests go without.
fn thinking(
    request: &Request,
    model: &Model,
    conversation: &Conversation,
    choice: Option<&Value>,
) -> Result<Asked, Error> {
    let thinking = &request.thinking;
    let max_tokens = request.max_tokens.unwrap_or(model.max_tokens);
    let plain = Asked { max_tokens, ..Asked::default() };
    let forced = choice
        .and_then(|choice| choice.get("type"))
        .is_some_and(|kind| matches!(kind.as_str(), Some("tool" | "any")));
    if thinking.is_off() || forced {
        return Ok(match model.off {
            Off::Unasked => plain,
            Off::Said(kind) => Asked { field: Some(json!({ "type": kind })), ..plain },
            Off::Never => Asked { on: true, effort: Some("low"), ..plain },
        });
    }
    let always = model.off != Off::Unasked;
    let shown = thinking.shown.or(thinking.summary.as_ref().map(|_| true));
    if thinking.effort.is_none() && thinking.budget.is_none() && !thinking.adaptive {
        let field = shown.filter(|_| always).map(|shown| adaptive(Some(shown)));
        return Ok(Asked { on: always, field, ..plain });
    }
    match model.thinking {
        Asking::Not if matches!(thinking.in_words(), Some(Effort::Minimal) | None) => Ok(plain),
        Asking::Not => Err(Error::invalid(
            "reasoning",
            format!(
                "The model `{}` cannot think. Leave out what the request says about reasoning (`reasoning`, \
                 `reasoning_effort`), or use a newer model.",
                request.model
            ),
        )
        .with_code("unsupported_field")),
        Asking::Budget if conversation.lacks_thoughts() => Ok(plain),
        Asking::Budget => {
            let asked = thinking.in_tokens().unwrap_or(Effort::Medium.budget()).max(LEAST_BUDGET);
            // The budget counts into the limit: one that leaves no words is added to the client's.
            let wanted = request
                .max_tokens
                .map_or(model.max_tokens, |most| if most > asked { most } else { most + asked });
            let max_tokens =
                wanted.min(model.max_tokens.max(request.max_tokens.unwrap_or(0))).max(LEAST_BUDGET + 1);
            let room = max_tokens.saturating_sub(LEAST_WORDS).max(LEAST_BUDGET);
            let budget = if max_tokens > asked { asked } else { room };
            let mut field = json!({"type": "enabled", "budget_tokens": budget});
            if let (Some(false), Value::Object(fields)) = (shown, &mut field) {
                fields.insert("display".into(), "omitted".into());
            }
            Ok(Asked { on: true, max_tokens, field: Some(field), effort: None })
        }
        Asking::Effort => {
            let effort = thinking.in_words().map(|effort| match effort {
                Effort::None | Effort::Minimal | Effort::Low => "low",
                Effort::Medium => "medium",
                Effort::High => "high",
                Effort::XHigh if model.xhigh => "xhigh",
                Effort::XHigh => "high",
                Effort::Max => "max",
            });
            Ok(Asked { on: true, max_tokens, field: Some(adaptive(shown)), effort })
        }
    }
}

fn adaptive(shown: Option<bool>) -> Value {
    match shown {
        Some(true) => json!({"type": "adaptive", "display": "summarized"}),
        Some(false) => json!({"type": "adaptive", "display": "omitted"}),
        None => json!({"type": "adaptive"}),
    }
}

/// Writes how the model samples. Gives what of it the model cannot take, or not while it thinks.
fn write_sampling(
    request: &Request,
    model: &Model,
    thinks: bool,
    body: &mut Map<String, Value>,
) -> Vec<Field> {
    let is_one = |number: &Number| number.as_f64() == Some(1.0);
    let mut temperature = request.temperature.as_ref().filter(|_| model.sampling && !thinks);
    let mut top_p =
        request.top_p.as_ref().filter(|top_p| model.sampling && (!thinks || top_p.as_f64() >= Some(0.95)));
    if let (Some(heat), Some(share)) = (temperature, top_p)
        && !model.both_samplings
    {
        // One of them is enough for what both say if the other says nothing; else the temperature holds.
        if is_one(heat) && !is_one(share) {
            temperature = None;
        } else {
            top_p = None;
        }
    }
    let top_k = request.top_k.filter(|_| model.sampling && !thinks);
    if let Some(temperature) = temperature {
        let above = temperature.as_f64().is_some_and(|value| value > 1.0);
        body.insert("temperature".into(), if above { 1.into() } else { temperature.clone().into() });
    }
    if let Some(top_p) = top_p {
        body.insert("top_p".into(), top_p.clone().into());
    }
    if let Some(top_k) = top_k {
        body.insert("top_k".into(), top_k.into());
    }
    // A one is what the model does anyway.
    let lost = |asked: &Option<Number>| asked.as_ref().is_some_and(|number| !is_one(number));
    [
        (Field::Temperature, temperature.is_none() && lost(&request.temperature)),
        (Field::TopP, top_p.is_none() && lost(&request.top_p)),
        (Field::TopK, top_k.is_none() && request.top_k.is_some()),
    ]
    .into_iter()
    .filter_map(|(field, is_lost)| is_lost.then_some(field))
    .collect()
}

fn write_stop(request: &Request, body: &mut Map<String, Value>) -> Result<(), Error> {
    if request.stop.iter().any(|text| text.trim().is_empty()) {
        let why = "Texts that end the answer cannot be translated for this model if they hold white space only. Leave \
                   those out of `stop`.";
        return Err(Error::invalid("stop", why).with_code("unsupported_field"));
    }
    if !request.stop.is_empty() {
        body.insert("stop_sequences".into(), request.stop.clone().into());
    }
    Ok(())
}

/// The form of the answer: by the API where it can, else by an instruction.
fn write_format(format: &Format, model: &Model, conversation: &mut Conversation) -> Option<Value> {
    match format {
        Format::Text => None,
        Format::JsonObject => {
            conversation
                .instruct("Answer with one JSON object and nothing else, without a code fence.".to_owned());
            None
        }
        Format::JsonSchema { name, description, schema, .. } => {
            if model.formats
                && let Some(schema) = schema::strict(schema)
            {
                return Some(json!({"type": "json_schema", "schema": schema}));
            }
            let name = name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
            let about = description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
            conversation.instruct(format!(
                "Answer with one JSON value{name}{about} and nothing else, without a code fence. It follows this JSON \
                 schema: {schema}"
            ));
            None
        }
    }
}
