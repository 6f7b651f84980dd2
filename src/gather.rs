//! Puts a streamed answer together, and tells it on as steps that every stream's writer understands.
//!
//! Invariant: whatever order and shape the deltas come in, the steps obey one grammar. Parts are opened in order, 0, 1, 2,
//! …; each is opened once, grows only while it is open, and is closed once before the end, with the whole of it. At most
//! one text, refusal or reasoning is open at a time; a tool call stays open beside others only while its arguments are no
//! whole JSON value. A part that holds nothing is never opened; a call is opened when its name is known, its id never
//! empty, and a function's arguments never end as nothing. Arguments that are whole JSON take no more.

mod argument;
mod extent;
mod teller;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::extent::Extent;
use self::teller::{Teller, Told};
use crate::dialect::{Delta, Growth, citation};
use crate::turn::{Part, PartKind, Reasoning, Stop, ToolCall, Usage};

/// One step of an answer, told as it comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A part begins.
    Open {
        /// Its number.
        at: usize,
        /// What is known of it: a text, refusal or reasoning without its words, a call without its arguments, anything
        /// else whole.
        part: Part,
    },
    /// A part goes on: words of a text, refusal or reasoning; the seal of reasoning; arguments of a call; a field of any
    /// part that has no word in the hub.
    Grow {
        /// Its number.
        at: usize,
        /// What is new.
        growth: Growth,
    },
    /// A part is whole.
    Close {
        /// Its number.
        at: usize,
        /// All of it.
        part: Part,
    },
    /// Token counts so far.
    Usage(Usage),
    /// The answer is whole. All parts are closed.
    End {
        /// Why the model stopped; `None` where the provider did not say.
        stop: Option<Stop>,
        /// Token counts, where the provider gave them.
        usage: Option<Usage>,
    },
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub struct Gathered {
    parts: Vec<Part>,
    /// Where in `parts` the text or refusal is that is being said.
    said: Option<usize>,
    /// The tool calls that come in pieces, by the provider's slot.
    calls: BTreeMap<u64, Call>,
    /// The parts that a stream opened and has not closed, by slot.
    open: BTreeMap<u64, Open>,
    /// Fields of the message without a word in the hub.
    pub extra: Map<String, Value>,
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// Token counts so far.
    pub usage: Option<Usage>,
    /// Why the model stopped.
    pub stop: Option<Stop>,
    /// The provider said that the answer is whole.
    pub ended: bool,
    /// What the provider said when it failed.
    pub failure: Option<String>,
    /// The steps, where somebody wants to hear them.
    teller: Option<Teller>,
}

#[derive(Debug)]
struct Call {
    /// Where in `parts` it is.
    at: usize,
    /// How far its arguments have come.
    extent: Extent,
}

#[derive(Debug)]
struct Open {
    /// Where in `parts` it is.
    at: usize,
    /// The pieces of its input so far.
    input: String,
    /// Its arguments so far, where they come as values at paths; null before the first.
    arguments: Value,
}

impl Gathered {
    /// Gathers, and tells the steps. `seed` makes up ids for calls that come without one.
    pub fn telling(seed: &str) -> Self {
        Gathered { teller: Some(Teller::new(seed)), ..Gathered::default() }
    }

    /// The steps since the last time.
    pub fn take_steps(&mut self) -> Vec<Step> {
        self.teller.as_mut().map(|teller| std::mem::take(&mut teller.steps)).unwrap_or_default()
    }

