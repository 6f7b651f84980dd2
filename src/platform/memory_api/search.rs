//! What was said and noted, by words.

use crate::api::SearchQuery;
use crate::error::Error;
use crate::memory::public;
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::platform::search;

/// `GET /v1/memory/search`.
pub async fn search(incoming: &Incoming) -> Result<web_sys::Response, Error> {
    let SearchQuery { thread, resource, query, limit } = SearchQuery::read(incoming.query())?;
    let principal = &incoming.caller()?.principal;
    let found =
        search::search(&incoming.env, principal, resource.as_deref(), thread.as_deref(), &query, limit)
            .await?;
    json_answer(incoming, &public::search(&found))
}
