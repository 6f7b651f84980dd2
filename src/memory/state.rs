//! What a thread's memory keeps beside messages and notes, in one row.
//!
//! Invariant: fields are only ever added, each with a default, because objects of several versions share a database while a
//! rollout lasts.

use serde::{Deserialize, Serialize};

use super::address::Scope;
use super::cache_lifetime::Lifetime;
use super::settings::{Overrides, Settings};
use super::store::{Turn, TurnStatus};
use crate::protocol::{Commit, Prepare};
use crate::tokens::Calibration;

/// After so many failed cycles in a row the observer is left alone for a while.
const LATCH_AFTER: u32 = 3;
/// How long it is left alone at first, in milliseconds; twice as long each time it fails again.
const LATCH_MS: u64 = 60_000;
/// The longest that it is left alone.
const LATCH_MAX_MS: u64 = 60 * 60_000;

/// The state of a thread's memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Counts the changes of the frozen log.
    pub log_version: u64,
    /// When a provider last saw the prompt, in Unix milliseconds.
    pub last_active_at: Option<u64>,
    /// Prompt tokens of the last answer, as its provider counted them.
    pub last_input: u64,
    /// When the resource's object may be told again, after it could not be; Unix milliseconds.
    pub news_retry_at: u64,
    /// The provider that answered last.
    pub provider: Option<String>,
    /// The model that answered last.
    pub model: Option<String>,
    /// The log or the profile has changed since that provider saw the prompt.
    pub prefix_changed: bool,
    /// How long providers keep this thread's prompts in their caches.
    pub lifetime: Option<Lifetime>,
    /// How our estimates of tokens stand to what providers count.
    pub calibration: Calibration,
    /// Keeps a failing observer from being asked without end.
    pub latch: Latch,
    /// The scope that the last request asked for.
    pub scope: Option<Scope>,
    /// The time zone that the last request named.
    pub time_zone: Option<String>,
    /// The resource's profile as this thread's prompts have it, until the prompt changes anyway.
    pub profile: Option<String>,
    /// What the project says otherwise than the deployment.
    pub project: Overrides,
    /// What the thread's own configuration says otherwise.
    pub overrides: Overrides,
    /// When messages last became notes.
    pub last_observed_at: Option<u64>,
    /// Tokens of messages that became notes.
    pub tokens_observed: u64,
    /// How often the log was rewritten.
    pub reflections: u64,
    /// Note tokens at which a reflector could not make the log shorter; it is not asked again before they have grown.
    pub incompressible_at: u64,
    /// When messages were last deleted, in Unix milliseconds; what was asked before may hold them.
    pub erased_at: Option<u64>,
    /// Notes and lines that were not taken.
    pub junk: Junk,
}

/// What observers wrote and was not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Junk {
    /// Notes that said what another note says.
    pub duplicate: u64,
    /// Answers without a note.
    pub empty: u64,
    /// Notes about the notes.
    pub self_reference: u64,
    /// Lines that were not of the grammar.
    pub malformed: u64,
}

/// Counts failures in a row; open, it keeps the next try waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latch {
    /// Failed cycles since the last success.
    pub failures: u32,
    /// Nothing is tried before, in Unix milliseconds.
    pub open_until: u64,
}

impl Latch {
    /// A cycle failed. `jitter` is any number; it spreads the threads of an outage over time.
    pub fn failed(&mut self, now: u64, jitter: u64) {
        self.failures = self.failures.saturating_add(1);
        if let Some(times) = self.failures.checked_sub(LATCH_AFTER) {
            let wait = LATCH_MS.saturating_mul(1 << times.min(16)).min(LATCH_MAX_MS);
            self.open_until = now + wait + jitter % (wait / 4);
        }
    }

    /// A cycle succeeded.
    pub fn succeeded(&mut self) {
        *self = Latch::default();
    }

    /// True while nothing is to be tried.
    pub fn is_open(&self, now: u64) -> bool {
        now < self.open_until
    }
}

impl State {
    /// Takes what a request says of memory.
    pub fn hear(&mut self, request: &Prepare) {
        if request.scope.is_some() {
            self.scope = request.scope;
        }
        if request.time_zone.is_some() {
            self.time_zone.clone_from(&request.time_zone);
        }
        self.project.clone_from(&request.project);
    }

    /// An estimate as the provider of the last answer would probably count it.
    pub fn corrected(&self, tokens: u64) -> u64 {
        self.model.as_deref().map_or(tokens, |model| self.calibration.corrected(model, tokens))
    }

    /// True when the provider no longer has the last prompt in its cache.
    pub fn is_forgotten(&self, now: u64) -> bool {
        match (self.last_active_at, self.lifetime) {
            (Some(last), Some(lifetime)) => lifetime.has_passed(now.saturating_sub(last)),
            _ => false,
        }
    }

    /// A turn was answered, or its answer broke off.
    pub fn answered(&mut self, turn: &Turn, end: &Commit) {
        if end.profile.is_some() && self.profile.is_none() {
            self.profile.clone_from(&end.profile);
        }
        if matches!(end.status, TurnStatus::Failed | TurnStatus::Lost | TurnStatus::Pending) {
            return;
        }
        let same_model =
            self.provider.as_deref() == Some(&end.provider) && self.model.as_deref() == Some(&end.model);
        match (&mut self.lifetime, self.last_active_at, end.usage) {
            (Some(lifetime), Some(last), Some(usage)) if same_model => {
                let gap = turn.started_at.saturating_sub(last);
                lifetime.seen(gap, !self.prefix_changed, self.last_input, &usage);
            }
            (Some(_), ..) if same_model => {}
            (lifetime, ..) => *lifetime = Some(Lifetime::of(&end.provider, &end.model)),
        }
        if let (Some(estimated), Some(usage)) = (end.prompt_tokens, end.usage) {
            self.calibration.learn(&end.model, estimated, usage.input);
        }
        self.last_active_at = Some(end.finished_at.max(self.last_active_at.unwrap_or_default()));
        self.last_input = end.usage.map_or(0, |usage| usage.input);
        self.provider = Some(end.provider.clone());
        self.model = Some(end.model.clone());
        self.prefix_changed = false;
    }

    /// The settings in force: the deployment's, the project's, the thread's, and what the last request said.
    pub fn settings(&self, deployment: &Settings) -> Settings {
        let said = Overrides { scope: self.scope, time_zone: self.time_zone.clone(), ..Overrides::default() };
        deployment.clone().with(&self.project).with(&self.overrides).with(&said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latch_opens_after_three_failures_and_closes_on_a_success() {
        let mut latch = Latch::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            latch.failed(1_000, 0);
            waits.push(latch.open_until.saturating_sub(1_000) / 60_000);
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(latch.is_open(1_000) && !latch.is_open(1_000 + LATCH_MAX_MS));
        latch.failed(1_000, u64::MAX);
        assert!(latch.open_until < 1_000 + LATCH_MAX_MS + LATCH_MAX_MS / 4);
        latch.succeeded();
        assert_eq!(latch, Latch::default());
    }

    #[test]
    fn what_an_older_version_wrote_is_read_with_defaults() {
        let state: State = serde_json::from_str(r#"{"log_version":3,"unknown":1}"#).unwrap();
        assert_eq!(state, State { log_version: 3, ..State::default() });
    }
}
