//! Hard anchors: the pieces of a note that no rewording may change, because a reader cannot guess them.
//!
//! They are numbers, dates and times, names in quotation marks, ids, paths, addresses, code, acronyms, and the mark of
//! something done. What is plain prose is none: it may be said in other words.
//!
//! Invariant: an anchor is held only where it stands by itself, letter for letter: `12` is not held by `120` or `1.12`.

use std::collections::BTreeSet;

/// The mark that opens a note on something confirmed to be completed.
pub const DONE: &str = "DONE:";

/// Marks of quotation, each with the one that closes it.
const QUOTES: [(char, char); 9] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('“', '”'),
    ('„', '“'),
    ('‘', '’'),
    ('«', '»'),
    ('「', '」'),
    ('『', '』'),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The first anchor of `before` that `after` does not hold.
pub fn lost<'a>(before: &'a str, after: &str) -> Option<&'a str> {
    if is_done(before) && !is_done(after) {
        return Some(DONE);
    }
    let held: BTreeSet<&str> = tokens(after).collect();
    let token = anchors_among(before).into_iter().find(|token| !held.contains(token));
    token.or_else(|| quoted(before).into_iter().find(|name| !holds(after, name)))
}

/// True for a note on something completed.
pub fn is_done(text: &str) -> bool {
    text.trim_start().starts_with(DONE)
}

/// The tokens of a text that are anchors, each once, in order.
fn anchors_among(text: &str) -> Vec<&str> {
    let tokens: Vec<&str> = tokens(text).collect();
    let has_digit = |at: Option<usize>| {
        at.and_then(|at| tokens.get(at)).is_some_and(|token| token.contains(char::is_numeric))
    };
    let mut seen = BTreeSet::new();
    tokens
        .iter()
        .enumerate()
        .filter(|(at, token)| {
            let is_day = is_month(token) && (has_digit(at.checked_sub(1)) || has_digit(Some(at + 1)));
            (is_day || is_anchor(token)) && seen.insert(**token)
        })
        .map(|(_, token)| *token)
        .collect()
}

/// What white space, scripts without it, and punctuation around part from the rest.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    // Where words are not parted by spaces, what is Latin or a number among them still is a token.
    text.split(|char: char| char.is_whitespace() || (char >= '\u{2E80}' && !char.is_numeric()))
        .map(bare)
        .filter(|token| !token.is_empty())
}

/// A token without the punctuation of its sentence; brackets that it opens itself are its own.
fn bare(token: &str) -> &str {
    let mut token = token;
    loop {
        let opened = token.trim_start_matches(['(', '[', '{', '"', '\'', '`', '“', '„', '‘', '«', '*', '…']);
        let closed = opened
            .trim_end_matches([',', '.', ';', ':', '!', '?', '"', '\'', '`', '“', '”', '’', '»', '*', '…']);
        let brackets = [('(', ')'), ('[', ']'), ('{', '}')];
        let bare = brackets.iter().fold(closed, |token, (open, close)| {
            if token.matches(*close).count() > token.matches(*open).count() {
                token.strip_suffix(*close).unwrap_or(token)
            } else {
                token
            }
        });
        if bare == token {
            return bare;
        }
        token = bare;
    }
}

fn is_anchor(token: &str) -> bool {
    let has = |is_in: fn(char) -> bool| token.contains(is_in);
    // `foo.rs`, but not `e.g`.
    let is_dotted =
        token.contains('.') && token.split('.').all(|part| part.starts_with(char::is_alphanumeric));
    let is_dotted = is_dotted && token.split('.').any(|part| part.len() > 1);
    has(char::is_numeric)
        || has(|char| {
            matches!(
                char,
                '_' | '@' | '#' | '+' | '\\' | '=' | '<' | '>' | '{' | '}' | '[' | ']' | '$' | '~' | '|'
            )
        })
        || token.contains("::")
        || token.contains("()")
        || token.contains("//")
        || (token.len() > 1 && token.starts_with('/'))
        || is_dotted
        || is_acronym(token)
        || has_inner_capital(token)
        || WEEKDAYS.contains(&token)
}

/// Two capital letters or more, and none that is small but a plural's.
fn is_acronym(token: &str) -> bool {
    let letters = token.strip_suffix('s').unwrap_or(token);
    letters.chars().count() > 1
        && letters.chars().all(|char| char.is_uppercase() || matches!(char, '-' | '&'))
}

/// `iPhone`, `getUser`, `JavaScript`: capitals that no sentence puts there.
fn has_inner_capital(token: &str) -> bool {
    token.chars().zip(token.chars().skip(1)).any(|(one, next)| one.is_lowercase() && next.is_uppercase())
}

