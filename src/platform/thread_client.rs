//! The Worker's side of the conversation with a thread's object.
//!
//! Invariant: a message that failed is only sent again where it may come twice, and where the failure says that it may help.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use worker::Env;

use super::border::within;
use super::log;
use super::object_call::ObjectCall;
use crate::idempotency::{Claim, Claimed, KeepAnswer};
use crate::keys::{Principal, thread_object_name};
use crate::object_failure::Need;
use crate::protocol::{
    AROUND, CLAIM, COMMIT, CONFIGURE, Commit, Committed, Configure, DELETE, DELETE_MESSAGES, Delete,
    DeleteMessages, Deleted, FORGET_NOTES, ForgetNotes, Found, KEEP_ANSWER, LINK_RESPONSE, LinkResponse,
    Linked, MESSAGES, Messages, MessagesDeleted, NotesForgotten, OBSERVATIONS, Observations, PREPARE,
    Prepare, Prepared, REMEMBER, ReadAround, ReadMessages, ReadObservations, ReadSources, Remember,
    Remembered, SEARCH, SOURCES, Search, Sources,
};

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

    /// Begins a turn. `None` when the object did not answer within `deadline_ms`, or failed for good.
    pub async fn prepare(&self, request: &Prepare, deadline_ms: u32) -> Option<Prepared> {
        within(deadline_ms, self.object().repeated(PREPARE, request, Need::Answer)).await?.ok()
    }

    /// Claims an idempotency key. `None` when the object did not answer within `deadline_ms`.
    pub async fn claim(&self, request: &Claim, deadline_ms: u32) -> Option<Claimed> {
        within(deadline_ms, self.call(CLAIM, request)).await?.ok()
    }

    /// Keeps the answer of a request with an idempotency key.
    pub async fn keep_answer(&self, request: &KeepAnswer) -> worker::Result<()> {
        self.call(KEEP_ANSWER, request).await
    }

    /// Ends a turn that began with `beginning`; tries for as long as the platform allows. What cannot be stored is
    /// reported in the log. Gives the ids of the turn's stored messages.
    pub async fn commit(&self, beginning: &Prepare, mut request: Commit) -> Vec<String> {
        if !beginning.store {
            return Vec::new();
        }
        let object = self.object();
        let mut failed = 0;
        let reason = loop {
            match object.once(COMMIT, &request).await {
                Ok(Committed::StoredAs { message_ids }) => return message_ids,
                Ok(Committed::Stored) => return Vec::new(),
                Ok(Committed::UnknownTurn) if request.prepare.is_none() => {
                    request.prepare = Some(beginning.clone());
                }
                // Whoever deleted the thread wants nothing of it back.
                Ok(Committed::Deleted) => return Vec::new(),
                Ok(refused) => break format!("{refused:?}"),
                Err(error) => {
                    failed += 1;
                    match object.pause_ms(&error, COMMIT, Need::Storage, failed) {
                        Some(ms) => drop(within(ms, std::future::pending::<()>()).await),
                        None => break error.reason,
                    }
                }
            }
        };
        log::event("turn_lost", json!({ "turn": request.turn, "reason": reason }));
        Vec::new()
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
        Ok(self.object().repeated(REMEMBER, request, Need::Answer).await?)
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
        match self.object().repeated(LINK_RESPONSE, request, Need::Storage).await {
            Ok(linked) => linked,
            Err(_) => {
                log::event("response_unlinked", json!({ "response": request.id }));
                Linked::NotFound
            }
        }
    }

    /// Sends a message once.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
    ) -> worker::Result<A> {
        Ok(self.object().once(path, request).await?)
    }

    fn object(&self) -> ObjectCall<'_> {
        ObjectCall { env: &self.env, class: "THREAD", object: &self.object, fault: self.fault.as_deref() }
    }
}
