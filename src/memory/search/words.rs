//! Texts as words for the index, and questions as expressions of them.
//!
//! Invariant: a term holds nothing but words in quotes, and `*` behind a quote; a word holds letters, digits and marks only.

use std::collections::BTreeSet;

use super::dates::Dates;

/// Longer words are cut: nobody asks for the end of a base64 text.
const MAX_WORD_CHARS: usize = 64;
/// More words than a question has; a whole message may be asked for.
const MAX_TERMS: usize = 64;
/// Words in English questions and answers that tell nothing apart. Letters and syllables that an apostrophe cuts off are
/// among them.
const STOP_WORDS: &str = "a about after again all also am an and any are as at be because been before being but by can could \
    d did didn do does doesn doing don for from had has have having he her here hers him his how i if in into is isn it its \
    just let ll m me more my no nor not of off on or our out over own re s she should so some such t than that the their \
    them then there these they this those to too under until up ve very was wasn we were what when where which while who \
    whom whose why will with won would you your";

/// A run of characters of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A word between spaces or signs.
    Word,
    /// A script that puts several words into one run.
    Dense,
    /// Whatever stands between.
    Between,
}

fn kind(char: char) -> Kind {
    match char {
        // Thai and Lao, Myanmar, Khmer.
        '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        // Hangul.
        | '\u{1100}'..='\u{11FF}' | '\u{AC00}'..='\u{D7AF}'
        // Kana and ideographs.
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF66}'..='\u{FF9F}'
        | '\u{20000}'..='\u{3134F}' => Kind::Dense,
        // Accents written as characters of their own.
        '\u{300}'..='\u{36F}' => Kind::Word,
        char if char.is_alphanumeric() => Kind::Word,
        _ => Kind::Between,
    }
}

/// The runs of a text with their kinds, what stands between left out.
fn runs(text: &str) -> impl Iterator<Item = (Kind, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|char| kind(char) == Kind::Between);
        let first = kind(rest.chars().next()?);
        let end = rest.find(|char| kind(char) != first).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        rest = behind;
        Some((first, run))
    })
}

fn cut(word: &str) -> &str {
    word.char_indices().nth(MAX_WORD_CHARS).map_or(word, |(end, _)| word.split_at(end).0)
}

/// The pairs of characters of a run, and its last character, so that every character begins a word.
fn pairs(run: &str) -> impl Iterator<Item = &str> {
    run.char_indices().map(move |(start, _)| {
        let from = run.split_at(start).1;
        from.char_indices().nth(2).map_or(from, |(end, _)| from.split_at(end).0)
    })
}

/// A text as the index takes it: its words, with spaces between.
pub fn indexed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut add = |word: &str| {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    };
    for (kind, run) in runs(text) {
        match kind {
            Kind::Dense => pairs(run).for_each(&mut add),
            Kind::Word | Kind::Between => add(cut(run)),
        }
    }
    out
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the index is asked for, one by one, in the language of FTS5:
    /// <https://www.sqlite.org/fts5.html#full_text_query_syntax>.
    pub terms: Vec<String>,
    /// Its words in lower case, for marking what matches.
    pub words: Vec<String>,
    /// The dates that it names.
    pub dates: Dates,
}

impl Question {
    /// Reads a question; `None` for one without words.
    pub fn read(text: &str) -> Option<Self> {
        let stop: BTreeSet<&str> = STOP_WORDS.split_whitespace().collect();
        let read = |is_stop: &dyn Fn(&str) -> bool| {
            let mut terms = Terms::default();
            for chunk in text.split_whitespace() {
                terms.add_chunk(chunk, is_stop);
            }
            terms
        };
        let mut terms = read(&|word| stop.contains(word));
        if terms.terms.is_empty() {
            // "Who are you?" has nothing else.
            terms = read(&|_| false);
        }
        if terms.terms.is_empty() {
            return None;
        }
        Some(Question { dates: Dates::read(text), terms: terms.terms, words: terms.words })
    }
}

#[derive(Default)]
struct Terms {
    terms: Vec<String>,
    words: Vec<String>,
}

