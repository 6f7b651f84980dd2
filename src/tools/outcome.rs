//! What came of a call of one of the gateway's tools.
//!
//! Invariant: whatever happened there is a text that the model can read.

/// What came of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolOutcome {
    /// What the model is told: results framed as data, or what went wrong and what to do.
    pub text: String,
    /// The sources that the text numbers, in the order of their numbers: the first is `[1]`.
    pub citations: Vec<Citation>,
    /// What the call cost in nano-dollars; `None` where nobody knows.
    pub cost_nano_usd: Option<u64>,
    /// The call failed.
    pub is_error: bool,
}

/// A source that a tool found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation {
    /// Its title; may be empty.
    pub title: String,
    /// Its address, `http` or `https`.
    pub url: String,
    /// The stretch of it that was found.
    pub snippet: String,
    /// When it was published, as ISO 8601 where that could be read.
    pub date: Option<String>,
}

impl ToolOutcome {
    /// A text that cost nothing.
    pub fn free(text: impl Into<String>) -> Self {
        ToolOutcome { text: text.into(), cost_nano_usd: Some(0), ..ToolOutcome::default() }
    }

    /// A failure that cost nothing: what went wrong and what to do, for the model to read.
    pub fn failed(text: impl Into<String>) -> Self {
        ToolOutcome { is_error: true, ..ToolOutcome::free(text) }
    }
}
