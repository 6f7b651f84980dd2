//! Reading and deleting kept responses: <https://platform.openai.com/docs/api-reference/responses>.
//!
//! Invariant: a response is found through the caller's project alone; another's is not there.

use serde_json::json;
use serde_json::value::RawValue;

use super::gateway_worker::{Incoming, json_answer, json_text_answer};
use super::log;
use super::response_client::ResponseClient;
use crate::api::{Cursor, query_parameter};
use crate::error::{Error, Kind};
use crate::keys::Principal;
use crate::memory::address::check_id;
use crate::responses::protocol::{Items, ReadItems};
use crate::responses::request::response_not_found;

/// `GET /v1/responses/{id}`.
pub async fn one(incoming: &Incoming, id: &str) -> Result<web_sys::Response, Error> {
    let principal = &incoming.caller()?.principal;
    check_id("response_id", id)?;
    if query_parameter(incoming.query(), "stream")
        .is_some_and(|stream| !matches!(stream.as_str(), "false" | "0" | ""))
    {
        return Err(Error::invalid(
            "stream",
            "A kept response is not streamed again. Leave `stream` out to get the whole response.",
        ));
    }
    match kept(incoming, principal, id).await? {
        Some(response) => json_text_answer(incoming, response.get()),
        None => Err(response_not_found(id)),
    }
}

/// The response object that is kept under an id. `None` for one that was never kept here, as those are that only a
/// provider with a state of its own knows.
pub async fn kept(
    incoming: &Incoming,
    principal: &Principal,
    id: &str,
) -> Result<Option<Box<RawValue>>, Error> {
    ResponseClient::of(incoming, principal)
        .read(id)
        .await
        .map_err(|error| unreachable_storage(incoming, &error))
}

/// `DELETE /v1/responses/{id}`.
pub async fn delete(incoming: &Incoming, id: &str) -> Result<web_sys::Response, Error> {
    let principal = &incoming.caller()?.principal;
    check_id("response_id", id)?;
    match ResponseClient::of(incoming, principal).delete(id).await {
        Ok(true) => json_answer(incoming, &json!({ "id": id, "object": "response", "deleted": true })),
        Ok(false) => Err(response_not_found(id)),
        Err(error) => Err(unreachable_storage(incoming, &error)),
    }
}

/// `GET /v1/responses/{id}/input_items`.
pub async fn input_items(incoming: &Incoming, id: String) -> Result<web_sys::Response, Error> {
    let principal = &incoming.caller()?.principal;
    check_id("response_id", &id)?;
    let Cursor { limit, descending, after } = Cursor::read(incoming.query())?;
    let asked = ReadItems { id, limit, descending, after };
    match ResponseClient::of(incoming, principal).input_items(&asked).await {
        Ok(Some(Items::Page(list))) => json_text_answer(incoming, list.get()),
        Ok(Some(Items::UnknownAfter)) => Err(Error::invalid(
            "after",
            "The parameter `after` must be the id of one of this response's input items, as the list gives it.",
        )),
        Ok(None) => Err(response_not_found(&asked.id)),
        Err(error) => Err(unreachable_storage(incoming, &error)),
    }
}

fn unreachable_storage(incoming: &Incoming, error: &worker::Error) -> Error {
    let fields = json!({ "request_id": incoming.request_id, "error": error.to_string() });
    log::event("responses_unreachable", fields);
    Error::new(Kind::Overloaded, "The storage of responses does not answer. Try again in a few seconds.")
}