    /// Takes the next delta.
    pub fn add(&mut self, delta: Delta) {
        match delta {
            Delta::Text(more) => self.add_words(more, PartKind::Text),
            Delta::Refusal(more) => self.add_words(more, PartKind::Refusal),
            Delta::Reasoning { reasoning, extra } => self.add_reasoning(reasoning, extra),
            Delta::ToolCall { slot, call, extra } => self.add_call(slot, call, extra),
            Delta::Extra(name, value) => extend(&mut self.extra, name, value),
            Delta::TextExtra(name, value) => {
                if let Some(at) = self.parts.iter().rposition(|part| matches!(part.kind, PartKind::Text(_)))
                    && let Some(part) = self.parts.get_mut(at)
                {
                    let value = match &part.kind {
                        PartKind::Text(text) => citation::placed(value, text),
                        _ => value,
                    };
                    extend(&mut part.extra, name.clone(), value.clone());
                    self.tell_growth(at, Growth::Extra(name, value));
                } else {
                    // OpenRouter names the sources ahead of the first word. What was not said has no probability.
                    if name != "logprobs" {
                        extend(&mut self.extra, name, value);
                    }
                }
            }
            Delta::Part(part) => {
                self.parts.push(part);
                self.tell_whole(self.parts.len() - 1);
            }
            Delta::Open { slot, part } => {
                self.close(slot, false);
                let open = Open { at: self.parts.len(), input: String::new(), arguments: Value::Null };
                self.open.insert(slot, open);
                self.parts.push(part);
                self.tell_opened(self.parts.len() - 1);
            }
            Delta::Grow { slot, growth } => self.grow(slot, growth),
            Delta::Close { slot } => self.close(slot, true),
            Delta::Message(message) => {
                self.calls.clear();
                // What was told of them is closed with what came of it.
                let slots: Vec<u64> = self.open.keys().copied().collect();
                slots.into_iter().for_each(|slot| self.close(slot, false));
                self.replace(message.parts);
            }
            Delta::Stop(stop) => self.stop = Some(stop),
            Delta::Usage(usage) => {
                let usage = self.usage.unwrap_or_default().with(usage);
                self.usage = Some(usage);
                if let Some(teller) = &mut self.teller {
                    teller.steps.push(Step::Usage(usage));
                }
            }
            Delta::Id(id) => self.id = Some(id),
            Delta::End => self.ended = true,
            Delta::Failure(words) => self.failure = Some(words),
        }
    }

    fn add_words(&mut self, more: String, kind: fn(String) -> PartKind) {
        if more.is_empty() {
            return;
        }
        let last = self.parts.len().wrapping_sub(1);
        let begun = self.said == Some(last)
            && match (self.parts.last_mut().map(|part| &mut part.kind), kind(String::new())) {
                (Some(PartKind::Text(text)), PartKind::Text(_))
                | (Some(PartKind::Refusal(text)), PartKind::Refusal(_)) => {
                    text.push_str(&more);
                    true
                }
                _ => false,
            };
        if !begun {
            self.said = Some(self.parts.len());
            self.parts.push(kind(more.clone()).into());
        }
        self.tell_growth(self.parts.len() - 1, Growth::Text(more));
    }

    fn add_reasoning(&mut self, more: Reasoning, extra: Map<String, Value>) {
        let told = more.clone();
        match self.parts.last_mut() {
            Some(Part { kind: PartKind::Reasoning(reasoning), extra: known }) => {
                reasoning.text.push_str(&more.text);
                reasoning.sealed = more.sealed.or(reasoning.sealed.take());
                reasoning.id = more.id.or(reasoning.id.take());
                known.extend(extra);
            }
            _ if more == Reasoning::default() => return,
            _ => self.parts.push(Part { kind: PartKind::Reasoning(more), extra }),
        }
        let at = self.parts.len() - 1;
        if !told.text.is_empty() {
            self.tell_growth(at, Growth::Text(told.text));
        }
        if let Some(seal) = told.sealed {
            self.tell_growth(at, Growth::Sealed(seal));
        }
    }

