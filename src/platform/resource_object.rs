//! The Durable Object of a resource: decodes the protocol, runs the core in one transaction, keeps the alarm.
//!
//! Invariant: asking for the profile of a resource that was never used makes no database.

use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::now;
use super::object_storage::{ObjectStorage, answer};
use super::sql_database::SqlDatabase;
use super::unanswered;
use crate::resource;
use crate::resource::protocol::{DELETE, FORGET, PROFILE, PROMOTE, Profile};
use crate::resource::protocol::{FACTS, Facts};
use crate::resource::store::Store;

/// One resource of one project.
#[durable_object]
pub struct ResourceObject {
    storage: ObjectStorage<Store<SqlDatabase>>,
}

impl DurableObject for ResourceObject {
    fn new(state: State, _env: Env) -> Self {
        ResourceObject { storage: ObjectStorage::new(state) }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        unanswered::or_told(request.inner().into(), Box::pin(self.answer(request))).await
    }

    async fn alarm(&self) -> worker::Result<Response> {
        unanswered::or_told(self.storage.key(), Box::pin(self.ring())).await
    }
}

impl ResourceObject {
    async fn answer(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("object", request.headers().get("x-fault")?.as_deref()).await;
        let path = request.path();
        let body = request.bytes().await?;
        let answered = match path.as_str() {
            PROFILE if !self.storage.exists()? => answer(&Profile::default()),
            PROFILE => self.storage.run(&body, resource::read),
            FACTS if !self.storage.exists()? => answer(&Facts::default()),
            FACTS => self.storage.run(&body, resource::facts),
            PROMOTE => self.storage.run(&body, resource::promote),
            FORGET => self.storage.run(&body, resource::forget),
            DELETE => self.storage.run(&body, resource::delete),
            _ => return Response::error("unknown message", 404),
        }?;
        if matches!(path.as_str(), FORGET | DELETE) {
            self.write_anew().await?;
            self.keep_alarm().await?;
        }
        Ok(answered)
    }

    async fn ring(&self) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike_alarm();
        self.storage.alarm_rang();
        if self.storage.exists()? {
            if self.storage.transaction(|store| resource::expire(store, now()))? {
                self.storage.delete_all().await?;
            } else {
                self.keep_alarm().await?;
            }
        }
        Response::empty()
    }

    /// Writes the storage anew, so that no bytes of deleted facts are left. Should the object die before, whoever asked gets no
    /// answer and asks again.
    async fn write_anew(&self) -> worker::Result<()> {
        match self.storage.store()?.copy()? {
            Some(rows) => self.storage.delete_all_but(|store| store.paste(&rows)).await,
            None => Ok(()),
        }
    }

    async fn keep_alarm(&self) -> worker::Result<()> {
        let due = resource::next_alarm(&*self.storage.store()?)?;
        self.storage.ring_by(due).await
    }
}
