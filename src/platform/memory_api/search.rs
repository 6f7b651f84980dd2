//! What was said and noted, by words.

use super::{Asked, asked, unreachable};
use crate::api::SearchQuery;
use crate::error::Error;
use crate::memory::public;
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::protocol::{Found, Search};

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
