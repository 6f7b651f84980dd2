//! The reflector: what a model is asked when the notes have grown long, how its answer is read, and which of its edits are
//! made.
//!
//! Invariant: an edit is made only if nothing that must be kept is lost by it, judged by the notes as they are when it is
//! made; what the answer does not mention stays, so notes that came meanwhile are safe. An edit that is refused takes no
//! other one with it.
//!
//! The grammar of an answer, which ends with the line `END`:
//!
//! ```text
//! answer = "NOTHING TO CHANGE" / 1*edit
//! edit   = "DROP " id [" BY " id]
//!        / "MERGE " id 1*("," id) " " priority [" @" days] [" =" key] " | " text   ; days and key in either order
//!        / "REWORD " id " " priority " | " text
//! priority = "H" / "M" / "L"
//! days   = YYYY-MM-DD [".." YYYY-MM-DD]
//! ```

mod application;

use std::fmt::Write;

use super::fault::{self, Fault};
use super::note::{Days, Note, Priority};
use super::observer::{Asked, canonical_key};
use super::transcript::lines;
use crate::time::{self, Zone};
use crate::turn::Stop;

pub use application::{NewNote, Objection, Outcome, Rejected, Replacement, apply, apply_beside};

/// Goes up with each change of [`INSTRUCTIONS`] or [`PRESSURE`], so that notes can be told apart by what was asked for.
pub const VERSION: u32 = 1;

/// What the reflector is told. It is the same for every call, so that providers can keep it in their caches.
pub const INSTRUCTIONS: &str = include_str!("reflector/instructions.md");

/// What it is told besides, by how hard it is to press: the notes did not get smaller at the level before.
pub const PRESSURE: [&str; 4] = [
    "# How far to go\n\nTidy up. Take out what is replaced or repeated, and bring together what plainly belongs together.\n",
    "# How far to go\n\nMake the notes about a quarter shorter. Besides what is replaced or repeated, bring the notes on one \
     subject together, and take out notes of priority `L` that nothing else rests on.\n",
    "# How far to go\n\nMake the notes about half as long. Bring all notes on one subject together in one, say the older half in \
     far fewer words than the newer one, and take out notes of priority `L`, and of `M` where they tell of steps whose result \
     is noted.\n",
    "# How far to go\n\nMake the notes a third as long. Only what the assistant cannot do without may stay: notes of priority \
     `H`, how open work stands, and results that may be asked for again. Bring everything on one subject together in one note \
     of few words, and take out all other notes of priority `L` and `M`.\n",
];

/// The whole answer where there is nothing to change.
const NOTHING: &str = "NOTHING TO CHANGE";

/// One change to the notes, as a model asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A note goes, with its details.
    Drop {
        /// Its number.
        id: i64,
        /// The newer note that replaces it.
        by: Option<i64>,
    },
    /// One note takes the place of several.
    Merge {
        /// Their numbers, at least two.
        ids: Vec<i64>,
        /// The priority of the one.
        priority: Priority,
        /// The days that it refers to.
        refers: Option<Days>,
        /// Its key.
        key: Option<String>,
        /// Its text.
        text: String,
    },
    /// A note gets another text.
    Reword {
        /// Its number.
        id: i64,
        /// Its priority from now on.
        priority: Priority,
        /// The text.
        text: String,
    },
}

/// The request to condense notes, given in the order in which they are to be read, at a level of pressure from 1 to 4; other levels are the nearest of these. `zone` gives
/// the user's minutes east of UTC at an instant in Unix milliseconds.
pub fn ask(notes: &[Note], level: u8, zone: Zone<'_>) -> Asked {
    let level = usize::from(level.max(1)).min(PRESSURE.len());
    let pressure = PRESSURE.get(level - 1).copied().unwrap_or_default();
    let mut user = String::from("<notes>\n");
    let is_shown = |parent: i64| notes.iter().any(|note| note.id == parent && note.parent.is_none());
    for note in notes.iter().filter(|note| !note.parent.is_some_and(is_shown)) {
        // Writing to a string cannot fail.
        let _ = write_note(&mut user, note, zone);
        for detail in notes.iter().filter(|detail| detail.parent == Some(note.id)) {
            let _ = write!(user, " [{}] child of {} |", detail.id, note.id);
            write_text(&mut user, &detail.text);
        }
    }
    user.push_str("</notes>");
    Asked { system: format!("{INSTRUCTIONS}\n{pressure}"), user }
}

