//! A log of observations that another gateway wrote, as notes: `observed` lines.
//!
//! Such a log is text for a model: headings with dates, a bullet for each observation with a mark of how much it matters and
//! often a time of day, and details indented below.
//!
//! Invariant: every line that says something becomes a note; what a line says is kept as it stands, but for its bullet, mark
//! and time.

use chrono::{Datelike, NaiveDate};

use crate::memory::note::Priority;

/// One observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// How much it matters.
    pub priority: Priority,
    /// When it was noted, in Unix milliseconds as if the user lived in UTC; `None` where the log does not say.
    pub at: Option<u64>,
    /// It is a detail of the last one before that is none.
    pub is_detail: bool,
    /// What was noted.
    pub text: String,
}

/// Marks of how much an observation matters.
const MARKS: [(&str, Priority); 6] = [
    ("🔴", Priority::High),
    ("🟡", Priority::Medium),
    ("🟢", Priority::Low),
    ("[H]", Priority::High),
    ("[M]", Priority::Medium),
    ("[L]", Priority::Low),
];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Reads a log.
pub fn read(log: &str) -> Vec<Observation> {
    let mut day: Option<NaiveDate> = None;
    let mut observations: Vec<Observation> = Vec::new();
    for line in log.lines() {
        let text = line.trim();
        if text.is_empty() || (text.starts_with('<') && text.ends_with('>')) {
            continue;
        }
        if let Some(date) = heading(text) {
            day = Some(date);
            continue;
        }
        let is_detail = line.starts_with([' ', '\t']) && !observations.is_empty();
        let text = text.trim_start_matches(['-', '*', '•']).trim_start();
        let text = text.strip_prefix("->").unwrap_or(text).trim_start();
        let marked = MARKS
            .iter()
            .find_map(|(mark, priority)| Some((*priority, text.strip_prefix(mark)?.trim_start())));
        let (priority, text) = marked.unwrap_or((Priority::Medium, text));
        let (minutes, text) = time(text);
        if text.is_empty() {
            continue;
        }
        let at = day.and_then(|day| day.and_hms_opt(0, 0, 0)).map(|day| day.and_utc().timestamp_millis());
        let at = at.and_then(|at| u64::try_from(at).ok()).map(|at| at + 60_000 * minutes.unwrap_or(0));
        observations.push(Observation { priority, at, is_detail, text: text.to_owned() });
    }
    observations
}

/// The date of a heading: `## Wednesday 2026-11-25`, `Date: Nov 25, 2026`.
fn heading(text: &str) -> Option<NaiveDate> {
    let rest = text.trim_start_matches(['#', '*']).trim();
    let rest = match rest.split_once(':') {
        Some((name, date)) if name.eq_ignore_ascii_case("date") => date,
        _ if text.starts_with('#') => rest,
        _ => return None,
    };
    let words: Vec<&str> = rest
        .split(|char: char| !(char.is_alphanumeric() || char == '-'))
        .filter(|word| !word.is_empty())
        .collect();
    let iso = words.iter().find_map(|word| NaiveDate::parse_from_str(word, "%Y-%m-%d").ok());
    let number =
        |word: &&str| word.trim_end_matches(|char: char| char.is_ascii_alphabetic()).parse::<i32>().ok();
    let numbers: Vec<i32> = words.iter().filter_map(number).collect();
    let month = words.iter().find_map(|word| {
        let word = word.to_lowercase();
        (1..).zip(MONTHS).find(|(_, name)| word.starts_with(name)).map(|(month, _)| month)
    });
    iso.or_else(|| {
        let year = numbers.iter().find(|number| **number > 31)?;
        let day = numbers.iter().find(|number| (1..=31).contains(*number))?;
        NaiveDate::from_ymd_opt(*year, month?, u32::try_from(*day).ok()?)
    })
    .filter(|date| date.year() >= 1970)
}

/// The time of day that a text begins with, `(14:30)` or `14:30`, in minutes; and the rest.
fn time(text: &str) -> (Option<u64>, &str) {
    let (inside, rest) = match text.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some(parts) => parts,
        None => text.split_once(' ').unwrap_or((text, "")),
    };
    let minutes = inside.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then_some(60 * hours + minutes)
    });
    match minutes {
        Some(minutes) if !rest.trim().is_empty() => (Some(minutes), rest.trim_start()),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &str) -> Vec<(&'static str, Option<u64>, bool, String)> {
        let read = read(log);
        read.into_iter().map(|seen| (seen.priority.letter(), seen.at, seen.is_detail, seen.text)).collect()
    }

    #[test]
    fn a_log_becomes_notes_with_dates_times_marks_and_details() {
        let log = "<observations>\nDate: Nov 25, 2026\n\n* 🔴 (14:30) User's dog is called Rex\n  * -> barks: a lot\n\
                   * 🟢 Uses items[0]\n## Thursday 2026-11-26\n- 09:05 (assistant) Suggested a walk\n</observations>";
        let day = 1_795_564_800_000;
        let minute = 60_000;
        assert_eq!(
            told(log),
            [
                ("H", Some(day + 870 * minute), false, "User's dog is called Rex".to_owned()),
                ("M", Some(day), true, "barks: a lot".to_owned()),
                ("L", Some(day), false, "Uses items[0]".to_owned()),
                (
                    "M",
                    Some(day + 1_440 * minute + 545 * minute),
                    false,
                    "(assistant) Suggested a walk".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn what_is_no_heading_and_no_time_stays_text() {
        assert_eq!(told(""), []);
        assert_eq!(
            told("User likes tea\n* (maybe) coffee: black\n- 25:00 is no time"),
            [
                ("M", None, false, "User likes tea".to_owned()),
                ("M", None, false, "(maybe) coffee: black".to_owned()),
                ("M", None, false, "25:00 is no time".to_owned()),
            ]
        );
    }
}
