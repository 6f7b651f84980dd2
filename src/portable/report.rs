//! What became of an import.
//!
//! Invariant: every line counts once; what was refused is named by line and reason, the first thousand of them.

use serde_json::{Value, json};

use crate::memory::store::Brought;

/// So many refusals are named.
const MAX_NAMED: usize = 1_000;

/// What became of the lines so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    added: u64,
    known: u64,
    passed_over: u64,
    facts: u64,
    refusals: Vec<(u64, String, String)>,
    refused: u64,
}

impl Report {
    /// A batch of a thread, with the numbers of its lines.
    pub fn add(&mut self, thread: &str, numbers: &[u64], brought: &Brought) {
        self.added += brought.added;
        self.known += brought.known;
        if let Some((at, why)) = &brought.conflict {
            self.refused += 1;
            self.passed_over += (numbers.len() as u64).saturating_sub(1);
            if self.refusals.len() < MAX_NAMED {
                let number = numbers.get(*at).or(numbers.first()).copied().unwrap_or_default();
                self.refusals.push((number, thread.to_owned(), why.clone()));
            }
        }
    }

    /// Lines of a thread that had refused one before.
    pub fn passed_over(&mut self, lines: usize) {
        self.passed_over += lines as u64;
    }

    /// Facts of a profile; they are known or added, which makes no difference to it.
    pub fn facts(&mut self, count: usize, taken: bool) {
        *(if taken { &mut self.facts } else { &mut self.passed_over }) += count as u64;
    }

    /// `{ok, complete, lines, added, unchanged, facts, passedOver, refused}`. `whole` tells that the file had its end.
    pub fn answer(&self, lines: u64, whole: bool) -> Value {
        let refused: Vec<Value> = self
            .refusals
            .iter()
            .map(|(line, thread, why)| json!({ "line": line, "threadId": thread, "reason": why }))
            .collect();
        json!({
            "ok": self.refused == 0,
            "complete": whole,
            "lines": lines,
            "added": self.added,
            "unchanged": self.known,
            "facts": self.facts,
            "passedOver": self.passed_over,
            "refused": refused,
            "refusedTotal": self.refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_named_by_its_line_and_the_rest_of_its_batch_counted() {
        let mut report = Report::default();
        report.add("a", &[2, 3], &Brought { added: 1, known: 1, conflict: None });
        let conflict = Some((1, "No.".to_owned()));
        report.add("b", &[7, 9, 10], &Brought { conflict, ..Brought::default() });
        report.passed_over(4);
        report.facts(2, true);
        assert_eq!(
            report.answer(20, false),
            json!({
                "ok": false, "complete": false, "lines": 20, "added": 1, "unchanged": 1, "facts": 2, "passedOver": 6,
                "refused": [{ "line": 9, "threadId": "b", "reason": "No." }], "refusedTotal": 1,
            })
        );
    }
}
