//! The Worker's entry point: from a request to the endpoint that serves it, and from an error to an answer.
//!
//! Invariant: every request gets an answer with a request id, and no error says more than its message.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::FutureExt;
use serde_json::{Value, json};
use wasm_bindgen::JsValue;
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

use super::border::{instance_ended, now, openapi, random_id, request_lines, respond};
use super::caller::{self, Caller};
use super::{
    admin_api, erasure, inference, ledger, log, mcp_api, memory_api, models_api, responses_api, unanswered,
    unwind,
};
use crate::access::access_line;
use crate::api::{Endpoint, dialect_of, endpoint};
use crate::config::Config;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::headers::{Headers, request_id};
use crate::reply::{Lines, add_error, preflight};

thread_local! {
    /// Bindings cannot change while an isolate lives.
    static CONFIG: RefCell<Option<Rc<Config>>> = const { RefCell::new(None) };
}

/// A request as it came in.
pub struct Incoming {
    /// The request; its body has not been read.
    pub request: web_sys::Request,
    /// The Worker's bindings.
    pub env: Env,
    /// The deployment's configuration.
    pub config: Rc<Config>,
    /// The request's address.
    pub url: String,
    /// The request's headers, as lines.
    pub lines: String,
    /// The id that the answer carries.
    pub request_id: String,
    /// The lines that begin every answer to this request.
    pub answer_lines: Lines,
    /// Who asks, once that is checked.
    pub caller: Option<Caller>,
    /// When the request came, in Unix milliseconds.
    pub started: u64,
    /// How long the check took, in milliseconds.
    pub auth_ms: u64,
}

impl Incoming {
    /// The path of the address.
    pub fn path(&self) -> &str {
        path_and_query(&self.url).0
    }

    /// The query of the address, without its question mark.
    pub fn query(&self) -> &str {
        path_and_query(&self.url).1
    }

    /// Who asks. Errors: 500 where that was not checked.
    pub fn caller(&self) -> Result<&Caller, Error> {
        self.caller.as_ref().ok_or_else(Error::internal)
    }

    /// The headers that the gateway reads or forwards.
    pub fn headers(&self) -> Headers<'_> {
        Headers::from_lines(&self.lines)
    }
}

#[event(start)]
fn start() {
    // What cannot be caught (a stack that overflowed, no memory left, an exception that reached Rust) ends the instance.
    wasm_bindgen::handler::set_on_abort(|| {
        wasm_bindgen::handler::schedule_reinit();
        instance_ended();
    });
    // `worker` has installed a hook that may mark the instance for renewal; keep it, and print the panic's message before.
    let renew = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        console_error_panic_hook::hook(panic);
        renew(panic);
    }));
    unwind::lend_resuming();
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<web_sys::Response> {
    let mut exchange = Exchange::begin(&request);
    let outcome = match config(&env) {
        Err(error) => Err(error),
        Ok(config) => {
            exchange.answer_lines.add_cors(&config, Headers::from_lines(&exchange.lines));
            let incoming = Incoming {
                request,
                env,
                config,
                url: exchange.url.clone(),
                lines: exchange.lines.clone(),
                request_id: exchange.request_id.clone(),
                answer_lines: exchange.answer_lines.clone(),
                caller: None,
                started: exchange.started,
                auth_ms: 0,
            };
            let served =
                Box::pin(serve(incoming, &context, &mut exchange.answer_lines, &exchange.is_metered));
            unwind::caught(served).await.unwrap_or_else(|| Err(Error::internal()))
        }
    };
    exchange.is_answered = true;
    Ok(exchange.answer(outcome)?)
}

/// A request and the answer that it is to get, whatever becomes of the work on it.
struct Exchange {
    request: JsValue,
    method: String,
    url: String,
    lines: String,
    dialect: Option<Dialect>,
    request_id: String,
    started: u64,
    /// True once the request has a meter, which then tells the log of it.
    is_metered: Cell<bool>,
    /// The lines that an error's answer begins with.
    answer_lines: Lines,
    /// True once the work has come to something.
    is_answered: bool,
}

impl Exchange {
    fn begin(request: &web_sys::Request) -> Self {
        let lines = request_lines(request);
        let url = request.url();
        let dialect = dialect_of(path_and_query(&url).0);
        let request_id = request_id(Headers::from_lines(&lines), || random_id("req_"));
        Exchange {
            request: request.into(),
            method: request.method(),
            answer_lines: Lines::new(dialect, &request_id),
            is_metered: Cell::new(false),
            is_answered: false,
            started: now(),
            url,
            lines,
            dialect,
            request_id,
        }
    }

