//! Searches the web through the service that the deployment has chosen.
//!
//! Invariant: no more of an answer is read than has room in memory, no redirect is followed with the key, and what one
//! project found is never another's.

use std::cell::RefCell;

use serde_json::json;
use wasm_bindgen::{JsCast, JsValue};

use super::border::{AbortController, Readable, Sent, body_of, now, send, settled, within};
use super::gateway_worker::Incoming;
use super::log;
use super::upstream::USER_AGENT;
use crate::cache::ExpiringCache;
use crate::keys::Principal;
use crate::reply::Lines;
use crate::tools::outcome::{Citation, ToolOutcome};
use crate::tools::web_search::{Asked, back_end::BackEnd, back_end::Found, failure, fit, outcome};

/// The longest answer that is read, in bytes; some 100 times what eight results take.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// How long results are kept, in milliseconds.
const CACHE_MS: u64 = 5 * 60 * 1_000;
/// How many questions' results an isolate keeps; each some ten kilobytes.
const CACHED: usize = 128;

thread_local! {
    static CACHE: RefCell<ExpiringCache<(String, Asked), Vec<Citation>>> = RefCell::new(ExpiringCache::new(CACHED));
}

/// Why there are no results.
enum Failed {
    /// The service answered with this status.
    Refused(u16),
    /// It could not be reached, or not within the deadline.
    Unreachable,
    /// It answered with something else than results.
    Unreadable,
    /// Its answer was longer than [`MAX_ANSWER_BYTES`].
    TooLong,
}

/// Carries out a call of `web_search`.
pub async fn run(
    incoming: &Incoming,
    principal: &Principal,
    arguments: &str,
    deadline_ms: u32,
) -> ToolOutcome {
    let Some(back_end) = &incoming.config.web_search else {
        return ToolOutcome::failed(
            "This gateway has no web search: its operator has not set WEB_SEARCH. Answer from what you know, and say that \
             you could not search.",
        );
    };
    let asked = match Asked::read(arguments) {
        Ok(asked) => asked,
        Err(told) => return ToolOutcome::failed(told),
    };
    let key = (principal.project.clone(), asked.clone());
    if let Some(known) = CACHE.with_borrow(|cache| cache.get(&key, now()).cloned()) {
        return outcome(&asked, known, Some(0));
    }
    let searched = within(deadline_ms, search(incoming, back_end, &asked, deadline_ms)).await;
    match searched.unwrap_or(Err(Failed::Unreachable)) {
        Ok(Found { results, cost_nano_usd }) => {
            let results = fit(results);
            CACHE.with_borrow_mut(|cache| cache.put(key, results.clone(), now(), CACHE_MS));
            outcome(&asked, results, cost_nano_usd)
        }
        Err(failed) => {
            let (status, what) = match failed {
                Failed::Refused(status) => (Some(status), "refused"),
                Failed::Unreachable => (None, "unreachable"),
                Failed::Unreadable => (None, "unreadable"),
                Failed::TooLong => (None, "too_long"),
            };
            let fields = json!({
                "request_id": incoming.request_id, "back_end": back_end.name(), "what": what, "status": status,
            });
            log::event("web_search_failed", fields);
            // A service that did not refuse the question may well charge for it.
            let cost_nano_usd = if status.is_some() { Some(0) } else { back_end.price() };
            ToolOutcome { cost_nano_usd, ..ToolOutcome::failed(failure(status)) }
        }
    }
}

async fn search(
    incoming: &Incoming,
    back_end: &BackEnd,
    asked: &Asked,
    deadline_ms: u32,
) -> Result<Found, Failed> {
    let ask = back_end.ask(asked, now());
    let mut lines = Lines::default();
    lines.add("accept", "application/json");
    lines.add("user-agent", USER_AGENT);
    if let Some((name, value)) = &ask.credential {
        lines.add(name, value.reveal());
    }
    let body = match &ask.body {
        Some(body) => {
            lines.add("content-type", "application/json");
            JsValue::from_str(body)
        }
        None => JsValue::UNDEFINED,
    };
    let client = incoming.request.signal();
    let sent = settled(Ok(send(ask.method, &ask.url, lines.as_str(), &body, &client, deadline_ms)))
        .await
        .map_err(|_| Failed::Unreachable)?;
    if sent.as_string().is_some() {
        return Err(Failed::Unreachable);
    }
    let sent: Sent = sent.unchecked_into();
    let _connection = Connection(sent.controller());
    match sent.status() {
        200..300 => back_end.read_answer(&read(&sent).await?).ok_or(Failed::Unreadable),
        status => Err(Failed::Refused(status)),
    }
}

/// A connection that ends when nobody waits for it any more: the answer is read, the time is up, or the client has left.
struct Connection(AbortController);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads an answer's body, as far as it may be long.
async fn read(sent: &Sent) -> Result<Vec<u8>, Failed> {
    let body = body_of(&sent.answer());
    if body.is_null() {
        return Err(Failed::Unreadable);
    }
    let reader = body.unchecked_into::<Readable>().reader().map_err(|_| Failed::Unreachable)?;
    let mut bytes = Vec::new();
    loop {
        let step = settled(reader.read()).await.map_err(|_| Failed::Unreachable)?;
        let step: super::border::Read = step.unchecked_into();
        if step.done() {
            return Ok(bytes);
        }
        bytes.extend(step.value().to_vec());
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(Failed::TooLong);
        }
    }
}
