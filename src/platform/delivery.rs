//! An answer that has begun, on its way to the client: streamed or whole, as it came or translated.
//!
//! Invariant: what was said is reported before the client can know that it is over; an answer that broke off is never
//! delivered as a whole one.

use futures::future::{LocalBoxFuture, join};
use js_sys::Uint8Array;
use serde_json::json;
use wasm_bindgen::{JsCast, JsValue};

use super::answer_turn::Reply;
use super::border::{ClientGone, IdentityTransformStream, Readable, Unread, body_of, now, overhear, respond};
use super::inference::Inference;
use super::overhear::Bystander;
use super::pump::Pump;
use super::report::{Report, done_within};
use super::response_state::ResponseState;
use super::upstream::First;
use super::{log, upstream};
use crate::carriage::{Carriage, Outcome, Stopped};
use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::headers::{Headers, is_event_stream};
use crate::memory::store::TurnStatus;
use crate::observe::Observer;
use crate::operation::Operation;
use crate::refusal::{cut_short, failed_inside};
use crate::reply::Lines;
use crate::translate::StreamTranslator;
use crate::turn::Ending;
use crate::way::{Way, Whole, Written};

/// An answer that has begun.
pub struct Delivery {
    /// The provider's answer.
    pub upstream: upstream::Begun,
    /// Its way.
    pub way: Way,
    /// The header lines of the client's answer, but for its content type where it is translated.
    pub lines: Lines,
    /// What the thread is to be told, where one remembers.
    pub report: Option<Report>,
    /// What is kept of the response, for Responses.
    pub state: Option<ResponseState>,
}

/// Who is to be told how the answer ended.
pub struct Listeners {
    /// The thread, where one remembers.
    pub report: Option<Report>,
    /// What is kept of the response, for Responses.
    pub state: Option<ResponseState>,
}

impl Listeners {
    /// Tells them, for as long as it takes.
    pub fn tell(self, outcome: Outcome) -> LocalBoxFuture<'static, ()> {
        let Listeners { report, state } = self;
        let Outcome { answer, response } = outcome;
        let told = async move {
            match (report, answer) {
                (Some(report), Some(answer)) => report.with_answer(answer).send().await,
                (Some(report), None) => report.send().await,
                (None, _) => {}
            }
        };
        let kept = async move {
            if let (Some(state), Some(response)) = (state, response) {
                state.keep(response).await;
            }
        };
        Box::pin(async move {
            join(told, kept).await;
        })
    }
}

