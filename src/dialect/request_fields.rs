//! The fields of a request on their way to words of the hub: taken one by one, each of the type that it must have.
//!
//! Invariant: what nobody took is still there at the end; null counts as absent.

use serde_json::{Map, Number, Value};

use crate::body::Body;
use crate::error::Error;

/// What a whole number is called in an error.
pub const COUNT: &str = "a whole number";

/// The fields of a request that are not read yet.
#[derive(Debug)]
pub struct RequestFields {
    /// They themselves, by their wire names.
    pub rest: Map<String, Value>,
}

/// 400 for a field of another type than it must have.
pub fn wrong(place: &str, kind: &str) -> Error {
    Error::invalid(place, format!("The field `{place}` must be {kind}."))
}

/// A whole number, also one that was written with a fraction of zero.
pub fn as_count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64)
    })
}

impl RequestFields {
    /// All fields of a body but those that are read elsewhere.
    pub fn of(body: &Body<'_>, elsewhere: &[&str]) -> Self {
        let mut rest = Map::new();
        for name in body.names().filter(|name| !elsewhere.contains(name)) {
            let value = body.raw(name).and_then(|raw| serde_json::from_str(raw.get()).ok());
            if let Some(value) = value.filter(|value: &Value| !value.is_null()) {
                rest.insert(name.to_owned(), value);
            }
        }
        RequestFields { rest }
    }

    /// Takes a field of any type.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.rest.shift_remove(name)
    }

    /// Takes true or false. Errors: 400 that names the field, here and below.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Error> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    /// Takes a whole number.
    pub fn count(&mut self, name: &str) -> Result<Option<u64>, Error> {
        self.typed(name, COUNT, |value| as_count(&value))
    }

    /// Takes a number, as it was written.
    pub fn number(&mut self, name: &str) -> Result<Option<Number>, Error> {
        self.typed(name, "a number", |value| match value {
            Value::Number(number) => Some(number),
            _ => None,
        })
    }

    /// Takes a string.
    pub fn string(&mut self, name: &str) -> Result<Option<String>, Error> {
        self.typed(name, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    /// Takes an array.
    pub fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, Error> {
        self.typed(name, "an array", |value| match value {
            Value::Array(items) => Some(items),
            _ => None,
        })
    }

    /// Takes an object.
    pub fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Error> {
        self.typed(name, "an object", |value| match value {
            Value::Object(fields) => Some(fields),
            _ => None,
        })
    }

    fn typed<T>(
        &mut self,
        name: &str,
        kind: &str,
        read: impl Fn(Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.take(name).map(|value| read(value).ok_or_else(|| wrong(name, kind))).transpose()
    }
}
