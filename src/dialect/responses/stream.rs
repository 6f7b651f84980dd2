//! Streamed answers for clients: <https://platform.openai.com/docs/api-reference/responses-streaming>.
//!
//! Invariant: events are numbered from 0 without gaps, every item and part that is added is done before the response is,
//! and the object that ends the stream is the one that the answer would have been without streaming.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::client::{
    COMPLETED, IN_PROGRESS, call_carrier, content, item_id, logprobs, message, picture, reasoning, tool_call,
    tool_call_id, web_search,
};
use super::object::{State, response};
use crate::dialect::{Growth, citation};
use crate::error::Error;
use crate::frame::Frame;
use crate::gather::Step;
use crate::turn::{Part, PartKind, Reasoning, Stop, ToolCall, Usage};

/// Writes a streamed answer.
#[derive(Debug)]
pub struct StreamWriter {
    frame: Frame,
    /// The number of the next event.
    sequence: u64,
    /// The items as far as they are done; null where one is not.
    output: Vec<Value>,
    /// The message that texts and refusals go to, until another item begins.
    message: Option<Message>,
    /// The parts that are open, by their numbers.
    open: BTreeMap<usize, Open>,
    whole: Option<Value>,
}

/// A message item that is open.
#[derive(Debug)]
struct Message {
    /// Its place in the output.
    index: usize,
    /// Its parts that are done.
    content: Vec<Value>,
}

/// A part that is open.
#[derive(Debug)]
enum Open {
    /// A text, in the open message.
    Text {
        /// How many annotations it has.
        annotations: usize,
    },
    /// A refusal, in the open message.
    Refusal,
    /// A reasoning item.
    Reasoning {
        /// Its place in the output.
        index: usize,
        /// Its summary has begun.
        begun: bool,
    },
    /// A call.
    ToolCall {
        /// Its place in the output.
        index: usize,
        /// It is one of a custom tool.
        custom: bool,
        /// Its seal has been told.
        carried: bool,
    },
}

/// Where a delta belongs.
struct Place {
    item_id: String,
    output_index: usize,
    /// The name and the number of the piece inside the item, where items have pieces.
    piece: Option<(&'static str, usize)>,
}

impl StreamWriter {
    /// A writer of one answer.
    pub fn new(frame: Frame) -> Self {
        StreamWriter {
            frame,
            sequence: 0,
            output: Vec::new(),
            message: None,
            open: BTreeMap::new(),
            whole: None,
        }
    }

    /// What goes out before the provider's first word.
    pub fn begin(&mut self) -> String {
        let begun = response(&self.frame, &State::InProgress, Vec::new(), None);
        let mut out = String::new();
        self.event("response.created", json!({ "response": begun }), &mut out);
        self.event("response.in_progress", json!({ "response": begun }), &mut out);
        out
    }

    /// Appends what a step looks like on the wire.
    pub fn write(&mut self, step: &Step, out: &mut String) {
        match step {
            Step::Open { at, part } => self.open(*at, part, out),
            Step::Grow { at, growth } => {
                if let Some(mut open) = self.open.remove(at) {
                    self.grow(&mut open, growth, out);
                    self.open.insert(*at, open);
                }
            }
            Step::Close { at, part } => {
                if let Some(open) = self.open.remove(at) {
                    self.close(open, part, out);
                }
            }
            Step::Usage(_) => {}
            Step::End { stop, usage } => self.end(stop.as_ref(), *usage, out),
        }
    }

    /// What tells the client that the answer broke off. The items that are done stand.
    pub fn fail(&mut self, error: &Error) -> String {
        let output = self.output.iter().filter(|item| !item.is_null()).cloned().collect();
        let failed = response(&self.frame, &State::Failed(error), output, None);
        let mut out = String::new();
        self.event("response.failed", json!({ "response": failed }), &mut out);
        out
    }

    /// The response object as the stream ended with it; `None` before the end.
    pub fn whole(&self) -> Option<Value> {
        self.whole.clone()
    }

    fn open(&mut self, at: usize, part: &Part, out: &mut String) {
        let opened = match &part.kind {
            PartKind::Text(_) => {
                self.open_content(part, out);
                Open::Text { annotations: 0 }
            }
            PartKind::Refusal(_) => {
                self.open_content(part, out);
                Open::Refusal
            }
            PartKind::Reasoning(_) => {
                let index = self.next_item(out);
                self.add_item(index, reasoning(&self.frame, index, &Reasoning::default()), out);
                Open::Reasoning { index, begun: false }
            }
            PartKind::ToolCall(call) => {
                let carried = self.carry(call, out);
                let index = self.next_item(out);
                self.add_item(index, tool_call(&self.frame, index, call, IN_PROGRESS), out);
                Open::ToolCall { index, custom: call.custom, carried }
            }
            PartKind::Image(media) => {
                let at = self.output.len();
                if let Some(item) = picture(&self.frame, at, media) {
                    self.whole_item(item, out);
                }
                return;
            }
            PartKind::Other(step) => {
                if let Some(item) = web_search(&self.frame, self.output.len(), step) {
                    self.whole_item(item, out);
                }
                return;
            }
            // No item can say them.
            PartKind::Audio(_) | PartKind::File(_) | PartKind::ToolResult(_) => return,
        };
        self.open.insert(at, opened);
    }

