//! Threads themselves: listing, making, reading and naming them.

use serde_json::json;

use super::{Asked, asked, asked_of, body, made, unreachable};
use crate::api::{Page, query_parameter};
use crate::error::{Error, Kind};
use crate::memory::address::check_id;
use crate::memory::api::threads::{Change, NewThread};
use crate::memory::public;
use crate::platform::border::random_id;
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::platform::{d1_index, log};
use crate::protocol::{CREATE, Create, Created, DETAILS, Details, ReadDetails, UPDATE, Update};

/// `GET /v1/memory/threads`.
pub async fn list(incoming: &Incoming) -> Result<web_sys::Response, Error> {
    let project = &incoming.caller()?.principal.project;
    let page = Page::read(incoming.query())?;
    let resource = query_parameter(incoming.query(), "resourceId").filter(|id| !id.is_empty());
    if let Some(resource) = &resource {
        check_id("resourceId", resource)?;
    }
    let listed = d1_index::list(&incoming.env, project, resource.as_deref(), (page.limit, page.offset)).await;
    let listed = listed.map_err(|error| {
        let fields = json!({ "request_id": incoming.request_id, "error": error.to_string() });
        log::event("database_failed", fields);
        Error::new(Kind::Overloaded, "The gateway's database does not answer. Try again in a few seconds.")
    })?;
    json_answer(incoming, &listed)
}

/// `POST /v1/memory/threads`.
pub async fn create(incoming: &Incoming) -> Result<web_sys::Response, Error> {
    let NewThread { id, resource, title, metadata } = NewThread::read(&body(incoming).await?)?;
    let thread = id.unwrap_or_else(|| random_id("thread_"));
    let Asked { object, key } = asked_of(incoming, thread, Some(resource))?;
    match object.call(CREATE, &Create { key, title, metadata }).await {
        Ok(Created::Created(thread)) => made(incoming, &public::thread(&thread)),
        Ok(Created::Existing(thread)) => json_answer(incoming, &public::thread(&thread)),
        Ok(Created::Conflict) => Err(Error::conflict(
            "A thread with this id exists and belongs to another resource. Choose another id, or leave it out.",
        )
        .with_param("id")),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}

/// `GET /v1/memory/threads/{id}`.
pub async fn one(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    told(incoming, object.call(DETAILS, &ReadDetails { key }).await)
}

/// `PATCH /v1/memory/threads/{id}`.
pub async fn update(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let Change { title, metadata } = Change::read(&body(incoming).await?)?;
    told(incoming, object.call(UPDATE, &Update { key, title, metadata }).await)
}

fn told(incoming: &Incoming, details: worker::Result<Details>) -> Result<web_sys::Response, Error> {
    match details {
        Ok(Details::Thread(thread)) => json_answer(incoming, &public::thread(&thread)),
        Ok(Details::NotFound) => Err(Error::thread_not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}
