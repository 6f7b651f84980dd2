//! How long a provider keeps a prompt in its cache: once that time has passed, a prompt may begin anew at no cost.
//!
//! Invariant: what a provider reports outweighs what its pages say, but only reports that leave no doubt count: of a
//! prefix that did not change, and of a provider that has reported a hit before.

use serde::{Deserialize, Serialize};

use crate::providers::OPENROUTER;
use crate::turn::Usage;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// The shortest that is believed. Caches that are kept at all outlive a turn; what looks shorter is a request that
/// reached another machine.
pub const SHORTEST_MS: u64 = MINUTE;
/// The longest that is believed: no provider promises more without being paid for storage.
pub const LONGEST_MS: u64 = 24 * HOUR;

/// The shortest prefix whose miss says anything, in tokens. Providers do not cache prompts below a length, 1,024 to 4,096
/// tokens by model; with one that asks for more there is no hit to begin with.
const SHORTEST_PREFIX: u64 = 2_048;

/// How long the cache of a model lasts without use as far as the provider's pages say, in milliseconds.
///
/// - Anthropic: five minutes from the last use (<https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching>).
/// - OpenAI: five to ten minutes, in quiet times up to an hour, and longer for newer models
///   (<https://platform.openai.com/docs/guides/prompt-caching>). An hour from GPT-5 on.
/// - Gemini: cached data is kept for up to 24 hours
///   (<https://cloud.google.com/vertex-ai/generative-ai/docs/context-cache/context-cache-overview>).
/// - Through OpenRouter the maker's own holds (<https://openrouter.ai/docs/features/prompt-caching>).
///
/// All others are taken for the shortest of these.
pub fn initial(provider: &str, model: &str) -> u64 {
    let (maker, name) = match model.split_once('/') {
        Some((maker, name)) if provider == OPENROUTER => (maker, name),
        _ => (provider, model),
    };
    match maker {
        "openai" | "codex" if generation_of_gpt(name) >= Some(5) => HOUR,
        "google" if name.rsplit('/').next().unwrap_or(name).starts_with("gemini-") => LONGEST_MS,
        _ => 5 * MINUTE,
    }
}

/// The major version of a GPT model.
fn generation_of_gpt(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("gpt-")?;
    rest.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()
}

/// How long the cache of one model lasts without use, as far as is known by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    ms: u64,
    /// The provider has reported a hit: it does cache, and does say so.
    #[serde(default)]
    reported: bool,
}

impl Lifetime {
    /// What the provider's pages say.
    pub fn of(provider: &str, model: &str) -> Self {
        Lifetime { ms: initial(provider, model), reported: false }
    }

    /// Learns from an answer. `gap_ms` is how long after the request before it the request came, `prefix_unchanged` says
    /// that its prompt began with that one's, `prompt_tokens` is how long that one was.
    ///
    /// A hit holds most of the prefix: a small part of it may be what other conversations share. One miss can be chance
    /// (a request that reached another machine), so it takes away half at most.
    pub fn seen(&mut self, gap_ms: u64, prefix_unchanged: bool, prompt_tokens: u64, usage: &Usage) {
        if !prefix_unchanged || prompt_tokens == 0 {
            return;
        }
        if usage.cached > prompt_tokens / 2 {
            self.reported = true;
            self.ms = self.ms.max(gap_ms.min(LONGEST_MS));
        } else if usage.cached == 0
            && usage.input > 0
            && self.reported
            && prompt_tokens >= SHORTEST_PREFIX
            && gap_ms < self.ms
        {
            self.ms = gap_ms.max(self.ms / 2).max(SHORTEST_MS);
        }
    }