impl Delivery {
    /// Delivers the answer, and reports how it ended.
    pub fn run(self, inference: &Inference, reply: Reply) -> LocalBoxFuture<'_, ()> {
        Box::pin(self.deliver(inference, reply))
    }

    async fn deliver(self, inference: &Inference, reply: Reply) {
        let status = self.upstream.status;
        let is_stream = is_event_stream(Headers::from_lines(&self.upstream.lines));
        let stores = self.report.as_ref().is_some_and(Report::stores)
            || self.state.as_ref().is_some_and(ResponseState::stores);
        let succeeded = (200..300).contains(&status);
        let watched = stores || self.way.hides_usage || inference.meter.counts();
        if self.way.frame.is_none()
            && self.upstream.first.is_none()
            && self.upstream.whole.is_none()
            && (!watched || !succeeded)
            && self.way.streams == self.way.streams_upstream
        {
            // Nobody wants to know what it says, so nobody has to watch it.
            let body = body_of(&self.upstream.answer);
            let _ = reply.send(respond(status, self.lines.as_str(), &body).map_err(|_| Error::internal()));
            let settled = async {
                if succeeded {
                    inference.meter.pass(status).await;
                } else {
                    inference.meter.end(status, Stopped::Ended).await;
                }
            };
            let reported = async {
                if let Some(report) = self.report {
                    report.send().await;
                }
            };
            join(settled, reported).await;
            return;
        }
        let mut gone = ClientGone::watch(inference.client.clone());
        if succeeded && is_stream && self.way.streams {
            self.stream(inference, &mut gone, reply).await;
        } else {
            self.whole(inference, &mut gone, reply).await;
        }
    }

    async fn stream(self, inference: &Inference, gone: &mut ClientGone, reply: Reply) {
        let Delivery { upstream, way, mut lines, report, state } = self;
        let body = body_of(&upstream.answer);
        let provider = way.target.provider.clone();
        let Some(pipe) = IdentityTransformStream::new().ok().filter(|_| !body.is_null()) else {
            return refuse(cut_short(&provider), report, inference, reply).await;
        };
        let stores = report.as_ref().is_some_and(Report::stores);
        let keeps = state.as_ref().is_some_and(ResponseState::stores);
        // What takes nothing from the answer and tells nobody before the client need not stand in its way.
        let must_end = inference.deadlines.over_by.is_some();
        let flows_by = way.frame.is_none() && !way.hides_usage && !stores && !keeps && !must_end;
        let carriage = match way.frame {
            Some(frame) => {
                lines.add_event_stream();
                Carriage::translated(StreamTranslator::new(way.client, frame), &provider, failed_inside)
            }
            None => {
                let observer =
                    (stores || inference.meter.counts()).then(|| Observer::new(way.target.clone()));
                Carriage::native(way.client, observer, way.hides_usage, keeps)
            }
        };
        let client = respond(upstream.status, lines.as_str(), &pipe.readable());
        let idle_ms = u64::from(inference.deadlines.idle_ms);
        #[cfg(feature = "fault-injection")]
        let come = std::cell::Cell::new(0);
        let on_chunk = |at| {
            #[cfg(feature = "fault-injection")]
            super::fault::strike_stream(inference.incoming.headers().get("x-fault"), &come);
            inference.meter.note(|account| account.first_byte(at));
        };
        let (controller, cut_short) = (&upstream.controller, &cut_short(&provider));
        let listeners = Listeners { report, state };
        let mut late = None;
        let stopped = if flows_by {
            let first = upstream.first.map(|First { reader, read, at }| {
                reader.release();
                (read.value(), at)
            });
            let bytes = first.as_ref().map(|(bytes, _)| bytes);
            let Ok(overheard) = overhear(&body, &pipe, bytes) else {
                return refuse(cut_short.clone(), listeners.report, inference, reply).await;
            };
            let _ = reply.send(client.map_err(|_| Error::internal()));
            let bystander = Bystander {
                overheard,
                first,
                pipe: &pipe,
                controller,
                gone,
                idle_ms,
                on_chunk: &on_chunk,
                cut_short,
            };
            let (outcome, stopped) = bystander.run(carriage).await;
            inference.hear(&outcome);
            late = Some(listeners.tell(outcome));
            stopped
        } else {
            let Ok(writer) = pipe.writable().writer() else {
                return refuse(cut_short.clone(), listeners.report, inference, reply).await;
            };
            let _ = reply.send(client.map_err(|_| Error::internal()));
            let deadline = inference.incoming.config.memory_deadline_ms;
            let pump = Pump {
                from: body.unchecked_ref::<Readable>(),
                to: &writer,
                controller,
                gone,
                first: upstream.first,
                idle_ms,
                over_by: inference.deadlines.over_by,
                on_chunk: &on_chunk,
                cut_short,
            };
            pump.run(carriage, async |outcome| {
                inference.hear(&outcome);
                late = done_within(listeners.tell(outcome), deadline).await;
            })
            .await
        };
        if let Some(side) = stopped.by() {
            log::event("stream_broken", json!({ "request_id": inference.incoming.request_id, "by": side }));
        }
        let late = async {
            if let Some(late) = late {
                late.await;
            }
        };
        join(late, inference.meter.end(upstream.status, stopped)).await;
    }

    async fn whole(self, inference: &Inference, gone: &mut ClientGone, reply: Reply) {
        let Delivery { mut upstream, way, lines, report, state } = self;
        let client = way.client;
        let status = upstream.status;
        let timeout = inference.deadlines.rest_ms(now());
        let provider = way.target.provider.clone();
        let most = inference.incoming.config.max_answer_bytes;
        let bytes = match upstream.take_whole(gone, most, timeout).await {
            Ok(bytes) => bytes,
            Err(Unread::Gone) => {
                let report = report.map(|report| report.with_status(TurnStatus::Incomplete));
                let told = Listeners { report, state: None }.tell(Outcome::default());
                join(told, inference.meter.end(status, Stopped::ClientGone)).await;
                return;
            }
            Err(why) => {
                let error = upstream::unread(why, &provider, most, timeout);
                return refuse(error, report, inference, reply).await;
            }
        };
        let is_stream = is_event_stream(Headers::from_lines(&upstream.lines));
        let Whole { outcome, reply: written } = match inference.operation {
            Operation::Answer(_) => way.read_whole(status, is_stream, &bytes.to_vec()),
            Operation::CountTokens | Operation::Embeddings => {
                inference.meter.note(|account| account.hear_counts(&bytes.to_vec()));
                Whole { outcome: Outcome::default(), reply: Ok(Written::Same) }
            }
        };
        inference.hear(&outcome);
        let listeners = Listeners { report, state };
        let received = Some(Received { bytes, is_stream });
        InOnePiece { client, status, lines, written, outcome, listeners, received }
            .send(inference, reply)
            .await;
    }
}

