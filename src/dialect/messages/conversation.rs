//! The conversation of a request, laid out as the API wants it.
//!
//! Invariant: turns alternate and begin with the user; a turn's tool results stand together, first in the turn behind the
//! calls. Instructions that lead the conversation are the `system` field. One that stands further down stays at its place
//! as a text of the user's in `<system>` tags: moved to the top it would come before what it refers to, and change the
//! beginning of the prompt, which is what the provider's cache goes by. (The role `system` between messages is known to
//! some models only, and not at every place.)

use serde_json::{Map, Value, json};

use super::write::{Writing, sayable};
use crate::dialect::fields::only_text;
use crate::error::Error;
use crate::request::Entry;
use crate::turn::{Origin, Part, Role};

/// What the user says where the API wants words of the user and there are none.
pub const FILLER: &str = "…";
/// What the user says where a model does not go on from its own last words.
const GO_ON: &str = "Continue.";

/// A conversation, laid out.
#[derive(Debug, Default)]
pub struct Conversation {
    system: Vec<Value>,
    turns: Vec<Turn>,
}

#[derive(Debug)]
struct Turn {
    assistant: bool,
    blocks: Vec<Value>,
}

impl Conversation {
    /// Lays out the entries of a request. Errors: 400 that names the place of a part that cannot be said.
    pub fn read(entries: &[Entry], target: &Origin) -> Result<Self, Error> {
        let mut conversation = Conversation::default();
        for entry in entries {
            match entry {
                Entry::Instruction(parts) => {
                    let writing = Writing { target, native: false, place: None, hints: true };
                    let blocks = writing.blocks(parts, "")?;
                    if conversation.turns.is_empty() {
                        conversation.system.extend(blocks);
                    } else if let Some(text) = joined(parts) {
                        let text = format!("<system>\n{text}\n</system>");
                        conversation.add(false, vec![json!({"type": "text", "text": text})]);
                    }
                }
                Entry::Message { message, place } => {
                    let native = message.is_native_to(target);
                    let writing = Writing { target, native, place: place.as_deref(), hints: true };
                    let blocks = writing.blocks(sayable(message), "")?;
                    conversation.add(message.role == Role::Assistant, blocks);
                }
            }
        }
        Ok(conversation)
    }

    fn add(&mut self, assistant: bool, blocks: Vec<Value>) {
        if blocks.is_empty() {
            return;
        }
        match self.turns.last_mut() {
            Some(turn) if turn.assistant == assistant => {
                let (results, others): (Vec<Value>, Vec<Value>) = blocks.into_iter().partition(is_result);
                let at = turn.blocks.iter().position(|block| !is_result(block)).unwrap_or(turn.blocks.len());
                turn.blocks.splice(at..at, results);
                turn.blocks.extend(others);
            }
            _ => self.turns.push(Turn { assistant, blocks }),
        }
    }

    /// Adds an instruction of ours behind the caller's.
    pub fn instruct(&mut self, text: String) {
        self.system.push(json!({"type": "text", "text": text}));
    }

    /// True when the turn that the model is to go on with was begun without thinking: its calls have results, and no
    /// thoughts before them.
    pub fn lacks_thoughts(&self) -> bool {
        let [.., asked, answered] = self.turns.as_slice() else { return false };
        let begun = asked.assistant && asked.blocks.iter().any(|block| has_type(block, "tool_use"));
        begun
            && answered.blocks.iter().any(is_result)
            && !asked
                .blocks
                .first()
                .is_some_and(|block| has_type(block, "thinking") || has_type(block, "redacted_thinking"))
    }

    /// Makes both ends such as the API takes them. `prefill` says that the model goes on from unfinished words of its own.
    pub fn finish(&mut self, prefill: bool) {
        // The API refuses last words of the assistant that end in white space.
        if let Some(turn) = self.turns.last_mut().filter(|turn| turn.assistant)
            && let Some(Value::Object(last)) = turn.blocks.last_mut()
            && let Some(Value::String(text)) = last.get_mut("text")
        {
            text.truncate(text.trim_end().len());
        }
        let text = |text: &str| vec![json!({"type": "text", "text": text})];
        if self.turns.first().is_none_or(|turn| turn.assistant) {
            self.turns.insert(0, Turn { assistant: false, blocks: text(FILLER) });
        }
        let spoke_last = self.turns.last().is_some_and(|turn| {
            turn.assistant && turn.blocks.last().is_some_and(|block| has_type(block, "text"))
        });
        if spoke_last && !prefill {
            self.turns.push(Turn { assistant: false, blocks: text(GO_ON) });
        }
    }

    /// The field `system`; `None` where there is none.
    pub fn system(&self) -> Option<Value> {
        (!self.system.is_empty()).then(|| content(&self.system))
    }

    /// The field `messages`.
    pub fn messages(&self) -> Value {
        let write = |turn: &Turn| {
            let role = if turn.assistant { "assistant" } else { "user" };
            json!({"role": role, "content": content(&turn.blocks)})
        };
        self.turns.iter().map(write).collect()
    }
}

/// A single text as a string, all else as blocks.
fn content(blocks: &[Value]) -> Value {
    match blocks {
        [Value::Object(block)] if block.len() == 2 && block.contains_key("text") => {
            block.get("text").cloned().unwrap_or_default()
        }
        _ => blocks.to_vec().into(),
    }
}

/// The texts of an instruction as one; `None` when they are blank.
fn joined(parts: &[Part]) -> Option<String> {
    let texts: Vec<String> = parts
        .iter()
        .filter_map(|part| only_text(&[part], false))
        .filter(|text| !text.trim().is_empty())
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

fn is_result(block: &Value) -> bool {
    has_type(block, "tool_result")
}

fn has_type(block: &Value, wanted: &str) -> bool {
    block.get("type").is_some_and(|kind| kind == wanted)
}

/// Keeps the last `most` cache hints of a request: the API takes four, and the last ones cover the longest prefixes.
/// Source: <https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching>.
pub fn hint_at_most(most: usize, body: &mut Map<String, Value>) {
    // In the order in which the API reads them.
    let mut hinted = 0;
    for name in ["messages", "system", "tools"] {
        if let Some(value) = body.get_mut(name) {
            drop_hints(value, most, &mut hinted);
        }
    }
}

/// Walks backwards, so that the last hints are the ones that are counted first.
fn drop_hints(value: &mut Value, most: usize, hinted: &mut usize) {
    match value {
        Value::Array(items) => items.iter_mut().rev().for_each(|item| drop_hints(item, most, hinted)),
        Value::Object(fields) => {
            if fields.contains_key("cache_control") {
                *hinted += 1;
                if *hinted > most {
                    fields.shift_remove("cache_control");
                }
            }
            if let Some(content) = fields.get_mut("content") {
                drop_hints(content, most, hinted);
            }
        }
        _ => {}
    }
}
