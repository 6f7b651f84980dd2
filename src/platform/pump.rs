//! Carries a streamed answer from the provider to the client.
//!
//! Invariant: the client gets each chunk within two milliseconds, as it came or as the carriage made it; a broken answer never
//! ends cleanly; when either side goes, the other is let go too.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use worker::Delay;

use super::border::{
    AbortController, ClientGone, Read, Readable, Reader, Watched, Writer, now, settled, watch,
};
use super::conveyor::{Conveyor, Standstill, Taken};
use super::unwind::{attempt, caught};
use super::upstream::First;
use crate::carriage::{Carriage, Carried, Outcome, Stopped};
use crate::error::Error;

/// One answer on its way.
pub struct Pump<'a> {
    /// The provider's body.
    pub from: &'a Readable,
    /// The client's end.
    pub to: &'a Writer,
    /// Ends the provider's connection.
    pub controller: &'a AbortController,
    /// Tells when the client leaves.
    pub gone: &'a mut ClientGone,
    /// The first piece of the body, where it was waited for already.
    pub first: Option<First>,
    /// The longest silence, in milliseconds.
    pub idle_ms: u64,
    /// Until when all must be over, in Unix milliseconds.
    pub over_by: Option<u64>,
    /// Hears when a chunk has come, in Unix milliseconds.
    pub on_chunk: &'a dyn Fn(u64),
    /// What a client is told whose answer is cut short.
    pub cut_short: &'a Error,
}

impl Pump<'_> {
    /// Runs until the end. `on_end` gets the outcome once, as soon as it is known and before the bytes that complete the
    /// answer reach the client; so a client that has seen the end finds it remembered.
    pub async fn run(self, mut carriage: Carriage, on_end: impl AsyncFnOnce(Outcome)) -> Stopped {
        let Pump { from, to, controller, gone, first: held, idle_ms, over_by, on_chunk, cut_short } = self;
        let watched = Watched::new(watch(to, controller));
        let mut on_end = Some(on_end);

        let heard = Cell::new(now());
        let mut interrupted = pin!(interruption(to, gone, &heard, idle_ms, over_by).fuse());

        let first = carriage.begin();
        if !first.is_empty() {
            // Not awaited: the next write waits for it, and the provider need not.
            let _ = to.write(&Uint8Array::from(first.as_slice()));
        }
        let (reader, held, mut came_at) = reading(from, held);
        let carrying = caught(async {
            let Some(reader) = &reader else { return Stopped::Cut };
            let conveyor = Conveyor::new(reader, held, to);
            loop {
                // What completes the answer, and is held until its end is known.
                let mut closing = None;
                let moving = conveyor.run(|chunk| {
                    heard.set(came_at.take().unwrap_or_else(now));
                    on_chunk(heard.get());
                    let carried = carriage.push(&chunk.to_vec());
                    if carriage.is_over() && on_end.is_some() {
                        closing = Some((chunk, carried));
                        return Taken::Paused;
                    }
                    match carried {
                        Carried::Same => Taken::Same,
                        Carried::Other(bytes) => Taken::Other(Uint8Array::from(bytes.as_slice())),
                    }
                });
                let stands = match select(pin!(moving), interrupted.as_mut()).await {
                    Either::Left((stands, _)) => Some(stands),
                    // Nobody takes what was said: it is not the provider who is silent.
                    Either::Right((Stopped::Silent, _)) if !conveyor.is_writing() => break Stopped::Silent,
                    Either::Right(_) => None,
                };
                match stands {
                    Some(Standstill::Paused) => {}
                    Some(Standstill::Ended) => break Stopped::Ended,
                    // All was said: how the connection ends says nothing of the answer.
                    Some(Standstill::Cut) if carriage.is_finished() => break Stopped::Ended,
                    Some(Standstill::Cut) => break Stopped::Cut,
                    Some(Standstill::Failed) => break Stopped::Failed,
                    Some(Standstill::ClientGone) | None => break Stopped::ClientGone,
                }
                let (Some((chunk, carried)), Some(on_end)) = (closing, on_end.take()) else {
                    break Stopped::Failed;
                };
                let end = carriage.finish(false);
                on_end(end.outcome).await;
                let chunk = match carried {
                    Carried::Same => chunk,
                    Carried::Other(mut bytes) => {
                        bytes.extend_from_slice(&end.last);
                        Uint8Array::from(bytes.as_slice())
                    }
                };
                if chunk.length() > 0 {
                    match select(pin!(settled(to.write(&chunk))), interrupted.as_mut()).await {
                        Either::Left((Ok(_), _)) => {}
                        _ => break Stopped::ClientGone,
                    }
                }
                if carriage.is_done() {
                    // Nothing of substance can follow; a provider that keeps the connection open must not keep the client.
                    let _ = reader.cancel();
                    break Stopped::Ended;
                }
            }
        });
        let mut stopped = carrying.await.unwrap_or(Stopped::Failed);

        if stopped != Stopped::Ended {
            controller.abort();
            if let Some(reader) = &reader {
                let _ = settled(reader.cancel()).await;
            }
        }
        // Where it failed, what it knows may be half of something; what can still be said of it is.
        let mut last = attempt(|| carriage.flush()).unwrap_or_default();
        if let Some(on_end) = on_end.take() {
            match attempt(|| carriage.finish(stopped == Stopped::Ended)) {
                Some(end) => {
                    if stopped == Stopped::Ended && end.cut {
                        stopped = Stopped::Cut;
                    }
                    last.extend_from_slice(&end.last);
                    on_end(end.outcome).await;
                }
                None => {
                    stopped = Stopped::Failed;
                    on_end(Outcome::default()).await;
                }
            }
        }
        if stopped != Stopped::ClientGone && !last.is_empty() {
            let _ = settled(to.write(&Uint8Array::from(last.as_slice()))).await;
        }
        end_stream(to, &mut carriage, stopped, cut_short).await;
        watched.ended();
        stopped
    }
}

