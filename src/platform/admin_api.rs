//! The management API: checks who asks, runs the core over D1.
//!
//! Invariant: nothing is read or written before the administrator's token was checked.

use serde_json::{Value as Json, json};
use wasm_bindgen::JsValue;
use worker::Env;

use super::border::{now, random_bytes, respond};
use super::gateway_worker::Incoming;
use super::inference::read_body;
use super::{d1_keys, d1_ledger, erasure, log};
use crate::admin::token::AdminToken;
use crate::admin::{Request, Resource, Store, Usage, serve};
use crate::error::{Error, Kind};
use crate::ledger::query::{Activity, Logs};
use crate::ledger::write::Statement;
use crate::memory::database::Row;

/// The largest body: settings, rules and credentials are small.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Serves a management request.
pub async fn answer(incoming: &Incoming, resource: &Resource) -> Result<web_sys::Response, Error> {
    let headers = incoming.headers();
    AdminToken::check(incoming.config.admin_token.as_ref(), headers.get("authorization"))?;
    let method = incoming.request.method();
    let body = read_body(&incoming.request, headers, MAX_BODY_BYTES, incoming.config.body_timeout_ms)
        .await?
        .to_vec();
    let request = Request {
        method: &method,
        query: incoming.query(),
        body: &body,
        now: now(),
        random: random_bytes::<32>,
    };
    let store = D1 { env: &incoming.env, request_id: &incoming.request_id };
    let mut answer = serve(&store, &incoming.config, resource, request).await?;
    if let (Resource::Project { project }, "DELETE") = (resource, method.as_str()) {
        erasure::project(&incoming.env, project).await;
        // As far as it has come by now.
        answer = serve(&store, &incoming.config, resource, request).await?;
    }
    if let Resource::Usage { project, of } = resource {
        answer.body = store.usage(incoming.query(), project, of).await?;
    }
    if !matches!(method.as_str(), "GET" | "HEAD") {
        d1_keys::forget();
        let fields = json!({ "request_id": incoming.request_id, "method": method, "path": incoming.path() });
        log::event("management", fields);
    }
    let mut lines = incoming.answer_lines.clone();
    lines.add("content-type", "application/json");
    lines.add("cache-control", "no-store");
    let body = JsValue::from_str(&answer.body.to_string());
    respond(answer.status, lines.as_str(), &body).map_err(|_| Error::internal())
}

/// D1 as the core's store.
struct D1<'a> {
    env: &'a Env,
    request_id: &'a str,
}

impl D1<'_> {
    /// What the ledger answers.
    async fn usage(&self, query: &str, project: &str, of: &Usage) -> Result<Json, Error> {
        let answered = match of {
            Usage::Activity | Usage::MemoryActivity => {
                let question = Activity::read(query, *of == Usage::MemoryActivity, now())?;
                d1_ledger::activity(self.env, project, &question).await
            }
            Usage::Logs => d1_ledger::logs(self.env, project, &Logs::read(query)?).await,
            Usage::Log(id) => match d1_ledger::log(self.env, project, id).await {
                Ok(Some(log)) => Ok(json!({ "log": log })),
                Ok(None) => {
                    return Err(Error::not_found("No request of this id is in the project's log."));
                }
                Err(error) => Err(error),
            },
        };
        answered.map_err(|error| self.silent(&error))
    }

    fn silent(&self, error: &worker::Error) -> Error {
        log::event("database_failed", json!({ "request_id": self.request_id, "error": error.to_string() }));
        Error::new(Kind::Overloaded, "The gateway's database does not answer. Try again in a few seconds.")
    }
}

impl Store for D1<'_> {
    async fn rows(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        let rows = match self.env.d1("DB") {
            Ok(database) => d1_ledger::read(&database, &statement).await,
            Err(error) => Err(error),
        };
        rows.map_err(|error| self.silent(&error))
    }

    async fn run(&self, statements: Vec<Statement>) -> Result<(), Error> {
        d1_ledger::run(self.env, statements).await.map_err(|error| self.silent(&error))
    }
}
