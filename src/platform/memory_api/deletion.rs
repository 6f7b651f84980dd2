//! Deleting what the gateway remembers.

use super::{Asked, asked, unreachable};
use crate::error::Error;
use crate::memory::public;
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::platform::inference::read_body;
use crate::protocol::{Delete, DeleteMessages, MessagesDeleted};

/// `DELETE /v1/memory/threads/{id}`: the thread's object, what its resource knows from it, the responses that were made in it,
/// and its place in the index.
pub async fn delete_thread(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let deleted = object
        .delete(&Delete::at_any_age(key.clone()))
        .await
        .map_err(|error| unreachable(incoming, &error))?;
    match public::receipt_of_thread(&key.thread, &deleted) {
        Some(receipt) => json_answer(incoming, &receipt),
        None => Err(Error::thread_not_found()),
    }
}

/// `DELETE /v1/memory/threads/{id}/messages`: `{messageIds}`.
pub async fn delete_messages(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let body = read_body(
        &incoming.request,
        incoming.headers(),
        incoming.config.max_body_bytes,
        incoming.config.body_timeout_ms,
    )
    .await?;
    let ids = public::read_message_ids(&body.to_vec())?;
    let asked = DeleteMessages { key, ids };
    match object.delete_messages(&asked).await.map_err(|error| unreachable(incoming, &error))? {
        MessagesDeleted::Deleted { deleted_at, messages, notes, jobs, responses, .. } => {
            let counts = serde_json::json!({
                "messages": messages, "notes": notes, "jobs": jobs, "responses": responses,
            });
            let body = public::receipt_of_messages(&asked.key.thread, messages, deleted_at, counts);
            json_answer(incoming, &body)
        }
        MessagesDeleted::NotFound => Err(Error::thread_not_found()),
    }
}
