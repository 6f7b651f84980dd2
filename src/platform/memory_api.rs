//! The memory API: what the gateway remembers, for its owner to see, to set and to delete.
//!
//! Invariant: a thread is found through the caller's project alone; another project's is not there, and neither is one of
//! another resource than the caller names.

mod context;
mod copies;
mod deletion;
mod export;
mod import;
mod messages;
mod notes;
mod observations;
mod resources;
mod search;
mod threads;

use serde_json::{Value, json};
use wasm_bindgen::JsValue;
use worker::Context;

use super::border::respond;
use super::gateway_worker::Incoming;
use super::inference::read_body;
use super::log;
use super::thread_client::ThreadClient;
use crate::api::query_parameter;
use crate::error::{Error, Kind};
use crate::headers::is_json;
use crate::memory::address::check_id;
use crate::memory::api::Resource;
use crate::protocol::ThreadKey;

/// Serves a memory request: one of the methods that the resource takes.
pub async fn answer(
    incoming: &Incoming,
    context: &Context,
    resource: Resource,
) -> Result<web_sys::Response, Error> {
    let method = incoming.request.method();
    match (resource, method.as_str()) {
        (Resource::Threads, "POST") => threads::create(incoming).await,
        (Resource::Threads, _) => threads::list(incoming).await,
        (Resource::Thread { thread }, "PATCH") => threads::update(incoming, thread).await,
        (Resource::Thread { thread }, "DELETE") => deletion::delete_thread(incoming, thread).await,
        (Resource::Thread { thread }, _) => threads::one(incoming, thread).await,
        (Resource::Clone { thread }, _) => copies::copy(incoming, thread).await,
        (Resource::Messages { thread }, "POST") => messages::post(incoming, thread).await,
        (Resource::Messages { thread }, "DELETE") => deletion::delete_messages(incoming, thread).await,
        (Resource::Messages { thread }, _) => messages::page(incoming, thread).await,
        (Resource::Observations { thread }, _) => observations::log(incoming, thread).await,
        (Resource::ObservationRecord { thread }, _) => observations::record(incoming, thread).await,
        (Resource::ObservationConfig { thread }, _) => observations::configure(incoming, thread).await,
        (Resource::Resources, _) => resources::list(incoming).await,
        (Resource::Resource { resource }, "DELETE") => resources::delete(incoming, resource).await,
        (Resource::Resource { resource }, _) => resources::one(incoming, resource).await,
        (Resource::Profile { resource }, _) => resources::profile(incoming, resource).await,
        (Resource::ObservationHistory { thread }, _) => observations::history(incoming, thread).await,
        (Resource::Notes { thread }, _) => notes::page(incoming, thread).await,
        (Resource::Note { note }, "DELETE") => notes::forget(incoming, &note).await,
        (Resource::Note { note }, _) => notes::correct(incoming, &note).await,
        (Resource::NoteSources { note }, _) => notes::sources(incoming, &note).await,
        (Resource::Context { thread }, _) => context::dry_run(incoming, thread).await,
        (Resource::Search, _) => search::search(incoming).await,
        (Resource::ThreadExport { thread }, _) => export::thread(incoming, context, thread).await,
        (Resource::ResourceExport { resource }, _) => export::resource(incoming, context, resource).await,
        (Resource::Import, _) => import::import(incoming).await,
    }
}

/// A thread that a caller asks for.
struct Asked {
    object: ThreadClient,
    key: ThreadKey,
}

/// Who asks, and for which thread. Errors: 400 for an id that cannot be one.
fn asked(incoming: &Incoming, thread: String) -> Result<Asked, Error> {
    let resource = query_parameter(incoming.query(), "resourceId").filter(|id| !id.is_empty());
    asked_of(incoming, thread, resource)
}

/// The same, for an owner that the query does not name.
fn asked_of(incoming: &Incoming, thread: String, resource: Option<String>) -> Result<Asked, Error> {
    let principal = &incoming.caller()?.principal;
    check_id("threadId", &thread)?;
    if let Some(resource) = &resource {
        check_id("resourceId", resource)?;
    }
    let object = ThreadClient::new(incoming.env.clone(), principal, &thread);
    let key = ThreadKey { project: principal.project.clone(), thread, resource };
    Ok(Asked { object, key })
}

/// The body of a request. Errors: 413, 415.
async fn body(incoming: &Incoming) -> Result<Vec<u8>, Error> {
    let headers = incoming.headers();
    if !is_json(headers) {
        return Err(Error::new(
            Kind::UnsupportedMediaType,
            "The body must be JSON: send `content-type: application/json`.",
        ));
    }
    Ok(read_body(&incoming.request, headers, incoming.config.max_body_bytes, incoming.config.body_timeout_ms)
        .await?
        .to_vec())
}

/// A 201 with a JSON body.
fn made(incoming: &Incoming, body: &Value) -> Result<web_sys::Response, Error> {
    let mut lines = incoming.answer_lines.clone();
    lines.add("content-type", "application/json");
    respond(201, lines.as_str(), &JsValue::from_str(&body.to_string())).map_err(|_| Error::internal())
}

fn unreachable(incoming: &Incoming, error: &worker::Error) -> Error {
    let fields = json!({ "request_id": incoming.request_id, "error": error.to_string() });
    log::event("thread_unreachable", fields);
    Error::new(Kind::Overloaded, "The thread's storage does not answer. Try again in a few seconds.")
}
