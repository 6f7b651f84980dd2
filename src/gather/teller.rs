//! Tells the parts of an answer on, as steps with numbers of their own.
//!
//! Invariant: a part that is closed is told no more, and closes with what was told of it.

use std::collections::BTreeMap;

use super::Step;
use crate::dialect::Growth;
use crate::turn::{Part, PartKind};

/// Tells parts on, as steps.
#[derive(Debug, Default)]
pub(super) struct Teller {
    /// Part of the ids of calls that come without one.
    pub seed: String,
    /// What was told and not taken yet.
    pub steps: Vec<Step>,
    /// The number that each part was opened under, by where it is in `parts`.
    pub told: BTreeMap<usize, Told>,
    next: usize,
}

/// What was told of a part.
#[derive(Debug)]
pub(super) struct Told {
    /// The number that it was opened under.
    pub number: usize,
    /// It is whole.
    pub closed: bool,
    /// Arguments have been told.
    pub input: bool,
}

impl Teller {
    /// A teller; `seed` makes up ids for calls that come without one.
    pub fn new(seed: &str) -> Self {
        Teller { seed: seed.to_owned(), ..Teller::default() }
    }

    /// A part begins. Its words, seal and arguments are told as they grow.
    pub fn open(&mut self, at: usize, part: &Part) {
        let mut head = part.clone();
        match &mut head.kind {
            PartKind::Text(words) | PartKind::Refusal(words) => words.clear(),
            PartKind::Reasoning(reasoning) => {
                reasoning.text.clear();
                reasoning.sealed = None;
            }
            PartKind::ToolCall(call) => call.arguments.clear(),
            _ => {}
        }
        self.steps.push(Step::Open { at: self.next, part: head });
        self.told.insert(at, Told { number: self.next, closed: false, input: false });
        self.next += 1;
    }

    /// A part goes on.
    pub fn grow(&mut self, at: usize, growth: Growth) {
        let Some(told) = self.told.get_mut(&at).filter(|told| !told.closed) else { return };
        told.input |= matches!(&growth, Growth::Input(more) if !more.is_empty());
        self.steps.push(Step::Grow { at: told.number, growth });
    }

    /// A part is closed because the whole message has come. Of a call, what the message has beyond what was told is told;
    /// a message that contradicts what was told changes nothing.
    pub fn close_as(&mut self, at: usize, known: &Part, whole: Option<&Part>) {
        let is_told = self.told.get(&at).is_some_and(|told| told.input);
        let part = match (&known.kind, whole.map(|whole| (whole, &whole.kind))) {
            (PartKind::ToolCall(call), Some((whole, PartKind::ToolCall(last)))) if is_told => {
                match last.arguments.strip_prefix(&call.arguments) {
                    None => known,
                    Some("") => whole,
                    Some(rest) => {
                        self.grow(at, Growth::Input(rest.to_owned()));
                        whole
                    }
                }
            }
            (_, Some((whole, _))) => whole,
            _ => known,
        };
        self.close(at, part);
    }

    /// A part is whole. The arguments of a call of which none were told are told now.
    pub fn close(&mut self, at: usize, part: &Part) {
        let Some(told) = self.told.get_mut(&at).filter(|told| !told.closed) else { return };
        told.closed = true;
        let number = told.number;
        let mut part = part.clone();
        if let PartKind::ToolCall(call) = &mut part.kind
            && !told.input
        {
            call.arguments = call.written_arguments().to_owned();
            if !call.arguments.is_empty() {
                self.steps.push(Step::Grow { at: number, growth: Growth::Input(call.arguments.clone()) });
            }
        }
        self.steps.push(Step::Close { at: number, part });
    }
}
