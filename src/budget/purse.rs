//! An isolate's part of a budget: what it drew ahead, and what it promised to the requests that it serves.
//!
//! Invariant: no more is promised than was drawn; what was spent is reported once, however often a report is sent.

use super::Budget;
use super::books::{Draw, Grant, LEASE_MS};

/// So long, in milliseconds, a refusal holds for requests that need as much: a spent budget must not be asked for again
/// with each request.
const REFUSAL_MS: u64 = 1_000;
/// So long, in milliseconds, a report may be on its way before another request makes the next one.
const REPORT_MS: u64 = 3_000;
/// Used drawn amounts this old, in milliseconds, are not relied on: the books take them back a little later.
const RELIED_ON_MS: u64 = LEASE_MS - 2_000;
/// How long what was spent or promised waits to be told, in milliseconds.
pub const TOLD_WITHIN_MS: u64 = 1_000;

/// What an isolate holds of one budget.
#[derive(Clone, Debug, Default)]
pub struct Purse {
    /// Drawn, less what was spent since.
    amount: u64,
    drawn_at: u64,
    promised: u64,
    /// Needed by requests that wait for an answer of the books.
    queued: u64,
    /// Spent and not yet told.
    spent: u64,
    /// Since when there is something to tell.
    untold_since: Option<u64>,
    reports: u64,
    on_its_way: Option<Report>,
    refused: Option<Refused>,
}

#[derive(Clone, Debug)]
struct Report {
    number: u64,
    spent: u64,
    sent_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    left: u64,
    until: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It has its promise, which is to be kept with [`Purse::settle`].
    Promised,
    /// The budget has to be asked, or is being asked: look again after that.
    Unknown,
    /// It is spent; so much is left.
    Spent {
        /// What is left.
        left: u64,
    },
}

impl Purse {
    /// Promises an amount to a request, if the purse has it.
    pub fn admit(&mut self, amount: u64, now: u64) -> Admission {
        let holds = now.saturating_sub(self.drawn_at) < RELIED_ON_MS;
        let free = if holds { self.amount.saturating_sub(self.promised) } else { 0 };
        // What needs nothing is let through until the last of the budget is gone, and asked about like the rest.
        if free >= amount && free > 0 {
            self.promise(amount, now);
            return Admission::Promised;
        }
        match self.refused {
            Some(refused) if refused.until > now && refused.left < amount.max(1) => {
                Admission::Spent { left: refused.left }
            }
            _ => Admission::Unknown,
        }
    }

    /// Promises an amount, also one that nobody can check now.
    pub fn promise(&mut self, amount: u64, now: u64) {
        self.promised = self.promised.saturating_add(amount);
        self.untold_since.get_or_insert(now);
    }

    /// A request waits for the books, which are to be asked for this, too.
    pub fn queue(&mut self, amount: u64) {
        self.queued = self.queued.saturating_add(amount);
    }

    /// It waits no longer.
    pub fn unqueue(&mut self, amount: u64) {
        self.queued = self.queued.saturating_sub(amount);
    }

    /// A request that was promised `promised` used `used`.
    pub fn settle(&mut self, promised: u64, used: u64, now: u64) {
        self.promised = self.promised.saturating_sub(promised);
        self.amount = self.amount.saturating_sub(used);
        self.spent = self.spent.saturating_add(used);
        self.untold_since.get_or_insert(now);
    }

    /// The report to send now, which asks for what the waiting requests need; `None` while one is on its way. After one
    /// that failed it tells again what that one told.
    pub fn report(&mut self, budget: Budget, isolate: &str, now: u64) -> Option<Draw> {
        match &self.on_its_way {
            Some(report) if now.saturating_sub(report.sent_at) < REPORT_MS => return None,
            Some(_) => {}
            None => self.reports += 1,
        }
        let report =
            self.on_its_way.get_or_insert(Report { number: self.reports, spent: self.spent, sent_at: now });
        report.sent_at = now;
        Some(Draw {
            budget,
            isolate: isolate.to_owned(),
            report: report.number,
            spent: report.spent,
            promised: self.promised,
            wanted: self.queued.max(1),
        })
    }

    /// True when the books do not know of everything that was spent and promised.
    pub fn has_untold(&self) -> bool {
        self.untold_since.is_some()
    }

    /// True when what was spent and promised should be told, though no request waits: before the books take back what they
    /// do not know to be promised.
    pub fn should_tell(&self, now: u64) -> bool {
        self.untold_since.is_some_and(|since| now.saturating_sub(since) >= TOLD_WITHIN_MS)
            && self.on_its_way.as_ref().is_none_or(|report| now.saturating_sub(report.sent_at) >= REPORT_MS)
    }

    /// True when nothing is lost with the purse: nothing promised, told or asked, and what was drawn is the books' again.
    pub fn is_idle(&self, now: u64) -> bool {
        self.promised == 0
            && self.queued == 0
            && self.spent == 0
            && self.on_its_way.is_none()
            && now.saturating_sub(self.drawn_at) >= LEASE_MS
    }

    /// The books answered a report.
    pub fn answered(&mut self, draw: &Draw, grant: Grant, now: u64) {
        let Some(report) = self.on_its_way.take_if(|report| report.number == draw.report) else { return };
        let meanwhile = self.spent.saturating_sub(report.spent);
        self.spent = meanwhile;
        self.untold_since = (meanwhile > 0 || self.promised != draw.promised).then_some(now);
        self.amount = grant.amount.saturating_sub(meanwhile);
        self.drawn_at = now;
        let missing = grant.amount < draw.promised.saturating_add(draw.wanted);
        let left = grant.amount.saturating_sub(draw.promised).saturating_add(grant.left);
        self.refused = missing.then_some(Refused { left, until: now + REFUSAL_MS });
    }

    /// A report failed; the next one repeats it.
    pub fn failed(&mut self, draw: &Draw) {
        if let Some(report) = self.on_its_way.as_mut().filter(|report| report.number == draw.report) {
            report.sent_at = 0;
        }
    }
}
