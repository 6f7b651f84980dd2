//! Who waits for an answer that a JavaScript exception has cut off.
//!
//! Invariant: whoever asked hears of it at once. Rust cannot catch such an exception: it unwinds the task that it came up in,
//! whose promise nobody settles any more; all that still runs is what is dropped.

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = __memoryGatewayUnanswered, catch)]
    fn settle(key: &JsValue, answer: &JsValue) -> Result<(), JsValue>;
}

/// Has entry.js, which holds the promise of each call, fulfil that of a request with an answer, or reject it without one.
pub fn tell(request: &JsValue, answer: Option<web_sys::Response>) {
    // Without entry.js around it the runtime finds out by itself.
    drop(settle(request, &answer.map_or(JsValue::UNDEFINED, JsValue::from)));
}

/// What the work that an object was called for comes to. Who called is told if it is cut off: by the request of the call, and
/// the platform, which rings an alarm again that failed, by the object's state.
pub async fn or_told<T>(key: JsValue, work: impl Future<Output = T>) -> T {
    let mut waiting = Waiting { key, is_over: false };
    let outcome = work.await;
    waiting.is_over = true;
    outcome
}

/// Whoever waits for the end of a call.
struct Waiting {
    key: JsValue,
    is_over: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over {
            tell(&self.key, None);
        }
    }
}
