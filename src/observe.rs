//! Watches a streamed answer go by and puts together what was said.
//!
//! Invariant: the result does not depend on how the bytes were cut, and an answer is `Complete` only when the provider
//! said so. Nothing here changes or delays a byte.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::dialect::{Delta, Dialect, Growth};
use crate::sse::Decoder;
use crate::turn::{Answer, Ending, Message, Origin, Part, PartKind, Reasoning, Role, Stop, ToolCall, Usage};

/// Watches one streamed answer.
#[derive(Debug)]
pub struct Observer {
    origin: Origin,
    decoder: Decoder,
    gathered: Gathered,
}

#[derive(Debug, Default)]
struct Gathered {
    parts: Vec<Part>,
    /// Where in `parts` each tool call is, by the provider's slot.
    calls: BTreeMap<u64, usize>,
    /// The parts that a stream opened and has not closed, by slot.
    open: BTreeMap<u64, Open>,
    extra: Map<String, Value>,
    usage: Option<Usage>,
    stop: Option<Stop>,
    ended: bool,
    failed: bool,
}

#[derive(Debug)]
struct Open {
    /// Where in `parts` it is.
    at: usize,
    /// The pieces of its input so far.
    input: String,
}

impl Observer {
    /// An observer of an answer in the origin's dialect.
    pub fn new(origin: Origin) -> Self {
        Observer { origin, decoder: Decoder::default(), gathered: Gathered::default() }
    }

    /// Takes the next bytes of the answer.
    pub fn push(&mut self, bytes: &[u8]) {
        let Observer { origin, decoder, gathered } = self;
        decoder.push(bytes, |event| {
            origin.dialect.read_event(event, origin, &mut |delta| gathered.add(delta));
        });
    }

    /// True once the provider has said that the answer is over: whole, or failed.
    pub fn is_over(&self) -> bool {
        self.gathered.ended || self.gathered.failed
    }

    /// True when what was pushed so far ends between two events.
    pub fn is_between_events(&self) -> bool {
        self.decoder.is_between_events()
    }

    /// The answer so far. `at_end` says that the provider closed the stream of its own accord: then a provider that
    /// never says `[DONE]` but gave a reason to stop has said it all.
    pub fn finish(mut self, at_end: bool) -> Answer {
        let Observer { origin, decoder, gathered } = &mut self;
        if at_end {
            decoder.finish(|event| {
                origin.dialect.read_event(event, origin, &mut |delta| gathered.add(delta));
            });
        }
        gathered.settle();
        let Gathered { parts, mut extra, usage, stop, ended, failed, .. } = self.gathered;
        let said_why = at_end && stop.is_some() && self.origin.dialect == Dialect::Chat;
        let ending = if failed {
            Ending::Failed
        } else if ended || said_why {
            Ending::Complete
        } else if at_end && self.decoder.lost_an_event() {
            Ending::Unread
        } else {
            Ending::Truncated
        };
        extra.retain(|_, value| !value.is_null());
        let message = (!parts.is_empty()).then(|| Message {
            origin: Some(self.origin),
            extra,
            ..Message::new(Role::Assistant, parts)
        });
        Answer { message, usage, stop, ending }
    }
}

impl Gathered {
    fn add(&mut self, delta: Delta) {
        match delta {
            Delta::Text(more) => match self.parts.last_mut().map(|part| &mut part.kind) {
                Some(PartKind::Text(text)) => text.push_str(&more),
                _ => self.begin(PartKind::Text(more)),
            },
            Delta::Refusal(more) => match self.parts.last_mut().map(|part| &mut part.kind) {
                Some(PartKind::Refusal(text)) => text.push_str(&more),
                _ => self.begin(PartKind::Refusal(more)),
            },
            Delta::Reasoning { reasoning: more, extra } => match self.parts.last_mut() {
                Some(Part { kind: PartKind::Reasoning(reasoning), extra: known }) => {
                    reasoning.text.push_str(&more.text);
                    reasoning.sealed = more.sealed.or(reasoning.sealed.take());
                    reasoning.id = more.id.or(reasoning.id.take());
                    known.extend(extra);
                }
                _ if more == Reasoning::default() => {}
                _ => self.parts.push(Part { kind: PartKind::Reasoning(more), extra }),
            },
            Delta::ToolCall { slot, call, extra } => self.add_call(slot, call, extra),
            Delta::Extra(name, value) => extend(&mut self.extra, name, value),
            Delta::Part(part) => self.parts.push(part),
            Delta::Open { slot, part } => {
                self.close(slot, false);
                self.open.insert(slot, Open { at: self.parts.len(), input: String::new() });
                self.parts.push(part);
            }
            Delta::Grow { slot, growth } => self.grow(slot, growth),
            Delta::Close { slot } => self.close(slot, true),
            Delta::Message(message) => {
                self.calls.clear();
                self.open.clear();
                self.parts = message.parts;
            }
            Delta::Stop(stop) => self.stop = Some(stop),
            Delta::Usage(usage) => self.usage = Some(self.usage.unwrap_or_default().with(usage)),
            Delta::End => self.ended = true,
            Delta::Failure => self.failed = true,
        }
    }

