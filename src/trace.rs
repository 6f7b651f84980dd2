//! Traces: the one that a request belongs to, and spans for whoever collects them.
//!
//! Invariant: a span tells what was used and how it went, and nothing of what was said. The form is OTLP's JSON
//! (<https://opentelemetry.io/docs/specs/otlp/>), the attributes are those of the semantic conventions for generative AI
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>).

use serde_json::{Value, json};

use crate::ledger::row::{Outcome, Row};
use crate::outbox::Entry;
use crate::redact;

/// The caller's place in a trace: <https://www.w3.org/TR/trace-context/#traceparent-header>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace's id, 32 hexadecimal digits.
    pub trace_id: String,
    /// The id of the caller's span, 16 hexadecimal digits.
    pub span_id: String,
    /// The caller keeps this trace.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the header; `None` for what is none, and for ids of zeros, which the standard forbids.
    pub fn read(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace_id, span_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let some = |text: &str| text.bytes().any(|byte| byte != b'0');
        // A later version may have more parts; the first has exactly four.
        let whole = if version == "00" { parts.next().is_none() } else { version != "ff" };
        (hex(version, 2) && whole && hex(trace_id, 32) && hex(span_id, 16) && hex(flags, 2))
            .then_some(())
            .filter(|()| some(trace_id) && some(span_id))?;
        let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        Some(TraceParent { trace_id: trace_id.to_owned(), span_id: span_id.to_owned(), sampled })
    }
}

/// One span, in OTLP's form.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    id: String,
    json: Value,
}

impl Entry for Span {
    fn id(&self) -> &str {
        &self.id
    }

    fn replaces(&self, _: &Self) -> bool {
        true
    }

    fn is_expendable(&self) -> bool {
        false
    }
}

impl Span {
    /// The span of a settled row. `trace_id` and `span_id` are fresh ids, for a request that belongs to no trace and for
    /// the span itself.
    pub fn of(row: &Row, parent: Option<&TraceParent>, trace_id: String, span_id: String) -> Self {
        let operation = match (row.operation, row.endpoint) {
            (Some(_), _) => "chat",
            (None, "/v1/embeddings") => "embeddings",
            (None, "/v1/messages/count_tokens") => "count_tokens",
            (None, _) => "chat",
        };
        let ended = row.started_at.saturating_add(row.latency_ms.unwrap_or(0));
        let mut attributes = vec![
            attribute("gen_ai.operation.name", json!({ "stringValue": operation })),
            attribute("gen_ai.provider.name", json!({ "stringValue": provider_name(&row.provider) })),
            attribute("gen_ai.request.model", json!({ "stringValue": redact::text(&row.model) })),
            attribute("gen_ai.usage.input_tokens", integer(row.usage.input)),
            attribute("gen_ai.usage.output_tokens", integer(row.usage.output)),
            attribute("gen_ai.usage.cache_read.input_tokens", integer(row.usage.cached)),
            attribute("gen_ai.usage.cache_creation.input_tokens", integer(row.usage.cache_write)),
            attribute("memory_gateway.request_id", json!({ "stringValue": redact::text(&row.request_id) })),
            attribute("memory_gateway.project_id", json!({ "stringValue": row.project })),
            attribute("memory_gateway.api_key_id", json!({ "stringValue": row.key_id })),
            attribute("memory_gateway.outcome", json!({ "stringValue": row.outcome.as_str() })),
            attribute("memory_gateway.usage_estimated", json!({ "boolValue": row.estimated })),
            attribute("memory_gateway.memory_tokens", integer(row.memory_tokens)),
        ];
        if let Some(status) = row.status {
            attributes.push(attribute("http.response.status_code", integer(u64::from(status))));
        }
        if let Some(cost) = row.cost {
            attributes.push(attribute("memory_gateway.cost_nano_usd", integer(cost)));
        }
        if let Some(ttft) = row.ttft_ms {
            attributes.push(attribute("memory_gateway.time_to_first_byte_ms", integer(ttft)));
        }
        let failed = row.outcome != Outcome::Complete;
        if failed {
            attributes.push(attribute("error.type", json!({ "stringValue": row.outcome.as_str() })));
        }
        let mut json = json!({
            "traceId": parent.map_or(trace_id.as_str(), |parent| parent.trace_id.as_str()),
            "spanId": span_id,
            "name": format!("{operation} {}", redact::text(&row.model)),
            // SPAN_KIND_CLIENT: the call of the model.
            "kind": 3,
            "startTimeUnixNano": nanoseconds(row.started_at),
            "endTimeUnixNano": nanoseconds(ended),
            "attributes": attributes,
            // STATUS_CODE_ERROR, or unset.
            "status": if failed { json!({ "code": 2 }) } else { json!({}) },
        });
        if let (Some(parent), Value::Object(fields)) = (parent, &mut json) {
            fields.insert("parentSpanId".to_owned(), parent.span_id.clone().into());
        }
        Span { id: span_id, json }
    }
}

