//! The books of one budget: what was spent in the period, and what isolates have drawn ahead.
//!
//! Invariant: spent and drawn together are never more than the budget, but for answers that were dearer than their
//! estimate. What an isolate reports is counted once: a report names the one before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Budget;

/// So long, in milliseconds, an isolate may be silent before what it drew and did not promise to a request goes back.
pub const LEASE_MS: u64 = 10_000;

/// So long, in milliseconds, what it promised to requests is kept for it: the longest answer. Then it counts as spent.
pub const PROMISE_MS: u64 = 30 * 60 * 1000;

/// The path of the one message that the object takes.
pub const DRAW: &str = "/v1/draw";

/// The state of a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// When the period began, Unix milliseconds.
    began: u64,
    /// Spent in the period.
    spent: u64,
    /// What isolates hold, by their names.
    drawn: BTreeMap<String, Drawn>,
}

/// What one isolate holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Drawn {
    amount: u64,
    /// How much of it is promised to requests that are being served.
    promised: u64,
    heard_at: u64,
    /// The number of its last report.
    report: u64,
}

/// An isolate reports what it spent and asks for more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The budget as it is in force.
    pub budget: Budget,
    /// The isolate.
    pub isolate: String,
    /// Numbers its reports, from 1; a report that is sent again has its old number.
    pub report: u64,
    /// Spent since the report before.
    pub spent: u64,
    /// Promised to requests that are being served.
    pub promised: u64,
    /// How much it needs at least beyond that.
    pub wanted: u64,
}

/// The answer to [`Draw`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// How much the isolate holds now, what it promised included.
    pub amount: u64,
    /// What is left of the budget for everybody.
    pub left: u64,
}

impl Books {
    /// Takes a report and gives what it asks for, as far as the budget reaches. `now` in Unix milliseconds.
    pub fn draw(&mut self, draw: &Draw, now: u64) -> Grant {
        let (began, _) = draw.budget.period.around(now);
        if self.began != began {
            self.began = began;
            self.spent = 0;
        }
        self.take_back(now);
        let mut held = self.drawn.remove(&draw.isolate).unwrap_or_default();
        if draw.report > held.report {
            held.report = draw.report;
            self.spent = self.spent.saturating_add(draw.spent);
            held.amount = held.amount.saturating_sub(draw.spent);
        }
        held.heard_at = now;
        held.promised = draw.promised;
        // An isolate that was silent for so long that its promises were taken back still keeps them.
        held.amount = held.amount.max(draw.promised);
        let others: u64 = self.drawn.values().map(|drawn| drawn.amount).sum();
        let free = draw.budget.amount.saturating_sub(self.spent).saturating_sub(others);
        let needed = draw.promised.saturating_add(draw.wanted);
        // A hundredth of the budget ahead, less when little is left, so that one isolate does not starve the others.
        let ahead = (draw.budget.amount / 100).min(free.saturating_sub(needed) / 8);
        // What it holds already it may have promised since it wrote.
        held.amount = held.amount.max(needed.saturating_add(ahead).min(free));
        let amount = held.amount;
        self.drawn.insert(draw.isolate.clone(), held);
        Grant { amount, left: free.saturating_sub(amount) }
    }

    /// Spent in the period that `now` lies in.
    pub fn spent(&self, budget: &Budget, now: u64) -> u64 {
        if self.began == budget.period.around(now).0 { self.spent } else { 0 }
    }

    fn take_back(&mut self, now: u64) {
        let mut lost = 0u64;
        self.drawn.retain(|_, drawn| {
            let silent = now.saturating_sub(drawn.heard_at);
            if silent >= LEASE_MS {
                drawn.amount = drawn.promised;
            }
            let kept = silent < PROMISE_MS;
            if !kept {
                lost = lost.saturating_add(drawn.amount);
            }
            kept
        });
        self.spent = self.spent.saturating_add(lost);
    }
}
