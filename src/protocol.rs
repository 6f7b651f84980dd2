//! What the Worker and a thread's object say to each other: JSON over `stub.fetch`, the version in the path.
//!
//! Invariant: both ends tolerate fields they do not know, because during a rollout they run different versions. A turn
//! id makes every message safe to send twice.

use serde::{Deserialize, Serialize};

use crate::memory::context::Item;
use crate::memory::store::TurnStatus;
use crate::turn::{Message, Stop, Usage};

/// `POST`: [`Prepare`] to [`Prepared`].
pub const PREPARE: &str = "/v1/prepare";
/// `POST`: [`Commit`] to [`Committed`].
pub const COMMIT: &str = "/v1/commit";
/// `POST`: [`ReadMessages`] to [`Messages`].
pub const MESSAGES: &str = "/v1/messages";

/// Whose thread is meant. The object answers only to the pair that it was created for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadKey {
    /// The caller's project.
    pub project: String,
    /// The thread's id.
    pub thread: String,
    /// Its owner; `None` where any owner in the project will do.
    #[serde(default)]
    pub resource: Option<String>,
}

/// A turn begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prepare {
    /// Whose thread; the resource must be there.
    pub key: ThreadKey,
    /// The turn's id, unique for ever.
    pub turn: String,
    /// When it began, in Unix milliseconds.
    pub started_at: u64,
    /// Keep the messages.
    pub store: bool,
    /// Put stored messages before the model.
    pub inject: bool,
    /// The client marked the request as a retry.
    #[serde(default)]
    pub repeated: bool,
    /// The request's messages in order, system texts left out.
    pub messages: Vec<Message>,
}

/// The answer to [`Prepare`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prepared {
    /// The turn is on; this is what the model is to see.
    Ready {
        /// The prompt's messages in order.
        items: Vec<Item>,
        /// Estimated tokens of what was added.
        tokens: u64,
        /// How many stored messages the prompt holds.
        remembered: usize,
        /// What is told beside messages.
        #[serde(default)]
        injection: Injection,
    },
    /// The thread belongs to another resource.
    NotFound,
    /// The request holds more messages than a turn can.
    TooManyMessages,
}

/// What memory tells a model beside messages. Each text is told as it is, its tags included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injection {
    /// Texts that stay the same from turn to turn, in order.
    #[serde(default)]
    pub stable: Vec<String>,
    /// A text that any turn may change; it comes last.
    #[serde(default)]
    pub volatile: Option<String>,
}

impl Injection {
    /// True when nothing is to be told.
    pub fn is_empty(&self) -> bool {
        self.stable.is_empty() && self.volatile.is_none()
    }

    /// The texts in order.
    pub fn texts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.stable.iter().chain(&self.volatile).map(String::as_str)
    }
}

/// A turn ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// The turn's id.
    pub turn: String,
    /// How it began, for an object that has not heard of the turn.
    #[serde(default)]
    pub prepare: Option<Prepare>,
    /// When it ended, in Unix milliseconds.
    pub finished_at: u64,
    /// How it ended; never `Pending`.
    pub status: TurnStatus,
    /// What the model said, as far as it came.
    pub answer: Option<Message>,
    /// Token counts as reported.
    pub usage: Option<Usage>,
    /// Why the model stopped.
    pub stop: Option<Stop>,
    /// The provider that answered.
    pub provider: String,
    /// The model that answered.
    pub model: String,
}

/// The answer to [`Commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Committed {
    /// Stored, now or before.
    Stored,
    /// The object has not heard of the turn, and was not told how it began; nothing was stored.
    UnknownTurn,
    /// The thread belongs to another resource; nothing was stored.
    NotFound,
    /// The request holds more messages than a turn can; nothing was stored.
    TooManyMessages,
}

/// Asks for a page of a thread's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadMessages {
    /// Whose thread.
    pub key: ThreadKey,
    /// How many at most.
    pub limit: u32,
    /// How many to pass over.
    pub offset: u32,
    /// Newest first.
    pub descending: bool,
}

/// The answer to [`ReadMessages`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Messages {
    /// The page.
    Page {
        /// The messages.
        messages: Vec<PublicMessage>,
        /// How many there are in all.
        total: u64,
    },
    /// There is no such thread.
    NotFound,
}

/// A message as the object hands it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublicMessage {
    /// Its id.
    pub id: String,
    /// When it was stored, in Unix milliseconds.
    pub created_at: u64,
    /// True for an answer that was cut short.
    pub incomplete: bool,
    /// The message.
    pub message: Message,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_does_not_know_of_injection_yet_injects_nothing() {
        let old = r#"{"ready":{"items":[{"keep":0}],"tokens":0,"remembered":0}}"#;
        let ready = Prepared::Ready {
            items: vec![Item::Keep(0)],
            tokens: 0,
            remembered: 0,
            injection: Injection::default(),
        };
        assert_eq!(serde_json::from_str::<Prepared>(old).unwrap(), ready);
        assert_eq!(serde_json::from_str::<Injection>(r#"{"later":1}"#).unwrap(), Injection::default());
    }
}
