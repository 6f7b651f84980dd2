//! The request of each round, edited in the provider's own dialect: the tools' definitions, what was called and found.
//!
//! Invariant: each round's request begins as the one before it, and nothing in it changes that need not, so that fields
//! nobody here knows survive, and the provider's prompt cache holds.

use serde_json::{Map, Value, json};

use super::web_search::native::NativeWebSearch;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::project::Tool;
use crate::request::{self, Entry, Request, ToolKind};
use crate::turn::{Message, Origin, PartKind};

/// The request with the tools' definitions behind the client's own. Errors: 500 for a body that is no object.
pub fn with_tools(target: &Origin, model: &str, body: &[u8], tools: &[Tool]) -> Result<Vec<u8>, Error> {
    let tools = tools.iter().map(|tool| {
        let definition = tool.definition();
        request::Tool {
            kind: ToolKind::Function {
                name: definition.name.to_owned(),
                description: Some(definition.description.to_owned()),
                parameters: Some(definition.parameters),
                strict: None,
            },
            extra: Map::new(),
        }
    });
    let request = Request { model: model.to_owned(), tools: tools.collect(), ..Request::default() };
    let written = target.dialect.write_request(&request, &target.provider)?;
    let more = elements(written.body, "tools");
    edited(body, |fields| {
        with_list(fields, "tools", |list| {
            for tool in more {
                let declared =
                    |tool: &Value| tool.get("functionDeclarations").and_then(Value::as_array).cloned();
                // Gemini takes one list of functions.
                match (
                    declared(&tool),
                    list.iter_mut().find(|known| known.get("functionDeclarations").is_some()),
                ) {
                    (Some(functions), Some(known)) => {
                        if let Some(Value::Array(declared)) = known.get_mut("functionDeclarations") {
                            declared.extend(functions);
                        }
                    }
                    _ => list.push(tool),
                }
            }
        });
    })
}

/// The request that has its provider search the web. Errors: 500 for a body that is no object.
pub fn with_own_search(body: &[u8], search: NativeWebSearch) -> Result<Vec<u8>, Error> {
    edited(body, |fields| with_list(fields, search.field, |list| list.push(search.entry)))
}

/// The request with what the model said and what its calls gave. Errors: 500 for a body that is no object.
pub fn with_round(
    target: &Origin,
    model: &str,
    body: &[u8],
    answer: Message,
    results: Vec<Message>,
) -> Result<Vec<u8>, Error> {
    let dialect = target.dialect;
    let mut messages = vec![for_round(answer, dialect)];
    messages.extend(results);
    let field = dialect.conversation_field();
    let more = if dialect == Dialect::Google {
        // Its results bear their calls' names, which only the whole round knows.
        let entries = messages.into_iter().map(|message| Entry::Message { message, place: None }).collect();
        let request = Request { model: model.to_owned(), entries, ..Request::default() };
        elements(dialect.write_request(&request, &target.provider)?.body, field)
    } else {
        messages.iter().flat_map(|message| dialect.write_message(message, &target.provider)).collect()
    };
    edited(body, |fields| {
        if let Some(Value::String(text)) = fields.get(field) {
            let said = json!([{"role": "user", "content": text}]);
            fields.insert(field.to_owned(), said);
        }
        with_list(fields, field, |list| {
            for element in more {
                let joined =
                    list.last().and_then(|last| dialect.join(&last.to_string(), &element.to_string()));
                match joined.and_then(|joined| serde_json::from_str(&joined).ok()) {
                    Some(joined) => {
                        list.pop();
                        list.push(joined);
                    }
                    None => list.push(element),
                }
            }
        });
    })
}

/// The request with no tool to be called. Errors: 500 for a body that is no object.
pub fn without_calls(dialect: Dialect, body: &[u8]) -> Result<Vec<u8>, Error> {
    edited(body, |fields| {
        let (name, value) = match dialect {
            Dialect::Chat | Dialect::Responses => ("tool_choice", json!("none")),
            Dialect::Messages => ("tool_choice", json!({"type": "none"})),
            Dialect::Google => ("toolConfig", json!({"functionCallingConfig": {"mode": "NONE"}})),
        };
        fields.insert(name.to_owned(), value);
    })
}

/// The answer without the ids of its items in Responses: a call named by its id may not come without its thoughts, which
/// only those have that the provider sealed.
fn for_round(mut answer: Message, dialect: Dialect) -> Message {
    if dialect == Dialect::Responses {
        for part in &mut answer.parts {
            if !matches!(part.kind, PartKind::Reasoning(_)) {
                part.extra.shift_remove("id");
            }
        }
    }
    answer
}

fn edited(body: &[u8], edit: impl FnOnce(&mut Map<String, Value>)) -> Result<Vec<u8>, Error> {
    let mut fields: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Error::internal())?;
    edit(&mut fields);
    Ok(Value::Object(fields).to_string().into_bytes())
}

/// A list of the body, made where there is none.
fn with_list(fields: &mut Map<String, Value>, name: &str, edit: impl FnOnce(&mut Vec<Value>)) {
    let mut list = match fields.get_mut(name).map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    edit(&mut list);
    fields.insert(name.to_owned(), list.into());
}

fn elements(mut body: Value, field: &str) -> Vec<Value> {
    match body.get_mut(field).map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}
