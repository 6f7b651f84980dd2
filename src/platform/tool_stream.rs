//! The client's end of a streamed answer of several rounds.
//!
//! Invariant: the client gets each word as soon as it is there; a broken answer never ends cleanly; while nothing is said,
//! something that says nothing keeps the connection alive.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::JsCast;
use worker::Delay;

use super::answer_turn::Reply;
use super::border::{
    ClientGone, IdentityTransformStream, Watched, Writer, body_of, now, respond, settled, watch,
};
use super::conveyor::{Conveyor, Standstill, Taken};
use super::inference::Inference;
use super::pump::{end_with, interruption, reading};
use super::upstream::Begun;
use crate::carriage::Stopped;
use crate::error::Error;
use crate::reply::Lines;
use crate::tools::rounds::Rounds;
use crate::tools::rounds::stream::{AnswerStream, RoundEnd};
use crate::turn::{Answer, Ending};

/// How often a client that waits is told that somebody is still there.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// A client that is given an answer as it is said.
pub struct ClientStream {
    to: Writer,
    stream: AnswerStream,
    watched: Option<Watched>,
}

impl ClientStream {
    /// Begins the answer. Errors: 500, which the client still has to be told.
    pub fn open(stream: AnswerStream, lines: &Lines, reply: Reply) -> Result<Self, (Error, Reply)> {
        let opened = IdentityTransformStream::new().and_then(|pipe| {
            let to = pipe.writable().writer()?;
            Ok((respond(200, lines.as_str(), &pipe.readable())?, to))
        });
        let Ok((answer, to)) = opened else { return Err((Error::internal(), reply)) };
        let _ = reply.send(Ok(answer));
        let mut client = ClientStream { to, stream, watched: None };
        let begin = client.stream.begin();
        client.write_at_leisure(&begin);
        Ok(client)
    }

    /// Passes on a round as it comes; gives what was said, what the provider said if it failed, and how it stopped.
    pub async fn read_round(
        &mut self,
        inference: &Inference,
        upstream: &mut Begun,
        gone: &mut ClientGone,
        rounds: &Rounds,
    ) -> (Answer, Option<String>, Stopped) {
        self.unwatch();
        self.watched = Some(Watched::new(watch(&self.to, &upstream.controller)));
        let ClientStream { to, stream, .. } = self;
        let heard = Cell::new(now());
        let (idle_ms, over_by) = (u64::from(inference.deadlines.idle_ms), inference.deadlines.over_by);
        let mut interrupted = pin!(interruption(to, gone, &heard, idle_ms, over_by).fuse());

        let body = body_of(&upstream.answer);
        let (reader, held, mut came_at) = reading(body.unchecked_ref(), upstream.first.take());
        let mut at_end = false;
        let mut closing = String::new();
        let mut stopped = 'read: {
            let Some(reader) = &reader else { break 'read Stopped::Cut };
            let conveyor = Conveyor::new(reader, held, to);
            let mut words = String::new();
            let moving = conveyor.run(|chunk| {
                heard.set(came_at.take().unwrap_or_else(now));
                inference.meter.note(|account| account.first_byte(heard.get()));
                words = stream.push(&chunk.to_vec(), rounds);
                match stream.is_round_over() {
                    true => Taken::Paused,
                    false => Taken::Other(Uint8Array::from(words.as_bytes())),
                }
            });
            let stands = match select(pin!(moving), interrupted.as_mut()).await {
                Either::Left((stands, _)) => stands,
                // Nobody takes what was said: it is not the provider who is silent.
                Either::Right((Stopped::Silent, _)) if !conveyor.is_writing() => {
                    break 'read Stopped::Silent;
                }
                Either::Right(_) => break 'read Stopped::ClientGone,
            };
            match stands {
                Standstill::Ended => {
                    at_end = true;
                    Stopped::Ended
                }
                Standstill::Paused => {
                    // Nothing of substance can follow; a provider that keeps the connection open must not keep the client.
                    let _ = reader.cancel();
                    closing = words;
                    Stopped::Ended
                }
                Standstill::Cut => Stopped::Cut,
                Standstill::ClientGone => Stopped::ClientGone,
                Standstill::Failed => Stopped::Failed,
            }
        };
        if stopped != Stopped::Ended {
            upstream.controller.abort();
            if let Some(reader) = &reader {
                let _ = settled(reader.cancel()).await;
            }
        }
        let RoundEnd { answer, failure, last } = stream.end_round(at_end, rounds);
        let last = closing + &last;
        if stopped == Stopped::Ended && !matches!(answer.ending, Ending::Complete | Ending::Failed) {
            stopped = Stopped::Cut;
        }
        if stopped != Stopped::ClientGone && !last.is_empty() {
            let written = settled(to.write(&Uint8Array::from(last.as_bytes())));
            if !matches!(select(pin!(written), interrupted.as_mut()).await, Either::Left((Ok(_), _))) {
                stopped = Stopped::ClientGone;
            }
        }
        (answer, failure, stopped)
    }

    /// Passes on a round that came whole, though a stream was asked for.
    pub fn take_whole(&mut self, answer: &Answer, rounds: &Rounds) {
        let mut words = self.stream.take_whole(answer, rounds);
        words.push_str(&self.stream.end_round(true, rounds).last);
        self.write_at_leisure(&words);
    }

    /// Waits for work to be done, and keeps the client alive meanwhile; `None` when it left.
    pub async fn wait<T>(&self, work: impl Future<Output = T>, gone: &mut ClientGone) -> Option<T> {
        let mut work = pin!(work);
        let closed = pin!(settled(Ok(self.to.closed())));
        let leaving = pin!(gone.wait());
        let mut left = pin!(select(leaving, closed));
        loop {
            self.write_at_leisure(self.stream.keep_alive());
            let pause = pin!(Delay::from(KEEP_ALIVE_EVERY));
            match select(select(work.as_mut(), pause), left.as_mut()).await {
                Either::Left((Either::Left((done, _)), _)) => return Some(done),
                Either::Left((Either::Right(_), _)) => {}
                Either::Right(_) => return None,
            }
        }
    }

    /// The stream, which writes how the answer ends.
    pub fn stream(&mut self) -> &mut AnswerStream {
        &mut self.stream
    }

    /// Ends the answer: with `last`, where it ended as it should.
    pub async fn end(mut self, stopped: Stopped, last: &str) {
        if stopped == Stopped::Ended && !last.is_empty() {
            let _ = settled(self.to.write(&Uint8Array::from(last.as_bytes()))).await;
        }
        end_with(&self.to, stopped, last).await;
        self.unwatch();
    }

    /// Not awaited: the next write waits for it, and nobody else need.
    fn write_at_leisure(&self, words: &str) {
        if !words.is_empty() {
            let _ = self.to.write(&Uint8Array::from(words.as_bytes()));
        }
    }

    fn unwatch(&mut self) {
        if let Some(watched) = self.watched.take() {
            watched.ended();
        }
    }
}
