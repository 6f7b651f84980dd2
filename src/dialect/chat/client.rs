//! Answers for clients, written whole and streamed.

use serde_json::Value;

use crate::error::Error;
use crate::frame::Frame;
use crate::gather::Step;
use crate::turn::Answer;

/// Writes a whole answer.
pub fn write_answer(_answer: &Answer, _frame: &Frame) -> Value {
    Value::Null
}

/// Writes a streamed answer.
#[derive(Debug)]
pub struct StreamWriter {
    frame: Frame,
}

impl StreamWriter {
    /// A writer of one answer.
    pub fn new(frame: Frame) -> Self {
        StreamWriter { frame }
    }

    /// What goes out before the provider's first word.
    pub fn begin(&mut self) -> String {
        String::new()
    }

    /// Appends what a step looks like on the wire.
    pub fn write(&mut self, _step: &Step, out: &mut String) {
        out.push_str(&self.frame.id);
    }

    /// What tells the client that the answer broke off.
    pub fn fail(&mut self, error: &Error) -> String {
        super::write_failure(error)
    }
}
