//! How the tools are told to an agent.
//!
//! Invariant: an argument that the connection's headers have settled is not asked for.

use serde_json::{Value, json};

use super::arguments::Bound;
use crate::project::Tool;

/// The answer to `tools/list`.
pub fn definitions(bound: &Bound) -> Value {
    let recall = Tool::Recall.definition();
    json!({"tools": [
        {
            "name": recall.name,
            "title": "Recall what was said",
            "description": recall.description,
            "inputSchema": schema(bound, recall.parameters, "Only this conversation; left out, all of the user's."),
            "annotations": {"readOnlyHint": true, "openWorldHint": false},
        },
        {
            "name": "remember",
            "title": "Remember something",
            "description": "Adds a note to a conversation's memory, which is told to models in its later turns. Write one \
                fact in a sentence that is understood by itself, with names and absolute dates. Secrets are masked.",
            "inputSchema": schema(
                bound,
                json!({
                    "type": "object",
                    "properties": {"text": {"type": "string", "description": "What is to be remembered."}},
                    "required": ["text"],
                    "additionalProperties": false,
                }),
                "The conversation to whose memory it belongs.",
            ),
            "annotations": {"readOnlyHint": false, "destructiveHint": false, "openWorldHint": false},
        },
        {
            "name": "forget",
            "title": "Forget notes and messages",
            "description": "Takes notes and messages out of memory for good. Give `query` to see what would be meant; nothing \
                is forgotten then. Give the references in `notes` and `messages` to forget them. A message takes the notes \
                with it that were made from it.",
            "inputSchema": schema(
                bound,
                json!({
                    "type": "object",
                    "properties": {
                        "query": {"type": "string", "description": "Words to look for."},
                        "notes": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "Notes' references as recall or a query shows them, like `note_7`.",
                        },
                        "messages": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "Messages' references as recall or a query shows them, like `msg_7f`.",
                        },
                    },
                    "additionalProperties": false,
                }),
                "The conversation that is meant; left out, references have to name it.",
            ),
            "annotations": {"readOnlyHint": false, "destructiveHint": true, "idempotentHint": true, "openWorldHint": false},
        },
        {
            "name": "list_threads",
            "title": "List conversations",
            "description": "Lists the conversations (threads) with a user, the latest used first.",
            "inputSchema": schema_of_resource(
                bound,
                json!({
                    "type": "object",
                    "properties": {
                        "limit": {"type": "integer", "minimum": 1, "maximum": 200, "description": "At most so many; 50 if left out."},
                    },
                    "additionalProperties": false,
                }),
            ),
            "annotations": {"readOnlyHint": true, "openWorldHint": false},
        },
    ]})
}

/// A schema with the arguments that say whose memory is meant, where the connection does not.
fn schema(bound: &Bound, schema: Value, thread: &str) -> Value {
    let mut schema = schema_of_resource(bound, schema);
    if bound.thread.is_none() {
        add(&mut schema, "threadId", json!({"type": "string", "description": thread}), false);
    }
    schema
}

fn schema_of_resource(bound: &Bound, mut schema: Value) -> Value {
    if bound.resource.is_none() {
        let resource =
            json!({"type": "string", "description": "The id of the user or entity whose memory is meant."});
        add(&mut schema, "resourceId", resource, true);
    }
    schema
}

fn add(schema: &mut Value, name: &str, property: Value, is_required: bool) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(name.to_owned(), property);
    }
    if is_required
        && let Some(required) = fields.entry("required").or_insert_with(|| json!([])).as_array_mut()
    {
        required.push(name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas(bound: &Bound) -> Vec<(String, Vec<String>, Value)> {
        let list = definitions(bound);
        let schema = |tool: &Value| {
            let schema = &tool["inputSchema"];
            let names = schema["properties"].as_object().unwrap().keys().cloned().collect();
            (tool["name"].as_str().unwrap().to_owned(), names, schema["required"].clone())
        };
        list["tools"].as_array().unwrap().iter().map(schema).collect()
    }

    #[test]
    fn what_the_connection_settles_is_not_asked_for() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            schemas(&Bound::default()),
            [
                (
                    "recall".to_owned(),
                    names(&["query", "open", "cursor", "resourceId", "threadId"]),
                    json!(["resourceId"])
                ),
                (
                    "remember".to_owned(),
                    names(&["text", "resourceId", "threadId"]),
                    json!(["text", "resourceId"])
                ),
                (
                    "forget".to_owned(),
                    names(&["query", "notes", "messages", "resourceId", "threadId"]),
                    json!(["resourceId"])
                ),
                ("list_threads".to_owned(), names(&["limit", "resourceId"]), json!(["resourceId"])),
            ]
        );
        let bound = Bound { resource: Some("r".into()), thread: Some("t".into()) };
        assert_eq!(
            schemas(&bound),
            [
                ("recall".to_owned(), names(&["query", "open", "cursor"]), Value::Null),
                ("remember".to_owned(), names(&["text"]), json!(["text"])),
                ("forget".to_owned(), names(&["query", "notes", "messages"]), Value::Null),
                ("list_threads".to_owned(), names(&["limit"]), Value::Null),
            ]
        );
    }
}