    /// The answer that an outcome is. Tells the log.
    fn answer(&self, outcome: Result<web_sys::Response, Error>) -> Result<web_sys::Response, JsValue> {
        let Exchange { method, url, lines, dialect, request_id, started, is_metered, answer_lines, .. } =
            self;
        if !is_metered.get() {
            let status = outcome.as_ref().map_or_else(Error::status, web_sys::Response::status);
            let (headers, path, ms) = (Headers::from_lines(lines), path_and_query(url).0, now() - started);
            let line = access_line(request_id, headers, method, path, status, ms, outcome.as_ref().err());
            log::event("request", line);
        }
        outcome.or_else(|error| {
            let mut answer_lines = answer_lines.clone();
            add_error(&mut answer_lines, &error);
            let body = error.body_for(*dialect, request_id).to_string();
            respond(error.status(), answer_lines.as_str(), &JsValue::from_str(&body))
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_answered {
            unanswered::tell(&self.request, self.answer(Err(Error::internal())).ok());
        }
    }
}

/// Keeps the ledger up where no request does, and carries on erasing: a gateway that nobody uses still closes what was lost in
/// it, and forgets what it is to forget.
#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    ledger::keep_up(&env).await;
    erasure::keep_up(&env).await;
}

/// Serves a request. `answer_lines` are those that an error's answer begins with; `metered` is set once the request has a
/// meter, which then tells the log of it.
async fn serve(
    mut incoming: Incoming,
    context: &Context,
    answer_lines: &mut Lines,
    metered: &Cell<bool>,
) -> Result<web_sys::Response, Error> {
    let method = incoming.request.method();
    if method == "OPTIONS"
        && let Some(lines) = preflight(&incoming.config, incoming.headers(), &incoming.request_id)
    {
        return respond(204, lines.as_str(), &JsValue::NULL).map_err(|_| Error::internal());
    }
    let endpoint = endpoint(&method, incoming.path())?;
    if let (Some(part), Some(scope)) = (endpoint.part(), endpoint.scope(&method)) {
        let checked = caller::check(&mut incoming, context, part, scope).await;
        answer_lines.clone_from(&incoming.answer_lines);
        if let Err(error) = checked {
            if let Endpoint::Inference(operation) = endpoint {
                inference::refuse(&incoming, context, operation, metered, &error);
            }
            return Err(error);
        }
    }
    // In boxes: all ways in one function would be one so large that the runtime takes longer to compile it than to run it.
    match endpoint {
        Endpoint::Health => {
            json_answer(&incoming, &json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
        }
        Endpoint::OpenApi => json_text_answer(&incoming, &openapi()),
        Endpoint::Inference(operation) => {
            #[cfg(feature = "fault-injection")]
            super::fault::strike("handler", incoming.headers().get("x-fault")).await;
            inference::serve(incoming, context, operation, metered).boxed_local().await
        }
        Endpoint::Models => models_api::list(&incoming).boxed_local().await,
        Endpoint::Model { id } => models_api::one(&incoming, &id).boxed_local().await,
        Endpoint::Response { id } => responses_api::one(&incoming, &id).boxed_local().await,
        Endpoint::DeleteResponse { id } => responses_api::delete(&incoming, &id).boxed_local().await,
        Endpoint::ResponseInputItems { id } => responses_api::input_items(&incoming, id).boxed_local().await,
        Endpoint::Memory(resource) => memory_api::answer(&incoming, context, resource).boxed_local().await,
        Endpoint::Mcp => mcp_api::answer(&incoming, context).boxed_local().await,
        Endpoint::Management(resource) => admin_api::answer(&incoming, &resource).boxed_local().await,
    }
}

/// The deployment's configuration, read once in an isolate's life. Errors: 500 that names the variable.
pub fn config(env: &Env) -> Result<Rc<Config>, Error> {
    if let Some(known) = CONFIG.with_borrow(Clone::clone) {
        return Ok(known);
    }
    let read = Rc::new(Config::read(|name| env.var(name).ok().map(|value| value.to_string()))?);
    CONFIG.set(Some(read.clone()));
    Ok(read)
}

/// A 200 with a JSON body.
pub fn json_answer(incoming: &Incoming, body: &Value) -> Result<web_sys::Response, Error> {
    json_text_answer(incoming, &body.to_string())
}

/// A 200 with a JSON body that is written already.
pub fn json_text_answer(incoming: &Incoming, body: &str) -> Result<web_sys::Response, Error> {
    let mut lines = incoming.answer_lines.clone();
    lines.add("content-type", "application/json");
    respond(200, lines.as_str(), &JsValue::from_str(body)).map_err(|_| Error::internal())
}

/// The path and the query of an absolute URL, without parsing all of it.
fn path_and_query(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    let path = path.split('#').next().unwrap_or(path);
    path.split_once('?').unwrap_or((path, ""))
}
