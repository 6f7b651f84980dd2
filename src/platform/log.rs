//! The Worker's log: one JSON object a line.
//!
//! Invariant: no content of conversations, no thread or resource id (they may name people): turns are found by request and
//! turn id. Nothing is written that has the form of a credential, whoever put it there.

use serde_json::{Value, json};
use worker::console_log;

use crate::redact;

/// Writes an event with its fields.
pub fn event(name: &str, fields: Value) {
    let mut line = json!({ "event": name });
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields);
    }
    redact::value(&mut line);
    console_log!("{line}");
}
