//! What threads and the Worker say to a resource's object: JSON over `stub.fetch`, the version in the path.
//!
//! Invariant: both ends tolerate fields they do not know, because during a rollout they run different versions. Every
//! message may be sent twice.

use serde::{Deserialize, Serialize};

use crate::memory::profile::Fact;

/// `POST`: [`Promote`] to [`Done`].
pub const PROMOTE: &str = "/v1/promote";
/// `POST`: [`ReadProfile`] to [`Profile`].
pub const PROFILE: &str = "/v1/profile";
/// `POST`: [`ReadProfile`] to [`Facts`].
pub const FACTS: &str = "/v1/facts";
/// `POST`: [`Forget`] to [`Done`].
pub const FORGET: &str = "/v1/forget";
/// `POST`: [`Delete`] to [`Done`].
pub const DELETE: &str = "/v1/delete";

/// Which resource is meant. The object answers only to the pair that it was first used with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceKey {
    /// The caller's project.
    pub project: String,
    /// The resource's id.
    pub resource: String,
}

/// Brings facts of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promote {
    /// Which resource.
    pub key: ResourceKey,
    /// The facts. Thread and note name each of them: one that is known already is not taken again.
    pub facts: Vec<Fact>,
}

/// Takes back what a thread brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forget {
    /// Which resource.
    pub key: ResourceKey,
    /// The thread.
    pub thread: String,
    /// The notes whose facts are meant; `None` for all.
    #[serde(default)]
    pub notes: Option<Vec<i64>>,
    /// When they were given up, in Unix milliseconds; the same each time that it is sent. What is said later stays.
    pub at: u64,
}

/// Deletes all that is known about a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Which resource.
    pub key: ResourceKey,
    /// When the client asked for it, in Unix milliseconds; the same each time that it is sent.
    pub at: u64,
}

/// The answer to [`Promote`], [`Forget`] and [`Delete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// Done, now or before.
    Done,
    /// The object belongs to another project or resource; nothing was done.
    NotFound,
}

/// Asks for the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadProfile {
    /// Which resource.
    pub key: ResourceKey,
}

/// The facts that the profile is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// By thread and note.
    pub facts: Vec<Fact>,
}

/// The profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The text for the prompt; `None` when nothing is known.
    pub text: Option<String>,
    /// Equal for equal texts, and empty without one.
    pub version: String,
}
