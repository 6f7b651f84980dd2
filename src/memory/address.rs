//! Which conversation a request belongs to, from its headers.
//!
//! Invariant: a thread is never used without the resource that owns it.

use std::borrow::Cow;

use crate::api::percent_decoded;
use crate::error::Error;
use crate::headers::Headers;

/// The longest thread or resource id, in bytes of the decoded form.
pub const MAX_ID_BYTES: usize = 512;

/// What a request asks of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Inject and store.
    On,
    /// Inject, store nothing.
    Read,
    /// Store, inject nothing.
    Write,
}

/// A conversation and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The thread's id.
    pub thread: String,
    /// The id of its owner: an end user or another entity.
    pub resource: String,
    /// What the request asks of memory.
    pub mode: Mode,
}

/// Reads `x-thread-id`, `x-resource-id` and `x-memory-mode`, or the synonyms that supermemory's clients send. `None`
/// without a thread, or with memory switched off. Errors: 400 that names the header.
pub fn read(headers: Headers<'_>) -> Result<Option<Address>, Error> {
    let mode = match headers.get("x-memory-mode").map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "on") => Some(Mode::On),
        Some("read") => Some(Mode::Read),
        Some("write") => Some(Mode::Write),
        Some("off") => None,
        Some(_) => {
            return Err(Error::invalid("x-memory-mode", "x-memory-mode must be on, read, write or off."));
        }
    };
    let thread = id(headers, "x-thread-id", "x-sm-conversation-id")?;
    let resource = id(headers, "x-resource-id", "x-sm-user-id")?;
    match (thread, resource, mode) {
        (Some(_), None, _) => Err(Error::invalid(
            "x-resource-id",
            "x-thread-id needs x-resource-id beside it: the id of the user or entity that owns the thread.",
        )),
        (Some(thread), Some(resource), Some(mode)) => Ok(Some(Address { thread, resource, mode })),
        _ => Ok(None),
    }
}

fn id(headers: Headers<'_>, name: &str, synonym: &str) -> Result<Option<String>, Error> {
    let (name, value) = match (headers.get(name), headers.get(synonym)) {
        (Some(value), _) => (name, value),
        (None, Some(value)) => (synonym, value),
        (None, None) => return Ok(None),
    };
    let id = percent_decoded(&as_utf8(value.trim()));
    if id.is_empty() {
        return Ok(None);
    }
    check_id(name, &id)?;
    Ok(Some(id))
}

/// The runtime hands over each byte of a header as one character; clients that send UTF-8 as it is mean its characters.
fn as_utf8(value: &str) -> Cow<'_, str> {
    if value.is_ascii() {
        return value.into();
    }
    let bytes: Option<Vec<u8>> = value.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
    match bytes.map(String::from_utf8) {
        Some(Ok(text)) => text.into(),
        _ => value.into(),
    }
}

/// Checks the length of an id. Errors: 400 that names where it came from.
pub fn check_id(name: &str, id: &str) -> Result<(), Error> {
    if id.len() > MAX_ID_BYTES {
        return Err(Error::invalid(
            name,
            format!("{name} is {} bytes long; at most {MAX_ID_BYTES} are allowed.", id.len()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(lines: &str) -> Result<Option<(String, String, Mode)>, String> {
        read(Headers::from_lines(lines))
            .map(|found| found.map(|address| (address.thread, address.resource, address.mode)))
            .map_err(|error| error.body()["error"]["param"].as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn both_headers_switch_memory_on() {
        let both = |thread: &str, mode| Ok(Some((thread.to_owned(), "user-42".to_owned(), mode)));
        assert_eq!(from("x-thread-id: t\nx-resource-id: user-42"), both("t", Mode::On));
        assert_eq!(from("x-thread-id: a/b:c d\nx-resource-id: user-42"), both("a/b:c d", Mode::On));
        assert_eq!(from("x-thread-id: a%2Fb%20%C3%BC\nx-resource-id: user-42"), both("a/b ü", Mode::On));
        // The bytes of `ü` in UTF-8, one character each; and a text that is no UTF-8 that way.
        assert_eq!(from("x-thread-id: \u{c3}\u{bc}\nx-resource-id: user-42"), both("ü", Mode::On));
        assert_eq!(from("x-thread-id: \u{fc}\nx-resource-id: user-42"), both("\u{fc}", Mode::On));
        assert_eq!(from("x-sm-conversation-id: t\nx-sm-user-id: user-42"), both("t", Mode::On));
        assert_eq!(
            from("x-thread-id: t\nx-resource-id: user-42\nx-memory-mode: Read"),
            both("t", Mode::Read)
        );
    }

    #[test]
    fn neither_or_the_resource_alone_is_a_plain_proxy() {
        assert_eq!(from(""), Ok(None));
        assert_eq!(from("x-resource-id: user-42"), Ok(None));
        assert_eq!(from("x-thread-id: t\nx-resource-id: u\nx-memory-mode: off"), Ok(None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        assert_eq!(from("x-thread-id: t"), Err("x-resource-id".into()));
        assert_eq!(from("x-thread-id: t\nx-resource-id: "), Err("x-resource-id".into()));
        assert_eq!(from("x-thread-id: t\nx-memory-mode: off"), Err("x-resource-id".into()));
        assert_eq!(
            from("x-thread-id: t\nx-resource-id: u\nx-memory-mode: maybe"),
            Err("x-memory-mode".into())
        );
        assert_eq!(
            from(&format!("x-thread-id: {}\nx-resource-id: u", "t".repeat(513))),
            Err("x-thread-id".into())
        );
        assert!(from(&format!("x-thread-id: {}\nx-resource-id: u", "t".repeat(512))).is_ok());
    }
}
