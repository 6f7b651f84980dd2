//! Serves the Model Context Protocol.
//!
//! Invariant: every thread is asked on behalf of the one resource that the call may see, in the caller's own project.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value, json};
use wasm_bindgen::JsValue;
use worker::Context;

use super::border::{now, random_id, respond};
use super::gateway_worker::{Incoming, json_text_answer};
use super::inference::read_body;
use super::search::search;
use super::thread_client::ThreadClient;
use super::{caller, d1_index, log, recall};
use crate::error::{Error, Kind};
use crate::headers::is_json;
use crate::keys::Principal;
use crate::limits::Scope;
use crate::mcp::{
    self, Bound, Call, Forgotten, ListThreads, METHOD_NOT_FOUND, Meant, Request, Rpc, called,
    check_transport, definitions, initialized, takes_batches,
};
use crate::protocol::{
    DeleteMessages, ForgetNotes, MessagesDeleted, NotesForgotten, Remember, Remembered, ThreadKey,
};
use crate::tools::outcome::ToolOutcome;
use crate::tools::recall::{MAX_HITS, Reach};

/// `POST /mcp`.
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<web_sys::Response, Error> {
    let headers = incoming.headers();
    let version = headers.get("mcp-protocol-version");
    check_transport(version, headers.get("origin"), &incoming.config.cors_origins)?;
    if !is_json(headers) {
        return Err(Error::new(
            Kind::UnsupportedMediaType,
            "The body must be JSON: send content-type: application/json.",
        ));
    }
    let bound = Bound::read(headers)?;
    let body = read_body(
        &incoming.request,
        headers,
        incoming.config.max_body_bytes,
        incoming.config.body_timeout_ms,
    )
    .await?;
    match mcp::parse(&body.to_vec(), takes_batches(version)) {
        Err(wrong) => answered(incoming, 400, Some(&wrong)),
        Ok(mcp::Incoming::One(message)) => match serve(incoming, context, &bound, message).await? {
            Some(answer) => json_text_answer(incoming, &answer.to_string()),
            None => answered(incoming, 202, None),
        },
        Ok(mcp::Incoming::Batch(messages)) => {
            let mut answers = Vec::new();
            for message in messages {
                answers.extend(serve(incoming, context, &bound, message).await?);
            }
            if answers.is_empty() {
                return answered(incoming, 202, None);
            }
            json_text_answer(incoming, &Value::Array(answers).to_string())
        }
    }
}

fn answered(incoming: &Incoming, status: u16, body: Option<&Value>) -> Result<web_sys::Response, Error> {
    let mut lines = incoming.answer_lines.clone();
    let body = match body {
        Some(body) => {
            lines.add("content-type", "application/json");
            JsValue::from_str(&body.to_string())
        }
        None => JsValue::NULL,
    };
    respond(status, lines.as_str(), &body).map_err(|_| Error::internal())
}

async fn serve(
    incoming: &Incoming,
    context: &Context,
    bound: &Bound,
    message: Rpc,
) -> Result<Option<Value>, Error> {
    let request = match message {
        Rpc::Silent => return Ok(None),
        Rpc::Wrong(answer) => return Ok(Some(answer)),
        Rpc::Request(request) => request,
    };
    let Request { id, method, params } = &request;
    Ok(Some(match method.as_str() {
        "initialize" => mcp::result(id, initialized(params)),
        "ping" => mcp::result(id, json!({})),
        "tools/list" => mcp::result(id, definitions(bound)),
        "tools/call" => match bound.read_call(&request) {
            Err((code, what)) => mcp::failure(id, code, &what),
            Ok(Err(told)) => mcp::result(id, called(&ToolOutcome::failed(told))),
            Ok(Ok(call)) => {
                let outcome = carry_out(incoming, context, call).await;
                mcp::result(id, called(&outcome.unwrap_or_else(|error| ToolOutcome::failed(error.message()))))
            }
        },
        _ => mcp::failure(id, METHOD_NOT_FOUND, "There is no such method here."),
    }))
}

