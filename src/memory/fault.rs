//! What can be wrong with a model's answer when notes are made or edited.
//!
//! Invariant: an answer with a fault changes nothing; it is asked for again, or given up, by whoever asked. A fault's word
//! and text never hold the answer's own words, so they may go to a log.

use std::fmt;

/// Why an answer is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No words in it.
    Empty,
    /// The model or its provider declined.
    Refused,
    /// It is not whole: the token limit, a connection that broke, or no closing line.
    Truncated,
    /// A line is not of the grammar; which one, and why.
    Malformed(String),
    /// It runs in circles or on without end; how.
    Degenerate(&'static str),
}

impl Fault {
    /// One word for logs and for counting.
    pub fn word(&self) -> &'static str {
        match self {
            Fault::Empty => "empty",
            Fault::Refused => "refused",
            Fault::Truncated => "truncated",
            Fault::Malformed(_) => "malformed",
            Fault::Degenerate(_) => "degenerate",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Empty => out.write_str("the answer is empty"),
            Fault::Refused => out.write_str("the model declined"),
            Fault::Truncated => out.write_str("the answer is not whole"),
            Fault::Malformed(why) => write!(out, "the answer is not of the grammar: {why}"),
            Fault::Degenerate(how) => write!(out, "the answer is degenerate: {how}"),
        }
    }
}
