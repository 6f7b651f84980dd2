//! The seam below the store: SQLite statements in, rows out.
//!
//! Invariant: calls are synchronous, because the object's SQLite is; what happens between two of them cannot be seen
//! from outside. The Worker implements it over the object's storage, the tests over SQLite itself, so both run the same
//! SQL.

use serde::{Deserialize, Serialize};

/// Somewhere SQLite statements run.
pub trait Database {
    /// What a statement can fail with.
    type Error;

    /// Runs one statement, with values for `?1`, `?2`, …; gives its rows.
    fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Self::Error>;

    /// Runs statements without values, one after the other.
    fn run(&self, script: &str) -> Result<(), Self::Error>;
}

/// A value in a row, or for a parameter; in JSON null, a number or a string.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, from = "serde_json::Value")]
pub enum Value {
    /// NULL.
    Null,
    /// A whole number; exact up to 2^53, which is all that the platform's border lets through.
    Integer(i64),
    /// Text.
    Text(String),
}

impl Value {
    /// The number, or 0.
    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            _ => 0,
        }
    }

    /// The number if it is not negative, or 0.
    pub fn unsigned(&self) -> u64 {
        u64::try_from(self.integer()).unwrap_or(0)
    }

    /// The text, or an empty one.
    pub fn text(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            _ => String::new(),
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Number(number) => number.as_i64().map_or(Value::Null, Value::Integer),
            _ => Value::Null,
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Integer(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// One row of a result; in JSON an array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// The number in a column, or 0.
    pub fn integer(&self, column: usize) -> i64 {
        self.0.get(column).map_or(0, Value::integer)
    }

    /// The number in a column if it is not negative, or 0.
    pub fn unsigned(&self, column: usize) -> u64 {
        self.0.get(column).map_or(0, Value::unsigned)
    }

    /// The text in a column, or an empty one.
    pub fn text(&self, column: usize) -> String {
        self.0.get(column).map_or_else(String::new, Value::text)
    }

    /// The value in a column; `None` for NULL.
    pub fn optional(&self, column: usize) -> Option<&Value> {
        self.0.get(column).filter(|value| **value != Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_cross_the_border_as_json_and_come_back_the_same() {
        let row = Row(vec![
            Value::Null,
            Value::Integer(-9_007_199_254_740_991),
            Value::Text("a\"é\u{1F44B}".into()),
        ]);
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(json, "[null,-9007199254740991,\"a\\\"é👋\"]");
        assert_eq!(serde_json::from_str::<Row>(&json).unwrap(), row);
    }
}
