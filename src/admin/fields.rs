//! The fields of a management request's body.
//!
//! Invariant: a field that nobody reads is refused by its name; what is absent, what is null and what has a value are told
//! apart.

use serde_json::{Map, Value};

use crate::error::Error;

/// The fields of a JSON object.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body; an empty one has no fields. Errors: 400 for what is no JSON object, or has a field that is not
    /// `known`.
    pub fn read(body: &[u8], known: &[&str]) -> Result<Self, Error> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Fields(Map::new()));
        }
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| Error::bad_request(format!("The body is not valid JSON: {error}.")))?;
        let Value::Object(fields) = value else {
            return Err(Error::bad_request("The body must be a JSON object."));
        };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let name: String = name.chars().take(100).collect();
                let known = if known.is_empty() { "no fields".to_owned() } else { known.join(", ") };
                Err(Error::invalid(&name, format!("There is no field `{name}` here. Known: {known}.")))
            }
            None => Ok(Fields(fields)),
        }
    }

    /// A field's value; null counts as one.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// What a field is to become: `None` where it is absent, `Some(None)` where it is null. `read` says what is wrong with
    /// a value. Errors: 400 that names the field.
    pub fn change<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Option<Option<T>>, Error> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => match read(value) {
                Ok(value) => Ok(Some(Some(value))),
                Err(what) => Err(Error::invalid(name, format!("The field `{name}` {what}."))),
            },
        }
    }

    /// What a field is to become that cannot be null. Errors: 400 that names the field.
    pub fn value<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        match self.change(name, read)? {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(Error::invalid(name, format!("The field `{name}` cannot be null."))),
        }
    }
}

/// A text of at most `most` characters, without control characters.
pub fn text(most: usize) -> impl FnOnce(&Value) -> Result<String, String> {
    move |value| match value.as_str() {
        Some(text) if text.chars().count() <= most && !text.chars().any(char::is_control) => {
            Ok(text.to_owned())
        }
        _ => Err(format!("must be a text of at most {most} characters in one line")),
    }
}

/// True or false.
pub fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_null_and_given_are_told_apart() {
        let fields = Fields::read(br#"{"a":null,"b":"x"}"#, &["a", "b", "c"]).unwrap();
        assert_eq!(fields.change("a", text(9)), Ok(Some(None)));
        assert_eq!(fields.change("b", text(9)), Ok(Some(Some("x".to_owned()))));
        assert_eq!(fields.change("c", text(9)), Ok(None));
        assert_eq!(fields.value("a", text(9)).unwrap_err().message(), "The field `a` cannot be null.");
        assert_eq!(fields.value("b", flag).unwrap_err().message(), "The field `b` must be true or false.");
        assert!(Fields::read(b" \n", &[]).unwrap().0.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for (body, says) in [
            ("{", "not valid JSON"),
            ("[]", "must be a JSON object"),
            (r#"{"labl":1}"#, "There is no field `labl` here. Known: label."),
        ] {
            let error = Fields::read(body.as_bytes(), &["label"]).unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.message().contains(says), "{}", error.message());
        }
    }
}
