//! The Durable Object of a resource: decodes the protocol, runs the core in one transaction, keeps the alarm.
//!
//! Invariant: between the first statement and the last of a message there is no `await`, and a failure undoes them all.
//! Asking for the profile of a resource that was never used makes no database.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::now;
use super::sql_database::SqlDatabase;
use super::transaction::transaction;
use crate::resource;
use crate::resource::protocol::{DELETE, FORGET, PROFILE, PROMOTE, Profile};
use crate::resource::store::Store;

/// One resource of one project.
#[durable_object]
pub struct ResourceObject {
    state: State,
    store: RefCell<Option<Rc<Store<SqlDatabase>>>>,
    /// When the alarm that is set will ring; setting it costs a written row.
    alarm_at: Cell<Option<u64>>,
}

impl DurableObject for ResourceObject {
    fn new(state: State, _env: Env) -> Self {
        ResourceObject { state, store: RefCell::new(None), alarm_at: Cell::new(None) }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("object", request.headers().get("x-fault")?.as_deref()).await;
        let path = request.path();
        let body = request.bytes().await?;
        let answer = match path.as_str() {
            PROFILE if !self.exists()? => Response::from_bytes(serde_json::to_vec(&Profile::default())?),
            PROFILE => self.run(&body, resource::read),
            PROMOTE => self.run(&body, resource::promote),
            FORGET => self.run(&body, resource::forget),
            DELETE => self.run(&body, resource::delete),
            _ => return Response::error("unknown message", 404),
        }?;
        if matches!(path.as_str(), FORGET | DELETE) {
            self.empty_without_facts().await?;
            self.keep_alarm().await?;
        }
        Ok(answer)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.alarm_at.set(None);
        if self.exists()? {
            let store = self.store()?;
            if transaction(&self.state, || resource::expire(&*store, now()))? {
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

impl ResourceObject {
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

    /// Empties the storage as a whole when no fact is left, so that no bytes of the deleted ones are. Should the object die
    /// in between, whoever asked gets no answer and asks again.
    async fn empty_without_facts(&self) -> worker::Result<()> {
        let Some(remains) = resource::remains(&*self.store()?)? else { return Ok(()) };
        self.store.replace(None);
        self.state.storage().delete_all().await?;
        self.alarm_at.set(None);
        let store = self.store()?;
        transaction(&self.state, || resource::restore(&*store, &remains))
    }

    /// Sets the alarm, unless one that rings early enough is set.
    async fn keep_alarm(&self) -> worker::Result<()> {
        let store = self.store()?;
        let Some(due) = resource::next_alarm(&*store)? else { return Ok(()) };
        if self.alarm_at.get().is_none_or(|set| set > due) {
            let offset = i64::try_from(due.saturating_sub(now())).unwrap_or(i64::MAX);
            self.state.storage().set_alarm(offset).await?;
            self.alarm_at.set(Some(due));
        }
        Ok(())
    }
}
