//! The rows of which a thread has one: its own, memory's state, the mark of a deletion.
//!
//! Invariant: what is held here is what the tables hold. Nobody but the thread's object writes to them, so a read is needed
//! once in the object's life; whoever undoes writes, or writes past this module, says [`Store::undone`].

use std::cell::{Cell, RefCell};

use super::{Store, Thread, from_json, to_json};
use crate::memory::database::{Database, Value};
use crate::memory::state::State;

const THREAD: &str =
    "project, id, resource, created_at, updated_at, indexed_at, index_retry_at, title, metadata";

/// The rows as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Singles {
    thread: RefCell<Option<Option<Thread>>>,
    state: RefCell<Option<State>>,
    tombstone: Cell<Option<Option<u64>>>,
}

impl<D: Database> Store<D> {
    /// Looks into the tables again for what it knew of them.
    pub fn undone(&self) {
        self.has_grown.set(None);
        let Singles { thread, state, tombstone } = &self.singles;
        thread.replace(None);
        state.replace(None);
        tombstone.set(None);
    }

    /// The thread, once it exists.
    pub fn thread(&self) -> Result<Option<Thread>, D::Error> {
        if let Some(known) = self.singles.thread.borrow().as_ref() {
            return Ok(known.clone());
        }
        let rows = self.database.query(&format!("SELECT {THREAD} FROM thread"), &[])?;
        let thread = rows.first().map(|row| Thread {
            project: row.text(0),
            id: row.text(1),
            resource: row.text(2),
            created_at: row.unsigned(3),
            updated_at: row.unsigned(4),
            indexed_at: row.optional(5).map(|value| value.unsigned()),
            index_retry_at: row.optional(6).map(|value| value.unsigned()),
            title: row.optional(7).map(Value::text),
            metadata: row.optional(8).map(Value::text),
        });
        self.singles.thread.replace(Some(thread.clone()));
        Ok(thread)
    }

    /// Writes the thread's row.
    pub fn save_thread(&self, thread: &Thread) -> Result<(), D::Error> {
        self.database.query(
            &format!(
                "INSERT OR REPLACE INTO thread (one, {THREAD}) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
            ),
            &[
                thread.project.as_str().into(),
                thread.id.as_str().into(),
                thread.resource.as_str().into(),
                thread.created_at.into(),
                thread.updated_at.into(),
                thread.indexed_at.into(),
                thread.index_retry_at.into(),
                thread.title.clone().into(),
                thread.metadata.clone().into(),
            ],
        )?;
        self.singles.thread.replace(Some(Some(thread.clone())));
        Ok(())
    }

    /// What memory keeps beside messages and notes.
    pub fn state(&self) -> Result<State, D::Error> {
        if let Some(known) = self.singles.state.borrow().as_ref() {
            return Ok(known.clone());
        }
        let rows = self.database.query("SELECT body FROM state", &[])?;
        let state: State = rows.first().and_then(|row| from_json(&row.text(0))).unwrap_or_default();
        self.singles.state.replace(Some(state.clone()));
        Ok(state)
    }

    /// Writes it.
    pub fn save_state(&self, state: &State) -> Result<(), D::Error> {
        self.database
            .query("INSERT OR REPLACE INTO state (one, body) VALUES (1, ?1)", &[to_json(state).into()])?;
        self.singles.state.replace(Some(state.clone()));
        Ok(())
    }

    /// When the thread was deleted, if it ever was; nothing from before that may come back.
    pub fn tombstone(&self) -> Result<Option<u64>, D::Error> {
        if let Some(known) = self.singles.tombstone.get() {
            return Ok(known);
        }
        let rows = self.database.query("SELECT deleted_at FROM tombstone", &[])?;
        let deleted_at = rows.first().map(|row| row.unsigned(0));
        self.singles.tombstone.set(Some(deleted_at));
        Ok(deleted_at)
    }

    /// Leaves the mark of a deletion.
    pub fn bury(&self, deleted_at: u64) -> Result<(), D::Error> {
        self.database.query(
            "INSERT OR REPLACE INTO tombstone (one, deleted_at) VALUES (1, ?1)",
            &[deleted_at.into()],
        )?;
        self.singles.tombstone.set(Some(Some(deleted_at)));
        Ok(())
    }
}
