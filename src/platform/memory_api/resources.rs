//! Resources: who has threads, what is known of them, and forgetting them.

use super::unreachable;
use crate::api::Page;
use crate::error::Error;
use crate::memory::address::check_id;
use crate::memory::public;
use crate::platform::erasure;
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::platform::resource_client::ResourceClient;

/// How long a profile is waited for, in milliseconds.
const PROFILE_MS: u32 = 10_000;

/// `GET /v1/memory/resources`.
pub async fn list(incoming: &Incoming) -> Result<web_sys::Response, Error> {
    let page = Page::read(incoming.query())?;
    let project = &incoming.caller()?.principal.project;
    let (rows, total) = erasure::resources(&incoming.env, project, page.limit, page.offset)
        .await
        .map_err(|error| unreachable(incoming, &error))?;
    json_answer(incoming, &public::resources(&rows, total))
}

/// `GET /v1/memory/resources/{id}`.
pub async fn one(incoming: &Incoming, resource: String) -> Result<web_sys::Response, Error> {
    let page = Page::read(incoming.query())?;
    let project = own(incoming, &resource)?;
    let found = erasure::one_resource(&incoming.env, project, &resource, (page.limit, page.offset))
        .await
        .map_err(|error| unreachable(incoming, &error))?;
    match found {
        Some((known, threads)) => json_answer(incoming, &public::resource(&known, &threads)),
        None => Err(not_found()),
    }
}

/// `GET /v1/memory/resources/{id}/profile`.
pub async fn profile(incoming: &Incoming, resource: String) -> Result<web_sys::Response, Error> {
    let project = own(incoming, &resource)?;
    let object = ResourceClient::new(incoming.env.clone(), project, &resource);
    let Some(profile) = object.profile(PROFILE_MS).await else {
        return Err(unreachable(incoming, &"no profile in time".into()));
    };
    json_answer(incoming, &public::profile(&resource, &profile))
}

/// `DELETE /v1/memory/resources/{id}`: everything of that person.
pub async fn delete(incoming: &Incoming, resource: String) -> Result<web_sys::Response, Error> {
    let project = own(incoming, &resource)?;
    let erasure = erasure::resource(&incoming.env, project, &resource)
        .await
        .map_err(|error| unreachable(incoming, &error))?;
    let mut body = public::receipt(&resource, "resource", erasure.requested_at, erasure.counts.document());
    body["receipt"]["complete"] = erasure.finished_at.is_some().into();
    json_answer(incoming, &body)
}

/// The caller's project. Errors: 400 for an id that cannot be a resource's.
fn own<'a>(incoming: &'a Incoming, resource: &str) -> Result<&'a str, Error> {
    check_id("resourceId", resource)?;
    Ok(&incoming.caller()?.principal.project)
}

fn not_found() -> Error {
    Error::not_found("No such resource. A resource is listed within a minute after its first turn.")
}
