//! Panics, caught where they cost nothing but what panicked.
//!
//! Invariant: a panic harms one request. Where the build cannot unwind nothing is caught here: the instance ends, and entry.js
//! ends what hung on it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::spawn_local;

/// What the work comes to; `None` where it panicked. Who catches is who knows what of the rest can still be used.
pub fn caught<T>(work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
    AssertUnwindSafe(work).catch_unwind().map(Result::ok)
}

/// What the call gives; `None` where it panicked.
pub fn attempt<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// Runs work by itself. Were its panic not caught, the tasks that are to run after it would wait for the next event.
pub fn spawn(work: impl Future<Output = ()> + 'static) {
    spawn_local(caught(work).map(drop));
}

/// Lends entry.js `__memoryGatewayResume`: runs the tasks that were to run after one that an exception has unwound. They would
/// wait until something else wakes a task.
pub fn lend_resuming() {
    let resume = Closure::<dyn FnMut()>::new(|| spawn_local(async {}));
    let name = JsValue::from_str("__memoryGatewayResume");
    drop(js_sys::Reflect::set(&js_sys::global(), &name, &resume.into_js_value()));
}
