//! Deleting what the gateway remembers.

use serde_json::json;

use super::{Asked, asked, unreachable};
use crate::error::Error;
use crate::memory::public;
use crate::platform::d1_index;
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::platform::resource_client::ResourceClient;
use crate::protocol::{Delete, Deleted};

/// `DELETE /v1/memory/threads/{id}`: the thread's object, what its resource knows from it, and its place in the index.
pub async fn delete_thread(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let deleted =
        object.delete(&Delete { key: key.clone() }).await.map_err(|error| unreachable(incoming, &error))?;
    let Deleted::Deleted { deleted_at, resource, messages, notes, jobs } = deleted else {
        return Err(Error::thread_not_found());
    };
    let profile = ResourceClient::new(incoming.env.clone(), &key.project, &resource);
    profile.forget(&key.thread, None, deleted_at).await.map_err(|error| unreachable(incoming, &error))?;
    d1_index::remove(&incoming.env, &key.project, &key.thread)
        .await
        .map_err(|error| unreachable(incoming, &error))?;
    let counts = json!({ "messages": messages, "notes": notes, "jobs": jobs });
    json_answer(incoming, &public::receipt(&key.thread, deleted_at, counts))
}
