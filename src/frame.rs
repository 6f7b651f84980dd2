//! What stands around an answer that is written for a client: ids, the model's name, the time.
//!
//! Invariant: all that an answer's writers need and may not find out for themselves is here, so that they stay pure and
//! an id is the same from an answer's first byte to its last.

use serde_json::{Map, Value};

use crate::turn::Origin;

/// The frame of one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The answer's own part of all ids, lower-case hexadecimal; each dialect puts its prefix before it.
    pub id: String,
    /// The model as the client named it.
    pub model: String,
    /// When the answer began, in Unix milliseconds.
    pub created_at: u64,
    /// Our estimate of the prompt's tokens, for formats that tell them before the provider does.
    pub input_estimate: u64,
    /// The client asked for token counts at the end of the stream. Only Chat Completions leaves the choice.
    pub stream_usage: bool,
    /// Fields of the request that the answer repeats. Only Responses does.
    pub echo: Map<String, Value>,
    /// The client's custom tools that functions stand in for; see [`crate::free_text`].
    pub custom_tools: Vec<String>,
    /// Who answered.
    pub origin: Origin,
}

impl Frame {
    /// The time in Unix seconds.
    pub fn created_at_seconds(&self) -> u64 {
        self.created_at / 1_000
    }
    /// The frame that a round of the answer, counted from 0, is read in: calls that come without an id get another one in
    /// each.
    pub fn for_round(&self, round: u32) -> Self {
        let id = if round == 0 { self.id.clone() } else { format!("{}r{round}x", self.id) };
        Frame { id, ..self.clone() }
    }
}
