//! Messages that are put into a thread as they are, without a model being asked.

use serde::{Deserialize, Serialize};

use super::{PublicMessage, ThreadKey};
use crate::memory::settings::Overrides;
use crate::turn::Message;

/// `POST`: [`Post`] to [`Posting`].
pub const POST: &str = "/v1/post";

/// Puts messages behind all that a thread holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Post {
    /// Whose thread.
    pub key: ThreadKey,
    /// A word that no other posting has; it makes ids for messages without one.
    pub token: String,
    /// What the project says otherwise than the deployment.
    #[serde(default)]
    pub project: Overrides,
    /// The messages in order.
    pub messages: Vec<Posted>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posted {
    /// Its id, where the client gave one: the same message under the same id is stored once.
    #[serde(default)]
    pub id: Option<String>,
    /// When it was said, in Unix milliseconds; `None` for now.
    #[serde(default)]
    pub created_at: Option<u64>,
    /// The message.
    pub message: Message,
}

/// The answer to [`Post`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Posting {
    /// They are in the thread, now or from before, in the order of the request.
    Stored(Vec<PublicMessage>),
    /// The message with this id is another one; nothing was stored.
    Conflict(String),
    /// There is no such thread.
    NotFound,
}
