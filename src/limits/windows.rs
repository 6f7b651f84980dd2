//! The count of a key's requests, kept in one place.
//!
//! Invariant: in no window are more requests let in than its limit. A permit counts from when it is handed out until a
//! whole window after it was spent, or can last have been; so whatever an isolate does with a lease, and whenever, was
//! counted before. What is handed out and not spent is given back, and never more than a small part of the limit.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Account, Answer, Ask, LEASE_MS, Scope, Window, lease_of, leased_in_all};

/// How finely a window moves: requests leave it in a hundred steps, each up to a step late.
const STEPS: u64 = 100;

/// The windows of one key. In JSON it is what the object stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Spent permits of each window: when the step ended in which they were spent, in Unix milliseconds, and how many.
    #[serde(default)]
    spent: BTreeMap<Window, VecDeque<(u64, u32)>>,
    /// Permits handed out, by isolate. A lease without permits stays until it expires: its isolate is at work.
    #[serde(default)]
    leases: BTreeMap<String, BTreeMap<Scope, Lease>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    permits: u32,
    expires_at: u64,
}

impl Windows {
    /// Answers an isolate at `now`, in Unix milliseconds.
    pub fn ask(&mut self, ask: &Ask, now: u64) -> Answer {
        self.forget(now);
        if let Some(account) = ask.account {
            self.take_in(ask, account, now);
        }
        if ask.waits {
            if let Some(refused) = self.refusal(ask, now) {
                return refused;
            }
            self.settle(ask.scope, 1, now);
        }
        let added = if ask.account.is_some() { self.fill_up(ask, now) } else { 0 };
        let main = ask.scope.main();
        let oldest = self.spent.get(&main).and_then(|spent| spent.front());
        Answer::Granted {
            added,
            remaining: ask.limits.of(main).saturating_sub(self.counted(main)),
            reset_ms: oldest.map_or(now, |(end, _)| *end) + main.ms() - now,
        }
    }

    /// Drops what has left its window; what was leased and never accounted for counts as spent at the last moment.
    fn forget(&mut self, now: u64) {
        let mut lapsed = Vec::new();
        for leases in self.leases.values_mut() {
            leases.retain(|scope, lease| {
                let holds = now < lease.expires_at;
                if !holds {
                    lapsed.push((lease.expires_at, *scope, lease.permits));
                }
                holds
            });
        }
        self.leases.retain(|_, leases| !leases.is_empty());
        for (expired_at, scope, permits) in lapsed {
            self.settle(scope, permits, expired_at);
        }
        for (window, spent) in &mut self.spent {
            spent.retain(|(end, _)| end + window.ms() > now);
        }
        self.spent.retain(|_, spent| !spent.is_empty());
    }

    /// Takes in an isolate's account of its lease: what was spent was spent by now, and what it does not know of comes
    /// back.
    fn take_in(&mut self, ask: &Ask, account: Account, now: u64) {
        let lease = self.lease(ask, now);
        let used = lease.permits.min(account.used);
        lease.permits = (lease.permits - used).min(account.left);
        self.settle(ask.scope, used, now);
    }

    /// Renews a lease, and gives the number of permits that it got.
    fn fill_up(&mut self, ask: &Ask, now: u64) -> u32 {
        let permits = self.lease(ask, now).permits;
        let room = ask.scope.windows().iter().map(|window| {
            let limit = ask.limits.of(*window);
            let free = limit.saturating_sub(self.counted(*window));
            let in_all = leased_in_all(limit);
            let holders = u32::try_from(self.held(*window).count()).unwrap_or(u32::MAX).max(1);
            let share = lease_of(limit).min((in_all / holders).max(1));
            free.min(in_all.saturating_sub(self.leased(*window))).min(share.saturating_sub(permits))
        });
        let added = room.min().unwrap_or(0);
        *self.lease(ask, now) = Lease { permits: permits + added, expires_at: now + LEASE_MS };
        added
    }

    /// The asking isolate's lease; a new one has no permits.
    fn lease(&mut self, ask: &Ask, now: u64) -> &mut Lease {
        let leases = self.leases.entry(ask.holder.clone()).or_default();
        leases.entry(ask.scope).or_insert(Lease { permits: 0, expires_at: now + LEASE_MS })
    }

