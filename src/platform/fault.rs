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
}

/// Does to the caller what the header `x-fault` asks for, if it is one of `place`'s.
///
/// - `handler`: `panic`, `exception`.
/// - `turn`, which goes on when the handler has answered: `panic-turn`, `exception-turn`, and `exception-before`, in a task that
///   runs just before another which the turn waits for.
/// - `object`: `panic-object`, `exception-object`, `panic-transaction`, `slow-object=MS`.
/// - `key`, the object that counts a key's requests: `slow-key=MS`.
#[allow(clippy::panic)]
pub async fn strike(place: &str, asked: Option<&str>) {
    match (place, asked) {
        ("handler", Some("panic")) | ("turn", Some("panic-turn")) | ("object", Some("panic-object")) => {
            panic!("fault injection: a panic")
        }
        ("handler", Some("exception"))
        | ("turn", Some("exception-turn"))
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

/// Panics where what listens to a stream is asked to: with `panic-stream` at the first bytes that come, with
/// `panic-stream=N` at those that come as the Nth. `come` counts them.
pub fn strike_stream(asked: Option<&str>, come: &Cell<u32>) {
    come.set(come.get() + 1);
    let at = asked.and_then(|asked| asked.strip_prefix("panic-stream"));
    let at = at.map(|at| at.strip_prefix('=').and_then(|at| at.parse().ok()).unwrap_or(1));
    assert!(at != Some(come.get()), "fault injection: a panic in the middle of a stream");
}
