//! JSON schemas in the part of the language that Gemini takes.
//!
//! Invariant: what is written holds only keywords that the API's reference lists
//! (<https://ai.google.dev/api/generate-content#FIELDS.response_json_schema>). A rule that it has no keyword for is told
//! to the model in the description.

use serde_json::{Map, Value, json};

/// Keywords that pass as they are.
const PLAIN: &[&str] = &[
    "$id",
    "$ref",
    "$anchor",
    "type",
    "format",
    "title",
    "description",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "required",
    "propertyOrdering",
];

/// Keywords whose value is a schema, or none but true or false.
const SCHEMA: &[&str] = &["items", "additionalProperties"];

/// Keywords whose value is a list of schemas.
const SCHEMAS: &[&str] = &["anyOf", "oneOf", "prefixItems"];

/// Rules that only the description can hold.
const TOLD: &[&str] = &[
    "pattern",
    "minLength",
    "maxLength",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "default",
    "const",
];

/// The schema as Gemini takes it.
pub fn cleaned(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut out = Map::new();
    if let Some(reference) = fields.get("$ref") {
        // Nothing but names with a `$` may stand beside a reference.
        out.insert("$ref".into(), moved(reference));
        return definitions(fields, out).into();
    }
    let mut told = Vec::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            (plain, _) if PLAIN.contains(&plain) => drop(out.insert(name.clone(), value.clone())),
            (inner, _) if SCHEMA.contains(&inner) => drop(out.insert(name.clone(), cleaned(value))),
            (list, Value::Array(items)) if SCHEMAS.contains(&list) => {
                out.insert(name.clone(), items.iter().map(cleaned).collect());
            }
            ("properties", Value::Object(inner)) => drop(out.insert(name.clone(), each(inner))),
            ("enum", Value::Array(items)) => {
                let known: Vec<_> =
                    items.iter().filter(|item| item.is_string() || item.is_number()).collect();
                if known.is_empty() {
                    told.push(format!("{name}: {value}"));
                } else {
                    out.insert(name.clone(), json!(known));
                }
            }
            ("const", Value::String(_) | Value::Number(_)) => drop(out.insert("enum".into(), json!([value]))),
            (rule, _) if TOLD.contains(&rule) => told.push(format!("{rule}: {value}")),
            _ => {}
        }
    }
    if let Some(Value::Array(items)) = fields.get("allOf") {
        merge(&mut out, items);
    }
    let null_listed =
        fields.get("enum").and_then(Value::as_array).is_some_and(|items| items.contains(&Value::Null));
    if null_listed || fields.get("nullable") == Some(&Value::Bool(true)) {
        allow_null(&mut out);
    }
    if !told.is_empty() {
        let before = out.get("description").and_then(Value::as_str).map(|text| format!("{text} "));
        let text = format!("{}({})", before.unwrap_or_default(), told.join(", "));
        out.insert("description".into(), text.into());
    }
    definitions(fields, out).into()
}

/// True for a schema that allows only the empty object, which a function without parameters has.
pub fn is_empty(schema: &Value) -> bool {
    let Value::Object(fields) = schema else { return false };
    fields.iter().all(|(name, value)| match name.as_str() {
        "type" => value == "object",
        "properties" | "required" => {
            value.as_object().is_none_or(Map::is_empty) && value.as_array().is_none_or(Vec::is_empty)
        }
        "additionalProperties" => value == &Value::Bool(false),
        "$schema" | "title" | "description" => true,
        _ => false,
    })
}

fn each(schemas: &Map<String, Value>) -> Value {
    schemas.iter().map(|(name, schema)| (name.clone(), cleaned(schema))).collect::<Map<_, _>>().into()
}

fn definitions(fields: &Map<String, Value>, mut out: Map<String, Value>) -> Map<String, Value> {
    let named = ["$defs", "definitions"].iter().filter_map(|name| fields.get(*name)?.as_object());
    let all: Map<String, Value> =
        named.flatten().map(|(name, inner)| (name.clone(), cleaned(inner))).collect();
    if !all.is_empty() {
        out.insert("$defs".into(), all.into());
    }
    out
}

/// A reference to where definitions stand now.
fn moved(reference: &Value) -> Value {
    match reference.as_str().and_then(|path| path.strip_prefix("#/definitions/")) {
        Some(name) => format!("#/$defs/{name}").into(),
        None => reference.clone(),
    }
}

/// Takes in what holds all at once: properties and required names are added up, all else is set where it is not yet.
fn merge(out: &mut Map<String, Value>, items: &[Value]) {
    for item in items {
        let Value::Object(item) = cleaned(item) else { continue };
        for (name, value) in item {
            match (out.get_mut(&name), value) {
                (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
                (Some(Value::Array(known)), Value::Array(more)) if name == "required" => known.extend(more),
                (Some(_), _) => {}
                (None, value) => drop(out.insert(name, value)),
            }
        }
    }
}

fn allow_null(out: &mut Map<String, Value>) {
    match out.get_mut("type") {
        Some(Value::Array(kinds)) if !kinds.contains(&"null".into()) => kinds.push("null".into()),
        Some(kind @ Value::String(_)) => *kind = json!([kind, "null"]),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_keeps_what_gemini_knows_and_tells_the_rest() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "pattern": "^a$", "minLength": 1, "description": "A word."},
                "kind": {"const": "x"},
                "size": {"enum": [1, 2, null], "default": 1},
                "maybe": {"type": "integer", "nullable": true},
                "who": {"$ref": "#/definitions/Person", "description": "lost"},
                "list": {"type": "array", "items": {"oneOf": [{"type": "string", "not": {}}, {"type": "null"}]}},
                "both": {"allOf": [
                    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "string"}}, "required": ["b"]}]},
            },
            "required": ["kind"],
            "additionalProperties": false,
            "definitions": {"Person": {"type": "object", "patternProperties": {}, "properties": {"name": true}}},
        });
        assert_eq!(
            cleaned(&schema),
            json!({
                "type": "object",
                "properties": {
                    "pattern": {"type": "string", "description": "A word. (pattern: \"^a$\", minLength: 1)"},
                    "kind": {"enum": ["x"]},
                    "size": {"enum": [1, 2], "description": "(default: 1)"},
                    "maybe": {"type": ["integer", "null"]},
                    "who": {"$ref": "#/$defs/Person"},
                    "list": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "null"}]}},
                    "both": {
                        "type": "object",
                        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                        "required": ["a", "b"],
                    },
                },
                "required": ["kind"],
                "additionalProperties": false,
                "$defs": {"Person": {"type": "object", "properties": {"name": true}}},
            })
        );
    }

    #[test]
    fn only_the_empty_object_needs_no_schema() {
        for empty in [
            json!({}),
            json!({"type": "object", "properties": {}}),
            json!({"type": "object", "required": [], "additionalProperties": false, "$schema": "s"}),
        ] {
            assert!(is_empty(&empty), "{empty}");
        }
        for open in [
            json!({"type": "object", "additionalProperties": true}),
            json!({"type": "object", "properties": {"a": {}}}),
            json!({"$ref": "#/$defs/A"}),
        ] {
            assert!(!is_empty(&open), "{open}");
        }
    }
}
