//! Many isolates and one object that counts, on a virtual clock: whatever the traffic and the delays between them, a limit
//! holds in every window, and nearly all of it can be used.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use memory_gateway::limits::leases::{Leases, Taken};
use memory_gateway::limits::windows::Windows;
use memory_gateway::limits::{Answer, Ask, Limits, Scope, Window};

const SECOND: u64 = 1_000;

/// Xorshift: <https://www.jstatsoft.org/article/view/v008i14>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// The time to the next request, for requests that come independently of one another.
    fn gap(&mut self, mean_ms: f64) -> u64 {
        let uniform = (self.below(1 << 53) + 1) as f64 / (1u64 << 53) as f64;
        (-uniform.ln() * mean_ms) as u64
    }
}

struct Traffic {
    isolates: usize,
    /// Requests a second of the whole key, by the second.
    rate: fn(u64) -> f64,
    seconds: u64,
    limits: Limits,
    /// The longest way between an isolate and the object, in milliseconds.
    delay: u64,
}

#[derive(Default)]
struct Outcome {
    /// When requests were let in.
    admitted: Vec<u64>,
    refused: usize,
    /// Requests that had to wait for the object.
    waited: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request,
    AtObject(usize),
    AtIsolate(usize),
}

struct Asked {
    isolate: usize,
    ask: Ask,
    /// On the isolate's clock.
    asked_at: u64,
    answer: Option<Answer>,
}

fn run(seed: u64, traffic: &Traffic) -> Outcome {
    let mut random = Random(seed);
    let mut object = Windows::default();
    let mut isolates: Vec<Leases> = (0..traffic.isolates).map(|at| Leases::new(format!("i{at}"))).collect();
    // No two clocks agree: an isolate's differs from the object's by up to a minute.
    let skews: Vec<u64> = (0..traffic.isolates).map(|_| random.below(60 * SECOND)).collect();
    let mut asked: Vec<Asked> = Vec::new();
    let mut outcome = Outcome::default();
    let mut events = BinaryHeap::from([Reverse((0, 0, Event::Request))]);
    let mut order = 0;
    while let Some(Reverse((now, _, event))) = events.pop() {
        let mut at = |time: u64, event: Event| {
            order += 1;
            events.push(Reverse((time, order, event)));
        };
        match event {
            Event::Request => {
                if now >= traffic.seconds * SECOND {
                    continue;
                }
                at(now + random.gap(1_000.0 / (traffic.rate)(now / SECOND)), Event::Request);
                let isolate = random.below(traffic.isolates as u64) as usize;
                let here = now + skews[isolate];
                let ask = match isolates[isolate].take("k", Scope::LlmProxy, traffic.limits, here) {
                    Taken::Admitted(_, top_up) => {
                        outcome.admitted.push(now);
                        top_up
                    }
                    Taken::Asking(ask) => {
                        outcome.waited += 1;
                        Some(ask)
                    }
                    Taken::Refused(_) | Taken::Uncounted(_) => {
                        outcome.refused += 1;
                        None
                    }
                };
                if let Some(ask) = ask {
                    at(now + 1 + random.below(traffic.delay), Event::AtObject(asked.len()));
                    asked.push(Asked { isolate, ask, asked_at: here, answer: None });
                }
            }
            Event::AtObject(number) => {
                if random.below(100) == 0 {
                    // A restart: all that the object knows is what it has stored.
                    object = serde_json::from_str(&serde_json::to_string(&object).unwrap()).unwrap();
                }
                let answer = object.ask(&asked[number].ask, now);
                // A request that waits is let in here; how long it is on its way is not the limit's to say.
                if asked[number].ask.waits {
                    match answer {
                        Answer::Granted { .. } => outcome.admitted.push(now),
                        Answer::Refused { .. } => outcome.refused += 1,
                    }
                }
                asked[number].answer = Some(answer);
                at(now + 1 + random.below(traffic.delay), Event::AtIsolate(number));
            }
            Event::AtIsolate(number) => {
                let Asked { isolate, ask, asked_at, answer } = &asked[number];
                let here = now + skews[*isolate];
                let _ = isolates[*isolate].answered("k", ask, answer.unwrap(), *asked_at, here);
            }
        }
    }
    outcome.admitted.sort_unstable();
    outcome
}

/// The most requests in any span of a window's length.
fn most(admitted: &[u64], window: Window) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, time) in admitted.iter().enumerate() {
        while admitted[first] + window.ms() <= *time {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

fn within(admitted: &[u64], from: u64, to: u64) -> usize {
    admitted.iter().filter(|time| (from..to).contains(time)).count()
}

#[test]
fn no_window_ever_holds_more_than_its_limit_whatever_the_traffic() {
    let small = Limits { llm_proxy: 120, llm_proxy_burst: 30, ..Limits::default() };
    let wide = Limits { llm_proxy: 2_000, llm_proxy_burst: 2_000, ..Limits::default() };
    for seed in 1..=2 {
        for isolates in [1, 40] {
            for limits in [Limits::default(), small, wide] {
                for rate in [
                    |_| 60.0,
                    |second: u64| if second % 20 < 3 { 400.0 } else { 2.0 },
                    |second: u64| 5.0 + second as f64,
                ] {
                    let delay = [1_500, 20][seed as usize % 2];
                    let traffic = Traffic { isolates, rate, seconds: 80, limits, delay };
                    let outcome = run(seed * 7_919, &traffic);
                    for window in Scope::LlmProxy.windows() {
                        let most = most(&outcome.admitted, *window);
                        // What is on its way from the object when the window moves is let in that much later.
                        let slack =
                            if delay < 100 { limits.of(*window) / 50 } else { limits.of(*window) / 20 };
                        assert!(
                            most <= (limits.of(*window) + slack.max(1)) as usize,
                            "{most} in {window:?}, seed {seed}, {isolates} isolates, {limits:?}, delay {delay}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn at_least_ninety_five_percent_of_a_limit_can_be_used() {
    for seed in 1..=2 {
        for isolates in [1, 10, 50] {
            let limits = Limits::default();
            let traffic = Traffic { isolates, rate: |_| 80.0, seconds: 200, limits, delay: 20 };
            let outcome = run(seed * 104_729, &traffic);
            // After a minute of pressure the minute is the limit that binds; nothing of it is lost to rounding or leases.
            let used = within(&outcome.admitted, 60 * SECOND, 180 * SECOND);
            assert!(used >= 2 * 2_000 * 95 / 100, "{used} of 4000, seed {seed}, {isolates} isolates");
            assert!(outcome.refused > 0);
        }
    }
}

#[test]
fn below_the_limit_nobody_is_refused_and_few_wait() {
    for seed in 1..=5 {
        for (isolates, rate, share) in [
            (1, (|_| 20.0) as fn(u64) -> f64, 2),
            (4, |_| 20.0, 10),
            (2, |_| 0.5, 35),
            (1, |second| if second % 2 == 0 { 25.0 } else { 3.0 }, 2),
        ] {
            let traffic = Traffic { isolates, rate, seconds: 240, limits: Limits::default(), delay: 10 };
            let outcome = run(seed * 15_485_863, &traffic);
            let all = outcome.admitted.len();
            assert_eq!(outcome.refused, 0, "seed {seed}, {isolates} isolates");
            assert!(
                outcome.waited * 100 <= all * share,
                "{} of {all} waited, seed {seed}, {isolates} isolates",
                outcome.waited
            );
        }
    }
}
