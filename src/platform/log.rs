//! The Worker's log: one JSON object a line.
//!
//! Invariant: no content of conversations, no credential, no thread or resource id (they may name people); turns are
//! found by request and turn id.

use serde_json::{Value, json};
use worker::console_log;

/// Writes an event with its fields.
pub fn event(name: &str, fields: Value) {
    let mut line = json!({ "event": name });
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields);
    }
    console_log!("{line}");
}
