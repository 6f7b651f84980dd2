//! Finding what was said: how texts become words of an index, a question its expression, and matches an order.
//!
//! An index of whole words, cut by SQLite (`unicode61`) and reduced to English stems (`porter`), finds what people ask for
//! in scripts that put spaces between words. Japanese, Chinese, Korean and Thai do not, or put several words into one, and
//! most of their words are two characters long: too short for SQLite's `trigram`. Texts in these scripts are indexed as
//! pairs of characters.
//!
//! Invariant: texts and questions are cut by the same rule, and only words that it made, in quotes, come into an expression:
//! nothing that is asked can be an operator of the index.

mod dates;
pub mod results;
mod snippet;
mod words;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::dates::Dates;
pub use self::snippet::snippet;
pub use self::words::{Question, indexed};
use crate::turn::{Message, Part, PartKind};

/// So much of a text is indexed, in characters; tools return whole files.
pub const MAX_INDEXED_CHARS: usize = 20_000;
/// How many matches the index is asked for; those behind them have next to nothing of the question.
pub const CANDIDATES: u32 = 100;
/// How much of what it has a message lends to the two before it, nearest first.
const LENT_BEFORE: [f64; 2] = [0.35, 0.1];
/// How much to the two behind it: what answers a question rarely repeats its words.
const LENT_BEHIND: [f64; 2] = [0.6, 0.3];
/// How much better a hit fits on the day on which most was said of the question.
const LENT_BY_DAY: f64 = 0.3;
/// How many hits of a day tell how much was said.
const BEST_OF_DAY: usize = 3;
const DAY_MS: u64 = 86_400_000;

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
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What matches.
    pub place: Place,
    /// When it was said, in Unix milliseconds.
    pub at: u64,
    /// How much it has of each term, 0 and above: the part of BM25 that does not depend on how rare the term is.
    pub shares: Vec<f64>,
    /// The messages that stand around a message: two before it, nearest first, and two behind it.
    pub neighbours: [[Option<(i64, u64)>; 2]; 2],
}

/// A match with its place in the order.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// What matches.
    pub place: Place,
    /// How much it has of each term, together with what stands around it.
    pub shares: Vec<f64>,
    /// By how much its time makes it fit better, from 1.
    pub fit: f64,
    /// [`Rarity::score`] of the two, among what the index holds.
    pub score: f64,
    /// It has no word of the question itself: it stands beside a message that has.
    pub is_beside: bool,
}

/// How rare each term of a question is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rarity {
    /// How many messages and notes there are.
    pub total: u64,
    /// How many of them have each term.
    pub having: Vec<u64>,
}

impl Rarity {
    /// What each term weighs.
    pub fn weights(&self) -> Vec<f64> {
        let weight = |having: &u64| {
            let having = *having as f64;
            ((self.total as f64 - having).max(0.0) + 0.5) / (having + 0.5)
        };
        self.having.iter().map(|having| weight(having).ln_1p()).collect()
    }

    /// What FTS5 weighs a term that so many have: <https://www.sqlite.org/fts5.html#the_bm25_function>.
    pub fn own_weight(&self, having: u64) -> f64 {
        let (total, having) = (self.total as f64, having as f64);
        ((total - having + 0.5) / (having + 0.5)).ln().max(1e-6)
    }

    /// How many may have a term that is asked for, so that all of these together have no more than `matches`; the rarest one is
    /// always asked for.
    pub fn most_common(&self, matches: u64) -> u64 {
        let mut having: Vec<u64> = self.having.iter().copied().filter(|having| *having > 0).collect();
        having.sort_unstable();
        let rarest = having.first().copied().unwrap_or_default();
        let mut sum = 0;
        let asked = having.into_iter().take_while(|having| {
            sum += having;
            sum <= matches
        });
        asked.last().unwrap_or(rarest)
    }

    /// Adds what another index holds.
    pub fn add(&mut self, other: &Rarity) {
        self.total += other.total;
        self.having.resize(self.having.len().max(other.having.len()), 0);
        for (sum, having) in self.having.iter_mut().zip(&other.having) {
            *sum += having;
        }
    }
}

/// How well something fits: what it has of each term, as much as the term weighs, times how its time fits.
pub fn score(weights: &[f64], shares: &[f64], fit: f64) -> f64 {
    fit * weights.iter().zip(shares).map(|(weight, share)| weight * share).sum::<f64>()
}

