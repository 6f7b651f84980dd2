//! Retries, failing over and giving up, by a clock that the tests move.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use std::cell::Cell;

use memory_gateway::attempts::breaker::Breaker;
use memory_gateway::attempts::failure::Failure::{self, Broken, Nonsense, Slow, Unreachable};
use memory_gateway::attempts::routes::{models, routes};
use memory_gateway::attempts::{Attempts, Next};
use memory_gateway::bindings::{Binding, Bindings};
use memory_gateway::body::Body;
use memory_gateway::config::Config;
use memory_gateway::dialect::Dialect;
use memory_gateway::error::{Error, Kind};
use memory_gateway::keys::Secret;
use memory_gateway::operation::Operation;
use memory_gateway::route::Route;
use memory_gateway::vault::Place;
use serde_json::json;

const ANSWER: Operation = Operation::Answer(Dialect::Chat);
const MASTER_KEYS: &str = "k1:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn config() -> Config {
    let vars = [
        (
            "PROVIDERS",
            r#"{"a":{"base_url":"http://a"},"b":{"base_url":"http://b"},"c":{"base_url":"http://c"}}"#,
        ),
        ("OPENAI_API_KEY", "sk-deployment"),
        ("MASTER_KEYS", MASTER_KEYS),
    ];
    Config::read(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string()))
        .unwrap()
}

/// A simulated conversation with providers.
struct World {
    config: Config,
    breaker: Breaker,
    now: Cell<u64>,
}

/// What happened: which model was asked when, and the end.
#[derive(Debug, PartialEq)]
struct Run {
    asked: Vec<(String, u64)>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    Answered,
    Delivered,
    Failed(Error),
}

fn status(status: u16) -> Option<Failure> {
    Some(Failure::Status { status, retry_after_ms: None })
}

fn limited(retry_after_ms: u64) -> Option<Failure> {
    Some(Failure::Status { status: 429, retry_after_ms: Some(retry_after_ms) })
}

impl World {
    fn new() -> Self {
        World { config: config(), breaker: Breaker::new(3, 10_000), now: Cell::new(1_000_000) }
    }

    fn routes(&self, names: &[&str], own: Option<&str>, bindings: &Bindings) -> Vec<Route<'_>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        routes(&self.config, ANSWER, &names, own.map(Secret::new).as_ref(), bindings).unwrap()
    }

    /// Asks the models; `answer` gives what the model's provider does the nth time, and each answer takes a millisecond.
    fn ask(&mut self, names: &[&str], answer: impl Fn(&str, usize) -> Option<Failure>) -> Run {
        let config = config();
        let list: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let routes = routes(&config, ANSWER, &list, None, &Bindings::default()).unwrap();
        self.ask_routes(&routes, answer)
    }

    fn ask_routes(&mut self, routes: &[Route<'_>], answer: impl Fn(&str, usize) -> Option<Failure>) -> Run {
        let start = self.now.get();
        let mut attempts = Attempts::new(routes, 2, start + 5_000);
        let mut next = attempts.begin(&mut self.breaker, start);
        let mut asked: Vec<(String, u64)> = Vec::new();
        let end = loop {
            let (at, pause) = match next {
                Next::Ask { route, pause_ms } => (route, pause_ms),
                Next::Deliver => break End::Delivered,
                Next::Fail(error) => break End::Failed(error),
            };
            self.now.set(self.now.get() + pause);
            let route = &routes[at];
            let name = format!("{}/{}", route.provider.name, route.model);
            let times = asked.iter().filter(|(known, _)| *known == name).count();
            asked.push((name.clone(), self.now.get() - start));
            self.now.set(self.now.get() + 1);
            match answer(&name, times) {
                None => {
                    attempts.succeeded(at, &mut self.breaker);
                    break End::Answered;
                }
                Some(failure) => {
                    next = attempts.failed(at, failure, &mut self.breaker, self.now.get(), 0);
                }
            }
        };
        assert_eq!(attempts.count() as usize, asked.len());
        Run { asked, end }
    }
}

