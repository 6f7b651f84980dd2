//! A thread's log of notes, how its memory stands, and what it does otherwise than its project's.

use serde_json::Value;

use super::{Asked, asked, unreachable};
use crate::api::{Page, query_parameter};
use crate::error::Error;
use crate::memory::api::notes::span;
use crate::memory::public;
use crate::memory::record::Record;
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::platform::inference::read_body;
use crate::protocol::{Configure, HISTORY, History, Observations, ReadHistory, ReadObservations};

/// How many generations of a log a page has, unless a client says otherwise.
const HISTORY_LIMIT: u32 = 10;

/// `GET /v1/memory/threads/{id}/observations`.
pub async fn log(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    read(incoming, thread, public::observations).await
}

/// `GET /v1/memory/threads/{id}/observations/record`.
pub async fn record(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    read(incoming, thread, public::record).await
}

async fn read(
    incoming: &Incoming,
    thread: String,
    body: fn(&Record) -> Value,
) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let observations = object.observations(&ReadObservations { key }).await;
    told(incoming, observations, body)
}

/// `PATCH /v1/memory/threads/{id}/observations/config`.
pub async fn configure(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let body = read_body(
        &incoming.request,
        incoming.headers(),
        incoming.config.max_body_bytes,
        incoming.config.body_timeout_ms,
    )
    .await?;
    let overrides = public::read_config(&body.to_vec())?;
    let observations = object.configure(&Configure { key, overrides }).await;
    told(incoming, observations, public::config)
}

fn told(
    incoming: &Incoming,
    observations: worker::Result<Observations>,
    body: fn(&Record) -> Value,
) -> Result<web_sys::Response, Error> {
    match observations {
        Ok(Observations::Record(record)) => json_answer(incoming, &body(&record)),
        Ok(Observations::NotFound) => Err(Error::thread_not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}

/// `GET /v1/memory/threads/{id}/observations/history`.
pub async fn history(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let page = Page::read(incoming.query())?;
    let limit = if query_parameter(incoming.query(), "limit").is_some() { page.limit } else { HISTORY_LIMIT };
    let (from, to) = span(incoming.query())?;
    let asked = ReadHistory { key, limit, offset: page.offset, from, to };
    match object.call(HISTORY, &asked).await {
        Ok(History::Records { records, current }) => {
            json_answer(incoming, &public::history(&records, current))
        }
        Ok(History::NotFound) => Err(Error::thread_not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}