/// The candidates and their neighbours, best first; of equals the newest first.
pub fn rank(candidates: &[Candidate], rarity: &Rarity, dates: &Dates) -> Vec<Ranked> {
    let mut found: BTreeMap<Place, (u64, Vec<f64>, bool)> = BTreeMap::new();
    let mut add = |place: Place, at: u64, shares: &[f64], part: f64, matches: bool| {
        let known = found.entry(place).or_insert_with(|| (at, vec![0.0; shares.len()], false));
        known.1.iter_mut().zip(shares).for_each(|(sum, share)| *sum += part * share);
        known.2 |= matches;
    };
    for candidate in candidates {
        add(candidate.place, candidate.at, &candidate.shares, 1.0, true);
        let around = candidate.neighbours.iter().flatten().zip(LENT_BEFORE.into_iter().chain(LENT_BEHIND));
        for (neighbour, part) in around {
            if let Some((seq, at)) = neighbour {
                add(Place::Message(*seq), *at, &candidate.shares, part, false);
            }
        }
    }
    let weights = rarity.weights();
    let mut ranked: Vec<(u64, Ranked)> = found
        .into_iter()
        .map(|(place, (at, shares, matches))| {
            let fit = dates.fit(at);
            let score = score(&weights, &shares, fit);
            (at / DAY_MS, Ranked { place, shares, fit, score, is_beside: !matches })
        })
        .collect();
    let days = days(&ranked);
    let most = days.values().copied().fold(f64::MIN_POSITIVE, f64::max);
    for (day, hit) in &mut ranked {
        hit.fit *= 1.0 + LENT_BY_DAY * days.get(day).map_or(0.0, |sum| sum / most);
        hit.score = score(&weights, &hit.shares, hit.fit);
    }
    ranked.sort_by(|(_, one), (_, other)| {
        other.score.total_cmp(&one.score).then_with(|| Reverse(one.place).cmp(&Reverse(other.place)))
    });
    ranked.into_iter().map(|(_, hit)| hit).collect()
}

/// What the best hits of each day score together: a day on which much was said of it is the likelier for the rest.
fn days(ranked: &[(u64, Ranked)]) -> BTreeMap<u64, f64> {
    let mut scores: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (day, hit) in ranked {
        scores.entry(*day).or_default().push(hit.score);
    }
    let best = |mut scores: Vec<f64>| {
        scores.sort_by(|one, other| other.total_cmp(one));
        scores.iter().take(BEST_OF_DAY).sum()
    };
    scores.into_iter().map(|(day, scores)| (day, best(scores))).collect()
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

    fn said(place: Place, share: f64, neighbours: [[Option<(i64, u64)>; 2]; 2]) -> Candidate {
        Candidate { place, at: 1_000, shares: vec![share], neighbours }
    }

    #[test]
    fn a_message_lends_to_its_neighbours_and_of_equals_the_newest_comes_first() {
        let none = [None, None];
        let rarity = Rarity { total: 10, having: vec![4] };
        let ranked = rank(
            &[
                said(
                    Place::Message(20),
                    1.0,
                    [[Some((10, 900)), None], [Some((30, 1_100)), Some((40, 1_200))]],
                ),
                said(
                    Place::Message(30),
                    0.5,
                    [[Some((20, 1_000)), Some((10, 900))], [Some((40, 1_200)), None]],
                ),
                said(Place::Note(7), 1.2, [none, none]),
                said(Place::Note(8), 1.2, [none, none]),
            ],
            &rarity,
            &Dates::default(),
        );
        let told: Vec<(Place, bool, f64)> = ranked
            .iter()
            .map(|hit| (hit.place, hit.is_beside, (hit.shares[0] * 1e3).round() / 1e3))
            .collect();
        assert_eq!(
            told,
            [
                (Place::Note(8), false, 1.2),
                (Place::Note(7), false, 1.2),
                (Place::Message(20), false, 1.175),
                (Place::Message(30), false, 1.1),
                (Place::Message(40), true, 0.6),
                (Place::Message(10), true, 0.4),
            ]
        );
    }

    #[test]
    fn a_rare_term_weighs_more_and_a_common_one_still_something() {
        let rarity = Rarity { total: 10, having: vec![1, 9, 10] };
        let weights = rarity.weights();
        assert!(weights[0] > weights[1] && weights[1] > weights[2] && weights[2] > 0.0);
        let most = |matches| rarity.most_common(matches);
        assert_eq!((most(0), most(1), most(10), most(20)), (1, 1, 9, 10));
        assert_eq!(Rarity::default().most_common(5), 0);
        let mut sum = rarity.clone();
        sum.add(&Rarity { total: 5, having: vec![2, 0, 1] });
        assert_eq!(sum, Rarity { total: 15, having: vec![3, 9, 11] });
    }
}
