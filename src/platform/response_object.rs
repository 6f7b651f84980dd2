//! The Durable Object of a chain of responses: decodes the protocol, runs the core in one transaction, keeps the alarm.
//!
//! Invariant: questions about a chain that was never used make no database.

use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::now;
use super::object_storage::{ObjectStorage, answer};
use super::sql_database::SqlDatabase;
use super::{gateway_worker, unanswered};
use crate::config::RESPONSES_TTL_MS;
use crate::responses::chain;
use crate::responses::protocol::{DELETE, ERASE, Found, HISTORY, ITEMS, KEEP, POINT, READ};
use crate::responses::store::Store;

/// One chain of one project.
#[durable_object]
pub struct ResponseObject {
    storage: ObjectStorage<Store<SqlDatabase>>,
    ttl_ms: u64,
}

impl DurableObject for ResponseObject {
    fn new(state: State, env: Env) -> Self {
        let ttl_ms = gateway_worker::config(&env).map_or(RESPONSES_TTL_MS, |config| config.responses_ttl_ms);
        ResponseObject { storage: ObjectStorage::new(state), ttl_ms }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        unanswered::or_told(request.inner().into(), Box::pin(self.answer(request))).await
    }

    async fn alarm(&self) -> worker::Result<Response> {
        unanswered::or_told(self.storage.key(), Box::pin(self.ring())).await
    }
}

impl ResponseObject {
    async fn answer(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("object", request.headers().get("x-fault")?.as_deref()).await;
        #[cfg(feature = "fault-injection")]
        super::fault::throw(request.headers().get("x-fault")?.as_deref())?;
        let path = request.path();
        let body = request.bytes().await?;
        let writes = matches!(path.as_str(), KEEP | POINT | ERASE);
        if !writes && !self.storage.exists()? {
            return answer(&Found::<()>::Nowhere);
        }
        let answered = match path.as_str() {
            KEEP => self.storage.run(&body, chain::keep),
            POINT => self.storage.run(&body, chain::point),
            HISTORY => self.storage.run(&body, chain::history),
            READ => self.storage.run(&body, chain::read),
            ITEMS => self.storage.run(&body, chain::input_items),
            DELETE => self.storage.run(&body, chain::delete),
            ERASE => self.storage.run(&body, chain::erase),
            _ => return Response::error("unknown message", 404),
        }?;
        if matches!(path.as_str(), DELETE | ERASE) {
            self.write_anew().await?;
        }
        if writes || path == DELETE {
            self.keep_alarm().await?;
        }
        Ok(answered)
    }

    async fn ring(&self) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike_alarm();
        self.storage.alarm_rang();
        if self.storage.exists()? {
            if self.storage.transaction(|store| chain::expire(store, now(), self.ttl_ms))? {
                self.storage.delete_all().await?;
            } else {
                self.keep_alarm().await?;
            }
        }
        Response::empty()
    }

    /// Writes the storage anew, so that no bytes of deleted texts are left. Should the object die before, whoever asked gets no
    /// answer and asks again.
    async fn write_anew(&self) -> worker::Result<()> {
        match self.storage.store()?.copy()? {
            Some(rows) => self.storage.delete_all_but(|store| store.paste(&rows)).await,
            None => Ok(()),
        }
    }

    async fn keep_alarm(&self) -> worker::Result<()> {
        let due = chain::next_alarm(&*self.storage.store()?, now(), self.ttl_ms)?;
        self.storage.ring_by(due).await
    }
}
