//! What the Worker and a thread's object say to each other about deleting.

use serde::{Deserialize, Serialize};

use super::ThreadKey;

/// `POST`: [`Delete`] to [`Deleted`].
pub const DELETE: &str = "/v1/delete";
/// `POST`: [`DeleteMessages`] to [`MessagesDeleted`].
pub const DELETE_MESSAGES: &str = "/v1/delete-messages";
/// `POST`: [`LinkResponse`] to [`Linked`].
pub const LINK_RESPONSE: &str = "/v1/link-response";

/// Asks for a thread to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Whose thread.
    pub key: ThreadKey,
    /// Only a thread that was first used at this time or before, in Unix milliseconds; `None`: whenever it was.
    #[serde(default)]
    pub created_until: Option<u64>,
    /// Only a thread that was last used at this time or before, in Unix milliseconds; `None`: whenever it was.
    #[serde(default)]
    pub idle_since: Option<u64>,
}

impl Delete {
    /// Whatever its age.
    pub fn at_any_age(key: ThreadKey) -> Self {
        Delete { key, created_until: None, idle_since: None }
    }
}

/// The answer to [`Delete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deleted {
    /// It is gone.
    Deleted {
        /// When, in Unix milliseconds.
        deleted_at: u64,
        /// Its owner.
        resource: String,
        /// How many messages it had.
        messages: u64,
        /// How many notes were made of them.
        notes: u64,
        /// How many jobs were waiting or under way.
        jobs: u64,
        /// How many stored responses were made in it.
        #[serde(default)]
        responses: u64,
    },
    /// There is no such thread.
    NotFound,
    /// It is there, and younger than was asked for.
    TooYoung,
}

/// Asks for messages of a thread to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteMessages {
    /// Whose thread.
    pub key: ThreadKey,
    /// The messages' public ids.
    pub ids: Vec<String>,
}

/// The answer to [`DeleteMessages`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessagesDeleted {
    /// They are gone.
    Deleted {
        /// When, in Unix milliseconds.
        deleted_at: u64,
        /// How many of the ids were messages of the thread.
        messages: u64,
        /// Which of the ids those were, but for messages that a branch had replaced.
        #[serde(default)]
        ids: Vec<String>,
        /// How many notes fell with them.
        notes: u64,
        /// How many jobs that were waiting or under way were about them.
        jobs: u64,
        /// How many stored responses of the thread could hold them.
        responses: u64,
    },
    /// There is no such thread.
    NotFound,
}

/// Tells that a response is kept that was made in a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkResponse {
    /// Whose thread.
    pub key: ThreadKey,
    /// The response's id.
    pub id: String,
    /// The chain whose object keeps it.
    pub chain: String,
    /// When it was asked for, in Unix milliseconds; the same each time that it is sent.
    pub created_at: u64,
}

/// The answer to [`LinkResponse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Linked {
    /// It goes when the thread goes.
    Linked,
    /// The thread was deleted after the response was asked for: it must not be kept.
    Deleted,
    /// The thread belongs to another resource; it is not linked.
    NotFound,
}
