//! Gemini's requests and answers in a form in which equal things are equal, to compare what was recorded with what the
//! gateway writes.

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect};
use memory_gateway::request::{Entry, ToolKind};
use memory_gateway::turn::Origin;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Objects whose names are the tool's own.
const FOREIGN: &[&str] = &[
    "args",
    "response",
    "parameters",
    "parametersJsonSchema",
    "responseJsonSchema",
    "responseSchema",
    "labels",
    "headers",
];

/// Names in `camelCase`, in order; without null.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut out = Map::new();
            for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
                let name = camel(&name);
                let value = if FOREIGN.contains(&name.as_str()) { sorted(value) } else { plain(value) };
                out.insert(name, value);
            }
            out.sort_keys();
            Value::Object(out)
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

fn sorted(mut value: Value) -> Value {
    value.sort_all_objects();
    value
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}

/// What contents say: pieces, each with its speaker. Neighbouring texts without signatures are one.
pub fn said(contents: Vec<Value>) -> Vec<Value> {
    let mut pieces: Vec<Value> = Vec::new();
    for content in contents {
        let mut content = plain(content);
        let role = match content["role"].as_str() {
            Some("model") => "model",
            _ => "user",
        };
        for mut part in content["parts"].as_array_mut().map(std::mem::take).unwrap_or_default() {
            let fields = part.as_object_mut().unwrap();
            if fields.get("text").is_some_and(|text| text == "") && fields.len() == 1 {
                continue;
            }
            if let Some(call) = fields.get_mut("functionCall").and_then(Value::as_object_mut)
                && call.contains_key("name")
                && !call.contains_key("partialArgs")
                && !call.contains_key("willContinue")
            {
                call.entry("args").or_insert(json!({}));
                call.sort_keys();
            }
            let is_text = |part: &Value, thought: bool| {
                let fields = part.as_object().unwrap();
                fields.get("thought").is_some() == thought
                    && fields.len() == 1 + usize::from(thought)
                    && fields.get("text").is_some_and(Value::is_string)
            };
            if let Some(last) = pieces.last_mut()
                && (is_text(&last[1], false) && is_text(&part, false)
                    || is_text(&last[1], true) && is_text(&part, true))
                && last[0] == role
            {
                let more = part["text"].as_str().unwrap().to_owned();
                let text = last[1]["text"].as_str().unwrap().to_owned() + &more;
                last[1]["text"] = text.into();
                continue;
            }
            pieces.push(json!([role, part]));
        }
    }
    pieces
}

/// The contents of an answer, or of the array of answers that a stream without events is.
pub fn contents_of_answer(answer: Value) -> Vec<Value> {
    let pieces = match answer {
        Value::Array(pieces) => pieces,
        whole => vec![whole],
    };
    pieces
        .iter()
        .filter_map(|piece| piece.pointer("/candidates/0/content/parts"))
        .map(|parts| json!({"role": "model", "parts": parts}))
        .collect()
}

/// A whole request, read and written for the same provider, asks what was asked. Of other dialects this is seen elsewhere.
pub fn comes_back(origin: &Origin, request: &RawValue) -> Result<(), String> {
    if origin.dialect != Dialect::Google {
        return Ok(());
    }
    let body = Body::parse(request.get().as_bytes()).map_err(|error| error.to_string())?;
    let conversation = origin.dialect.read_conversation(&body, origin).map_err(|error| error.to_string())?;
    let entries = conversation
        .units
        .into_iter()
        .filter_map(|unit| match unit.content {
            Content::Message(message) => Some(Entry::Message { message, place: None }),
            Content::Instruction(_) => None,
        })
        .collect();
    let mut read = origin.dialect.read_request(&body, entries).map_err(|error| error.to_string())?;
    // The recordings' requests bear it in their address. It steers thinking, and whether a search may stand beside
    // functions.
    let combines = |kind: fn(&ToolKind) -> bool| read.tools.iter().any(|tool| kind(&tool.kind));
    let both = combines(|kind| matches!(kind, ToolKind::WebSearch(_)))
        && combines(|kind| matches!(kind, ToolKind::Function { .. }));
    read.model = if both { "gemini-3-flash" } else { "gemini-2.5-flash" }.to_owned();
    let back = origin.dialect.write_request(&read, &origin.provider).map_err(|error| error.to_string())?.body;
    let sent = asked(serde_json::from_str(request.get()).unwrap());
    let back = asked(back);
    if sent == back { Ok(()) } else { Err(format!("asked {sent}, back {back}")) }
}

