//! The stretch of a text that answers a question best.
//!
//! Invariant: a snippet is a stretch of the text word for word, bounded, with `…` where it was cut.

/// The longest snippet, in characters.
const MAX_CHARS: usize = 240;
/// What is shown in front of the first word that matches.
const LEAD_CHARS: usize = 60;
/// Two words with so many first characters in common are forms of one.
const STEM_CHARS: usize = 4;

/// The stretch of `text` that holds the most of `words`, which are in lower case.
pub fn snippet(text: &str, words: &[String]) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= MAX_CHARS {
        return text.to_owned();
    }
    let matches = matches(text, words);
    let room = MAX_CHARS - LEAD_CHARS;
    // Which of the words stand close behind each match; the first place with the most wins.
    let start = matches
        .iter()
        .enumerate()
        .map(|(at, (place, _))| {
            let near = matches.iter().skip(at).take_while(|(next, _)| *next < place + room);
            let mut found: Vec<usize> = near.map(|(_, word)| *word).collect();
            found.sort_unstable();
            found.dedup();
            (found.len(), *place)
        })
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map_or(0, |(_, place)| place.saturating_sub(LEAD_CHARS));
    let start = start.min(chars.len() - MAX_CHARS);
    let end = start + MAX_CHARS;
    let mut out = String::new();
    if start > 0 {
        out.push('…');
    }
    out.extend(chars.iter().skip(start).take(MAX_CHARS));
    if end < chars.len() {
        out.push('…');
    }
    out
}

/// Where words of the text are like those asked for: the place in characters, and which of them.
fn matches(text: &str, words: &[String]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut place = 0;
    for piece in text.split_inclusive(|char: char| !char.is_alphanumeric()) {
        let lower = piece.to_lowercase();
        for (at, word) in words.iter().enumerate() {
            let stem: String = word.chars().take(STEM_CHARS).collect();
            let is_dense = word.chars().all(|char| char > '\u{E00}');
            if lower.starts_with(&stem) {
                found.push((place, at));
            } else if is_dense && let Some(before) = lower.find(word.as_str()) {
                found.push((place + lower.split_at(before).0.chars().count(), at));
            }
        }
        place += piece.chars().count();
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_short_text_is_shown_whole_and_a_long_one_where_most_words_are() {
        assert_eq!(snippet("items[0]\nis é", &words("items")), "items[0]\nis é");
        let filler = "lorem ipsum dolor sit amet ".repeat(40);
        let text = format!("{filler}a dog. {filler}the dogs ran over café tables {filler}");
        let found = snippet(&text, &words("dog running tables"));
        assert!(found.contains("the dogs ran over café tables"), "{found}");
        assert!(found.starts_with('…') && found.ends_with('…') && found.chars().count() == MAX_CHARS + 2);
        let start = snippet(&text, &words("zebra"));
        assert_eq!(start, format!("{}…", text.chars().take(MAX_CHARS).collect::<String>()));
        let end = snippet(&format!("{filler}zebra"), &words("zebra"));
        assert!(end.starts_with('…') && end.ends_with("zebra"));
    }

    #[test]
    fn dense_scripts_are_found_inside_their_runs() {
        let text = format!("{}東京に住む{}", "あ".repeat(500), "い".repeat(500));
        assert!(snippet(&text, &words("東京 住む")).contains("東京に住む"));
    }
}
