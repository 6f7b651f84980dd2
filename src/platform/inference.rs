//! One request to a model: who asks, which provider, with memory or without.
//!
//! Invariant: nothing is sent to a provider before the key is known and the request understood; the provider's body goes
//! to the client byte for byte; whatever a known key asks for is accounted for, however it ends.

use std::cell::Cell;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::join;
use js_sys::Uint8Array;
use worker::Context;

use super::answer_turn::Reply;
use super::attempts::{Asked, Written};
use super::border::{Unread, respond, whole_body};
use super::caller::Caller;
use super::delivery::Delivery;
use super::gateway_worker::Incoming;
use super::meter::Meter;
use super::thread_client::ThreadClient;
use super::{answer_turn, attempts, report, unwind};
use crate::attempts::routes;
use crate::auth::Credentials;
use crate::body::{Body, Edit};
use crate::carriage::{Outcome, Stopped};
use crate::deadlines::Deadlines;
use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::headers::{Headers, is_event_stream, is_json};
use crate::keys::Principal;
use crate::memory::address::{self, Address};
use crate::operation::{Operation, estimated_tokens};
use crate::plan::{Plan, ask_for_usage};
use crate::project::Tool;
use crate::protocol::ThreadKey;
use crate::reply::MemoryStatus;
use crate::responses;
use crate::route::{Route, check_models, route};
use crate::tools::offer;
use crate::turn::Origin;
use crate::way::Way;

/// A request whose sender is known.
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
    /// The body, once it is read.
    pub bytes: Vec<u8>,
    /// The models to try in turn, where the request lists several.
    pub models: Vec<String>,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// Aborts when the client leaves.
    pub client: web_sys::AbortSignal,
    /// What is measured of it.
    pub meter: Meter,
}

/// Accounts for a request of a known key that was refused before it could be read.
pub fn refuse(
    incoming: &Incoming,
    context: &Context,
    operation: Operation,
    metered: &Cell<bool>,
    error: &Error,
) {
    let Some(Caller { principal, .. }) = &incoming.caller else { return };
    let (meter, _) = Meter::open(incoming, principal, operation, incoming.started, metered);
    let error = error.clone();
    context.wait_until(async move { meter.refuse(&error).await });
}

/// Serves a request to a model. `metered` is set once the request has a meter, which then tells the log of it.
pub async fn serve(
    incoming: Incoming,
    context: &Context,
    operation: Operation,
    metered: &Cell<bool>,
) -> Result<web_sys::Response, Error> {
    let Caller { credentials, principal } = incoming.caller()?.clone();
    let auth_ms = incoming.auth_ms;
    let (meter, beside) = Meter::open(&incoming, &principal, operation, incoming.started, metered);
    let client = incoming.request.signal();
    let inference = Inference {
        operation,
        principal,
        credentials,
        auth_ms,
        bytes: Vec::new(),
        models: Vec::new(),
        deadlines: Deadlines::of(&incoming.config, incoming.started),
        client,
        meter,
        incoming,
    };
    let (reply, answer) = oneshot::channel();
    let unended = Unended(Some(inference.meter.clone()));
    // In a box: each future that holds another by value is as large again, and so is the stack on which it is made.
    let run = Box::pin(inference.run(reply));
    let whole = async move {
        let mut unended = unended;
        let ended = unwind::caught(run).await;
        if let (None, Some(meter)) = (ended, unended.0.take()) {
            failed(meter).await;
        }
    };
    // It goes on when the client has left: somebody has to learn how it ended.
    context.wait_until(join(whole, beside.run()).map(drop));
    answer.await.unwrap_or_else(|_| Err(Error::internal()))
}

/// The client of a turn that failed has lost its answer, and knows; its thread and its account do not.
async fn failed(meter: Meter) {
    join(report::send_left_behind(), meter.refuse(&Error::internal())).await;
}

/// A turn under way. An exception, which nobody can catch, drops it.
struct Unended(Option<Meter>);

impl Drop for Unended {
    fn drop(&mut self) {
        if let Some(meter) = self.0.take() {
            unwind::spawn(failed(meter));
        }
    }
}

