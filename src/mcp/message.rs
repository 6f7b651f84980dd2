//! JSON-RPC 2.0, as far as MCP uses it. <https://www.jsonrpc.org/specification>
//!
//! Invariant: every request gets exactly one answer with its id; what is no request gets none.

use serde_json::{Value, json};

/// The most messages in one body.
const MAX_BATCH: usize = 20;

/// A body that a client sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// One message.
    One(Rpc),
    /// Several at once, as versions up to 2025-03-26 allow.
    Batch(Vec<Rpc>),
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Rpc {
    /// Wants an answer.
    Request(Request),
    /// Wants none: a notification, or an answer to something that was never asked.
    Silent,
    /// Is none of the protocol's; this is the answer.
    Wrong(Value),
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Ties the answer to it: a text or a number.
    pub id: Value,
    /// What is wanted.
    pub method: String,
    /// With what; `null` where nothing was given.
    pub params: Value,
}

/// JSON that cannot be read.
pub const PARSE_ERROR: i32 = -32_700;
/// No message of the protocol.
pub const INVALID_REQUEST: i32 = -32_600;
/// A method that is not there.
pub const METHOD_NOT_FOUND: i32 = -32_601;
/// Parameters that the method does not take.
pub const INVALID_PARAMS: i32 = -32_602;

/// Reads a body. `takes_batches`: the version that the connection speaks knows them. Errors: the answer to what is no message
/// at all, to go with status 400.
pub fn parse(body: &[u8], takes_batches: bool) -> Result<Incoming, Value> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| failure(&Value::Null, PARSE_ERROR, &format!("The body is not JSON: {error}.")))?;
    match value {
        Value::Array(_) if !takes_batches => Err(failure(
            &Value::Null,
            INVALID_REQUEST,
            "This version of MCP has no batches: send each message by itself.",
        )),
        Value::Array(messages) if messages.is_empty() || messages.len() > MAX_BATCH => Err(failure(
            &Value::Null,
            INVALID_REQUEST,
            &format!("A batch must hold 1 to {MAX_BATCH} messages."),
        )),
        Value::Array(messages) => Ok(Incoming::Batch(messages.into_iter().map(message).collect())),
        one => match message(one) {
            Rpc::Wrong(answer) => Err(answer),
            message => Ok(Incoming::One(message)),
        },
    }
}

fn message(mut value: Value) -> Rpc {
    let wrong = |id: &Value| {
        Rpc::Wrong(failure(
            id,
            INVALID_REQUEST,
            "This is no JSON-RPC 2.0 message: it needs `jsonrpc`: \"2.0\", a `method`, and for a request an `id` that is a \
             string or a number.",
        ))
    };
    let Some(fields) = value.as_object_mut() else { return wrong(&Value::Null) };
    let id = fields.get("id").cloned();
    let known_id = id.clone().filter(|id| id.is_string() || id.is_number()).unwrap_or_default();
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return wrong(&known_id);
    }
    match (fields.get("method"), id) {
        (Some(Value::String(_)), None) => Rpc::Silent,
        (Some(Value::String(method)), Some(_)) if !known_id.is_null() => {
            let method = method.clone();
            let params = fields.get_mut("params").map(Value::take).unwrap_or_default();
            Rpc::Request(Request { id: known_id, method, params })
        }
        (None, Some(_)) if fields.contains_key("result") || fields.contains_key("error") => Rpc::Silent,
        _ => wrong(&known_id),
    }
}

/// The answer to a request.
pub fn result(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// The answer to a request that cannot be served.
pub fn failure(id: &Value, code: i32, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<Incoming, (Value, i64)> {
        parse(body.to_string().as_bytes(), true)
            .map_err(|answer| (answer["id"].clone(), answer["error"]["code"].as_i64().unwrap()))
    }

    #[test]
    fn requests_are_told_from_what_wants_no_answer() {
        let request = |id: Value, params| Rpc::Request(Request { id, method: "ping".into(), params });
        assert_eq!(
            read(&json!({"jsonrpc": "2.0", "id": 0, "method": "ping", "params": {"a": 1}})),
            Ok(Incoming::One(request(json!(0), json!({"a": 1}))))
        );
        assert_eq!(
            read(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})),
            Ok(Incoming::One(Rpc::Silent))
        );
        assert_eq!(read(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})), Ok(Incoming::One(Rpc::Silent)));
        let Ok(Incoming::Batch(batch)) = read(&json!([{"jsonrpc": "2.0", "id": "a", "method": "ping"}, 1]))
        else {
            panic!("no batch")
        };
        assert_eq!(batch[0], request(json!("a"), Value::Null));
        assert!(matches!(&batch[1], Rpc::Wrong(answer) if answer["error"]["code"] == INVALID_REQUEST));
    }

    #[test]
    fn what_is_no_message_is_answered_with_the_codes_of_json_rpc() {
        assert_eq!(parse(b"{", true).unwrap_err()["error"]["code"], PARSE_ERROR);
        assert_eq!(parse(b"[[]]", false).unwrap_err()["error"]["code"], INVALID_REQUEST);
        for (body, id) in [
            (json!({}), Value::Null),
            (json!("x"), Value::Null),
            (json!([]), Value::Null),
            (json!({"id": 1, "method": "ping"}), json!(1)),
            (json!({"jsonrpc": "1.0", "id": 1, "method": "ping"}), json!(1)),
            (json!({"jsonrpc": "2.0", "id": null, "method": "ping"}), Value::Null),
            (json!({"jsonrpc": "2.0", "id": {}, "method": "ping"}), Value::Null),
            (json!({"jsonrpc": "2.0", "id": "a"}), json!("a")),
            (json!({"jsonrpc": "2.0", "id": "a", "method": 1}), json!("a")),
            (json!(vec![0; 21]), Value::Null),
        ] {
            assert_eq!(read(&body), Err((id, i64::from(INVALID_REQUEST))), "{body}");
        }
    }
}
