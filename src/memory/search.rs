//! Finding what was said: how texts become words of an index, a question its expression, and matches an order.
//!
//! An index of whole words, cut by SQLite (`unicode61`) and reduced to English stems (`porter`), finds what people ask for
//! in scripts that put spaces between words. Japanese, Chinese, Korean and Thai do not, or put several words into one, and
//! most of their words are two characters long: too short for SQLite's `trigram`. Texts in these scripts are indexed as
//! pairs of characters.
//!
//! Invariant: texts and questions are cut by the same rule, and only words that it made, in quotes, come into an expression:
//! nothing that is asked can be an operator of the index.

pub mod results;
mod snippet;
mod words;

use std::cmp::Reverse;
use std::collections::BTreeMap;

pub use self::snippet::snippet;
pub use self::words::{Question, indexed};
use crate::turn::{Message, Part, PartKind};

/// So much of a text is indexed, in characters; tools return whole files.
pub const MAX_INDEXED_CHARS: usize = 20_000;
/// How many matches the index is asked for; those behind them have next to nothing of the question.
pub const CANDIDATES: u32 = 100;
/// How much of its relevance a message lends to the one behind it: what answers a question rarely repeats its words.
const LENT_TO_NEXT: f64 = 0.7;
/// How much it lends to the one before.
const LENT_TO_PREVIOUS: f64 = 0.35;

/// What can be searched of a message: who is named as its speaker, its texts, calls and results; no media and no reasoning.
pub fn text_of(message: &Message) -> String {
    let mut text = Bounded { text: String::new(), left: MAX_INDEXED_CHARS };
    if let Some(name) = &message.name {
        text.add(name);
    }
    text.add_parts(&message.parts);
    text.text
}

/// A text that takes so many characters and no more.
struct Bounded {
    text: String,
    left: usize,
}

impl Bounded {
    fn add(&mut self, text: &str) {
        if !self.text.is_empty() && self.left > 0 {
            self.text.push('\n');
        }
        self.text.extend(text.chars().take(self.left));
        self.left = self.left.saturating_sub(text.chars().take(self.left).count());
    }

    fn add_parts(&mut self, parts: &[Part]) {
        for part in parts {
            match &part.kind {
                PartKind::Text(text) | PartKind::Refusal(text) => self.add(text),
                PartKind::ToolCall(call) => {
                    self.add(&call.name);
                    self.add(&call.arguments);
                }
                PartKind::ToolResult(result) => self.add_parts(&result.content),
                PartKind::Image(_)
                | PartKind::Audio(_)
                | PartKind::File(_)
                | PartKind::Reasoning(_)
                | PartKind::Other(_) => {}
            }
        }
    }
}

/// What the index found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The message at this place of the conversation.
    Message(i64),
    /// The note with this number.
    Note(i64),
}

/// A match of the index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// What matches.
    pub place: Place,
    /// How well, above 0: BM25.
    pub relevance: f64,
    /// The message that stands before a message, and the one behind it.
    pub neighbours: [Option<i64>; 2],
}

/// A match with its place in the order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// What matches.
    pub place: Place,
    /// How well, together with what stands around it.
    pub score: f64,
    /// It has no word of the question itself: it stands beside a message that has.
    pub is_beside: bool,
}

/// The candidates and their neighbours, best first; of equals the newest first.
pub fn rank(candidates: &[Candidate]) -> Vec<Ranked> {
    let mut scores: BTreeMap<Place, (f64, bool)> = BTreeMap::new();
    let mut add = |place: Place, score: f64, matches: bool| {
        let known = scores.entry(place).or_default();
        known.0 += score;
        known.1 |= matches;
    };
    for candidate in candidates {
        add(candidate.place, candidate.relevance, true);
        for (neighbour, share) in candidate.neighbours.into_iter().zip([LENT_TO_PREVIOUS, LENT_TO_NEXT]) {
            if let Some(seq) = neighbour {
                add(Place::Message(seq), candidate.relevance * share, false);
            }
        }
    }
    let mut ranked: Vec<Ranked> = scores
        .into_iter()
        .map(|(place, (score, matches))| Ranked { place, score, is_beside: !matches })
        .collect();
    ranked.sort_by(|one, other| {
        other.score.total_cmp(&one.score).then_with(|| Reverse(one.place).cmp(&Reverse(other.place)))
    });
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{Media, Reasoning, Role, Source, ToolCall, ToolResult};

    #[test]
    fn what_can_be_searched_of_a_message_is_what_it_says_and_no_more_than_the_bound() {
        let media = Media {
            source: Source::Data("aGVsbG8=".into()),
            media_type: Some("image/png".into()),
            name: None,
            detail: None,
        };
        let call = ToolCall {
            name: "weather".into(),
            arguments: r#"{"city":"Paris"}"#.into(),
            ..ToolCall::default()
        };
        let result = ToolResult {
            call_id: "c".into(),
            content: vec![Part::text("12 °C")],
            custom: false,
            is_error: false,
        };
        let mut message = Message::new(
            Role::Assistant,
            vec![
                PartKind::Reasoning(Reasoning { text: "hidden".into(), ..Reasoning::default() }).into(),
                Part::text("Let me look."),
                PartKind::Image(media).into(),
                PartKind::ToolCall(call).into(),
                PartKind::ToolResult(result).into(),
            ],
        );
        message.name = Some("Alex".into());
        assert_eq!(text_of(&message), "Alex\nLet me look.\nweather\n{\"city\":\"Paris\"}\n12 °C");
        let long = Message::new(Role::User, vec![Part::text("é".repeat(30_000)), Part::text("more")]);
        assert_eq!(text_of(&long), "é".repeat(MAX_INDEXED_CHARS));
    }

    #[test]
    fn a_message_lends_to_its_neighbours_and_of_equals_the_newest_comes_first() {
        let candidate = |place, relevance, neighbours| Candidate { place, relevance, neighbours };
        let ranked = rank(&[
            candidate(Place::Message(20), 1.0, [Some(10), Some(30)]),
            candidate(Place::Message(30), 0.5, [Some(20), None]),
            candidate(Place::Note(7), 1.2, [None, None]),
            candidate(Place::Note(8), 1.2, [None, None]),
        ]);
        let places: Vec<(Place, bool)> = ranked.iter().map(|hit| (hit.place, hit.is_beside)).collect();
        assert_eq!(
            places,
            [
                (Place::Note(8), false),
                (Place::Note(7), false),
                (Place::Message(30), false),
                (Place::Message(20), false),
                (Place::Message(10), true),
            ]
        );
        assert!((ranked[3].score - 1.175).abs() < 1e-9 && (ranked[2].score - 1.2).abs() < 1e-9);
    }
}