    fn add_call(&mut self, slot: u64, mut call: ToolCall, extra: Map<String, Value>) {
        let teller = self.teller.as_ref();
        let known = self.calls.get_mut(&slot).filter(|open| {
            match self.parts.get(open.at).map(|part| &part.kind) {
                Some(PartKind::ToolCall(known)) => {
                    // Some model servers give every parallel call the index 0; a new id is a new call, and so is one
                    // without ids that says something else when the one before is whole.
                    let says_more = open.extent == Extent::Whole
                        && !call.name.is_empty()
                        && !call.arguments.trim().is_empty()
                        && (&call.name, &call.arguments) != (&known.name, &known.arguments);
                    let is_same = call.id.is_empty() || known.id.is_empty() || call.id == known.id;
                    let was_nameless = known.id.is_empty() || made_up(teller, &known.id);
                    if call.id.is_empty() && was_nameless { !says_more } else { is_same || was_nameless }
                }
                _ => false,
            }
        });
        let (at, pieces) = match known {
            // Arguments that are whole take no more: what follows is an event that was sent twice.
            Some(Call { at, extent }) => (*at, extent.take(&call.arguments).to_owned()),
            None => {
                let mut extent = if call.custom { Extent::Unknown } else { Extent::default() };
                call.arguments.truncate(extent.take(&call.arguments).len());
                let at = self.parts.len();
                self.calls.insert(slot, Call { at, extent });
                (at, call.arguments.clone())
            }
        };
        match self.parts.get_mut(at) {
            Some(Part { kind: PartKind::ToolCall(known), extra: known_extra }) => {
                if known.id.is_empty() {
                    known.id = call.id;
                }
                if known.name.is_empty() {
                    known.name = call.name;
                }
                known.arguments.push_str(&pieces);
                known.sealed = call.sealed.or(known.sealed.take());
                known_extra.extend(extra);
            }
            _ => self.parts.push(Part { kind: PartKind::ToolCall(call), extra }),
        }
        self.tell_call(at, pieces);
    }

    fn grow(&mut self, slot: u64, growth: Growth) {
        let Some(open) = self.open.get_mut(&slot) else { return };
        let at = open.at;
        let Some(part) = self.parts.get_mut(at) else { return };
        let told = self.teller.is_some().then(|| growth.clone());
        match (growth, &mut part.kind) {
            (Growth::Text(more), PartKind::Text(text)) => text.push_str(&more),
            (Growth::Text(more), PartKind::Reasoning(reasoning)) => reasoning.text.push_str(&more),
            (Growth::Sealed(seal), PartKind::Reasoning(reasoning)) => reasoning.sealed = Some(seal),
            (Growth::Input(more), PartKind::ToolCall(_) | PartKind::Other(_)) => open.input.push_str(&more),
            (Growth::Argument { path, piece }, PartKind::ToolCall(_)) => {
                return argument::put(&mut open.arguments, &path, piece);
            }
            (Growth::Extra(name, value), PartKind::Other(Value::Object(fields))) => {
                extend(fields, name, value)
            }
            (Growth::Extra(name, value), _) => extend(&mut part.extra, name, value),
            _ => return,
        }
        match told {
            Some(Growth::Text(more)) if more.is_empty() => {}
            Some(growth) => self.tell_growth(at, growth),
            None => {}
        }
    }

    /// Ends the part in a slot. `whole` says that the provider ended it: then a call without arguments has none, and is
    /// not torn.
    fn close(&mut self, slot: u64, whole: bool) {
        let Some(Open { at, input, arguments }) = self.open.remove(&slot) else { return };
        match self.parts.get_mut(at).map(|part| &mut part.kind) {
            Some(PartKind::ToolCall(call)) => {
                if !arguments.is_null() {
                    call.arguments = arguments.to_string();
                } else if !input.is_empty() {
                    call.arguments = input;
                } else if whole && call.arguments.is_empty() {
                    call.arguments = call.written_arguments().to_owned();
                }
            }
            Some(PartKind::Other(Value::Object(fields))) => {
                if let Ok(value) = serde_json::from_str(&input) {
                    fields.insert("input".to_owned(), value);
                }
            }
            _ => {}
        }
        if whole {
            self.tell_closed(at);
        }
    }

    /// Ends what is still open, and drops what was opened and never filled. Gives the parts.
    pub fn settle(&mut self) -> Vec<Part> {
        let slots: Vec<u64> = self.open.keys().copied().collect();
        for slot in slots {
            self.close(slot, self.ended);
        }
        let mut parts = std::mem::take(&mut self.parts);
        parts.retain(|part| !part.is_blank());
        parts
    }

