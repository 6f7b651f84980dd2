//! Messages about a thread itself: what it is called, and what its owner keeps with it.

use serde::{Deserialize, Serialize};

use super::ThreadKey;
use crate::memory::store::Thread;

/// `POST`: [`Create`] to [`Created`].
pub const CREATE: &str = "/v1/create";
/// `POST`: [`ReadDetails`] to [`Details`].
pub const DETAILS: &str = "/v1/details";
/// `POST`: [`Update`] to [`Details`].
pub const UPDATE: &str = "/v1/update";

/// Brings a thread into being.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Whose thread; the resource must be there.
    pub key: ThreadKey,
    /// What its owner calls it.
    #[serde(default)]
    pub title: Option<String>,
    /// What its owner keeps with it: JSON.
    #[serde(default)]
    pub metadata: Option<String>,
}

/// The answer to [`Create`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Created {
    /// It is there.
    Created(Box<Thread>),
    /// It was there, and stays as it was.
    Existing(Box<Thread>),
    /// It is another resource's.
    Conflict,
}

/// Asks what a thread is called, and what is kept with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadDetails {
    /// Whose thread.
    pub key: ThreadKey,
}

/// Changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Whose thread.
    pub key: ThreadKey,
    /// What its owner calls it from now on; `None` leaves that as it is, `Some(None)` takes it away.
    #[serde(default, with = "set")]
    pub title: Option<Option<String>>,
    /// What its owner keeps with it from now on.
    #[serde(default, with = "set")]
    pub metadata: Option<Option<String>>,
}

/// The answer to [`ReadDetails`] and [`Update`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Details {
    /// The thread.
    Thread(Box<Thread>),
    /// There is no such thread.
    NotFound,
}

/// What may be set to nothing, as a list of at most one: JSON's null cannot tell nothing from not set.
mod set {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::option_option, clippy::ref_option)]
    pub fn serialize<S: Serializer>(value: &Option<Option<String>>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(std::slice::from_ref).serialize(to)
    }

    #[allow(clippy::option_option)]
    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Option<String>>, D::Error> {
        let values = Option::<Vec<Option<String>>>::deserialize(from)?;
        Ok(values.and_then(|values| values.into_iter().next()))
    }
}
