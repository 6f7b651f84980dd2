//! The border to JavaScript: the runtime's types that the `worker` crate lacks, and `border.js`.
//!
//! Invariant: every call that can throw is declared with `catch`; an exception that crosses uncaught would kill the
//! instance and with it every stream.

use std::cell::RefCell;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;
use worker::Delay;

use crate::headers::{FORWARDED, Headers, READ, body_length};
use crate::turn::hex;

#[wasm_bindgen]
extern "C" {
    /// The runtime's native pipe: what is written comes out of `readable`, with backpressure, without JavaScript.
    pub type IdentityTransformStream;
    #[wasm_bindgen(constructor, js_class = "IdentityTransformStream", catch)]
    pub fn new() -> Result<IdentityTransformStream, JsValue>;
    #[wasm_bindgen(method, getter)]
    pub fn readable(this: &IdentityTransformStream) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub fn writable(this: &IdentityTransformStream) -> Writable;

    pub type Writable;
    #[wasm_bindgen(method, js_name = getWriter, catch)]
    pub fn writer(this: &Writable) -> Result<Writer, JsValue>;

    pub type Writer;
    #[wasm_bindgen(method, catch)]
    pub fn write(this: &Writer, chunk: &Uint8Array) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub fn close(this: &Writer) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub fn abort(this: &Writer, reason: &JsValue) -> Result<Promise, JsValue>;
    /// Lets another have the stream.
    #[wasm_bindgen(method, js_name = releaseLock)]
    pub fn release(this: &Writer);
    /// Settles when the stream is closed, from either side.
    #[wasm_bindgen(method, getter)]
    pub fn closed(this: &Writer) -> Promise;

    pub type Readable;
    #[wasm_bindgen(method, js_name = getReader, catch)]
    pub fn reader(this: &Readable) -> Result<Reader, JsValue>;

    pub type Reader;
    #[wasm_bindgen(method, catch)]
    pub fn read(this: &Reader) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub fn cancel(this: &Reader) -> Result<Promise, JsValue>;
    /// Lets another have the stream.
    #[wasm_bindgen(method, js_name = releaseLock)]
    pub fn release(this: &Reader);

    /// What `overhear` gives.
    pub type Overheard;
    /// Settles when the stream has flowed by, or either side has failed.
    #[wasm_bindgen(method, getter)]
    pub fn flow(this: &Overheard) -> Promise;
    #[wasm_bindgen(method, getter)]
    pub fn reader(this: &Overheard) -> ByteReader;
    /// For [`Watched`].
    #[wasm_bindgen(method, getter)]
    pub fn entry(this: &Overheard) -> JsValue;

    pub type ByteReader;
    /// Reads into a buffer, which is gone then, whatever is there: as much as fits.
    #[wasm_bindgen(method, catch)]
    pub fn read(this: &ByteReader, buffer: &Uint8Array) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub fn cancel(this: &ByteReader) -> Result<Promise, JsValue>;

    /// What a reader's promise resolves to.
    pub type Read;
    #[wasm_bindgen(method, getter)]
    pub fn done(this: &Read) -> bool;
    #[wasm_bindgen(method, getter)]
    pub fn value(this: &Read) -> Uint8Array;

    pub type AbortController;
    #[wasm_bindgen(constructor)]
    pub fn new() -> AbortController;
    #[wasm_bindgen(method, getter)]
    pub fn signal(this: &AbortController) -> web_sys::AbortSignal;
    #[wasm_bindgen(method)]
    pub fn abort(this: &AbortController);

    /// What `send` resolves to when an answer has begun.
    pub type Sent;
    #[wasm_bindgen(method, getter)]
    pub fn answer(this: &Sent) -> web_sys::Response;
    #[wasm_bindgen(method, getter)]
    pub fn controller(this: &Sent) -> AbortController;
    #[wasm_bindgen(method, getter)]
    pub fn status(this: &Sent) -> u16;
    #[wasm_bindgen(method, getter)]
    pub fn lines(this: &Sent) -> String;
    #[wasm_bindgen(method, getter)]
    pub fn whole(this: &Sent) -> JsValue;
}

#[wasm_bindgen(module = "/src/platform/border.js")]
extern "C" {
    #[wasm_bindgen(js_name = pickHeaders)]
    fn pick_headers(headers: &web_sys::Headers, names: &JsValue) -> String;
    pub fn send(
        method: &str,
        url: &str,
        header_lines: &str,
        body: &JsValue,
        client: &web_sys::AbortSignal,
        timeout_ms: u32,
    ) -> Promise;
    #[wasm_bindgen(catch)]
    pub fn respond(status: u16, header_lines: &str, body: &JsValue) -> Result<web_sys::Response, JsValue>;
    /// `send`, which reads the body of a success, too.
    #[wasm_bindgen(js_name = send)]
    pub fn send_and_read(
        method: &str,
        url: &str,
        header_lines: &str,
        body: &JsValue,
        client: &web_sys::AbortSignal,
        timeout_ms: u32,
        most: f64,
        unread: &str,
        whole_ms: u32,
    ) -> Promise;
    #[wasm_bindgen(js_name = readWhole)]
    fn read_whole(message: &JsValue, most: f64, length: f64, ms: u32) -> Promise;
    pub fn openapi() -> String;
    #[wasm_bindgen(js_name = bodyOf)]
    pub fn body_of(message: &web_sys::Response) -> JsValue;
    #[wasm_bindgen(js_name = bodyOf)]
    pub fn request_body(message: &web_sys::Request) -> JsValue;
    #[wasm_bindgen(js_name = sqlQuery, catch)]
    pub fn sql_query(sql: &JsValue, statement: &str, values: &str) -> Result<String, JsValue>;
    #[wasm_bindgen(js_name = zoneOffset)]
    fn zone_minutes(zone: &str, ms: f64) -> f64;
    #[wasm_bindgen(catch)]
    pub fn overhear(
        stream: &JsValue,
        pipe: &IdentityTransformStream,
        first: Option<&Uint8Array>,
    ) -> Result<Overheard, JsValue>;
    pub fn watch(writer: &Writer, controller: &AbortController) -> JsValue;
    fn unwatch(entry: &JsValue);
    #[wasm_bindgen(js_name = breakOff)]
    fn break_off(entry: &JsValue);
    #[wasm_bindgen(js_name = instanceEnded)]
    pub fn instance_ended();
}