fn names(run: &Run) -> Vec<&str> {
    run.asked.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_passing_failure_is_asked_again_after_a_pause_and_then_elsewhere() {
    for failure in [Some(Unreachable), Some(Broken), status(408), status(500), status(503), status(529)] {
        let mut world = World::new();
        let run = world.ask(&["a/x", "b/y"], |name, _| failure.clone().filter(|_| name == "a/x"));
        // Half of 200 ms at least, and a millisecond for each answer.
        let expected = [("a/x", 0), ("a/x", 101), ("b/y", 102)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!((run.asked, run.end), (expected.to_vec(), End::Answered), "{failure:?}");
        let again = World::new().ask(&["a/x"], |_, times| failure.clone().filter(|_| times == 0));
        assert_eq!((names(&again), &again.end), (vec!["a/x", "a/x"], &End::Answered));
    }
}

#[test]
fn what_would_fail_the_same_way_again_goes_elsewhere_at_once() {
    for failure in [Some(Slow), Some(Nonsense), status(429), limited(1_000), status(307)] {
        let run = World::new().ask(&["a/x", "b/y"], |name, _| failure.clone().filter(|_| name == "a/x"));
        assert_eq!((names(&run), &run.end), (vec!["a/x", "b/y"], &End::Answered), "{failure:?}");
    }
}

#[test]
fn a_fault_of_the_request_is_final() {
    for code in [400, 404, 413, 415, 422, 401, 403] {
        let run = World::new().ask(&["a/x", "b/y"], |_, _| status(code));
        // These providers want no credential, so none that was stored is refused.
        assert_eq!((names(&run), &run.end), (vec!["a/x"], &End::Delivered), "{code}");
    }
}

#[test]
fn a_wait_that_the_provider_asks_for_is_kept_where_it_is_short_and_nobody_else_is_there() {
    let run = World::new().ask(&["a/x"], |_, times| limited(2_000).filter(|_| times == 0));
    assert_eq!((run.asked, run.end), (vec![("a/x".into(), 0), ("a/x".into(), 2_001)], End::Answered));
    for failure in [limited(3_001), status(429)] {
        let run = World::new().ask(&["a/x"], |_, _| failure.clone());
        assert_eq!((names(&run), &run.end), (vec!["a/x"], &End::Delivered), "{failure:?}");
    }
}

#[test]
fn nothing_is_asked_at_the_deadline_or_later() {
    let mut world = World::new();
    let routes_of = config();
    let list = ["a/x".to_owned(), "b/y".to_owned()];
    let found = routes(&routes_of, ANSWER, &list, None, &Bindings::default()).unwrap();
    let mut attempts = Attempts::new(&found, 2, 1_000);
    assert_eq!(attempts.begin(&mut world.breaker, 999), Next::Ask { route: 0, pause_ms: 0 });
    let Next::Fail(error) = attempts.failed(0, Slow, &mut world.breaker, 1_000, 0) else { panic!() };
    assert_eq!((error.kind(), error.status()), (Kind::Timeout, 504));
    // A pause that would end behind the deadline is not begun.
    let mut attempts = Attempts::new(&found[..1], 2, 1_000);
    attempts.begin(&mut world.breaker, 900);
    assert_eq!(attempts.failed(0, Unreachable, &mut world.breaker, 901, 0), Next::Deliver);
}

#[test]
fn pauses_are_spread_and_grow_up_to_a_limit() {
    let mut world = World::new();
    let pause = |made: usize, random| {
        let config = config();
        let found = routes(&config, ANSWER, &["a/x".to_owned()], None, &Bindings::default()).unwrap();
        let mut attempts = Attempts::new(&found, 10, u64::MAX);
        let mut next = attempts.begin(&mut Breaker::new(99, 1), 0);
        for _ in 0..made {
            next = attempts.failed(0, Unreachable, &mut Breaker::new(99, 1), 0, random);
        }
        let Next::Ask { pause_ms, .. } = next else { panic!() };
        pause_ms
    };
    assert_eq!([pause(1, 0), pause(1, 100), pause(1, 101)], [100, 200, 100]);
    assert_eq!([pause(2, 0), pause(3, 0), pause(4, 0), pause(9, 1_000)], [200, 400, 800, 2_000]);
    assert!(world.ask(&["a/x"], |_, _| None).end == End::Answered);
}

#[test]
fn when_all_routes_failed_the_error_lists_what_was_tried() {
    let run = World::new().ask(&["a/x", "b/y"], |name, _| match name {
        "a/x" => Some(Unreachable),
        _ => limited(60_000),
    });
    let End::Failed(error) = run.end else { panic!() };
    assert_eq!(
        error.body(),
        json!({"error": {
            "message": "No provider could take the request: `a/x` (could not be reached), `b/y` (answered with status \
                        429). Try again in a while, or name other models in `models`.",
            "type": "overloaded", "param": null, "code": "all_routes_failed",
            "tried": [
                {"provider": "a", "model": "x", "failure": "unreachable"},
                {"provider": "a", "model": "x", "failure": "unreachable"},
                {"provider": "b", "model": "y", "failure": "refused", "upstream_status": 429},
            ],
        }})
    );
    let slow = World::new().ask(&["a/x", "b/y"], |_, _| Some(Slow));
    let End::Failed(error) = slow.end else { panic!() };
    assert_eq!((error.status(), error.type_name()), (504, "timeout"));
}

#[test]
fn an_open_circuit_is_passed_over_until_its_probe_goes_well() {
    let mut world = World::new();
    let down = |name: &str, _| (name == "a/x").then_some(Unreachable);
    assert_eq!(names(&world.ask(&["a/x", "b/y"], down)), ["a/x", "a/x", "b/y"]);
    assert_eq!(names(&world.ask(&["a/x", "b/y"], down)), ["a/x", "b/y"]);
    let run = world.ask(&["a/x", "b/y"], down);
    assert_eq!(names(&run), ["b/y"]);
    let End::Failed(error) = world.ask(&["a/x"], |_, _| None).end else { panic!() };
    assert_eq!((error.status(), error.type_name()), (503, "overloaded"));
    assert!(error.message().contains("`a/x` (not asked: it failed too often"), "{}", error.message());
    // One probe, while others go elsewhere.
    world.now.set(world.now.get() + 10_000);
    let run = world.ask(&["a/x", "b/y"], |_, _| None);
    assert_eq!((names(&run), &run.end), (vec!["a/x"], &End::Answered));
    assert_eq!(names(&world.ask(&["a/x", "b/y"], |_, _| None)), ["a/x"]);
}

#[test]
fn a_provider_that_limits_the_rate_is_passed_over_for_as_long_as_it_said() {
    let mut world = World::new();
    let run = world.ask(&["a/x", "b/y"], |name, _| limited(60_000).filter(|_| name == "a/x"));
    assert_eq!(names(&run), ["a/x", "b/y"]);
    assert_eq!(names(&world.ask(&["a/x", "b/y"], |_, _| None)), ["b/y"]);
    // Where nothing else is left it is asked all the same.
    let run = world.ask(&["a/x"], |_, _| None);
    assert_eq!((names(&run), &run.end), (vec!["a/x"], &End::Answered));
    assert_eq!(names(&world.ask(&["a/x", "b/y"], |_, _| None)), ["a/x"]);
}

#[test]
fn a_refused_stored_credential_is_out_for_all_its_models_and_a_refused_model_for_itself() {
    for (code, left) in [(401, "b/y"), (402, "b/y"), (403, "openai/w")] {
        let mut world = World::new();
        let run = world.ask(&["openai/v", "b/y"], |name, _| status(code).filter(|_| name == "openai/v"));
        assert_eq!((names(&run), &run.end), (vec!["openai/v", "b/y"], &End::Answered), "{code}");
        assert_eq!(names(&world.ask(&["openai/w", "b/y"], |_, _| None)), [left], "{code}");
        world.now.set(world.now.get() + 60_000);
        assert_eq!(names(&world.ask(&["openai/v", "b/y"], |_, _| None)), ["openai/v"], "{code}");
    }
}

#[test]
fn a_request_that_cannot_be_written_for_a_route_goes_to_the_next() {
    let config = config();
    let list = ["a/x", "b/y", "c/z"].map(str::to_owned);
    let found = routes(&config, ANSWER, &list, None, &Bindings::default()).unwrap();
    let mut breaker = Breaker::new(9, 1);
    let mut attempts = Attempts::new(&found, 1, 1_000);
    attempts.begin(&mut breaker, 0);
    assert_eq!(attempts.failed(0, Unreachable, &mut breaker, 0, 0), Next::Ask { route: 1, pause_ms: 0 });
    assert_eq!(attempts.leave_out(1, &mut breaker, 0), Next::Ask { route: 2, pause_ms: 0 });
    assert_eq!(attempts.count(), 2);
    let Next::Fail(error) = attempts.failed(2, Unreachable, &mut breaker, 0, 0) else { panic!() };
    assert!(error.message().contains("`b/y` (cannot do what the request asks)"), "{}", error.message());
}

// ——— Routes

fn named(routes: &[Route<'_>]) -> Vec<String> {
    let shown = |route: &Route<'_>| {
        let credential = route.credential.as_ref().map_or("-", |secret| secret.reveal());
        format!("{}/{} {credential} {}", route.provider.name, route.model, route.source.as_str())
    };
    routes.iter().map(shown).collect()
}

#[test]
fn the_models_are_those_of_both_fields_each_once() {
    let read = |text: &str| {
        models(&Body::parse(text.as_bytes()).unwrap(), &BTreeMap::new())
            .map_err(|error| error.body()["error"]["param"].as_str().map(str::to_owned))
    };
    assert_eq!(read(r#"{"model":"a/x"}"#).unwrap(), ["a/x"]);
    assert_eq!(read(r#"{"model":"a/x","models":["b/y","a/x","b/y"]}"#).unwrap(), ["a/x", "b/y"]);
    assert_eq!(read(r#"{"models":["b/y"]}"#).unwrap(), ["b/y"]);
    for (text, param) in [
        (r#"{}"#, "model"),
        (r#"{"models":[]}"#, "model"),
        (r#"{"models":"b/y"}"#, "models"),
        (r#"{"models":[7]}"#, "models"),
        (r#"{"models":["1","2","3","4","5","6","7","8","9"]}"#, "models"),
    ] {
        assert_eq!(read(text), Err(Some(param.to_owned())), "{text}");
    }
}

#[test]
fn a_projects_own_name_stands_for_the_models_behind_it_wherever_it_is_named() {
    let aliases: BTreeMap<String, Vec<String>> = serde_json::from_str(
        r#"{"fast":["a/x","b/y"],"six":["1/m","2/m","3/m","4/m","5/m","6/m"],"a/z":["b/z"]}"#,
    )
    .unwrap();
    let read = |text: &str| models(&Body::parse(text.as_bytes()).unwrap(), &aliases);
    assert_eq!(read(r#"{"model":"fast"}"#).unwrap(), ["a/x", "b/y"]);
    assert_eq!(read(r#"{"model":"b/y","models":["fast","c/z"]}"#).unwrap(), ["b/y", "a/x", "c/z"]);
    assert_eq!(read(r#"{"model":"Fast"}"#).unwrap(), ["Fast"]);
    // A name behind a name is a model's.
    assert_eq!(read(r#"{"model":"a/z"}"#).unwrap(), ["b/z"]);
    let error = read(r#"{"models":["fast","six","c/z"]}"#).unwrap_err();
    assert_eq!((error.status(), error.body()["error"]["param"].as_str()), (400, Some("models")));
}

#[test]
fn the_callers_own_credential_is_never_replaced_and_stays_with_its_provider() {
    let world = World::new();
    let all = ["openai/v", "a/x", "openai/w", "anthropic/m", "nobody/n"];
    let none = Bindings::default();
    assert_eq!(
        named(&world.routes(&all, Some("sk-own"), &none)),
        ["openai/v sk-own caller", "openai/w sk-own caller"]
    );
    // Nobody has a credential for the last two.
    assert_eq!(
        named(&world.routes(&all, None, &none)),
        ["openai/v sk-deployment deployment", "a/x - none", "openai/w sk-deployment deployment"]
    );
    let names = ["nobody/n".to_owned(), "a/x".to_owned()];
    assert_eq!(routes(&world.config, ANSWER, &names, None, &none).unwrap_err().code(), Some("no_route"));
}

#[test]
fn behind_the_keys_own_credential_comes_the_projects_and_never_the_deployments() {
    let world = World::new();
    let sealed = |key_id: &str, secret: &str| {
        let place = Place { project: "p", key_id, provider: "openai" };
        let sealed = world.config.master_keys.seal(&Secret::new(secret), place, [7; 12]).unwrap();
        Binding { key_id: key_id.to_owned(), provider: "openai".to_owned(), sealed }
    };
    let both = Bindings::new("p", vec![sealed("", "sk-project"), sealed("key_1", "sk-key")]);
    let found = world.routes(&["openai/v"], None, &both);
    assert_eq!(named(&found), ["openai/v sk-key key", "openai/v sk-project project"]);
    let mut refused = World::new();
    let run = refused.ask_routes(&found, |_, times| status(401).filter(|_| times == 0));
    assert_eq!((names(&run), &run.end), (vec!["openai/v", "openai/v"], &End::Answered));
    let project = Bindings::new("p", vec![sealed("", "sk-project")]);
    assert_eq!(named(&world.routes(&["openai/v"], None, &project)), ["openai/v sk-project project"]);
}
