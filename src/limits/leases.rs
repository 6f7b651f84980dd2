//! What an isolate may let in by itself.
//!
//! Invariant: a request is let in only for a permit that the object has counted, but when the object does not answer. A
//! lease ends here before it ends there: its time runs from when it was asked for. Where a lease runs out while it is
//! being renewed, each request asks for itself.

use std::collections::HashMap;

use super::{Account, Answer, Ask, LEASE_MS, Limits, Refusal, Scope, Standing};
use crate::error::{Error, Kind};

/// After this long an ask that had no answer is given up.
pub const ASK_MS: u64 = 2_000;

/// How long a refusal is repeated without asking again, at most: what other isolates give back is found soon.
const REFUSED_MS: u64 = 500;

/// How long an object that did not answer is not asked again: nobody waits for it meanwhile.
const SILENT_MS: u64 = 1_000;

/// While the object does not answer, an isolate lets in a tenth of the limit every ten seconds.
const OUTAGE_MS: u64 = 10_000;
const OUTAGE_SHARE: u32 = 10;

/// Above this many keys the leases of those that were not seen lately are dropped; the object settles them.
const CAPACITY: usize = 2_000;

/// The leases of an isolate.
#[derive(Debug)]
pub struct Leases {
    holder: String,
    leases: HashMap<(String, Scope), Lease>,
}

#[derive(Debug, Default)]
struct Lease {
    /// The limits that it was asked for under.
    limits: Option<Limits>,
    left: u32,
    used: u32,
    expires_at: u64,
    /// The number of the account that is under way, and until when its answer is waited for.
    number: u32,
    asking_until: u64,
    /// As the object last told.
    remaining: u32,
    reset_at: u64,
    /// The last refusal, and since when.
    refused: Option<(Refusal, u64)>,
    /// Until when the object is not asked.
    silent_until: u64,
    /// When the present span of an outage began, and what was let in since.
    outage: (u64, u32),
    seen_at: u64,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Taken {
    /// Let in. What to ask of the object meanwhile, if anything.
    Admitted(Standing, Option<Ask>),
    /// The object has to be asked first.
    Asking(Ask),
    /// Over the limit.
    Refused(Refusal),
    /// The object did not answer a moment ago, and what may go without it is used up.
    Uncounted(Error),
}

impl Leases {
    /// No leases yet. `holder` tells this isolate from all others.
    pub fn new(holder: String) -> Self {
        Leases { holder, leases: HashMap::new() }
    }

    /// Takes a permit for a request of a key at `now`, in Unix milliseconds.
    pub fn take(&mut self, key: &str, scope: Scope, limits: Limits, now: u64) -> Taken {
        self.make_room(now);
        let holder = self.holder.clone();
        let lease = self.leases.entry((key.to_owned(), scope)).or_default();
        lease.seen_at = now;
        if lease.limits != Some(limits) {
            // What was handed out under other limits is given back, and what was refused is asked again.
            lease.limits = Some(limits);
            lease.left = 0;
            lease.refused = None;
        }
        if now >= lease.expires_at {
            lease.left = 0;
        }
        if let Some((refusal, since)) = lease.refused {
            let gone = now.saturating_sub(since);
            if gone < refusal.retry_ms.min(REFUSED_MS) {
                return Taken::Refused(Refusal { retry_ms: refusal.retry_ms - gone, ..refusal });
            }
            lease.refused = None;
        }
        let free = now >= lease.asking_until;
        if lease.left > 0 {
            lease.left -= 1;
            lease.used += 1;
            let top_up = (free && lease.left <= lease.used).then(|| Ask {
                holder,
                scope,
                waits: false,
                account: Some(lease.account(now)),
                limits,
            });
            return Taken::Admitted(lease.standing(scope, limits, now), top_up);
        }
        if now < lease.silent_until {
            return match lease.uncounted(scope, limits, now) {
                Ok(standing) => Taken::Admitted(standing, None),
                Err(error) => Taken::Uncounted(error),
            };
        }
        let account = free.then(|| lease.account(now));
        Taken::Asking(Ask { holder, scope, waits: true, account, limits })
    }

    /// Takes in what the object answered to an ask that was sent at `asked_at`. Errors: the refusal of the request that
    /// waits; one that does not is never refused.
    pub fn answered(
        &mut self,
        key: &str,
        ask: &Ask,
        answer: Answer,
        asked_at: u64,
        now: u64,
    ) -> Result<Standing, Refusal> {
        let lease = self.leases.entry((key.to_owned(), ask.scope)).or_default();
        let current = ask.account.filter(|account| account.number == lease.number);
        if current.is_some() {
            lease.asking_until = 0;
        }
        lease.silent_until = 0;
        match answer {
            Answer::Granted { added, remaining, reset_ms } => {
                // An account that was given up has been taken back by a later one.
                if let Some(account) = current {
                    lease.used = lease.used.saturating_sub(account.used);
                    lease.left += added;
                    lease.expires_at = asked_at + LEASE_MS;
                }
                lease.remaining = remaining;
                lease.reset_at = asked_at + reset_ms;
                lease.refused = None;
                Ok(lease.standing(ask.scope, ask.limits, now))
            }
            Answer::Refused { window, retry_ms } => {
                if let Some(account) = current {
                    lease.used = lease.used.saturating_sub(account.used);
                }
                let limit = ask.limits.of(window);
                let standing = Standing { window, limit, remaining: 0, reset_at: now + retry_ms };
                let refusal = Refusal { standing, retry_ms };
                lease.refused = Some((refusal, now));
                Err(refusal)
            }
        }
    }

