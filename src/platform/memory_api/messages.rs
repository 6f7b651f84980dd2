//! A thread's messages.

use serde_json::json;

use super::{Asked, asked, body, made, unreachable};
use crate::api::Page;
use crate::error::Error;
use crate::memory::{api, public};
use crate::platform::border::random_id;
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::protocol::{Messages, POST, Post, Posting, ReadMessages};

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

/// `POST /v1/memory/threads/{id}/messages`.
pub async fn post(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let messages = api::messages::read(&body(incoming).await?)?;
    let project = incoming.caller()?.principal.settings.memory.overrides();
    let posted = Post { key, token: random_id(""), project, messages };
    match object.call(POST, &posted).await {
        Ok(Posting::Stored(messages)) => {
            let thread = &posted.key.thread;
            let messages: Vec<_> = messages.iter().map(|message| public::public(thread, message)).collect();
            made(incoming, &json!({ "messages": messages }))
        }
        Ok(Posting::Conflict(id)) => Err(Error::conflict(format!(
            "The thread holds another message with the id `{id}`. Nothing was stored."
        ))
        .with_param("messages")),
        Ok(Posting::NotFound) => Err(Error::thread_not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}
