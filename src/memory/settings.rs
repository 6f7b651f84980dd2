//! What can be set about memory, and who says so: the deployment, a project, a thread.
//!
//! Invariant: every number holds together with the others (what is kept raw is less than what triggers, a swap comes after
//! its preparation), whoever set which.

use serde::{Deserialize, Serialize};

use super::address::Scope;

/// How a thread's memory works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Raw tokens at which ready notes take the place of their messages.
    pub observe_tokens: u64,
    /// Unclaimed tokens at which an observer is called in the background.
    pub buffer_tokens: u64,
    /// Raw tokens that stay as they were said, whatever is noted.
    pub keep_tokens: u64,
    /// The most tokens of messages that an observer is given at once.
    pub window_tokens: u64,
    /// Note tokens at which a reflector prepares a shorter log in the background.
    pub reflect_tokens: u64,
    /// Note tokens at which the shorter log is swapped in.
    pub swap_tokens: u64,
    /// Use what is ready as soon as the provider has forgotten the prompt anyway.
    pub idle_activation: bool,
    /// A pause of at least so many milliseconds is marked in the conversation; 0 marks none.
    pub gap_ms: u64,
    /// How long a model may take for one try, in milliseconds.
    pub deadline_ms: u64,
    /// How many tries a stretch of the conversation gets.
    pub attempts: u32,
    /// The model that takes notes, `provider/model`.
    pub observer_model: String,
    /// The model that shortens the log.
    pub reflector_model: String,
    /// The most tokens that either may answer with.
    pub answer_tokens: u64,
    /// Whether a resource's threads share what is known of it.
    pub scope: Scope,
    /// The time zone of dates and clock times, by its IANA name.
    pub time_zone: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            observe_tokens: 30_000,
            buffer_tokens: 6_000,
            keep_tokens: 6_000,
            window_tokens: 20_000,
            reflect_tokens: 20_000,
            swap_tokens: 40_000,
            idle_activation: true,
            gap_ms: 10 * 60 * 1000,
            deadline_ms: 60_000,
            attempts: 3,
            observer_model: "google/gemini-2.5-flash".to_owned(),
            reflector_model: "google/gemini-2.5-flash".to_owned(),
            answer_tokens: 8_192,
            scope: Scope::Thread,
            time_zone: "UTC".to_owned(),
        }
    }
}

/// What a project or a thread says otherwise: fields of [`Settings`], those that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Overrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observe_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reflect_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_activation: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observer_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reflector_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

impl Overrides {
    /// These, and what `newer` says beside or otherwise.
    #[must_use]
    pub fn with(self, newer: &Overrides) -> Self {
        let Overrides {
            observe_tokens,
            buffer_tokens,
            keep_tokens,
            reflect_tokens,
            swap_tokens,
            idle_activation,
            observer_model,
            reflector_model,
            scope,
            time_zone,
        } = newer.clone();
        Overrides {
            observe_tokens: observe_tokens.or(self.observe_tokens),
            buffer_tokens: buffer_tokens.or(self.buffer_tokens),
            keep_tokens: keep_tokens.or(self.keep_tokens),
            reflect_tokens: reflect_tokens.or(self.reflect_tokens),
            swap_tokens: swap_tokens.or(self.swap_tokens),
            idle_activation: idle_activation.or(self.idle_activation),
            observer_model: observer_model.or(self.observer_model),
            reflector_model: reflector_model.or(self.reflector_model),
            scope: scope.or(self.scope),
            time_zone: time_zone.or(self.time_zone),
        }
    }
}

impl Settings {
    /// The settings with what `overrides` says.
    #[must_use]
    pub fn with(mut self, overrides: &Overrides) -> Self {
        fn set<T: Clone>(to: &mut T, from: &Option<T>) {
            if let Some(value) = from {
                *to = value.clone();
            }
        }
        set(&mut self.observe_tokens, &overrides.observe_tokens);
        set(&mut self.buffer_tokens, &overrides.buffer_tokens);
        set(&mut self.keep_tokens, &overrides.keep_tokens);
        set(&mut self.reflect_tokens, &overrides.reflect_tokens);
        set(&mut self.swap_tokens, &overrides.swap_tokens);
        set(&mut self.idle_activation, &overrides.idle_activation);
        set(&mut self.observer_model, &overrides.observer_model);
        set(&mut self.reflector_model, &overrides.reflector_model);
        set(&mut self.scope, &overrides.scope);
        set(&mut self.time_zone, &overrides.time_zone);
        self.consistent()
    }

    /// The settings with numbers that hold together: a small threshold draws what depends on it down with it, so that
    /// setting one number is enough.
    #[must_use]
    pub fn consistent(mut self) -> Self {
        self.observe_tokens = self.observe_tokens.max(2);
        self.buffer_tokens = self.buffer_tokens.clamp(1, self.observe_tokens.div_ceil(2));
        self.keep_tokens = self.keep_tokens.min(self.observe_tokens / 2);
        self.window_tokens = self.window_tokens.max(self.buffer_tokens);
        self.swap_tokens = self.swap_tokens.max(2);
        self.reflect_tokens = self.reflect_tokens.clamp(1, self.swap_tokens);
        self.attempts = self.attempts.max(1);
        self
    }

    /// Unclaimed tokens at which an observer is called while so many tokens are raw: half as many near the threshold, so
    /// that notes are ready when it is crossed.
    pub fn buffer_at(&self, raw_tokens: u64) -> u64 {
        let is_near = raw_tokens.saturating_mul(5) >= self.observe_tokens.saturating_mul(4);
        if is_near { self.buffer_tokens.div_ceil(2) } else { self.buffer_tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_enough_and_the_others_follow() {
        let small =
            Settings::default().with(&Overrides { observe_tokens: Some(100), ..Overrides::default() });
        assert_eq!((small.observe_tokens, small.buffer_tokens, small.keep_tokens), (100, 50, 50));
        let swapped = Settings::default().with(&Overrides { swap_tokens: Some(10), ..Overrides::default() });
        assert_eq!((swapped.reflect_tokens, swapped.swap_tokens), (10, 10));
        assert_eq!(Settings::default().consistent(), Settings::default());
    }

    #[test]
    fn near_the_threshold_the_observer_is_called_twice_as_often() {
        let settings = Settings::default();
        assert_eq!(
            [0, 23_999, 24_000, 90_000].map(|raw| settings.buffer_at(raw)),
            [6_000, 6_000, 3_000, 3_000]
        );
    }
}
