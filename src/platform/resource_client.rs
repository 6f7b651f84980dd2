//! The conversation with a resource's object, for the Worker and for the objects of its threads.
//!
//! Invariant: a stub that failed is not used again, and a message that failed is only sent again because it may be.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::{Env, Method, Request, RequestInit};

use super::border::within;
use crate::keys::resource_object_name;
use crate::memory::profile::Fact;
use crate::resource::protocol::{
    DELETE, Delete, Done, FORGET, Forget, PROFILE, PROMOTE, Profile, Promote, ReadProfile, ResourceKey,
};

/// A resource's object, seen from outside.
#[derive(Clone)]
pub struct ResourceClient {
    env: Env,
    object: String,
    key: ResourceKey,
}

impl ResourceClient {
    /// The object of a project's resource. The project is the caller's, or that of the thread that asks.
    pub fn new(env: Env, project: &str, resource: &str) -> Self {
        let key = ResourceKey { project: project.to_owned(), resource: resource.to_owned() };
        ResourceClient { env, object: resource_object_name(project, resource), key }
    }

    /// The profile. `None` when the object did not answer within `deadline_ms`, or failed twice: a turn goes on without it.
    pub async fn profile(&self, deadline_ms: u32) -> Option<Profile> {
        let ask = ReadProfile { key: self.key.clone() };
        within(deadline_ms, async { self.send(PROFILE, &ask).await.ok() }).await.flatten()
    }

    /// Brings facts of a thread.
    pub async fn promote(&self, facts: Vec<Fact>) -> worker::Result<Done> {
        self.send(PROMOTE, &Promote { key: self.key.clone(), facts }).await
    }

    /// Takes back what a thread brought, or some of its notes; `at` is when they were given up, in Unix milliseconds.
    pub async fn forget(&self, thread: &str, notes: Option<Vec<i64>>, at: u64) -> worker::Result<Done> {
        let ask = Forget { key: self.key.clone(), thread: thread.to_owned(), notes, at };
        self.send(FORGET, &ask).await
    }

    /// Forgets all that was said until `at`, in Unix milliseconds.
    pub async fn delete(&self, at: u64) -> worker::Result<Done> {
        self.send(DELETE, &Delete { key: self.key.clone(), at }).await
    }

    /// Asks the object, once more if it fails.
    async fn send<Q: Serialize, A: DeserializeOwned>(&self, path: &str, ask: &Q) -> worker::Result<A> {
        match self.call(path, ask).await {
            Ok(answer) => Ok(answer),
            Err(_) => self.call(path, ask).await,
        }
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(&self, path: &str, ask: &Q) -> worker::Result<A> {
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(JsValue::from_str(&serde_json::to_string(ask)?)));
        let message = Request::new_with_init(&format!("https://resource{path}"), &init)?;
        let stub = self.env.durable_object("RESOURCE")?.get_by_name(&self.object)?;
        let mut answer = stub.fetch_with_request(message).await?;
        if answer.status_code() != 200 {
            return Err(format!("the resource's object answered {}", answer.status_code()).into());
        }
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}
