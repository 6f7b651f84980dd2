//! Card numbers.
//!
//! Invariant: digits are a card's only in a form that cards are written in, with an issuer's first digits and length, and
//! with the right check digit; so dates, telephone numbers, and nine of ten other numbers are none.

use super::{Found, Hint, run, tail};

/// How the digits are grouped where they are; the last group of cards of 17 to 19 digits is what remains.
const GROUPS: &[&[usize]] = &[
    &[4, 4, 4, 4],
    &[4, 4, 4, 4, 3],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 1],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 3, 3, 3],
];

/// The card's number that begins here.
pub fn find(text: &str, at: usize) -> Option<Found> {
    let rest = tail(text, at);
    if !rest.starts_with(|char: char| char.is_ascii_digit()) || is_inside(text, at) {
        return None;
    }
    let digits = run(rest, |byte| byte.is_ascii_digit());
    let is_card = |len: usize, is_grouped: bool| {
        let goes_on = tail(rest, len).starts_with(|char: char| char.is_alphanumeric() || char == '_');
        let number: Vec<u8> =
            rest.bytes().take(len).filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect();
        !goes_on && has_issuer(&number, is_grouped) && checks(&number)
    };
    let len = match digits.len() {
        // Thirteen in a row are a millisecond or an article's number.
        14..=19 => Some(digits.len()).filter(|len| is_card(*len, false)),
        4 => GROUPS.iter().filter_map(|groups| grouped(rest, groups)).find(|len| is_card(*len, true)),
        _ => None,
    }?;
    Some(Found { place: at..at + len, kind: "card number", hint: Hint::Always })
}

/// True behind a character that makes the digits a part of something longer: a name, a fraction, a telephone number.
fn is_inside(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.ends_with(|char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '+' | '/'))
}

/// The length of digits in these groups, all parted by the same space or hyphen.
fn grouped(text: &str, groups: &[usize]) -> Option<usize> {
    let separator = text.as_bytes().get(4).copied().filter(|byte| matches!(byte, b' ' | b'-'))?;
    let mut len = 0;
    for (nth, size) in groups.iter().enumerate() {
        if nth > 0 {
            tail(text, len).starts_with(char::from(separator)).then_some(())?;
            len += 1;
        }
        (run(tail(text, len), |byte| byte.is_ascii_digit()).len() == *size).then_some(())?;
        len += size;
    }
    let more = tail(text, len).strip_prefix(char::from(separator)).unwrap_or_default();
    // Behind spaces other numbers follow (the month, the code on the back); a hyphen goes on with the same one.
    let goes_on = separator == b'-' && more.starts_with(|char: char| char.is_alphanumeric());
    (!goes_on).then_some(len)
}

/// True for the first digits and the length of a network: <https://en.wikipedia.org/wiki/Payment_card_number>.
fn has_issuer(number: &[u8], is_grouped: bool) -> bool {
    let first =
        |count: usize| number.iter().take(count).fold(0u32, |value, digit| value * 10 + u32::from(*digit));
    match number.len() {
        13 => first(1) == 4,
        14 => matches!(first(2), 30 | 36 | 38 | 39),
        15 => matches!(first(2), 34 | 37),
        16 => {
            matches!(first(1), 4)
                || matches!(first(2), 30 | 35 | 36 | 38 | 39 | 50..=58 | 60 | 62..=65 | 67 | 81)
                || matches!(first(4), 2200..=2204 | 2221..=2720)
        }
        // In one piece most numbers so long are ids of posts and places; only one network has many cards of that length.
        17..=19 if !is_grouped => first(2) == 62,
        17..=19 => first(1) == 4 || matches!(first(2), 50 | 56..=58 | 60 | 62..=65 | 67),
        _ => false,
    }
}

/// ISO/IEC 7812-1, annex B: the formula of Luhn.
fn checks(number: &[u8]) -> bool {
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(nth, digit)| match (nth % 2, u32::from(*digit)) {
            (1, digit) if digit > 4 => digit * 2 - 9,
            (1, digit) => digit * 2,
            (_, digit) => digit,
        })
        .sum();
    // All the same digit is a placeholder.
    sum.is_multiple_of(10) && number.iter().any(|digit| Some(digit) != number.first())
}
