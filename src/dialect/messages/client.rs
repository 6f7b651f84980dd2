//! Answers for clients, written whole and streamed: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.
//!
//! Invariant: a stream begins with one `message_start`, blocks have the indices 0, 1, 2, … in the order in which they
//! begin, and nothing follows `message_stop` or an error. A seal that was made elsewhere is wrapped; the seal of a call,
//! for which the format has no place, goes before the call as redacted thinking, which clients send back as it is.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::dialect::citation::{self, citations};
use crate::dialect::{Dialect, Growth};
use crate::error::Error;
use crate::frame::Frame;
use crate::gather::Step;
use crate::seal;
use crate::tokens;
use crate::turn::{Answer, Part, PartKind, Reasoning, Stop, ToolCall, Usage};

/// What the client is told of a part that an answer of this format cannot hold.
const UNSAYABLE: &str = "[The model answered with a medium that this API format cannot carry.]";

/// Writes a whole answer.
pub fn write_answer(answer: &Answer, frame: &Frame) -> Value {
    let parts = answer.message.as_ref().map(|message| message.parts.as_slice()).unwrap_or_default();
    let mut content = Vec::with_capacity(parts.len());
    for part in parts {
        content.extend(before(part, frame));
        content.extend(block(part, frame));
    }
    let refused = parts.iter().any(|part| matches!(part.kind, PartKind::Refusal(_)));
    let said: u64 = parts.iter().map(estimate).sum();
    let mut message = head(frame);
    message.insert("content".into(), content.into());
    message.insert("stop_reason".into(), stop_reason(answer.stop.as_ref(), refused).into());
    message.insert("stop_sequence".into(), Value::Null);
    message.insert("usage".into(), usage(answer.usage, frame, said));
    Value::Object(message)
}

/// Writes a streamed answer.
#[derive(Debug)]
pub struct StreamWriter {
    frame: Frame,
    state: State,
    /// The index of the next block.
    next: usize,
    /// The blocks that are open, by the number of their part.
    open: BTreeMap<usize, Block>,
    usage: Option<Usage>,
    /// What was said, as an estimate in tokens, for a provider that does not count.
    said: u64,
    refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Begun,
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    index: usize,
    kind: BlockKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    Text,
    Thinking,
    ToolUse,
    /// A call with free text, which stands in a field of an object.
    CustomCall,
}

impl StreamWriter {
    /// A writer of one answer.
    pub fn new(frame: Frame) -> Self {
        StreamWriter {
            frame,
            state: State::Fresh,
            next: 0,
            open: BTreeMap::new(),
            usage: None,
            said: 0,
            refused: false,
        }
    }

    /// What goes out before the provider's first word: `message_start`, with counts as far as they are known.
    pub fn begin(&mut self) -> String {
        let mut out = String::new();
        self.start(&mut out);
        out
    }

    /// Appends what a step looks like on the wire.
    pub fn write(&mut self, step: &Step, out: &mut String) {
        if let Step::Usage(usage) = step {
            self.usage = Some(self.usage.unwrap_or_default().with(*usage));
            return;
        }
        self.start(out);
        if self.state == State::Over {
            return;
        }
        match step {
            Step::Open { at, part } => self.open(*at, part, out),
            Step::Grow { at, growth } => self.grow(*at, growth, out),
            Step::Close { at, part } => self.close(*at, part, out),
            Step::End { stop, usage } => self.end(stop.as_ref(), *usage, out),
            Step::Usage(_) => {}
        }
    }

    /// What tells the client that the answer broke off.
    pub fn fail(&mut self, error: &Error) -> String {
        if self.state == State::Over {
            return String::new();
        }
        self.state = State::Over;
        write_failure(error)
    }

    fn start(&mut self, out: &mut String) {
        if self.state != State::Fresh {
            return;
        }
        self.state = State::Begun;
        let mut message = head(&self.frame);
        message.insert("content".into(), json!([]));
        message.insert("stop_reason".into(), Value::Null);
        message.insert("stop_sequence".into(), Value::Null);
        message.insert("usage".into(), usage(self.usage, &self.frame, 1));
        event(out, "message_start", json!({ "message": message }));
    }