/// Reads the whole body, of `limit` bytes at most. Errors: 413 over the limit, 408 when it is not there after `timeout_ms`.
pub async fn read_body(
    request: &web_sys::Request,
    headers: Headers<'_>,
    limit: usize,
    timeout_ms: u32,
) -> Result<Uint8Array, Error> {
    let too_large = || {
        Error::new(
            Kind::TooLarge,
            format!("The body is larger than {limit} bytes, the gateway's limit. Send less."),
        )
    };
    whole_body(request, headers, limit, timeout_ms).await.map_err(|why| match why {
        Unread::TooLarge => too_large(),
        Unread::Slow => Error::new(
            Kind::SlowBody,
            format!("The body was not there after {timeout_ms} ms. Send it again, and without pauses."),
        )
        .with_code("body_timeout"),
        Unread::Broken | Unread::Gone => {
            Error::bad_request("The body could not be read to its end. Send it again.")
        }
    })
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

    /// The conversation that a request belongs to, as its object knows it.
    pub fn thread_key(&self, address: &Address) -> ThreadKey {
        ThreadKey {
            project: self.principal.project.clone(),
            thread: address.thread.clone(),
            resource: Some(address.resource.clone()),
        }
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

    /// Where the request may go, in the order in which it is tried. Errors: as for `route`, of the first.
    pub fn routes(&self, body: &Body<'_>) -> Result<Vec<Route<'_>>, Error> {
        if self.models.is_empty() {
            return self.route(body).and_then(|first| {
                let (config, bindings) = (&self.incoming.config, &self.principal.bindings);
                routes::with_next_binding(config, first, bindings)
            });
        }
        self.operation.check(body)?;
        body.flag("stream")?;
        let (config, own) = (&self.incoming.config, self.credentials.provider.as_ref());
        for model in &self.models {
            check_models(&self.principal.grant, config, model, body, own.is_some())?;
        }
        routes::routes(config, self.operation, &self.models, own, &self.principal.bindings)
    }

    /// Serves the request; the client's answer goes through `reply`.
    async fn run(mut self, reply: Reply) {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("turn", self.incoming.headers().get("x-fault")).await;
        let address = match self.read().await {
            Ok(address) => address,
            Err(error) => return self.refuse(error, reply).await,
        };
        match self.operation {
            Operation::Answer(dialect) => {
                let looked_at = if address.is_some() { Ok(true) } else { self.must_be_looked_at(dialect) };
                match looked_at {
                    Ok(true) => answer_turn::run(self, dialect, address, reply).boxed_local().await,
                    Ok(false) => self.proxy(reply).boxed_local().await,
                    Err(error) => self.refuse(error, reply).await,
                }
            }
            Operation::CountTokens => self.count_tokens(reply).boxed_local().await,
            Operation::Embeddings => self.proxy(reply).boxed_local().await,
        }
    }

    /// Reads the request. Gives the conversation that it belongs to. Errors: 400, 413, 415.
    async fn read(&mut self) -> Result<Option<Address>, Error> {
        let headers = self.incoming.headers();
        if !is_json(headers) {
            return Err(Error::new(
                Kind::UnsupportedMediaType,
                "The body must be JSON: send `content-type: application/json`.",
            ));
        }
        let address = address::read(headers)?;
        if address::is_switched_off(headers) {
            self.incoming.answer_lines.add_memory(MemoryStatus::Off, 0);
        }
        let headers = self.incoming.headers();
        if let Some(address) = &address {
            self.meter.note(|account| account.belongs_to(&address.thread, &address.resource));
        }
        let config = &self.incoming.config;
        let (most, timeout_ms) = (config.max_body_bytes, config.body_timeout_ms);
        let bytes = read_body(&self.incoming.request, headers, most, timeout_ms).await?;
        self.bytes = bytes.to_vec();
        self.deadlines =
            Deadlines::read(self.incoming.headers(), &self.incoming.config, self.incoming.started)?;
        self.take_models()?;
        let body = Body::parse(&self.bytes)?;
        let model = body.string("model").ok().flatten().unwrap_or_default();
        let streams = body.flag("stream").ok().flatten().unwrap_or(false);
        self.meter.note(|account| account.asked_for(&model, streams));
        Ok(address)
    }

    /// Takes the list of models to fall back on, and the project's own names for models, out of the request: they say what
    /// the gateway is to do, not the provider.
    fn take_models(&mut self) -> Result<(), Error> {
        let body = Body::parse(&self.bytes)?;
        let aliases = &self.principal.settings.aliases;
        let is_alias = || Ok(body.string("model")?.is_some_and(|model| aliases.contains_key(&*model)));
        if !body.has("models") && (aliases.is_empty() || !is_alias()?) {
            return Ok(());
        }
        let models = routes::models(&body, aliases)?;
        let named = match models.first() {
            Some(first) if body.string("model")?.as_deref() != Some(first.as_str()) => {
                body.edited(vec![body.set("model", serde_json::Value::from(first.as_str()).to_string())])
            }
            _ => self.bytes.clone(),
        };
        let body = Body::parse(&named)?;
        self.bytes = body.edited(body.remove("models").into_iter().collect());
        self.models = models;
        Ok(())
    }

    async fn refuse(&self, error: Error, reply: Reply) {
        let _ = reply.send(Err(error.clone()));
        self.meter.refuse(&error).await;
    }

    /// Tells the account where the request goes.
    pub fn routed(&self, route: &Route<'_>) {
        self.meter.note(|account| account.routed(&route.provider.name, &route.model, route.source));
    }

    /// Tells the account what was said.
    pub fn hear(&self, outcome: &Outcome) {
        if let Some(answer) = &outcome.answer {
            self.meter.note(|account| account.hear(answer));
        }
    }

    /// The gateway's tools that the request wants for its model. Errors: 400 that names the header.
    pub fn tools(&self, has_memory: bool) -> Result<Vec<Tool>, Error> {
        let header = self.incoming.headers().get(offer::HEADER);
        offer::wanted(header, self.principal.settings.tools.as_deref(), has_memory)
    }

    /// True when a request without memory cannot simply be passed on: it has to be translated or adapted, or its answer
    /// is to be kept. Errors: 400.
    fn must_be_looked_at(&self, dialect: Dialect) -> Result<bool, Error> {
        let body = Body::parse(&self.bytes)?;
        let stateful = dialect == Dialect::Responses && {
            let state = responses::request::read(&body)?;
            state.store || state.from.is_some() || !responses::items::references(&body).is_empty()
        };
        if !self.tools(false)?.is_empty() {
            return Ok(true);
        }
        for route in self.routes(&body)? {
            let plan = Plan::of(dialect, route.dialect, &body, &self.bytes)?;
            if stateful || plan.must_be_read() || route.provider.must_adapt(dialect, |name| body.has(name)) {
                return Ok(true);
            }
        }
        Ok(false)
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
    async fn count_tokens(self, reply: Reply) {
        match self.own_count() {
            Ok(None) => self.proxy(reply).boxed_local().await,
            Ok(Some(answer)) => {
                let _ = reply.send(answer);
                self.meter.note(|account| account.hear_counts(b"{}"));
                self.meter.end(200, Stopped::Ended).await;
            }
            Err(error) => self.refuse(error, reply).await,
        }
    }

    /// Our own estimate; `None` where the provider counts. Errors: 400.
    fn own_count(&self) -> Result<Option<Result<web_sys::Response, Error>>, Error> {
        let body = Body::parse(&self.bytes)?;
        match self.route(&body) {
            Ok(route) if route.provider.counts_tokens() => return Ok(None),
            Ok(_) => {}
            Err(error) if matches!(error.code(), Some("unsupported_dialect" | "no_route")) => {}
            Err(error) => return Err(error),
        }
        let mut lines = self.incoming.answer_lines.clone();
        lines.add("content-type", "application/json");
        lines.add("x-gateway-estimated", "input_tokens");
        let answer = serde_json::json!({ "input_tokens": estimated_tokens(&body) }).to_string();
        Ok(Some(respond(200, lines.as_str(), &answer.into()).map_err(|_| Error::internal())))
    }

    /// Without memory: the request with the model's upstream name, the answer as it comes.
    async fn proxy(self, reply: Reply) {
        match self.ask().await {
            Ok(delivery) => delivery.run(&self, reply).await,
            Err(error) => self.refuse(error, reply).await,
        }
    }

    /// Sends the request on as it is, and waits for the answer to begin.
    async fn ask(&self) -> Result<Delivery, Error> {
        let body = Body::parse(&self.bytes)?;
        let routes = self.routes(&body)?;
        let Some(first) = routes.first() else { return Err(Error::internal()) };
        self.routed(first);
        self.meter.admit(first, self.operation, &self.bytes).await?;
        let streams = body.flag("stream")?.unwrap_or(false);
        let asked = attempts::ask(self, &routes, async |route| Ok(self.passed_on(route, &body, streams)));
        let Asked { upstream, mut way, mut lines, asked_at, .. } = asked.await?;
        let answer = Headers::from_lines(&upstream.lines);
        lines.add_timing(self.auth_ms, 0, upstream.began_at - asked_at);
        lines.add_upstream(answer, false);
        // Whatever was asked for, the answer travels as what it is.
        (way.streams, way.streams_upstream) = (is_event_stream(answer), is_event_stream(answer));
        Ok(Delivery { upstream, way, lines, report: None, state: None })
    }

    /// The request as it is, but for the model's name.
    fn passed_on(&self, route: &Route<'_>, body: &Body<'_>, streams: bool) -> Written {
        let mut edits = self.model_edit(body, route);
        let counts = match self.operation {
            Operation::Answer(dialect) if self.meter.counts() => usage_edit(dialect, streams, route, body),
            _ => None,
        };
        let hides_usage = counts.is_some();
        edits.extend(counts);
        let bytes = if edits.is_empty() { self.bytes.clone() } else { body.edited(edits) };
        let way = Way {
            client: self.operation.dialect(),
            target: Origin { dialect: route.dialect, provider: route.provider.name.clone() },
            frame: None,
            streams,
            streams_upstream: streams,
            hides_usage,
        };
        Written { bytes, way, ignored: Vec::new(), state: None, rounds: None }
    }
}

/// What asks a provider of chat for token counts at the end of a stream, where it has to be asked.
pub fn usage_edit(client: Dialect, streams: bool, route: &Route<'_>, body: &Body<'_>) -> Option<Edit> {
    (client == Dialect::Chat && streams && route.provider.usage_option())
        .then(|| ask_for_usage(body))
        .flatten()
}