    fn grow(&mut self, open: &mut Open, growth: &Growth, out: &mut String) {
        match (open, growth) {
            (Open::Text { .. }, Growth::Text(more)) => {
                let place = self.said_place();
                self.delta("response.output_text.delta", &place, more, Some(&[]), out);
            }
            (Open::Text { .. }, Growth::Extra(name, Value::Array(tokens))) if name == "logprobs" => {
                let place = self.said_place();
                self.delta("response.output_text.delta", &place, "", Some(tokens), out);
            }
            (Open::Text { annotations }, Growth::Extra(name, Value::Array(sources)))
                if name == "annotations" || name == "citations" =>
            {
                for source in sources.iter().filter_map(citation::read) {
                    let place = self.said_place();
                    let rest = json!({"annotation_index": annotations, "annotation": source.for_responses()});
                    self.event_at("response.output_text.annotation.added", &place, rest, out);
                    *annotations += 1;
                }
            }
            (Open::Refusal, Growth::Text(more)) => {
                let place = self.said_place();
                self.delta("response.refusal.delta", &place, more, None, out);
            }
            (Open::Reasoning { index, begun }, Growth::Text(more)) => {
                let place = self.summary_place(*index);
                if !std::mem::replace(begun, true) {
                    let rest = json!({"part": {"type": "summary_text", "text": ""}});
                    self.event_at("response.reasoning_summary_part.added", &place, rest, out);
                }
                self.delta("response.reasoning_summary_text.delta", &place, more, None, out);
            }
            (Open::ToolCall { index, custom, .. }, Growth::Input(more)) => {
                let place = self.call_place(*index, *custom);
                let kind = if *custom {
                    "response.custom_tool_call_input.delta"
                } else {
                    "response.function_call_arguments.delta"
                };
                self.delta(kind, &place, more, None, out);
            }
            _ => {}
        }
    }

