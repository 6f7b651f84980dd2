//! How an answer gets from the provider to the client, and what becomes of one that has come in whole.
//!
//! Invariant: an answer that broke off or failed is never written as a whole one; what can be known of it is known all the
//! same.

use serde_json::Value;

use crate::carriage::{Carriage, Outcome};
use crate::dialect::Dialect;
use crate::error::Error;
use crate::frame::Frame;
use crate::observe::Observer;
use crate::refusal::{cut_short, failed_inside, nonsense, translated};
use crate::tools::rounds::stream::AnswerStream;
use crate::tools::steps::beside;
use crate::translate::{self, StreamTranslator};
use crate::turn::{Answer, Ending, Origin};

/// The way of one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// The client's dialect.
    pub client: Dialect,
    /// Who answers, and in which dialect.
    pub target: Origin,
    /// What stands around a translated answer; `None` where it is passed on as it is.
    pub frame: Option<Frame>,
    /// The client wants a stream.
    pub streams: bool,
    /// The provider was asked for a stream.
    pub streams_upstream: bool,
    /// The client did not ask for the token counts at the end of the stream.
    pub hides_usage: bool,
}

/// An answer that has come in whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// What is known of it.
    pub outcome: Outcome,
    /// What the client gets. Errors: what it is told in its place.
    pub reply: Result<Written, Error>,
}

/// The body for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The provider's own.
    Same,
    /// This JSON text.
    Json(String),
    /// These events.
    Events(String),
}

impl Way {
    /// Reads an answer that has come in whole, be it a stream or not, and writes it as the client wants it.
    pub fn read_whole(self, status: u16, is_stream: bool, received: &[u8]) -> Whole {
        let Way { client, target, frame, streams, .. } = self;
        let provider = target.provider.as_str();
        if !(200..300).contains(&status) {
            let reply = match frame {
                Some(_) => Err(translated(provider, status, received)),
                None => Ok(Written::Same),
            };
            return Whole { outcome: said(failed()), reply };
        }
        match frame {
            None if is_stream && !streams => folded(client, target, received),
            None => {
                let answer = target.dialect.read_answer(received, &target).unwrap_or_else(failed);
                let response =
                    (client == Dialect::Responses).then(|| serde_json::from_slice(received).ok()).flatten();
                Whole { outcome: Outcome { answer: Some(answer), response }, reply: Ok(Written::Same) }
            }
            Some(frame) => {
                let (answer, failure) = if is_stream {
                    let mut observer = Observer::framed(&frame);
                    observer.push(received);
                    let answer = observer.outcome(true);
                    (Some(answer), observer.failure().map(str::to_owned))
                } else {
                    (target.dialect.read_answer(received, &target), None)
                };
                let Some(answer) = answer else {
                    return Whole { outcome: said(failed()), reply: Err(nonsense(provider)) };
                };
                let words = failure.or_else(|| {
                    let failed = answer.ending == Ending::Failed;
                    failed.then(|| translated(provider, status, received).message().to_owned())
                });
                written_anew(client, provider, frame, streams, answer, words)
            }
        }
    }
}

impl Way {
    /// Reads what a provider answered in one of several rounds, counted from 0; `None` for what is no answer. The text is
    /// what it said when it failed.
    pub fn read_round(
        &self,
        round: u32,
        is_stream: bool,
        received: &[u8],
    ) -> Option<(Answer, Option<String>)> {
        let frame = self.frame.as_ref()?.for_round(round);
        if is_stream {
            let mut observer = Observer::framed(&frame);
            observer.push(received);
            let answer = observer.outcome(true);
            return Some((answer, observer.failure().map(str::to_owned)));
        }
        let mut answer = self.target.dialect.read_answer(received, &self.target)?;
        translate::name_calls(&mut answer, &frame);
        let failure = (answer.ending == Ending::Failed)
            .then(|| translated(&self.target.provider, 200, received).message().to_owned());
        Some((answer, failure))
    }

    /// The stream of an answer of several rounds, for a client that wants one.
    pub fn stream_rounds(&self) -> Option<AnswerStream> {
        let frame = self.frame.clone().filter(|_| self.streams)?;
        Some(AnswerStream::new(self.client, frame))
    }

    /// Writes an answer that was put together out of several rounds, whole, with its `steps` where the client wants to see
    /// them. `failure` is what the provider said when it failed.
    pub fn write_rounds(self, answer: Answer, steps: Option<&[Value]>, failure: Option<String>) -> Whole {
        let Way { client, target, frame, .. } = self;
        match frame {
            Some(frame) => {
                let Whole { outcome, reply } =
                    written_anew(client, &target.provider, frame, false, answer, failure);
                let reply = match (reply, steps) {
                    (Ok(Written::Json(text)), Some(_)) => serde_json::from_str(&text)
                        .map(|value| Written::Json(beside(value, steps).to_string()))
                        .map_err(|_| Error::internal()),
                    (reply, _) => reply,
                };
                Whole { outcome, reply }
            }
            None => Whole { outcome: said(answer), reply: Err(Error::internal()) },
        }
    }
}

/// An answer in the client's dialect, or the error that it is told in its place.
fn written_anew(
    client: Dialect,
    provider: &str,
    frame: Frame,
    streams: bool,
    answer: Answer,
    failure: Option<String>,
) -> Whole {
    let error = match answer.ending {
        Ending::Complete => return rewritten(client, frame, streams, answer),
        Ending::Truncated | Ending::Unread => cut_short(provider),
        Ending::Failed => failed_inside(provider, failure.as_deref().unwrap_or("It did not say why.")),
    };
    Whole { outcome: said(answer), reply: Err(error) }
}

fn failed() -> Answer {
    Answer { message: None, usage: None, stop: None, ending: Ending::Failed }
}

fn said(answer: Answer) -> Outcome {
    Outcome { answer: Some(answer), response: None }
}

/// A whole answer in the client's dialect; as events where it asked for a stream and the provider gave none.
fn rewritten(client: Dialect, frame: Frame, streams: bool, answer: Answer) -> Whole {
    if streams {
        let mut translator = StreamTranslator::new(client, frame);
        let mut text = translator.begin();
        text.push_str(&translator.push_whole(answer));
        let finished = translator.finish(true);
        text.push_str(&finished.last);
        let response = finished.writer.whole();
        let outcome = Outcome { answer: Some(finished.answer), response };
        return Whole { outcome, reply: Ok(Written::Events(text)) };
    }
    let (answer, value) = translate::answer(answer, client, &frame);
    let text = value.to_string();
    let response = (client == Dialect::Responses).then_some(value);
    Whole { outcome: Outcome { answer: Some(answer), response }, reply: Ok(Written::Json(text)) }
}

/// A stream of Responses that the client wants whole: the object that closes it.
fn folded(client: Dialect, target: Origin, received: &[u8]) -> Whole {
    let provider = target.provider.clone();
    let mut carriage = Carriage::native(client, Some(Observer::new(target)), false, true);
    carriage.push(received);
    let outcome = carriage.finish(true).outcome;
    let reply = match &outcome.response {
        Some(response) => Ok(Written::Json(response.to_string())),
        None => Err(cut_short(&provider)),
    };
    Whole { outcome, reply }
}
