//! The memory API: what the gateway remembers, for its owner to see.
//!
//! Invariant: a thread is found through the caller's project alone; another project's is not there.

use serde_json::json;

use super::gateway_worker::{Incoming, json_answer};
use super::log;
use super::thread_client::ThreadClient;
use crate::api::Page;
use crate::error::{Error, Kind};
use crate::memory::address::check_id;
use crate::memory::public;
use crate::protocol::{Messages, ReadMessages, ThreadKey};

/// `GET /v1/memory/threads/{id}/messages`.
pub async fn thread_messages(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let principal = &incoming.caller()?.principal;
    check_id("threadId", &thread)?;
    let page = Page::read(incoming.query())?;
    let object = ThreadClient::new(incoming.env.clone(), principal, &thread);
    let key = ThreadKey { project: principal.project.clone(), thread, resource: None };
    let asked = ReadMessages { key, limit: page.limit, offset: page.offset, descending: page.descending };
    match object.messages(&asked).await {
        Ok(Messages::Page { messages, total }) => {
            let body = public::messages(&asked.key.thread, messages, total);
            json_answer(incoming, &body)
        }
        Ok(Messages::NotFound) => Err(Error::thread_not_found()),
        Err(error) => {
            let fields = json!({ "request_id": incoming.request_id, "error": error.to_string() });
            log::event("thread_unreachable", fields);
            Err(Error::new(
                Kind::Overloaded,
                "The thread's storage does not answer. Try again in a few seconds.",
            ))
        }
    }
}
