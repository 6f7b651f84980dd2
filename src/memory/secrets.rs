//! Masks secrets in texts that are shown to an observer or kept as notes.
//!
//! A secret is what lets whoever has it act as somebody else: keys, tokens, passwords, private keys, and card numbers,
//! which pay by themselves. What only names somebody (IBANs, phone numbers, user ids) is given away in order to be used,
//! and is left alone: it is what a user wants remembered.
//!
//! Invariant: a text without secrets comes back as it is, masked text is not masked again, and the work grows with the
//! text's length, whatever the text.

mod card;
mod issued;
mod labelled;
mod pem;

use std::borrow::Cow;
use std::ops::Range;

/// What stands before the kind of a masked secret.
const OPENING: &str = "[secret: ";

/// How many characters of a secret stay readable, so that it is known again.
const HINT_CHARS: usize = 4;
/// The shortest secret that shows any of its characters.
const HINTED_BYTES: usize = 20;

/// A secret in a text.
struct Found {
    /// Its place, in bytes.
    place: Range<usize>,
    /// What it is, in words.
    kind: &'static str,
    /// Whether its last characters are shown.
    hint: Hint,
}

/// When the last characters of a secret may be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hint {
    /// Somebody chose it: every character helps to guess the others.
    Never,
    /// It was drawn by lot, and may be short.
    IfLong,
    /// As on every receipt.
    Always,
}

/// The text with each secret as `[secret: KIND]`, with its last four characters where that gives nothing away.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut walk = Walk { text, at: 0, before: None, pem: pem::Ends::default() };
    let mut out = String::new();
    let mut done = 0;
    while let Some(found) = walk.next() {
        out.push_str(text.get(done..found.place.start).unwrap_or_default());
        let secret = text.get(found.place.clone()).unwrap_or_default();
        out.push_str(OPENING);
        out.push_str(found.kind);
        if found.hint == Hint::Always || (found.hint == Hint::IfLong && secret.len() >= HINTED_BYTES) {
            out.push_str(" …");
            out.push_str(&last_chars(secret));
        }
        out.push(']');
        done = found.place.end;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

/// The last characters of a secret, without what parts its groups.
fn last_chars(secret: &str) -> String {
    let last: Vec<char> =
        secret.chars().rev().filter(|char| !matches!(char, ' ' | '-')).take(HINT_CHARS).collect();
    last.into_iter().rev().collect()
}

/// A way through a text, from one secret to the next.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// The word before, if one space is all that parts it from here.
    before: Option<&'a str>,
    pem: pem::Ends,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<Found> {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            let found = match byte {
                b'-' => pem::find(self.text, self.at, &mut self.pem),
                b':' => password_of_url(self.text, self.at),
                _ if byte.is_ascii_alphanumeric() => {
                    self.at += escape(self.text, self.at);
                    let word = word(self.rest());
                    let found = self.of_word(word);
                    if found.is_none() {
                        self.at += word.len();
                        let is_next = self.rest().starts_with(' ');
                        self.before = is_next.then_some(word);
                        self.at += usize::from(is_next);
                        continue;
                    }
                    found
                }
                _ => None,
            };
            self.before = None;
            match found {
                Some(found) => {
                    self.at = found.place.end;
                    return Some(found);
                }
                None => self.at += 1,
            }
        }
        None
    }

    fn rest(&self) -> &'a str {
        tail(self.text, self.at)
    }

    fn of_word(&self, word: &'a str) -> Option<Found> {
        card::find(self.text, self.at)
            .or_else(|| issued::find(self.text, self.at, word))
            .or_else(|| labelled::find(self.text, self.at, word, self.before))
    }
}

/// The text from there on; nothing where that is no border between characters.
fn tail(text: &str, at: usize) -> &str {
    text.get(at..).unwrap_or_default()
}

/// What a text starts with, as long as its bytes are of a kind.
fn run(text: &str, is_in: impl Fn(u8) -> bool) -> &str {
    let end = text.bytes().position(|byte| !is_in(byte)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn word(text: &str) -> &str {
    run(text, is_word)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// How many bytes here belong to an escape that began before them: `\n` in JSON, `%3D` in addresses.
fn escape(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    let is_hex = |offset: usize| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
    match (before, bytes.get(at)) {
        (Some(b'\\'), Some(b'n' | b'r' | b't')) => 1,
        (Some(b'%'), _) if is_hex(0) && is_hex(1) => 2,
        _ => 0,
    }
}

/// The password in `scheme://user:password@host`, seen from the colon behind the scheme.
fn password_of_url(text: &str, at: usize) -> Option<Found> {
    let authority = tail(text, at).strip_prefix("://")?;
    let authority = run(authority, |byte| {
        !byte.is_ascii_whitespace()
            && !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\')
    });
    let (user_info, _) = authority.rsplit_once('@')?;
    let (user, password) = user_info.split_once(':')?;
    let start = at + "://".len() + user.len() + 1;
    (!labelled::is_placeholder(password)).then(|| Found {
        place: start..start + password.len(),
        kind: "password",
        hint: Hint::Never,
    })
}

/// How often letters and digits follow on each other: words and numbers seldom alternate, what is drawn by lot does.
fn changes(value: &str) -> usize {
    let bytes = value.as_bytes();
    bytes
        .iter()
        .zip(bytes.iter().skip(1))
        .filter(|(one, next)| {
            (one.is_ascii_digit() && next.is_ascii_alphabetic())
                || (one.is_ascii_alphabetic() && next.is_ascii_digit())
        })
        .count()
}
