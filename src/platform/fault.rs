//! Failures on request, for the end-to-end tests: what happens to everybody else when the gateway itself fails.
//!
//! Invariant: compiled only with the feature `fault-injection`, which no deployed build has.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use futures::channel::oneshot;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;
use worker::Delay;

#[wasm_bindgen]
extern "C" {
    /// Deliberately without `catch`: what it throws reaches Rust as an uncaught exception.
    #[wasm_bindgen(js_namespace = JSON, js_name = parse)]
    fn parse_uncaught(text: &str) -> JsValue;
}

thread_local! {
    /// The next transaction's work is to panic once it has written.
    static TRANSACTION_PANICS: Cell<bool> = const { Cell::new(false) };
    /// The next alarm of an object is to throw.
    static ALARM_THROWS: Cell<bool> = const { Cell::new(false) };
}

/// Does to the caller what the header `x-fault` asks for, if it is one of `place`'s.
///
/// - `handler`: `panic`, `exception`.
/// - `turn`, which goes on when the handler has answered: `panic-turn`, `exception-turn`, and `exception-before`, in a task that
///   runs just before another which the turn waits for.
/// - `asking`, when memory has been asked and the provider has not: `exception-asking`.
/// - `object`: `panic-object`, `exception-object`, `panic-transaction`, `slow-object=MS`; `exception-alarm`, at the next alarm that rings.
/// - `key`, the object that counts a key's requests: `slow-key=MS`.
#[allow(clippy::panic)]
pub async fn strike(place: &str, asked: Option<&str>) {
    match (place, asked) {
        ("handler", Some("panic")) | ("turn", Some("panic-turn")) | ("object", Some("panic-object")) => {
            panic!("fault injection: a panic")
        }
        ("handler", Some("exception"))
        | ("turn", Some("exception-turn"))
        | ("asking", Some("exception-asking"))
        | ("object", Some("exception-object")) => {
            drop(parse_uncaught("fault injection: an exception"));
        }
        ("turn", Some("exception-before")) => {
            // Both are woken together, and the second runs in the same breath as the first.
            let (told, heard) = oneshot::channel::<()>();
            spawn_local(async { drop(parse_uncaught("fault injection: an exception")) });
            spawn_local(async move {
                let _ = told.send(());
            });
            let _ = heard.await;
        }
        ("object", Some("panic-transaction")) => TRANSACTION_PANICS.set(true),
        ("object", Some("exception-alarm")) => ALARM_THROWS.set(true),
        ("object" | "key", Some(fault)) => {
            let slow =
                fault.strip_prefix("slow-").and_then(|rest| rest.strip_prefix(place)?.strip_prefix('='));
            if let Some(ms) = slow.and_then(|ms| ms.parse().ok()) {
                Delay::from(Duration::from_millis(ms)).await;
            }
        }
        _ => {}
    }
}

thread_local! {
    /// How often each fault was thrown.
    static THROWN: RefCell<HashMap<String, u32>> = RefCell::default();
}

/// Throws in an object what the header `x-fault` asks for: an error with flags of the platform. `throw-FLAG,FLAG=N/NAME`
/// has the first N calls fail that carry this very text, and `throw-=N/NAME` without any flag.
pub fn throw(asked: Option<&str>) -> worker::Result<()> {
    let Some((flags, times)) = asked.and_then(|asked| asked.strip_prefix("throw-")?.split_once('=')) else {
        return Ok(());
    };
    let most = times.split('/').next().and_then(|times| times.parse().ok()).unwrap_or(0);
    let thrown = THROWN.with_borrow_mut(|thrown| {
        let thrown = thrown.entry(asked.unwrap_or_default().to_owned()).or_default();
        *thrown += 1;
        *thrown
    });
    if thrown > most {
        return Ok(());
    }
    let error = js_sys::Error::new("fault injection: an error of the platform");
    for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
        drop(js_sys::Reflect::set(&error, &flag.into(), &JsValue::TRUE));
    }
    Err(error.into())
}

/// Panics where a transaction was asked for it: after its work, before its end.
pub fn strike_transaction() {
    assert!(!TRANSACTION_PANICS.take(), "fault injection: a panic in a transaction");
}

/// Throws where an alarm was asked to.
pub fn strike_alarm() {
    if ALARM_THROWS.take() {
        drop(parse_uncaught("alarm: fault injection, an exception"));
    }
}

/// Fails where what looks at a stream is asked to, by a panic or by an exception: with `panic-stream` at the first bytes that come,
/// with `panic-stream=N` at those that come as the Nth; likewise `exception-stream`. `come` counts them.
#[allow(clippy::panic)]
pub fn strike_stream(asked: Option<&str>, come: &Cell<u32>) {
    come.set(come.get() + 1);
    let Some((fault, at)) = asked.map(|asked| asked.split_once('=').unwrap_or((asked, "1"))) else { return };
    match fault {
        _ if at.parse() != Ok(come.get()) => {}
        "panic-stream" => panic!("fault injection: a panic in the middle of a stream"),
        "exception-stream" => drop(parse_uncaught("fault injection: an exception in the middle of a stream")),
        _ => {}
    }
}
