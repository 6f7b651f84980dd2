//! Scripts, and what their letters cost in tokens.
//!
//! Invariant: each character is of exactly one script; what is in no row of the table costs as much as what vocabularies
//! have no piece for.

/// A script's price in thousandths of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// A run of it, whatever its length; nothing where words are not told apart by spaces.
    pub word: u64,
    /// Each character.
    pub letter: u64,
}

/// Ranges of code points in order, by Unicode's blocks, with the price of a run and of a character.
const SCRIPTS: &[(u32, u32, u64, u64)] = &[
    // Signs and symbols of Latin-1.
    (0x0080, 0x00bf, 0, 600),
    // Phonetic letters and modifiers.
    (0x0250, 0x02ff, 0, 1000),
    // Greek.
    (0x0370, 0x03ff, 694, 273),
    // Cyrillic.
    (0x0400, 0x052f, 1022, 150),
    // Armenian.
    (0x0530, 0x058f, 596, 215),
    // Hebrew.
    (0x0590, 0x05ff, 635, 316),
    // Arabic.
    (0x0600, 0x077f, 601, 226),
    (0x08a0, 0x08ff, 601, 226),
    // Devanagari.
    (0x0900, 0x097f, 0, 354),
    // Bengali.
    (0x0980, 0x09ff, 725, 241),
    // Gurmukhi.
    (0x0a00, 0x0a7f, 185, 572),
    // Gujarati.
    (0x0a80, 0x0aff, 202, 365),
    // Oriya.
    (0x0b00, 0x0b7f, 200, 570),
    // Tamil.
    (0x0b80, 0x0bff, 503, 313),
    // Telugu.
    (0x0c00, 0x0c7f, 0, 506),
    // Kannada.
    (0x0c80, 0x0cff, 0, 432),
    // Malayalam.
    (0x0d00, 0x0d7f, 53, 325),
    // Sinhala.
    (0x0d80, 0x0dff, 200, 570),
    // Thai.
    (0x0e00, 0x0e7f, 0, 416),
    // Lao and Tibetan.
    (0x0e80, 0x0fff, 0, 1878),
    // Burmese.
    (0x1000, 0x109f, 0, 591),
    // Georgian.
    (0x10a0, 0x10ff, 596, 215),
    // Ethiopic.
    (0x1200, 0x139f, 0, 1994),
    // Khmer.
    (0x1780, 0x17ff, 0, 591),
    (0x1c90, 0x1cbf, 596, 215),
    // Greek with accents.
    (0x1f00, 0x1fff, 0, 1500),
    // Dashes, quotation marks, the ellipsis.
    (0x2000, 0x206f, 0, 700),
    // Currency, arrows, mathematics, boxes.
    (0x20a0, 0x25ff, 0, 1000),
    // Dingbats and the older emoji.
    (0x2600, 0x27bf, 0, 1800),
    // Ideographic punctuation.
    (0x3000, 0x303f, 0, 1300),
    // Kana.
    (0x3040, 0x30ff, 0, 749),
    // Ideographs.
    (0x3400, 0x4dbf, 0, 2000),
    (0x4e00, 0x9fff, 0, 757),
    // Hangul.
    (0xac00, 0xd7af, 0, 748),
    // Arabic's presentation forms.
    (0xfb50, 0xfdff, 0, 1000),
    // Variation selectors, which follow emoji.
    (0xfe00, 0xfe0f, 0, 800),
    (0xfe70, 0xfefc, 0, 1000),
    // Full-width forms.
    (0xff00, 0xff65, 0, 1300),
    (0xff66, 0xff9f, 0, 1500),
    // Emoji.
    (0x1f000, 0x1faff, 0, 1650),
];

/// What vocabularies have no piece for is spelled in bytes, some of which are merged.
const RARE: Script = Script { word: 0, letter: 2700 };

/// The script of a character that is not Latin.
pub fn of(char: char) -> Script {
    let code = u32::from(char);
    let row = SCRIPTS.partition_point(|(_, last, ..)| *last < code);
    match SCRIPTS.get(row) {
        Some((first, _, word, letter)) if *first <= code => Script { word: *word, letter: *letter },
        _ => RARE,
    }
}

/// True for letters of the Latin alphabet, marked ones included, and for the marks that follow their letter.
pub fn is_latin(char: char) -> bool {
    match char {
        'a'..='z' | 'A'..='Z' => true,
        '\u{c0}'..='\u{24f}' => !matches!(char, '×' | '÷'),
        '\u{300}'..='\u{36f}' | '\u{1e00}'..='\u{1eff}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_are_in_order_and_apart() {
        for (one, next) in SCRIPTS.iter().zip(SCRIPTS.iter().skip(1)) {
            assert!(one.0 <= one.1 && one.1 < next.0, "{:#x}", next.0);
        }
    }
}
