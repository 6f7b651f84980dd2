//! Budgets under many isolates, on a clock that the test turns: what is admitted, what is spent, what is lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use memory_gateway::budget::books::{Books, Draw, LEASE_MS, PROMISE_MS};
use memory_gateway::budget::purse::{Admission, Purse, TOLD_WITHIN_MS};
use memory_gateway::budget::{Budget, Period, Unit};

/// Wednesday, 25 November 2026, 12:00 UTC.
const NOON: u64 = 1_795_608_000_000;
const DAY: u64 = 86_400_000;

fn budget(amount: u64) -> Budget {
    Budget { amount, unit: Unit::Tokens, period: Period::Day }
}

/// One isolate, whose reports reach the books at once.
struct Isolate {
    name: String,
    purse: Purse,
}

impl Isolate {
    fn new(name: &str) -> Self {
        Isolate { name: name.to_owned(), purse: Purse::default() }
    }

    fn tell(&mut self, books: &mut Books, budget: Budget, now: u64) {
        if let Some(draw) = self.purse.report(budget, &self.name, now) {
            let grant = books.draw(&draw, now);
            self.purse.answered(&draw, grant, now);
        }
    }

    fn admits(&mut self, books: &mut Books, budget: Budget, amount: u64, now: u64) -> bool {
        self.purse.queue(amount);
        let mut asked = 0;
        let admitted = loop {
            match self.purse.admit(amount, now) {
                Admission::Promised => break true,
                Admission::Spent { .. } => break false,
                Admission::Unknown => {
                    asked += 1;
                    assert!(asked < 5, "the books are asked without end");
                    self.tell(books, budget, now);
                }
            }
        };
        self.purse.unqueue(amount);
        admitted
    }
}

#[test]
fn two_hundred_at_once_get_exactly_what_the_budget_holds() {
    let (budget, mut books, mut isolate) = (budget(1_000), Books::default(), Isolate::new("a"));
    let admitted = (0..200).filter(|_| isolate.admits(&mut books, budget, 30, NOON)).count();
    assert_eq!(admitted, 33);
    for _ in 0..admitted {
        isolate.purse.settle(30, 30, NOON + 1);
    }
    isolate.tell(&mut books, budget, NOON + 2);
    assert_eq!(books.spent(&budget, NOON), 990);
    // The ten that are left are enough for a small one.
    assert!(!isolate.admits(&mut books, budget, 11, NOON + 2_000));
    assert!(isolate.admits(&mut books, budget, 10, NOON + 4_000));
}

#[test]
fn the_usual_request_asks_nobody() {
    let (budget, mut books, mut isolate) = (budget(1_000_000), Books::default(), Isolate::new("a"));
    assert!(isolate.admits(&mut books, budget, 10, NOON));
    let before = books.clone();
    for at in 0..500 {
        assert!(isolate.admits(&mut books, budget, 10, NOON + at));
    }
    assert_eq!(books, before);
}

#[test]
fn what_was_drawn_long_ago_is_asked_for_anew() {
    let (budget, mut books, mut isolate) = (budget(1_000_000), Books::default(), Isolate::new("a"));
    assert!(isolate.admits(&mut books, budget, 10, NOON));
    assert_eq!(isolate.purse.admit(10, NOON + LEASE_MS / 2), Admission::Promised);
    // The books take it back after a lease; the isolate stops before.
    assert_eq!(isolate.purse.admit(10, NOON + LEASE_MS - 1_000), Admission::Unknown);
}

#[test]
fn answers_that_are_cheaper_than_estimated_give_the_rest_back_and_dearer_ones_are_charged_in_full() {
    let (budget, mut books, mut isolate) = (budget(100), Books::default(), Isolate::new("a"));
    assert!(isolate.admits(&mut books, budget, 100, NOON));
    assert!(!isolate.admits(&mut books, budget, 1, NOON));
    isolate.purse.settle(100, 20, NOON);
    isolate.tell(&mut books, budget, NOON + 2_000);
    assert_eq!(books.spent(&budget, NOON), 20);
    assert!(isolate.admits(&mut books, budget, 80, NOON + 2_000));
    isolate.purse.settle(80, 95, NOON + 2_000);
    isolate.tell(&mut books, budget, NOON + 4_000);
    assert_eq!(books.spent(&budget, NOON), 115);
    assert!(!isolate.admits(&mut books, budget, 1, NOON + 6_000));
}

#[test]
fn a_new_day_is_a_new_budget() {
    let (budget, mut books, mut isolate) = (budget(100), Books::default(), Isolate::new("a"));
    assert!(isolate.admits(&mut books, budget, 100, NOON));
    isolate.purse.settle(100, 100, NOON);
    isolate.tell(&mut books, budget, NOON + 2_000);
    assert!(!isolate.admits(&mut books, budget, 100, NOON + DAY / 2 - 1));
    assert!(isolate.admits(&mut books, budget, 100, NOON + DAY / 2 + 2_000));
}

