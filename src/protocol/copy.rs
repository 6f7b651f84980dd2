//! A thread on its way from one object to another.

use serde::{Deserialize, Serialize};

use super::{PublicMessage, ThreadKey};
use crate::memory::database::Row;
use crate::memory::state::State;
use crate::memory::store::Thread;

/// `POST`: [`ReadCopy`] to [`Copied`].
pub const COPY: &str = "/v1/copy";
/// `POST`: [`Paste`] to [`Pasted`].
pub const PASTE: &str = "/v1/paste";

/// Asks for all that a thread holds, or for some of its messages and what was made of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCopy {
    /// Whose thread.
    pub key: ThreadKey,
    /// So many of the messages, the newest.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Which messages may be known in the copy at all.
    #[serde(default)]
    pub filter: Filter,
}

/// Which messages may be known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Those from this time on, in Unix milliseconds.
    pub from: Option<u64>,
    /// Those up to this time.
    pub to: Option<u64>,
    /// Those with these ids.
    pub ids: Option<Vec<String>>,
}

/// The answer to [`ReadCopy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Copied {
    /// The copy.
    Thread(Box<Snapshot>),
    /// It is larger than can be handed over at once.
    TooLarge,
    /// There is no such thread.
    NotFound,
}

/// What a thread holds, as rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The thread.
    pub thread: Thread,
    /// What memory keeps beside messages and notes.
    pub state: State,
    /// The tables by name, in an order in which they can be written.
    pub tables: Vec<(String, Vec<Row>)>,
    /// The segments that rest on messages which may not be known.
    pub withheld: Vec<i64>,
}

/// Makes a thread of a copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paste {
    /// Whose thread it is to be; the resource must be there.
    pub key: ThreadKey,
    /// A word that no other copy has; it makes the ids of turns and messages.
    pub token: String,
    /// What it is called.
    pub title: Option<String>,
    /// What is kept with it: JSON.
    pub metadata: Option<String>,
    /// The copy.
    pub snapshot: Box<Snapshot>,
}

/// The answer to [`Paste`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pasted {
    /// It is there.
    Thread {
        /// The thread.
        thread: Box<Thread>,
        /// Its messages.
        messages: Vec<PublicMessage>,
    },
    /// A thread with this id exists.
    Conflict,
}
