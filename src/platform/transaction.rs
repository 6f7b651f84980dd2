//! `ctx.storage.transactionSync`, which the `worker` crate does not wrap.
//!
//! Invariant: all of the work's writes happen, or none; a panic of the work undoes them, and is an error.

use std::cell::RefCell;

use wasm_bindgen::closure::ScopedClosure;
use wasm_bindgen::{JsCast, JsValue};
use worker::State;

/// Runs `work` in a transaction of the object's storage; a failure undoes it.
pub fn transaction<T>(state: &State, work: impl FnOnce() -> worker::Result<T>) -> worker::Result<T> {
    let storage = state.storage();
    let raw: &JsValue = storage.as_raw().as_ref();
    let run: js_sys::Function = js_sys::Reflect::get(raw, &"transactionSync".into())?.dyn_into()?;
    let work = RefCell::new(Some(work));
    let outcome: RefCell<Option<worker::Result<T>>> = RefCell::new(None);
    let mut body = || -> Result<JsValue, JsValue> {
        let Some(work) = work.borrow_mut().take() else { return Ok(JsValue::UNDEFINED) };
        let result = work();
        #[cfg(feature = "fault-injection")]
        super::fault::strike_transaction();
        let failed = result.is_err();
        outcome.replace(Some(result));
        if failed { Err(JsValue::from_str("undo")) } else { Ok(JsValue::UNDEFINED) }
    };
    let called = {
        let body = ScopedClosure::<dyn FnMut() -> Result<JsValue, JsValue>>::borrow_mut_assert_unwind_safe(
            &mut body,
        );
        run.call1(raw, body.as_ref())
    };
    match (outcome.into_inner(), called) {
        (Some(Ok(_)), Err(error)) => Err(error.into()),
        (Some(result), _) => result,
        (None, called) => {
            called?;
            Err("the transaction did not run".into())
        }
    }
}
