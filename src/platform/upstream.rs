//! Sends a request to a provider and waits for the answer to begin.
//!
//! Invariant: the credential goes to the route's provider and nowhere else; when the client leaves or the time is up, the
//! connection is closed.

use std::pin::pin;

use futures::future::{Either, select};
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

use super::border::{
    AbortController, ClientGone, Read, Readable, Reader, Sent, Unread, body_of, bytes_or_why, now, send,
    send_and_read, settled, whole_body, within,
};
use crate::attempts::beginning::{Beginning, Reported};
use crate::attempts::failure::Failure;
use crate::error::{Error, Kind};
use crate::headers::{EVENT_STREAM, Headers, for_upstream};
use crate::operation::Operation;
use crate::refusal;
use crate::reply::Lines;
use crate::route::Route;

/// How the gateway names itself to providers.
pub const USER_AGENT: &str = concat!("memory-gateway/", env!("CARGO_PKG_VERSION"));

/// An answer that has begun.
pub struct Begun {
    /// The answer; of its body nothing has been read but `first` or `whole`.
    pub answer: web_sys::Response,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers, as lines.
    pub lines: String,
    /// Ends the provider's connection.
    pub controller: AbortController,
    /// When it began, in Unix milliseconds: with its head, or the first piece where that was waited for.
    pub began_at: u64,
    /// The beginning of a stream, where it was waited for.
    pub first: Option<First>,
    /// All of its body, or why it could not be had, where it was waited for.
    pub whole: Option<Result<Uint8Array, Unread>>,
}

/// The first piece of a body, and who reads on.
pub struct First {
    /// Reads the rest.
    pub reader: Reader,
    /// The first piece.
    pub read: Read,
    /// When it came, in Unix milliseconds.
    pub at: u64,
}

/// Why no answer began.
pub enum Unbegun {
    /// The client left.
    Gone,
    /// The provider failed.
    Failed(Failure),
}

impl Begun {
    /// Waits for the first piece of a stream, up to `ms` milliseconds; for so much of it that one can tell whether an
    /// answer begins. Gives the error that the provider reports in the place of one. Errors: it did not come; the connection
    /// is closed.
    pub async fn wait_for_first(
        &mut self,
        gone: &mut ClientGone,
        ms: u32,
    ) -> Result<Option<Reported>, Unbegun> {
        let body = body_of(&self.answer);
        let read = async {
            if body.is_null() {
                return None;
            }
            let reader = body.unchecked_ref::<Readable>().reader().ok()?;
            let mut read: Read = settled(reader.read()).await.ok()?.unchecked_into();
            if read.done() {
                return None;
            }
            let at = now();
            let mut bytes = read.value().to_vec();
            loop {
                let reported = match Beginning::of_stream(&bytes) {
                    Beginning::Answer => None,
                    Beginning::Failed(reported) => Some(reported),
                    Beginning::Unfinished => {
                        // What ends or breaks now is the reader's next word, too.
                        let more: Option<Read> =
                            settled(reader.read()).await.ok().map(JsCast::unchecked_into);
                        match more.filter(|more| !more.done()) {
                            Some(more) => {
                                bytes.extend(more.value().to_vec());
                                read = joined(&bytes);
                                continue;
                            }
                            None => None,
                        }
                    }
                };
                return Some((First { reader, read, at }, reported));
            }
        };
        let failure = match select(pin!(within(ms, read)), pin!(gone.wait())).await {
            Either::Left((Some(Some((first, reported))), _)) => {
                self.began_at = first.at;
                self.first = Some(first);
                return Ok(reported);
            }
            Either::Left((Some(None), _)) => Unbegun::Failed(Failure::Broken),
            Either::Left((None, _)) => Unbegun::Failed(Failure::Slow),
            Either::Right(_) => Unbegun::Gone,
        };
        self.controller.abort();
        Err(failure)
    }
}

/// Several pieces as one.
fn joined(bytes: &[u8]) -> Read {
    let read = Object::new();
    let _ = Reflect::set(&read, &"done".into(), &JsValue::FALSE);
    let _ = Reflect::set(&read, &"value".into(), &Uint8Array::from(bytes));
    read.unchecked_into()
}

impl Begun {
    /// The whole body, of `most` bytes at most and within `ms` milliseconds. The connection is closed where it cannot be had.
    pub async fn read(&self, most: usize, ms: u32) -> Result<Uint8Array, Unread> {
        let read = whole_body(&self.answer, Headers::from_lines(&self.lines), most, ms).await;
        if read.is_err() {
            self.controller.abort();
        }
        read
    }

    /// The error that the whole body is, where it was read.
    pub fn reported(&self) -> Option<Reported> {
        Reported::of_whole(&self.whole.as_ref()?.as_ref().ok()?.to_vec())
    }

    async fn wait_for_whole(&mut self, gone: &mut ClientGone, most: usize, ms: u32) {
        let read = match select(pin!(self.read(most, ms)), pin!(gone.wait())).await {
            Either::Left((read, _)) => read,
            Either::Right(_) => Err(Unread::Gone),
        };
        if read.is_err() {
            self.controller.abort();
        }
        self.whole = Some(read);
    }

