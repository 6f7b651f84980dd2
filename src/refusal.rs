//! Which answers of a provider must not reach the client as they are.
//!
//! Invariant: trouble with the gateway's own credential never looks like trouble with the client's key, and no redirect
//! is followed or passed on. Everything else that a provider answers, it answers to the client.

use serde_json::Value;

use crate::error::{Error, Kind};
use crate::headers::Headers;
use crate::route::{CredentialSource, Route};

/// The error that replaces a provider's answer, if one must.
pub fn refusal(route: &Route<'_>, status: u16, answer: Headers<'_>) -> Option<Error> {
    let provider = &route.provider.name;
    let content_type = answer.get("content-type").unwrap_or("application/json").to_ascii_lowercase();
    let error = match status {
        300..=399 => Error::new(
            Kind::Upstream,
            format!(
                "The provider `{provider}` answered with a redirect ({status}), which the gateway does not follow. Check \
                 the provider's base URL in the gateway's configuration."
            ),
        ),
        401..=403 if route.source.is_stored() => Error::new(
            Kind::Upstream,
            match route.source {
                CredentialSource::Key | CredentialSource::Project => format!(
                    "The provider `{provider}` refused the credential that is bound to the {} ({status}). Its owner has \
                     to check the binding and the account behind it.",
                    route.source.as_str()
                ),
                _ => format!(
                    "The provider `{provider}` refused the gateway's own credential ({status}). The gateway's operator \
                     has to check the secret {} and the account behind it.",
                    route.provider.key_var
                ),
            },
        )
        .with_code("upstream_credentials"),
        200..=299 if !content_type.contains("json") && !content_type.contains("event-stream") => Error::new(
            Kind::Upstream,
            format!(
                "The provider `{provider}` answered with `{content_type}` where JSON or an event stream belongs. Check \
                 the provider's base URL in the gateway's configuration."
            ),
        )
        .with_code("upstream_nonsense"),
        _ => return None,
    };
    Some(error.with("provider", provider.as_str()).with("upstream_status", status))
}

/// A provider's own error, for a client of another dialect: its status and words, in the client's form. Takes every form
/// of body that providers are known to send, Gemini's array and bare texts too.
pub fn translated(provider: &str, status: u16, body: &[u8]) -> Error {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let outer = value.get(0).unwrap_or(&value);
    let inner = outer.get("error").filter(|error| !error.is_null()).unwrap_or(outer);
    let words = ["message", "detail", "msg"]
        .into_iter()
        .find_map(|name| inner.get(name))
        .or(Some(inner))
        .and_then(|words| match words {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        })
        .unwrap_or_else(|| shown(body));
    let message = match words.trim() {
        "" => format!("The provider `{provider}` answered with status {status} and without a word."),
        words => words.to_owned(),
    };
    let mut error =
        Error::new(Kind::Refused(status), message).with("provider", provider).with("upstream_status", status);
    if let Some(code) = ["code", "type", "status"].into_iter().find_map(|name| inner.get(name)?.as_str()) {
        error = error.with("upstream_code", code);
    }
    error
}

/// Bytes that are no JSON, as far as they belong into a message.
fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().filter(|char| !char.is_control()).take(500).collect()
}

/// What a provider reports inside an answer that has begun.
pub fn failed_inside(provider: &str, words: &str) -> Error {
    let message = match words.trim() {
        "" => format!("The provider `{provider}` reported a failure in the middle of its answer."),
        words => words.to_owned(),
    };
    Error::new(Kind::Upstream, message).with_code("upstream_failed").with("provider", provider)
}

/// 502 for an answer that is none.
pub fn nonsense(provider: &str) -> Error {
    Error::new(
        Kind::Upstream,
        format!(
            "The provider `{provider}` answered with something that is no answer to the request. Check the provider's base \
             URL in the gateway's configuration."
        ),
    )
    .with_code("upstream_nonsense")
    .with("provider", provider)
}

/// 502 for a provider that could not be reached.
pub fn unreachable(provider: &str) -> Error {
    Error::new(
        Kind::Upstream,
        format!(
            "The provider `{provider}` could not be reached. Try again; if it persists, check its base URL."
        ),
    )
    .with_code("upstream_unreachable")
    .with("provider", provider)
}