    fn open(&mut self, at: usize, part: &Part, out: &mut String) {
        if let Some(seal) = before(part, &self.frame) {
            self.whole(seal, out);
        }
        let (kind, block) = match &part.kind {
            PartKind::Text(_) => (BlockKind::Text, json!({"type": "text", "text": ""})),
            PartKind::Refusal(_) => {
                self.refused = true;
                (BlockKind::Text, json!({"type": "text", "text": ""}))
            }
            // Known only when it is whole.
            PartKind::Reasoning(_) if is_redacted(part) => return,
            PartKind::Reasoning(_) => {
                (BlockKind::Thinking, json!({"type": "thinking", "thinking": "", "signature": ""}))
            }
            PartKind::ToolCall(call) => (
                if call.custom { BlockKind::CustomCall } else { BlockKind::ToolUse },
                json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}),
            ),
            _ => {
                if let Some(block) = block(part, &self.frame) {
                    self.whole(block, out);
                }
                return;
            }
        };
        self.open.insert(at, Block { index: self.next, kind });
        let index = self.begin_block(&block, out);
        if kind == BlockKind::CustomCall {
            delta(out, index, json!({"type": "input_json_delta", "partial_json": "{\"input\":\""}));
        }
    }

    fn begin_block(&mut self, block: &Value, out: &mut String) -> usize {
        let index = self.next;
        self.next += 1;
        event(out, "content_block_start", json!({"index": index, "content_block": block}));
        index
    }

    /// A block that is told in one go.
    fn whole(&mut self, block: Value, out: &mut String) {
        let text = block.get("text").cloned();
        let mut empty = block;
        if let (Some(_), Value::Object(fields)) = (&text, &mut empty) {
            fields.insert("text".into(), "".into());
        }
        let index = self.begin_block(&empty, out);
        if let Some(text) = text {
            delta(out, index, json!({"type": "text_delta", "text": text}));
        }
        event(out, "content_block_stop", json!({ "index": index }));
    }

    fn grow(&mut self, at: usize, growth: &Growth, out: &mut String) {
        let Some(Block { index, kind }) = self.open.get(&at).copied() else { return };
        match (kind, growth) {
            (BlockKind::Text, Growth::Text(text)) => {
                self.said += tokens::of_text(text);
                delta(out, index, json!({"type": "text_delta", "text": text}));
            }
            (BlockKind::Thinking, Growth::Text(text)) => {
                self.said += tokens::of_text(text);
                delta(out, index, json!({"type": "thinking_delta", "thinking": text}));
            }
            (BlockKind::Thinking, Growth::Sealed(seal)) => {
                let seal = sealed(&self.frame, seal);
                delta(out, index, json!({"type": "signature_delta", "signature": seal}));
            }
            (BlockKind::ToolUse, Growth::Input(json)) => {
                self.said += tokens::of_text(json);
                delta(out, index, json!({"type": "input_json_delta", "partial_json": json}));
            }
            (BlockKind::CustomCall, Growth::Input(text)) => {
                self.said += tokens::of_text(text);
                let quoted = Value::from(text.as_str()).to_string();
                let inner =
                    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
                delta(out, index, json!({"type": "input_json_delta", "partial_json": inner}));
            }
            (BlockKind::Text, Growth::Extra(name, Value::Array(sources)))
                if matches!(name.as_str(), "annotations" | "citations") =>
            {
                for source in sources.iter().filter_map(citation::read) {
                    let citation = source.for_messages();
                    delta(out, index, json!({"type": "citations_delta", "citation": citation}));
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, at: usize, part: &Part, out: &mut String) {
        if is_redacted(part)
            && let Some(block) = block(part, &self.frame)
        {
            self.whole(block, out);
        }
        if let Some(Block { index, kind }) = self.open.remove(&at) {
            if kind == BlockKind::CustomCall {
                delta(out, index, json!({"type": "input_json_delta", "partial_json": "\"}"}));
            }
            event(out, "content_block_stop", json!({ "index": index }));
        }
    }

    fn end(&mut self, stop: Option<&Stop>, last: Option<Usage>, out: &mut String) {
        let counted = match (self.usage, last) {
            (Some(before), Some(last)) => Some(before.with(last)),
            (before, last) => last.or(before),
        };
        let reason = stop_reason(stop, self.refused);
        event(
            out,
            "message_delta",
            json!({
                "delta": {"stop_reason": reason, "stop_sequence": null},
                "usage": usage(counted, &self.frame, self.said),
            }),
        );
        event(out, "message_stop", json!({}));
        self.state = State::Over;
    }
}

/// The event that tells a client that its stream is cut short. No `message_stop` follows it.
pub fn write_failure(error: &Error) -> String {
    // The API's own names: <https://docs.anthropic.com/en/api/errors>.
    let kind = match error.type_name() {
        "overloaded" => "overloaded_error",
        "timeout" => "timeout_error",
        "rate_limit_error" => "rate_limit_error",
        _ => "api_error",
    };
    let mut out = String::new();
    event(&mut out, "error", json!({"error": {"type": kind, "message": error.message()}}));
    out
}

fn event(out: &mut String, name: &str, fields: Value) {
    let mut data = Map::new();
    data.insert("type".to_owned(), name.into());
    if let Value::Object(fields) = fields {
        data.extend(fields);
    }
    out.push_str("event: ");
    out.push_str(name);
    out.push_str("\ndata: ");
    out.push_str(&Value::Object(data).to_string());
    out.push_str("\n\n");
}

fn delta(out: &mut String, index: usize, delta: Value) {
    event(out, "content_block_delta", json!({"index": index, "delta": delta}));
}

fn head(frame: &Frame) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("id".into(), format!("msg_{}", frame.id).into());
    head.insert("type".into(), "message".into());
    head.insert("role".into(), "assistant".into());
    head.insert("model".into(), frame.model.as_str().into());
    head
}

/// What stands before a part: the seal of a call.
fn before(part: &Part, frame: &Frame) -> Option<Value> {
    let PartKind::ToolCall(ToolCall { sealed: Some(seal), .. }) = &part.kind else { return None };
    Some(json!({"type": "redacted_thinking", "data": sealed(frame, seal)}))
}

/// A part as a block; `None` for what says nothing to a client.
fn block(part: &Part, frame: &Frame) -> Option<Value> {
    match &part.kind {
        PartKind::Text(text) | PartKind::Refusal(text) if text.is_empty() => None,
        PartKind::Text(text) | PartKind::Refusal(text) => {
            let mut block = json!({"type": "text", "text": text});
            let sources: Vec<Value> = citations(part).iter().map(|source| source.for_messages()).collect();
            if let (false, Value::Object(fields)) = (sources.is_empty(), &mut block) {
                fields.insert("citations".into(), sources.into());
            }
            Some(block)
        }
        PartKind::Reasoning(reasoning) if *reasoning == Reasoning::default() => None,
        PartKind::Reasoning(Reasoning { sealed: Some(seal), .. }) if is_redacted(part) => {
            Some(json!({"type": "redacted_thinking", "data": sealed(frame, seal)}))
        }
        PartKind::Reasoning(Reasoning { text, sealed: seal, .. }) => {
            let seal = seal.as_deref().map(|seal| sealed(frame, seal)).unwrap_or_default();
            Some(json!({"type": "thinking", "thinking": text, "signature": seal}))
        }
        PartKind::ToolCall(call) => {
            let input = match serde_json::from_str(call.written_arguments()) {
                Ok(Value::Object(fields)) => Value::Object(fields),
                // No object, as a model writes it at times; clients of this format know none but objects.
                _ => json!({ "input": call.arguments }),
            };
            Some(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}))
        }
        PartKind::Image(_) | PartKind::Audio(_) | PartKind::File(_) => {
            Some(json!({"type": "text", "text": UNSAYABLE}))
        }
        // Steps that another provider took on its own side.
        PartKind::ToolResult(_) | PartKind::Other(_) => None,
    }
}