/// The provider's own body.
struct Received {
    bytes: Uint8Array,
    is_stream: bool,
}

/// An answer that is over, and goes to its client in one piece.
pub struct InOnePiece {
    client: Dialect,
    status: u16,
    lines: Lines,
    written: Result<Written, Error>,
    outcome: Outcome,
    listeners: Listeners,
    received: Option<Received>,
}

impl InOnePiece {
    /// An answer that the gateway put together.
    pub fn made(client: Dialect, lines: Lines, whole: Whole, listeners: Listeners) -> Self {
        let Whole { outcome, reply: written } = whole;
        InOnePiece { client, status: 200, lines, written, outcome, listeners, received: None }
    }

    /// Tells those who listen, then the client; keeps it for a client that sends its request again.
    pub async fn send(self, inference: &Inference, reply: Reply) {
        let InOnePiece { client, status, mut lines, written, outcome, listeners, received } = self;
        let error = written.as_ref().err().cloned();
        let is_complete = (200..300).contains(&status)
            && outcome.answer.as_ref().is_some_and(|answer| answer.ending == Ending::Complete);
        let whole = match (&written, &received) {
            (Ok(Written::Same), Some(Received { bytes, is_stream: false })) if is_complete => {
                String::from_utf8(bytes.to_vec()).ok()
            }
            (Ok(Written::Json(text)), _) if is_complete => Some(text.clone()),
            _ => None,
        };
        let answer = match written {
            Ok(Written::Same) => match &received {
                Some(Received { bytes, .. }) => answer(status, &lines, bytes.as_ref()),
                None => Err(Error::internal()),
            },
            Ok(Written::Json(text)) => {
                lines.add("content-type", "application/json");
                answer(status, &lines, &JsValue::from_str(&text))
            }
            Ok(Written::Events(text)) => {
                lines.add_event_stream();
                answer(status, &lines, &JsValue::from_str(&text))
            }
            Err(error) if matches!(error.kind(), Kind::Refused(_)) => {
                // The provider's own words and its headers, in the client's form.
                lines.add("content-type", "application/json");
                let body = error.body_for(Some(client), &inference.incoming.request_id).to_string();
                answer(error.status(), &lines, &JsValue::from_str(&body))
            }
            Err(error) => Err(error),
        };
        let deadline = inference.incoming.config.memory_deadline_ms;
        let keeper = whole.and_then(|body| listeners.report.as_ref()?.keeper_of(&body));
        let told = listeners.tell(outcome);
        let told = Box::pin(async move {
            told.await;
            if let Some(keeper) = keeper {
                keeper.await;
            }
        });
        let late = done_within(told, deadline).await;
        let _ = reply.send(answer);
        let late = async {
            if let Some(late) = late {
                late.await;
            }
        };
        let settled = async {
            match error {
                Some(error) => inference.meter.refuse(&error).await,
                None => inference.meter.end(status, Stopped::Ended).await,
            }
        };
        join(late, settled).await;
    }
}

fn answer(status: u16, lines: &Lines, body: &JsValue) -> Result<web_sys::Response, Error> {
    respond(status, lines.as_str(), body).map_err(|_| Error::internal())
}

/// The answer cannot be delivered.
async fn refuse(error: Error, report: Option<Report>, inference: &Inference, reply: Reply) {
    let _ = reply.send(Err(error.clone()));
    let told = Listeners { report, state: None }.tell(Outcome::default());
    join(told, inference.meter.refuse(&error)).await;
}
