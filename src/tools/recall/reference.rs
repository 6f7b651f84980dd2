//! How a message or a note is called where a model or an agent has to name it again.
//!
//! Invariant: what is written is read back as the same; a reference is one word, whatever a thread's id holds.

use std::fmt;

use crate::api::percent_decoded;

/// What a result is called: `msg_…`, `note_7`, and with a thread that is not the asker's own `note_7@thread`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The thread, where it has to be said.
    pub thread: Option<String>,
    /// What is meant in it.
    pub target: Target,
}

/// What a reference means in its thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A message by its public id.
    Message(String),
    /// A note by its number.
    Note(i64),
}

impl Reference {
    /// Reads a reference; `None` for what is none.
    pub fn read(text: &str) -> Option<Self> {
        let (target, thread) = match text.split_once('@') {
            Some((target, thread)) => (target, Some(percent_decoded(thread)).filter(|id| !id.is_empty())),
            None => (text, None),
        };
        let target = match target.strip_prefix("note_") {
            Some(number) => Target::Note(number.parse().ok()?),
            None if target.is_empty() || target.contains(char::is_whitespace) => return None,
            None => Target::Message(percent_decoded(target)),
        };
        Some(Reference { thread, target })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Message(id) => write_word(out, id)?,
            Target::Note(number) => write!(out, "note_{number}")?,
        }
        if let Some(thread) = &self.thread {
            out.write_str("@")?;
            write_word(out, thread)?;
        }
        Ok(())
    }
}

/// Writes an id so that it is one word and can be told from what stands beside it.
fn write_word(out: &mut fmt::Formatter<'_>, id: &str) -> fmt::Result {
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte) {
            write!(out, "{}", char::from(byte))?;
        } else {
            write!(out, "%{byte:02X}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (thread, target, text) in [
            (None, Target::Message("msg_1a_0".into()), "msg_1a_0"),
            (None, Target::Note(7), "note_7"),
            (Some("a b@c\n%41 é"), Target::Note(12), "note_12@a%20b%40c%0A%2541%20%C3%A9"),
            (Some("t/1:2"), Target::Message("own id".into()), "own%20id@t/1:2"),
        ] {
            let reference = Reference { thread: thread.map(str::to_owned), target };
            assert_eq!(reference.to_string(), text);
            assert_eq!(Reference::read(text), Some(reference));
        }
        for text in ["", "@t", "note_", "note_x", "two words"] {
            assert_eq!(Reference::read(text), None, "{text}");
        }
    }
}