async fn carry_out(incoming: &Incoming, context: &Context, call: Call) -> Result<ToolOutcome, Error> {
    let env = &incoming.env;
    let principal = &incoming.caller()?.principal;
    if call.writes() {
        // The message itself was counted as reading, before anybody knew what it asks.
        caller::count(incoming, context, Scope::MemoryWrite).await?;
    }
    Ok(match call {
        Call::Recall(reach, arguments) => recall::run(env, principal, &reach, &arguments.to_string()).await,
        Call::Remember { resource, thread, text } => {
            remember(incoming, principal, resource, thread, text).await?
        }
        Call::FindForgettable(reach, query) => {
            let found =
                search(env, principal, Some(&reach.resource), reach.searched(), &query, MAX_HITS).await?;
            mcp::would_forget(&reach, &found)
        }
        Call::Forget { resource, meant } => forget(incoming, principal, resource, meant).await,
        Call::ListThreads(ListThreads { resource, limit }) => {
            let listed = d1_index::list(env, &principal.project, Some(&resource), (limit, 0)).await;
            mcp::threads(&listed.map_err(|error| unreachable(incoming, &error))?)
        }
    })
}

async fn remember(
    incoming: &Incoming,
    principal: &Principal,
    resource: String,
    thread: String,
    text: String,
) -> Result<ToolOutcome, Error> {
    let object = ThreadClient::new(incoming.env.clone(), principal, &thread);
    let key =
        ThreadKey { project: principal.project.clone(), thread: thread.clone(), resource: Some(resource) };
    let asked = Remember { key, turn: random_id("turn_"), at: now(), text };
    match object.remember(&asked).await.map_err(|error| unreachable(incoming, &error))? {
        Remembered::Noted { note } => Ok(mcp::remembered(&thread, note)),
        Remembered::NotFound => Err(Error::thread_not_found()),
        Remembered::Deleted => {
            Err(Error::conflict("The thread was deleted at this moment. Call again to begin it anew."))
        }
    }
}

async fn forget(
    incoming: &Incoming,
    principal: &Principal,
    resource: String,
    meant: BTreeMap<String, Meant>,
) -> ToolOutcome {
    let asked = meant.into_iter().map(async |(thread, meant)| {
        let object = ThreadClient::new(incoming.env.clone(), principal, &thread);
        let key = ThreadKey {
            project: principal.project.clone(),
            thread: thread.clone(),
            resource: Some(resource.clone()),
        };
        let mut gone = Forgotten::default();
        if let Err(error) = forget_in(&object, key, meant, &mut gone).await {
            let _ = unreachable(incoming, &error);
            gone.failed.push(thread);
        }
        gone
    });
    let mut all = Forgotten::default();
    for gone in join_all(asked).await {
        all.add(gone);
    }
    mcp::forgotten(&Reach { resource, thread: None, is_wide: true }, &all)
}

/// Forgets in one thread; `gone` tells what is gone, also where the rest could not be done.
async fn forget_in(
    object: &ThreadClient,
    key: ThreadKey,
    meant: Meant,
    gone: &mut Forgotten,
) -> worker::Result<()> {
    let thread = key.thread.clone();
    if !meant.notes.is_empty() {
        let asked = ForgetNotes { key: key.clone(), notes: meant.notes };
        if let NotesForgotten::Forgotten { notes } = object.forget_notes(&asked).await? {
            gone.notes.extend(notes.into_iter().map(|(note, text)| (thread.clone(), note, text)));
        }
    }
    if !meant.messages.is_empty() {
        let asked = DeleteMessages { key, ids: meant.messages };
        if let MessagesDeleted::Deleted { ids, notes, .. } = object.delete_messages(&asked).await? {
            gone.messages.extend(ids.into_iter().map(|id| (thread.clone(), id)));
            gone.fallen += notes;
        }
    }
    Ok(())
}

fn unreachable(incoming: &Incoming, error: &worker::Error) -> Error {
    let fields = json!({ "request_id": incoming.request_id, "error": error.to_string() });
    log::event("mcp_storage_unreachable", fields);
    Error::new(Kind::Overloaded, "The memory's storage does not answer. Try again in a few seconds.")
}