/// What a request asks.
fn asked(request: Value) -> Value {
    let mut request = plain(request);
    let fields = request.as_object_mut().unwrap();
    fields.shift_remove("model");
    let contents = fields.shift_remove("contents").and_then(|contents| contents.as_array().cloned());
    // Results stand first in their content.
    let mut contents = said(contents.unwrap_or_default());
    contents.iter_mut().for_each(|piece| {
        if piece[1].get("functionResponse").is_some() {
            piece[0] = "result".into();
        }
    });
    fields.insert("contents".into(), contents.into());
    if let Some(system) = fields.get_mut("systemInstruction").and_then(Value::as_object_mut) {
        system.shift_remove("role");
    }
    let (functions, others) = tools(fields.shift_remove("tools"));
    // Asked for wherever a search stands beside functions.
    if let Some(config) = fields.get_mut("toolConfig").and_then(Value::as_object_mut) {
        config.shift_remove("includeServerSideToolInvocations");
    }
    if functions.is_empty()
        && let Some(config) = fields.get_mut("toolConfig").and_then(Value::as_object_mut)
        && config.get("functionCallingConfig") == Some(&json!({"mode": "AUTO"}))
    {
        config.shift_remove("functionCallingConfig");
    }
    fields.insert("functions".into(), functions.into());
    fields.insert("others".into(), others.into());
    if let Some(config) = fields.get_mut("generationConfig").and_then(Value::as_object_mut) {
        if config.get("candidateCount") == Some(&json!(1)) {
            config.shift_remove("candidateCount");
        }
        if let Some(most) = config.get_mut("topK") {
            *most = most.as_f64().unwrap().into();
        }
        config.retain(|_, value| value.as_array().is_none_or(|items| !items.is_empty()));
        if let Some(schema) = config.get_mut("responseJsonSchema") {
            *schema = outline(schema);
        }
        if let Some(thinking) = config.get_mut("thinkingConfig").and_then(Value::as_object_mut) {
            // Shown unless it is said otherwise; in words or in numbers, as the model wants it.
            if thinking.get("thinkingBudget") != Some(&json!(0)) {
                thinking.entry("includeThoughts").or_insert(true.into());
            }
            let level = thinking.shift_remove("thinkingLevel");
            if level == Some(json!("HIGH")) {
                thinking.insert("thinkingBudget".into(), json!(24_576));
            }
            thinking.sort_keys();
        }
    }
    fields.retain(|_, value| value.as_object().is_none_or(|inner| !inner.is_empty()));
    fields.sort_keys();
    request
}

fn tools(tools: Option<Value>) -> (Vec<Value>, Vec<Value>) {
    let items = match tools {
        None => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(one) => vec![one],
    };
    let mut functions = Vec::new();
    let mut others = Vec::new();
    for mut tool in items {
        let tool = tool.as_object_mut().unwrap();
        if let Some(declared) = tool.shift_remove("functionDeclarations") {
            functions.extend(declared.as_array().cloned().unwrap());
        }
        others.extend((!tool.is_empty()).then(|| Value::Object(tool.clone())));
    }
    for function in &mut functions {
        let function = function.as_object_mut().unwrap();
        if let Some(schema) = function.shift_remove("parametersJsonSchema") {
            let outline = outline(&schema);
            if outline != json!({}) {
                function.insert("schema".into(), outline);
            }
        }
        function.sort_keys();
    }
    (functions, others)
}

/// A schema's properties and their types; what of the language Gemini takes is seen where it is cleaned.
fn outline(schema: &Value) -> Value {
    let mut out = Map::new();
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        out.insert(name.clone(), outline(inner));
    }
    for name in ["anyOf", "oneOf"] {
        if let Some(items) = schema.get(name).and_then(Value::as_array) {
            out.insert(name.into(), items.iter().map(outline).collect());
        }
    }
    for name in ["items", "$ref", "type", "required", "description"] {
        if let Some(value) =
            schema.get(name).filter(|value| **value != json!("object") && **value != json!([]))
        {
            let told = |text: &str| text.split(" (").next().unwrap_or_default().to_owned();
            let value = match value {
                Value::Object(_) => outline(value),
                // References move, and rules are told behind the description.
                Value::String(text) if name == "description" && text.starts_with('(') => continue,
                Value::String(text) if name == "description" => told(text).into(),
                Value::String(text) => text.replace("definitions", "$defs").into(),
                other => other.clone(),
            };
            out.insert(name.into(), value);
        }
    }
    out.sort_keys();
    out.into()
}
