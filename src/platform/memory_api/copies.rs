//! Copies of threads.

use serde_json::json;

use super::{Asked, asked, asked_of, body, made, unreachable};
use crate::error::Error;
use crate::memory::api::copies::Copying;
use crate::memory::public;
use crate::platform::border::random_id;
use crate::platform::gateway_worker::Incoming;
use crate::protocol::{COPY, Copied, PASTE, Paste, Pasted, ReadCopy};

/// `POST /v1/memory/threads/{id}/clone`.
pub async fn copy(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let Copying { id, resource, title, metadata, limit, filter } = Copying::read(&body(incoming).await?)?;
    let snapshot = match object.call(COPY, &ReadCopy { key, limit, filter }).await {
        Ok(Copied::Thread(snapshot)) => snapshot,
        Ok(Copied::TooLarge) => {
            return Err(Error::invalid(
                "options.messageLimit",
                "The thread is too large to be cloned at once. Limit the messages by options.messageLimit.",
            ));
        }
        Ok(Copied::NotFound) => return Err(Error::thread_not_found()),
        Err(error) => return Err(unreachable(incoming, &error)),
    };
    let original = &snapshot.thread;
    let resource = resource.unwrap_or_else(|| original.resource.clone());
    let title = title.unwrap_or_else(|| original.title.clone());
    let metadata = metadata.unwrap_or_else(|| original.metadata.clone());
    let id = id.unwrap_or_else(|| random_id("thread_"));
    let Asked { object, key } = asked_of(incoming, id, Some(resource))?;
    let paste = Paste { key, token: random_id(""), title, metadata, snapshot };
    match object.call(PASTE, &paste).await {
        Ok(Pasted::Thread { thread, messages }) => {
            let messages: Vec<_> =
                messages.iter().map(|message| public::public(&thread.id, message)).collect();
            let thread = public::thread_fields(&thread);
            made(incoming, &json!({ "thread": thread, "clonedMessages": messages }))
        }
        Ok(Pasted::Conflict) => {
            Err(Error::conflict("A thread with this id exists. Choose another newThreadId, or leave it out.")
                .with_param("newThreadId"))
        }
        Err(error) => Err(unreachable(incoming, &error)),
    }
}