/// Who reads a body on, with the piece of it that was read already and when that came, in Unix milliseconds. Nobody, where the body
/// cannot be read.
pub fn reading(from: &Readable, first: Option<First>) -> (Option<Reader>, Option<Read>, Option<u64>) {
    match first {
        Some(First { reader, read, at }) => (Some(reader), Some(read), Some(at)),
        None => (from.reader().ok(), None, None),
    }
}

/// Waits until a stream has to be given up: its client has left, or there was silence for too long.
pub async fn interruption(
    to: &Writer,
    gone: &mut ClientGone,
    heard: &Cell<u64>,
    idle_ms: u64,
    over_by: Option<u64>,
) -> Stopped {
    let closed = pin!(settled(Ok(to.closed())));
    let leaving = pin!(gone.wait());
    match select(select(leaving, closed), pin!(silence(heard, idle_ms, over_by))).await {
        Either::Left(_) => Stopped::ClientGone,
        Either::Right(_) => Stopped::Silent,
    }
}

/// Waits until nothing was heard for so many milliseconds, or until all must be over.
pub async fn silence(heard: &Cell<u64>, idle_ms: u64, over_by: Option<u64>) {
    loop {
        let until = heard.get() + idle_ms;
        let left = over_by.map_or(until, |by| until.min(by)).saturating_sub(now());
        if left == 0 {
            return;
        }
        Delay::from(Duration::from_millis(left)).await;
    }
}

/// Ends what the client reads as the answer ended: in its own words where it broke off, and never cleanly then.
pub async fn end_stream(to: &Writer, carriage: &mut Carriage, stopped: Stopped, cut_short: &Error) {
    let words = match stopped {
        Stopped::Cut | Stopped::Silent => attempt(|| carriage.fail(cut_short)),
        Stopped::Failed => attempt(|| carriage.fail(&Error::internal())),
        Stopped::Ended | Stopped::ClientGone => None,
    };
    let words = words.unwrap_or_default();
    end_with(to, stopped, &words).await;
}

/// Ends what the client reads as the answer ended; `words` say that it broke off.
pub async fn end_with(to: &Writer, stopped: Stopped, words: &str) {
    match stopped {
        Stopped::Ended => drop(settled(to.close()).await),
        Stopped::Cut | Stopped::Silent | Stopped::Failed => {
            if !words.is_empty() {
                // A write is done when it is taken from the pipe, and what is still on its way there is lost with an
                // abort: only when the line behind the words is taken have the words themselves gone out.
                for words in [words, "\n"] {
                    let _ = settled(to.write(&Uint8Array::from(words.as_bytes()))).await;
                }
            }
            let _ = settled(to.abort(&JsValue::from_str("the answer broke off"))).await;
        }
        Stopped::ClientGone => drop(settled(to.abort(&JsValue::from_str("the client left"))).await),
    }
}