    /// Counts permits as spent at a time.
    fn settle(&mut self, scope: Scope, permits: u32, at: u64) {
        if permits == 0 {
            return;
        }
        for window in scope.windows() {
            let step = window.ms() / STEPS;
            let end = (at / step + 1) * step;
            let spent = self.spent.entry(*window).or_default();
            // A lease that lapsed is settled in the past; steps stay in order.
            match spent.iter().rposition(|(known, _)| *known <= end) {
                Some(at) if spent.get(at).is_some_and(|(known, _)| *known == end) => {
                    if let Some((_, count)) = spent.get_mut(at) {
                        *count = count.saturating_add(permits);
                    }
                }
                Some(at) => spent.insert(at + 1, (end, permits)),
                None => spent.push_front((end, permits)),
            }
        }
    }

    /// Permits in a window, spent or leased.
    fn counted(&self, window: Window) -> u32 {
        let spent = self.spent.get(&window).into_iter().flatten().map(|(_, count)| *count);
        spent.fold(self.leased(window), u32::saturating_add)
    }

    fn leased(&self, window: Window) -> u32 {
        self.held(window).map(|lease| lease.permits).fold(0, u32::saturating_add)
    }

    /// The leases that count in a window.
    fn held(&self, window: Window) -> impl Iterator<Item = &Lease> {
        let all = self.leases.values().flatten();
        all.filter(move |(scope, _)| scope.windows().contains(&window)).map(|(_, lease)| lease)
    }

    /// The window that lets no request in, if there is one, and for how long: of several the one that stays full longest.
    fn refusal(&self, ask: &Ask, now: u64) -> Option<Answer> {
        let full = ask.scope.windows().iter().filter_map(|window| {
            let over = self.counted(*window).checked_sub(ask.limits.of(*window))?;
            Some((self.frees_at(*window, over).saturating_sub(now).max(1), *window))
        });
        full.max_by_key(|(retry_ms, _)| *retry_ms)
            .map(|(retry_ms, window)| Answer::Refused { window, retry_ms })
    }

