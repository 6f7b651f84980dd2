//! Serves the Model Context Protocol.
//!
//! Invariant: every thread is asked on behalf of the one resource that the call may see, in the caller's own project.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value, json};
use wasm_bindgen::JsValue;

use super::border::{now, random_id, respond};
use super::gateway_worker::{Incoming, json_text_answer};
use super::inference::read_body;
use super::search::search;
use super::thread_client::ThreadClient;
use super::{d1_index, log, recall};
use crate::error::{Error, Kind};
use crate::headers::is_json;
use crate::keys::Principal;
use crate::mcp::{
    self, Bound, Call, ListThreads, METHOD_NOT_FOUND, Request, Rpc, called, check_transport, definitions,
    initialized,
};
use crate::protocol::{ForgetNotes, NotesForgotten, Remember, Remembered, ThreadKey};
use crate::tools::outcome::ToolOutcome;
use crate::tools::recall::{MAX_HITS, Reach};

/// `POST /mcp`.
pub async fn answer(incoming: &Incoming) -> Result<web_sys::Response, Error> {
    let headers = incoming.headers();
    check_transport(
        headers.get("mcp-protocol-version"),
        headers.get("origin"),
        &incoming.config.cors_origins,
    )?;
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
    match mcp::parse(&body.to_vec()) {
        Err(wrong) => answered(incoming, 400, Some(&wrong)),
        Ok(mcp::Incoming::One(message)) => match serve(incoming, &bound, message).await? {
            Some(answer) => json_text_answer(incoming, &answer.to_string()),
            None => answered(incoming, 202, None),
        },
        Ok(mcp::Incoming::Batch(messages)) => {
            let mut answers = Vec::new();
            for message in messages {
                answers.extend(serve(incoming, &bound, message).await?);
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

async fn serve(incoming: &Incoming, bound: &Bound, message: Rpc) -> Result<Option<Value>, Error> {
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
                let outcome = carry_out(incoming, &incoming.caller()?.principal, call).await;
                mcp::result(id, called(&outcome.unwrap_or_else(|error| ToolOutcome::failed(error.message()))))
            }
        },
        _ => mcp::failure(id, METHOD_NOT_FOUND, "There is no such method here."),
    }))
}

async fn carry_out(incoming: &Incoming, principal: &Principal, call: Call) -> Result<ToolOutcome, Error> {
    let env = &incoming.env;
    Ok(match call {
        Call::Recall(reach, arguments) => recall::run(env, principal, &reach, &arguments.to_string()).await,
        Call::Remember { resource, thread, text } => {
            remember(incoming, principal, resource, thread, text).await?
        }
        Call::FindNotes(reach, query) => {
            let found =
                search(env, principal, Some(&reach.resource), reach.searched(), &query, MAX_HITS).await?;
            mcp::would_forget(&reach, &found)
        }
        Call::Forget { resource, notes } => forget(incoming, principal, resource, notes).await,
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
    notes: Vec<(String, i64)>,
) -> ToolOutcome {
    let mut threads: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (thread, note) in notes {
        threads.entry(thread).or_default().push(note);
    }
    let asked = threads.into_iter().map(async |(thread, notes)| {
        let object = ThreadClient::new(incoming.env.clone(), principal, &thread);
        let key = ThreadKey {
            project: principal.project.clone(),
            thread: thread.clone(),
            resource: Some(resource.clone()),
        };
        (thread, object.forget_notes(&ForgetNotes { key, notes }).await)
    });
    let (mut gone, mut failed) = (Vec::new(), Vec::new());
    for (thread, answer) in join_all(asked).await {
        match answer {
            Ok(NotesForgotten::Forgotten { notes }) => {
                gone.extend(notes.into_iter().map(|(note, text)| (thread.clone(), note, text)));
            }
            Ok(NotesForgotten::NotFound) => {}
            Err(error) => {
                let _ = unreachable(incoming, &error);
                failed.push(thread);
            }
        }
    }
    let reach = Reach { resource, thread: None, is_wide: true };
    mcp::forgotten(&reach, &gone, &failed)
}

fn unreachable(incoming: &Incoming, error: &worker::Error) -> Error {
    let fields = json!({ "request_id": incoming.request_id, "error": error.to_string() });
    log::event("mcp_storage_unreachable", fields);
    Error::new(Kind::Overloaded, "The memory's storage does not answer. Try again in a few seconds.")
}
