//! The answer's sampling and form: `generationConfig`, <https://ai.google.dev/api/generate-content#generationconfig>.
//!
//! Invariant: a field is written only when the request sets it. Fields without a word in the hub (modalities, speech,
//! pictures, the older form of schemas) go back as they came.

use serde_json::{Map, Number, Value};

use super::model::Model;
use super::{camel_names, schema, thinking};
use crate::dialect::fields::take_object;
use crate::error::Error;
use crate::request::{Format, Request};

/// The most texts that may end an answer.
const MOST_STOPS: usize = 5;

/// Writes `generationConfig`. Errors: 400 for more stop texts than the API takes.
pub fn write(request: &Request, model: Model) -> Result<Map<String, Value>, Error> {
    let mut config = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        config.extend(value.map(|value| (name.to_owned(), value)));
    };
    let number = |number: &Option<Number>| number.clone().map(Value::Number);
    set("maxOutputTokens", request.max_tokens.map(Value::from));
    set("temperature", number(&request.temperature));
    set("topP", number(&request.top_p));
    set("topK", request.top_k.map(Value::from));
    set("frequencyPenalty", number(&request.frequency_penalty));
    set("presencePenalty", number(&request.presence_penalty));
    set("seed", number(&request.seed));
    set("candidateCount", request.n.filter(|n| *n != 1).map(Value::from));
    set("responseLogprobs", request.logprobs.map(|_| true.into()));
    set("logprobs", request.logprobs.filter(|most| *most > 0).map(Value::from));
    if request.stop.len() > MOST_STOPS {
        let message =
            format!("The field `stop` holds {} texts; Gemini takes {MOST_STOPS}.", request.stop.len());
        return Err(Error::invalid("stop", message));
    }
    set("stopSequences", (!request.stop.is_empty()).then(|| request.stop.clone().into()));
    match &request.format {
        Some(Format::JsonObject) => set("responseMimeType", Some("application/json".into())),
        Some(Format::JsonSchema { schema, description, .. }) => {
            set("responseMimeType", Some("application/json".into()));
            let mut schema = schema::cleaned(schema);
            if let (Value::Object(fields), Some(text)) = (&mut schema, description)
                && !fields.contains_key("$ref")
            {
                fields.entry("description").or_insert_with(|| text.as_str().into());
            }
            set("responseJsonSchema", Some(schema));
        }
        Some(Format::Text) | None => {}
    }
    set("thinkingConfig", thinking::write(&request.thinking, model));
    Ok(config)
}

/// Reads `generationConfig` into a request; what has no word in the hub is given back. Errors: 400 that names the field.
pub fn read(config: Map<String, Value>, request: &mut Request) -> Result<Map<String, Value>, Error> {
    let mut config = camel_names(config);
    config.retain(|_, value| !value.is_null());
    request.max_tokens = whole(&mut config, "maxOutputTokens")?;
    request.temperature = number(&mut config, "temperature")?;
    request.top_p = number(&mut config, "topP")?;
    request.top_k = whole(&mut config, "topK")?;
    request.frequency_penalty = number(&mut config, "frequencyPenalty")?;
    request.presence_penalty = number(&mut config, "presencePenalty")?;
    request.seed = number(&mut config, "seed")?;
    request.n = whole(&mut config, "candidateCount")?;
    if config.get("responseLogprobs") == Some(&Value::Bool(true)) {
        config.shift_remove("responseLogprobs");
        request.logprobs = Some(whole(&mut config, "logprobs")?.unwrap_or(0));
    }
    if let Some(stop) = config.shift_remove("stopSequences") {
        request.stop =
            serde_json::from_value(stop).map_err(|_| wrong("stopSequences", "an array of strings"))?;
    }
    if !config.contains_key("responseSchema")
        && config.get("responseMimeType").is_some_and(|kind| kind == "application/json")
    {
        config.shift_remove("responseMimeType");
        request.format = Some(match config.shift_remove("responseJsonSchema") {
            Some(schema) => Format::JsonSchema { name: None, description: None, schema, strict: None },
            None => Format::JsonObject,
        });
    }
    if let Some(thoughts) = take_object(&mut config, "thinkingConfig") {
        request.thinking = thinking::read(thoughts)?;
    }
    Ok(config)
}

fn number(config: &mut Map<String, Value>, name: &str) -> Result<Option<Number>, Error> {
    match config.shift_remove(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number)),
        Some(_) => Err(wrong(name, "a number")),
    }
}

/// Some clients write whole numbers as fractions (`topK: 40.0`).
fn whole(config: &mut Map<String, Value>, name: &str) -> Result<Option<u64>, Error> {
    let Some(value) = config.shift_remove(name) else { return Ok(None) };
    let fraction = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..1e15).contains(number));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = value.as_u64().or(fraction.map(|number| number as u64));
    whole.map(Some).ok_or_else(|| wrong(name, "a whole number"))
}

fn wrong(name: &str, what: &str) -> Error {
    let place = format!("generationConfig.{name}");
    Error::invalid(&place, format!("The field `{place}` must be {what}."))
}
