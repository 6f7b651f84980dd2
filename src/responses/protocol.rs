//! What the Worker and a chain's object say to each other: JSON over `stub.fetch`, the version in the path.
//!
//! Invariant: both ends tolerate fields they do not know, because during a rollout they run different versions. Every
//! message may be sent twice.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::id::ChainId;

/// `POST`: [`Keep`] to [`Kept`].
pub const KEEP: &str = "/v1/keep";
/// `POST`: [`Point`] to [`Kept`].
pub const POINT: &str = "/v1/point";
/// `POST`: [`ReadHistory`] to [`Found`] of [`History`].
pub const HISTORY: &str = "/v1/history";
/// `POST`: [`ReadResponse`] to [`Found`] of the response object.
pub const READ: &str = "/v1/read";
/// `POST`: [`ReadItems`] to [`Found`] of [`Items`].
pub const ITEMS: &str = "/v1/items";
/// `POST`: [`Delete`] to [`Found`] of nothing: that it was deleted.
pub const DELETE: &str = "/v1/delete";
/// `POST`: [`Delete`] to [`Kept`]: deletes a response even before it came, which is then not kept.
pub const ERASE: &str = "/v1/erase";

/// Which chain is meant. The object answers only to the pair that it was first used with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The caller's project.
    pub project: String,
    /// The chain.
    pub chain: ChainId,
}

/// A message to a chain's object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked<Q> {
    /// Which chain.
    pub place: Place,
    /// What is asked of it.
    pub ask: Q,
}

/// Keeps a response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keep {
    /// Its id, as the client got it.
    pub id: String,
    /// The response that it continues.
    pub previous: Option<String>,
    /// The conversation that it was made in; never together with `previous`.
    pub conversation: Option<String>,
    /// When it was made, in Unix milliseconds; the same each time that it is sent.
    pub created_at: u64,
    /// The items of the request itself, without any history.
    pub input: Vec<Box<RawValue>>,
    /// The response object as the client got it.
    pub response: Box<RawValue>,
    /// The provider that made it in this very form, ids and sealed reasoning its own; `None` for one that was translated.
    #[serde(default)]
    pub maker: Option<String>,
}

/// Remembers, in the home of an id, which other chain holds the response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The response's id.
    pub id: String,
    /// The chain that holds it.
    pub chain: ChainId,
    /// As in [`Keep`].
    pub created_at: u64,
}

/// The answer to [`Keep`] and [`Point`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Kept, now or before.
    Kept,
    /// It was deleted meanwhile, and stays so.
    Deleted,
    /// The object belongs to another project or chain; nothing was kept.
    NotFound,
}

/// What a request goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Past {
    /// The response with this id.
    Response(String),
    /// All of a conversation, whose id this is.
    Conversation(String),
}

/// Asks for everything that was said up to a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadHistory {
    /// Up to where.
    pub from: Past,
}

/// What was said: of each response its input, then its output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct History {
    /// The items, oldest first.
    pub items: Vec<Box<RawValue>>,
    /// False when a response in it continues one that was never kept here; what came before that is not among the
    /// items.
    pub whole: bool,
    /// The provider that made the last response and knows it by its id; `None` where there is none.
    #[serde(default)]
    pub maker: Option<String>,
}

/// Asks for a response object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadResponse {
    /// Its id.
    pub id: String,
}

/// Asks for a page of the items that a response was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadItems {
    /// The response's id.
    pub id: String,
    /// How many at most.
    pub limit: u32,
    /// Newest first.
    pub descending: bool,
    /// The id of the item that the page comes after.
    pub after: Option<String>,
}

/// The answer to [`ReadItems`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Items {
    /// The page in its public form, `{object, data, first_id, last_id, has_more}`.
    Page(Box<RawValue>),
    /// The item that the page should come after is none of the response's.
    UnknownAfter,
}

/// Deletes a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Its id.
    pub id: String,
    /// When the client asked for it, in Unix milliseconds; the same each time that it is sent.
    pub at: u64,
}

/// The answer to a question about one response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found<T> {
    /// It is in this chain.
    Here(T),
    /// It is in that one.
    Elsewhere(ChainId),
    /// It is not kept.
    Nowhere,
}
