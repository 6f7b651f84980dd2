//! One streamed answer between provider and client: passed on as it is, or translated; watched either way.
//!
//! Invariant: an answer passed on keeps its bytes (but for token counts that only the gateway asked for); one that is
//! translated ends well only if the provider said that it is whole. The outcome is known before the client can know it.

use serde_json::Value;

use crate::dialect::Dialect;
use crate::error::Error;
use crate::observe::Observer;
use crate::sse::Decoder;
use crate::translate::StreamTranslator;
use crate::turn::{Answer, Ending};
use crate::usage_filter::UsageFilter;

/// What becomes of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It goes on as it came.
    Same,
    /// These bytes go on in its place; perhaps none.
    Other(Vec<u8>),
}

/// What is known when an answer is over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What was said, where somebody watched.
    pub answer: Option<Answer>,
    /// The response object that the client was given, for Responses.
    pub response: Option<Value>,
}

/// Why the carriage of an answer stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The provider closed the stream and said so, or failed in its own words.
    Ended,
    /// The provider's bytes stopped too early.
    Cut,
    /// The provider was silent for too long.
    Silent,
    /// The client left.
    ClientGone,
    /// The gateway itself failed.
    Failed,
}

impl Stopped {
    /// Who broke the stream, if anybody did.
    pub fn by(self) -> Option<&'static str> {
        match self {
            Stopped::Ended => None,
            Stopped::Cut | Stopped::Silent => Some("provider"),
            Stopped::ClientGone => Some("client"),
            Stopped::Failed => Some("gateway"),
        }
    }
}

/// The end of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// What is known.
    pub outcome: Outcome,
    /// What is still to be sent.
    pub last: Vec<u8>,
    /// The stream stopped before the provider said that it was over.
    pub cut: bool,
}

/// One answer on its way.
#[derive(Debug)]
pub struct Carriage {
    way: Way,
    finished: bool,
}

#[derive(Debug)]
enum Way {
    Native(Box<Native>),
    Translated(Box<Translated>),
}

#[derive(Debug)]
struct Native {
    dialect: Dialect,
    observer: Option<Observer>,
    filter: Option<UsageFilter>,
    response: Option<ResponseReader>,
    /// The stream stopped inside an event.
    torn: bool,
}

#[derive(Debug)]
struct Translated {
    translator: Option<StreamTranslator>,
    /// Makes the client's error out of what the provider said when it failed.
    failure: fn(&str, &str) -> Error,
    provider: String,
    /// Left behind by the translator, to say that the answer broke off.
    writer: Option<crate::dialect::StreamWriter>,
}

impl Carriage {
    /// Passes the answer on. `observer`: somebody wants to know what was said. `hides_usage`: the client did not ask for
    /// token counts. `keeps_response`: somebody wants the response object.
    pub fn native(
        dialect: Dialect,
        observer: Option<Observer>,
        hides_usage: bool,
        keeps_response: bool,
    ) -> Self {
        let filter = hides_usage.then(UsageFilter::default);
        let response = keeps_response.then(ResponseReader::default);
        let way = Way::Native(Box::new(Native { dialect, observer, filter, response, torn: false }));
        Carriage { way, finished: false }
    }

    /// Translates the answer. `failure` makes an error of the provider's name and words.
    pub fn translated(
        translator: StreamTranslator,
        provider: &str,
        failure: fn(&str, &str) -> Error,
    ) -> Self {
        let translated =
            Translated { translator: Some(translator), failure, provider: provider.to_owned(), writer: None };
        Carriage { way: Way::Translated(Box::new(translated)), finished: false }
    }

    /// What goes out before the provider's first byte.
    pub fn begin(&mut self) -> Vec<u8> {
        match &mut self.way {
            Way::Native(_) => Vec::new(),
            Way::Translated(way) => {
                way.translator.as_mut().map(|translator| translator.begin().into_bytes()).unwrap_or_default()
            }
        }
    }