fn write_note(out: &mut String, note: &Note, zone: Zone<'_>) -> std::fmt::Result {
    let when = time::local(note.said_at, zone).format("%Y-%m-%d %H:%M");
    write!(out, "[{}] {} {} {when}", note.id, note.priority.letter(), note.speaker.as_str())?;
    if let Some(days) = note.refers {
        write!(out, " @{days}")?;
    }
    if let Some(key) = &note.key {
        write!(out, " ={key}")?;
    }
    out.write_str(" |")?;
    write_text(out, &note.text);
    Ok(())
}

/// A note's text on one line, whatever is in it.
fn write_text(out: &mut String, text: &str) {
    for piece in lines(text) {
        out.push(' ');
        out.push_str(piece);
    }
    out.push('\n');
}

/// Reads an answer. `stop` is `None` when the provider never said why the model stopped. No edits at all are what a model
/// means that sees nothing to change.
pub fn read(answer: Option<&str>, stop: Option<&Stop>) -> Result<Vec<Edit>, Fault> {
    let answer = fault::lines(answer, stop)?;
    if let Some(line) = answer.behind.first() {
        return Err(Fault::malformed(line.number, "nothing may stand behind `END`"));
    }
    if let [line] = answer.body.as_slice()
        && line.text.trim_end() == NOTHING
    {
        return Ok(Vec::new());
    }
    let edits =
        answer.body.iter().map(|line| read_edit(line.text).map_err(|why| Fault::malformed(line.number, why)));
    edits.collect()
}

fn read_edit(line: &str) -> Result<Edit, &'static str> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line.trim_end(), ""));
    match verb {
        "DROP" => {
            let (dropped, by) = match rest.trim_end().split_once(" BY ") {
                Some((dropped, by)) => (dropped, Some(number(by)?)),
                None => (rest.trim_end(), None),
            };
            Ok(Edit::Drop { id: number(dropped)?, by })
        }
        "MERGE" => {
            let (head, text) = split_text(rest)?;
            let mut words = head.split(' ');
            let ids: Vec<i64> =
                words.next().unwrap_or_default().split(',').map(number).collect::<Result<_, _>>()?;
            if ids.len() < 2 {
                return Err("behind `MERGE` must stand two numbers at least, such as 3,7,9");
            }
            let priority = priority(words.next())?;
            let (mut refers, mut key) = (None, None);
            for word in words {
                if let Some(days) = word.strip_prefix('@') {
                    let days = Days::read(days)
                        .ok_or("behind `@` must stand YYYY-MM-DD or YYYY-MM-DD..YYYY-MM-DD")?;
                    if refers.replace(days).is_some() {
                        return Err("there must be one `@` at most");
                    }
                } else if let Some(word) = word.strip_prefix('=') {
                    if key.replace(canonical_key(word)).is_some() {
                        return Err("there must be one `=` at most");
                    }
                } else {
                    return Err(
                        "between the priority and ` | ` may stand only `@` with a date and `=` with a key",
                    );
                }
            }
            Ok(Edit::Merge { ids, priority, refers, key: key.flatten(), text })
        }
        "REWORD" => {
            let (head, text) = split_text(rest)?;
            let (id, letter) = head.split_once(' ').unwrap_or((head, ""));
            Ok(Edit::Reword { id: number(id)?, priority: priority(Some(letter))?, text })
        }
        NOTHING_VERB => Err("`NOTHING TO CHANGE` must stand alone"),
        _ => Err("an edit must begin with DROP, MERGE or REWORD"),
    }
}

/// The first word of [`NOTHING`].
const NOTHING_VERB: &str = "NOTHING";

/// Head and text of an edit. The first separator counts: a head has none in it.
fn split_text(rest: &str) -> Result<(&str, String), &'static str> {
    let (head, text) = rest.split_once(" | ").ok_or("there must be ` | ` before the text")?;
    if text.trim().is_empty() { Err("the text must not be empty") } else { Ok((head, text.to_owned())) }
}

fn priority(letter: Option<&str>) -> Result<Priority, &'static str> {
    letter.and_then(Priority::from_letter).ok_or("the priority must be H, M or L")
}

fn number(digits: &str) -> Result<i64, &'static str> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err("a note must be named by its number, without brackets");
    }
    // Digits only, so what does not fit is too large, and no note's.
    Ok(digits.parse().unwrap_or(i64::MAX))
}
