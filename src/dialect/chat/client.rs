//! Answers for clients, written whole and streamed: <https://platform.openai.com/docs/api-reference/chat/object>,
//! <https://platform.openai.com/docs/api-reference/chat-streaming>.
//!
//! Invariant: a streamed answer says the same as the whole one. The role comes once and first, calls are numbered in the
//! order in which they begin, and `[DONE]` follows only an answer that is whole.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::message::signed;
use super::{DETAILS, REASONING};
use crate::dialect::citation::citations;
use crate::dialect::fields::url_of_media;
use crate::dialect::{Dialect, Growth};
use crate::error::Error;
use crate::frame::Frame;
use crate::gather::Step;
use crate::seal;
use crate::turn::{Answer, Origin, Part, PartKind, Reasoning, Stop, ToolCall, Usage};

/// Writes a whole answer.
pub fn write_answer(answer: &Answer, frame: &Frame) -> Value {
    let mut said = Said::default();
    let parts = answer.message.iter().flat_map(|message| &message.parts);
    for part in parts {
        said.add(part, &frame.origin);
    }
    let logprobs = (!said.logprobs.is_empty()).then(|| write_logprobs(&said.logprobs));
    let stop = write_stop(answer.stop.as_ref());
    json!({
        "id": id(frame),
        "object": "chat.completion",
        "created": frame.created_at_seconds(),
        "model": frame.model,
        "choices": [{
            "index": 0, "message": said.message(), "logprobs": logprobs, "finish_reason": stop,
        }],
        "usage": write_usage(answer.usage),
    })
}

/// The fields of a whole message.
#[derive(Default)]
struct Said {
    text: Option<String>,
    chars: u64,
    refusal: Option<String>,
    reasoning: String,
    details: Vec<Value>,
    annotations: Vec<Value>,
    logprobs: Vec<Value>,
    images: Vec<Value>,
    calls: Vec<Value>,
}

impl Said {
    fn add(&mut self, part: &Part, origin: &Origin) {
        match &part.kind {
            PartKind::Text(text) => {
                self.annotations.extend(annotations(part, text, self.chars));
                if let Some(Value::Array(tokens)) = part.extra.get("logprobs") {
                    self.logprobs.extend(tokens.iter().cloned());
                }
                if !text.is_empty() {
                    self.chars += count(text);
                    self.text.get_or_insert_default().push_str(text);
                }
            }
            PartKind::Refusal(text) if !text.is_empty() => {
                self.refusal.get_or_insert_default().push_str(text);
            }
            PartKind::Reasoning(reasoning) => {
                if !self.reasoning.is_empty() && !reasoning.text.is_empty() {
                    self.reasoning.push_str(PARAGRAPH);
                }
                self.reasoning.push_str(&reasoning.text);
                self.details.extend(detail(reasoning, self.details.len(), origin));
            }
            PartKind::ToolCall(call) => self.calls.push(write_call(call, call.written_arguments(), origin)),
            PartKind::Image(_) => self.images.extend(image(part)),
            // Parts of another dialect, such as what its provider did with tools of its own.
            _ => {}
        }
    }

    fn message(self) -> Map<String, Value> {
        let mut message = Map::new();
        let mut put = |name: &str, value: Value| drop(message.insert(name.to_owned(), value));
        let silent = self.text.is_none() && self.refusal.is_none() && self.calls.is_empty();
        put("role", "assistant".into());
        put("content", if silent { "".into() } else { self.text.into() });
        put("refusal", self.refusal.into());
        if !self.reasoning.is_empty() {
            put(REASONING, self.reasoning.into());
        }
        for (name, list) in [
            (DETAILS, self.details),
            ("annotations", self.annotations),
            ("images", self.images),
            ("tool_calls", self.calls),
        ] {
            if !list.is_empty() {
                put(name, list.into());
            }
        }
        message
    }
}

/// Writes a streamed answer.
#[derive(Debug)]
pub struct StreamWriter {
    frame: Frame,
    /// What every chunk begins with, up to its choices.
    head: String,
    /// The parts that are open.
    open: BTreeMap<usize, Open>,
    /// Characters of text so far.
    chars: u64,
    /// The part whose reasoning was told last.
    thought: Option<usize>,
    details: usize,
    calls: u64,
}

/// A part that is open, as far as its pieces have to know it.
#[derive(Clone, Copy, Debug)]
enum Open {
    /// A text, and the characters of text before it.
    Text {
        begin: u64,
    },
    Refusal,
    Reasoning,
    /// A call, by its index.
    Call {
        index: u64,
        custom: bool,
        sealed: bool,
    },
    /// Nothing that this dialect can say.
    Unsaid,
}

