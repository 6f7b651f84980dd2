//! JSON schemas in the subset that the API follows strictly.
//!
//! Invariant: what comes out allows no less than what went in, or nothing comes out; a constraint that the subset has no
//! word for is told to the model in the description. Subset:
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>.

use serde_json::{Map, Value};

use crate::dialect::fields::{take_array, take_object, take_string};

/// Formats of strings that the API knows.
const FORMATS: &[&str] =
    &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// How deep a schema may be nested; deeper ones are not in the subset.
const DEPTH: usize = 32;

/// The schema in the subset; `None` where the subset cannot say it: objects with keys that are not named, recursion,
/// references to elsewhere, anything without a type.
pub fn strict(schema: &Value) -> Option<Value> {
    let definitions: Vec<(String, Value)> = ["$defs", "definitions"]
        .iter()
        .filter_map(|name| Some((name, schema.get(name)?.as_object()?)))
        .flat_map(|(name, fields)| {
            fields.iter().map(move |(key, value)| (format!("#/{name}/{key}"), value.clone()))
        })
        .collect();
    if definitions.iter().any(|(name, _)| is_recursive(name, &definitions)) {
        return None;
    }
    Subset { definitions: &definitions }.schema(schema, 0)
}

/// True for a schema whose objects name all of their keys and require each: what the strict modes of other providers
/// ask for.
pub fn is_closed(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            let open = fields.get("properties").and_then(Value::as_object).is_some_and(|properties| {
                let required = fields.get("required").and_then(Value::as_array);
                let requires =
                    |key: &String| required.is_some_and(|names| names.iter().any(|name| name == key));
                fields.get("additionalProperties") != Some(&Value::Bool(false))
                    || !properties.keys().all(requires)
            });
            let bare = fields.get("type").is_some_and(|kind| kind == "object")
                && fields.get("additionalProperties") != Some(&Value::Bool(false));
            !open && !bare && fields.values().all(is_closed)
        }
        Value::Array(items) => items.iter().all(is_closed),
        _ => true,
    }
}

/// True when a definition leads back to itself.
fn is_recursive(name: &str, definitions: &[(String, Value)]) -> bool {
    let mut found = vec![name.to_owned()];
    let mut at = 0;
    while let Some(next) = found.get(at).cloned() {
        at += 1;
        let mut named = Vec::new();
        if let Some((_, schema)) = definitions.iter().find(|(known, _)| *known == next) {
            references(schema, &mut named);
        }
        if named.iter().any(|reference| reference == name) {
            return true;
        }
        named.retain(|reference| !found.contains(reference));
        found.append(&mut named);
    }
    false
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

struct Subset<'a> {
    definitions: &'a [(String, Value)],
}

impl Subset<'_> {
    fn schema(&self, schema: &Value, depth: usize) -> Option<Value> {
        let mut rest = schema.as_object()?.clone();
        let mut out = Map::new();
        if depth > DEPTH {
            return None;
        }
        rest.shift_remove("$schema");
        for name in ["$defs", "definitions"] {
            if let Some(fields) = take_object(&mut rest, name) {
                out.insert(name.to_owned(), self.named(fields, depth)?);
            }
        }
        if let Some(reference) = take_string(&mut rest, "$ref") {
            if !self.definitions.iter().any(|(known, _)| *known == reference) {
                return None;
            }
            out.insert("$ref".to_owned(), reference.into());
            return Some(Value::Object(out));
        }
        let kinds = kinds(rest.get("type"));
        if let Some(kind) = rest.shift_remove("type") {
            out.insert("type".to_owned(), kind);
        }
        for name in ["enum", "const", "default", "title", "description"] {
            if let Some(value) = rest.shift_remove(name) {
                out.insert(name.to_owned(), value);
            }
        }
        if out.get("enum").and_then(Value::as_array).is_some_and(|all| !all.iter().all(is_scalar))
            || out.get("const").is_some_and(|value| !is_scalar(value))
        {
            return None;
        }
        for (name, wire) in [("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf")] {
            if let Some(variants) = take_array(&mut rest, name) {
                let variants: Option<Vec<Value>> =
                    variants.iter().map(|variant| self.schema(variant, depth + 1)).collect();
                out.insert(wire.to_owned(), variants?.into());
            }
        }
        if !["type", "enum", "const", "anyOf", "allOf"].iter().any(|name| out.contains_key(*name)) {
            return None;
        }
        if kinds.contains(&"object") {
            self.object(&mut rest, &mut out, depth)?;
        }
        if kinds.contains(&"array") {
            if let Some(items) = rest.shift_remove("items") {
                out.insert("items".to_owned(), self.schema(&items, depth + 1)?);
            }
            if rest.get("minItems").and_then(Value::as_u64).is_some_and(|least| least <= 1) {
                out.extend(rest.shift_remove("minItems").map(|least| ("minItems".to_owned(), least)));
            }
        }
        if rest.get("format").and_then(Value::as_str).is_some_and(|format| FORMATS.contains(&format)) {
            out.extend(rest.shift_remove("format").map(|format| ("format".to_owned(), format)));
        }
        rest.retain(|_, value| !value.is_null());
        if !rest.is_empty() {
            let told: Vec<String> = rest.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let before = out.get("description").and_then(Value::as_str).unwrap_or_default();
            let gap = if before.is_empty() { "" } else { " " };
            let text = format!("{before}{gap}({})", told.join(", "));
            out.insert("description".to_owned(), text.into());
        }
        Some(Value::Object(out))
    }

    fn object(
        &self,
        rest: &mut Map<String, Value>,
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Option<()> {
        let properties = take_object(rest, "properties").unwrap_or_default();
        let others = rest.shift_remove("additionalProperties");
        let open = match others {
            // Keys that are not named are allowed by default; a schema that names some means those.
            None => properties.is_empty(),
            Some(Value::Bool(false)) => false,
            Some(_) => true,
        };
        if open || rest.contains_key("patternProperties") {
            return None;
        }
        out.insert("properties".to_owned(), self.named(properties, depth)?);
        out.extend(rest.shift_remove("required").map(|names| ("required".to_owned(), names)));
        out.insert("additionalProperties".to_owned(), false.into());
        Some(())
    }

    fn named(&self, fields: Map<String, Value>, depth: usize) -> Option<Value> {
        fields
            .into_iter()
            .map(|(name, value)| Some((name, self.schema(&value, depth + 1)?)))
            .collect::<Option<Map<String, Value>>>()
            .map(Value::Object)
    }
}

