//! How many requests a key may make: what is counted together, how much of it, and what a client is told of it.
//!
//! Invariant: the truth is kept in one place a key ([`windows`]); isolates spend permits that were counted there before
//! ([`leases`]), so that the usual request asks nobody and the limit still holds over all of them.
//!
//! If the object that counts does not answer, requests go on at a fraction of the limit, and the log says so: a limit is
//! there to bound a bill, and an outage of the counter must neither stop every user nor lift the bound.

pub mod leases;
pub mod windows;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::reply::Lines;

/// What a request is counted as, beside the count of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Requests to models and what belongs to them.
    LlmProxy,
    /// Reading what is remembered.
    MemoryRead,
    /// Changing it.
    MemoryWrite,
}

/// A time span, with a number of requests that may fall in any span of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// All requests, a minute.
    Global,
    /// Requests to models, a minute.
    LlmProxy,
    /// Requests to models, ten seconds.
    LlmProxyBurst,
    /// Memory read, a minute.
    MemoryRead,
    /// Memory written, a minute.
    MemoryWrite,
}

impl Scope {
    /// The windows that a request of this scope is counted in; its own long one first.
    pub fn windows(self) -> &'static [Window] {
        match self {
            Scope::LlmProxy => &[Window::LlmProxy, Window::LlmProxyBurst, Window::Global],
            Scope::MemoryRead => &[Window::MemoryRead, Window::Global],
            Scope::MemoryWrite => &[Window::MemoryWrite, Window::Global],
        }
    }

    /// The window that answers tell of.
    pub fn main(self) -> Window {
        match self {
            Scope::LlmProxy => Window::LlmProxy,
            Scope::MemoryRead => Window::MemoryRead,
            Scope::MemoryWrite => Window::MemoryWrite,
        }
    }
}

impl Window {
    /// All of them.
    pub const ALL: [Window; 5] =
        [Window::Global, Window::LlmProxy, Window::LlmProxyBurst, Window::MemoryRead, Window::MemoryWrite];

    /// Its length in milliseconds.
    pub fn ms(self) -> u64 {
        match self {
            Window::LlmProxyBurst => 10_000,
            Window::Global | Window::LlmProxy | Window::MemoryRead | Window::MemoryWrite => 60_000,
        }
    }

    /// The word for it in `X-RateLimit-Scope` and in errors. A burst is one of the scope it belongs to.
    pub fn scope(self) -> &'static str {
        match self {
            Window::Global => "global",
            Window::LlmProxy | Window::LlmProxyBurst => "llm_proxy",
            Window::MemoryRead => "memory_read",
            Window::MemoryWrite => "memory_write",
        }
    }
}

/// The number of requests for each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// All requests in 60 s.
    pub global: u32,
    /// Requests to models in 60 s.
    pub llm_proxy: u32,
    /// Requests to models in 10 s.
    pub llm_proxy_burst: u32,
    /// Memory read in 60 s.
    pub memory_read: u32,
    /// Memory written in 60 s.
    pub memory_write: u32,
}

impl Default for Limits {
    /// Far above what one application sends, and where a loop that runs away ends.
    fn default() -> Self {
        Limits {
            global: 5_000,
            llm_proxy: 2_000,
            llm_proxy_burst: 400,
            memory_read: 1_200,
            memory_write: 600,
        }
    }
}

/// Limits that differ from those around them; what is absent does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitChanges {
    /// All requests in 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<u32>,
    /// Requests to models in 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_proxy: Option<u32>,
    /// Requests to models in 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_proxy_burst: Option<u32>,
    /// Memory read in 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_read: Option<u32>,
    /// Memory written in 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_write: Option<u32>,
}

/// Above this nothing is limited; counts stay far below what their integers hold.
const MOST: u32 = 100_000_000;

impl LimitChanges {
    /// Reads a document of limits. Errors: what is wrong with it.
    pub fn read(document: &Value) -> Result<Self, String> {
        let changes: LimitChanges =
            serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
        let all = [
            changes.global,
            changes.llm_proxy,
            changes.llm_proxy_burst,
            changes.memory_read,
            changes.memory_write,
        ];
        match all.into_iter().flatten().find(|limit| !(1..=MOST).contains(limit)) {
            Some(limit) => Err(format!("a limit is a whole number from 1 to {MOST}, not {limit}")),
            None => Ok(changes),
        }
    }
}

impl Limits {
    /// These limits with some of them changed.
    #[must_use]
    pub fn changed(self, changes: &LimitChanges) -> Self {
        Limits {
            global: changes.global.unwrap_or(self.global),
            llm_proxy: changes.llm_proxy.unwrap_or(self.llm_proxy),
            llm_proxy_burst: changes.llm_proxy_burst.unwrap_or(self.llm_proxy_burst),
            memory_read: changes.memory_read.unwrap_or(self.memory_read),
            memory_write: changes.memory_write.unwrap_or(self.memory_write),
        }
    }