    /// When more than `over` permits have left a window.
    fn frees_at(&self, window: Window, over: u32) -> u64 {
        let spent = self.spent.get(&window).into_iter().flatten().copied();
        let leases = self.held(window);
        let mut leaving: Vec<(u64, u32)> =
            spent.chain(leases.map(|lease| (lease.expires_at, lease.permits))).collect();
        leaving.sort_unstable();
        let mut freed = 0u32;
        let enough = leaving.into_iter().find(|(_, count)| {
            freed = freed.saturating_add(*count);
            freed > over
        });
        enough.map_or(0, |(end, _)| end + window.ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    /// An ask without a lease, as of an isolate that renews its own at the moment.
    fn single(holder: &str, scope: Scope, limits: Limits) -> Ask {
        Ask { holder: holder.to_owned(), scope, waits: true, account: None, limits }
    }

    fn few(llm_proxy: u32) -> Limits {
        Limits { llm_proxy, ..Limits::default() }
    }

    fn refused(answer: Answer) -> Option<(Window, u64)> {
        match answer {
            Answer::Refused { window, retry_ms } => Some((window, retry_ms)),
            Answer::Granted { .. } => None,
        }
    }

    #[test]
    fn a_full_window_refuses_until_the_oldest_request_has_left_it() {
        let mut windows = Windows::default();
        let ask = single("a", Scope::LlmProxy, few(3));
        for at in [1_000, 2_000, 3_000] {
            assert_eq!(refused(windows.ask(&ask, at)), None);
        }
        // The first was counted in the step that ended at 1,200.
        assert_eq!(refused(windows.ask(&ask, 4_000)), Some((Window::LlmProxy, 57_200)));
        assert_eq!(refused(windows.ask(&ask, 61_199)), Some((Window::LlmProxy, 1)));
        assert_eq!(refused(windows.ask(&ask, 61_200)), None);
        assert!(refused(windows.ask(&ask, 61_201)).is_some(), "only one had left");
    }

    #[test]
    fn remaining_and_reset_tell_of_the_main_window() {
        let mut windows = Windows::default();
        let ask = single("a", Scope::MemoryWrite, Limits { memory_write: 10, ..Limits::default() });
        assert_eq!(windows.ask(&ask, 600), Answer::Granted { added: 0, remaining: 9, reset_ms: 60_600 });
        assert_eq!(windows.ask(&ask, 1_000), Answer::Granted { added: 0, remaining: 8, reset_ms: 60_200 });
    }

    #[test]
    fn scopes_have_their_own_windows_and_share_the_global_one() {
        let mut windows = Windows::default();
        let limits = Limits { global: 3, memory_read: 2, ..Limits::default() };
        let read = single("a", Scope::MemoryRead, limits);
        let write = single("a", Scope::MemoryWrite, limits);
        assert_eq!(refused(windows.ask(&read, 0)), None);
        assert_eq!(refused(windows.ask(&read, 0)), None);
        assert_eq!(refused(windows.ask(&read, 0)).map(|(window, _)| window), Some(Window::MemoryRead));
        assert_eq!(refused(windows.ask(&write, 0)), None);
        assert_eq!(refused(windows.ask(&write, 0)).map(|(window, _)| window), Some(Window::Global));
    }

    #[test]
    fn a_burst_is_refused_though_the_minute_has_room() {
        let mut windows = Windows::default();
        let ask = single("a", Scope::LlmProxy, Limits { llm_proxy_burst: 2, ..Limits::default() });
        assert_eq!(refused(windows.ask(&ask, 0)), None);
        assert_eq!(refused(windows.ask(&ask, 0)), None);
        assert_eq!(refused(windows.ask(&ask, 0)), Some((Window::LlmProxyBurst, 10_100)));
        assert_eq!(refused(windows.ask(&ask, 10_100)), None);
    }

    fn account(used: u32, left: u32) -> Ask {
        let account = Some(Account { number: 0, used, left });
        Ask { account, ..single("a", Scope::MemoryRead, Limits { memory_read: 100, ..Limits::default() }) }
    }

    #[test]
    fn a_lease_counts_from_when_it_is_handed_out_until_it_is_settled_or_given_back() {
        let mut windows = Windows::default();
        // One for the request that waits, two in advance.
        assert_eq!(
            windows.ask(&account(0, 0), 0),
            Answer::Granted { added: 2, remaining: 97, reset_ms: 60_600 }
        );
        // One was spent, one was lost: it comes back, and both are handed out anew.
        assert_eq!(
            windows.ask(&account(1, 0), 0),
            Answer::Granted { added: 2, remaining: 95, reset_ms: 60_600 }
        );
        // Never heard of again: spent at the end of the lease, and gone a window later.
        let count = |windows: &mut Windows, at| {
            windows.forget(at);
            windows.counted(Window::MemoryRead)
        };
        assert_eq!(count(&mut windows, LEASE_MS - 1), 5);
        assert_eq!(count(&mut windows, LEASE_MS + 60_000), 2);
        assert_eq!(count(&mut windows, LEASE_MS + 60_600), 0);
        assert_eq!(windows, Windows::default());
    }

    #[test]
    fn isolates_together_never_hold_more_than_a_small_part() {
        let mut windows = Windows::default();
        let added: u32 = (0..20)
            .map(|isolate| {
                let ask = Ask { holder: isolate.to_string(), ..account(0, 0) };
                match windows.ask(&ask, 0) {
                    Answer::Granted { added, .. } => added,
                    Answer::Refused { .. } => 0,
                }
            })
            .sum();
        assert_eq!((added, windows.leased(Window::MemoryRead)), (4, 4));
    }

    #[test]
    fn a_lowered_limit_holds_at_once() {
        let mut windows = Windows::default();
        for _ in 0..5 {
            assert_eq!(refused(windows.ask(&single("a", Scope::LlmProxy, few(10)), 0)), None);
        }
        assert!(refused(windows.ask(&single("a", Scope::LlmProxy, few(2)), 1)).is_some());
    }

    #[test]
    fn what_is_stored_comes_back() {
        let mut windows = Windows::default();
        windows.ask(&account(0, 0), 12_345);
        let json = serde_json::to_string(&windows).unwrap();
        assert_eq!(serde_json::from_str::<Windows>(&json).unwrap(), windows);
    }
}
