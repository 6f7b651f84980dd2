//! Text that a model wrote while running in circles.
//!
//! Invariant: what is found here is repetition itself, never mere likeness: a hundred lines that differ in a number are a
//! list. Where in doubt the text passes, because a sound answer that is refused is refused again each time it is asked for.

use std::collections::HashMap;

/// An answer is no longer than this, in bytes: several times what the longest batch of messages calls for. It also bounds
/// the work of looking for repetition.
const MAX_BYTES: usize = 262_144;
/// A line is no longer than this, in bytes: some two thousand tokens. A note is a sentence or two, and at most a passage of
/// code.
const MAX_LINE_BYTES: usize = 8_192;
/// The longest passage whose repetition is looked for byte by byte; longer ones are found by their lines.
const MAX_PERIOD: usize = 512;
/// So many times in a row a passage has to stand.
const MIN_ROUNDS: usize = 8;
/// So many bytes its repetition has to fill.
const MIN_RUN_BYTES: usize = 512;
/// The same for passages without a letter: rules of tables, rows of zeros and padding are long in sound texts, too.
const MIN_RUN_BYTES_WITHOUT_LETTERS: usize = 2_048;
/// Fewer repeated notes than this are clumsy, not degenerate.
const MIN_REPEATED_NOTES: usize = 10;
/// How lines with notes begin, in answers of the observer and of the reflector. Only these are compared line by line: in
/// code, JSON and tables equal lines are common.
const HEADS: [&str; 6] = ["H #", "M #", "L #", "- #", "MERGE ", "REWORD "];

/// How a text is degenerate; `None` for one that is not.
pub fn check(text: &str) -> Option<&'static str> {
    if text.len() > MAX_BYTES {
        return Some("it goes on without end");
    }
    if text.lines().any(|line| line.len() > MAX_LINE_BYTES) {
        return Some("a line goes on without end");
    }
    if repeats_passage(text.as_bytes()) {
        return Some("a passage is repeated over and over");
    }
    repeats_notes(text).then_some("notes are repeated over and over")
}

/// True when some passage stands many times in a row. Text of period `p` equals itself moved by `p`, so a run of `n` equal
/// pairs is a stretch of `n + p` bytes.
fn repeats_passage(text: &[u8]) -> bool {
    (1..=MAX_PERIOD.min(text.len() / MIN_ROUNDS)).any(|period| {
        let mut equal = 0;
        let mut has_letters = false;
        text.iter().zip(text.iter().skip(period)).any(|(byte, later)| {
            if byte != later {
                (equal, has_letters) = (0, false);
                return false;
            }
            equal += 1;
            has_letters |= byte.is_ascii_alphabetic() || !byte.is_ascii();
            let least = if has_letters { MIN_RUN_BYTES } else { MIN_RUN_BYTES_WITHOUT_LETTERS };
            equal + period >= least.max(MIN_ROUNDS * period)
        })
    })
}

/// True when one note stands many times, or when half of many notes stood there before; whichever messages they name.
fn repeats_notes(text: &str) -> bool {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for note in text.lines().filter_map(note_text) {
        *seen.entry(note).or_default() += 1;
    }
    let notes: usize = seen.values().sum();
    let repeated = notes - seen.len();
    let most = seen.values().copied().max().unwrap_or(0);
    most >= MIN_REPEATED_NOTES || (repeated >= MIN_REPEATED_NOTES && repeated * 2 >= notes)
}

fn note_text(line: &str) -> Option<&str> {
    let line = line.trim();
    HEADS.iter().any(|head| line.starts_with(head)).then(|| line.split_once(" | "))?.map(|(_, text)| text)
}
