//! The line that the log gets of a request that no model was asked for.
//!
//! Invariant: it names no thread, resource, response or model, which stand in paths: only the family of the path is told.

use serde_json::{Value, json};

use crate::error::Error;
use crate::headers::Headers;
use crate::trace::TraceParent;

/// The fields of the line: who asked for what, and how it ended after `ms` milliseconds.
pub fn access_line(
    request_id: &str,
    request: Headers<'_>,
    method: &str,
    path: &str,
    status: u16,
    ms: u64,
    error: Option<&Error>,
) -> Value {
    json!({
        "request_id": request_id,
        "trace_id": request.get("traceparent").and_then(TraceParent::read).map(|parent| parent.trace_id),
        "method": method,
        "endpoint": family(path),
        "status": status,
        // What a client did wrong is told with its own words, which may name people.
        "error": error.map(|error| if error.status() < 500 { error.type_name() } else { error.message() }),
        "code": error.and_then(Error::code),
        "latency_ms": ms,
    })
}

/// What a path is about: its words up to the first id.
fn family(path: &str) -> String {
    const WORDS: [&str; 14] = [
        "v1",
        "health",
        "chat",
        "completions",
        "responses",
        "messages",
        "count_tokens",
        "embeddings",
        "models",
        "memory",
        "threads",
        "gateway",
        "projects",
        "resources",
    ];
    let words = path.split('/').filter(|word| !word.is_empty()).take_while(|word| WORDS.contains(word));
    words.fold(String::new(), |family, word| family + "/" + word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_family_of_a_path_and_no_id_in_it() {
        let error = Error::thread_not_found().with_code("gone");
        assert_eq!(
            access_line(
                "req_1",
                Headers::from_lines(""),
                "GET",
                "/v1//memory/threads/anna@x.test/messages",
                404,
                7,
                Some(&error)
            ),
            json!({"request_id": "req_1", "trace_id": null, "method": "GET", "endpoint": "/v1/memory/threads", "status": 404,
                   "error": "not_found", "code": "gone", "latency_ms": 7})
        );
        let traced =
            Headers::from_lines("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let line = access_line("r", traced, "GET", "/anna", 404, 0, None);
        assert_eq!(
            (&line["endpoint"], &line["trace_id"]),
            (&json!(""), &json!("4bf92f3577b34da6a3ce929d0e0e4736"))
        );
    }
}
