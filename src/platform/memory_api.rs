//! The memory API: what the gateway remembers, for its owner to see, to set and to delete.
//!
//! Invariant: a thread is found through the caller's project alone; another project's is not there, and neither is one of
//! another resource than the caller names.

mod deletion;
mod messages;
mod observations;
mod resources;
mod search;

use serde_json::json;

use super::gateway_worker::Incoming;
use super::log;
use super::thread_client::ThreadClient;
use crate::api::query_parameter;
use crate::error::{Error, Kind};
use crate::memory::address::check_id;
use crate::memory::api::Resource;
use crate::protocol::ThreadKey;

/// Serves a memory request: one of the methods that the resource takes.
pub async fn answer(incoming: &Incoming, resource: Resource) -> Result<web_sys::Response, Error> {
    let method = incoming.request.method();
    match (resource, method.as_str()) {
        (Resource::Thread { thread }, _) => deletion::delete_thread(incoming, thread).await,
        (Resource::Messages { thread }, "DELETE") => deletion::delete_messages(incoming, thread).await,
        (Resource::Messages { thread }, _) => messages::page(incoming, thread).await,
        (Resource::Observations { thread }, _) => observations::log(incoming, thread).await,
        (Resource::ObservationRecord { thread }, _) => observations::record(incoming, thread).await,
        (Resource::ObservationConfig { thread }, _) => observations::configure(incoming, thread).await,
        (Resource::Resources, _) => resources::list(incoming).await,
        (Resource::Resource { resource }, "DELETE") => resources::delete(incoming, resource).await,
        (Resource::Resource { resource }, _) => resources::one(incoming, resource).await,
        (Resource::Profile { resource }, _) => resources::profile(incoming, resource).await,
        (Resource::Search, _) => search::search(incoming).await,
    }
}

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

fn unreachable(incoming: &Incoming, error: &worker::Error) -> Error {
    let fields = json!({ "request_id": incoming.request_id, "error": error.to_string() });
    log::event("thread_unreachable", fields);
    Error::new(Kind::Overloaded, "The thread's storage does not answer. Try again in a few seconds.")
}
