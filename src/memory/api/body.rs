//! The body of a memory request.
//!
//! Invariant: a field that is absent, one that is null and one that has a value are told apart; a value of the wrong kind is
//! refused by the path of its field. Fields without a meaning here are passed over: clients send more than they must.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::time::from_rfc3339;

/// What is kept with a thread takes at most so much as JSON, in bytes.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 512;

/// The fields of a JSON object, and where it stands in the body.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: &'a str,
}

/// Reads a body. Errors: 400 for what is no JSON, with the position, and for what is no object.
pub fn read(body: &[u8]) -> Result<Map<String, Value>, Error> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Error::bad_request(format!("The body is not valid JSON: {error}.")))?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Error::bad_request("The body must be a JSON object.")),
    }
}

impl<'a> Fields<'a> {
    /// The fields of the body itself.
    pub fn of(object: &'a Map<String, Value>) -> Self {
        Fields { object, path: "" }
    }

    /// The fields of an object inside of it.
    pub fn at(object: &'a Map<String, Value>, path: &'a str) -> Self {
        Fields { object, path }
    }

    /// The path of a field from the top of the body.
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A field's value; `None` where it is absent or null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// True for a field that is there, be it null.
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// A refusal that names a field.
    pub fn refuse(&self, name: &str, what: &str) -> Error {
        let path = self.path(name);
        Error::invalid(&path, format!("The field `{path}` {what}."))
    }

    /// A text. Errors: 400 for a value of another kind.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.refuse(name, "must be a text")),
        }
    }

    /// An id of at most 512 bytes; an empty one counts as none. Errors: 400.
    pub fn id(&self, name: &str) -> Result<Option<&'a str>, Error> {
        let id = self.text(name)?.filter(|id| !id.is_empty());
        if let Some(id) = id {
            crate::memory::address::check_id(&self.path(name), id)?;
        }
        Ok(id)
    }

    /// An object. Errors: 400 for a value of another kind.
    pub fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_object().map(Some).ok_or_else(|| self.refuse(name, "must be an object")),
        }
    }

    /// A time in Unix milliseconds. Errors: 400 for what is not ISO 8601 with a zone, or before 1970.
    pub fn time(&self, name: &str) -> Result<Option<u64>, Error> {
        let what = "must be a time since 1970 in ISO 8601 with its zone, such as 2026-11-26T12:00:00.000Z";
        match self.text(name)? {
            None => Ok(None),
            Some(text) => from_rfc3339(text).map(Some).ok_or_else(|| self.refuse(name, what)),
        }
    }

    /// A whole number from 1. Errors: 400.
    pub fn count(&self, name: &str) -> Result<Option<u32>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => {
                let count = value.as_u64().filter(|count| *count > 0);
                let count = count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                count.map(Some).ok_or_else(|| self.refuse(name, "must be a whole number of at least 1"))
            }
        }
    }

    /// A thread's title. Errors: 400 for a longer one than is kept.
    pub fn title(&self) -> Result<Option<String>, Error> {
        let title = self.text("title")?;
        if title.is_some_and(|title| title.chars().nth(MAX_TITLE_CHARS).is_some()) {
            return Err(self.refuse("title", &format!("may have {MAX_TITLE_CHARS} characters at most")));
        }
        Ok(title.map(str::to_owned))
    }

    /// What is kept with a thread, as JSON. Errors: 400 for what is no object, or too large.
    pub fn metadata(&self) -> Result<Option<String>, Error> {
        let json = self.object("metadata")?.map(|object| Value::Object(object.clone()).to_string());
        if json.as_ref().is_some_and(|json| json.len() > MAX_METADATA_BYTES) {
            let what = format!("may take {MAX_METADATA_BYTES} bytes as JSON at most");
            return Err(self.refuse("metadata", &what));
        }
        Ok(json)
    }
}
