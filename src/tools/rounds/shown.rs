//! What a client sees of the rounds of an answer.
//!
//! Invariant: a streamed answer shows the same as a whole one. Calls of the gateway's tools are never shown. Thoughts are
//! shown as they come; the seal of one that led to nothing but such calls is useless without them, and a seal that no
//! provider opens stands in its place, so that the thought is left out when the client sends it back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Rounds;
use crate::dialect::{Dialect, Growth};
use crate::gather::Step;
use crate::seal;
use crate::tools::cite::cited;
use crate::tools::outcome::Citation;
use crate::turn::{Message, Part, PartKind};

/// What stands between the texts of two rounds: clients put the texts of an answer together.
const GAP: &str = "\n\n";

/// The parts of a round as the client sees them. `spoke`: a round before it did.
pub(super) fn parts(message: &Message, rounds: &Rounds, spoke: bool) -> Vec<Part> {
    let is_seen = |part: &&Part| !is_call_of(rounds, part) && !part.is_blank();
    let hides = message.parts.iter().any(|part| is_call_of(rounds, part));
    let mut gap = spoke;
    let mut shown = Vec::with_capacity(message.parts.len());
    for (at, part) in message.parts.iter().enumerate() {
        if !is_seen(&part) {
            continue;
        }
        let mut part = part.clone();
        match &part.kind {
            PartKind::Reasoning(_)
                if hides && !message.parts.iter().skip(at + 1).any(|part| is_seen(&part)) =>
            {
                match without_seal(part, rounds.terms.dialect) {
                    Some(words) => part = words,
                    None => continue,
                }
            }
            PartKind::Text(text) => {
                let is_first = !text.is_empty() && std::mem::replace(&mut gap, false);
                part = said(part, is_first, &rounds.sources);
            }
            _ => {}
        }
        shown.push(part);
    }
    shown
}

/// True for a call of one of the gateway's tools.
pub(super) fn is_call_of(rounds: &Rounds, part: &Part) -> bool {
    matches!(&part.kind, PartKind::ToolCall(call) if rounds.tool(call).is_some())
}

/// The thought with a seal that nobody opens; `None` for one without words.
fn without_seal(mut part: Part, dialect: Dialect) -> Option<Part> {
    let PartKind::Reasoning(reasoning) = &mut part.kind else { return Some(part) };
    if reasoning.text.is_empty() {
        return None;
    }
    reasoning.sealed = reasoning.sealed.take().map(|_| seal::of_nobody(dialect));
    Some(part)
}

/// The text behind a gap, and its sources with it.
fn behind_gap(mut part: Part) -> Part {
    if let PartKind::Text(text) = &mut part.kind {
        text.insert_str(0, GAP);
    }
    for (name, value) in &mut part.extra {
        if is_sources(name) {
            shift(value);
        }
    }
    part
}

fn is_sources(name: &str) -> bool {
    matches!(name, "annotations" | "citations")
}

/// Moves the places that annotations name by the length of a gap.
fn shift(annotations: &mut Value) {
    for annotation in annotations.as_array_mut().into_iter().flatten() {
        let fields = match annotation.get("url_citation") {
            Some(_) => annotation.get_mut("url_citation"),
            None => Some(annotation),
        };
        let Some(Value::Object(fields)) = fields else { continue };
        for name in ["start_index", "end_index"] {
            if let Some(place) = fields.get(name).and_then(Value::as_u64) {
                fields.insert(name.to_owned(), (place + GAP.len() as u64).into());
            }
        }
    }
}

/// The places of a text that name a source by its number, as annotations.
fn places(part: &Part, sources: &[Citation]) -> Vec<Value> {
    let PartKind::Text(text) = &part.kind else { return Vec::new() };
    cited(text, sources).iter().map(|cited| cited.for_responses()).collect()
}

/// Names sources of a text beside it.
fn annotate(part: &mut Part, places: Vec<Value>) {
    if places.is_empty() {
        return;
    }
    match part.extra.get_mut("annotations") {
        Some(Value::Array(known)) => known.extend(places),
        _ => drop(part.extra.insert("annotations".to_owned(), places.into())),
    }
}

/// A text with the gap before it, where there is one, and with its sources.
pub(super) fn said(part: Part, has_gap: bool, sources: &[Citation]) -> Part {
    let mut part = if has_gap { behind_gap(part) } else { part };
    let places = places(&part, sources);
    annotate(&mut part, places);
    part
}

/// The steps of an answer as the client sees them, round after round.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// The number of the next part that is shown.
    next: usize,
    /// An earlier round spoke.
    spoke: bool,
    /// This round spoke.
    speaks: bool,
    /// The numbers under which this round's parts are shown.
    numbers: BTreeMap<usize, usize>,
    /// This round's parts that are not shown.
    hidden: BTreeSet<usize>,
    /// Those of its parts that are texts.
    texts: BTreeSet<usize>,
    /// The text that begins with a gap.
    behind_gap: Option<usize>,
    /// The thought of which something waits until it is known what it led to.
    thought: Option<Thought>,
}

