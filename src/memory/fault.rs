//! What can be wrong with a model's answer when notes are made or edited, and what both kinds of answers have in common.
//!
//! Invariant: an answer is whole only if its closing line is there and the provider says nothing to the contrary; one with
//! a fault changes nothing. A fault's word and text never hold the answer's own words, so they may go to a log.

use std::fmt;

use super::degenerate;
use crate::turn::{Answer, Ending, PartKind, Stop};

/// The line that closes an answer.
pub const CLOSING_LINE: &str = "END";

/// Why an answer is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No words in it, or none before its closing line.
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
    /// A line that is not of the grammar: its number in the answer, counted from 1, and what is wrong with it.
    pub fn malformed(line: usize, why: &str) -> Self {
        Fault::Malformed(format!("line {line}: {why}"))
    }

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

/// A line of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number in the answer, counted from 1.
    pub number: usize,
    /// What it says, without white space before it; verbatim otherwise.
    pub text: &'a str,
}

/// The lines of an answer, without blank ones and code fences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines<'a> {
    /// Those before the closing line.
    pub body: Vec<Line<'a>>,
    /// Those behind it, where there should be none.
    pub behind: Vec<Line<'a>>,
}

/// The lines of a whole and sound answer. `stop` is `None` when the provider never said why the model stopped.
pub fn lines<'a>(answer: Option<&'a str>, stop: Option<&Stop>) -> Result<Lines<'a>, Fault> {
    if stop == Some(&Stop::ContentFilter) {
        return Err(Fault::Refused);
    }
    let cut = matches!(stop, None | Some(Stop::Length));
    let answer = answer.unwrap_or_default();
    if answer.trim().is_empty() {
        return Err(if cut { Fault::Truncated } else { Fault::Empty });
    }
    // A model that runs in circles runs into the token limit; the circle is the better name for that.
    if let Some(how) = degenerate::check(answer) {
        return Err(Fault::Degenerate(how));
    }
    if cut {
        return Err(Fault::Truncated);
    }
    let mut body: Vec<Line<'a>> = (1..)
        .zip(answer.lines())
        .map(|(number, text)| Line { number, text: text.trim_start() })
        .filter(|line| !line.text.is_empty() && !is_fence(line.text))
        .collect();
    // The last one counts: what stands between two is an answer that went on, not one that was over.
    let end = body.iter().rposition(|line| line.text.trim_end() == CLOSING_LINE).ok_or(Fault::Truncated)?;
    let behind = body.split_off(end + 1);
    body.pop();
    if body.is_empty() && behind.is_empty() { Err(Fault::Empty) } else { Ok(Lines { body, behind }) }
}

/// True for a line that only opens or closes a code block.
fn is_fence(line: &str) -> bool {
    line.strip_prefix("```").is_some_and(|info| info.trim_end().chars().all(char::is_alphanumeric))
}

/// The words of an answer and why the model stopped, as [`lines`] takes them. A refusal that came as a part of its own is
/// a content filter's; an answer that did not come to its end has no reason to stop.
pub fn words(answer: &Answer) -> (Option<String>, Option<Stop>) {
    let declined = answer
        .message
        .as_ref()
        .is_some_and(|message| message.parts.iter().any(|part| matches!(part.kind, PartKind::Refusal(_))));
    let stop = match answer.ending {
        _ if declined => Some(Stop::ContentFilter),
        Ending::Complete => answer.stop.clone(),
        Ending::Failed | Ending::Truncated | Ending::Unread => None,
    };
    (answer.message.as_ref().map(|message| message.text()), stop)
}
