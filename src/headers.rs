//! HTTP headers: how they are handed to the core, and which may cross the gateway, in either direction.
//!
//! Invariant: only what is on a list crosses. Credentials, cookies and addresses of clients are on none.

use crate::dialect::Dialect;

/// The headers of a message, in the form in which they cross the border to JavaScript in one piece: `name: value` lines,
/// names in lower case.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(&'a str);

impl<'a> Headers<'a> {
    /// Takes the lines.
    pub fn from_lines(lines: &'a str) -> Self {
        Headers(lines)
    }

    /// A header's value; several of one name come joined by `, `.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.split('\n').find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// All headers.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.0.split('\n').filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name, value.strip_prefix(' ').unwrap_or(value)))
        })
    }
}

/// The request headers that the gateway reads for itself. With those that go to providers they are all that it ever
/// sees of a request's headers: listing them is cheaper than taking all, and what is not seen cannot leak.
pub const READ: &[&str] = &[
    "access-control-request-headers",
    "authorization",
    "content-length",
    "content-type",
    "idempotency-key",
    "mcp-protocol-version",
    "origin",
    "x-api-key",
    "x-gateway-first-token-timeout-ms",
    "x-gateway-timeout-ms",
    "x-gateway-tools",
    "x-gateway-tools-show",
    "x-memory-gateway-authorization",
    "x-memory-mode",
    "x-memory-scope",
    "x-request-id",
    "x-resource-id",
    "x-sm-conversation-id",
    "x-sm-user-id",
    "x-stainless-retry-count",
    "x-thread-id",
    "x-timezone",
    #[cfg(feature = "fault-injection")]
    "x-fault",
];

/// Request headers that go to every provider.
pub const FORWARDED: &[&str] = &[
    "anthropic-version",
    "anthropic-beta",
    "openai-organization",
    "openai-project",
    "openai-beta",
    "chatgpt-account-id",
    "originator",
    "traceparent",
    "tracestate",
];

/// Answer headers that go to the client as they are.
const ANSWER: &[&str] = &[
    "content-type",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];

/// Families of answer headers that go to the client as they are.
const ANSWER_FAMILIES: &[&str] = &["x-ratelimit-", "anthropic-ratelimit-"];

/// Names of such families that the gateway uses for its own limits.
const OWN: &[&str] =
    &["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-scope"];

/// Names under which providers give their own request id.
const REQUEST_ID: &[&str] = &["x-request-id", "request-id"];

/// The headers of a client's request that go to the provider: those that belong to an API only where it is spoken.
pub fn for_upstream<'a>(request: Headers<'a>, dialect: Dialect) -> impl Iterator<Item = (&'a str, &'a str)> {
    let foreign: &[&str] = match dialect {
        Dialect::Chat | Dialect::Responses => &["anthropic-"],
        Dialect::Messages => &["openai-"],
        Dialect::Google => &["anthropic-", "openai-"],
    };
    request.iter().filter(move |(name, _)| {
        FORWARDED.contains(name) && !foreign.iter().any(|family| name.starts_with(family))
    })
}

/// The headers of a provider's answer that go to the client; the provider's request id under a name of its own.
pub fn for_client<'a>(answer: Headers<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    answer.iter().filter_map(|(name, value)| {
        if REQUEST_ID.contains(&name) {
            return Some(("x-upstream-request-id", value));
        }
        let of_family = ANSWER_FAMILIES.iter().any(|family| name.starts_with(family));
        (ANSWER.contains(&name) || of_family && !OWN.contains(&name)).then_some((name, value))
    })
}

/// The request id to answer with: the client's, if it is a sane one, else a new one.
pub fn request_id(request: Headers<'_>, otherwise: impl FnOnce() -> String) -> String {
    request
        .get("x-request-id")
        .filter(|id| {
            (1..=128).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
        })
        .map_or_else(otherwise, str::to_owned)
}

/// True when a body is declared as JSON; an absent type counts, as simple clients leave it out.
pub fn is_json(request: Headers<'_>) -> bool {
    request.get("content-type").is_none_or(|value| {
        let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
    })
}

/// The type of a stream of events.
pub const EVENT_STREAM: &str = "text/event-stream";

/// True when an answer is a stream of events.
pub fn is_event_stream(answer: Headers<'_>) -> bool {
    answer
        .get("content-type")
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with(EVENT_STREAM))
}

/// How long the body that comes with these headers is, in bytes; `None` where nobody knows, or where it is compressed and the
/// length says nothing of what comes out.
pub fn body_length(headers: Headers<'_>) -> Option<u64> {
    headers.get("content-length").filter(|_| headers.get("content-encoding").is_none())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_cookies_and_addresses_do_not_cross() {
        let request = Headers::from_lines(
            "authorization: Bearer msk_a\nx-api-key: k\nx-memory-gateway-authorization: Bearer msk_a\ncookie: a=b\n\
             cf-connecting-ip: 1.2.3.4\nx-forwarded-for: 1.2.3.4\nx-stainless-lang: js\nx-thread-id: t\n\
             openai-beta: x=1: 2\ntraceparent: 00-1\nuser-agent: curl",
        );
        assert_eq!(
            for_upstream(request, Dialect::Chat).collect::<Vec<_>>(),
            [("openai-beta", "x=1: 2"), ("traceparent", "00-1")]
        );
        let both = Headers::from_lines("openai-beta: x\nanthropic-beta: y\ntraceparent: 00-1");
        for (dialect, own) in [
            (Dialect::Chat, Some(("openai-beta", "x"))),
            (Dialect::Responses, Some(("openai-beta", "x"))),
            (Dialect::Messages, Some(("anthropic-beta", "y"))),
            (Dialect::Google, None),
        ] {
            let expected: Vec<_> = own.into_iter().chain([("traceparent", "00-1")]).collect();
            assert_eq!(for_upstream(both, dialect).collect::<Vec<_>>(), expected, "{dialect:?}");
        }
        let answer = Headers::from_lines(
            "content-type: text/event-stream; charset=utf-8\nset-cookie: a=b\nx-request-id: req_1\n\
             x-ratelimit-remaining-tokens: 5\nx-ratelimit-remaining: 3\nopenai-organization: org-1\nserver: x\ncontent-encoding: br\nretry-after: 1",
        );
        assert_eq!(
            for_client(answer).collect::<Vec<_>>(),
            [
                ("content-type", "text/event-stream; charset=utf-8"),
                ("x-upstream-request-id", "req_1"),
                ("x-ratelimit-remaining-tokens", "5"),
                ("retry-after", "1"),
            ]
        );
        assert!(is_event_stream(answer));
    }

    #[test]
    fn a_sane_request_id_is_echoed_and_no_other() {
        let id = |value: &str| {
            request_id(Headers::from_lines(&format!("x-request-id: {value}")), || "made".into())
        };
        assert_eq!(id("abc-1_2.3:4/5"), "abc-1_2.3:4/5");
        for bad in ["a b", "é", "<script>", &"x".repeat(129)] {
            assert_eq!(id(bad), "made");
        }
        assert_eq!(request_id(Headers::from_lines(""), || "made".into()), "made");
    }

    #[test]
    fn json_is_told_from_other_bodies() {
        let json = |value: &str| is_json(Headers::from_lines(&format!("content-type: {value}")));
        assert!(
            json("application/json") && json("Application/JSON; charset=utf-8") && json("application/x+json")
        );
        assert!(!json("text/plain") && !json("multipart/form-data; boundary=x"));
        assert!(is_json(Headers::from_lines("")));
    }
}
