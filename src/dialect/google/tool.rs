//! Tools and the choice among them: `tools` and `toolConfig`, <https://ai.google.dev/api/caching#Tool>.
//!
//! Invariant: a declaration's schema is written as JSON schema; one that came in the API's older form (`parameters`) goes
//! back in it. Tools that Google runs stay whole.

use serde_json::{Map, Value, json};

use super::camel_names;
use super::model::Model;
use super::part::{is_legal_name, legal_name};
use super::schema;
use crate::dialect::fields::{take_array, take_object, take_string};
use crate::dialect::request_fields::wrong;
use crate::error::Error;
use crate::request::{Tool, ToolChoice, ToolKind, WebSearch};

/// Fields of a declaration that have no word in the hub.
const OWN: &[&str] = &["parameters", "response", "responseJsonSchema", "behavior"];

/// Writes `tools`; `None` without any. Errors: 400 for a name that the API does not take, and for a search beside
/// functions, which models before Gemini 3 do not take.
pub fn write(tools: &[Tool], model: Model) -> Result<Option<Value>, Error> {
    let calls = tools.iter().any(|tool| matches!(tool.kind, ToolKind::Function { .. }));
    let mut functions = Vec::new();
    let mut others = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        match &tool.kind {
            ToolKind::Function { name, description, parameters, .. } => {
                if !is_legal_name(name) {
                    return Err(illegal(name, at));
                }
                let mut object = Map::new();
                object.insert("name".into(), name.as_str().into());
                object.extend(
                    description.as_ref().map(|text| ("description".to_owned(), text.as_str().into())),
                );
                let own = tool.extra.iter().filter(|(name, _)| OWN.contains(&name.as_str()));
                object.extend(own.map(|(name, value)| (name.clone(), value.clone())));
                if let Some(parameters) = parameters.as_ref().filter(|schema| !schema::is_empty(schema)) {
                    object.insert("parametersJsonSchema".into(), schema::cleaned(parameters));
                }
                functions.push(Value::Object(object));
            }
            ToolKind::WebSearch(_) if calls && model.searches_alone() => return Err(beside_functions(at)),
            ToolKind::WebSearch(_) => others.push(json!({"googleSearch": {}})),
            ToolKind::Server(value) => others.push(value.clone()),
            // A function stands in for it; see `free_text`.
            ToolKind::Custom { .. } => {}
        }
    }
    let declared = (!functions.is_empty()).then(|| json!({ "functionDeclarations": functions }));
    let all: Vec<Value> = declared.into_iter().chain(others).collect();
    Ok((!all.is_empty()).then(|| all.into()))
}

fn beside_functions(at: usize) -> Error {
    let place = format!("tools[{at}]");
    let why = format!(
        "{place}: this model of Gemini does not search the web in a request that has functions as well. Leave one of them \
         out, or use Gemini 3 or newer."
    );
    Error::invalid(&place, why).with_code("unsupported_field")
}

fn illegal(name: &str, at: usize) -> Error {
    let place = format!("tools[{at}]");
    Error::invalid(
        &place,
        format!(
            "{place}: Gemini takes no function called `{name}`. A name has up to 64 letters, digits and `_.:-`, and \
             begins with a letter or `_`."
        ),
    )
}

/// Writes `functionCallingConfig`; `None` for what the API does anyway.
pub fn write_choice(choice: Option<&ToolChoice>) -> Option<Value> {
    let named = |names: &[String]| names.iter().map(|name| legal_name(name)).collect::<Vec<_>>();
    Some(match choice? {
        ToolChoice::Auto => json!({"mode": "AUTO"}),
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [legal_name(name)]}),
        ToolChoice::Allowed { required: true, names } => {
            json!({"mode": "ANY", "allowedFunctionNames": named(names)})
        }
        // `AUTO` takes no names. This is the same, with arguments held to their schemas.
        ToolChoice::Allowed { required: false, names } => {
            json!({"mode": "VALIDATED", "allowedFunctionNames": named(names)})
        }
    })
}

/// Reads `tools`: an array, or one tool alone. Errors: 400 that names the field.
pub fn read(value: Value) -> Result<Vec<Tool>, Error> {
    let items = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items,
        one => vec![one],
    };
    let mut tools = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let Value::Object(object) = item else {
            return Err(wrong(&format!("tools[{at}]"), "an object"));
        };
        let mut object = camel_names(object);
        for (number, function) in
            take_array(&mut object, "functionDeclarations").unwrap_or_default().into_iter().enumerate()
        {
            let place = format!("tools[{at}].functionDeclarations[{number}]");
            let Value::Object(function) = function else { return Err(wrong(&place, "an object")) };
            tools.push(read_function(camel_names(function), &place)?);
        }
        if object.get("googleSearch") == Some(&json!({})) {
            object.shift_remove("googleSearch");
            tools.push(Tool { kind: ToolKind::WebSearch(WebSearch::default()), extra: Map::new() });
        }
        if !object.is_empty() {
            tools.push(Tool { kind: ToolKind::Server(object.into()), extra: Map::new() });
        }
    }
    Ok(tools)
}

fn read_function(mut object: Map<String, Value>, place: &str) -> Result<Tool, Error> {
    let name = take_string(&mut object, "name").ok_or_else(|| wrong(&format!("{place}.name"), "a string"))?;
    let kind = ToolKind::Function {
        name,
        description: take_string(&mut object, "description"),
        parameters: object.shift_remove("parametersJsonSchema").filter(|schema| !schema.is_null()),
        strict: None,
    };
    Ok(Tool { kind, extra: object })
}

/// Reads `functionCallingConfig`; what has no word in the hub is given back.
pub fn read_choice(config: Map<String, Value>) -> Result<ToolChoice, Map<String, Value>> {
    let mut config = camel_names(config);
    let names: Vec<String> = config
        .get("allowedFunctionNames")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let choice = match (config.get("mode").and_then(Value::as_str), names.as_slice()) {
        (Some("AUTO"), []) => ToolChoice::Auto,
        (Some("NONE"), []) => ToolChoice::None,
        (Some("ANY"), []) => ToolChoice::Required,
        (Some("ANY"), [name]) => ToolChoice::Named(name.clone()),
        (Some("ANY"), _) => ToolChoice::Allowed { required: true, names },
        (Some("VALIDATED"), [_, ..]) => ToolChoice::Allowed { required: false, names },
        _ => return Err(config),
    };
    config.shift_remove("mode");
    config.shift_remove("allowedFunctionNames");
    if config.is_empty() { Ok(choice) } else { Err(with(config, &choice)) }
}

/// The rest of a choice whose own fields could not be left out.
fn with(rest: Map<String, Value>, choice: &ToolChoice) -> Map<String, Value> {
    let mut whole = match write_choice(Some(choice)) {
        Some(Value::Object(whole)) => whole,
        _ => Map::new(),
    };
    whole.extend(rest);
    whole
}

/// Reads `toolConfig`: the choice, and what has no word in the hub.
pub fn read_config(config: Map<String, Value>) -> (Option<ToolChoice>, Map<String, Value>) {
    let mut config = camel_names(config);
    match take_object(&mut config, "functionCallingConfig").map(read_choice) {
        None => (None, config),
        Some(Ok(choice)) => (Some(choice), config),
        Some(Err(own)) => {
            config.insert("functionCallingConfig".into(), own.into());
            (None, config)
        }
    }
}
