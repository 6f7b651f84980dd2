//! The memory API: what the gateway remembers, for its owner to see, to set and to delete.
//!
//! Invariant: a thread is found through the caller's project alone; another project's is not there, and neither is one of
//! another resource than the caller names.

use serde_json::{Value, json};

use super::gateway_worker::{Incoming, json_answer};
use super::inference::read_body;
use super::resource_client::ResourceClient;
use super::thread_client::ThreadClient;
use super::{d1_index, log};
use crate::api::{Page, SearchQuery, query_parameter};
use crate::error::{Error, Kind};
use crate::memory::address::check_id;
use crate::memory::public;
use crate::memory::record::Record;
use crate::protocol::{
    Configure, Delete, Deleted, Found, Messages, Observations, ReadMessages, ReadObservations, Search,
    ThreadKey,
};

/// A thread that a caller asks for.
struct Asked {
    object: ThreadClient,
    key: ThreadKey,
}

/// Who asks, and for which thread. Errors: 400 for an id that cannot be one.
fn asked(incoming: &Incoming, thread: String) -> Result<Asked, Error> {
    let principal = &incoming.caller()?.principal;
    check_id("threadId", &thread)?;
    let resource = query_parameter(incoming.query(), "resourceId").filter(|id| !id.is_empty());
    if let Some(resource) = &resource {
        check_id("resourceId", resource)?;
    }
    let object = ThreadClient::new(incoming.env.clone(), principal, &thread);
    let key = ThreadKey { project: principal.project.clone(), thread, resource };
    Ok(Asked { object, key })
}

/// `GET /v1/memory/threads/{id}/messages`.
pub async fn thread_messages(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let page = Page::read(incoming.query())?;
    let asked = ReadMessages { key, limit: page.limit, offset: page.offset, descending: page.descending };
    match object.messages(&asked).await {
        Ok(Messages::Page { messages, total }) => {
            let body = public::messages(&asked.key.thread, messages, total);
            json_answer(incoming, &body)
        }
        Ok(Messages::NotFound) => Err(Error::thread_not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}

/// `GET /v1/memory/threads/{id}/observations`.
pub async fn observations(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
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
    let body = read_body(&incoming.request, incoming.headers(), incoming.config.max_body_bytes).await?;
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

/// `GET /v1/memory/search`.
pub async fn search(incoming: &Incoming) -> Result<web_sys::Response, Error> {
    let SearchQuery { thread, query, limit } = SearchQuery::read(incoming.query())?;
    let Asked { object, key } = asked(incoming, thread)?;
    let asked = Search { key, query, limit };
    match object.search(&asked).await {
        Ok(Found::Hits { hits, complete }) => {
            json_answer(incoming, &public::search(&asked.key.thread, &hits, complete))
        }
        Ok(Found::NotFound) => Err(Error::thread_not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}

/// `DELETE /v1/memory/threads/{id}`: the thread's object, what its resource knows from it, and its place in the index.
pub async fn delete_thread(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let deleted =
        object.delete(&Delete { key: key.clone() }).await.map_err(|error| unreachable(incoming, &error))?;
    let Deleted::Deleted { deleted_at, resource, messages, notes, jobs } = deleted else {
        return Err(Error::thread_not_found());
    };
    let profile = ResourceClient::new(incoming.env.clone(), &key.project, &resource);
    profile.forget(&key.thread, None, deleted_at).await.map_err(|error| unreachable(incoming, &error))?;
    d1_index::remove(&incoming.env, &key.project, &key.thread)
        .await
        .map_err(|error| unreachable(incoming, &error))?;
    let counts = json!({ "messages": messages, "notes": notes, "jobs": jobs });
    json_answer(incoming, &public::receipt(&key.thread, deleted_at, counts))
}

fn unreachable(incoming: &Incoming, error: &worker::Error) -> Error {
    let fields = json!({ "request_id": incoming.request_id, "error": error.to_string() });
    log::event("thread_unreachable", fields);
    Error::new(Kind::Overloaded, "The thread's storage does not answer. Try again in a few seconds.")
}
