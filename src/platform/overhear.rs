//! Lets a streamed answer flow to the client by the runtime's own hands, and listens beside it.
//!
//! For answers that nothing has to be taken from and nobody has to be told of before the client is. Each chunk that passes
//! through a Worker's code costs some five times what the runtime needs to hand it on; the bytes that are only listened to
//! are taken up many chunks at a time.
//!
//! Invariant: the client's bytes wait for nobody who listens; a broken answer never ends cleanly; when either side goes,
//! the other is let go too.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::JsCast;
use worker::Delay;

use super::border::{
    AbortController, ClientGone, IdentityTransformStream, Overheard, Read, Watched, now, settled, within,
};
use super::pump::{end_stream, silence};
use crate::carriage::{Carriage, Outcome, Stopped};
use crate::error::Error;

/// What is taken up at once, in bytes.
const MOST_BYTES: u32 = 64 * 1024;
/// How often what lies there is taken up when the answer has come to a sudden end.
const LAST_READS: usize = 64;
/// How long the bytes may lie before they are taken up, in milliseconds: how exactly silence is measured.
const TAKE_UP_EVERY_MS: u64 = 1_000;

/// One answer that flows by.
pub struct Bystander<'a> {
    /// The flow, and who hears it.
    pub overheard: Overheard,
    /// What was read of it before, and when, in Unix milliseconds.
    pub first: Option<(Uint8Array, u64)>,
    /// What the client reads from.
    pub pipe: &'a IdentityTransformStream,
    /// Ends the provider's connection.
    pub controller: &'a AbortController,
    /// Tells when the client leaves.
    pub gone: &'a mut ClientGone,
    /// The longest silence, in milliseconds.
    pub idle_ms: u64,
    /// Hears when bytes have come, in Unix milliseconds.
    pub on_chunk: &'a dyn Fn(u64),
    /// What a client is told whose answer is cut short.
    pub cut_short: &'a Error,
}

impl Bystander<'_> {
    /// Listens until the end; gives what was heard.
    pub async fn run(self, mut carriage: Carriage) -> (Outcome, Stopped) {
        let Bystander { overheard, first, pipe, controller, gone, idle_ms, on_chunk, cut_short } = self;
        // Where listening fails, the flow goes on to its own end.
        let watched = Watched::new(overheard.entry());
        let reader = overheard.reader();
        let heard = Cell::new(now());
        let mut silence = pin!(silence(&heard, idle_ms, None));
        let mut leaving = pin!(gone.wait());
        let mut flow = pin!(settled(Ok(overheard.flow())));
        let mut flowed = None;
        let mut is_said = false;
        if let Some((bytes, at)) = first {
            on_chunk(at);
            carriage.push(&bytes.to_vec());
        }

        let mut stopped = loop {
            let read = pin!(settled(reader.read(&buffer())));
            let length = match select(read, select(leaving.as_mut(), silence.as_mut())).await {
                Either::Left((Ok(read), _)) => {
                    let read: Read = read.unchecked_into();
                    if read.done() {
                        break Stopped::Ended;
                    }
                    heard.set(now());
                    on_chunk(heard.get());
                    let chunk = read.value();
                    carriage.push(&chunk.to_vec());
                    chunk.length()
                }
                // All was said: how the connection ends says nothing of the answer.
                Either::Left((Err(_), _)) if carriage.is_over() => {
                    is_said = true;
                    break Stopped::Ended;
                }
                Either::Left((Err(_), _)) => break Stopped::Cut,
                Either::Right((Either::Right(_), _)) => break Stopped::Silent,
                Either::Right((Either::Left(_), _)) => break Stopped::ClientGone,
            };
            if length == MOST_BYTES || flowed.is_some() {
                continue;
            }
            let pause = Delay::from(Duration::from_millis(TAKE_UP_EVERY_MS));
            let heeded = select(leaving.as_mut(), silence.as_mut());
            match select(select(flow.as_mut(), pause), heeded).await {
                Either::Left((Either::Left((end, _)), _)) => {
                    flowed = Some(end.is_ok());
                    // Where it was the provider who failed, the next read tells.
                    if end.is_err() && is_broken(pipe).await {
                        break Stopped::ClientGone;
                    }
                }
                Either::Left((Either::Right(_), _)) => {}
                Either::Right((Either::Right(_), _)) => break Stopped::Silent,
                Either::Right((Either::Left(_), _)) => break Stopped::ClientGone,
            }
        };
        if stopped == Stopped::Ended && flowed.is_none() {
            // All of it has come; the client may take its time with it.
            flowed = match select(flow.as_mut(), leaving.as_mut()).await {
                Either::Left((end, _)) => Some(end.is_ok()),
                Either::Right(_) => None,
            };
        }
        if is_said && flowed == Some(false) && !is_broken(pipe).await {
            flowed = Some(true);
        }
        if stopped == Stopped::Ended && flowed != Some(true) {
            stopped = Stopped::ClientGone;
        }
        if stopped != Stopped::Ended {
            // What has come and was not taken up yet was said all the same.
            for _ in 0..LAST_READS {
                let Some(Ok(read)) = within(0, settled(reader.read(&buffer()))).await else { break };
                let read: Read = read.unchecked_into();
                if read.done() {
                    break;
                }
                carriage.push(&read.value().to_vec());
            }
            controller.abort();
            let _ = settled(reader.cancel()).await;
        }
        let end = carriage.finish(stopped == Stopped::Ended);
        if stopped == Stopped::Ended && end.cut {
            stopped = Stopped::Cut;
        }
        // The pipe is the flow's until that has ended.
        match (flowed, stopped) {
            (Some(_), _) => {}
            (None, Stopped::ClientGone) => drop(flow.await),
            (None, _) => drop(select(flow, leaving).await),
        }
        watched.ended();
        if let Ok(writer) = pipe.writable().writer() {
            end_stream(&writer, &mut carriage, stopped, cut_short).await;
        }
        (end.outcome, stopped)
    }
}

fn buffer() -> Uint8Array {
    Uint8Array::new_with_length(MOST_BYTES)
}

/// True when the client's end of a pipe is gone.
async fn is_broken(pipe: &IdentityTransformStream) -> bool {
    let Ok(writer) = pipe.writable().writer() else { return false };
    let closed = within(0, settled(Ok(writer.closed()))).await;
    writer.release();
    matches!(closed, Some(Err(_)))
}