/// A thought that is not told to its end.
#[derive(Debug)]
struct Thought {
    at: usize,
    /// It has no words yet, and so it may never be told.
    head: Option<Part>,
    rest: Vec<Growth>,
    closed: Option<Part>,
}

impl Steps {
    /// Takes a step of a round; appends those that are shown.
    pub fn take(&mut self, step: Step, rounds: &Rounds, out: &mut Vec<Step>) {
        match step {
            Step::Open { at, part } if is_call_of(rounds, &part) => drop((self.hidden.insert(at), part)),
            Step::Open { at, part } => {
                self.tell_thought(None, out);
                if matches!(part.kind, PartKind::Reasoning(_)) {
                    self.thought = Some(Thought { at, head: Some(part), rest: Vec::new(), closed: None });
                } else {
                    self.open(at, part, out);
                }
            }
            Step::Grow { at, growth } => self.grow(at, growth, out),
            Step::Close { at, part } => self.close(at, part, rounds, out),
            // Told once, for all rounds.
            Step::Usage(_) | Step::End { .. } => {}
        }
    }

    /// The round is over.
    pub fn end_round(&mut self, rounds: &Rounds, out: &mut Vec<Step>) {
        let dialect = (!self.hidden.is_empty()).then_some(rounds.terms.dialect);
        self.tell_thought(dialect, out);
        *self = Steps { next: self.next, spoke: self.spoke || self.speaks, ..Steps::default() };
    }

    fn open(&mut self, at: usize, part: Part, out: &mut Vec<Step>) {
        self.numbers.insert(at, self.next);
        if matches!(part.kind, PartKind::Text(_)) {
            self.texts.insert(at);
        }
        out.push(Step::Open { at: self.next, part });
        self.next += 1;
    }

    fn grow(&mut self, at: usize, growth: Growth, out: &mut Vec<Step>) {
        if let Some(thought) = self.thought.as_mut().filter(|thought| thought.at == at) {
            if !matches!(growth, Growth::Text(_)) {
                thought.rest.push(growth);
                return;
            }
            if let Some(head) = thought.head.take() {
                self.open(at, head, out);
            }
        }
        let Some(number) = self.numbers.get(&at).copied() else { return };
        let growth = match growth {
            Growth::Text(words) if self.texts.contains(&at) => {
                let is_first = !std::mem::replace(&mut self.speaks, true);
                if is_first && self.spoke {
                    self.behind_gap = Some(at);
                    Growth::Text(format!("{GAP}{words}"))
                } else {
                    Growth::Text(words)
                }
            }
            Growth::Extra(name, mut value) if self.behind_gap == Some(at) && is_sources(&name) => {
                shift(&mut value);
                Growth::Extra(name, value)
            }
            growth => growth,
        };
        out.push(Step::Grow { at: number, growth });
    }

    /// Tells what waits of a thought. `unsealed`: it led to nothing that is shown, and its provider speaks that dialect.
    fn tell_thought(&mut self, unsealed: Option<Dialect>, out: &mut Vec<Step>) {
        let Some(Thought { at, head, rest, closed }) = self.thought.take() else { return };
        if let Some(head) = head {
            if unsealed.is_some() {
                return;
            }
            self.open(at, head, out);
        }
        let Some(number) = self.numbers.remove(&at) else { return };
        for growth in rest {
            let growth = match (growth, unsealed) {
                (Growth::Sealed(_), Some(dialect)) => Growth::Sealed(seal::of_nobody(dialect)),
                (growth, _) => growth,
            };
            out.push(Step::Grow { at: number, growth });
        }
        let part = closed.and_then(|part| match unsealed {
            Some(dialect) => without_seal(part, dialect),
            None => Some(part),
        });
        out.extend(part.map(|part| Step::Close { at: number, part }));
    }

    fn close(&mut self, at: usize, mut part: Part, rounds: &Rounds, out: &mut Vec<Step>) {
        if let Some(thought) = self.thought.as_mut().filter(|thought| thought.at == at) {
            thought.closed = Some(part);
            return;
        }
        let Some(number) = self.numbers.remove(&at) else { return };
        if matches!(part.kind, PartKind::Text(_)) {
            if self.behind_gap == Some(at) {
                part = behind_gap(part);
            }
            let places = places(&part, &rounds.sources);
            if !places.is_empty() {
                let growth = Growth::Extra("annotations".to_owned(), places.clone().into());
                out.push(Step::Grow { at: number, growth });
                annotate(&mut part, places);
            }
        }
        out.push(Step::Close { at: number, part });
    }
}