    /// Closes what was told and not closed, and tells the end. Before [`settle`](Self::settle), and only of an answer that
    /// is whole.
    pub fn tell_end(&mut self) {
        let slots: Vec<u64> = self.open.keys().copied().collect();
        for slot in slots {
            self.close(slot, true);
        }
        for at in 0..self.parts.len() {
            self.tell_closed(at);
        }
        let called = self.parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
        let stop = match self.stop.clone() {
            // Google, and others where a call was forced, say `stop`; clients go on only where calls are announced.
            Some(Stop::End) | None if called => Some(Stop::ToolCalls),
            stop => stop,
        };
        self.stop = stop.clone();
        let usage = self.usage;
        if let Some(teller) = &mut self.teller {
            teller.steps.push(Step::End { stop, usage });
        }
    }

    /// The whole message in the place of what was gathered. What had been told stands; only what had not is added.
    fn replace(&mut self, parts: Vec<Part>) {
        let told = std::mem::replace(&mut self.parts, parts);
        self.said = None;
        let Some(teller) = &mut self.teller else { return };
        for (at, part) in told.iter().enumerate() {
            // Some providers stream a call's name and give its arguments only with the whole message.
            let whole = self
                .parts
                .iter()
                .find(|whole| matches!(whole.kind, PartKind::ToolCall(_)) && is_same(part, whole));
            teller.close_as(at, part, whole);
        }
        let before = std::mem::take(&mut teller.told);
        let was_told = |part: &Part| {
            told.iter().enumerate().any(|(at, known)| before.contains_key(&at) && is_same(known, part))
        };
        for at in 0..self.parts.len() {
            if self.parts.get(at).is_some_and(|part| !was_told(part)) {
                self.tell_whole(at);
            } else if let Some(teller) = &mut self.teller {
                teller.told.insert(at, Told { number: 0, closed: true, input: true });
            }
        }
    }

    fn tell_opened(&mut self, at: usize) {
        if self.teller.is_none() {
            return;
        }
        let Some(part) = self.parts.get(at) else { return };
        match part.kind.clone() {
            // Opened with its first words; kept whole, told when it is.
            PartKind::Text(words) | PartKind::Refusal(words) if words.is_empty() => {}
            PartKind::Other(_) => {}
            PartKind::Text(words) | PartKind::Refusal(words) => self.tell_growth(at, Growth::Text(words)),
            PartKind::Reasoning(reasoning) => {
                if !reasoning.text.is_empty() {
                    self.tell_growth(at, Growth::Text(reasoning.text));
                }
                if let Some(seal) = reasoning.sealed {
                    self.tell_growth(at, Growth::Sealed(seal));
                }
            }
            // Arguments that a call is opened with may only be the first word on them: told when it is whole.
            PartKind::ToolCall(_) => self.name_call(at),
            _ => self.tell_whole(at),
        }
    }

    /// Tells a call's next piece of arguments, and the call itself as soon as its name is known.
    fn tell_call(&mut self, at: usize, pieces: String) {
        let first = self.teller.as_ref().is_some_and(|teller| !teller.told.contains_key(&at));
        self.name_call(at);
        let more = match self.parts.get(at).map(|part| &part.kind) {
            Some(PartKind::ToolCall(call)) if first => call.arguments.clone(),
            _ => pieces,
        };
        if !more.is_empty() {
            self.tell_growth(at, Growth::Input(more));
        }
    }

    /// Tells a call without its arguments, once its name is known.
    fn name_call(&mut self, at: usize) {
        let Some(teller) = &self.teller else { return };
        let Some(Part { kind: PartKind::ToolCall(call), .. }) = self.parts.get_mut(at) else { return };
        if call.id.is_empty() {
            call.id = format!("call_{}{at}", teller.seed);
        }
        if !call.name.is_empty() && !teller.told.contains_key(&at) {
            self.tell_open(at);
        }
    }