    /// The whole body, or why it could not be had; waited for unless it was read already.
    pub async fn take_whole(
        &mut self,
        gone: &mut ClientGone,
        most: usize,
        ms: u32,
    ) -> Result<Uint8Array, Unread> {
        if self.whole.is_none() {
            self.wait_for_whole(gone, most, ms).await;
        }
        self.whole.take().unwrap_or(Err(Unread::Broken))
    }
}

/// What is sent.
pub struct Question<'a> {
    /// What is wanted.
    pub operation: Operation,
    /// The headers of the client's request.
    pub headers: Headers<'a>,
    /// The body, as bytes.
    pub body: &'a JsValue,
    /// True when it asks for a stream.
    pub stream: bool,
    /// Whether the body of a success is read as a whole.
    pub reading: Option<Reading>,
}

/// How a body is read as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Its most bytes.
    pub most: usize,
    /// Streams of events are left alone.
    pub but_streams: bool,
    /// When all of it must be there, in milliseconds from the sending.
    pub ms: u32,
}

/// Sends a question to the route's provider, and waits up to `timeout_ms` for the head of the answer, whatever it says.
pub async fn open(
    route: &Route<'_>,
    question: &Question<'_>,
    client: &web_sys::AbortSignal,
    timeout_ms: u32,
) -> Result<Begun, Unbegun> {
    let Question { operation, headers, body, stream, reading } = *question;
    let mut lines = Lines::default();
    lines.add("content-type", "application/json");
    lines.add("user-agent", USER_AGENT);
    for (name, value) in for_upstream(headers, route.dialect) {
        lines.add(name, value);
    }
    for (name, value) in route.credential_headers(headers) {
        lines.add(name, &value);
    }
    let url = route.url(operation, stream);
    let unreachable = || Unbegun::Failed(Failure::Unreachable);
    let sending = match reading {
        None => send("POST", &url, lines.as_str(), body, client, timeout_ms),
        Some(Reading { most, but_streams, ms }) => {
            let unread = if but_streams { EVENT_STREAM } else { "" };
            let most = most as f64;
            send_and_read("POST", &url, lines.as_str(), body, client, timeout_ms, most, unread, ms)
        }
    };
    let sent = settled(Ok(sending)).await.map_err(|_| unreachable())?;
    match sent.as_string().as_deref() {
        None => {}
        Some("gone") => return Err(Unbegun::Gone),
        Some("slow") => return Err(Unbegun::Failed(Failure::Slow)),
        Some(_) => return Err(unreachable()),
    }
    let sent: Sent = sent.unchecked_into();
    let whole = sent.whole();
    Ok(Begun {
        answer: sent.answer(),
        status: sent.status(),
        lines: sent.lines(),
        controller: sent.controller(),
        began_at: now(),
        first: None,
        whole: (!whole.is_undefined()).then(|| bytes_or_why(whole)),
    })
}

/// What the client is told of a failure, where nothing better is known. `waited_ms` is how long was waited.
pub fn error_of(failure: &Failure, provider: &str, waited_ms: u32) -> Error {
    match failure {
        Failure::Slow => refusal::too_slow(provider, waited_ms),
        Failure::Broken => refusal::cut_short(provider),
        Failure::Nonsense => refusal::nonsense(provider),
        Failure::Unreachable | Failure::Status { .. } | Failure::Reported { .. } => {
            refusal::unreachable(provider)
        }
    }
}

/// What the client is told of an answer that could not be read to its end, of at most `most` bytes within `waited_ms`.
pub fn unread(why: Unread, provider: &str, most: usize, waited_ms: u32) -> Error {
    match why {
        Unread::TooLarge => refusal::too_large(provider, most),
        Unread::Slow => refusal::too_slow(provider, waited_ms),
        Unread::Broken => refusal::cut_short(provider),
        Unread::Gone => client_gone(),
    }
}

/// The error of a request whose client did not wait.
pub fn client_gone() -> Error {
    Error::new(Kind::ClientGone, "The client left before the provider answered.")
}

/// Asks once, and takes whatever comes. Errors: 502 unreachable, 504 too slow, `ClientGone`, and 502 for an answer that is
/// none.
pub async fn request(
    route: &Route<'_>,
    question: &Question<'_>,
    client: &web_sys::AbortSignal,
    timeout_ms: u32,
) -> Result<Begun, Error> {
    let begun = match open(route, question, client, timeout_ms).await {
        Ok(begun) => begun,
        Err(Unbegun::Gone) => return Err(client_gone()),
        Err(Unbegun::Failed(failure)) => return Err(error_of(&failure, &route.provider.name, timeout_ms)),
    };
    if let Some(error) = refusal::refusal(route, begun.status, Headers::from_lines(&begun.lines)) {
        begun.controller.abort();
        return Err(error);
    }
    Ok(begun)
}
