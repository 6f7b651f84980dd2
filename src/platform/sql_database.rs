//! The object's SQLite behind the core's [`Database`].
//!
//! Invariant: values cross as they are; integers beyond 2^53, which the border cannot carry, are refused.

use worker::{SqlStorage, SqlStorageValue};

use crate::memory::database::{Database, Row, Value};

/// SQLite of a Durable Object.
pub struct SqlDatabase(pub SqlStorage);

impl Database for SqlDatabase {
    type Error = worker::Error;

    fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, worker::Error> {
        let values = values
            .iter()
            .map(|value| match value {
                Value::Null => Ok(SqlStorageValue::Null),
                Value::Integer(number) => SqlStorageValue::try_from_i64(*number),
                Value::Text(text) => Ok(SqlStorageValue::String(text.clone())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let cursor = self.0.exec(sql, values)?;
        cursor
            .raw()
            .map(|row| {
                let row = row?.into_iter().map(|value| match value {
                    SqlStorageValue::Integer(number) => Value::Integer(number),
                    SqlStorageValue::Float(number) => Value::Integer(number as i64),
                    SqlStorageValue::Boolean(flag) => Value::Integer(i64::from(flag)),
                    SqlStorageValue::String(text) => Value::Text(text),
                    SqlStorageValue::Null | SqlStorageValue::Blob(_) => Value::Null,
                });
                Ok(Row(row.collect()))
            })
            .collect()
    }
}