impl StreamWriter {
    /// A writer of one answer.
    pub fn new(frame: Frame) -> Self {
        let head = format!(
            "data: {{\"id\":{},\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":{}",
            Value::from(id(&frame)),
            frame.created_at_seconds(),
            Value::from(frame.model.as_str()),
        );
        StreamWriter { frame, head, open: BTreeMap::new(), chars: 0, thought: None, details: 0, calls: 0 }
    }

    /// What goes out before the provider's first word.
    pub fn begin(&mut self) -> String {
        let mut out = String::new();
        self.delta(json!({"role": "assistant", "content": ""}), &mut out);
        out
    }

    /// Appends what a step looks like on the wire.
    pub fn write(&mut self, step: &Step, out: &mut String) {
        match step {
            Step::Open { at, part } => self.open(*at, part, out),
            Step::Grow { at, growth } => self.grow(*at, growth, out),
            Step::Close { at, part } => self.close(*at, part, out),
            Step::Usage(_) => {}
            Step::End { stop, usage } => self.end(stop.as_ref(), *usage, out),
        }
    }

    /// What tells the client that the answer broke off.
    pub fn fail(&mut self, error: &Error) -> String {
        super::write_failure(error)
    }

    fn open(&mut self, at: usize, part: &Part, out: &mut String) {
        let open = match &part.kind {
            PartKind::Text(_) => Open::Text { begin: self.chars },
            PartKind::Refusal(_) => Open::Refusal,
            PartKind::Reasoning(_) => Open::Reasoning,
            PartKind::ToolCall(call) => {
                let index = self.calls;
                self.calls += 1;
                let mut written = Map::new();
                written.insert("index".to_owned(), index.into());
                if let Value::Object(fields) = write_call(call, "", &self.frame.origin) {
                    written.extend(fields);
                }
                self.delta(json!({"tool_calls": [written]}), out);
                Open::Call { index, custom: call.custom, sealed: call.sealed.is_some() }
            }
            PartKind::Image(_) => {
                if let Some(image) = image(part) {
                    self.delta(json!({"images": [image]}), out);
                }
                Open::Unsaid
            }
            _ => Open::Unsaid,
        };
        self.open.insert(at, open);
    }

    fn grow(&mut self, at: usize, growth: &Growth, out: &mut String) {
        let Some(open) = self.open.get(&at).copied() else { return };
        match (open, growth) {
            (Open::Text { .. }, Growth::Text(more)) => {
                self.chars += count(more);
                self.delta(json!({"content": more}), out);
            }
            (Open::Text { .. }, Growth::Extra(name, Value::Array(tokens))) if name == "logprobs" => {
                self.chunk(&json!({}), Some(write_logprobs(tokens)), None, out);
            }
            (Open::Refusal, Growth::Text(more)) => self.delta(json!({"refusal": more}), out),
            (Open::Reasoning, Growth::Text(more)) => {
                let anew = self.thought.is_some_and(|last| last != at);
                self.thought = Some(at);
                let gap = if anew { PARAGRAPH } else { "" };
                self.delta(json!({REASONING: format!("{gap}{more}")}), out);
            }
            (Open::Call { index, custom, .. }, Growth::Input(more)) => {
                let (kind, field) = if custom { ("custom", "input") } else { ("function", "arguments") };
                self.delta(json!({"tool_calls": [{"index": index, kind: {field: more}}]}), out);
            }
            // Seals and sources are told whole, when their part is.
            _ => {}
        }
    }

