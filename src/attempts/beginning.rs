//! What the beginning of a successful answer says: whether the provider reports an error in the place of an answer.
//!
//! Invariant: what holds output is never taken for a failure, and an error never changes what was said before it.

use serde_json::Value;

use super::failure::Failure;
use crate::dialect::fields::number_at;
use crate::dialect::google;
use crate::sse::{Decoder, Event};
use crate::turn::Usage;

/// The longest beginning that is waited for, in bytes. No provider's report of an error is near it.
const LONGEST: usize = 64 * 1024;

/// The first events of a stream, as far as they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Not one event is whole: more is needed to tell.
    Unfinished,
    /// An answer, as far as one can tell.
    Answer,
    /// An error, and nothing said before it.
    Failed(Reported),
}

/// An error that a provider reports in the place of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The failure that it stands for.
    pub failure: Failure,
    /// What the provider counted all the same.
    pub usage: Option<Usage>,
}

impl Beginning {
    /// What the first bytes of a stream of events say.
    pub fn of_stream(bytes: &[u8]) -> Self {
        let mut decoder = Decoder::default();
        let mut events = 0;
        let mut usage = None;
        let mut found = None;
        decoder.push(bytes, |Event { data, .. }| {
            events += 1;
            if found.is_some() {
                return;
            }
            let Ok(value) = serde_json::from_str::<Value>(data) else {
                found = Some(Beginning::Answer);
                return;
            };
            usage = usage_of(&value).or(usage);
            found = match error_of(&value) {
                Some(failure) => Some(Beginning::Failed(Reported { failure, usage })),
                None if is_prelude(&value) => None,
                None => Some(Beginning::Answer),
            };
        });
        match found {
            Some(found) => found,
            // Comments and the opening events, which say nothing, are not held up for what follows them.
            None if events > 0 || decoder.is_between_events() || bytes.len() > LONGEST => Beginning::Answer,
            None => Beginning::Unfinished,
        }
    }
}

impl Reported {
    /// The error that a whole answer is, if it is one.
    pub fn of_whole(bytes: &[u8]) -> Option<Self> {
        // Most answers are none, and need not be parsed for it.
        if bytes.len() > LONGEST || !bytes.windows(7).any(|window| window == b"\"error\"") {
            return None;
        }
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let outer = value.get(0).unwrap_or(&value);
        let holds_answer = ["choices", "content", "output", "candidates", "data", "embedding"]
            .iter()
            .any(|name| outer.get(name).is_some_and(|field| !field.is_null()));
        let failure = error_of(outer).filter(|_| !holds_answer)?;
        Some(Reported { failure, usage: usage_of(outer) })
    }
}

/// True for an event that opens a stream and says nothing.
fn is_prelude(event: &Value) -> bool {
    matches!(
        event.get("type").and_then(Value::as_str),
        Some("response.created" | "response.queued" | "response.in_progress" | "message_start" | "ping")
    )
}

/// The failure that an event, or a body, reports.
fn error_of(value: &Value) -> Option<Failure> {
    let is_error = value.get("type").and_then(Value::as_str) == Some("error");
    let inner = value
        .get("error")
        .or_else(|| value.get("response")?.get("error"))
        .filter(|error| !error.is_null() && **error != Value::Bool(false));
    let error = inner.or(is_error.then_some(value))?;
    Some(Failure::Reported { status: status_of(error) })
}

/// The status that an error stands for: what it says itself, else what its words for it mean. One that says nothing is the
/// provider's: it had taken the request.
fn status_of(error: &Value) -> u16 {
    let number = |name: &str| {
        let field = error.get(name)?;
        let number = field.as_u64().or_else(|| field.as_str()?.parse().ok())?;
        u16::try_from(number).ok().filter(|status| (400..600).contains(status))
    };
    let words = |name: &str| error.get(name)?.as_str().and_then(status_of_word);
    ["status", "status_code", "code"]
        .into_iter()
        .find_map(number)
        .or_else(|| ["code", "type", "status"].into_iter().find_map(words))
        .unwrap_or(500)
}

/// The words of OpenAI, Anthropic and Google for what they answer with a status elsewhere.
fn status_of_word(word: &str) -> Option<u16> {
    Some(match word.to_ascii_lowercase().as_str() {
        "invalid_request_error"
        | "invalid_request"
        | "invalid_prompt"
        | "invalid_argument"
        | "context_length_exceeded"
        | "content_policy_violation"
        | "content_filter"
        | "failed_precondition" => 400,
        "authentication_error" | "invalid_api_key" | "unauthenticated" => 401,
        "billing_error" | "insufficient_quota" => 402,
        "permission_error" | "permission_denied" => 403,
        "not_found_error" | "model_not_found" | "not_found" => 404,
        "request_too_large" => 413,
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "rate_limit_reached"
        | "resource_exhausted"
        | "tokens"
        | "requests" => 429,
        "api_error" | "server_error" | "internal_error" | "internal_server_error" | "internal" => 500,
        "service_unavailable" | "unavailable" => 503,
        "timeout" | "timeout_error" | "deadline_exceeded" => 504,
        "overloaded" | "overloaded_error" | "server_overloaded" => 529,
        _ => return None,
    })
}