#[test]
fn a_larger_or_smaller_budget_is_in_force_at_once() {
    let (mut books, mut isolate) = (Books::default(), Isolate::new("a"));
    assert!(isolate.admits(&mut books, budget(10), 10, NOON));
    isolate.purse.settle(10, 10, NOON);
    assert!(!isolate.admits(&mut books, budget(10), 10, NOON + 2_000));
    assert!(isolate.admits(&mut books, budget(20), 10, NOON + 4_000));
    isolate.purse.settle(10, 10, NOON + 4_000);
    isolate.tell(&mut books, budget(5), NOON + 6_000);
    assert!(!isolate.admits(&mut books, budget(5), 1, NOON + 8_000));
}

#[test]
fn what_a_dead_isolate_drew_goes_back_and_what_it_promised_counts_as_spent() {
    let (budget, mut books) = (budget(1_000), Books::default());
    let (mut dead, mut alive) = (Isolate::new("dead"), Isolate::new("alive"));
    assert!(dead.admits(&mut books, budget, 400, NOON));
    dead.tell(&mut books, budget, NOON);
    assert!(alive.admits(&mut books, budget, 500, NOON));
    assert!(!alive.admits(&mut books, budget, 101, NOON));
    // What it drew beyond its promise is free again, the promise is not.
    assert!(alive.admits(&mut books, budget, 95, NOON + LEASE_MS));
    assert!(!alive.admits(&mut books, budget, 95, NOON + LEASE_MS + 2_000));
    alive.purse.settle(595, 0, NOON + PROMISE_MS);
    alive.tell(&mut books, budget, NOON + PROMISE_MS);
    assert_eq!(books.spent(&budget, NOON), 400);
    assert!(alive.admits(&mut books, budget, 600, NOON + PROMISE_MS + 2_000));
}

#[test]
fn a_report_whose_answer_is_lost_is_counted_once() {
    let (budget, mut books, mut isolate) = (budget(1_000), Books::default(), Isolate::new("a"));
    assert!(isolate.admits(&mut books, budget, 100, NOON));
    isolate.purse.settle(100, 70, NOON);
    for at in 0..3 {
        let draw = isolate.purse.report(budget, "a", NOON + at).unwrap();
        books.draw(&draw, NOON + at);
        isolate.purse.failed(&draw);
        isolate.purse.settle(0, 1, NOON + at);
    }
    isolate.tell(&mut books, budget, NOON + 10);
    assert_eq!(books.spent(&budget, NOON), 70);
    isolate.tell(&mut books, budget, NOON + 11);
    assert_eq!(books.spent(&budget, NOON), 73);
}

#[test]
fn one_report_is_on_its_way_at_a_time_and_one_that_never_returns_is_made_again() {
    let mut purse = Purse::default();
    purse.queue(5);
    let first = purse.report(budget(10), "a", NOON).unwrap();
    assert_eq!(purse.report(budget(10), "a", NOON + 2_999), None);
    let second = purse.report(budget(10), "a", NOON + 3_000).unwrap();
    assert_eq!((first.report, second.report, second.wanted), (1, 1, 5));
}

#[test]
fn what_was_promised_is_told_before_the_books_take_it_back() {
    let (budget, mut books, mut isolate) = (budget(1_000), Books::default(), Isolate::new("a"));
    assert!(isolate.admits(&mut books, budget, 1, NOON));
    assert!(!isolate.purse.should_tell(NOON + TOLD_WITHIN_MS - 1));
    assert!(isolate.purse.should_tell(NOON + TOLD_WITHIN_MS));
    isolate.tell(&mut books, budget, NOON + TOLD_WITHIN_MS);
    assert!(!isolate.purse.should_tell(NOON + DAY));
    const { assert!(TOLD_WITHIN_MS * 4 < LEASE_MS) };
}

