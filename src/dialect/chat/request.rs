//! Requests of clients, read.

use crate::body::Body;
use crate::error::Error;
use crate::request::{Entry, Field, Request};

/// What the fields are called here.
pub const NAMES: &[(Field, &str)] = &[];

/// Fields without a word in the hub that other dialects can do without.
pub const HINTS: &[&str] = &[];

/// Reads a request whose conversation is already known. Errors: 400 that names the field.
pub fn read_request(_body: &Body<'_>, entries: Vec<Entry>) -> Result<Request, Error> {
    Ok(Request { entries, ..Request::default() })
}