    /// The object did not answer an ask. Errors: 503 once the share that may go without it is used up.
    pub fn unanswered(&mut self, key: &str, ask: &Ask, now: u64) -> Result<Standing, Error> {
        let lease = self.leases.entry((key.to_owned(), ask.scope)).or_default();
        if ask.account.is_some_and(|account| account.number == lease.number) {
            lease.asking_until = 0;
        }
        lease.silent_until = now + SILENT_MS;
        match ask.waits {
            true => lease.uncounted(ask.scope, ask.limits, now),
            false => Ok(lease.standing(ask.scope, ask.limits, now)),
        }
    }

    /// Drops what was not seen for as long as a lease holds, and if that is not enough, everything.
    fn make_room(&mut self, now: u64) {
        if self.leases.len() >= CAPACITY {
            self.leases.retain(|_, lease| now < lease.seen_at + LEASE_MS);
            if self.leases.len() >= CAPACITY {
                self.leases.clear();
            }
        }
    }
}

impl Lease {
    /// Begins an account.
    fn account(&mut self, now: u64) -> Account {
        self.number = self.number.wrapping_add(1);
        self.asking_until = now + ASK_MS;
        Account { number: self.number, used: self.used, left: self.left }
    }

    /// Lets a request in that nobody counts. Errors: 503 once the share that may go so is used up.
    fn uncounted(&mut self, scope: Scope, limits: Limits, now: u64) -> Result<Standing, Error> {
        let limit = scope.windows().iter().map(|window| limits.of(*window)).min().unwrap_or(0);
        let (began, let_in) = self.outage;
        let (began, let_in) = if now < began + OUTAGE_MS { (began, let_in) } else { (now, 0) };
        if let_in >= limit.div_ceil(OUTAGE_SHARE) {
            return Err(Error::new(
                Kind::Overloaded,
                "The gateway cannot count requests at the moment, and lets only a part of them in. Try again in a few \
                 seconds.",
            ));
        }
        self.outage = (began, let_in + 1);
        Ok(self.standing(scope, limits, now))
    }