/// The body that exports spans.
pub fn export(spans: &[Span], service: &str) -> String {
    let spans: Vec<&Value> = spans.iter().map(|span| &span.json).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": [attribute("service.name", json!({ "stringValue": service }))] },
            "scopeSpans": [{
                "scope": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }],
    })
    .to_string()
}

fn attribute(name: &str, value: Value) -> Value {
    json!({ "key": name, "value": value })
}

/// OTLP's JSON writes 64-bit numbers as text.
fn integer(number: u64) -> Value {
    json!({ "intValue": number.to_string() })
}

fn nanoseconds(ms: u64) -> String {
    (u128::from(ms) * 1_000_000).to_string()
}

/// The provider's name among the well-known values of `gen_ai.provider.name`, where it has one.
fn provider_name(provider: &str) -> &str {
    match provider {
        "google" => "gcp.gemini",
        "xai" => "x_ai",
        "mistral" => "mistral_ai",
        "azure" => "azure.ai.openai",
        "codex" => "openai",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_a_header_of_the_standard_is_a_place_in_a_trace() {
        let read = TraceParent::read(HEADER).unwrap();
        assert_eq!(
            read,
            TraceParent {
                trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
                span_id: "00f067aa0ba902b7".into(),
                sampled: true
            }
        );
        assert!(!TraceParent::read(&HEADER.replace("-01", "-00")).unwrap().sampled);
        assert!(TraceParent::read(&format!("{}-later", HEADER.replace("00-4", "01-4"))).is_some());
        for bad in [
            "",
            "00",
            &HEADER.to_uppercase(),
            &format!("{HEADER}-more"),
            &HEADER.replace("00-4", "ff-4"),
            &HEADER.replace("00f067aa0ba902b7", "0000000000000000"),
            &HEADER.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
        ] {
            assert_eq!(TraceParent::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_span_tells_what_was_used_and_how_it_went() {
        let row = crate::ledger::account::Account::open(crate::ledger::account::Opening {
            id: "a".into(),
            request_id: "req_1".into(),
            project: "p".into(),
            key_id: "key_1".into(),
            started_at: 1_795_564_800_000,
            operation: crate::operation::Operation::Embeddings,
            trace_id: None,
        })
        .refused(
            &crate::error::Error::bad_request("private"),
            1_795_564_800_020,
            &Default::default(),
        );
        let span = Span::of(&row, None, "f".repeat(32), "e".repeat(16));
        let body: Value = serde_json::from_str(&export(&[span], "mine")).unwrap();
        let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let number = |key: &str, value: &str| json!({ "key": key, "value": { "intValue": value } });
        assert_eq!(
            body,
            json!({"resourceSpans": [{
                "resource": {"attributes": [text("service.name", "mine")]},
                "scopeSpans": [{
                    "scope": {"name": "memory-gateway", "version": env!("CARGO_PKG_VERSION")},
                    "spans": [{
                        "traceId": "f".repeat(32),
                        "spanId": "e".repeat(16),
                        "name": "embeddings ",
                        "kind": 3,
                        "startTimeUnixNano": "1795564800000000000",
                        "endTimeUnixNano": "1795564800020000000",
                        "attributes": [
                            text("gen_ai.operation.name", "embeddings"),
                            text("gen_ai.provider.name", ""),
                            text("gen_ai.request.model", ""),
                            number("gen_ai.usage.input_tokens", "0"),
                            number("gen_ai.usage.output_tokens", "0"),
                            number("gen_ai.usage.cache_read.input_tokens", "0"),
                            number("gen_ai.usage.cache_creation.input_tokens", "0"),
                            text("memory_gateway.request_id", "req_1"),
                            text("memory_gateway.project_id", "p"),
                            text("memory_gateway.api_key_id", "key_1"),
                            text("memory_gateway.outcome", "refused"),
                            json!({"key": "memory_gateway.usage_estimated", "value": {"boolValue": false}}),
                            number("memory_gateway.memory_tokens", "0"),
                            number("http.response.status_code", "400"),
                            number("memory_gateway.cost_nano_usd", "0"),
                            text("error.type", "refused"),
                        ],
                        "status": {"code": 2},
                    }],
                }],
            }]})
        );
    }
}
