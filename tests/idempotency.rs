//! Requests that come twice under one idempotency key, over SQLite itself.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use memory_gateway::headers::Headers;
use memory_gateway::idempotency::{
    Claim, Claimed, KEY_TTL_MS, KeepAnswer, KeptAnswer, LONGEST_ANSWER, MOST_KEYS, UNBEGUN_MS, fingerprint,
    read,
};
use memory_gateway::memory::store::TurnStatus;
use memory_gateway::protocol::{Prepare, ThreadKey};
use memory_gateway::thread::{claim, keep_answer};
use support::{Thread, assistant, user};

fn claimed(thread: &mut Thread, key: &str, turn: &str) -> Claimed {
    claimed_with(thread, key, turn, "the same")
}

fn claimed_with(thread: &mut Thread, key: &str, turn: &str, fingerprint: &str) -> Claimed {
    let request = Claim {
        thread: ThreadKey { project: "p".into(), thread: "t".into(), resource: Some("r".into()) },
        key: key.into(),
        fingerprint: fingerprint.into(),
        turn: turn.into(),
        at: thread.now,
    };
    claim(&thread.store, &request).unwrap()
}

fn kept(body: &str) -> KeptAnswer {
    KeptAnswer { body: body.into(), provider: "openai".into(), model: "m".into() }
}

fn keep(thread: &Thread, key: &str, turn: &str, body: &str) {
    let request = KeepAnswer { key: key.into(), turn: turn.into(), answer: kept(body) };
    keep_answer(&thread.store, &request).unwrap();
}

const FIRST: Claimed = Claimed::First { repeated: false };

/// A turn that was claimed and has begun.
fn begun(thread: &mut Thread, key: &str) -> Prepare {
    let request = thread.request(&[user("hello")]);
    assert_eq!(claimed(thread, key, &request.turn), FIRST);
    thread.begin(&request);
    request
}

#[test]
fn a_finished_request_gets_its_answer_again() {
    let mut thread = Thread::new();
    let turn = begun(&mut thread, "k");
    assert_eq!(claimed(&mut thread, "k", "other"), Claimed::Running);
    thread.end(&turn, TurnStatus::Complete, Some(assistant("hi")));
    keep(&thread, "k", &turn.turn, "{}");
    assert_eq!(claimed(&mut thread, "k", "other"), Claimed::Finished(kept("{}")));
    // Another key is another request, whatever it says.
    assert_eq!(claimed(&mut thread, "l", "other"), FIRST);
}

#[test]
fn a_key_stands_for_one_request() {
    let mut thread = Thread::new();
    let turn = begun(&mut thread, "k");
    for ended in [false, true] {
        if ended {
            thread.end(&turn, TurnStatus::Complete, Some(assistant("hi")));
        }
        assert_eq!(claimed_with(&mut thread, "k", "other", "another"), Claimed::Conflict);
    }
}

#[test]
fn an_answer_that_is_not_kept_is_asked_for_again_as_the_same_turn() {
    let mut thread = Thread::new();
    let turn = begun(&mut thread, "k");
    thread.end(&turn, TurnStatus::Complete, Some(assistant("hi")));
    keep(&thread, "k", &turn.turn, &"x".repeat(LONGEST_ANSWER));
    assert_eq!(claimed(&mut thread, "k", "other"), Claimed::Again { turn: turn.turn.clone() });
    thread.begin(&turn);
    thread.end(&turn, TurnStatus::Complete, Some(assistant("hi again")));
    assert_eq!(thread.stored(), ["u:hello", "a:hi"]);
}