/// A small generator of pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Isolates serve requests of random sizes and lengths; reports take time, fail before or after they are counted.
fn simulate(seed: u64) {
    let mut random = Random(seed);
    let amount = 10_000 + random.below(100_000);
    let budget = budget(amount);
    let mut books = Books::default();
    let count = 1 + random.below(12) as usize;
    let mut isolates: Vec<Isolate> = (0..count).map(|at| Isolate::new(&at.to_string())).collect();
    // Reports under way and requests being served, by the time at which they are over.
    let mut reports: BTreeMap<(u64, u64), (usize, Draw)> = BTreeMap::new();
    let mut served: BTreeMap<(u64, u64), (usize, u64, u64)> = BTreeMap::new();
    let (mut number, mut admitted, mut spent, mut refused) = (0, 0u64, 0u64, 0);
    for now in (NOON..NOON + 60_000).step_by(20) {
        while let Some(entry) = reports.first_entry().filter(|entry| entry.key().0 <= now) {
            let (at, draw) = entry.remove();
            let outcome = random.below(20);
            if outcome > 0 {
                let grant = books.draw(&draw, now);
                if outcome > 1 {
                    isolates[at].purse.answered(&draw, grant, now);
                    continue;
                }
            }
            isolates[at].purse.failed(&draw);
        }
        while let Some(entry) = served.first_entry().filter(|entry| entry.key().0 <= now) {
            let (at, promised, used) = entry.remove();
            spent += used;
            isolates[at].purse.settle(promised, used, now);
        }
        for (at, Isolate { purse, .. }) in isolates.iter_mut().enumerate() {
            let wanted = 1 + random.below(400);
            match purse.admit(wanted, now) {
                Admission::Promised => {
                    number += 1;
                    admitted += wanted;
                    let used = random.below(wanted + 1);
                    served.insert((now + 20 + random.below(25_000), number), (at, wanted, used));
                }
                Admission::Spent { .. } => refused += 1,
                Admission::Unknown => {
                    purse.queue(wanted);
                    let draw = purse.report(budget, &at.to_string(), now);
                    purse.unqueue(wanted);
                    if let Some(draw) = draw {
                        number += 1;
                        reports.insert((now + random.below(200), number), (at, draw));
                    }
                }
            }
            if purse.should_tell(now)
                && let Some(draw) = purse.report(budget, &at.to_string(), now)
            {
                number += 1;
                reports.insert((now + random.below(200), number), (at, draw));
            }
        }
        let promised: u64 = served.values().map(|(_, promised, _)| promised).sum();
        assert!(spent + promised <= amount, "seed {seed}: {spent} spent and {promised} promised of {amount}");
    }
    // Everything was asked for again and again: what was not spent at the end is what leases hold apart.
    assert!(refused > 0, "seed {seed}");
    assert!(admitted >= amount * 9 / 10, "seed {seed}: only {admitted} of {amount} admitted");
    let end = NOON + 120_000;
    for (at, promised, used) in served.into_values() {
        spent += used;
        isolates[at].purse.settle(promised, used, end);
    }
    for isolate in &mut isolates {
        isolate.tell(&mut books, budget, end + 10_000);
        isolate.tell(&mut books, budget, end + 20_000);
    }
    assert_eq!(books.spent(&budget, end), spent, "seed {seed}");
}

/// Two hundred requests at once in a few isolates: each is admitted by what it says, then by the prompt that is made of it,
/// and uses up to `error` more than that. Gives what was spent, the budget, and how many were served.
fn two_hundred_with_memory(seed: u64, error: u64) -> (u64, u64, u64) {
    let mut random = Random(seed);
    let budget = budget(5_000 + random.below(50_000));
    let mut books = Books::default();
    let mut isolates: Vec<Isolate> = (0..4).map(|at| Isolate::new(&at.to_string())).collect();
    let mut waiting = Vec::new();
    for number in 0..200 {
        let (at, said) = (number % isolates.len(), 20 + random.below(100));
        if isolates[at].admits(&mut books, budget, said, NOON) {
            waiting.push((at, said));
        }
    }
    let (mut served, mut spent) = (Vec::new(), 0);
    while !waiting.is_empty() {
        let (at, said) = waiting.swap_remove(random.below(waiting.len() as u64) as usize);
        let remembered = random.below(900);
        if remembered == 0 || isolates[at].admits(&mut books, budget, remembered, NOON + 1) {
            served.push((at, said + remembered));
        } else {
            // It was refused, and gives back what it was promised.
            isolates[at].purse.settle(said, 0, NOON + 1);
        }
    }
    for (at, promised) in &served {
        let used = promised + random.below(error + 1);
        spent += used;
        isolates[*at].purse.settle(*promised, used, NOON + 2);
        isolates[*at].tell(&mut books, budget, NOON + 2);
    }
    assert_eq!(books.spent(&budget, NOON + 3), spent, "seed {seed}");
    (spent, budget.amount, served.len() as u64)
}

#[test]
fn two_hundred_at_once_whose_prompts_grow_overspend_by_the_errors_of_their_estimates_alone() {
    for seed in 0..100 {
        let (spent, amount, served) = two_hundred_with_memory(seed, 0);
        assert!(spent <= amount, "seed {seed}: {spent} of {amount}");
        // Promises that were given back reach others: the budget is used, though not to the last token.
        assert!(served > 0 && spent >= amount / 2, "seed {seed}: only {spent} of {amount}");
        let (spent, amount, served) = two_hundred_with_memory(seed, 7);
        assert!(spent <= amount + 7 * served, "seed {seed}: {spent} of {amount}");
    }
}

#[test]
fn one_after_the_other_requests_overspend_by_one_estimates_error() {
    let (budget, mut books, mut isolate) = (budget(1_000), Books::default(), Isolate::new("a"));
    let (mut spent, mut now) = (0, NOON);
    // A refusal holds for a second.
    while isolate.admits(&mut books, budget, 30, now) {
        isolate.purse.settle(30, 37, now);
        spent += 37;
        now += 2_000;
        isolate.tell(&mut books, budget, now);
    }
    assert!((971..=1_007).contains(&spent), "{spent}");
}

#[test]
fn many_isolates_with_slow_and_lost_reports_never_spend_more_than_the_budget() {
    for seed in 0..40 {
        simulate(seed);
    }
}
