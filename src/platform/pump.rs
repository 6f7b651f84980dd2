//! Carries a streamed answer from the provider to the client while an observer looks on.
//!
//! Invariant: the client gets the very chunks that the provider sent, each as soon as it is there; a broken answer never
//! ends cleanly; when either side goes, the other is let go too.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use worker::Delay;

use super::border::{AbortController, ClientGone, Read, Readable, Writer, now, settled, unwatch, watch};
use crate::observe::Observer;
use crate::turn::{Answer, Ending};

/// Why the pump stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The provider closed the stream and said so, or failed in its own words.
    Ended,
    /// The provider's bytes stopped too early, or it was silent for too long.
    Cut,
    /// The client left.
    ClientGone,
}

impl Stopped {
    /// Who broke the stream, if anybody did.
    pub fn by(self) -> Option<&'static str> {
        match self {
            Stopped::Ended => None,
            Stopped::Cut => Some("provider"),
            Stopped::ClientGone => Some("client"),
        }
    }
}

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
    /// The longest silence, in milliseconds.
    pub idle_ms: u64,
    /// What to say to a client whose answer is cut short.
    pub last_words: &'a str,
}

impl Pump<'_> {
    /// Runs until the end. `on_answer` gets the answer once, as soon as it is known and before the bytes that complete
    /// it reach the client; so a client that has seen the end finds it remembered.
    pub async fn run(self, observer: Observer, on_answer: impl AsyncFnOnce(Answer)) -> Stopped {
        let Pump { from, to, controller, gone, idle_ms, last_words } = self;
        let entry = watch(to, controller);
        let mut watching = Some((observer, on_answer));

        let heard = Cell::new(now());
        let silence = pin!(async {
            loop {
                let left = (heard.get() + idle_ms).saturating_sub(now());
                if left == 0 {
                    return;
                }
                Delay::from(Duration::from_millis(left)).await;
            }
        });
        let closed = pin!(settled(Ok(to.closed())));
        let leaving = pin!(gone.wait());
        let mut interrupted = pin!(select(select(leaving, closed), silence));

        let reader = from.reader();
        let mut stopped = loop {
            let Ok(reader) = &reader else { break Stopped::Cut };
            let chunk = match select(pin!(settled(reader.read())), interrupted.as_mut()).await {
                Either::Left((Ok(read), _)) => {
                    let read: Read = read.unchecked_into();
                    if read.done() {
                        break Stopped::Ended;
                    }
                    read.value()
                }
                Either::Left((Err(_), _)) | Either::Right((Either::Right(_), _)) => break Stopped::Cut,
                Either::Right((Either::Left(_), _)) => break Stopped::ClientGone,
            };
            heard.set(now());
            if let Some((observer, _)) = &mut watching {
                observer.push(&chunk.to_vec());
                if observer.is_over()
                    && let Some((observer, on_answer)) = watching.take()
                {
                    on_answer(observer.finish(false)).await;
                }
            }
            match select(pin!(settled(to.write(&chunk))), interrupted.as_mut()).await {
                Either::Left((Ok(_), _)) => {}
                _ => break Stopped::ClientGone,
            }
        };

        if stopped != Stopped::Ended {
            controller.abort();
            if let Ok(reader) = &reader {
                let _ = settled(reader.cancel()).await;
            }
        }
        let between_events = watching.as_ref().is_none_or(|(observer, _)| observer.is_between_events());
        if let Some((observer, on_answer)) = watching.take() {
            let answer = observer.finish(stopped == Stopped::Ended);
            if stopped == Stopped::Ended && answer.ending == Ending::Truncated {
                stopped = Stopped::Cut;
            }
            on_answer(answer).await;
        }
        match stopped {
            Stopped::Ended => drop(settled(to.close()).await),
            Stopped::Cut => {
                // Behind half an event the words would become part of it.
                if between_events {
                    // A write is done when it is taken from the pipe, and what is still on its way there is lost with an
                    // abort: only when the line behind the words is taken have the words themselves gone out.
                    for words in [last_words, "\n"] {
                        let _ = settled(to.write(&Uint8Array::from(words.as_bytes()))).await;
                    }
                }
                let _ = settled(to.abort(&JsValue::from_str("the provider broke off"))).await;
            }
            Stopped::ClientGone => drop(settled(to.abort(&JsValue::from_str("the client left"))).await),
        }
        unwatch(&entry);
        stopped
    }
}