    fn close(&mut self, open: Open, part: &Part, out: &mut String) {
        match (open, &part.kind) {
            (Open::Text { .. } | Open::Refusal, PartKind::Text(_) | PartKind::Refusal(_)) => {
                self.close_content(part, out);
            }
            (Open::Reasoning { index, begun }, PartKind::Reasoning(thoughts)) => {
                if begun {
                    let place = self.summary_place(index);
                    let text = &thoughts.text;
                    self.event_at(
                        "response.reasoning_summary_text.done",
                        &place,
                        json!({ "text": text }),
                        out,
                    );
                    let rest = json!({"part": {"type": "summary_text", "text": text}});
                    self.event_at("response.reasoning_summary_part.done", &place, rest, out);
                }
                self.item_done(index, reasoning(&self.frame, index, thoughts), out);
            }
            (Open::ToolCall { index, custom, carried }, PartKind::ToolCall(call)) => {
                let place = self.call_place(index, custom);
                if custom {
                    let rest = json!({"input": call.arguments});
                    self.event_at("response.custom_tool_call_input.done", &place, rest, out);
                } else {
                    let rest = json!({"name": call.name, "arguments": call.arguments});
                    self.event_at("response.function_call_arguments.done", &place, rest, out);
                }
                self.item_done(index, tool_call(&self.frame, index, call, COMPLETED), out);
                if !carried {
                    self.carry(call, out);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, stop: Option<&Stop>, usage: Option<Usage>, out: &mut String) {
        self.end_message(out);
        let whole = response(&self.frame, &State::Ended(stop), self.output.clone(), usage);
        let incomplete = whole.get("status").and_then(Value::as_str) == Some("incomplete");
        let kind = if incomplete { "response.incomplete" } else { "response.completed" };
        self.event(kind, json!({ "response": whole }), out);
        self.whole = Some(whole);
    }

    /// Begins a text or refusal, in the open message or a new one.
    fn open_content(&mut self, part: &Part, out: &mut String) {
        if self.message.is_none() {
            let index = self.output.len();
            self.add_item(index, message(&self.frame, index, Vec::new(), IN_PROGRESS), out);
            self.message = Some(Message { index, content: Vec::new() });
        }
        let empty = Part { kind: part.kind.clone(), extra: Map::new() };
        let place = self.said_place();
        self.event_at("response.content_part.added", &place, json!({"part": content(&empty)}), out);
    }

    fn close_content(&mut self, part: &Part, out: &mut String) {
        let place = self.said_place();
        let Some(done) = content(part) else { return };
        match &part.kind {
            PartKind::Refusal(words) => {
                self.event_at("response.refusal.done", &place, json!({ "refusal": words }), out);
            }
            PartKind::Text(words) => {
                let rest = json!({"text": words, "logprobs": done.get("logprobs")});
                self.event_at("response.output_text.done", &place, rest, out);
            }
            _ => {}
        }
        self.event_at("response.content_part.done", &place, json!({ "part": done }), out);
        if let Some(message) = &mut self.message {
            message.content.push(done);
        }
    }

    fn end_message(&mut self, out: &mut String) {
        if let Some(Message { index, content }) = self.message.take() {
            self.item_done(index, message(&self.frame, index, content, COMPLETED), out);
        }
    }

    /// The place of the next item. Texts after it are in a message of their own.
    fn next_item(&mut self, out: &mut String) -> usize {
        self.end_message(out);
        self.output.len()
    }

    fn add_item(&mut self, index: usize, item: Value, out: &mut String) {
        self.output.push(Value::Null);
        self.event("response.output_item.added", json!({"output_index": index, "item": item}), out);
    }

    fn item_done(&mut self, index: usize, item: Value, out: &mut String) {
        self.event("response.output_item.done", json!({"output_index": index, "item": item}), out);
        if let Some(place) = self.output.get_mut(index) {
            *place = item;
        }
    }

    /// An item that needs no events of its own between its beginning and its end.
    fn whole_item(&mut self, item: Value, out: &mut String) {
        let index = self.next_item(out);
        self.add_item(index, item.clone(), out);
        self.item_done(index, item, out);
    }

    /// Tells the seal of a call, in an item beside it. True when there is one.
    fn carry(&mut self, call: &ToolCall, out: &mut String) -> bool {
        let index = self.output.len();
        let Some(item) = call_carrier(&self.frame, index, call) else { return false };
        self.whole_item(item, out);
        true
    }

    fn said_place(&self) -> Place {
        let (index, at) = self.message.as_ref().map_or((0, 0), |open| (open.index, open.content.len()));
        Place {
            item_id: item_id(&self.frame, "msg", index),
            output_index: index,
            piece: Some(("content_index", at)),
        }
    }

    fn summary_place(&self, index: usize) -> Place {
        let item_id = item_id(&self.frame, "rs", index);
        Place { item_id, output_index: index, piece: Some(("summary_index", 0)) }
    }

    fn call_place(&self, index: usize, custom: bool) -> Place {
        Place { item_id: tool_call_id(&self.frame, index, custom), output_index: index, piece: None }
    }

    /// Writes an event that says where it belongs.
    fn event_at(&mut self, kind: &str, place: &Place, rest: Value, out: &mut String) {
        let mut fields = Map::new();
        fields.insert("item_id".to_owned(), place.item_id.as_str().into());
        fields.insert("output_index".to_owned(), place.output_index.into());
        if let Some((name, number)) = place.piece {
            fields.insert(name.to_owned(), number.into());
        }
        if let Value::Object(rest) = rest {
            fields.extend(rest);
        }
        self.event(kind, Value::Object(fields), out);
    }

    /// Writes an event.
    fn event(&mut self, kind: &str, rest: Value, out: &mut String) {
        let mut fields = Map::new();
        fields.insert("type".to_owned(), kind.into());
        fields.insert("sequence_number".to_owned(), self.sequence.into());
        if let Value::Object(rest) = rest {
            fields.extend(rest);
        }
        self.sequence += 1;
        // Writing to a string cannot fail.
        let _ = write!(out, "event: {kind}\ndata: {}\n\n", Value::Object(fields));
    }

    /// Writes a delta, the commonest event, without building it first.
    fn delta(&mut self, kind: &str, place: &Place, more: &str, tokens: Option<&[Value]>, out: &mut String) {
        let Place { item_id, output_index, piece } = place;
        let sequence = self.sequence;
        self.sequence += 1;
        let _ = write!(
            out,
            "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{sequence},\"item_id\":\"{item_id}\",\
             \"output_index\":{output_index},"
        );
        if let Some((name, number)) = piece {
            let _ = write!(out, "\"{name}\":{number},");
        }
        let _ = write!(out, "\"delta\":{}", Value::from(more));
        match tokens {
            Some([]) => out.push_str(",\"logprobs\":[]"),
            Some(tokens) => {
                let _ = write!(out, ",\"logprobs\":{}", logprobs(tokens));
            }
            None => {}
        }
        out.push_str("}\n\n");
    }
}
