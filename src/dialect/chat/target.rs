//! Requests for providers, written; and the table of what becomes of each field.

use serde_json::Value;

use crate::error::Error;
use crate::request::{Field, Handling, Request};
use crate::turn::Origin;

/// What becomes of each field of a request of another dialect.
pub const TABLE: &[(Field, Handling)] = &[];

/// Writes a request. Errors: 400 that names the place of a part that cannot be said.
pub fn write_request(_request: &Request, _target: &Origin) -> Result<Value, Error> {
    Ok(Value::Null)
}
