//! The observer: what a model is asked when messages are to become notes, and how its answer is read.
//!
//! Invariant: an answer is notes or the word that there are none, whole; anything else is a [`Fault`] and makes no note. A
//! note's text is the model's, byte for byte. Its sources are messages that the transcript holds.
//!
//! The grammar of an answer, which ends with the line `END`:
//!
//! ```text
//! answer = "NOTHING TO NOTE" / 1*note
//! note   = ("H" / "M" / "L") " " sources [" @" days] [" =" key] " | " text *detail   ; days and key in either order
//! detail = "- " sources " | " text
//! sources = "#" range *("," range)
//! range  = number ["-" number]
//! days   = YYYY-MM-DD [".." YYYY-MM-DD]
//! ```

use std::collections::BTreeSet;
use std::fmt::Write;

use super::fault::{self, Fault, Line};
use super::note::{Child, Days, Draft, Note, Priority};
use super::transcript::lines;
use crate::time;
use crate::turn::Stop;

/// Goes up with each change of [`INSTRUCTIONS`], so that notes can be told apart by what was asked for.
pub const VERSION: u32 = 1;

/// What the observer is told. It is the same for every call, so that providers can keep it in their caches.
pub const INSTRUCTIONS: &str = include_str!("observer/instructions.md");

/// The whole answer where there is nothing to note.
const NOTHING: &str = "NOTHING TO NOTE";
/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 80;

/// The texts of a request to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The system text.
    pub system: String,
    /// The user's text.
    pub user: String,
}

/// What the observer saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// At least one note.
    Notes(Vec<Draft>),
    /// Nothing worth a note.
    Nothing,
}

/// The request for notes on a transcript. `notes` are those that exist already, as far as they are to be shown; `zone` gives
/// the user's minutes east of UTC at an instant in Unix milliseconds.
pub fn ask(notes: &[Note], transcript: &str, zone: &dyn Fn(u64) -> i32) -> Asked {
    let mut user = String::from("<notes>\n");
    for note in notes {
        // Writing to a string cannot fail.
        let _ = write_note(&mut user, note, zone);
    }
    user.push_str("</notes>\n<transcript>\n");
    user.push_str(transcript);
    if !transcript.is_empty() && !transcript.ends_with('\n') {
        user.push('\n');
    }
    user.push_str("</transcript>");
    Asked { system: INSTRUCTIONS.to_owned(), user }
}

fn write_note(out: &mut String, note: &Note, zone: &dyn Fn(u64) -> i32) -> std::fmt::Result {
    let day = time::local(note.said_at, zone).format("%Y-%m-%d");
    write!(out, "[{}] {day} {}", note.id, note.priority.letter())?;
    if let Some(days) = note.refers {
        write!(out, " @{days}")?;
    }
    if let Some(key) = &note.key {
        write!(out, " ={key}")?;
    }
    // Each note is one line, whatever is in it.
    for piece in lines(&note.text) {
        write!(out, " {piece}")?;
    }
    out.write_char('\n')
}

/// Reads an answer. `messages` is how many the transcript holds; `stop` is `None` when the provider never said why the
/// model stopped. With `lenient`, for the last attempt, lines that are not of the grammar are left out where most are of
/// it. Gives how many were left out, too.
pub fn read(
    answer: Option<&str>,
    stop: Option<&Stop>,
    messages: usize,
    lenient: bool,
) -> Result<(Observed, usize), Fault> {
    let answer = fault::lines(answer, stop)?;
    let mut notes = Notes { messages, drafts: Vec::new(), parentless: false };
    let (nothings, lines): (Vec<Line<'_>>, Vec<Line<'_>>) =
        answer.body.into_iter().partition(|line| line.text.trim_end() == NOTHING);
    let all = lines.len() + nothings.len() + answer.behind.len();
    let mut faults: Vec<(usize, &str)> = Vec::new();
    for line in lines {
        if let Err(why) = notes.push(line.text) {
            faults.push((line.number, why));
        }
    }
    let alone = usize::from(notes.drafts.is_empty());
    let beside = nothings.iter().skip(alone).map(|line| (line.number, "`NOTHING TO NOTE` must stand alone"));
    faults.extend(beside);
    faults.extend(answer.behind.iter().map(|line| (line.number, "nothing may stand behind `END`")));
    let left_out = faults.len();
    match faults.into_iter().min() {
        Some((number, why)) if !lenient || left_out * 2 >= all => Err(Fault::malformed(number, why)),
        _ if notes.drafts.is_empty() => Ok((Observed::Nothing, left_out)),
        _ => Ok((Observed::Notes(notes.drafts), left_out)),
    }
}

