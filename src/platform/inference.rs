//! One request to a model: who asks, which provider, with memory or without.
//!
//! Invariant: nothing is sent to a provider before the key is known and the request understood; without memory the
//! provider's body goes to the client untouched by us.

use futures::channel::oneshot;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::JsCast;
use worker::Context;

use super::access::Caller;
use super::border::{body_of, now, respond, settled};
use super::gateway_worker::Incoming;
use super::thread_client::ThreadClient;
use super::{answer_turn, upstream};
use crate::auth::Credentials;
use crate::body::{Body, Edit};
use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::headers::{Headers, is_json};
use crate::keys::Principal;
use crate::memory::address;
use crate::operation::{Operation, estimated_tokens};
use crate::plan::Plan;
use crate::responses;
use crate::route::{Route, check_models, route};

/// A request whose sender is known and whose body is read.
pub struct Inference {
    /// The request as it came in.
    pub incoming: Incoming,
    /// What is wanted.
    pub operation: Operation,
    /// Whom the key speaks for.
    pub principal: Principal,
    /// The caller's own provider credential, too.
    pub credentials: Credentials,
    /// How long it took to check the key.
    pub auth_ms: u64,
    /// The body.
    pub bytes: Vec<u8>,
    /// Aborts when the client leaves.
    pub client: web_sys::AbortSignal,
}

/// Serves a request to a model.
pub async fn serve(
    incoming: Incoming,
    context: &Context,
    operation: Operation,
) -> Result<web_sys::Response, Error> {
    let headers = incoming.headers();
    let Caller { credentials, principal } = incoming.caller()?.clone();
    let auth_ms = incoming.auth_ms;
    if !is_json(headers) {
        return Err(Error::new(
            Kind::UnsupportedMediaType,
            "The body must be JSON: send `content-type: application/json`.",
        ));
    }
    let address = address::read(headers)?;
    let bytes = read_body(&incoming.request, headers, incoming.config.max_body_bytes).await?;
    let client = incoming.request.signal();
    let inference =
        Inference { operation, principal, credentials, auth_ms, bytes: bytes.to_vec(), client, incoming };
    match operation {
        Operation::Answer(dialect) if address.is_some() || inference.must_be_looked_at(dialect)? => {
            let (reply, answer) = oneshot::channel();
            context.wait_until(answer_turn::run(inference, dialect, address, reply));
            answer.await.unwrap_or_else(|_| Err(Error::internal()))
        }
        Operation::CountTokens => inference.count_tokens(bytes).await,
        _ => inference.proxy(bytes).await,
    }
}

/// Reads the whole body. Errors: 413 over the limit.
pub async fn read_body(
    request: &web_sys::Request,
    headers: Headers<'_>,
    limit: usize,
) -> Result<Uint8Array, Error> {
    let too_large = || {
        Error::new(
            Kind::TooLarge,
            format!("The body is larger than {limit} bytes, the gateway's limit. Send less."),
        )
    };
    if headers
        .get("content-length")
        .and_then(|length| length.parse::<u64>().ok())
        .is_some_and(|length| length > limit as u64)
    {
        return Err(too_large());
    }
    let buffer = settled(request.array_buffer())
        .await
        .map_err(|_| Error::bad_request("The body could not be read to its end. Send it again."))?;
    let bytes = Uint8Array::new(&buffer.unchecked_into::<ArrayBuffer>());
    if bytes.length() as usize > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

impl Inference {
    /// The object of one of the caller's threads.
    pub fn thread(&self, thread: &str) -> ThreadClient {
        #[allow(unused_mut)]
        let mut client = ThreadClient::new(self.incoming.env.clone(), &self.principal, thread);
        #[cfg(feature = "fault-injection")]
        {
            client.fault = self.incoming.headers().get("x-fault").map(str::to_owned);
        }
        client
    }

    /// Where the request goes. Errors: 400, and 403 for a model that the key may not ask.
    pub fn route(&self, body: &Body<'_>) -> Result<Route<'_>, Error> {
        self.operation.check(body)?;
        let model = body.string("model")?.ok_or_else(|| {
            Error::invalid("model", "The field `model` is missing. Write it as `provider/model`.")
        })?;
        body.flag("stream")?;
        let (config, own) = (&self.incoming.config, self.credentials.provider.as_ref());
        check_models(&self.principal.grant, config, &model, body, own.is_some())?;
        route(config, self.operation, &model, own, &self.principal.bindings)
    }

    /// True when a request without memory cannot simply be passed on: it has to be translated or adapted, or its answer
    /// is to be kept. Errors: 400.
    fn must_be_looked_at(&self, dialect: Dialect) -> Result<bool, Error> {
        let body = Body::parse(&self.bytes)?;
        let route = self.route(&body)?;
        let plan = Plan::of(dialect, route.dialect, &body, &self.bytes)?;
        let stateful = dialect == Dialect::Responses && {
            let state = responses::request::read(&body)?;
            state.store || state.from.is_some() || !responses::items::references(&body).is_empty()
        };
        Ok(stateful
            || plan.translates()
            || plan.has_wrapped_seals
            || route.provider.must_adapt(dialect, |name| body.has(name)))
    }

    /// The edit that gives the model its upstream name, where that differs.
    pub fn model_edit(&self, body: &Body<'_>, route: &Route<'_>) -> Vec<Edit> {
        let sent = body.string("model").ok().flatten();
        if sent.as_deref() == Some(route.model.as_str()) {
            return Vec::new();
        }
        vec![body.set("model", serde_json::Value::from(route.model.as_str()).to_string())]
    }

    /// Asks the provider to count, where it can; else gives our own estimate, marked as one.
    async fn count_tokens(self, bytes: Uint8Array) -> Result<web_sys::Response, Error> {
        let body = Body::parse(&self.bytes)?;
        match self.route(&body) {
            Ok(route) if route.provider.counts_tokens() => return self.proxy(bytes).await,
            Ok(_) => {}
            Err(error) if matches!(error.code(), Some("unsupported_dialect" | "no_route")) => {}
            Err(error) => return Err(error),
        }
        let mut lines = self.incoming.answer_lines.clone();
        lines.add("content-type", "application/json");
        lines.add("x-gateway-estimated", "input_tokens");
        let answer = serde_json::json!({ "input_tokens": estimated_tokens(&body) }).to_string();
        respond(200, lines.as_str(), &answer.into()).map_err(|_| Error::internal())
    }

    /// Without memory: the request with the model's upstream name, the answer as it comes.
    async fn proxy(self, bytes: Uint8Array) -> Result<web_sys::Response, Error> {
        let body = Body::parse(&self.bytes)?;
        let route = self.route(&body)?;
        let edits = self.model_edit(&body, &route);
        let sent = if edits.is_empty() { bytes } else { Uint8Array::from(body.edited(edits).as_slice()) };
        let sent_at = now();
        let timeout = self.incoming.config.upstream_timeout_ms;
        let streams = body.flag("stream")?.unwrap_or(false);
        let headers = self.incoming.headers();
        let begun =
            upstream::request(&route, self.operation, headers, &sent, streams, &self.client, timeout).await?;
        let mut lines = self.incoming.answer_lines.clone();
        lines.add_route(&route.provider.name, &route.model, 1);
        lines.add_timing(self.auth_ms, 0, now() - sent_at);
        lines.add_upstream(Headers::from_lines(&begun.lines), false);
        respond(begun.status, lines.as_str(), &body_of(&begun.answer)).map_err(|_| Error::internal())
    }
}
