//! A thread's messages.

use super::{Asked, asked, unreachable};
use crate::api::Page;
use crate::error::Error;
use crate::memory::public;
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::protocol::{Messages, ReadMessages};

/// `GET /v1/memory/threads/{id}/messages`.
pub async fn page(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
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
