//! Where a JSON object or array that comes in pieces ends.
//!
//! Invariant: each byte is looked at once, so that long arguments in many pieces cost no more than in one.

/// How far an object or array has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Extent {
    /// Nothing but white space so far.
    #[default]
    Fresh,
    /// Inside of it.
    Within {
        /// How many brackets are open.
        depth: u32,
        /// Inside a string.
        quoted: bool,
        /// The next character is escaped.
        escaped: bool,
    },
    /// It is whole.
    Whole,
    /// It is something else, whose end nobody can tell.
    Unknown,
}

impl Extent {
    /// Takes the next piece; gives what of it belongs to the value. White space behind the value does.
    pub(super) fn take<'a>(&mut self, piece: &'a str) -> &'a str {
        for (at, byte) in piece.bytes().enumerate() {
            *self = match (*self, byte) {
                (Extent::Unknown, _) => return piece,
                (state @ (Extent::Fresh | Extent::Whole), b' ' | b'\t' | b'\r' | b'\n') => state,
                (Extent::Whole, _) => return piece.get(..at).unwrap_or_default(),
                (Extent::Fresh, b'{' | b'[') => Extent::Within { depth: 1, quoted: false, escaped: false },
                (Extent::Fresh, _) => Extent::Unknown,
                (Extent::Within { depth, quoted: true, escaped }, byte) => {
                    let quoted = escaped || byte != b'"';
                    Extent::Within { depth, quoted, escaped: !escaped && byte == b'\\' }
                }
                (Extent::Within { depth, .. }, b'"') => {
                    Extent::Within { depth, quoted: true, escaped: false }
                }
                (Extent::Within { depth, .. }, b'{' | b'[') => {
                    Extent::Within { depth: depth.saturating_add(1), quoted: false, escaped: false }
                }
                (Extent::Within { depth: ..=1, .. }, b'}' | b']') => Extent::Whole,
                (Extent::Within { depth, .. }, b'}' | b']') => {
                    Extent::Within { depth: depth - 1, quoted: false, escaped: false }
                }
                (within, _) => within,
            };
        }
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_its_brackets_do_however_it_is_cut() {
        for (text, kept) in [
            ("{}{}", "{}"),
            (" {\"a\":[1,{\"b\":\"}]\\\"\\\\\"}]} \n{}", " {\"a\":[1,{\"b\":\"}]\\\"\\\\\"}]} \n"),
            ("[1]]", "[1]"),
            ("{\"a\":\"é}\"}x", "{\"a\":\"é}\"}"),
            ("words {} {}", "words {} {}"),
            ("{\"torn\":", "{\"torn\":"),
            ("", ""),
        ] {
            let mut whole = Extent::default();
            assert_eq!(whole.take(text), kept);
            let mut cut = Extent::default();
            let pieces: String = text.chars().map(|char| cut.take(&char.to_string()).to_owned()).collect();
            assert_eq!((pieces.as_str(), cut), (kept, whole));
        }
    }
}
