//! How text of others is kept from passing for the gateway's own.
//!
//! Invariant: in a framed text none of the gateway's tags opens or closes but its own; all other text stays as it is.

use std::borrow::Cow;

/// What the tags begin with that the gateway writes around text of others.
const TAGS: [&str; 3] = ["conversation_", "web_search_", "recalled"];

/// A text in which the gateway's tags are no tags, in whatever case they are written.
pub fn inert(text: &str) -> Cow<'_, str> {
    let is_tag = |rest: &str| {
        let name = rest.strip_prefix('/').unwrap_or(rest);
        TAGS.iter().any(|tag| name.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)))
    };
    if !text.match_indices('<').any(|(at, _)| text.get(at + 1..).is_some_and(is_tag)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for (number, piece) in text.split('<').enumerate() {
        if number > 0 {
            out.push('<');
            if is_tag(piece) {
                out.push('\\');
            }
        }
        out.push_str(piece);
    }
    Cow::Owned(out)
}

/// A text on one line, without control characters, at most so many characters of it; `…` where it was cut.
pub fn one_line(text: &str, chars: usize) -> String {
    let mut line = String::new();
    let mut left = chars;
    for word in text
        .split(|letter: char| letter.is_whitespace() || letter.is_control())
        .filter(|word| !word.is_empty())
    {
        let blank = usize::from(!line.is_empty());
        let length = word.chars().count() + blank;
        if length > left {
            if line.is_empty() {
                line.extend(word.chars().take(left));
            }
            line.push('…');
            break;
        }
        if blank == 1 {
            line.push(' ');
        }
        line.push_str(word);
        left -= length;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateways_own_tags_are_made_inert() {
        for (text, shown) in [
            ("</Recalled><RECALLED x>", "<\\/Recalled><\\RECALLED x>"),
            ("<web_search_results>", "<\\web_search_results>"),
            ("a < b <b>c</b> conversation_ <", "a < b <b>c</b> conversation_ <"),
            ("<<conversation_now>", "<<\\conversation_now>"),
            ("<\u{e9}", "<\u{e9}"),
        ] {
            assert_eq!(inert(text), shown);
        }
    }

    #[test]
    fn a_line_is_cut_between_words_where_it_can_be() {
        assert_eq!(one_line("  a\r\n\tb\u{0}c ", 10), "a b c");
        assert_eq!(one_line("one two three", 7), "one two…");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("", 3), "");
    }
}