    fn begin(&mut self, kind: PartKind) {
        let empty = match &kind {
            PartKind::Text(text) | PartKind::Refusal(text) => text.is_empty(),
            _ => false,
        };
        if !empty {
            self.parts.push(kind.into());
        }
    }

    fn add_call(&mut self, slot: u64, call: ToolCall, extra: Map<String, Value>) {
        let open = self.calls.get(&slot).and_then(|at| self.parts.get_mut(*at));
        if let Some(Part { kind: PartKind::ToolCall(known), extra: known_extra }) = open
            // Some model servers give every parallel call the index 0; a new id is a new call.
            && (call.id.is_empty() || known.id.is_empty() || call.id == known.id)
        {
            if known.id.is_empty() {
                known.id = call.id;
            }
            if known.name.is_empty() {
                known.name = call.name;
            }
            known.arguments.push_str(&call.arguments);
            known_extra.extend(extra);
            return;
        }
        self.calls.insert(slot, self.parts.len());
        self.parts.push(Part { kind: PartKind::ToolCall(call), extra });
    }

    fn grow(&mut self, slot: u64, growth: Growth) {
        let Some(open) = self.open.get_mut(&slot) else { return };
        let Some(part) = self.parts.get_mut(open.at) else { return };
        match (growth, &mut part.kind) {
            (Growth::Text(more), PartKind::Text(text)) => text.push_str(&more),
            (Growth::Text(more), PartKind::Reasoning(reasoning)) => reasoning.text.push_str(&more),
            (Growth::Sealed(seal), PartKind::Reasoning(reasoning)) => reasoning.sealed = Some(seal),
            (Growth::Input(more), _) => open.input.push_str(&more),
            (Growth::Extra(name, value), PartKind::Other(Value::Object(fields))) => {
                extend(fields, name, value)
            }
            (Growth::Extra(name, value), _) => extend(&mut part.extra, name, value),
            _ => {}
        }
    }

    /// Ends the part in a slot. `whole` says that the provider ended it: then a call without arguments has none, and is
    /// not torn.
    fn close(&mut self, slot: u64, whole: bool) {
        let Some(Open { at, input }) = self.open.remove(&slot) else { return };
        match self.parts.get_mut(at).map(|part| &mut part.kind) {
            Some(PartKind::ToolCall(call)) => {
                if !input.is_empty() {
                    call.arguments = input;
                } else if whole && call.arguments.is_empty() {
                    call.arguments = "{}".to_owned();
                }
            }
            Some(PartKind::Other(Value::Object(fields))) => {
                if let Ok(value) = serde_json::from_str(&input) {
                    fields.insert("input".to_owned(), value);
                }
            }
            _ => {}
        }
    }

    /// Ends what is still open, and drops what was opened and never filled.
    fn settle(&mut self) {
        let slots: Vec<u64> = self.open.keys().copied().collect();
        for slot in slots {
            self.close(slot, self.ended);
        }
        self.parts.retain(|part| !part.is_blank());
    }
}

/// Sets a field; an array joins the one that is there.
fn extend(fields: &mut Map<String, Value>, name: String, value: Value) {
    match (fields.get_mut(&name), value) {
        (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
        (_, value) => {
            fields.insert(name, value);
        }
    }
}
