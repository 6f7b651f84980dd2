//! A row of the ledger, and how it becomes the table's columns.
//!
//! Invariant: the columns are named once, in the order in which their values are given.

use serde_json::{Value, json};

use super::MemoryCost;
use super::prices::{Prices, dollars};
use crate::outbox::Entry;
use crate::turn::Usage;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody knows yet.
    Pending,
    /// The answer is whole.
    Complete,
    /// The provider failed, or could not be reached, or the gateway itself failed.
    Failed,
    /// The gateway would not ask the provider.
    Refused,
    /// The client left.
    Aborted,
    /// A deadline passed.
    TimedOut,
    /// The provider broke off.
    Truncated,
}

impl Outcome {
    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Pending => "pending",
            Outcome::Complete => "complete",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
            Outcome::Aborted => "aborted",
            Outcome::TimedOut => "timed_out",
            Outcome::Truncated => "truncated",
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Names the row.
    pub id: String,
    /// Whose it is.
    pub project: String,
    /// When it began, in Unix milliseconds.
    pub started_at: u64,
    /// What of memory's work it is; `None` for a client's request.
    pub operation: Option<super::MemoryOperation>,
    /// The id that the answer carries; of memory's calls, the cycle's.
    pub request_id: String,
    /// The public id of the key; empty for memory's calls.
    pub key_id: String,
    /// Whose credential was used upstream.
    pub source: &'static str,
    /// The endpoint's path.
    pub endpoint: &'static str,
    /// The client's dialect.
    pub dialect: &'static str,
    /// The provider; empty where none was found.
    pub provider: String,
    /// The model as the provider calls it, or as the client did where none was found.
    pub model: String,
    /// The client wanted a stream.
    pub streams: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The status that the client got.
    pub status: Option<u16>,
    /// Token counts.
    pub usage: Usage,
    /// The provider did not give all of the counts.
    pub estimated: bool,
    /// The cost in nano-dollars, that of attempts that failed included; `None` where the price is unknown.
    pub cost: Option<u64>,
    /// Until the end, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Until the first byte of a streamed answer, in milliseconds.
    pub ttft_ms: Option<u64>,
    /// How often a provider was asked.
    pub attempts: u32,
    /// The attempts before the last one, as they are shown.
    pub failed_attempts: Vec<Value>,
    /// Tokens that providers counted for them: a part of no other count here, but of what budgets are told.
    pub failed_tokens: u64,
    /// What went wrong, without words of the conversation.
    pub error: Option<String>,
    /// The thread.
    pub thread: Option<String>,
    /// Its owner.
    pub resource: Option<String>,
    /// The messages that the turn stored, by their ids: the request's new ones, then the answer. Empty without memory, and
    /// where the thread's store had not answered when the row was written: a row does not wait long for it.
    pub message_ids: Vec<String>,
    /// Tokens that memory put before the model, estimated.
    pub memory_tokens: u64,
    /// The trace that the request belongs to.
    pub trace_id: Option<String>,
}

/// The table's columns, in the order of [`Row::cells`].
pub const COLUMNS: [&str; 32] = [
    "project_id",
    "started_at",
    "id",
    "kind",
    "request_id",
    "key_id",
    "source",
    "endpoint",
    "dialect",
    "provider",
    "model",
    "operation",
    "is_stream",
    "outcome",
    "status_code",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "estimated",
    "cost_nano_usd",
    "latency_ms",
    "ttft_ms",
    "attempts",
    "error",
    "thread_id",
    "resource_id",
    "message_ids",
    "memory_tokens",
    "trace_id",
    "failed_attempts",
];

/// The columns that name a row.
pub const KEY: [&str; 3] = ["project_id", "started_at", "id"];

impl Row {
    /// The row of a call that memory made.
    pub fn of_memory(cost: MemoryCost, prices: &Prices) -> Self {
        let succeeded =
            cost.error.is_none() && cost.status.is_some_and(|status| (200..300).contains(&status));
        Row {
            cost: prices.cost(&cost.provider, &cost.model, &cost.usage),
            id: cost.id,
            project: cost.project,
            started_at: cost.started_at,
            operation: Some(cost.operation),
            request_id: cost.cycle,
            key_id: String::new(),
            source: "",
            endpoint: "",
            dialect: "",
            provider: cost.provider,
            model: cost.model,
            streams: false,
            outcome: if succeeded { Outcome::Complete } else { Outcome::Failed },
            status: cost.status,
            usage: cost.usage,
            estimated: cost.estimated,
            latency_ms: Some(cost.latency_ms),
            ttft_ms: None,
            attempts: 1,
            failed_attempts: Vec::new(),
            failed_tokens: 0,
            error: cost.error,
            thread: Some(cost.thread),
            resource: Some(cost.resource),
            message_ids: Vec::new(),
            memory_tokens: 0,
            trace_id: None,
        }
    }

    /// The fields of the line that the log gets of a settled request: ids and figures, no thread and no resource, which
    /// may name people.
    pub fn log_line(&self) -> Value {
        json!({
            "request_id": self.request_id,
            "trace_id": self.trace_id,
            "project": self.project,
            "key": self.key_id,
            "endpoint": self.endpoint,
            "provider": self.provider,
            "model": self.model,
            "source": self.source,
            "stream": self.streams,
            "status": self.status,
            "outcome": self.outcome.as_str(),
            "error": self.error,
            "prompt_tokens": self.usage.input,
            "completion_tokens": self.usage.output,
            "cached_tokens": self.usage.cached,
            "memory_tokens": self.memory_tokens,
            "estimated": self.estimated,
            "cost_usd": self.cost.map(dollars),
            "latency_ms": self.latency_ms,
            "ttft_ms": self.ttft_ms,
            "attempts": self.attempts,
        })
    }

    /// The values of [`COLUMNS`].
    pub fn cells(&self) -> [Value; COLUMNS.len()] {
        let failed = (!self.failed_attempts.is_empty()).then(|| json!(self.failed_attempts).to_string());
        let message_ids = (!self.message_ids.is_empty()).then(|| json!(self.message_ids).to_string());
        [
            json!(self.project),
            json!(self.started_at),
            json!(self.id),
            json!(if self.operation.is_some() { "memory" } else { "inference" }),
            json!(self.request_id),
            json!(self.key_id),
            json!(self.source),
            json!(self.endpoint),
            json!(self.dialect),
            json!(self.provider),
            json!(self.model),
            json!(self.operation.map_or("", super::MemoryOperation::as_str)),
            json!(u8::from(self.streams)),
            json!(self.outcome.as_str()),
            json!(self.status),
            json!(self.usage.input),
            json!(self.usage.output),
            json!(self.usage.reasoning),
            json!(self.usage.cached),
            json!(self.usage.cache_write),
            json!(u8::from(self.estimated)),
            json!(self.cost),
            json!(self.latency_ms),
            json!(self.ttft_ms),
            json!(self.attempts),
            json!(self.error),
            json!(self.thread),
            json!(self.resource),
            json!(message_ids),
            json!(self.memory_tokens),
            json!(self.trace_id),
            json!(failed),
        ]
    }
}

impl Entry for Row {
    fn id(&self) -> &str {
        &self.id
    }

    fn replaces(&self, waiting: &Self) -> bool {
        waiting.outcome == Outcome::Pending || self.outcome != Outcome::Pending
    }

    fn is_expendable(&self) -> bool {
        self.outcome == Outcome::Pending
    }
}
