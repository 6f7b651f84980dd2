//! Who waits for an answer that a JavaScript exception has cut off.
//!
//! Invariant: whoever asked hears of it at once. Rust cannot catch such an exception: it unwinds the task that it came up in,
//! whose promise nobody settles any more; all that still runs is what is dropped.

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = __memoryGatewayUnanswered, catch)]
    fn settle(request: &JsValue, answer: &JsValue) -> Result<(), JsValue>;
}

/// Has entry.js, which holds the promise of each call, fulfil that of a request with an answer, or reject it without one.
pub fn tell(request: &JsValue, answer: Option<web_sys::Response>) {
    // Without entry.js around it the runtime finds out by itself.
    drop(settle(request, &answer.map_or(JsValue::UNDEFINED, JsValue::from)));
}

/// What the work on a request comes to. Who made the request is told if it is cut off.
pub async fn or_told<T>(request: JsValue, work: impl Future<Output = T>) -> T {
    let mut waiting = Waiting { request, is_over: false };
    let outcome = work.await;
    waiting.is_over = true;
    outcome
}

/// Whoever made a request, and waits for its answer.
struct Waiting {
    request: JsValue,
    is_over: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over {
            tell(&self.request, None);
        }
    }
}