    /// Takes the provider's next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Carried {
        match &mut self.way {
            Way::Native(way) => {
                if let Some(observer) = &mut way.observer {
                    observer.push(bytes);
                }
                if let Some(response) = &mut way.response {
                    response.push(bytes);
                }
                match &mut way.filter {
                    Some(filter) => Carried::Other(filter.push(bytes)),
                    None => Carried::Same,
                }
            }
            Way::Translated(way) => Carried::Other(
                way.translator
                    .as_mut()
                    .map(|translator| translator.push(bytes).into_bytes())
                    .unwrap_or_default(),
            ),
        }
    }

    /// True once the provider has said that the answer is over and [`finish`](Self::finish) has not been called.
    pub fn is_over(&self) -> bool {
        !self.finished
            && match &self.way {
                Way::Native(way) => match &way.observer {
                    Some(observer) => observer.is_over(),
                    None => way.response.as_ref().is_some_and(|response| response.found.is_some()),
                },
                Way::Translated(way) => way.translator.as_ref().is_some_and(StreamTranslator::is_over),
            }
    }

    /// True when nothing that the provider still sends can be of interest.
    pub fn is_done(&self) -> bool {
        self.finished && matches!(self.way, Way::Translated(_))
    }

    /// True when [`finish`](Self::finish) has been called.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The end. `at_end` says that the provider closed the stream of its own accord. Once.
    pub fn finish(&mut self, at_end: bool) -> End {
        self.finished = true;
        match &mut self.way {
            Way::Native(way) => way.finish(at_end),
            Way::Translated(way) => way.finish(at_end),
        }
    }

    /// What was held back and may go on after the provider's last byte.
    pub fn flush(&mut self) -> Vec<u8> {
        match &mut self.way {
            Way::Native(way) => way.filter.as_mut().map(UsageFilter::finish).unwrap_or_default(),
            Way::Translated(_) => Vec::new(),
        }
    }

    /// What tells the client that the answer broke off; nothing where it cannot be told.
    pub fn fail(&mut self, error: &Error) -> String {
        match &mut self.way {
            // Behind half an event the words would become part of it; where nobody watches, nobody knows.
            Way::Native(way) if way.torn => String::new(),
            Way::Native(way) => match &way.observer {
                Some(observer) => way.dialect.write_failure(error, observer.id()),
                None => String::new(),
            },
            Way::Translated(way) => way.writer.as_mut().map(|writer| writer.fail(error)).unwrap_or_default(),
        }
    }
}

impl Native {
    fn finish(&mut self, at_end: bool) -> End {
        if at_end && let Some(response) = &mut self.response {
            response.finish();
        }
        let response = self.response.take().and_then(|reader| reader.found);
        self.torn = self.observer.as_ref().is_some_and(|observer| !observer.is_between_events());
        let answer = self.observer.as_mut().map(|observer| observer.outcome(at_end));
        let cut = at_end && answer.as_ref().is_some_and(|answer| answer.ending == Ending::Truncated);
        End { outcome: Outcome { answer, response }, last: Vec::new(), cut }
    }
}

impl Translated {
    fn finish(&mut self, at_end: bool) -> End {
        let Some(translator) = self.translator.take() else {
            return End { outcome: Outcome::default(), last: Vec::new(), cut: true };
        };
        let mut finished = translator.finish(at_end);
        let mut last = finished.last.into_bytes();
        if let Some(words) = &finished.failure {
            last = finished.writer.fail(&(self.failure)(&self.provider, words)).into_bytes();
        }
        let cut = !matches!(finished.answer.ending, Ending::Complete | Ending::Failed);
        let response = finished.writer.whole();
        self.writer = Some(finished.writer);
        End { outcome: Outcome { answer: Some(finished.answer), response }, last, cut }
    }
}

/// Finds the response object in the event that closes a stream of Responses.
#[derive(Debug, Default)]
struct ResponseReader {
    decoder: Decoder,
    found: Option<Value>,
}

impl ResponseReader {
    fn push(&mut self, bytes: &[u8]) {
        let ResponseReader { decoder, found } = self;
        decoder.push(bytes, |event| *found = closing_response(event.name, event.data).or(found.take()));
    }

    fn finish(&mut self) {
        let ResponseReader { decoder, found } = self;
        decoder.finish(|event| *found = closing_response(event.name, event.data).or(found.take()));
    }
}

fn closing_response(name: &str, data: &str) -> Option<Value> {
    const CLOSING: [&str; 3] = ["response.completed", "response.incomplete", "response.failed"];
    if !name.is_empty() && !CLOSING.contains(&name) {
        return None;
    }
    let mut event: Value = serde_json::from_str(data).ok()?;
    let kind = event.get("type")?.as_str()?;
    if !CLOSING.contains(&kind) {
        return None;
    }
    event.get_mut("response").map(Value::take).filter(Value::is_object)
}
