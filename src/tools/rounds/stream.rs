//! An answer of several rounds, streamed to a client as it is said.
//!
//! Invariant: the client reads one answer: it begins once and ends once, its parts are numbered through, and what it puts
//! together is what it would have got whole. Nothing of it depends on how the providers' bytes were cut.

use serde_json::Value;

use super::Rounds;
use super::shown::Steps;
use crate::dialect::{Dialect, StreamWriter};
use crate::error::Error;
use crate::frame::Frame;
use crate::gather::Step;
use crate::observe::Observer;
use crate::tools::steps::in_last_event;
use crate::turn::Answer;

/// One answer on its way to the client.
#[derive(Debug)]
pub struct AnswerStream {
    client: Dialect,
    frame: Frame,
    observer: Observer,
    steps: Steps,
    writer: StreamWriter,
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundEnd {
    /// What was said in it.
    pub answer: Answer,
    /// What the provider said when it failed.
    pub failure: Option<String>,
    /// What is still to be sent of it.
    pub last: String,
}

impl AnswerStream {
    /// A stream for a client.
    pub fn new(client: Dialect, frame: Frame) -> Self {
        AnswerStream {
            client,
            observer: Observer::framed(&frame),
            steps: Steps::default(),
            writer: client.stream_writer(frame.clone()),
            frame,
        }
    }

    /// What goes out before the first round's first word.
    pub fn begin(&mut self) -> String {
        self.writer.begin()
    }

    /// Takes a round's next bytes; gives the client's.
    pub fn push(&mut self, bytes: &[u8], rounds: &Rounds) -> String {
        self.observer.push(bytes);
        let steps = self.observer.take_steps();
        self.write(steps, rounds)
    }

    /// True once the provider has said that the round is over: whole, or failed.
    pub fn is_round_over(&self) -> bool {
        self.observer.is_over()
    }

    /// Takes a round that came whole, though a stream was asked for.
    pub fn take_whole(&mut self, answer: &Answer, rounds: &Rounds) -> String {
        let steps = self.observer.take_whole(answer.clone());
        self.write(steps, rounds)
    }

    /// Ends a round. `at_end` says that the provider closed the stream of its own accord.
    pub fn end_round(&mut self, at_end: bool, rounds: &Rounds) -> RoundEnd {
        let answer = self.observer.outcome(at_end);
        let failure = self.observer.failure().map(str::to_owned);
        let steps = self.observer.take_steps();
        let mut last = self.write(steps, rounds);
        let mut held = Vec::new();
        self.steps.end_round(rounds, &mut held);
        held.iter().for_each(|step| self.writer.write(step, &mut last));
        self.observer = Observer::framed(&self.frame.for_round(rounds.number() + 1));
        RoundEnd { answer, failure, last }
    }

    /// The end of the answer, which the client is `shown`; with the steps where it wants to see them.
    pub fn finish(&mut self, shown: &Answer, steps: Option<&[Value]>) -> String {
        let mut last = String::new();
        self.writer.write(&Step::End { stop: shown.stop.clone(), usage: shown.usage }, &mut last);
        in_last_event(self.client, &last, steps)
    }

    /// The response object that the client was given, for Responses. Only once the end is written.
    pub fn whole(&self) -> Option<Value> {
        self.writer.whole()
    }

    /// What tells the client that the answer broke off. Nothing may follow it.
    pub fn fail(&mut self, error: &Error) -> String {
        self.writer.fail(error)
    }

    /// What says nothing, and keeps a client from taking silence for a broken connection.
    pub fn keep_alive(&self) -> &'static str {
        match self.client {
            Dialect::Messages => "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            // A comment: <https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes>.
            Dialect::Chat | Dialect::Responses | Dialect::Google => ": the gateway's tools are at work\n\n",
        }
    }

    fn write(&mut self, steps: Vec<Step>, rounds: &Rounds) -> String {
        let mut shown = Vec::with_capacity(steps.len());
        for step in steps {
            self.steps.take(step, rounds, &mut shown);
        }
        let mut out = String::new();
        shown.iter().for_each(|step| self.writer.write(step, &mut out));
        out
    }
}