    fn standing(&self, scope: Scope, limits: Limits, now: u64) -> Standing {
        let window = scope.main();
        let limit = limits.of(window);
        let remaining = self.remaining.saturating_add(self.left).min(limit);
        Standing { window, limit, remaining, reset_at: self.reset_at.max(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Window;

    const LIMITS: Limits =
        Limits { global: 5_000, llm_proxy: 2_000, llm_proxy_burst: 400, memory_read: 200, memory_write: 600 };

    fn granted(added: u32) -> Answer {
        Answer::Granted { added, remaining: 100, reset_ms: 1_000 }
    }

    fn asking(leases: &mut Leases, now: u64) -> Ask {
        match leases.take("k", Scope::MemoryRead, LIMITS, now) {
            Taken::Asking(ask) => ask,
            other => panic!("{other:?}"),
        }
    }

    fn admitted(leases: &mut Leases, now: u64) -> (u32, Option<Account>) {
        match leases.take("k", Scope::MemoryRead, LIMITS, now) {
            Taken::Admitted(standing, ask) => (standing.remaining, ask.and_then(|ask| ask.account)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lease_is_spent_without_asking_and_renewed_when_half_of_it_is_gone() {
        let mut leases = Leases::new("i".into());
        let ask = asking(&mut leases, 0);
        assert_eq!(ask.account, Some(Account { number: 1, used: 0, left: 0 }));
        let standing = leases.answered("k", &ask, granted(4), 0, 9).unwrap();
        assert_eq!((standing.remaining, standing.reset_at), (104, 1_000));
        assert_eq!(admitted(&mut leases, 10), (103, None));
        assert_eq!(admitted(&mut leases, 10), (102, Some(Account { number: 2, used: 2, left: 2 })));
        assert_eq!(admitted(&mut leases, 10), (101, None), "one account at a time");
        let renewal = Ask { waits: false, account: Some(Account { number: 2, used: 2, left: 2 }), ..ask };
        leases.answered("k", &renewal, granted(2), 10, 20).unwrap();
        assert_eq!(admitted(&mut leases, 20), (102, Some(Account { number: 3, used: 2, left: 2 })));
    }

    #[test]
    fn while_a_lease_is_renewed_further_requests_ask_for_themselves_alone() {
        let mut leases = Leases::new("i".into());
        assert!(asking(&mut leases, 0).account.is_some());
        assert_eq!(asking(&mut leases, 1).account, None);
        assert!(asking(&mut leases, ASK_MS).account.is_some(), "the first is given up");
    }

    #[test]
    fn an_answer_to_an_account_that_was_given_up_adds_nothing() {
        let mut leases = Leases::new("i".into());
        let late = asking(&mut leases, 0);
        let next = asking(&mut leases, ASK_MS);
        leases.answered("k", &late, granted(4), 0, ASK_MS + 1).unwrap();
        leases.answered("k", &next, granted(1), ASK_MS, ASK_MS + 2).unwrap();
        assert_eq!(admitted(&mut leases, ASK_MS + 3).1, Some(Account { number: 3, used: 1, left: 0 }));
    }

    #[test]
    fn a_lease_is_over_when_its_time_is_and_what_was_spent_of_it_is_still_told() {
        let mut leases = Leases::new("i".into());
        let ask = asking(&mut leases, 0);
        leases.answered("k", &ask, granted(4), 0, 1).unwrap();
        admitted(&mut leases, 2);
        assert_eq!(asking(&mut leases, LEASE_MS).account, Some(Account { number: 2, used: 1, left: 0 }));
    }

    #[test]
    fn other_limits_end_a_lease_and_a_refusal() {
        let mut leases = Leases::new("i".into());
        let ask = asking(&mut leases, 0);
        leases.answered("k", &ask, granted(4), 0, 1).unwrap();
        admitted(&mut leases, 2);
        let lowered = Limits { global: 1, ..LIMITS };
        let ask = match leases.take("k", Scope::MemoryRead, lowered, 3) {
            Taken::Asking(ask) => ask,
            other => panic!("{other:?}"),
        };
        assert_eq!(ask.account, Some(Account { number: 2, used: 1, left: 0 }));
        let full = Answer::Refused { window: Window::Global, retry_ms: 7_000 };
        assert!(leases.answered("k", &ask, full, 3, 4).is_err());
        asking(&mut leases, 5);
    }

    #[test]
    fn a_refusal_holds_for_a_moment_without_asking_and_counts_down() {
        let mut leases = Leases::new("i".into());
        let ask = asking(&mut leases, 0);
        let full = Answer::Refused { window: Window::Global, retry_ms: 7_000 };
        let refusal = leases.answered("k", &ask, full, 0, 100).unwrap_err();
        let standing = Standing { window: Window::Global, limit: 5_000, remaining: 0, reset_at: 7_100 };
        assert_eq!(refusal, Refusal { standing, retry_ms: 7_000 });
        match leases.take("k", Scope::MemoryRead, LIMITS, 599) {
            Taken::Refused(refusal) => assert_eq!(refusal, Refusal { standing, retry_ms: 6_501 }),
            other => panic!("{other:?}"),
        }
        asking(&mut leases, 600);
    }

    #[test]
    fn an_object_that_does_not_answer_lets_a_tenth_of_the_limit_through_and_is_not_waited_for() {
        let mut leases = Leases::new("i".into());
        let ask = asking(&mut leases, 0);
        assert!(leases.unanswered("k", &ask, 0).is_ok());
        for _ in 1..20 {
            assert_eq!(admitted(&mut leases, SILENT_MS - 1), (0, None));
        }
        match leases.take("k", Scope::MemoryRead, LIMITS, SILENT_MS - 1) {
            Taken::Uncounted(error) => assert_eq!(error.status(), 503),
            other => panic!("{other:?}"),
        }
        let ask = asking(&mut leases, SILENT_MS);
        assert_eq!(leases.unanswered("k", &ask, SILENT_MS).unwrap_err().status(), 503);
        let ask = asking(&mut leases, OUTAGE_MS);
        assert!(leases.unanswered("k", &ask, OUTAGE_MS).is_ok(), "another span, another share");
        let ask = asking(&mut leases, OUTAGE_MS + SILENT_MS);
        assert!(leases.answered("k", &ask, granted(4), OUTAGE_MS, OUTAGE_MS).is_ok(), "as soon as it does");
        assert_eq!(admitted(&mut leases, OUTAGE_MS + SILENT_MS), (103, None));
    }

    #[test]
    fn keys_and_scopes_have_leases_of_their_own_and_a_flood_of_keys_does_not_grow_them() {
        let mut leases = Leases::new("i".into());
        let ask = asking(&mut leases, 0);
        leases.answered("k", &ask, granted(4), 0, 1).unwrap();
        for (key, scope) in [("k", Scope::MemoryWrite), ("l", Scope::MemoryRead)] {
            assert!(matches!(leases.take(key, scope, LIMITS, 2), Taken::Asking(_)));
        }
        for key in 0..10_000 {
            leases.take(&key.to_string(), Scope::MemoryRead, LIMITS, 3);
            assert!(leases.leases.len() <= CAPACITY);
        }
    }
}
