//! Moves the bytes of a stream to its client, and has somebody look at them on the way.
//!
//! Invariant: chunks go on in their order, each when the one before it is taken, at most two milliseconds after it came; what
//! looks at them sees every byte once, and none after it was let go.

use std::cell::Cell;

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::ScopedClosure;
use wasm_bindgen::prelude::wasm_bindgen;

use super::border::{Read, Reader, Writer, settled};
use super::unwind::attempt;

/// Chunks that come so soon after each other, in milliseconds, are gathered for as long.
const BURST_MS: u32 = 2;
/// What is gathered at most, in bytes.
const MOST_BYTES: u32 = 64 * 1024;

#[wasm_bindgen(module = "/src/platform/conveyor.js")]
extern "C" {
    #[wasm_bindgen(js_name = Conveyor)]
    type JsConveyor;
    #[wasm_bindgen(constructor, js_class = "Conveyor")]
    fn new(reader: &Reader, writer: &Writer, first: &JsValue) -> JsConveyor;
    #[wasm_bindgen(method)]
    fn run(
        this: &JsConveyor,
        take: &ScopedClosure<'_, dyn FnMut(Uint8Array) -> JsValue>,
        burst: u32,
        most: u32,
    ) -> Promise;
    #[wasm_bindgen(method)]
    fn stop(this: &JsConveyor);
    #[wasm_bindgen(method, getter, js_name = isWriting)]
    fn is_writing(this: &JsConveyor) -> bool;
}

/// What becomes of bytes that were looked at.
pub enum Taken {
    /// They go on.
    Same,
    /// These go on in their place; perhaps none.
    Other(Uint8Array),
    /// Nothing goes on until the conveyor runs again.
    Paused,
}

/// Why a conveyor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standstill {
    /// The stream is at its end.
    Ended,
    /// The stream broke off.
    Cut,
    /// The client takes nothing any more.
    ClientGone,
    /// It was asked to.
    Paused,
    /// Who looks at the bytes panicked.
    Failed,
}

/// A stream on its way.
pub struct Conveyor(JsConveyor);

impl Conveyor {
    /// From a reader, of which `first` was read already, to a writer.
    pub fn new(reader: &Reader, first: Option<Read>, writer: &Writer) -> Self {
        Conveyor(JsConveyor::new(reader, writer, &first.map_or(JsValue::UNDEFINED, JsValue::from)))
    }

    /// Moves on until it stands. Dropped before that, it stops where it is.
    pub async fn run(&self, mut take: impl FnMut(Uint8Array) -> Taken) -> Standstill {
        let has_failed = Cell::new(false);
        let mut take = |bytes| match attempt(|| take(bytes)) {
            Some(Taken::Same) => JsValue::UNDEFINED,
            Some(Taken::Other(bytes)) => bytes.into(),
            Some(Taken::Paused) => JsValue::NULL,
            None => {
                has_failed.set(true);
                JsValue::NULL
            }
        };
        let take = ScopedClosure::borrow_mut_assert_unwind_safe(&mut take);
        let _stopping = Stopping(&self.0);
        let stands = settled(Ok(self.0.run(&take, BURST_MS, MOST_BYTES))).await;
        match stands.ok().and_then(|why| why.as_string()).as_deref() {
            Some("ended") => Standstill::Ended,
            Some("cut") => Standstill::Cut,
            Some("gone") => Standstill::ClientGone,
            Some("paused") if !has_failed.get() => Standstill::Paused,
            _ => Standstill::Failed,
        }
    }

    /// True while the client has not taken what was written last.
    pub fn is_writing(&self) -> bool {
        self.0.is_writing()
    }
}

/// Nobody looks at what comes after this is gone.
struct Stopping<'a>(&'a JsConveyor);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