/// The notes of an answer, read line by line.
struct Notes {
    messages: usize,
    drafts: Vec<Draft>,
    /// True behind a note that was left out: its details must not go to the note before it.
    parentless: bool,
}

impl Notes {
    fn push(&mut self, line: &str) -> Result<(), &'static str> {
        if let Some(detail) = line.strip_prefix("- ") {
            let child = self.child(detail)?;
            let parent = self.drafts.last_mut().filter(|_| !self.parentless);
            parent.ok_or("a detail must stand below its note")?.children.push(child);
            return Ok(());
        }
        let draft = self.draft(line);
        self.parentless = draft.is_err();
        self.drafts.push(draft?);
        Ok(())
    }

    fn draft(&self, line: &str) -> Result<Draft, &'static str> {
        let (head, text) = split_text(line)?;
        let mut words = head.split(' ');
        let priority =
            words.next().and_then(Priority::from_letter).ok_or("the priority must be H, M or L")?;
        let sources = self.sources(words.next().unwrap_or_default())?;
        let (mut refers, mut key) = (None, None);
        for word in words {
            if let Some(days) = word.strip_prefix('@') {
                let days =
                    Days::read(days).ok_or("behind `@` must stand YYYY-MM-DD or YYYY-MM-DD..YYYY-MM-DD")?;
                if refers.replace(days).is_some() {
                    return Err("there must be one `@` at most");
                }
            } else if let Some(word) = word.strip_prefix('=') {
                // A key without a canonical spelling is left away: the fact is worth more than its key.
                if key.replace(canonical_key(word)).is_some() {
                    return Err("there must be one `=` at most");
                }
            } else {
                return Err("between sources and ` | ` may stand only `@` with a date and `=` with a key");
            }
        }
        let key = key.flatten();
        Ok(Draft { priority, sources, refers, key, text: text.to_owned(), children: Vec::new() })
    }

    fn child(&self, line: &str) -> Result<Child, &'static str> {
        let (head, text) = split_text(line)?;
        Ok(Child { sources: self.sources(head)?, text: text.to_owned() })
    }

    /// The numbers behind `#`, sorted, each once.
    fn sources(&self, word: &str) -> Result<Vec<usize>, &'static str> {
        let ranges = word.strip_prefix('#').ok_or("the sources must be message numbers such as #5-7,9")?;
        let mut sources = BTreeSet::new();
        for range in ranges.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (number(first)?, number(last)?);
            if first == 0 || last > self.messages {
                return Err("the transcript has no message of that number");
            }
            if first > last {
                return Err("a range of messages must run from the lower number to the higher");
            }
            sources.extend(first..=last);
        }
        Ok(sources.into_iter().collect())
    }
}

/// Head and text of a line. The first separator counts: a head has none in it.
fn split_text(line: &str) -> Result<(&str, &str), &'static str> {
    let (head, text) = line.split_once(" | ").ok_or("there must be ` | ` before the text")?;
    if text.trim().is_empty() { Err("the text must not be empty") } else { Ok((head, text)) }
}

fn number(digits: &str) -> Result<usize, &'static str> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err("the sources must be message numbers such as #5-7,9");
    }
    // Digits only, so what does not fit is too large.
    Ok(digits.parse().unwrap_or(usize::MAX))
}

/// The one spelling of a key: dotted words of `a`-`z`, `0`-`9`, `_` and `-`, at most 80 bytes. `None` for what has none:
/// to make one up could let a fact replace another.
pub fn canonical_key(key: &str) -> Option<String> {
    let key = key.to_ascii_lowercase();
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
    };
    (key.len() <= MAX_KEY_BYTES && key.split('.').all(is_word)).then_some(key)
}