/// 502 for a whole answer of more than `limit` bytes, which nobody can hold.
pub fn too_large(provider: &str, limit: usize) -> Error {
    Error::new(
        Kind::Upstream,
        format!(
            "The provider `{provider}` answered with more than {limit} bytes at once, the gateway's limit. Ask for a \
             shorter answer or for a stream, or have the gateway's operator raise MAX_ANSWER_BYTES."
        ),
    )
    .with_code("upstream_too_large")
    .with("provider", provider)
}

/// 504 for a provider that took too long.
pub fn too_slow(provider: &str, ms: u32) -> Error {
    Error::new(
        Kind::Timeout,
        format!("The provider `{provider}` did not answer within {ms} ms. Try again, or allow more time."),
    )
    .with_code("upstream_timeout")
    .with("provider", provider)
}

/// What a client is told, inside a stream, when the provider's bytes stop too early.
pub fn cut_short(provider: &str) -> Error {
    Error::new(
        Kind::Upstream,
        format!(
            "The provider `{provider}` broke off in the middle of its answer. What came so far is incomplete."
        ),
    )
    .with_code("upstream_incomplete")
    .with("provider", provider)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::Bindings;
    use crate::config::Config;
    use crate::dialect::Dialect;
    use crate::keys::Secret;
    use crate::operation::Operation;
    use crate::route::route;

    #[test]
    fn a_providers_error_keeps_its_status_and_words_in_every_form() {
        for (body, words, code) in [
            (
                r#"{"error":{"message":"No such model.","type":"t","code":"model_not_found"}}"#,
                "No such model.",
                "model_not_found",
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "Overloaded",
                "overloaded_error",
            ),
            (
                r#"[{"error":{"code":400,"message":"Bad key.","status":"INVALID_ARGUMENT"}}]"#,
                "Bad key.",
                "INVALID_ARGUMENT",
            ),
            (r#"{"error":"model is loading"}"#, "model is loading", ""),
            (r#"{"detail":[{"msg":"field required"}]}"#, r#"[{"msg":"field required"}]"#, ""),
            ("Bad\ngateway", "Badgateway", ""),
            ("", "The provider `p` answered with status 418 and without a word.", ""),
        ] {
            let error = translated("p", 418, body.as_bytes());
            let shown = error.body()["error"].clone();
            assert_eq!((error.status(), error.message()), (418, words), "{body}");
            assert_eq!(shown["type"], "invalid_request_error");
            assert_eq!((&shown["provider"], &shown["upstream_status"]), (&"p".into(), &418.into()));
            assert_eq!(shown["upstream_code"].as_str().unwrap_or_default(), code);
        }
        for (status, name) in [
            (401, "authentication_error"),
            (429, "rate_limit_error"),
            (500, "upstream_error"),
            (529, "overloaded"),
        ] {
            assert_eq!(translated("p", status, b"{}").type_name(), name);
        }
    }

    #[test]
    fn a_refused_stored_credential_is_a_502_and_a_refused_own_one_passes() {
        let config = Config::read(|name| (name == "OPENAI_API_KEY").then(|| "k".to_owned())).unwrap();
        let json = Headers::from_lines("content-type: application/json");
        let (own, none) = (Secret::new("own"), Bindings::default());
        let stored = route(&config, Operation::Answer(Dialect::Chat), "openai/gpt-5", None, &none).unwrap();
        let callers =
            route(&config, Operation::Answer(Dialect::Chat), "openai/gpt-5", Some(&own), &none).unwrap();
        for status in [401, 402, 403] {
            let error = refusal(&stored, status, json).unwrap();
            assert_eq!((error.status(), error.code()), (502, Some("upstream_credentials")));
            assert_eq!(error.body()["error"]["upstream_status"], status);
            assert_eq!(refusal(&callers, status, json), None);
        }
        for status in [200, 400, 404, 429, 500, 503] {
            assert_eq!(refusal(&stored, status, json), None);
        }
        assert_eq!(refusal(&callers, 307, json).map(|error| error.status()), Some(502));
        let html = Headers::from_lines("content-type: text/html");
        assert_eq!(refusal(&callers, 200, html).and_then(|error| error.code()), Some("upstream_nonsense"));
        assert_eq!(refusal(&callers, 500, html), None);
        let events = Headers::from_lines("content-type: text/event-stream");
        assert_eq!(refusal(&callers, 200, events), None);
        assert_eq!(refusal(&callers, 200, Headers::from_lines("")), None);
    }
}
