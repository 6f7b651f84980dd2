//! Requests that a client may send twice under one `idempotency-key` and that count once.
//!
//! Invariant: a key stands for one request: the same key with another body is refused. A key is the thread's; it is
//! forgotten after a day, and with the thread.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::headers::Headers;
use crate::keys::digest;
use crate::protocol::ThreadKey;
use crate::turn::hex;

/// How long a key is remembered, in milliseconds.
pub const KEY_TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// How many keys a thread remembers; the oldest go first.
pub const MOST_KEYS: u32 = 1_000;

/// The longest answer that is kept for a key, in bytes: a row of the object holds two megabytes. After a longer one the
/// request is asked again, and its turn still stored once.
pub const LONGEST_ANSWER: usize = 1024 * 1024;

/// How long a key whose turn was never begun stands for a request that runs, in milliseconds.
pub const UNBEGUN_MS: u64 = 60_000;

/// The longest key, in characters.
const LONGEST_KEY: usize = 255;

/// Reads the key of a request. Errors: 400 for one that is empty or too long.
pub fn read(headers: Headers<'_>) -> Result<Option<String>, Error> {
    const NAME: &str = "idempotency-key";
    let Some(key) = headers.get(NAME) else { return Ok(None) };
    if key.is_empty() || key.chars().count() > LONGEST_KEY {
        return Err(Error::invalid(NAME, format!("{NAME} must have 1 to {LONGEST_KEY} characters.")));
    }
    Ok(Some(key.to_owned()))
}

/// What tells a request from any other: where it went, and its bytes.
pub fn fingerprint(path: &str, body: &[u8]) -> String {
    hex(&digest(&[path, &String::from_utf8_lossy(body)]))
}

/// A request with a key has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Whose thread.
    pub thread: ThreadKey,
    /// The key.
    pub key: String,
    /// The request's fingerprint.
    pub fingerprint: String,
    /// The id of the turn that it is to be, if it is the first.
    pub turn: String,
    /// When it came, in Unix milliseconds.
    pub at: u64,
}

/// The answer to [`Claim`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claimed {
    /// It is the first, or those before it came to nothing.
    First {
        /// True when one before it came to nothing.
        repeated: bool,
    },
    /// It was answered in full, by an answer that is not kept: it is asked again as the same turn.
    Again {
        /// The turn.
        turn: String,
    },
    /// It was answered in full; this is the answer.
    Finished(KeptAnswer),
    /// The first is still running.
    Running,
    /// The key stands for another request.
    Conflict,
    /// The thread belongs to another resource.
    NotFound,
}

/// An answer that is kept for a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// The body, JSON.
    pub body: String,
    /// Who answered.
    pub provider: String,
    /// Its model.
    pub model: String,
}

/// A request with a key was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeepAnswer {
    /// The key.
    pub key: String,
    /// The turn that the answer belongs to.
    pub turn: String,
    /// The answer.
    pub answer: KeptAnswer,
}

/// 409 for a key that stands for another request.
pub fn conflict() -> Error {
    Error::conflict(
        "This idempotency-key was used for another request to this thread within the last 24 hours. Use a new key for a \
         new request.",
    )
    .with_param("idempotency-key")
    .with_code("idempotency_key_reused")
}

/// 409 for a key whose first request still runs.
pub fn running() -> Error {
    Error::conflict("The first request with this idempotency-key is still running. Try again in a moment.")
        .with_param("idempotency-key")
        .with_code("idempotency_in_progress")
        .with("retry_after_seconds", 1)
}
