//! What every request used and cost: a row for each, and one for each call of a model that memory makes for itself.
//!
//! Invariant: whatever a known key asked of a model has exactly one row in the end, however it ended; a count that the
//! provider did not give is marked as an estimate; a cost that nobody knows is null, never zero.
//!
//! Rows go from the Worker straight to D1, where they are listed and summed, off the path of the request: a row is opened
//! beside the call of the provider and settled when the answer has ended. What is waiting in an isolate while one write is
//! on its way goes with the next one, a single statement however many rows it holds, so the database sees batches that
//! grow with the load and not a query for each request; an object in between would add a hop and its own limit of
//! some hundred writes a second, and the rows would still have to get to D1 to be listed. The waiting rows are bounded
//! ([`outbox`](crate::outbox)). A Worker that dies leaves an open row, which a sweep closes as the estimate that it is.

pub mod account;
pub mod estimate;
pub mod failed_attempt;
pub mod prices;
pub mod query;
pub mod row;
pub mod write;

use crate::turn::Usage;

/// One call of a model that memory made for itself.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryCost {
    /// Names the call: reporting it twice under one id is reporting it once.
    pub id: String,
    /// The project that pays.
    pub project: String,
    /// The thread that was worked on.
    pub thread: String,
    /// Its resource.
    pub resource: String,
    /// The run of the memory's work that the call belongs to.
    pub cycle: String,
    /// What it was for.
    pub operation: MemoryOperation,
    /// The provider that was asked.
    pub provider: String,
    /// The model, as the provider calls it.
    pub model: String,
    /// Token counts; where the provider gave none, the caller's estimate.
    pub usage: Usage,
    /// True where the provider did not give the counts.
    pub estimated: bool,
    /// The provider's status; `None` where it gave none.
    pub status: Option<u16>,
    /// Why the call failed, if it did. No words of the conversation.
    pub error: Option<String>,
    /// When it began, in Unix milliseconds.
    pub started_at: u64,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
}

/// What memory called a model for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryOperation {
    /// To note what was said.
    Observe,
    /// To condense the notes.
    Reflect,
}

impl MemoryOperation {
    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            MemoryOperation::Observe => "observe",
            MemoryOperation::Reflect => "reflect",
        }
    }
}