#[test]
fn a_request_that_came_to_nothing_is_made_anew_and_its_message_stored_once() {
    for status in [TurnStatus::Failed, TurnStatus::Incomplete, TurnStatus::Lost] {
        let mut thread = Thread::new();
        let turn = begun(&mut thread, "k");
        thread.end(&turn, status, None);
        let again = Prepare { repeated: true, ..thread.request(&[user("hello")]) };
        assert_eq!(claimed(&mut thread, "k", &again.turn), Claimed::First { repeated: true }, "{status:?}");
        thread.begin(&again);
        assert_eq!(claimed(&mut thread, "k", "third"), Claimed::Running);
        thread.end(&again, TurnStatus::Complete, Some(assistant("hi")));
        assert_eq!(thread.stored(), ["u:hello", "a:hi"]);
    }
}

#[test]
fn a_request_that_never_began_stands_in_the_way_for_a_minute() {
    let mut thread = Thread::new();
    assert_eq!(claimed(&mut thread, "k", "turn"), FIRST);
    thread.now += UNBEGUN_MS - 1;
    assert_eq!(claimed(&mut thread, "k", "other"), Claimed::Running);
    thread.now += 1;
    assert_eq!(claimed(&mut thread, "k", "other"), Claimed::First { repeated: true });
}

#[test]
fn keys_are_forgotten_after_a_day_and_beyond_a_number() {
    let mut thread = Thread::new();
    thread.now = 2 * KEY_TTL_MS;
    let turn = begun(&mut thread, "k");
    thread.end(&turn, TurnStatus::Complete, Some(assistant("hi")));
    keep(&thread, "k", &turn.turn, "{}");
    let claimed_at = turn.started_at;
    thread.now = claimed_at + KEY_TTL_MS;
    assert_eq!(claimed(&mut thread, "k", "other"), Claimed::Finished(kept("{}")));
    thread.now += 1;
    assert_eq!(claimed_with(&mut thread, "k", "other", "another"), FIRST);
    for n in 0..MOST_KEYS {
        thread.now += 1;
        assert_eq!(claimed(&mut thread, &n.to_string(), "turn"), FIRST);
    }
    assert_eq!(claimed(&mut thread, "0", "turn"), Claimed::Running);
    assert_eq!(claimed_with(&mut thread, "k", "turn", "third"), FIRST);
    assert_eq!(claimed(&mut thread, "0", "turn"), FIRST, "the oldest made room for it");
}

#[test]
fn an_answer_that_comes_late_is_not_taken_for_another_turns() {
    let mut thread = Thread::new();
    assert_eq!(claimed(&mut thread, "k", "first"), FIRST);
    thread.now += UNBEGUN_MS;
    assert_eq!(claimed(&mut thread, "k", "second"), Claimed::First { repeated: true });
    keep(&thread, "k", "first", "{}");
    assert_eq!(claimed(&mut thread, "k", "third"), Claimed::Running);
}

#[test]
fn another_resource_learns_nothing_of_a_key() {
    let mut thread = Thread::new();
    begun(&mut thread, "k");
    let request = Claim {
        thread: ThreadKey { project: "p".into(), thread: "t".into(), resource: Some("another".into()) },
        key: "k".into(),
        fingerprint: "the same".into(),
        turn: "x".into(),
        at: thread.now,
    };
    assert_eq!(claim(&thread.store, &request).unwrap(), Claimed::NotFound);
}

#[test]
fn a_key_has_a_length_and_a_request_its_fingerprint() {
    let key = |value: &str| read(Headers::from_lines(&format!("idempotency-key: {value}")));
    assert_eq!(read(Headers::from_lines("")).unwrap(), None);
    assert_eq!(key("k-1").unwrap().as_deref(), Some("k-1"));
    assert!(key(&"x".repeat(255)).is_ok());
    for value in [String::new(), "x".repeat(256)] {
        let error = key(&value).unwrap_err();
        assert_eq!((error.status(), error.body()["error"]["param"].as_str()), (400, Some("idempotency-key")));
    }
    assert_eq!(fingerprint("/a", b"{}"), fingerprint("/a", b"{}"));
    assert_ne!(fingerprint("/a", b"{}"), fingerprint("/b", b"{}"));
    assert_ne!(fingerprint("/a", b"{}"), fingerprint("/a", b"{ }"));
}