fn is_redacted(part: &Part) -> bool {
    matches!(part.kind, PartKind::Reasoning(_))
        && part.extra.get("type").is_some_and(|kind| kind == "redacted_thinking")
}

/// A seal as the client gets it: marked with its maker unless that is one of this dialect.
fn sealed(frame: &Frame, seal: &str) -> String {
    if frame.origin.dialect == Dialect::Messages { seal.to_owned() } else { seal::wrap(&frame.origin, seal) }
}

fn estimate(part: &Part) -> u64 {
    match &part.kind {
        PartKind::Text(text) | PartKind::Refusal(text) => tokens::of_text(text),
        PartKind::Reasoning(reasoning) => tokens::of_text(&reasoning.text),
        PartKind::ToolCall(call) => tokens::of_text(&call.arguments),
        _ => 0,
    }
}

/// Token counts: what was read from and written to a cache is counted beside the input here. Where the provider does not
/// count, estimates stand in (clients show costs and decide by these numbers when to shorten the conversation).
fn usage(usage: Option<Usage>, frame: &Frame, said: u64) -> Value {
    let usage = usage.unwrap_or(Usage {
        input: frame.input_estimate.max(1),
        output: said.max(1),
        ..Usage::default()
    });
    // Some providers count what they read from their cache and wrote to it as one.
    let cached = usage.cached.min(usage.input);
    let written = usage.cache_write.min(usage.input - cached);
    let mut object = json!({
        "input_tokens": usage.input - cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output,
    });
    if let (true, Value::Object(fields)) = (usage.reasoning > 0, &mut object) {
        fields.insert("output_tokens_details".into(), json!({ "thinking_tokens": usage.reasoning }));
    }
    object
}

/// Why the model stopped. `refused` says that it declined in words.
fn stop_reason(stop: Option<&Stop>, refused: bool) -> &'static str {
    match stop {
        Some(Stop::End) | None if refused => "refusal",
        Some(Stop::End) | None => "end_turn",
        Some(Stop::Length) => "max_tokens",
        Some(Stop::ToolCalls) => "tool_use",
        Some(Stop::ContentFilter) => "refusal",
        Some(Stop::Other(word)) if word == "pause_turn" => "pause_turn",
        Some(Stop::Other(_)) => "end_turn",
    }
}
