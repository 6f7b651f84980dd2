//! The dates that a question names, for what was said about then.
//!
//! Invariant: a question without a date fits every time alike.

use chrono::{DateTime, Datelike};

/// English names of the months by their first letters; a word must have these and go on as the name does.
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
/// How much better a message fits a question that names its month, and its day beside.
const MONTH: f64 = 0.3;
const DAY: f64 = 0.6;

/// Months, days of a month and years that a question names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    months: Vec<u32>,
    days: Vec<u32>,
    years: Vec<i32>,
}

impl Dates {
    /// Reads `May 7, 2023`, `7 May`, `in July` and `2023-05-07`.
    pub fn read(text: &str) -> Self {
        let mut dates = Dates::default();
        let text = text.to_lowercase();
        let words: Vec<&str> =
            text.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        for (at, word) in words.iter().enumerate() {
            let month = (1..)
                .zip(MONTHS)
                .find(|(_, name)| name == word || (word.len() == 3 && name.starts_with(word)));
            if let Some((month, _)) = month {
                dates.months.push(month);
                continue;
            }
            let digits = word.trim_end_matches(|char: char| char.is_ascii_alphabetic());
            match digits.parse::<u32>() {
                Ok(year @ 1900..=2200) => {
                    dates.years.extend(i32::try_from(year));
                    let next = |by: usize| words.get(at + by).and_then(|word| word.parse::<u32>().ok());
                    if let (Some(month @ 1..=12), Some(day @ 1..=31)) = (next(1), next(2)) {
                        dates.months.push(month);
                        dates.days.push(day);
                    }
                }
                Ok(day @ 1..=31) => dates.days.push(day),
                _ => {}
            }
        }
        dates
    }

    /// How well a time fits, from 1; `at` is Unix milliseconds.
    pub fn fit(&self, at: u64) -> f64 {
        let Some(date) = i64::try_from(at).ok().and_then(DateTime::from_timestamp_millis) else { return 1.0 };
        let is_year = self.years.is_empty() || self.years.contains(&date.year());
        if !is_year || !self.months.contains(&date.month()) {
            return 1.0;
        }
        1.0 + if self.days.contains(&date.day()) { DAY } else { MONTH }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_fits_a_question_that_names_its_month_and_better_one_that_names_its_day() {
        // 7 May 2023.
        let at = 1_683_460_800_000;
        for (question, fit) in [
            ("What happened?", 1.0),
            ("What happened in May?", 1.3),
            ("What happened on 7 May, 2023?", 1.6),
            ("on May 7th", 1.6),
            ("on 2023-05-07", 1.6),
            ("on 8 May", 1.3),
            ("in May 2022", 1.0),
            ("in June", 1.0),
            ("7 dogs in 2023", 1.0),
        ] {
            assert!((Dates::read(question).fit(at) - fit).abs() < 1e-9, "{question}");
        }
        assert!((Dates::read("May").fit(u64::MAX) - 1.0).abs() < 1e-9);
    }
}
