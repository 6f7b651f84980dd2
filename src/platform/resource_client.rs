//! The conversation with a resource's object, for the Worker and for the objects of its threads.
//!
//! Invariant: a message that failed is only sent again because it may come twice, and where that may help.

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::Env;

use super::border::within;
use super::object_call::ObjectCall;
use crate::keys::resource_object_name;
use crate::memory::profile::Fact;
use crate::object_failure::Need;
use crate::resource::protocol::{
    DELETE, Delete, Done, FORGET, Forget, PROFILE, PROMOTE, Profile, Promote, ReadProfile, ResourceKey,
};
use crate::resource::protocol::{FACTS, Facts};

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

    /// The profile. `None` when the object did not answer within `deadline_ms`, or failed for good: a turn goes on without it.
    pub async fn profile(&self, deadline_ms: u32) -> Option<Profile> {
        let ask = ReadProfile { key: self.key.clone() };
        within(deadline_ms, async { self.send(PROFILE, &ask).await.ok() }).await.flatten()
    }

    /// All facts.
    pub async fn facts(&self) -> worker::Result<Facts> {
        self.send(FACTS, &ReadProfile { key: self.key.clone() }).await
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

    /// Asks the object, once more where that may help.
    async fn send<Q: Serialize, A: DeserializeOwned>(&self, path: &str, ask: &Q) -> worker::Result<A> {
        let object = ObjectCall { env: &self.env, class: "RESOURCE", object: &self.object, fault: None };
        Ok(object.repeated(path, ask, Need::Answer).await?)
    }
}