/// The tokens that an event, or a body, counts.
fn usage_of(value: &Value) -> Option<Usage> {
    if let Some(usage) = value.get("usageMetadata").and_then(google::answer::read_usage) {
        return Some(usage);
    }
    let usage = [value.get("usage"), value.pointer("/message/usage"), value.pointer("/response/usage")]
        .into_iter()
        .flatten()
        .find(|usage| usage.is_object())?;
    let count = |path: &[&str]| number_at(usage, path);
    // Anthropic counts what it read from and wrote to its cache beside the input, OpenAI in it.
    let (read, written) = (count(&["cache_read_input_tokens"]), count(&["cache_creation_input_tokens"]));
    let input = count(&["prompt_tokens"]).max(count(&["input_tokens"]));
    let usage = Usage {
        input: input.saturating_add(read).saturating_add(written),
        output: count(&["completion_tokens"]).max(count(&["output_tokens"])),
        cached: read
            .max(count(&["prompt_tokens_details", "cached_tokens"]))
            .max(count(&["input_tokens_details", "cached_tokens"])),
        cache_write: written,
        ..Usage::default()
    };
    (usage != Usage::default()).then_some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16) -> Beginning {
        Beginning::Failed(Reported { failure: Failure::Reported { status }, usage: None })
    }

    fn of(text: &str) -> Beginning {
        Beginning::of_stream(text.as_bytes())
    }

    #[test]
    fn an_error_before_any_output_is_a_failure_in_each_dialect() {
        for (stream, status) in [
            (
                "data: {\"error\":{\"message\":\"Slow down\",\"type\":\"rate_limit_error\",\"code\":null}}\n\n",
                429,
            ),
            ("data: {\"error\":{\"message\":\"No\",\"type\":\"server_error\"}}\n\n", 500),
            (
                "data: {\"error\":{\"code\":502,\"message\":\"Bad\"},\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n",
                502,
            ),
            ("data: {\"error\":\"model is loading\"}\n\n", 500),
            (
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n",
                529,
            ),
            (
                "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}\n\n",
                429,
            ),
            (
                "data: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n\
                 data: {\"type\":\"response.in_progress\",\"response\":{\"error\":null}}\n\n\
                 data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\"}}}\n\n",
                500,
            ),
            ("data: {\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\"}}\r\n\r\n", 503),
            ("data: {\"error\":{\"code\":\"invalid_prompt\",\"message\":\"No\"}}\n\n", 400),
            (": hello\n\ndata: {\"error\":{\"message\":\"?\"}}\n\n", 500),
        ] {
            assert_eq!(of(stream), failed(status), "{stream}");
        }
    }

    #[test]
    fn what_holds_output_or_nothing_at_all_is_no_failure() {
        for stream in [
            "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\"\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"code\":500}}\n\n",
            "data: {\"type\":\"message_start\",\"message\":{}}\n\n",
            "data: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\ndata: {\"type\":\"resp",
            ": OPENROUTER PROCESSING\n\n",
            "data: [DONE]\n\n",
            "data: no JSON\n\n",
            "data: {\"error\":null,\"choices\":[]}\n\n",
        ] {
            assert_eq!(of(stream), Beginning::Answer, "{stream}");
        }
    }

    #[test]
    fn half_an_event_is_waited_for_up_to_a_bound() {
        let whole = "event: error\ndata: {\"error\":{\"code\":500}}\n\n";
        for end in 1..whole.len() - 1 {
            assert_eq!(Beginning::of_stream(&whole.as_bytes()[..end]), Beginning::Unfinished, "{end}");
        }
        assert_eq!(of(&format!("data: {}", "x".repeat(LONGEST))), Beginning::Answer);
    }

    #[test]
    fn what_was_counted_before_an_error_is_known() {
        let stream = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\
                      \"cache_read_input_tokens\":2,\"output_tokens\":1}}}\n\n\
                      data: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}\n\n";
        let usage = Usage { input: 9, output: 1, cached: 2, ..Usage::default() };
        let reported = Reported { failure: Failure::Reported { status: 500 }, usage: Some(usage) };
        assert_eq!(of(stream), Beginning::Failed(reported));
        let google =
            br#"[{"error":{"code":503},"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2}}]"#;
        let usage = Usage { input: 9, output: 2, ..Usage::default() };
        assert_eq!(Reported::of_whole(google).and_then(|reported| reported.usage), Some(usage));
        let body = br#"{"error":{"code":429},"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}}"#;
        let usage = Usage { input: 9, cached: 4, ..Usage::default() };
        assert_eq!(Reported::of_whole(body).and_then(|reported| reported.usage), Some(usage));
    }

    #[test]
    fn a_whole_answer_is_an_error_only_where_it_is_nothing_else() {
        let of = |text: &str| Reported::of_whole(text.as_bytes()).map(|reported| reported.failure);
        for (body, status) in [
            (r#"{"error":{"message":"Rate limited","code":429},"user_id":"u"}"#, Some(429)),
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#, Some(529)),
            (r#"[{"error":{"code":503,"status":"UNAVAILABLE"}}]"#, Some(503)),
            (r#"{"choices":[],"error":{"code":500}}"#, None),
            (r#"{"id":"r","status":"failed","error":{"code":"server_error"},"output":[]}"#, None),
            (r#"{"choices":[{"message":{"content":"\"error\""}}]}"#, None),
            (r#"{"error":null,"id":"x"}"#, None),
            (r#"{"error":"#, None),
        ] {
            assert_eq!(of(body), status.map(|status| Failure::Reported { status }), "{body}");
        }
    }
}
