//! What the Worker and a thread's object say to each other: JSON over `stub.fetch`, the version in the path.
//!
//! Invariant: both ends tolerate fields they do not know, because during a rollout they run different versions. A turn
//! id makes every message safe to send twice.

pub mod deletion;
mod details;
mod post;

use serde::{Deserialize, Serialize};

pub use self::deletion::{
    DELETE, DELETE_MESSAGES, Delete, DeleteMessages, Deleted, LINK_RESPONSE, LinkResponse, Linked,
    MessagesDeleted,
};
pub use self::details::{CREATE, Create, Created, DETAILS, Details, ReadDetails, UPDATE, Update};
pub use self::post::{POST, Post, Posted, Posting};

use crate::memory::address::Scope;
use crate::memory::context::Item;
use crate::memory::record::Record;
use crate::memory::settings::Overrides;
use crate::memory::store::TurnStatus;
use crate::turn::{Message, Stop, Usage};

/// `POST`: [`Prepare`] to [`Prepared`].
pub const PREPARE: &str = "/v1/prepare";
/// `POST`: [`Commit`] to [`Committed`].
pub const COMMIT: &str = "/v1/commit";
/// `POST`: [`ReadMessages`] to [`Messages`].
pub const MESSAGES: &str = "/v1/messages";
/// `POST`: [`ReadObservations`] to [`Observations`].
pub const OBSERVATIONS: &str = "/v1/observations";
/// `POST`: [`Configure`] to [`Observations`].
pub const CONFIGURE: &str = "/v1/configure";
/// `POST`: [`Search`] to [`Found`].
pub const SEARCH: &str = "/v1/search";
/// `POST`: [`ReadSources`] to [`Sources`].
pub const SOURCES: &str = "/v1/sources";

/// `POST`: [`ReadAround`] to [`Sources`].
pub const AROUND: &str = "/v1/around";
/// `POST`: [`Remember`] to [`Remembered`].
pub const REMEMBER: &str = "/v1/remember";
/// `POST`: [`ForgetNotes`] to [`NotesForgotten`].
pub const FORGET_NOTES: &str = "/v1/forget-notes";

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
    /// How far memory is to reach; `None` leaves it to the settings.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// The user's time zone by its IANA name; `None` leaves it to the settings.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// What the project says otherwise than the deployment.
    #[serde(default)]
    pub project: Overrides,
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
        /// The resource's profile belongs in front of it, and the thread does not have it yet.
        #[serde(default)]
        wants_profile: bool,
        /// Estimated tokens of all messages and texts of the prompt; `None` where pictures, sound or files are among them,
        /// whose price is a guess.
        #[serde(default)]
        prompt_tokens: Option<u64>,
    },
    /// The thread belongs to another resource.
    NotFound,
    /// The turn began before the thread was deleted.
    Deleted,
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
    /// The resource's profile as it went to the model, where the thread wanted it.
    #[serde(default)]
    pub profile: Option<String>,
    /// Our estimate of the prompt's tokens, all of it; `None` where it was not made.
    #[serde(default)]
    pub prompt_tokens: Option<u64>,
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
    /// The thread was deleted after the turn began; nothing was stored.
    Deleted,
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

/// Asks for what a thread has noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadObservations {
    /// Whose thread.
    pub key: ThreadKey,
}

/// Sets what a thread's memory does otherwise than its project's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// Whose thread.
    pub key: ThreadKey,
    /// What is set; what is not stays as it was.
    pub overrides: Overrides,
}

/// The answer to [`ReadObservations`] and [`Configure`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observations {
    /// How the thread's memory stands.
    Record(Box<Record>),
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

/// Asks what of a thread's messages and notes has to do with a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// Whose thread.
    pub key: ThreadKey,
    /// The question: any words.
    pub query: String,
    /// How many hits at most.
    pub limit: u32,
}

/// The answer to [`Search`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// What was found.
    Hits {
        /// Best first.
        hits: Vec<Hit>,
        /// False while older messages have not been indexed yet: a later search may find more.
        complete: bool,
    },
    /// There is no such thread.
    NotFound,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// What it is.
    pub kind: HitKind,
    /// The message's public id, or the note's number.
    pub id: String,
    /// The places in the conversation: the message's own, or those that the note rests on.
    pub seqs: Vec<i64>,
    /// Who spoke: a role, or for a note the speaker that it rests on.
    pub speaker: String,
    /// The note's priority as its letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// When it was said, in Unix milliseconds.
    pub at: u64,
    /// The stretch of its text that says most about the question, at most 240 characters, `…` where it was cut.
    pub snippet: String,
    /// How well it fits; only to be compared with the other hits of a search.
    pub score: f64,
    /// It holds none of the words itself: it stands beside a message that does.
    #[serde(default)]
    pub is_beside: bool,
}

/// What a hit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HitKind {
    /// A message as it was said.
    Message,
    /// A note of the log.
    Note,
}

/// Asks for the messages that a note rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSources {
    /// Whose thread.
    pub key: ThreadKey,
    /// The note's number; a note that was rewritten since still has its own.
    pub note: i64,
}

/// Asks for a message with those that stand before and behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAround {
    /// Whose thread.
    pub key: ThreadKey,
    /// The message's public id.
    pub id: String,
    /// How many before it.
    pub before: u32,
    /// How many behind it.
    pub behind: u32,
}

/// Asks for something to be noted that was said outside of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remember {
    /// Whose thread; the resource must be there. A thread that does not exist is made.
    pub key: ThreadKey,
    /// Names what is done: sent twice it is done once.
    pub turn: String,
    /// When it was asked for, in Unix milliseconds.
    pub at: u64,
    /// What is to be noted, on one line.
    pub text: String,
}

/// The answer to [`Remember`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remembered {
    /// It is in the log of notes.
    Noted {
        /// The note's number.
        note: i64,
    },
    /// The thread belongs to another resource; nothing was stored.
    NotFound,
    /// The thread was deleted after it was asked for; nothing was stored.
    Deleted,
}

/// Asks for notes to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetNotes {
    /// Whose thread.
    pub key: ThreadKey,
    /// Their numbers.
    pub notes: Vec<i64>,
}

/// The answer to [`ForgetNotes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotesForgotten {
    /// Those of them that were in the log are gone.
    Forgotten {
        /// Their numbers and what they said, the details of a note with it.
        notes: Vec<(i64, String)>,
    },
    /// There is no such thread.
    NotFound,
}

/// The answer to [`ReadSources`] and [`ReadAround`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sources {
    /// The messages in order, without those that a branch replaced.
    Messages(Vec<PublicMessage>),
    /// There is no such thread, or no such note or message in it.
    NotFound,
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
            wants_profile: false,
            prompt_tokens: None,
        };
        assert_eq!(serde_json::from_str::<Prepared>(old).unwrap(), ready);
        assert_eq!(serde_json::from_str::<Injection>(r#"{"later":1}"#).unwrap(), Injection::default());
    }
}
