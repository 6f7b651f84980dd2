//! The Durable Object of a thread: decodes the protocol, runs the core in one transaction, keeps the alarm.
//!
//! Invariant: between the first statement and the last of a message there is no `await`, and a failure undoes them all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::now;
use super::sql_database::SqlDatabase;
use super::transaction::transaction;
use super::{d1_index, gateway_worker, log};
use crate::config::PENDING_TURN_TTL_MS;
use crate::memory::store::Store;
use crate::protocol::{COMMIT, MESSAGES, Messages, PREPARE};
use crate::thread;

/// One thread of one project.
#[durable_object]
pub struct ThreadObject {
    state: State,
    env: Env,
    store: RefCell<Option<Rc<Store<SqlDatabase>>>>,
    /// When the alarm that is set will ring; setting it costs a written row.
    alarm_at: Cell<Option<u64>>,
    pending_turn_ttl_ms: u64,
}

impl DurableObject for ThreadObject {
    fn new(state: State, env: Env) -> Self {
        let pending_turn_ttl_ms =
            gateway_worker::config(&env).map_or(PENDING_TURN_TTL_MS, |config| config.pending_turn_ttl_ms);
        ThreadObject { state, env, store: RefCell::new(None), alarm_at: Cell::new(None), pending_turn_ttl_ms }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("object", request.headers().get("x-fault")?.as_deref()).await;
        let path = request.path();
        let body = request.bytes().await?;
        let answer = match path.as_str() {
            PREPARE => self.run(&body, thread::prepare),
            COMMIT => self.run(&body, thread::commit),
            MESSAGES if !self.exists()? => Response::from_bytes(serde_json::to_vec(&Messages::NotFound)?),
            MESSAGES => self.run(&body, thread::messages),
            _ => return Response::error("unknown message", 404),
        }?;
        if path != MESSAGES {
            self.keep_alarm().await?;
        }
        Ok(answer)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.alarm_at.set(None);
        let store = self.store()?;
        let lost =
            transaction(&self.state, || thread::close_lost_turns(&*store, now(), self.pending_turn_ttl_ms))?;
        for turn in lost {
            log::event("turn_closed_as_lost", json!({ "turn": turn }));
        }
        if let Some(known) = store.thread()?
            && thread::index_due(&known).is_some_and(|due| due <= now())
        {
            let told = d1_index::record(&self.env, &known).await;
            if let Err(error) = &told {
                log::event("index_failed", json!({ "error": error.to_string() }));
            }
            transaction(&self.state, || thread::index_told(&*store, known.updated_at, now(), told.is_ok()))?;
        }
        self.keep_alarm().await?;
        Response::empty()
    }
}

impl ThreadObject {
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
        let Some(due) = thread::next_alarm(&*store, now, self.pending_turn_ttl_ms)? else { return Ok(()) };
        if self.alarm_at.get().is_none_or(|set| set > due) {
            let offset = i64::try_from(due.saturating_sub(now)).unwrap_or(i64::MAX);
            self.state.storage().set_alarm(offset).await?;
            self.alarm_at.set(Some(due));
        }
        Ok(())
    }
}
