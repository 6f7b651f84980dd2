//! What the objects with a store of their own have in common: their SQLite, opened once; messages, each run in one
//! transaction; one alarm.
//!
//! Invariant: between the first statement and the last of a message there is no `await`, and a failure undoes them all.
//! Asking whether there is anything makes no database.

use std::cell::{Cell, RefCell};
use std::panic::RefUnwindSafe;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use worker::{Response, State};

use super::border::{now, settled};
use super::sql_database::SqlDatabase;
use super::transaction::transaction;
use crate::memory::store::Store as ThreadStore;
use crate::resource::store::Store as ResourceStore;
use crate::responses::store::Store as ResponseStore;

/// A store that can be opened over an object's database.
pub trait OpensOver: Sized {
    /// Opens it and brings its tables up to date.
    fn open_over(database: SqlDatabase) -> worker::Result<Self>;
    /// Opens one that exists, without bringing it into being.
    fn open_existing_over(database: SqlDatabase) -> worker::Result<Option<Self>>;
    /// What it wrote last was undone.
    fn undone(&self);
}

macro_rules! opens_over {
    ($store:ident, $undone:expr) => {
        impl OpensOver for $store<SqlDatabase> {
            fn open_over(database: SqlDatabase) -> worker::Result<Self> {
                $store::open(database)
            }

            fn open_existing_over(database: SqlDatabase) -> worker::Result<Option<Self>> {
                $store::open_existing(database)
            }

            fn undone(&self) {
                let undone: fn(&Self) = $undone;
                undone(self);
            }
        }
    };
}

opens_over!(ThreadStore, ThreadStore::undone);
opens_over!(ResourceStore, |_| {});
opens_over!(ResponseStore, |_| {});

/// The storage of one object.
pub struct ObjectStorage<S> {
    state: State,
    store: RefCell<Option<Rc<S>>>,
    /// When the alarm that is set will ring; setting it costs a written row.
    alarm_at: Cell<Option<u64>>,
}

/// A panic finds it whole: both cells are replaced at once, with what is on disk already, and no work runs while one is lent.
impl<S> RefUnwindSafe for ObjectStorage<S> {}

impl<S: OpensOver> ObjectStorage<S> {
    /// The storage behind an object's state.
    pub fn new(state: State) -> Self {
        ObjectStorage { state, store: RefCell::new(None), alarm_at: Cell::new(None) }
    }

    /// What entry.js knows the object's alarm by.
    pub fn key(&self) -> JsValue {
        self.state.as_raw().into()
    }

    /// True when something was ever stored. Looking must not make an empty database, which would be kept and billed.
    pub fn exists(&self) -> worker::Result<bool> {
        if self.store.borrow().is_none()
            && let Some(store) = S::open_existing_over(SqlDatabase::of(&self.state)?)?
        {
            self.store.replace(Some(Rc::new(store)));
        }
        Ok(self.store.borrow().is_some())
    }

    /// The open store; opening it is tried again after a failure.
    pub fn store(&self) -> worker::Result<Rc<S>> {
        if let Some(store) = self.store.borrow().as_ref() {
            return Ok(store.clone());
        }
        let store = transaction(&self.state, || S::open_over(SqlDatabase::of(&self.state)?).map(Rc::new))?;
        self.store.replace(Some(store.clone()));
        Ok(store)
    }

    /// Runs work on the store in one transaction.
    pub fn transaction<T>(&self, work: impl FnOnce(&S) -> worker::Result<T>) -> worker::Result<T> {
        let store = self.store()?;
        let outcome = transaction(&self.state, || work(&store));
        if outcome.is_err() {
            store.undone();
        }
        outcome
    }

    /// Runs a message in one transaction, and answers it.
    pub fn run<Q: DeserializeOwned, A: Serialize>(
        &self,
        body: &[u8],
        work: impl FnOnce(&S, &Q) -> worker::Result<A>,
    ) -> worker::Result<Response> {
        let message: Q = serde_json::from_slice(body)?;
        answer(&self.transaction(|store| work(store, &message))?)
    }

    /// Runs a message in a transaction that is undone, and answers what it would have come to.
    pub fn try_out<Q: DeserializeOwned, A: Serialize>(
        &self,
        body: &[u8],
        work: impl FnOnce(&S, &Q) -> worker::Result<A>,
    ) -> worker::Result<Response> {
        let message: Q = serde_json::from_slice(body)?;
        let store = self.store()?;
        let mut outcome = None;
        let undone = transaction(&self.state, || -> worker::Result<()> {
            outcome = Some(work(&store, &message)?);
            Err("undone on purpose".into())
        });
        store.undone();
        match (outcome, undone) {
            (Some(outcome), _) => answer(&outcome),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err("the transaction did not run".into()),
        }
    }

    /// Deletes the database as a whole, so that no bytes of it stay behind, and the alarm with it. What is stored
    /// afterwards makes its tables anew.
    pub async fn delete_all(&self) -> worker::Result<()> {
        self.store.replace(None);
        self.state.storage().delete_all().await?;
        self.alarm_at.set(None);
        Ok(())
    }

    /// Deletes the database as a whole, as [`Self::delete_all`], and fills the new one with `work` in the same breath: with no
    /// `await` between, the platform commits both together, or neither.
    pub async fn delete_all_but(&self, work: impl Fn(&S) -> worker::Result<()>) -> worker::Result<()> {
        // Once all is deleted it is too late to find out that the work cannot be done: it is done before, and undone.
        let mut can = false;
        let rehearsed = self.transaction::<()>(|store| {
            work(store)?;
            can = true;
            Err("undo".into())
        });
        if !can {
            return rehearsed;
        }
        self.store.replace(None);
        let storage = self.state.storage();
        let raw: &JsValue = storage.as_raw().as_ref();
        let delete_all: js_sys::Function = js_sys::Reflect::get(raw, &"deleteAll".into())?.dyn_into()?;
        let deleted = delete_all.call0(raw).and_then(|promise| promise.dyn_into());
        let written = self.transaction(work);
        self.alarm_at.set(None);
        settled(deleted).await?;
        written
    }

    /// The alarm has rung.
    pub fn alarm_rang(&self) {
        self.alarm_at.set(None);
    }

    /// Sets the alarm for `due`, in Unix milliseconds, unless one that rings early enough is set.
    pub async fn ring_by(&self, due: Option<u64>) -> worker::Result<()> {
        let Some(due) = due else { return Ok(()) };
        if self.alarm_at.get().is_none_or(|set| set > due) {
            let offset = i64::try_from(due.saturating_sub(now())).unwrap_or(i64::MAX);
            self.state.storage().set_alarm(offset).await?;
            self.alarm_at.set(Some(due));
        }
        Ok(())
    }
}

/// The answer to a message.
pub fn answer(message: &impl Serialize) -> worker::Result<Response> {
    Response::from_bytes(serde_json::to_vec(message)?)
}
