//! Notes: what an observer writes down of a conversation.
//!
//! Invariant: a note names the messages that it rests on; when it was said follows from them and is never a model's word.

use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::turn::Role;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Who the user is, what they asked to be kept, decisions, promises.
    High,
    /// What may matter again.
    Medium,
    /// Background.
    Low,
}

impl Priority {
    /// All of them, most important first.
    pub const ALL: [Priority; 3] = [Priority::High, Priority::Medium, Priority::Low];

    /// The letter in prompts and in storage.
    pub fn letter(self) -> &'static str {
        match self {
            Priority::High => "H",
            Priority::Medium => "M",
            Priority::Low => "L",
        }
    }

    /// The priority behind a letter.
    pub fn from_letter(letter: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.letter() == letter)
    }
}

/// Whose words a note rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The user, among others or alone.
    User,
    /// The model alone.
    Assistant,
    /// A tool, and not the user.
    Tool,
}

impl Speaker {
    /// The word in prompts and in storage.
    pub fn as_str(self) -> &'static str {
        match self {
            Speaker::User => "user",
            Speaker::Assistant => "assistant",
            Speaker::Tool => "tool",
        }
    }

    /// The speaker behind a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Speaker::User, Speaker::Assistant, Speaker::Tool].into_iter().find(|known| known.as_str() == word)
    }

    /// Whose words a note from messages of these roles rests on.
    pub fn of(roles: impl IntoIterator<Item = Role>) -> Self {
        let mut speaker = Speaker::Assistant;
        for role in roles {
            match role {
                Role::User => return Speaker::User,
                Role::Tool => speaker = Speaker::Tool,
                Role::Assistant => {}
            }
        }
        speaker
    }

    /// Whose words a note that brings several together rests on.
    pub fn joined(speakers: impl IntoIterator<Item = Speaker>) -> Self {
        Speaker::of(speakers.into_iter().map(|speaker| match speaker {
            Speaker::User => Role::User,
            Speaker::Assistant => Role::Assistant,
            Speaker::Tool => Role::Tool,
        }))
    }
}

/// The day, or the days from first to last, that a note refers to; in text `2026-12-03` or `2026-12-03..2026-12-10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Days {
    /// The first.
    pub from: NaiveDate,
    /// The last; the same for a single day.
    pub to: NaiveDate,
}

impl Days {
    /// Reads the text form; `None` for what is no date and for a range that runs backwards.
    pub fn read(text: &str) -> Option<Self> {
        let day = |text: &str| {
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            (text.len() == 10).then_some(day)
        };
        let (from, to) = match text.split_once("..") {
            Some((from, to)) => (day(from)?, day(to)?),
            None => (day(text)?, day(text)?),
        };
        (from <= to).then_some(Days { from, to })
    }
}

impl fmt::Display for Days {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.from.format("%Y-%m-%d"))?;
        if self.to != self.from {
            write!(out, "..{}", self.to.format("%Y-%m-%d"))?;
        }
        Ok(())
    }
}

/// A note as a model wrote it, with the message numbers of its transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// How much it matters.
    pub priority: Priority,
    /// The messages that it rests on, by their numbers in the transcript; at least one.
    pub sources: Vec<usize>,
    /// The days it refers to, where they can be computed.
    pub refers: Option<Days>,
    /// For stable facts about the user: dotted words that are the same whenever the same is meant (`user.name`).
    pub key: Option<String>,
    /// What is noted, on one line, verbatim.
    pub text: String,
    /// Details, one level deep.
    pub children: Vec<Child>,
}

/// A detail of a [`Draft`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The messages that it rests on; at least one.
    pub sources: Vec<usize>,
    /// What is noted.
    pub text: String,
}

/// A note as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its number in the thread, never used again.
    pub id: i64,
    /// The segment that it was made by.
    pub segment: i64,
    /// The note that it is a detail of.
    pub parent: Option<i64>,
    /// How much it matters.
    pub priority: Priority,
    /// Whose words it rests on.
    pub speaker: Speaker,
    /// When that was said, in Unix milliseconds.
    pub said_at: u64,
    /// The days it refers to.
    pub refers: Option<Days>,
    /// For stable facts about the user: what the fact is about.
    pub key: Option<String>,
    /// What is noted, on one line.
    pub text: String,
    /// The messages that it rests on, by their place in the conversation, in order.
    pub sources: Vec<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_they_are_written_and_nothing_else_is() {
        for text in ["2026-12-03", "2026-12-31..2027-01-02", "2028-02-29"] {
            assert_eq!(Days::read(text).map(|days| days.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Days::read("2026-12-03..2026-12-03").unwrap().to_string(), "2026-12-03");
        for text in ["", "2026-2-3", "2027-02-29", "2026-12-03..", "2026-12-03..2026-12-01", "3 December"] {
            assert_eq!(Days::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_note_is_the_users_as_soon_as_one_source_is() {
        assert_eq!(Speaker::of([Role::Assistant, Role::Tool, Role::User]), Speaker::User);
        assert_eq!(Speaker::of([Role::Assistant, Role::Tool]), Speaker::Tool);
        assert_eq!(Speaker::of([]), Speaker::Assistant);
        assert_eq!(Speaker::joined([Speaker::Tool, Speaker::Assistant]), Speaker::Tool);
    }
}
