//! The object's SQLite behind the core's [`Database`].
//!
//! Invariant: a statement crosses the border once, with its values, and its rows once, as JSON: cell by cell each would
//! cost a call. Integers beyond 2^53, which JavaScript's numbers cannot hold, are not used by the store.

use wasm_bindgen::JsValue;
use worker::State;

use super::border::sql_query;
use crate::memory::database::{Database, Row, Value};

/// SQLite of a Durable Object.
pub struct SqlDatabase(JsValue);

impl SqlDatabase {
    /// The database of an object.
    pub fn of(state: &State) -> worker::Result<Self> {
        let storage = state.storage();
        let raw: &JsValue = storage.as_raw().as_ref();
        Ok(SqlDatabase(js_sys::Reflect::get(raw, &"sql".into())?))
    }
}

impl Database for SqlDatabase {
    type Error = worker::Error;

    fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, worker::Error> {
        let rows = sql_query(&self.0, sql, &serde_json::to_string(values)?)?;
        Ok(serde_json::from_str(&rows)?)
    }

    fn run(&self, script: &str) -> Result<(), worker::Error> {
        // The platform's `exec` takes several statements, where none has values.
        sql_query(&self.0, script, "[]").map(drop).map_err(Into::into)
    }
}