thread_local! {
    /// The names of the request headers that are read, as a JavaScript array, made once.
    static NAMES: JsValue =
        READ.iter().chain(FORWARDED).map(|name| JsValue::from_str(name)).collect::<js_sys::Array>().into();
}

/// The headers of a request that the gateway reads or forwards, as lines.
pub fn request_lines(request: &web_sys::Request) -> String {
    NAMES.with(|names| pick_headers(&request.headers(), names))
}

/// Unix milliseconds.
pub fn now() -> u64 {
    js_sys::Date::now() as u64
}

/// Minutes east of UTC in a time zone at an instant in Unix milliseconds; `None` for a name that is no time zone.
pub fn zone_offset(zone: &str, at: u64) -> Option<i32> {
    if zone == "UTC" {
        return Some(0);
    }
    let minutes = zone_minutes(zone, at as f64);
    (!minutes.is_nan()).then_some(minutes as i32)
}

/// The platform's calendar, for the core; an unknown zone counts as UTC.
pub fn zones(zone: &str, at: u64) -> i32 {
    zone_offset(zone, at).unwrap_or(0)
}

/// A new identifier: a prefix and 96 random bits in hex.
pub fn random_id(prefix: &str) -> String {
    format!("{prefix}{}", hex(&random_bytes::<12>()))
}

/// Random bytes.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    if getrandom::fill(&mut bytes).is_err() {
        // The runtime's generator cannot fail inside a request; if it ever does, the time still tells turns apart.
        bytes.iter_mut().zip(now().to_le_bytes()).for_each(|(byte, part)| *byte = part);
    }
    bytes
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It has more bytes than allowed.
    TooLarge,
    /// It took too long.
    Slow,
    /// It broke off.
    Broken,
    /// The client left meanwhile.
    Gone,
}

/// The body of a request or an answer with these headers, of `most` bytes at most and within `ms` milliseconds.
pub async fn whole_body(
    message: &JsValue,
    headers: Headers<'_>,
    most: usize,
    ms: u32,
) -> Result<Uint8Array, Unread> {
    let length = body_length(headers).map_or(f64::NAN, |length| length as f64);
    let read = settled(Ok(read_whole(message, most as f64, length, ms))).await.map_err(|_| Unread::Broken)?;
    bytes_or_why(read)
}

/// What reading a body came to.
pub fn bytes_or_why(read: JsValue) -> Result<Uint8Array, Unread> {
    match read.as_string().as_deref() {
        None => Ok(read.unchecked_into()),
        Some("large") => Err(Unread::TooLarge),
        Some("slow") => Err(Unread::Slow),
        Some("gone") => Err(Unread::Gone),
        Some(_) => Err(Unread::Broken),
    }
}

/// A stream under way, which is broken off where nobody comes to say that it has ended.
pub struct Watched(Option<JsValue>);

impl Watched {
    /// Takes what `watch` and `overhear` give.
    pub fn new(entry: JsValue) -> Self {
        Watched(Some(entry))
    }

    /// It has ended.
    pub fn ended(mut self) {
        if let Some(entry) = self.0.take() {
            unwatch(&entry);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            break_off(&entry);
        }
    }
}

/// Resolves when the client has left. Its listener goes with it.
pub struct ClientGone {
    left: oneshot::Receiver<()>,
    _listener: Option<Closure<dyn FnMut()>>,
    signal: web_sys::AbortSignal,
}

impl ClientGone {
    /// Watches a request's signal.
    pub fn watch(signal: web_sys::AbortSignal) -> Self {
        let (sender, left) = oneshot::channel();
        let sender = RefCell::new(Some(sender));
        let tell = move || {
            if let Some(sender) = sender.borrow_mut().take() {
                let _ = sender.send(());
            }
        };
        if signal.aborted() {
            tell();
            return ClientGone { left, _listener: None, signal };
        }
        let listener = Closure::<dyn FnMut()>::own_assert_unwind_safe(tell);
        let _ = signal.add_event_listener_with_callback("abort", listener.as_ref().unchecked_ref());
        ClientGone { left, _listener: Some(listener), signal }
    }

    /// Waits until the client leaves; for ever if it does not.
    pub async fn wait(&mut self) {
        if self.signal.aborted() {
            return;
        }
        if (&mut self.left).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for ClientGone {
    fn drop(&mut self) {
        if let Some(listener) = &self._listener {
            let _ =
                self.signal.remove_event_listener_with_callback("abort", listener.as_ref().unchecked_ref());
        }
    }
}

/// The outcome of a promise, or `None` after `ms` milliseconds.
pub async fn within<T>(ms: u32, work: impl Future<Output = T>) -> Option<T> {
    let work = std::pin::pin!(work);
    match select(work, Delay::from(Duration::from_millis(u64::from(ms)))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Awaits a promise that a call may also have failed to give.
pub async fn settled(promise: Result<Promise, JsValue>) -> Result<JsValue, JsValue> {
    JsFuture::from(promise?).await
}
