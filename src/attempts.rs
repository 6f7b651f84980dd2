//! Which route a request is sent to next, and when to give up: retries, failing over, and what is then said.
//!
//! Invariant: a request is sent to one route at a time, and to none any more once a byte of an answer was passed on; each
//! route is sent it a bounded number of times, and none after the deadline.

pub mod beginning;
pub mod breaker;
pub mod failure;
pub mod routes;

use serde_json::{Value, json};

use self::breaker::{Breaker, Circuit, Permit};
use self::failure::{Class, Failure};
use crate::error::{Error, Kind};
use crate::keys::Secret;
use crate::route::Route;

/// The first pause before the same route is asked again, in milliseconds; each one after is twice as long.
const PAUSE_MS: u64 = 200;

/// The longest pause, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 2_000;

/// The longest that a request waits because a provider asked for it, in milliseconds. Who must wait longer does so better
/// at the client, which the provider's own words reach.
const LONGEST_OBEYED_MS: u64 = 3_000;

/// How long a credential is passed over that was refused, in milliseconds.
const REFUSED_CREDENTIAL_MS: u64 = 60_000;

/// How long a route is passed over whose provider limits the rate and does not say for how long, in milliseconds.
const RATE_LIMITED_MS: u64 = 5_000;

/// The longest that a route is passed over because a provider asked for it, in milliseconds.
const LONGEST_REST_MS: u64 = 300_000;

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Ask the route of this place in the list, after so many milliseconds.
    Ask {
        /// Its place.
        route: usize,
        /// How long to wait first.
        pause_ms: u64,
    },
    /// Nothing is left to ask: what came last is the answer.
    Deliver,
    /// Nothing is left to ask, and several routes failed: this is what the client is told.
    Fail(Error),
}

/// The attempts of one question.
#[derive(Debug)]
pub struct Attempts {
    routes: Vec<Attempted>,
    per_route: u32,
    deadline: u64,
    made: Vec<Made>,
}

#[derive(Debug)]
struct Attempted {
    provider: String,
    model: String,
    credential: Option<Secret>,
    is_stored: bool,
    attempts: u32,
    is_done: bool,
    /// The request cannot be written for it.
    is_unfit: bool,
}

impl Attempted {
    /// Made when it is asked for: while nothing fails nobody asks, and a digest costs more than all else here.
    fn circuit(&self) -> Circuit {
        Circuit::of(&self.provider, &self.model, self.credential.as_ref())
    }
}

/// One attempt that failed.
#[derive(Debug)]
struct Made {
    route: usize,
    failure: Failure,
}

