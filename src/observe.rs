//! Watches a streamed answer go by and puts together what was said.
//!
//! Invariant: the result does not depend on how the bytes were cut, and an answer is `Complete` only when the provider
//! said so. Nothing here changes or delays a byte.

use crate::dialect::{Delta, Dialect};
use crate::frame::Frame;
use crate::free_text;
use crate::gather::{Gathered, Step};
use crate::sse::Decoder;
use crate::turn::{Answer, Ending, Message, Origin, Role};

/// Watches one streamed answer.
#[derive(Debug)]
pub struct Observer {
    origin: Origin,
    decoder: Decoder,
    /// Turns the calls of functions back into those of the custom tools for which they stand in.
    free_texts: free_text::Deltas,
    gathered: Gathered,
}

impl Observer {
    /// An observer of an answer in the origin's dialect.
    pub fn new(origin: Origin) -> Self {
        Observer {
            origin,
            decoder: Decoder::default(),
            free_texts: free_text::Deltas::default(),
            gathered: Gathered::default(),
        }
    }

    /// An observer that also tells the answer's steps. `seed` makes up ids for calls that come without one.
    pub fn telling(origin: Origin, seed: &str) -> Self {
        Observer { gathered: Gathered::telling(seed), ..Observer::new(origin) }
    }

    /// An observer that tells the steps of an answer that is written anew, in its frame.
    pub fn framed(frame: &Frame) -> Self {
        Observer {
            free_texts: free_text::Deltas::new(frame.custom_tools.clone()),
            ..Observer::telling(frame.origin.clone(), &frame.id)
        }
    }

    /// The steps since the last time, of one that tells them.
    pub fn take_steps(&mut self) -> Vec<Step> {
        self.gathered.take_steps()
    }

    /// Takes an answer that came whole; gives its steps.
    pub fn take_whole(&mut self, answer: Answer) -> Vec<Step> {
        let Answer { message, usage, stop, ending } = answer;
        let said = message.map(Delta::Message);
        let over = match ending {
            Ending::Complete => Some(Delta::End),
            Ending::Failed => Some(Delta::Failure(String::new())),
            Ending::Truncated | Ending::Unread => None,
        };
        for delta in said.into_iter().chain(usage.map(Delta::Usage)).chain(stop.map(Delta::Stop)).chain(over)
        {
            self.free_texts.push(delta, &mut |delta| self.gathered.add(delta));
        }
        self.take_steps()
    }

    /// What the provider said when it failed inside the answer.
    pub fn failure(&self) -> Option<&str> {
        self.gathered.failure.as_deref()
    }

    /// The provider's id of the answer, where the dialect tells a failure by it.
    pub fn id(&self) -> Option<&str> {
        self.gathered.id.as_deref()
    }

    /// Takes the next bytes of the answer.
    pub fn push(&mut self, bytes: &[u8]) {
        let Observer { origin, decoder, free_texts, gathered } = self;
        decoder.push(bytes, |event| {
            origin.dialect.read_event(event, origin, &mut |delta| {
                free_texts.push(delta, &mut |delta| gathered.add(delta));
            });
        });
    }

    /// True once the provider has said that the answer is over: whole, or failed.
    pub fn is_over(&self) -> bool {
        self.gathered.ended || self.gathered.failure.is_some()
    }

    /// True when what was pushed so far ends between two events.
    pub fn is_between_events(&self) -> bool {
        self.decoder.is_between_events()
    }

    /// The answer so far. `at_end` says that the provider closed the stream of its own accord: then a provider that
    /// never says `[DONE]` but gave a reason to stop has said it all. Once.
    pub fn finish(mut self, at_end: bool) -> Answer {
        self.outcome(at_end)
    }

    /// As [`finish`](Self::finish), with the steps that were still to tell.
    pub fn finish_telling(mut self, at_end: bool) -> (Answer, Vec<Step>) {
        let answer = self.outcome(at_end);
        (answer, self.take_steps())
    }

    /// The answer so far, as [`finish`](Self::finish) gives it; the steps that were still to tell are there to be taken,
    /// the end among them only where the answer is complete. Once.
    pub fn outcome(&mut self, at_end: bool) -> Answer {
        let Observer { origin, decoder, free_texts, gathered } = self;
        if at_end {
            decoder.finish(|event| {
                origin.dialect.read_event(event, origin, &mut |delta| {
                    free_texts.push(delta, &mut |delta| gathered.add(delta));
                });
            });
        }
        let said_why =
            at_end && gathered.stop.is_some() && matches!(origin.dialect, Dialect::Chat | Dialect::Google);
        let ending = if gathered.failure.is_some() {
            Ending::Failed
        } else if gathered.ended || said_why {
            Ending::Complete
        } else if at_end && decoder.lost_an_event() {
            Ending::Unread
        } else {
            Ending::Truncated
        };
        if ending == Ending::Complete {
            gathered.tell_end();
        }
        let parts = gathered.settle();
        let mut extra = std::mem::take(&mut gathered.extra);
        extra.retain(|_, value| !value.is_null());
        let message = (!parts.is_empty()).then(|| Message {
            origin: Some(origin.clone()),
            extra,
            ..Message::new(Role::Assistant, parts)
        });
        Answer { message, usage: gathered.usage, stop: gathered.stop.take(), ending }
    }
}
