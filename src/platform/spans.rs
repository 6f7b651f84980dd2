//! Spans on their way to whoever collects them.
//!
//! Invariant: no request waits for a collector; what waits is bounded, and one that does not answer loses spans and
//! nothing else.

use std::cell::RefCell;

use serde_json::json;
use wasm_bindgen::{JsCast, JsValue};

use super::border::{AbortController, Sent, now, random_bytes, send, settled, within};
use super::log;
use crate::config::{Config, Otlp};
use crate::ledger::row::Row;
use crate::outbox::{Batch, Outbox};
use crate::reply::Lines;
use crate::trace::{Span, TraceParent, export};
use crate::turn::hex;

/// About one megabyte of an isolate's 128.
const CAPACITY: usize = 500;
const BATCH: usize = 100;
/// How long a collector has to answer.
const TIMEOUT_MS: u32 = 5_000;
const LEASE_MS: u64 = 10_000;
/// How long a request tries to get its span out, and between two looks at whether it is out.
const PATIENCE_MS: u64 = 12_000;
const WAIT_MS: u32 = 100;

thread_local! {
    static OUTBOX: RefCell<Outbox<Span>> = const { RefCell::new(Outbox::new(CAPACITY, BATCH, LEASE_MS)) };
}

/// Exports the span of a settled row, where a collector is configured and the caller did not decide against keeping the
/// trace.
pub async fn record(config: &Config, row: &Row, parent: Option<&TraceParent>) {
    let Some(collector) = &config.otlp else { return };
    if parent.is_some_and(|parent| !parent.sampled) {
        return;
    }
    let (trace_id, span_id) = (hex(&random_bytes::<16>()), hex(&random_bytes::<8>()));
    OUTBOX.with_borrow_mut(|outbox| outbox.push(Span::of(row, parent, trace_id, span_id.clone())));
    let until = now() + PATIENCE_MS;
    while OUTBOX.with_borrow(|outbox| outbox.holds(&span_id)) && now() < until {
        let batch = OUTBOX.with_borrow_mut(|outbox| outbox.take(now()));
        if let Some(batch) = batch
            && deliver(collector, batch).await
        {
            continue;
        }
        within(WAIT_MS, std::future::pending::<()>()).await;
    }
}

async fn deliver(collector: &Otlp, batch: Batch<Span>) -> bool {
    let failure = post(collector, &export(&batch.entries, &collector.service)).await.err();
    let dropped = OUTBOX.with_borrow_mut(|outbox| {
        outbox.settle(batch.number, failure.is_none());
        outbox.take_dropped()
    });
    if let Some(failure) = &failure {
        log::event("spans_not_exported", json!({ "error": failure, "spans": batch.entries.len() }));
    }
    if dropped > 0 {
        log::event("spans_dropped", json!({ "spans": dropped }));
    }
    failure.is_none()
}

async fn post(collector: &Otlp, body: &str) -> Result<(), String> {
    let mut lines = Lines::default();
    lines.add("content-type", "application/json");
    for (name, value) in &collector.headers {
        lines.add(name, value.reveal());
    }
    let body = JsValue::from_str(body);
    let sent =
        send("POST", &collector.url, lines.as_str(), &body, &AbortController::new().signal(), TIMEOUT_MS);
    let sent = settled(Ok(sent)).await.map_err(|_| "unreachable".to_owned())?;
    if let Some(why) = sent.as_string() {
        return Err(why);
    }
    let sent: Sent = sent.unchecked_into();
    // The answer says nothing of use; an unread body would hold the connection.
    sent.controller().abort();
    match sent.status() {
        200..=299 => Ok(()),
        status => Err(format!("status {status}")),
    }
}
