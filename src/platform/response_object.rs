//! The Durable Object of a chain of responses: decodes the protocol, runs the core in one transaction, keeps the alarm.
//!
//! Invariant: between the first statement and the last of a message there is no `await`, and a failure undoes them all.
//! Questions about a chain that was never used make no database.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::now;
use super::gateway_worker;
use super::sql_database::SqlDatabase;
use super::transaction::transaction;
use crate::config::RESPONSES_TTL_MS;
use crate::responses::chain;
use crate::responses::protocol::{DELETE, Found, HISTORY, ITEMS, KEEP, POINT, READ};
use crate::responses::store::Store;

/// One chain of one project.
#[durable_object]
pub struct ResponseObject {
    state: State,
    store: RefCell<Option<Rc<Store<SqlDatabase>>>>,
    /// When the alarm that is set will ring; setting it costs a written row.
    alarm_at: Cell<Option<u64>>,
    ttl_ms: u64,
}

impl DurableObject for ResponseObject {
    fn new(state: State, env: Env) -> Self {
        let ttl_ms = gateway_worker::config(&env).map_or(RESPONSES_TTL_MS, |config| config.responses_ttl_ms);
        ResponseObject { state, store: RefCell::new(None), alarm_at: Cell::new(None), ttl_ms }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("object", request.headers().get("x-fault")?.as_deref()).await;
        let path = request.path();
        let body = request.bytes().await?;
        let writes = matches!(path.as_str(), KEEP | POINT);
        if !writes && !self.exists()? {
            return Response::from_bytes(serde_json::to_vec(&Found::<()>::Nowhere)?);
        }
        let answer = match path.as_str() {
            KEEP => self.run(&body, chain::keep),
            POINT => self.run(&body, chain::point),
            HISTORY => self.run(&body, chain::history),
            READ => self.run(&body, chain::read),
            ITEMS => self.run(&body, chain::input_items),
            DELETE => self.run(&body, chain::delete),
            _ => return Response::error("unknown message", 404),
        }?;
        if writes || path == DELETE {
            self.keep_alarm().await?;
        }
        Ok(answer)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.alarm_at.set(None);
        if self.exists()? {
            let store = self.store()?;
            if transaction(&self.state, || chain::expire(&*store, now(), self.ttl_ms))? {
                // A message that comes meanwhile makes its tables anew.
                self.store.replace(None);
                self.state.storage().delete_all().await?;
            } else {
                self.keep_alarm().await?;
            }
        }
        Response::empty()
    }
}

impl ResponseObject {
    /// True when something was ever stored. Looking must not make an empty database, which would be kept and billed.
    fn exists(&self) -> worker::Result<bool> {
        if self.store.borrow().is_none()
            && let Some(store) = Store::open_existing(SqlDatabase::of(&self.state)?)?
        {
            self.store.replace(Some(Rc::new(store)));
        }
        Ok(self.store.borrow().is_some())
    }

    /// The open storage; opening it is tried again after a failure.
    fn store(&self) -> worker::Result<Rc<Store<SqlDatabase>>> {
        if let Some(store) = self.store.borrow().as_ref() {
            return Ok(store.clone());
        }
        let store = transaction(&self.state, || Store::open(SqlDatabase::of(&self.state)?).map(Rc::new))?;
        self.store.replace(Some(store.clone()));
        Ok(store)
    }

    fn run<Q: DeserializeOwned, A: Serialize>(
        &self,
        body: &[u8],
        work: impl FnOnce(&Store<SqlDatabase>, &Q) -> worker::Result<A>,
    ) -> worker::Result<Response> {
        let message: Q = serde_json::from_slice(body)?;
        let store = self.store()?;
        let answer = transaction(&self.state, || work(&store, &message))?;
        Response::from_bytes(serde_json::to_vec(&answer)?)
    }

    /// Sets the alarm, unless one that rings early enough is set.
    async fn keep_alarm(&self) -> worker::Result<()> {
        let now = now();
        let store = self.store()?;
        let Some(due) = chain::next_alarm(&*store, now, self.ttl_ms)? else { return Ok(()) };
        if self.alarm_at.get().is_none_or(|set| set > due) {
            let offset = i64::try_from(due.saturating_sub(now)).unwrap_or(i64::MAX);
            self.state.storage().set_alarm(offset).await?;
            self.alarm_at.set(Some(due));
        }
        Ok(())
    }
}