    /// The number for a window.
    pub fn of(&self, window: Window) -> u32 {
        match window {
            Window::Global => self.global,
            Window::LlmProxy => self.llm_proxy,
            Window::LlmProxyBurst => self.llm_proxy_burst,
            Window::MemoryRead => self.memory_read,
            Window::MemoryWrite => self.memory_write,
        }
    }
}

/// How a key stands, as an answer's headers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The window told of.
    pub window: Window,
    /// Its limit.
    pub limit: u32,
    /// How many requests are left, as far as this isolate knows.
    pub remaining: u32,
    /// When the oldest counted request leaves the window, in Unix milliseconds.
    pub reset_at: u64,
}

impl Standing {
    /// Adds the headers that tell of it.
    pub fn add_to(&self, lines: &mut Lines) {
        lines.add("x-ratelimit-limit", &self.limit.to_string());
        lines.add("x-ratelimit-remaining", &self.remaining.to_string());
        lines.add("x-ratelimit-reset", &self.reset_at.div_ceil(1_000).to_string());
        lines.add("x-ratelimit-scope", self.window.scope());
    }
}

/// A request over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How the key stands in the window that is full.
    pub standing: Standing,
    /// How long until a request is let in again, in milliseconds.
    pub retry_ms: u64,
}

impl Refusal {
    /// 429 that says which limit it is and when to try again.
    pub fn error(&self) -> Error {
        let Standing { window, limit, .. } = self.standing;
        let (span, wait) = (window.ms() / 1_000, self.retry_ms.div_ceil(1_000).max(1));
        Error::rate_limited(format!(
            "Too many requests: this key may make {limit} in {span} seconds ({}). Try again in {wait} s; the gateway's \
             operator can raise the key's limits.",
            window.scope()
        ))
        .with("scope", window.scope())
        .with("retry_after_seconds", wait)
    }
}

/// What an isolate asks of the object that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The isolate.
    pub holder: String,
    /// What for.
    pub scope: Scope,
    /// True when a request waits for it.
    pub waits: bool,
    /// The isolate's account of its lease, if it is to be settled and filled up; only one such ask is under way.
    pub account: Option<Account>,
    /// The key's limits.
    pub limits: Limits,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Tells this ask from earlier ones whose answer comes late.
    pub number: u32,
    /// Permits spent since the last account.
    pub used: u32,
    /// Permits left.
    pub left: u32,
}

/// What the object that counts answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The request that waits, if one does, may go.
    Granted {
        /// Permits added to the lease.
        added: u32,
        /// What is left in the main window beside all leases.
        remaining: u32,
        /// Milliseconds until the oldest counted request leaves it.
        reset_ms: u64,
    },
    /// The limit is reached.
    Refused {
        /// The window that is full.
        window: Window,
        /// Milliseconds until something leaves it.
        retry_ms: u64,
    },
}

/// How long a lease holds, in milliseconds.
pub const LEASE_MS: u64 = 30_000;

/// The most permits that one isolate may hold unspent: a fiftieth of the limit. A limit below fifty has no leases; each
/// request is counted by itself.
fn lease_of(limit: u32) -> u32 {
    limit / 50
}

/// The most permits that all isolates together may hold unspent: what a key can lose of its limit to isolates that do not
/// need them.
fn leased_in_all(limit: u32) -> u32 {
    limit / 25
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_take_the_place_of_what_they_name() {
        let changes = LimitChanges::read(&json!({"llm_proxy": 7, "global": 9})).unwrap();
        assert_eq!(
            Limits::default().changed(&changes),
            Limits { global: 9, llm_proxy: 7, llm_proxy_burst: 400, memory_read: 1_200, memory_write: 600 }
        );
        assert_eq!(serde_json::to_value(changes).unwrap(), json!({"global": 9, "llm_proxy": 7}));
        for wrong in [json!({"llm": 1}), json!({"global": 0}), json!({"global": "1"}), json!(3)] {
            assert!(LimitChanges::read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_says_which_limit_and_when_to_try_again() {
        let standing =
            Standing { window: Window::LlmProxyBurst, limit: 400, remaining: 0, reset_at: 1_700_000_001_001 };
        let error = Refusal { standing, retry_ms: 2_001 }.error();
        assert_eq!(
            (error.status(), error.body()),
            (
                429,
                json!({"error": {
                    "message": "Too many requests: this key may make 400 in 10 seconds (llm_proxy). Try again in 3 s; the \
                                gateway's operator can raise the key's limits.",
                    "type": "rate_limit_error", "param": null, "code": null, "scope": "llm_proxy",
                    "retry_after_seconds": 3,
                }})
            )
        );
        let mut lines = Lines::default();
        standing.add_to(&mut lines);
        assert_eq!(
            lines.as_str(),
            "x-ratelimit-limit: 400\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1700000002\nx-ratelimit-scope: llm_proxy\n"
        );
    }
}
