//! Asks providers until one answers, or until nothing is left to ask.
//!
//! Invariant: no route is asked while another's answer may still reach the client; an answer that is not delivered is let
//! go at once.

use std::cell::RefCell;
use std::time::Duration;

use futures::future::{Either, select};
use js_sys::Uint8Array;
use serde_json::json;
use std::pin::pin;
use worker::Delay;

use super::border::{ClientGone, now, random_bytes};
use super::inference::Inference;
use super::log;
use super::response_state::ResponseState;
use super::upstream::{self, Begun, Reading, Unbegun};
use crate::attempts::beginning::Reported;
use crate::attempts::breaker::Breaker;
use crate::attempts::failure::Failure;
use crate::attempts::{Attempts, Next};
use crate::config::Config;
use crate::error::Error;
use crate::headers::{Headers, is_event_stream};
use crate::ledger::failed_attempt::FailedAttempt;
use crate::refusal;
use crate::reply::Lines;
use crate::route::Route;
use crate::tools::rounds::Rounds;
use crate::way::Way;

thread_local! {
    /// What this isolate has learned of the providers.
    static BREAKER: RefCell<Option<Breaker>> = const { RefCell::new(None) };
}

/// A request as one route's provider is to get it.
pub struct Written {
    /// The body.
    pub bytes: Vec<u8>,
    /// The answer's way.
    pub way: Way,
    /// The client's fields that were left out.
    pub ignored: Vec<String>,
    /// What is to be kept of the answer, for Responses.
    pub state: Option<ResponseState>,
    /// The rounds in which the model may call the gateway's tools, where it may.
    pub rounds: Option<Rounds>,
}

/// An answer that has begun, be it a provider's refusal.
pub struct Asked {
    /// The answer.
    pub upstream: Begun,
    /// Its way.
    pub way: Way,
    /// The model that answers, by its provider's name for it.
    pub model: String,
    /// What is to be kept of it, for Responses.
    pub state: Option<ResponseState>,
    /// The rounds in which the model may call the gateway's tools, where it may.
    pub rounds: Option<Rounds>,
    /// Which of the routes it is.
    pub at: usize,
    /// The body that was sent.
    pub sent: Vec<u8>,
    /// The lines of the client's answer: who answered, after how many attempts, what was left out.
    pub lines: Lines,
    /// When it was asked first, in Unix milliseconds.
    pub asked_at: u64,
    /// How often was asked.
    pub attempts: u32,
}

/// Asks the routes in their order; `write` writes the request for one of them and is called once for each that is asked.
/// What the last one answers is given back even where it is a refusal, if it is the client's to see. Errors: 400 and 500
/// of `write` for the first route, 502 and 504 where there was one route only, 503 and 504 that list what was tried, and
/// `ClientGone`.
pub async fn ask<'a>(
    inference: &Inference,
    routes: &[Route<'a>],
    mut write: impl AsyncFnMut(&Route<'a>) -> Result<Written, Error>,
) -> Result<Asked, Error> {
    let config = &inference.incoming.config;
    let deadlines = inference.deadlines;
    let asked_at = now();
    let mut gone = ClientGone::watch(inference.client.clone());
    let mut attempts = Attempts::new(routes, config.upstream_attempts, deadlines.begun_by);
    let mut next = with_breaker(config, |breaker| attempts.begin(breaker, asked_at));
    let mut current: Option<Current<'a>> = None;
    let mut last: Option<Result<Begun, Error>> = None;
    let mut failed: Option<FailedAttempt> = None;
    loop {
        let (at, pause_ms) = match next {
            Next::Ask { route, pause_ms } => (route, pause_ms),
            Next::Deliver => break,
            Next::Fail(error) => {
                note_failed(inference, failed);
                return Err(error);
            }
        };
        // The last attempt is the row itself.
        note_failed(inference, failed.take());
        // What is not delivered is let go before anything else is asked.
        if let Some(Ok(begun)) = last.take() {
            begun.controller.abort();
        }
        if pause_ms > 0 && !paused(&mut gone, pause_ms).await {
            return Err(upstream::client_gone());
        }
        if current.as_ref().is_none_or(|current| current.at != at) {
            let Some(route) = routes.get(at) else { return Err(Error::internal()) };
            if attempts.count() > 1 || at > 0 {
                inference.routed(route);
            }
            match write(route).await {
                Ok(written) => current = Some(Current::new(at, route, written)),
                Err(error) if at == 0 => return Err(error),
                Err(_) => {
                    next = with_breaker(config, |breaker| attempts.leave_out(at, breaker, now()));
                    continue;
                }
            }
        }
        let Some(question) = &current else { return Err(Error::internal()) };
        let (put_at, mut usage) = (now(), None);
        let failure = match question.put(inference, &mut gone, routes.len() > 1).await {
            Ok((begun, Some(reported))) => {
                last = Some(Ok(begun));
                usage = reported.usage;
                reported.failure
            }
            Ok((begun, None)) => match Failure::of_answer(&question.route, begun.status, &begun.lines) {
                None => {
                    with_breaker(config, |breaker| attempts.succeeded(at, breaker));
                    last = Some(Ok(begun));
                    break;
                }
                Some(failure) => {
                    last = Some(told(&question.route, begun));
                    failure
                }
            },
            Err((Unbegun::Gone, _)) => return Err(upstream::client_gone()),
            Err((Unbegun::Failed(failure), waited_ms)) => {
                last = Some(Err(upstream::error_of(&failure, &question.route.provider.name, waited_ms)));
                failure
            }
        };
        failed = Some(FailedAttempt {
            provider: question.route.provider.name.clone(),
            model: question.route.model.clone(),
            failure: failure.word(),
            status: failure.status(),
            ms: now().saturating_sub(put_at),
            usage,
        });
        log::event(
            "attempt_failed",
            json!({
                "request_id": inference.incoming.request_id,
                "provider": question.route.provider.name,
                "attempt": attempts.count(),
                "failure": failure.told(),
            }),
        );
        let random = u32::from_le_bytes(random_bytes::<4>());
        next = with_breaker(config, |breaker| attempts.failed(at, failure, breaker, now(), random));
    }
    let (Some(last), Some(current)) = (last, current) else { return Err(Error::internal()) };
    let upstream = last?;
    let mut lines = inference.incoming.answer_lines.clone();
    lines.add_route(&current.route.provider.name, &current.route.model, attempts.count());
    if !current.ignored.is_empty() {
        lines.add("x-gateway-ignored", &current.ignored.join(", "));
    }
    let Current { at, route, way, state, rounds, bytes: sent, .. } = current;
    let attempts = attempts.count();
    Ok(Asked { upstream, way, model: route.model, state, rounds, at, sent, lines, asked_at, attempts })
}

/// The question that is being put.
struct Current<'a> {
    at: usize,
    route: Route<'a>,
    bytes: Vec<u8>,
    body: Uint8Array,
    way: Way,
    ignored: Vec<String>,
    state: Option<ResponseState>,
    rounds: Option<Rounds>,
}

