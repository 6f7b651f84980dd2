//! Messages, written as `contents`.
//!
//! Invariant: the user's and the model's contents alternate; all results of a step stand first in the one content behind
//! it, in the order of its calls, and bear their calls' names. An id goes back only where the API gave one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::Model;
use super::{part, result, signature};
use crate::error::Error;
use crate::turn::{Message, Origin, PartKind, Role, ToolResult};

/// Writes a stored message as elements of `contents`; none when it holds nothing that the API takes.
pub fn write_message(message: &Message, target: &Origin) -> Vec<Value> {
    let mut writer = Writer::new(target, Model::default());
    // Only a message with a place in the client's request can fail.
    let _ = writer.add(message, None);
    writer.contents()
}

/// Writes a conversation.
#[derive(Debug)]
pub struct Writer<'a> {
    target: &'a Origin,
    model: Model,
    contents: Vec<Content>,
    /// The calls so far, by id. A later call takes an earlier one's place.
    calls: BTreeMap<String, Call>,
    called: usize,
}

#[derive(Debug)]
struct Content {
    of_model: bool,
    /// Results, with the number of their call.
    results: Vec<(usize, Value)>,
    parts: Vec<Value>,
}

#[derive(Debug)]
struct Call {
    number: usize,
    name: String,
    /// It was written with its id.
    identified: bool,
}

impl<'a> Writer<'a> {
    /// A writer for a model of the target.
    pub fn new(target: &'a Origin, model: Model) -> Self {
        Writer { target, model, contents: Vec::new(), calls: BTreeMap::new(), called: 0 }
    }

    /// Adds a message. Errors: 400 for a result, with a place in the client's request, that answers no call; a stored one
    /// is left out.
    pub fn add(&mut self, message: &Message, place: Option<&str>) -> Result<(), Error> {
        let native = message.is_native_to(self.target);
        let of_model = message.role == Role::Assistant;
        for part in &message.parts {
            if let PartKind::ToolResult(result) = &part.kind {
                let named = part.extra.get("name").and_then(Value::as_str).filter(|_| native);
                self.add_result(result, named, native, place)?;
                continue;
            }
            let Some(object) = part::write(part, native, self.target) else { continue };
            if let PartKind::ToolCall(call) = &part.kind {
                let known = Call {
                    number: self.called,
                    name: call.name.clone(),
                    identified: native && !call.id.is_empty(),
                };
                self.calls.insert(call.id.clone(), known);
                self.called += 1;
            }
            self.join(Content { of_model, parts: vec![object.into()], results: Vec::new() });
        }
        Ok(())
    }

    fn add_result(
        &mut self,
        result: &ToolResult,
        named: Option<&str>,
        native: bool,
        place: Option<&str>,
    ) -> Result<(), Error> {
        let call = self.calls.get(&result.call_id);
        let Some(name) = named.or(call.map(|call| call.name.as_str())) else {
            return match place {
                None => Ok(()),
                Some(place) => Err(Error::invalid(
                    place,
                    format!(
                        "{place} is the result of the call `{}`, which no message before it makes. Send the \
                         assistant's message with the call as well.",
                        result.call_id
                    ),
                )),
            };
        };
        let identified = !result.call_id.is_empty() && call.map_or(native, |call| call.identified);
        let id = identified.then_some(result.call_id.as_str());
        let number = call.map_or(usize::MAX, |call| call.number);
        let written = result::write(result, name, id, self.model.is_third(), native, self.target);
        let results = vec![(number, written.part)];
        self.join(Content { of_model: false, results, parts: written.beside });
        Ok(())
    }

    /// Adds to the last content, or begins a new one.
    fn join(&mut self, more: Content) {
        match self.contents.last_mut() {
            Some(last) if last.of_model == more.of_model => {
                last.results.extend(more.results);
                last.parts.extend(more.parts);
            }
            _ => self.contents.push(more),
        }
    }

    /// What was written.
    pub fn contents(self) -> Vec<Value> {
        let mut contents: Vec<Value> = self.contents.into_iter().map(Content::write).collect();
        signature::complete(&mut contents, self.model);
        contents
    }
}

impl Content {
    fn write(mut self) -> Value {
        self.results.sort_by_key(|(number, _)| *number);
        let results = self.results.into_iter().map(|(_, result)| result);
        let parts: Vec<Value> = results.chain(self.parts).collect();
        json!({"role": if self.of_model { "model" } else { "user" }, "parts": parts})
    }
}
