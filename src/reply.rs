//! The headers of the gateway's answers.
//!
//! Invariant: a value that came from outside cannot end a header line.

use std::fmt::Write;

use crate::config::Config;
use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::headers::{Headers, for_client, is_event_stream};

/// What memory did for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryStatus {
    /// Something was put before the model.
    Hit,
    /// The thread had nothing to add.
    Empty,
    /// Nothing was asked of memory, or only to store.
    Off,
    /// The thread did not answer in time; the turn went on without it.
    Degraded,
}

impl MemoryStatus {
    /// The word in `x-memory-status`.
    pub fn as_str(self) -> &'static str {
        match self {
            MemoryStatus::Hit => "hit",
            MemoryStatus::Empty => "empty",
            MemoryStatus::Off => "off",
            MemoryStatus::Degraded => "degraded",
        }
    }
}

/// Header lines of an answer, as they are gathered.
#[derive(Clone, Debug, Default)]
pub struct Lines(String);

impl Lines {
    /// The lines that every answer has. Anthropic's clients look for the id under another name.
    pub fn new(dialect: Option<Dialect>, request_id: &str) -> Self {
        let mut lines = Lines::default();
        lines.add("x-request-id", request_id);
        if dialect == Some(Dialect::Messages) {
            lines.add("request-id", request_id);
        }
        lines
    }

    /// Adds a header. Characters that a header cannot hold are left out.
    pub fn add(&mut self, name: &str, value: &str) {
        let value: String = value.chars().filter(|char| matches!(char, ' '..='~')).collect();
        let _ = writeln!(self.0, "{name}: {value}");
    }

    /// Adds which provider and model answered.
    pub fn add_route(&mut self, provider: &str, model: &str, attempts: u32) {
        self.add("x-gateway-provider", provider);
        self.add("x-gateway-model", model);
        self.add("x-gateway-attempts", &attempts.to_string());
    }

    /// Puts another number of attempts in the place of the one that was added.
    pub fn set_attempts(&mut self, attempts: u32) {
        let others = self.0.lines().filter(|line| !line.starts_with("x-gateway-attempts: "));
        self.0 = others.flat_map(|line| [line, "\n"]).collect();
        self.add("x-gateway-attempts", &attempts.to_string());
    }

    /// Adds what memory did.
    pub fn add_memory(&mut self, status: MemoryStatus, tokens: u64) {
        self.add("x-memory-status", status.as_str());
        self.add("x-memory-tokens", &tokens.to_string());
    }

    /// Adds where the time went, in milliseconds.
    pub fn add_timing(&mut self, auth: u64, memory: u64, first_byte: u64) {
        self.add(
            "server-timing",
            &format!("auth;dur={auth}, memory;dur={memory}, upstream-first-byte;dur={first_byte}"),
        );
    }

    /// Adds those headers of a provider's answer that may pass. The type of a body that is written anew is said by who
    /// writes it.
    pub fn add_upstream(&mut self, answer: Headers<'_>, rewritten: bool) {
        for (name, value) in for_client(answer) {
            if !(rewritten && name == "content-type") {
                self.add(name, value);
            }
        }
        if is_event_stream(answer) && !rewritten {
            self.add_no_store();
        }
    }

    /// Adds the type of a stream of events that we write.
    pub fn add_event_stream(&mut self) {
        self.add("content-type", "text/event-stream; charset=utf-8");
        self.add_no_store();
    }

    /// Anything in between that compresses or caches would hold events back.
    fn add_no_store(&mut self) {
        self.add("cache-control", "no-store, no-transform");
    }

    /// Adds what a browser of an allowed origin needs to see the answer.
    pub fn add_cors(&mut self, config: &Config, request: Headers<'_>) {
        let Some(origin) = allowed_origin(config, request) else { return };
        self.add("access-control-allow-origin", origin);
        self.add("vary", "origin");
        self.add("access-control-expose-headers", "*");
    }

