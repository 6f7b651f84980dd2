//! The Worker's entry point: from a request to the endpoint that serves it, and from an error to an answer.
//!
//! Invariant: every request gets an answer with a request id, and no error says more than its message.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;
use wasm_bindgen::JsValue;
use worker::{Context, Env, event};

use super::border::{header_lines, random_id, respond};
use super::thread_client::ThreadClient;
use super::{inference, log};
use crate::api::{Endpoint, Page, dialect_of, endpoint};
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::headers::{Headers, request_id};
use crate::memory::address::check_id;
use crate::protocol::{Messages, ReadMessages, ThreadKey};
use crate::reply::{Lines, add_error, preflight};

thread_local! {
    /// Bindings cannot change while an isolate lives.
    static CONFIG: RefCell<Option<Rc<Config>>> = const { RefCell::new(None) };
}

#[event(start)]
fn start() {
    // `worker` has installed a hook that marks the instance for renewal; keep it, and print the panic's message before.
    let renew = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        console_error_panic_hook::hook(panic);
        renew(panic);
    }));
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<web_sys::Response> {
    let lines = header_lines(&request.headers());
    let headers = Headers::from_lines(&lines);
    let id = request_id(headers, random_id("req_"));
    let config = match config(&env) {
        Ok(config) => config,
        Err(error) => return refuse(&error, &request, &id, Lines::new(&id)),
    };
    let method = request.method();
    if method == "OPTIONS"
        && let Some(lines) = preflight(&config, headers, &id)
    {
        return Ok(respond(204, lines.as_str(), &JsValue::NULL)?);
    }
    let mut answer_lines = Lines::new(&id);
    answer_lines.add_cors(&config, headers);
    match serve(&request, &method, env, &context, config, lines.clone(), id.clone()).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            if matches!(error.kind(), Kind::Internal | Kind::Upstream | Kind::Overloaded | Kind::Timeout) {
                log::event(
                    "request_failed",
                    json!({ "request_id": id, "status": error.status(), "code": error.code(), "error": error.message() }),
                );
            }
            refuse(&error, &request, &id, answer_lines)
        }
    }
}

async fn serve(
    request: &web_sys::Request,
    method: &str,
    env: Env,
    context: &Context,
    config: Rc<Config>,
    lines: String,
    id: String,
) -> Result<web_sys::Response, Error> {
    let url = request.url();
    let (path, query) = path_and_query(&url);
    match endpoint(method, path)? {
        Endpoint::Health => {
            let body = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") });
            json_answer(200, Lines::new(&id), &body.to_string())
        }
        Endpoint::Inference(dialect) => {
            #[cfg(feature = "fault-injection")]
            misbehave(Headers::from_lines(&lines));
            inference::serve(request, env, context, config, dialect, lines, id).await
        }
        Endpoint::ThreadMessages { thread } => {
            let (_, principal) = inference::authenticate(&env, Headers::from_lines(&lines)).await?;
            check_id("threadId", &thread)?;
            let page = Page::read(query)?;
            let key = ThreadKey { project: principal.project.clone(), thread, resource: None };
            let object = ThreadClient::new(env, &principal, &key.thread);
            let thread = key.thread.clone();
            let asked =
                ReadMessages { key, limit: page.limit, offset: page.offset, descending: page.descending };
            match object.messages(&asked).await {
                Ok(Messages::Page { messages, total }) => {
                    let body = crate::memory::public::messages(&thread, messages, total);
                    json_answer(200, Lines::new(&id), &body.to_string())
                }
                Ok(Messages::NotFound) => Err(Error::thread_not_found()),
                Err(error) => {
                    log::event("thread_unreachable", json!({ "request_id": id, "error": error.to_string() }));
                    Err(Error::new(
                        Kind::Overloaded,
                        "The thread's storage does not answer. Try again in a few seconds.",
                    ))
                }
            }
        }
    }
}

fn config(env: &Env) -> Result<Rc<Config>, Error> {
    if let Some(known) = CONFIG.with_borrow(Clone::clone) {
        return Ok(known);
    }
    let read = Rc::new(Config::read(|name| env.var(name).ok().map(|value| value.to_string()))?);
    CONFIG.set(Some(read.clone()));
    Ok(read)
}

/// Answers with an error, in the form of the dialect that the path belongs to.
fn refuse(
    error: &Error,
    request: &web_sys::Request,
    id: &str,
    mut lines: Lines,
) -> worker::Result<web_sys::Response> {
    add_error(&mut lines, error);
    let body = error.body_for(dialect_of(path_and_query(&request.url()).0), id);
    Ok(respond(error.status(), lines.as_str(), &JsValue::from_str(&body.to_string()))?)
}

fn json_answer(status: u16, mut lines: Lines, body: &str) -> Result<web_sys::Response, Error> {
    lines.add("content-type", "application/json");
    respond(status, lines.as_str(), &JsValue::from_str(body)).map_err(|_| Error::internal())
}

/// The path and the query of an absolute URL, without parsing all of it.
fn path_and_query(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    let path = path.split('#').next().unwrap_or(path);
    path.split_once('?').unwrap_or((path, ""))
}

#[cfg(feature = "fault-injection")]
#[allow(clippy::panic)]
fn misbehave(headers: Headers<'_>) {
    if headers.get("x-fault") == Some("panic") {
        panic!("fault injection: the handler panics");
    }
}