    fn close(&mut self, at: usize, part: &Part, out: &mut String) {
        match (self.open.remove(&at), &part.kind) {
            (Some(Open::Text { begin }), PartKind::Text(text)) => {
                let annotations = annotations(part, text, begin);
                if !annotations.is_empty() {
                    self.delta(json!({"annotations": annotations}), out);
                }
            }
            (Some(Open::Reasoning), PartKind::Reasoning(reasoning)) => {
                if let Some(detail) = detail(reasoning, self.details, &self.frame.origin) {
                    self.details += 1;
                    self.delta(json!({DETAILS: [detail]}), out);
                }
            }
            (Some(Open::Call { index, sealed: false, .. }), PartKind::ToolCall(call)) => {
                if let Some(seal) = &call.sealed {
                    let beside = signed(&wrapped(seal, &self.frame.origin));
                    self.delta(json!({"tool_calls": [{"index": index, "extra_content": beside}]}), out);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, stop: Option<&Stop>, usage: Option<Usage>, out: &mut String) {
        self.chunk(&json!({}), None, Some(write_stop(stop)), out);
        if self.frame.stream_usage {
            out.push_str(&self.head);
            out.push_str(&format!(",\"choices\":[],\"usage\":{}}}\n\n", write_usage(usage)));
        }
        out.push_str("data: [DONE]\n\n");
    }

    fn delta(&self, delta: Value, out: &mut String) {
        self.chunk(&delta, None, None, out);
    }

    fn chunk(&self, delta: &Value, logprobs: Option<Value>, stop: Option<&str>, out: &mut String) {
        let logprobs = logprobs.unwrap_or_default();
        let stop = Value::from(stop);
        // Where counts were asked for, every chunk before them says that it has none.
        let usage = if self.frame.stream_usage { ",\"usage\":null" } else { "" };
        out.push_str(&self.head);
        out.push_str(&format!(
            ",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":{logprobs},\"finish_reason\":{stop}}}]{usage}}}\n\n"
        ));
    }
}

/// What stands between the reasoning of two parts.
const PARAGRAPH: &str = "\n\n";

fn id(frame: &Frame) -> String {
    format!("chatcmpl-{}", frame.id)
}

fn count(text: &str) -> u64 {
    text.chars().count() as u64
}

fn wrapped(sealed: &str, origin: &Origin) -> String {
    if origin.dialect == Dialect::Chat { sealed.to_owned() } else { seal::wrap(origin, sealed) }
}

fn write_call(call: &ToolCall, arguments: &str, origin: &Origin) -> Value {
    let mut object = if call.custom {
        json!({"id": call.id, "type": "custom", "custom": {"name": call.name, "input": arguments}})
    } else {
        json!({"id": call.id, "type": "function",
               "function": {"name": call.name, "arguments": arguments}})
    };
    if let (Some(sealed), Value::Object(fields)) = (&call.sealed, &mut object) {
        fields.insert("extra_content".to_owned(), signed(&wrapped(sealed, origin)));
    }
    object
}

/// An entry of `reasoning_details`, which brings a seal back to us; `None` where there is no seal.
fn detail(reasoning: &Reasoning, index: usize, origin: &Origin) -> Option<Value> {
    let sealed = wrapped(reasoning.sealed.as_ref()?, origin);
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    if reasoning.text.is_empty() {
        put("type", "reasoning.encrypted".into());
        put("data", sealed.into());
    } else {
        put("type", "reasoning.text".into());
        put("text", reasoning.text.as_str().into());
        put("signature", sealed.into());
    }
    if let Some(id) = &reasoning.id {
        put("id", id.as_str().into());
    }
    put("format", format_of(origin.dialect).into());
    put("index", index.into());
    Some(Value::Object(object))
}

/// OpenRouter's names for whose reasoning it is.
fn format_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => "unknown",
        Dialect::Responses => "openai-responses-v1",
        Dialect::Messages => "anthropic-claude-v1",
        Dialect::Google => "google-gemini-v1",
    }
}

/// The sources of a text that begins behind so many characters of the answer. One without a place belongs to all of it.
fn annotations(part: &Part, text: &str, begin: u64) -> Vec<Value> {
    citations(part)
        .into_iter()
        .map(|mut source| {
            let (start, end) = source.place.unwrap_or_else(|| (0, count(text)));
            source.place = Some((begin.saturating_add(start), begin.saturating_add(end)));
            source.for_chat()
        })
        .collect()
}

/// A picture that the model drew, as OpenRouter gives it:
/// <https://openrouter.ai/docs/features/multimodal/image-generation>.
fn image(part: &Part) -> Option<Value> {
    let PartKind::Image(media) = &part.kind else { return None };
    Some(json!({"type": "image_url", "image_url": {"url": url_of_media(media)?}}))
}

fn write_logprobs(tokens: &[Value]) -> Value {
    json!({"content": tokens, "refusal": null})
}

/// Why the model stopped. Official clients know these words only.
fn write_stop(stop: Option<&Stop>) -> &'static str {
    match stop {
        Some(Stop::Length) => "length",
        Some(Stop::ToolCalls) => "tool_calls",
        Some(Stop::ContentFilter) => "content_filter",
        Some(Stop::End | Stop::Other(_)) | None => "stop",
    }
}

fn write_usage(usage: Option<Usage>) -> Value {
    let usage = usage.unwrap_or_default();
    let mut prompt = json!({"cached_tokens": usage.cached});
    if let (1.., Value::Object(fields)) = (usage.cache_write, &mut prompt) {
        fields.insert("cache_write_tokens".to_owned(), usage.cache_write.into());
    }
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}
