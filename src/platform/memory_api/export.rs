//! What a resource or a thread holds, as lines: streamed, page by page of each thread.
//!
//! Invariant: no more than a page is held at a time, and the next is read when the client has taken it. An export that breaks
//! off does not end cleanly, and its last line is not there.

use js_sys::Uint8Array;
use serde_json::{Map, Value, json};
use wasm_bindgen::JsValue;
use worker::{Context, Env};

use super::asked;
use crate::api::query_parameter;
use crate::error::Error;
use crate::keys::Principal;
use crate::memory::address::check_id;
use crate::platform::border::{IdentityTransformStream, Writer, respond, settled};
use crate::platform::gateway_worker::Incoming;
use crate::platform::resource_client::ResourceClient;
use crate::platform::thread_client::ThreadClient;
use crate::platform::{d1_index, log};
use crate::portable::{Cursor, cursor_line, end, header};
use crate::protocol::{DETAILS, Details, ROWS, ReadDetails, ReadRows, Rows, ThreadKey};

/// How much of a thread is read at once, in bytes.
const PAGE_BYTES: u64 = 512 * 1024;
/// How many threads are listed at once.
const PAGE_THREADS: u32 = 100;

/// `GET /v1/memory/threads/{id}/export`.
pub async fn thread(
    incoming: &Incoming,
    context: &Context,
    thread: String,
) -> Result<web_sys::Response, Error> {
    let asked = asked(incoming, thread)?;
    let found = asked.object.call(DETAILS, &ReadDetails { key: asked.key.clone() }).await;
    match found.map_err(|error| super::unreachable(incoming, &error))? {
        Details::Thread(_) => {}
        Details::NotFound => return Err(Error::thread_not_found()),
    }
    let first = header(&asked.key.project, ("threadId", &asked.key.thread));
    start(incoming, context, first, None, Some(asked.key.thread))
}

/// `GET /v1/memory/resources/{id}/export`.
pub async fn resource(
    incoming: &Incoming,
    context: &Context,
    resource: String,
) -> Result<web_sys::Response, Error> {
    check_id("resourceId", &resource)?;
    let first = header(&incoming.caller()?.principal.project, ("resourceId", &resource));
    start(incoming, context, first, Some(resource), None)
}

fn start(
    incoming: &Incoming,
    context: &Context,
    header: String,
    resource: Option<String>,
    only: Option<String>,
) -> Result<web_sys::Response, Error> {
    let after = match query_parameter(incoming.query(), "after").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(Cursor::read(&text).ok_or_else(|| {
            Error::invalid("after", "`after` must be what a line of type `cursor` says, percent-encoded.")
        })?),
    };
    let pipe = IdentityTransformStream::new().map_err(|_| Error::internal())?;
    let writer = pipe.writable().writer().map_err(|_| Error::internal())?;
    let mut lines = incoming.answer_lines.clone();
    lines.add("content-type", "application/x-ndjson");
    let answer = respond(200, lines.as_str(), &pipe.readable()).map_err(|_| Error::internal())?;
    let export = Export {
        env: incoming.env.clone(),
        principal: incoming.caller()?.principal.clone(),
        resource,
        writer,
        lines: 0,
        threads: 0,
    };
    context.wait_until(export.run(header, only, after));
    Ok(answer)
}

/// An export under way.
struct Export {
    env: Env,
    principal: Principal,
    resource: Option<String>,
    writer: Writer,
    lines: u64,
    threads: u64,
}

impl Export {
    async fn run(mut self, header: String, only: Option<String>, after: Option<Cursor>) {
        match self.all(header, only, after).await {
            Ok(()) => drop(settled(self.writer.close()).await),
            Err(error) => {
                log::event("export_broke_off", json!({ "error": error.to_string() }));
                let why = JsValue::from_str("the export broke off");
                drop(settled(self.writer.abort(&why)).await);
            }
        }
    }

    async fn all(
        &mut self,
        header: String,
        only: Option<String>,
        after: Option<Cursor>,
    ) -> worker::Result<()> {
        self.write(&[header]).await?;
        match (only, self.resource.clone()) {
            (Some(thread), _) => {
                let row = after.filter(|cursor| cursor.thread == thread).and_then(|cursor| cursor.row);
                self.thread(&thread, row).await?;
            }
            (None, Some(resource)) => {
                self.threads(&resource, after).await?;
                self.facts(&resource).await?;
            }
            (None, None) => {}
        }
        self.write(&[end(self.lines, self.threads)]).await
    }

    async fn threads(&mut self, resource: &str, mut after: Option<Cursor>) -> worker::Result<()> {
        let project = self.principal.project.clone();
        let mut first = after.as_ref().map_or_else(String::new, |cursor| cursor.thread.clone());
        loop {
            let page = d1_index::threads_from(&self.env, &project, resource, &first, PAGE_THREADS).await?;
            for thread in &page {
                let row =
                    after.take().filter(|cursor| cursor.thread == *thread).and_then(|cursor| cursor.row);
                self.thread(thread, row).await?;
            }
            match page.last() {
                // The least text behind the last id.
                Some(last) if page.len() >= PAGE_THREADS as usize => first = format!("{last}\0"),
                _ => return Ok(()),
            }
        }
    }

    async fn thread(&mut self, thread: &str, mut after: Option<(usize, i64)>) -> worker::Result<()> {
        let object = ThreadClient::new(self.env.clone(), &self.principal, thread);
        let key = ThreadKey {
            project: self.principal.project.clone(),
            thread: thread.to_owned(),
            resource: self.resource.clone(),
        };
        self.threads += 1;
        loop {
            let request = ReadRows { key: key.clone(), after, bytes: PAGE_BYTES };
            let answered = match object.call(ROWS, &request).await {
                Ok(answered) => answered,
                Err(_) => object.call(ROWS, &request).await?,
            };
            // It may have been deleted since it was listed.
            let Rows::Page { mut lines, next } = answered else { return Ok(()) };
            if let Some(row) = next {
                lines.push(cursor_line(&Cursor { thread: thread.to_owned(), row: Some(row) }));
            }
            self.write(&lines).await?;
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn facts(&mut self, resource: &str) -> worker::Result<()> {
        let client = ResourceClient::new(self.env.clone(), &self.principal.project, resource);
        let facts = client.facts().await?.facts;
        let lines: Vec<String> = facts
            .iter()
            .map(|fact| {
                let mut line = Map::new();
                line.insert("type".into(), "fact".into());
                line.insert("resourceId".into(), resource.into());
                if let Ok(Value::Object(fields)) = serde_json::to_value(fact) {
                    line.extend(fields);
                }
                Value::Object(line).to_string()
            })
            .collect();
        self.write(&lines).await
    }

    /// Writes lines, and waits until the client has room for more.
    async fn write(&mut self, lines: &[String]) -> worker::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.lines += lines.len() as u64;
        let mut text = lines.join("\n");
        text.push('\n');
        settled(self.writer.write(&Uint8Array::from(text.as_bytes()))).await?;
        Ok(())
    }
}