impl Terms {
    /// Adds what stands between two spaces: its words, and, where they are several (`items[0]`, `user_id`), these together.
    fn add_chunk(&mut self, chunk: &str, is_stop: &dyn Fn(&str) -> bool) {
        let mut phrase: Vec<String> = Vec::new();
        for (kind, run) in runs(chunk) {
            match kind {
                Kind::Dense => self.add_run(run),
                Kind::Word | Kind::Between => phrase.push(cut(run).to_lowercase()),
            }
        }
        while phrase.last().is_some_and(|word| is_stop(word)) {
            phrase.pop();
        }
        for word in phrase.iter().filter(|word| !is_stop(word)) {
            self.add(ending_left_open(word), word);
        }
        if phrase.len() > 1 {
            self.add_term(quoted(&phrase.join(" ")));
        }
    }

    fn add_run(&mut self, run: &str) {
        if run.chars().nth(1).is_none() {
            return self.add(format!("{} *", quoted(run)), run);
        }
        for pair in pairs(run).filter(|pair| pair.chars().nth(1).is_some()) {
            self.add(quoted(pair), pair);
        }
    }

    fn add(&mut self, term: String, word: &str) {
        self.add_term(term);
        if self.words.len() < MAX_TERMS && !self.words.iter().any(|known| known == word) {
            self.words.push(word.to_owned());
        }
    }

    fn add_term(&mut self, term: String) {
        if self.terms.len() < MAX_TERMS && !self.terms.contains(&term) {
            self.terms.push(term);
        }
    }
}

/// A word of Latin script is reduced to its stem by the index. In Greek and Cyrillic, whose languages bend the ends of
/// words, a longer word stands for all that begin like it.
fn ending_left_open(word: &str) -> String {
    let length = word.chars().count();
    let bends = word.chars().all(|char| matches!(char, '\u{370}'..='\u{52F}'));
    let ending = match length {
        _ if !bends => 0,
        0..=4 => 0,
        5 => 1,
        _ => 2,
    };
    if ending == 0 {
        return quoted(word);
    }
    let stem: String = word.chars().take(length - ending).collect();
    format!("{} *", quoted(&stem))
}

fn quoted(words: &str) -> String {
    format!("\"{words}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_words_and_dense_scripts_become_pairs() {
        for (text, words) in [
            ("", ""),
            (" ... !", ""),
            ("The user's items[0] = `user_id`", "The user s items 0 user id"),
            ("東京に住む", "東京 京に に住 住む む"),
            ("猫", "猫"),
            ("iPhone13を買った", "iPhone13 を買 買っ った た"),
            ("학교에서", "학교 교에 에서 서"),
            ("cafe\u{301} Ünï", "cafe\u{301} Ünï"),
        ] {
            assert_eq!(indexed(text), words, "{text}");
        }
        assert_eq!(indexed(&"x".repeat(100)), "x".repeat(64));
    }

    #[test]
    fn a_question_is_words_in_quotes_whatever_it_holds() {
        for (text, expression) in [
            ("When did Caroline's dog run?", Some("\"caroline\" OR \"dog\" OR \"run\"")),
            ("who are you", Some("\"who\" OR \"are\" OR \"you\"")),
            (
                "items[0] user_id",
                Some("\"items\" OR \"0\" OR \"items 0\" OR \"user\" OR \"id\" OR \"user id\""),
            ),
            (
                "\"a\" NEAR(b c) AND -words:x* ^y",
                Some(
                    "\"near\" OR \"b\" OR \"near b\" OR \"c\" OR \"words\" OR \"x\" OR \"words x\" OR \"y\"",
                ),
            ),
            ("dog dog DOG", Some("\"dog\"")),
            ("東京都 猫", Some("\"東京\" OR \"京都\" OR \"猫\" *")),
            ("книга музеями", Some("\"книг\" * OR \"музея\" *")),
            ("", None),
            ("\"'*()^:-", None),
        ] {
            assert_eq!(
                Question::read(text).map(|question| question.terms.join(" OR ")).as_deref(),
                expression,
                "{text}"
            );
        }
        let long: Vec<String> = (0..1_000).map(|number| format!("w{number}")).collect();
        assert_eq!(Question::read(&long.join(" ")).unwrap().words.len(), MAX_TERMS);
    }
}
