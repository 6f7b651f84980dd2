//! An attempt at a provider that failed before another one was made, as the ledger keeps it.
//!
//! Invariant: what a provider counted is charged, whether its answer was used or not; no word of a provider is kept.

use serde_json::{Value, json};

use super::prices::{Prices, dollars};
use crate::turn::Usage;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The provider.
    pub provider: String,
    /// The model as the provider calls it.
    pub model: String,
    /// The class of the failure, as in lists of what was tried.
    pub failure: &'static str,
    /// The status that the provider answered with, or that its error stands for.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// Token counts, where the provider gave them.
    pub usage: Option<Usage>,
}

impl FailedAttempt {
    /// Its cost in nano-dollars; `None` where the provider counted something whose price nobody knows.
    pub fn cost(&self, prices: &Prices) -> Option<u64> {
        match &self.usage {
            Some(usage) => prices.cost(&self.provider, &self.model, usage),
            None => Some(0),
        }
    }

    /// Its tokens, as budgets count them.
    pub fn tokens(&self) -> u64 {
        self.usage.map_or(0, |usage| usage.input.saturating_add(usage.output))
    }

    /// As the ledger shows it.
    pub fn shown(&self, prices: &Prices) -> Value {
        let usage = self.usage.unwrap_or_default();
        json!({
            "provider": self.provider,
            "model": self.model,
            "failure": self.failure,
            "upstream_status": self.status,
            "latency_ms": self.ms,
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "cost_usd": self.cost(prices).map(dollars),
        })
    }
}