    /// The lines.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The lines of an answer to a browser's preflight; `None` when its origin is not let in.
pub fn preflight(config: &Config, request: Headers<'_>, request_id: &str) -> Option<Lines> {
    allowed_origin(config, request)?;
    let mut lines = Lines::new(None, request_id);
    lines.add_cors(config, request);
    lines.add("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
    if let Some(asked) = request.get("access-control-request-headers") {
        lines.add("access-control-allow-headers", asked);
    }
    lines.add("access-control-max-age", "86400");
    Some(lines)
}

fn allowed_origin<'a>(config: &Config, request: Headers<'a>) -> Option<&'a str> {
    let origin = request.get("origin")?;
    config.cors_origins.iter().any(|allowed| allowed == "*" || allowed == origin).then_some(origin)
}

/// Adds the headers that belong to an error.
pub fn add_error(lines: &mut Lines, error: &Error) {
    lines.add("content-type", "application/json");
    let body = error.body();
    if let Some(allow) = body.pointer("/error/allow").and_then(|allow| allow.as_str()) {
        lines.add("allow", allow);
    }
    if let Some(tried) = body.pointer("/error/tried").and_then(|tried| tried.as_array()) {
        lines.add("x-gateway-attempts", &tried.len().to_string());
    }
    if let Some(seconds) = body.pointer("/error/retry_after_seconds") {
        lines.add("retry-after", &seconds.to_string());
    } else if error.kind() == Kind::Overloaded {
        lines.add("retry-after", "5");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_ends_a_line() {
        let mut lines = Lines::new(None, "req_1");
        lines.add_route("openai", "a\r\nset-cookie: x=1\nü", 1);
        assert_eq!(
            lines.as_str(),
            "x-request-id: req_1\nx-gateway-provider: openai\nx-gateway-model: aset-cookie: x=1\nx-gateway-attempts: 1\n"
        );
    }

    #[test]
    fn attempts_of_later_rounds_take_the_place_of_the_first() {
        let mut lines = Lines::default();
        lines.add_route("openai", "m", 1);
        lines.set_attempts(3);
        assert_eq!(lines.as_str(), "x-gateway-provider: openai\nx-gateway-model: m\nx-gateway-attempts: 3\n");
    }

    #[test]
    fn browsers_get_in_only_from_configured_origins() {
        let read = |list: &'static str| {
            Config::read(move |name| (name == "CORS_ORIGINS").then(|| list.to_owned())).unwrap()
        };
        let from =
            Headers::from_lines("origin: https://app.test\naccess-control-request-headers: authorization");
        assert!(preflight(&read(""), from, "r").is_none());
        assert!(preflight(&read("https://other.test"), from, "r").is_none());
        let lines = preflight(&read("https://other.test, https://app.test"), from, "r").unwrap();
        assert!(lines.as_str().contains("access-control-allow-origin: https://app.test\n"));
        assert!(lines.as_str().contains("access-control-allow-headers: authorization\n"));
        let mut lines = Lines::new(None, "r");
        lines.add_cors(&read("*"), Headers::from_lines("x: y"));
        assert_eq!(lines.as_str(), "x-request-id: r\n");
    }

    #[test]
    fn an_error_brings_its_headers() {
        let mut lines = Lines::new(None, "r");
        add_error(&mut lines, &Error::new(Kind::MethodNotAllowed, "No.").with("allow", "POST"));
        assert_eq!(lines.as_str(), "x-request-id: r\ncontent-type: application/json\nallow: POST\n");
        for (error, seconds) in [
            (Error::rate_limited("No.").with("retry_after_seconds", 17), "17"),
            (Error::new(Kind::Overloaded, "No."), "5"),
        ] {
            let mut lines = Lines::default();
            add_error(&mut lines, &error);
            assert_eq!(lines.as_str(), format!("content-type: application/json\nretry-after: {seconds}\n"));
        }
    }
}
