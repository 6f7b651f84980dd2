//! From the numbers in an answer to its sources: `[2]` becomes an annotation in the client's dialect.
//!
//! Invariant: the answer's text stays as it is; a number that names no source, and one inside code, is only text.

use super::outcome::Citation;
use crate::dialect::citation::Citation as Cited;

/// The places of an answer's text that name a source by its number, in order; `sources` in the order of their numbers.
/// Each can be written as an annotation ([`Cited::for_chat`], [`Cited::for_responses`]) or, without its place, as a citation
/// of Messages ([`Cited::for_messages`]).
pub fn cited(text: &str, sources: &[Citation]) -> Vec<Cited> {
    if sources.is_empty() || !text.contains('[') {
        return Vec::new();
    }
    let mut found = Vec::new();
    let (mut fence, mut at) = (None, 0);
    for line in text.split_inclusive('\n') {
        match (fence, fence_of(line)) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => marks(line, at, sources, &mut found),
            _ => {}
        }
        at += line.chars().count() as u64;
    }
    found
}

/// The letter of a code fence that a line is.
fn fence_of(line: &str) -> Option<char> {
    let line = line.trim_start();
    ['`', '~'].into_iter().find(|mark| line.chars().take(3).filter(|letter| letter == mark).count() == 3)
}

/// Finds `[1]` and `[1, 2]` in a line that begins at character `start`, outside of inline code.
fn marks(line: &str, start: u64, sources: &[Citation], found: &mut Vec<Cited>) {
    let letters: Vec<char> = line.chars().collect();
    let mut at = 0;
    while let Some(letter) = letters.get(at) {
        let rest = letters.get(at..).unwrap_or_default();
        at += match letter {
            '`' => code_length(rest),
            '[' => match rest.iter().position(|letter| *letter == ']') {
                Some(end) => {
                    let inside: String = rest.iter().take(end).skip(1).collect();
                    let place = (start + at as u64, start + (at + end) as u64 + 1);
                    let named = numbers(&inside);
                    let known = named.iter().filter_map(|number| sources.get(number.checked_sub(1)?));
                    found.extend(known.map(|source| Cited {
                        url: source.url.clone(),
                        title: Some(source.title.clone()),
                        quote: Some(source.snippet.clone()).filter(|quote| !quote.is_empty()),
                        place: Some(place),
                    }));
                    // An outer bracket may hold the one that counts.
                    if named.is_empty() { 1 } else { end + 1 }
                }
                None => 1,
            },
            _ => 1,
        };
    }
}

/// How long the inline code is that begins with these backticks: up to as many again; they alone where there are none.
fn code_length(letters: &[char]) -> usize {
    let run = |from: usize| letters.iter().skip(from).take_while(|letter| **letter == '`').count();
    let opening = run(0);
    let mut at = opening;
    while at < letters.len() {
        match run(at) {
            0 => at += 1,
            ticks if ticks == opening => return at + ticks,
            ticks => at += ticks,
        }
    }
    opening
}

/// The numbers in `1` or `1, 2`; none if there is anything else.
fn numbers(text: &str) -> Vec<usize> {
    let numbers: Option<Vec<usize>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sources() -> Vec<Citation> {
        ["a", "b"]
            .map(|name| Citation {
                title: name.to_uppercase(),
                url: format!("https://{name}.test/"),
                snippet: format!("says {name}"),
                date: None,
            })
            .to_vec()
    }

    fn places(text: &str) -> Vec<(String, String)> {
        let letters: Vec<char> = text.chars().collect();
        cited(text, &sources())
            .into_iter()
            .map(|cited| {
                let (start, end) = cited.place.unwrap();
                (letters[start as usize..end as usize].iter().collect(), cited.url)
            })
            .collect()
    }

    #[test]
    fn numbers_become_the_places_of_their_sources() {
        let (a, b) = ("https://a.test/".to_owned(), "https://b.test/".to_owned());
        assert_eq!(
            places("Größe 5 µm [1]. Oder[2], [1][2]\nor [2, 1]."),
            [
                ("[1]".to_owned(), a.clone()),
                ("[2]".to_owned(), b.clone()),
                ("[1]".to_owned(), a.clone()),
                ("[2]".to_owned(), b.clone()),
                ("[2, 1]".to_owned(), b),
                ("[2, 1]".to_owned(), a.clone()),
            ]
        );
        assert_eq!(places("([see [1]])"), [("[1]".to_owned(), a)]);
    }

    #[test]
    fn what_names_no_source_and_what_is_code_is_only_text() {
        for text in [
            "[0] [3] [99999999999999999999] [] [x] [1 2] [-1] [1",
            "`a[1]` and ``b[2]``",
            "```js\nx[1]\n```\n",
            "~~~\n[1]\n```\n[2]",
            "nothing",
        ] {
            assert_eq!(places(text), [], "{text}");
        }
        assert_eq!(places("```\nx[1]\n```\nBut [2]").len(), 1);
        assert_eq!(cited("[1]", &[]), []);
    }

    #[test]
    fn each_dialect_writes_a_citation_in_its_own_form() {
        let cited = cited("So [2].", &sources()).remove(0);
        let fields = json!({"url": "https://b.test/", "title": "B", "start_index": 3, "end_index": 6});
        assert_eq!(cited.for_chat(), json!({"type": "url_citation", "url_citation": fields}));
        assert_eq!(cited.for_responses()["end_index"], 6);
        assert_eq!(cited.for_messages()["cited_text"], "says b");
    }
}