    fn tell_open(&mut self, at: usize) {
        let Some(teller) = &mut self.teller else { return };
        let others: Vec<usize> =
            teller.told.iter().filter(|(_, told)| !told.closed).map(|(other, _)| *other).collect();
        for other in others {
            let Some(mut part) = self.parts.get(other).cloned() else { continue };
            if let PartKind::ToolCall(call) = &mut part.kind {
                // The provider has not ended it yet; what it sent is all in the slot.
                let slot = self.open.values().find(|open| open.at == other && !open.input.is_empty());
                if let Some(open) = slot {
                    call.arguments.clone_from(&open.input);
                }
                if serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments).is_err() {
                    continue;
                }
            }
            teller.close(other, &part);
        }
        if let Some(part) = self.parts.get(at) {
            teller.open(at, part);
        }
    }

    fn tell_growth(&mut self, at: usize, growth: Growth) {
        let Some(teller) = &self.teller else { return };
        match self.parts.get(at).map(|part| &part.kind) {
            Some(PartKind::Other(_)) | None => return,
            // Nobody could be told what is called.
            Some(PartKind::ToolCall(call)) if call.name.is_empty() => return,
            Some(_) => {}
        }
        // A field alone opens nothing; the part brings it along when it has something to say.
        if !teller.told.contains_key(&at) && self.parts.get(at).is_some_and(Part::is_blank) {
            return;
        }
        if !teller.told.contains_key(&at) {
            self.tell_open(at);
        }
        if let Some(teller) = &mut self.teller {
            teller.grow(at, growth);
        }
    }

    /// Tells a part that came whole.
    fn tell_whole(&mut self, at: usize) {
        if self.teller.is_none() {
            return;
        }
        let Some(part) = self.parts.get(at).filter(|part| !part.is_blank()) else { return };
        match part.kind.clone() {
            PartKind::ToolCall(_) => self.tell_call(at, String::new()),
            PartKind::Text(words) | PartKind::Refusal(words) => {
                let fields = part.extra.clone();
                self.tell_open(at);
                if !words.is_empty() {
                    self.tell_growth(at, Growth::Text(words));
                }
                // Sources and probabilities, which a stream tells in lists.
                for (name, value) in fields.into_iter().filter(|(_, value)| value.is_array()) {
                    self.tell_growth(at, Growth::Extra(name, value));
                }
            }
            PartKind::Reasoning(reasoning) => {
                self.tell_open(at);
                if !reasoning.text.is_empty() {
                    self.tell_growth(at, Growth::Text(reasoning.text));
                }
                if let Some(seal) = reasoning.sealed {
                    self.tell_growth(at, Growth::Sealed(seal));
                }
            }
            _ => self.tell_open(at),
        }
        self.tell_closed(at);
    }

    fn tell_closed(&mut self, at: usize) {
        let Some(part) = self.parts.get_mut(at) else { return };
        let Some(teller) = &mut self.teller else { return };
        if let PartKind::Other(_) = part.kind
            && !teller.told.contains_key(&at)
        {
            self.tell_open(at);
        }
        let Some(teller) = &mut self.teller else { return };
        let Some(part) = self.parts.get_mut(at) else { return };
        if let PartKind::ToolCall(call) = &mut part.kind
            && call.arguments.is_empty()
        {
            call.arguments = call.written_arguments().to_owned();
        }
        teller.close(at, part);
    }
}

/// True for the id of a call that came without one.
fn made_up(teller: Option<&Teller>, id: &str) -> bool {
    teller.is_some_and(|teller| id.starts_with(&format!("call_{}", teller.seed)))
}

/// True for two reports of the same part.
fn is_same(known: &Part, part: &Part) -> bool {
    match (&known.kind, &part.kind) {
        (PartKind::ToolCall(known), PartKind::ToolCall(call)) => known.id == call.id,
        // Providers give an item's id again, but not always all else.
        (PartKind::Other(known), PartKind::Other(value)) => {
            known == value || known.get("id").is_some_and(|id| id.is_string() && value.get("id") == Some(id))
        }
        (known, kind) => std::mem::discriminant(known) == std::mem::discriminant(kind),
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
