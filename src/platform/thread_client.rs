//! The Worker's side of the conversation with a thread's object.
//!
//! Invariant: a stub that failed is not used again, and a message that failed is only sent again because it may be.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use wasm_bindgen::JsValue;
use worker::{Env, Method, Request, RequestInit};

use super::border::within;
use super::log;
use crate::keys::{Principal, thread_object_name};
use crate::protocol::{
    AROUND, COMMIT, CONFIGURE, Commit, Committed, Configure, DELETE, DELETE_MESSAGES, Delete, DeleteMessages,
    Deleted, FORGET_NOTES, ForgetNotes, Found, LINK_RESPONSE, LinkResponse, Linked, MESSAGES, Messages,
    MessagesDeleted, NotesForgotten, OBSERVATIONS, Observations, PREPARE, Prepare, Prepared, REMEMBER,
    ReadAround, ReadMessages, ReadObservations, ReadSources, Remember, Remembered, SEARCH, SOURCES, Search,
    Sources,
};

/// Waits between attempts to report a turn's end, in milliseconds. The sum stays well below the 30 s that the platform
/// leaves a Worker after its answer.
const COMMIT_RETRY_MS: [u32; 5] = [50, 200, 1_000, 3_000, 8_000];

/// A thread's object, seen from the Worker.
#[derive(Clone)]
pub struct ThreadClient {
    env: Env,
    object: String,
    /// Makes the object misbehave, where the build allows it.
    pub fault: Option<String>,
}

impl ThreadClient {
    /// The object of a principal's thread.
    pub fn new(env: Env, principal: &Principal, thread: &str) -> Self {
        ThreadClient { env, object: principal.thread_object_name(thread), fault: None }
    }

    /// The object of a project's thread, where nobody's key is at hand.
    pub fn of_project(env: Env, project: &str, thread: &str) -> Self {
        ThreadClient { env, object: thread_object_name(project, thread), fault: None }
    }

    /// Begins a turn. `None` when the object did not answer within `deadline_ms`, or failed twice.
    pub async fn prepare(&self, request: &Prepare, deadline_ms: u32) -> Option<Prepared> {
        let work = async {
            match self.call(PREPARE, request).await {
                Ok(prepared) => Some(prepared),
                Err(_) => self.call(PREPARE, request).await.ok(),
            }
        };
        within(deadline_ms, work).await.flatten()
    }

    /// Ends a turn that began with `beginning`; tries for as long as the platform allows. What cannot be stored is
    /// reported in the log.
    pub async fn commit(&self, beginning: &Prepare, mut request: Commit) {
        if !beginning.store {
            return;
        }
        let mut reason = String::new();
        for wait in COMMIT_RETRY_MS.into_iter().map(Some).chain([None]) {
            match self.call(COMMIT, &request).await {
                Ok(Committed::Stored) => return,
                Ok(Committed::UnknownTurn) if request.prepare.is_none() => {
                    request.prepare = Some(beginning.clone());
                    continue;
                }
                // Whoever deleted the thread wants nothing of it back.
                Ok(Committed::Deleted) => return,
                Ok(refused) => {
                    reason = format!("{refused:?}");
                    break;
                }
                Err(error) => reason = error.to_string(),
            }
            if let Some(ms) = wait {
                within(ms, std::future::pending::<()>()).await;
            }
        }
        log::event("turn_lost", json!({ "turn": request.turn, "reason": reason }));
    }

    /// Reads a page of messages.
    pub async fn messages(&self, request: &ReadMessages) -> worker::Result<Messages> {
        self.call(MESSAGES, request).await
    }

    /// Reads how the thread's memory stands.
    pub async fn observations(&self, request: &ReadObservations) -> worker::Result<Observations> {
        self.call(OBSERVATIONS, request).await
    }

    /// Sets what the thread's memory does otherwise.
    pub async fn configure(&self, request: &Configure) -> worker::Result<Observations> {
        self.call(CONFIGURE, request).await
    }

    /// Finds what has to do with a question.
    pub async fn search(&self, request: &Search) -> worker::Result<Found> {
        self.call(SEARCH, request).await
    }

    /// Reads the messages that a note rests on.
    pub async fn sources(&self, request: &ReadSources) -> worker::Result<Sources> {
        self.call(SOURCES, request).await
    }

    /// Reads a message and those around it.
    pub async fn around(&self, request: &ReadAround) -> worker::Result<Sources> {
        self.call(AROUND, request).await
    }

    /// Notes something that was said outside of a turn.
    pub async fn remember(&self, request: &Remember) -> worker::Result<Remembered> {
        match self.call(REMEMBER, request).await {
            Ok(remembered) => Ok(remembered),
            Err(_) => self.call(REMEMBER, request).await,
        }
    }

    /// Forgets notes.
    pub async fn forget_notes(&self, request: &ForgetNotes) -> worker::Result<NotesForgotten> {
        self.call(FORGET_NOTES, request).await
    }

    /// Deletes all that the thread holds.
    pub async fn delete(&self, request: &Delete) -> worker::Result<Deleted> {
        self.call(DELETE, request).await
    }

    /// Deletes messages, and all that was made of them.
    pub async fn delete_messages(&self, request: &DeleteMessages) -> worker::Result<MessagesDeleted> {
        self.call(DELETE_MESSAGES, request).await
    }

    /// Tells that a response is made in the thread; tries for as long as the platform allows.
    pub async fn link_response(&self, request: &LinkResponse) -> Linked {
        for wait in COMMIT_RETRY_MS {
            if let Ok(linked) = self.call(LINK_RESPONSE, request).await {
                return linked;
            }
            within(wait, std::future::pending::<()>()).await;
        }
        log::event("response_unlinked", json!({ "response": request.id }));
        Linked::NotFound
    }

    /// Sends a message once.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> worker::Result<A> {
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(JsValue::from_str(&serde_json::to_string(request)?)));
        let message = Request::new_with_init(&format!("https://thread{path}"), &init)?;
        if let Some(fault) = &self.fault {
            message.headers().set("x-fault", fault)?;
        }
        let stub = self.env.durable_object("THREAD")?.get_by_name(&self.object)?;
        let mut answer = stub.fetch_with_request(message).await?;
        if answer.status_code() != 200 {
            return Err(format!("the thread's object answered {}", answer.status_code()).into());
        }
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}