fn kinds(kind: Option<&Value>) -> Vec<&'static str> {
    let named = |name: &str| ["object", "array"].into_iter().find(|known| *known == name);
    match kind {
        Some(Value::String(name)) => named(name).into_iter().collect(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).filter_map(named).collect(),
        _ => Vec::new(),
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn constraints_without_a_word_are_told_in_the_description() {
        assert_eq!(
            strict(&json!({"$schema": "x", "type": "object", "required": ["age", "tags"], "properties": {
                "age": {"type": "integer", "minimum": 0, "description": "In years."},
                "mail": {"type": ["string", "null"], "format": "email", "maxLength": 9},
                "code": {"type": "string", "format": "zip", "pattern": "^\\d+$"},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 3}}})),
            Some(json!({"type": "object", "properties": {
                "age": {"type": "integer", "description": "In years. (minimum: 0)"},
                "mail": {"type": ["string", "null"], "format": "email", "description": "(maxLength: 9)"},
                "code": {"type": "string", "description": "(format: \"zip\", pattern: \"^\\\\d+$\")"},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1,
                         "description": "(maxItems: 3)"}},
                "required": ["age", "tags"], "additionalProperties": false}))
        );
    }

    #[test]
    fn references_stay_and_recursion_is_not_in_the_subset() {
        let schema = json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "additionalProperties": false,
            "properties": {"b": {"$ref": "#/$defs/B"}}}, "B": {"oneOf": [{"type": "null"}, {"const": 1}]}}});
        assert_eq!(
            strict(&schema),
            Some(json!({"$defs": {"A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/B"}},
                "additionalProperties": false}, "B": {"anyOf": [{"type": "null"}, {"const": 1}]}},
                "$ref": "#/$defs/A"}))
        );
        let tree = json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {
            "next": {"$ref": "#/$defs/A"}}}}});
        assert_eq!(strict(&tree), None);
    }

    #[test]
    fn what_the_subset_cannot_say_is_not_said_wrongly() {
        for schema in [
            json!({"type": "object"}),
            json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": {"a": {"type": "null"}}}),
            json!({"type": "object", "properties": {"any": {}}}),
            json!({"enum": [{"a": 1}]}),
            json!({"$ref": "https://x.test/schema"}),
            json!(true),
        ] {
            assert_eq!(strict(&schema), None, "{schema}");
        }
    }

    #[test]
    fn a_closed_schema_requires_every_key() {
        assert!(is_closed(&json!({"type": "object", "properties": {"a": {"type": "string"}},
            "required": ["a"], "additionalProperties": false})));
        assert!(!is_closed(&json!({"type": "object", "properties": {"a": {"type": "string"}},
            "required": [], "additionalProperties": false})));
        assert!(!is_closed(&json!({"type": "array", "items": {"type": "object"}})));
    }
}