fn is_month(token: &str) -> bool {
    // `Dec` and `Sept` are months, too; what is cut shorter is not.
    token.len() >= 3 && MONTHS.iter().any(|month| month.starts_with(token))
}

/// What stands between marks of quotation. An apostrophe inside a word opens and closes nothing.
fn quoted(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(char) = rest.chars().next() {
        let behind = rest.get(char.len_utf8()..).unwrap_or_default();
        let opened = QUOTES.iter().find(|(open, _)| *open == char && !before.is_alphanumeric());
        let name =
            opened.and_then(|(_, close)| behind.get(..closing(behind, *close)?).map(|name| (name, *close)));
        (rest, before) = match name {
            Some((name, close)) => {
                found.push(name);
                (behind.get(name.len() + close.len_utf8()..).unwrap_or_default(), close)
            }
            None => (behind, char),
        };
    }
    found.retain(|name| !name.trim().is_empty());
    found
}

/// Where a quotation is closed.
fn closing(text: &str, close: char) -> Option<usize> {
    text.match_indices(close).map(|(at, _)| at).find(|at| {
        let behind = text.get(at + close.len_utf8()..).unwrap_or_default();
        !matches!(close, '\'' | '’') || !behind.starts_with(char::is_alphanumeric)
    })
}

/// True where the text holds the name and it ends there on both sides.
fn holds(text: &str, name: &str) -> bool {
    let name = name.trim();
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let behind = text.get(at + name.len()..).and_then(|behind| behind.chars().next());
        let goes_on = |outer: Option<char>, inner: Option<char>| {
            outer.is_some_and(is_letter) && inner.is_some_and(is_letter)
        };
        !goes_on(before, name.chars().next()) && !goes_on(behind, name.chars().next_back())
    })
}

/// A letter or digit of a script that parts its words.
fn is_letter(char: char) -> bool {
    char.is_alphanumeric() && char < '\u{2E80}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_cannot_guess_is_an_anchor_and_prose_is_none() {
        for (text, anchors) in [
            ("The user's name is Alex, a teacher and a father.", vec![]),
            ("Flies on 3 December 2026 at 14:30, seat 12A.", vec!["3", "December", "2026", "14:30", "12A"]),
            ("May march in March; on May 5. and Dec 24th", vec!["May", "5", "Dec", "24th"]),
            ("Every Tuesday, e.g. at noon, i.e. twelve", vec!["Tuesday"]),
            ("Paid €1,200.50 (20 %) for 3x5-cm", vec!["€1,200.50", "20", "3x5-cm"]),
            (
                "Uses items[0], `a[i]`, foo.rs, src::x, run(), /etc/hosts and user@example.com.",
                vec!["items[0]", "a[i]", "foo.rs", "src::x", "run()", "/etc/hosts", "user@example.com"],
            ),
            (
                "An iPhone via USB; IDs at AT&T (C++, JFK).",
                vec!["iPhone", "USB", "IDs", "AT&T", "C++", "JFK"],
            ),
            ("彼は12月3日にTP1234で行く", vec!["12", "3", "TP1234"]),
        ] {
            assert_eq!(anchors_among(text), anchors, "{text}");
        }
        for (text, names) in [
            (r#"Reads "The Left Hand" and calls it 'odd'."#, vec!["The Left Hand", "odd"]),
            ("Rock 'n' roll, the boys' room, it's the user's", vec!["n"]),
            ("„Der Ring“, “a b”, «c», 「猫」, `x y`", vec!["Der Ring", "a b", "c", "猫", "x y"]),
            (r#"5" wide, "" and "open"#, vec![]),
        ] {
            assert_eq!(quoted(text), names, "{text}");
        }
    }

    #[test]
    fn an_anchor_is_held_only_by_itself() {
        for (before, after, lost_one) in [
            ("Has 12 cats", "The user's cats: 12.", None),
            ("Has 12 cats", "120 cats, 1.12 dogs, 12a", Some("12")),
            ("On 2026-12-03", "(2026-12-03)", None),
            ("On 2026-12-03", "2026-12-30", Some("2026-12-03")),
            (r#"Likes "Dune""#, "Dune is liked", None),
            (r#"Likes "Dune""#, "Dunes are liked", Some("Dune")),
            ("calls `get user`", "the call `get user`", None),
            ("calls `get user`", "gets the user", Some("get user")),
            ("DONE: booked", "DONE: it is booked", None),
            ("DONE: booked", "It is DONE: booked", Some("DONE:")),
            ("items[0]", "items", Some("items[0]")),
            ("Likes tea", "Prefers anything but coffee", None),
        ] {
            assert_eq!(lost(before, after), lost_one, "{before} / {after}");
        }
    }
}
