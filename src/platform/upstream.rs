//! Sends a request to a provider and waits for the answer to begin.
//!
//! Invariant: the credential goes to the route's provider and nowhere else; when the client leaves or the time is up, the
//! connection is closed.

use wasm_bindgen::{JsCast, JsValue};

use super::border::{AbortController, Sent, send, settled};
use crate::error::{Error, Kind};
use crate::headers::{Headers, for_upstream};
use crate::operation::Operation;
use crate::refusal;
use crate::reply::Lines;
use crate::route::Route;

/// How the gateway names itself to providers.
pub const USER_AGENT: &str = concat!("memory-gateway/", env!("CARGO_PKG_VERSION"));

/// An answer that has begun.
pub struct Begun {
    /// The answer; its body has not been read.
    pub answer: web_sys::Response,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers, as lines.
    pub lines: String,
    /// Ends the provider's connection.
    pub controller: AbortController,
}

/// Sends `body` (bytes), which asks for a stream or not, to the route's provider. Errors: 502 unreachable, 504 too slow, `ClientGone`, and 502 for an
/// answer that must not reach the client.
pub async fn request(
    route: &Route<'_>,
    operation: Operation,
    headers: Headers<'_>,
    body: &JsValue,
    stream: bool,
    client: &web_sys::AbortSignal,
    timeout_ms: u32,
) -> Result<Begun, Error> {
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
    let provider = &route.provider.name;
    let sent = settled(Ok(send("POST", &url, lines.as_str(), body, client, timeout_ms)))
        .await
        .map_err(|_| refusal::unreachable(provider))?;
    match sent.as_string().as_deref() {
        None => {}
        Some("gone") => {
            return Err(Error::new(Kind::ClientGone, "The client left before the provider answered."));
        }
        Some("slow") => return Err(refusal::too_slow(provider, timeout_ms)),
        Some(_) => return Err(refusal::unreachable(provider)),
    }
    let sent: Sent = sent.unchecked_into();
    let begun = Begun {
        answer: sent.answer(),
        status: sent.status(),
        lines: sent.lines(),
        controller: sent.controller(),
    };
    if let Some(error) = refusal::refusal(route, begun.status, Headers::from_lines(&begun.lines)) {
        begun.controller.abort();
        return Err(error);
    }
    Ok(begun)
}