impl<'a> Current<'a> {
    fn new(at: usize, route: &Route<'a>, written: Written) -> Self {
        let Written { bytes, way, ignored, state, rounds } = written;
        let route = Route { dialect: way.target.dialect, ..route.clone() };
        Current { at, route, body: Uint8Array::from(bytes.as_slice()), bytes, way, ignored, state, rounds }
    }

    /// Puts it once. A stream has begun with its first byte, a whole answer with its head, or with all of it where it is read
    /// anyway. Gives also the error that the provider reports in the place of an answer. Errors: why it did not begin, and
    /// after how many milliseconds nobody would have waited any longer.
    async fn put(
        &self,
        inference: &Inference,
        gone: &mut ClientGone,
        has_others: bool,
    ) -> Result<(Begun, Option<Reported>), (Unbegun, u32)> {
        let is_taken_from = self.way.frame.is_some() || self.way.hides_usage || self.state.is_some();
        let sent_at = now();
        let allowed = inference.deadlines.attempt_ms(sent_at, self.way.streams);
        // What nobody wants to know anything of goes to the client unseen.
        let is_read = has_others || is_taken_from || inference.meter.counts();
        let reading = is_read.then(|| Reading {
            most: inference.incoming.config.max_answer_bytes,
            but_streams: self.way.streams,
            ms: inference.deadlines.rest_ms(sent_at),
        });
        let question = upstream::Question {
            operation: inference.operation,
            headers: inference.incoming.headers(),
            body: &self.body,
            stream: self.way.streams_upstream,
            reading,
        };
        inference.meter.send(&self.bytes);
        let opened = upstream::open(&self.route, &question, &inference.client, allowed).await;
        let mut begun = opened.map_err(|unbegun| (unbegun, allowed))?;
        let is_stream = is_event_stream(Headers::from_lines(&begun.lines));
        let succeeded = (200..300).contains(&begun.status);
        let is_awaited = is_read || inference.deadlines.awaits_first_token;
        let mut reported = begun.reported();
        if succeeded && is_stream && self.way.streams && is_awaited {
            let left = inference.deadlines.attempt_ms(now(), true);
            let left = left.min(allowed.saturating_sub(u32::try_from(now() - sent_at).unwrap_or(0)));
            reported = begun.wait_for_first(gone, left).await.map_err(|unbegun| (unbegun, allowed))?;
        }
        Ok((begun, reported))
    }
}

/// Tells the account of an attempt whose answer goes to nobody.
fn note_failed(inference: &Inference, failed: Option<FailedAttempt>) {
    if let Some(failed) = failed {
        inference.meter.note(|account| account.attempt_failed(failed));
    }
}

/// What the client is told of an answer that is no success: its own words, unless they must not reach it.
fn told(route: &Route<'_>, begun: Begun) -> Result<Begun, Error> {
    match refusal::refusal(route, begun.status, Headers::from_lines(&begun.lines)) {
        Some(error) => {
            begun.controller.abort();
            Err(error)
        }
        None => Ok(begun),
    }
}

/// False when the client left meanwhile.
async fn paused(gone: &mut ClientGone, ms: u64) -> bool {
    let pause = Delay::from(Duration::from_millis(ms));
    matches!(select(pin!(pause), pin!(gone.wait())).await, Either::Left(_))
}

fn with_breaker<T>(config: &Config, work: impl FnOnce(&mut Breaker) -> T) -> T {
    BREAKER.with_borrow_mut(|breaker| {
        work(breaker.get_or_insert_with(|| Breaker::new(config.circuit_failures, config.circuit_open_ms)))
    })
}
