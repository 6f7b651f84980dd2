//! How much a model may do with the gateway's tools for one answer.
//!
//! Invariant: every limit is at least 1, so that rounds have an end and a tool that is offered can be called.

/// The limits of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `TOOLS_ROUNDS`: the most rounds in which tools are called.
    pub rounds: u32,
    /// `TOOLS_CALLS`: the most calls of one round that are carried out.
    pub calls: usize,
    /// `TOOLS_TIME_MS`: after this long, in milliseconds, no tool is called any more.
    pub time_ms: u64,
    /// `TOOLS_CALL_MS`: the longest that one call may take, in milliseconds.
    pub call_ms: u64,
    /// `TOOLS_COST_USD`: once the model's tokens and the tools cost this much, in nano-dollars, no tool is called any more.
    pub cost: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { rounds: 5, calls: 8, time_ms: 60_000, call_ms: 15_000, cost: 250_000_000 }
    }
}