    /// True when a prompt that was last sent so long ago is no longer in the cache.
    pub fn has_passed(&self, idle_ms: u64) -> bool {
        idle_ms >= self.ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_begins_with_what_the_makers_pages_say() {
        for (provider, model, expected) in [
            ("anthropic", "claude-sonnet-4-5", 5 * MINUTE),
            ("openai", "gpt-5", HOUR),
            ("openai", "gpt-5.4-mini", HOUR),
            ("openai", "gpt-10-pro", HOUR),
            ("codex", "gpt-5.3-codex", HOUR),
            ("openai", "gpt-4.1", 5 * MINUTE),
            ("openai", "gpt-oss-120b", 5 * MINUTE),
            ("openai", "o3", 5 * MINUTE),
            ("openai", "gpt-99999999999999999999", 5 * MINUTE),
            ("google", "gemini-2.5-flash", 24 * HOUR),
            ("google", "models/gemini-3.1-pro-preview", 24 * HOUR),
            ("google", "gemma-3-27b-it", 5 * MINUTE),
            ("openrouter", "openai/gpt-5.4", HOUR),
            ("openrouter", "openai/gpt-4o", 5 * MINUTE),
            ("openrouter", "google/gemini-3-flash", 24 * HOUR),
            ("openrouter", "anthropic/claude-opus-4.6", 5 * MINUTE),
            ("openrouter", "openrouter/auto", 5 * MINUTE),
            ("openrouter", "auto", 5 * MINUTE),
            ("groq", "openai/gpt-5", 5 * MINUTE),
            ("mine", "gpt-5", 5 * MINUTE),
        ] {
            assert_eq!(initial(provider, model), expected, "{provider} {model}");
        }
    }

    /// A report: the gap in minutes, whether the prefix is the same, its tokens, and how many were cached.
    type Report = (u64, bool, u64, u64);

    fn after(reports: &[Report]) -> u64 {
        let mut lifetime = Lifetime { ms: 8 * MINUTE, reported: false };
        for &(gap, unchanged, tokens, cached) in reports {
            let usage = Usage { input: tokens + 10, cached, ..Usage::default() };
            lifetime.seen(gap * MINUTE, unchanged, tokens, &usage);
        }
        let minutes = lifetime.ms / MINUTE;
        assert!(lifetime.has_passed(lifetime.ms) && !lifetime.has_passed(lifetime.ms - 1));
        let text = serde_json::to_string(&lifetime).unwrap();
        assert_eq!(serde_json::from_str::<Lifetime>(&text).unwrap(), lifetime);
        minutes
    }

    #[test]
    fn reports_without_doubt_move_it() {
        let hit = (1, true, 4_000, 3_900);
        let cases: &[(&str, &[Report], u64)] = &[
            ("nothing seen", &[], 8),
            ("a hit within it", &[hit], 8),
            ("a hit after a longer gap", &[(30, true, 4_000, 3_900)], 30),
            ("a hit with a short prefix", &[(30, true, 1_100, 1_024)], 30),
            ("a hit after days", &[(3_000, true, 4_000, 3_900)], 24 * 60),
            ("a hit of a part that others share", &[(30, true, 40_000, 1_024)], 8),
            ("a hit of another prefix", &[(30, false, 4_000, 3_900)], 8),
            ("a miss before any hit", &[(2, true, 4_000, 0)], 8),
            ("a miss", &[hit, (7, true, 4_000, 0)], 7),
            ("an early miss takes half", &[hit, (1, true, 4_000, 0)], 4),
            (
                "many misses",
                &[hit, (0, true, 4_000, 0), (0, true, 4_000, 0), (0, true, 4_000, 0), (0, true, 4_000, 0)],
                1,
            ),
            ("a miss of a changed prefix", &[hit, (2, false, 4_000, 0)], 8),
            ("a miss of the shortest prefix that counts", &[hit, (7, true, 2_048, 0)], 7),
            ("a miss of a short prefix", &[hit, (7, true, 2_047, 0)], 8),
            ("a miss in part", &[hit, (2, true, 4_000, 1_000)], 8),
            ("a miss once it has passed", &[hit, (8, true, 4_000, 0)], 8),
            ("a miss long after it has passed", &[hit, (20, true, 4_000, 0)], 8),
            ("a miss, then a late hit", &[hit, (2, true, 4_000, 0), (20, true, 4_000, 3_900)], 20),
            ("no prefix", &[(30, true, 0, 10)], 8),
        ];
        for (what, reports, expected) in cases {
            assert_eq!(after(reports), *expected, "{what}");
        }
    }

    #[test]
    fn an_answer_without_token_counts_is_no_miss() {
        let mut lifetime = Lifetime { ms: HOUR, reported: true };
        lifetime.seen(MINUTE, true, 9_000, &Usage::default());
        assert_eq!(lifetime, Lifetime { ms: HOUR, reported: true });
    }
}