impl Attempts {
    /// The attempts of a question that may go to these routes, in their order: so many for each, and none begins at
    /// `deadline` (Unix milliseconds) or later.
    pub fn new(routes: &[Route<'_>], per_route: u32, deadline: u64) -> Self {
        let routes = routes.iter().map(|route| Attempted {
            provider: route.provider.name.clone(),
            model: route.model.clone(),
            credential: route.credential.clone(),
            is_stored: route.source.is_stored(),
            attempts: 0,
            is_done: false,
            is_unfit: false,
        });
        Attempts { routes: routes.collect(), per_route, deadline, made: Vec::new() }
    }

    /// What to do first.
    pub fn begin(&mut self, breaker: &mut Breaker, now: u64) -> Next {
        self.pick(breaker, now).unwrap_or_else(|| self.give_up())
    }

    /// A route answered: its circuit is whole.
    pub fn succeeded(&self, route: usize, breaker: &mut Breaker) {
        if let Some(route) = self.routes.get(route).filter(|_| !breaker.is_quiet()) {
            breaker.succeeded(&route.circuit());
        }
    }

    /// A route failed. `random` is any number.
    pub fn failed(
        &mut self,
        at: usize,
        failure: Failure,
        breaker: &mut Breaker,
        now: u64,
        random: u32,
    ) -> Next {
        let Some(route) = self.routes.get_mut(at) else { return Next::Deliver };
        let class = failure.class(route.is_stored);
        let (made, circuit) = (route.attempts, route.circuit());
        self.made.push(Made { route: at, failure });
        let mut again = None;
        match class {
            Class::Final => {
                // The provider is there, and did its work.
                breaker.succeeded(&circuit);
                return Next::Deliver;
            }
            Class::Credential { of_model } => {
                let circuit = if of_model { circuit } else { circuit.of_credential() };
                breaker.rest(circuit, now, now + REFUSED_CREDENTIAL_MS);
            }
            Class::RateLimited { wait_ms } => {
                let rest = wait_ms.unwrap_or(RATE_LIMITED_MS).min(LONGEST_REST_MS);
                breaker.rest(circuit, now, now + rest);
                again = wait_ms.filter(|wait| *wait <= LONGEST_OBEYED_MS);
            }
            Class::Transient => {
                let is_open = breaker.failed(circuit, now);
                again = Some(pause(made, random)).filter(|_| !is_open);
            }
            Class::Slow => {
                let is_open = breaker.failed(circuit, now);
                again = Some(0).filter(|_| !is_open);
            }
            Class::Elsewhere => drop(breaker.failed(circuit, now)),
        }
        let again = again.filter(|pause| made < self.per_route && now + pause < self.deadline);
        // Who had to wait, or was slow, may be so again: another that is there goes first.
        if class == Class::Transient
            && let Some(pause_ms) = again
        {
            return self.ask(at, pause_ms);
        }
        if let Some(route) = self.routes.get_mut(at) {
            route.is_done = true;
        }
        match (self.pick(breaker, now), again) {
            (Some(next), _) => next,
            (None, Some(pause_ms)) => self.ask(at, pause_ms),
            (None, None) => self.give_up(),
        }
    }

    /// How many attempts were made, also the one that is under way.
    pub fn count(&self) -> u32 {
        self.routes.iter().map(|route| route.attempts).sum()
    }

    /// The request cannot be written for a route, which therefore is left out.
    pub fn leave_out(&mut self, at: usize, breaker: &mut Breaker, now: u64) -> Next {
        if let Some(route) = self.routes.get_mut(at) {
            (route.is_done, route.is_unfit) = (true, true);
            route.attempts = route.attempts.saturating_sub(1);
        }
        self.pick(breaker, now).unwrap_or_else(|| self.give_up())
    }

    fn ask(&mut self, route: usize, pause_ms: u64) -> Next {
        if let Some(route) = self.routes.get_mut(route) {
            route.attempts += 1;
        }
        Next::Ask { route, pause_ms }
    }

    /// The first route that was not asked yet and is thought to work; else the first that was only asked to rest.
    fn pick(&mut self, breaker: &mut Breaker, now: u64) -> Option<Next> {
        if now >= self.deadline {
            return None;
        }
        let mut resting = None;
        let mut found = None;
        for (at, route) in self.routes.iter().enumerate().filter(|(_, route)| !route.is_done) {
            let permit = if breaker.is_quiet() { Permit::Ask } else { breaker.permit(&route.circuit(), now) };
            match permit {
                Permit::Ask => {
                    found = Some(at);
                    break;
                }
                Permit::Rest => resting = resting.or(Some(at)),
                Permit::Open => {}
            }
        }
        found.or(resting).map(|at| self.ask(at, 0))
    }

    /// What came last, where there was one route only; else an error that lists what was tried.
    fn give_up(&self) -> Next {
        if self.routes.len() == 1 && !self.made.is_empty() {
            return Next::Deliver;
        }
        let slow = !self.made.is_empty() && self.made.iter().all(|made| made.failure == Failure::Slow);
        let kind = if slow { Kind::Timeout } else { Kind::Overloaded };
        let tried: Vec<Value> = self.made.iter().filter_map(|made| self.told(made)).collect();
        let names: Vec<String> = self
            .routes
            .iter()
            .enumerate()
            .map(|(at, route)| {
                let last = self.made.iter().rfind(|made| made.route == at);
                let how = match last {
                    Some(made) => made.failure.told(),
                    None if route.is_unfit => "cannot do what the request asks".to_owned(),
                    None => "not asked: it failed too often just before, or no time was left".to_owned(),
                };
                format!("`{}/{}` ({how})", route.provider, route.model)
            })
            .collect();
        let message = format!(
            "No provider could take the request: {}. Try again in a while, or name other models in `models`.",
            names.join(", ")
        );
        Next::Fail(Error::new(kind, message).with_code("all_routes_failed").with("tried", tried))
    }

    fn told(&self, made: &Made) -> Option<Value> {
        let route = self.routes.get(made.route)?;
        let mut told = json!({
            "provider": route.provider,
            "model": route.model,
            "failure": made.failure.word(),
        });
        if let (Some(status), Value::Object(fields)) = (made.failure.status(), &mut told) {
            fields.insert("upstream_status".to_owned(), status.into());
        }
        Some(told)
    }
}

/// A pause before an attempt, between half of its full length and all of it: clients that failed together do not come back
/// together.
fn pause(made: u32, random: u32) -> u64 {
    let doublings = made.saturating_sub(1).min(16);
    let full = (PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
    full / 2 + u64::from(random) % (full / 2 + 1)
}
