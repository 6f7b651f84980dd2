//! Sends a request to a provider and waits for the answer to begin.
//!
//! Invariant: the credential goes to the route's provider and nowhere else; when the client leaves or the time is up, the
//! connection is closed.

use futures::future::{Either, select};
use wasm_bindgen::{JsCast, JsValue};

use super::border::{AbortController, ClientGone, send, settled, within};
use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::headers::{Headers, for_upstream};
use crate::refusal;
use crate::reply::Lines;
use crate::route::Route;

/// Sends `body` (bytes) to the route's provider. Errors: 502 unreachable, 504 too slow, and `ClientGone`.
pub async fn request(
    route: &Route<'_>,
    dialect: Dialect,
    client: Headers<'_>,
    body: &JsValue,
    controller: &AbortController,
    gone: &mut ClientGone,
    timeout_ms: u32,
) -> Result<web_sys::Response, Error> {
    let mut lines = Lines::default();
    lines.add("content-type", "application/json");
    lines.add("user-agent", concat!("memory-gateway/", env!("CARGO_PKG_VERSION")));
    for (name, value) in for_upstream(client) {
        lines.add(name, value);
    }
    for (name, value) in route.credential_headers(dialect, client) {
        lines.add(name, &value);
    }
    let url = format!("{}{}", route.provider.base_url, dialect.upstream_path());
    let answer = std::pin::pin!(settled(send(&url, lines.as_str(), body, &controller.signal())));
    let leaving = std::pin::pin!(gone.wait());
    match within(timeout_ms, select(answer, leaving)).await {
        Some(Either::Left((Ok(answer), _))) => Ok(answer.unchecked_into()),
        Some(Either::Left((Err(_), _))) => Err(refusal::unreachable(&route.provider.name)),
        Some(Either::Right(_)) => {
            controller.abort();
            Err(Error::new(Kind::ClientGone, "The client left before the provider answered."))
        }
        None => {
            controller.abort();
            Err(refusal::too_slow(&route.provider.name, timeout_ms))
        }
    }
}
