//! Which conversation a request belongs to, from its headers.
//!
//! Invariant: a thread is never used without the resource that owns it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::api::percent_decoded;
use crate::error::Error;
use crate::headers::Headers;

/// The longest thread or resource id, in bytes of the decoded form.
pub const MAX_ID_BYTES: usize = 512;

/// The longest name of a time zone, in bytes. Those in use have at most 32
/// (<https://data.iana.org/time-zones/tzdb/theory.html#naming>).
const MAX_ZONE_BYTES: usize = 64;

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

/// How far memory reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The thread alone.
    #[default]
    Thread,
    /// What is known of the owner from other threads, too.
    Resource,
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
    /// How far memory is to reach; `None` leaves it to the settings.
    pub scope: Option<Scope>,
    /// The user's time zone by its IANA name (`Europe/Berlin`); only its form is checked here.
    pub time_zone: Option<String>,
}

/// Reads `x-thread-id` and `x-resource-id`, or the synonyms that supermemory's clients send, and beside them
/// `x-memory-mode`, `x-memory-scope` and `x-timezone`. `None` without a thread, or with memory switched off. Errors: 400
/// that names the header.
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
        (Some(thread), Some(resource), Some(mode)) => {
            let (scope, time_zone) = (scope(headers)?, time_zone(headers)?);
            Ok(Some(Address { thread, resource, mode, scope, time_zone }))
        }
        _ => Ok(None),
    }
}

/// True for a request that names a thread and its owner and switches memory off.
pub fn is_switched_off(headers: Headers<'_>) -> bool {
    let names = |name: &str, synonym: &str| headers.get(name).or_else(|| headers.get(synonym)).is_some();
    names("x-thread-id", "x-sm-conversation-id")
        && names("x-resource-id", "x-sm-user-id")
        && headers.get("x-memory-mode").is_some_and(|mode| mode.trim().eq_ignore_ascii_case("off"))
}

fn scope(headers: Headers<'_>) -> Result<Option<Scope>, Error> {
    match headers.get("x-memory-scope").map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None | Some("") => Ok(None),
        Some("thread") => Ok(Some(Scope::Thread)),
        Some("resource") => Ok(Some(Scope::Resource)),
        Some(_) => Err(Error::invalid("x-memory-scope", "x-memory-scope must be thread or resource.")),
    }
}

/// True for what can be the IANA name of a time zone; whether there is one, the platform's calendar knows.
pub fn is_zone_name(name: &str) -> bool {
    name.len() <= MAX_ZONE_BYTES
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte))
}

fn time_zone(headers: Headers<'_>) -> Result<Option<String>, Error> {
    let Some(name) = headers.get("x-timezone").map(str::trim).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if !is_zone_name(name) {
        return Err(Error::invalid(
            "x-timezone",
            "x-timezone must be the IANA name of a time zone, such as Europe/Berlin.",
        ));
    }
    Ok(Some(name.to_owned()))
}

/// Reads an id from a header, or from the synonym for it. Errors: 400 that names the header.
pub fn id(headers: Headers<'_>, name: &str, synonym: &str) -> Result<Option<String>, Error> {
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
    fn scope_and_time_zone_are_read_beside_a_thread() {
        let thread = "x-thread-id: t\nx-resource-id: u";
        let read = |lines: &str| read(Headers::from_lines(&format!("{thread}\n{lines}"))).unwrap();
        let address = |scope, time_zone: Option<&str>| Address {
            thread: "t".into(),
            resource: "u".into(),
            mode: Mode::On,
            scope,
            time_zone: time_zone.map(str::to_owned),
        };
        assert_eq!(read(""), Some(address(None, None)));
        assert_eq!(read("x-memory-scope: \nx-timezone: "), Some(address(None, None)));
        assert_eq!(read("x-memory-scope: Thread"), Some(address(Some(Scope::Thread), None)));
        assert_eq!(
            read("x-memory-scope: resource\nx-timezone: America/Argentina/Buenos_Aires"),
            Some(address(Some(Scope::Resource), Some("America/Argentina/Buenos_Aires")))
        );
        for zone in ["UTC", "Etc/GMT+12", "America/Port-au-Prince", &"z".repeat(64)] {
            assert_eq!(read(&format!("x-timezone: {zone}")), Some(address(None, Some(zone))));
        }
        for (lines, header) in [
            ("x-memory-scope: user", "x-memory-scope"),
            ("x-timezone: Europe/Köln", "x-timezone"),
            ("x-timezone: +02:00", "x-timezone"),
            ("x-timezone: Europe/Berlin, Europe/Rome", "x-timezone"),
            (&format!("x-timezone: {}", "z".repeat(65)), "x-timezone"),
        ] {
            assert_eq!(from(&format!("{thread}\n{lines}")), Err(header.to_owned()), "{lines}");
            assert_eq!(from(lines), Ok(None), "a plain request is not refused for {lines}");
        }
    }

    #[test]
    fn neither_or_the_resource_alone_is_a_plain_proxy() {
        assert_eq!(from(""), Ok(None));
        assert_eq!(from("x-resource-id: user-42"), Ok(None));
        assert_eq!(from("x-thread-id: t\nx-resource-id: u\nx-memory-mode: off"), Ok(None));
    }

    #[test]
    fn memory_is_switched_off_for_a_thread_and_not_by_default() {
        let off = |lines: &str| is_switched_off(Headers::from_lines(lines));
        assert!(off("x-thread-id: t\nx-resource-id: u\nx-memory-mode: Off"));
        assert!(off("x-sm-conversation-id: t\nx-sm-user-id: u\nx-memory-mode: off"));
        assert!(!off("x-thread-id: t\nx-resource-id: u") && !off("x-memory-mode: off") && !off(""));
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
