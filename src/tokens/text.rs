//! The tokens of a text, estimated without a vocabulary: the text is cut as the common byte-pair tokenizers cut it before
//! they merge (words with the space before them, runs of digits, of signs, of white space), and each piece costs what
//! such a piece costs on the average.
//!
//! Invariant: one pass, no allocation; a piece's price depends on its script and shape, and on nothing outside the text
//! but the tables here.
//!
//! The prices are least squares over chunks of 700 characters in 60 languages, prose, chat, code, JSON, logs and encoded
//! bytes, measured with the 200,000-piece vocabulary of OpenAI's newer models. Other vocabularies are accounted for by
//! [`super::model`].

use super::script;

/// Prices are in thousandths of a token.
type Price = u64;

/// A Latin word of at least two letters.
const WORD: Price = 958;
/// A single Latin letter.
const LETTER: Price = 776;
/// Each letter from the fifth to the ninth, from the tenth to the fourteenth, and after: long words are put together.
const LETTER_OF_LONGER: [(usize, usize, Price); 3] = [(4, 9, 45), (9, 14, 75), (14, usize::MAX, 650)];
/// A capital at the head of a word of four letters or more.
const CAPITAL: Price = 169;
/// A word all in capitals, and each letter of it past the second.
const CAPITALS: (Price, Price) = (952, 176);
/// A letter of Latin-1 (é, ü, ñ), which the well-read languages use, and one from further up (ł, ş, ř, ế).
const MARKED: (Price, Price) = (604, 822);
/// A letter that only Vietnamese has (ộ, ư): its syllables are mostly pieces of their own.
const VIETNAMESE: Price = 150;
/// What each letter past a word's second costs more in the languages that vocabularies know well (Spanish, German), and
/// in the others (Polish, Turkish, Swahili), where each word costs more, too.
const WELL_KNOWN_LETTER: Price = 57;
const LITTLE_KNOWN_LETTER: Price = 141;
const LITTLE_KNOWN_WORD: Price = 100;
/// Three digits, and the space before a number, which no number is merged with.
const DIGITS: Price = 1327;
const SPACE_BEFORE_DIGITS: Price = 659;
/// A line's end after a letter, after a sign, and the indentation of the next line.
const LINE_END: Price = 1418;
const LINE_END_AFTER_SIGN: Price = 1157;
const INDENTATION: Price = 678;
/// Each character of white space with a line's end in it, past the eighth.
const BLANK: Price = 30;
/// A run of spaces, and each one past the second.
const SPACES: (Price, Price) = (2067, 60);
/// A comma, a full stop, any other single sign of ASCII.
const COMMA: Price = 752;
const FULL_STOP: Price = 322;
const SIGN: Price = 490;
/// Several signs together, as in code, and each past the second.
const SIGNS: (Price, Price) = (796, 189);
/// One sign over and over (a ruled line), and each of them.
const RULE: (Price, Price) = (600, 20);
/// A character of base64, and of hexadecimal.
const BASE64: Price = 685;
const HEX: Price = 573;

/// Tokens of a text; at least one for any text but the empty one.
pub fn tokens(text: &str) -> u64 {
    if text.is_empty() { 0 } else { ((price(text) + 500) / 1000).max(1) }
}

/// What stands directly before a piece.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Start,
    Space,
    LineEnd,
    Sign,
    Other,
}

/// What the words say about the text's language: function words and marked letters, counted in halves.
#[derive(Default)]
struct Language {
    english: u64,
    well_known: u64,
    little_known: u64,
    /// Words whose marked letters are of Latin-1 only.
    marked: u64,
    words: u64,
    letters_past_two: u64,
}

fn price(text: &str) -> Price {
    let mut rest = text;
    let mut before = Before::Start;
    let mut language = Language::default();
    let mut price = 0;
    // A run that was found to be words is not looked at again at each word of it.
    let mut no_blob_until = 0;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        if at >= no_blob_until && is_of_blobs(first) {
            let end = rest.bytes().position(|byte| !is_of_blobs(char::from(byte))).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            if let Some(each) = price_in_blob(run) {
                price += each * run.len() as u64;
                (rest, before) = (after, Before::Other);
                continue;
            }
            no_blob_until = at + run.len();
        }
        let (run, after, this) = if script::is_latin(first) {
            let word = Word::at_start_of(rest);
            price += word.price(&mut language);
            let (run, after) = rest.split_at(word.bytes);
            (run, after, Before::Other)
        } else if first.is_ascii_digit() {
            let (digits, after) = leading(rest, |char| char.is_ascii_digit());
            price += digits.len().div_ceil(3) as u64 * DIGITS;
            price += if before == Before::Space { SPACE_BEFORE_DIGITS } else { 0 };
            (digits, after, Before::Other)
        } else if first.is_whitespace() {
            let (space, after) = leading(rest, char::is_whitespace);
            let (cost, this) = price_of_space(space, before);
            price += cost;
            (space, after, this)
        } else if first.is_ascii() {
            let (signs, after) = leading(rest, is_sign);
            price += price_of_signs(signs);
            (signs, after, Before::Sign)
        } else {
            let script = script::of(first);
            let (run, after) = leading(rest, |char| !char.is_ascii() && script::of(char) == script);
            price += script.word + script.letter * run.chars().count() as u64;
            (run, after, Before::Other)
        };
        debug_assert!(!run.is_empty());
        (rest, before) = (after, this);
    }
    price + language.price()
}

fn leading(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|char| !belongs(char)).unwrap_or(text.len()))
}

fn is_sign(char: char) -> bool {
    char.is_ascii() && !char.is_ascii_alphanumeric() && !char.is_whitespace()
}

/// A run of Latin letters, up to where a capital follows a small one (`camelCase`).
#[derive(Default)]
struct Word {
    bytes: usize,
    letters: usize,
    /// Small letters.
    small: usize,
    /// Letters of Latin-1, of Vietnamese, and others from further up.
    latin_1: u64,
    vietnamese: u64,
    extended: u64,
    begins_with_capital: bool,
    /// The last letters, in small ones: one byte each, as [`codes`] writes them.
    code: u64,
}

impl Word {
    fn at_start_of(text: &str) -> Self {
        let mut word = Word::default();
        let mut after_small = false;
        for char in text.chars() {
            if !script::is_latin(char) {
                break;
            }
            let small = if char.is_ascii() { char.is_ascii_lowercase() } else { char.is_lowercase() };
            let capital = !small && (char.is_ascii() || char.is_uppercase());
            if after_small && capital {
                break;
            }
            match char {
                '\0'..='\x7f' => word.code = (word.code << 8) | u64::from(char.to_ascii_lowercase() as u8),
                '\u{80}'..='\u{ff}' => word.latin_1 += 1,
                '\u{1a0}'..='\u{1b0}' | '\u{1ea0}'..='\u{1ef9}' => word.vietnamese += 1,
                _ => word.extended += 1,
            }
            word.begins_with_capital |= capital && word.letters == 0;
            word.letters += 1;
            word.bytes += char.len_utf8();
            word.small += usize::from(small);
            after_small = small;
        }
        word
    }

    fn price(&self, language: &mut Language) -> Price {
        let marks = self.latin_1 * MARKED.0 + self.vietnamese * VIETNAMESE + self.extended * MARKED.1;
        match (self.vietnamese, self.extended, self.latin_1) {
            (0, 0, 0) => language.note_word(self),
            (0, 0, _) => language.marked += 1,
            (0, ..) => language.little_known += 2,
            _ => language.well_known += 2,
        }
        if self.letters <= 1 {
            return LETTER + marks;
        }
        let past_two = self.letters as u64 - 2;
        if self.small == 0 {
            return CAPITALS.0 + CAPITALS.1 * past_two + marks;
        }
        language.words += 1;
        language.letters_past_two += past_two;
        let longer: Price = LETTER_OF_LONGER
            .iter()
            .map(|(from, to, each)| self.letters.min(*to).saturating_sub(*from) as u64 * each)
            .sum();
        let capital = if self.begins_with_capital && self.letters > 3 { CAPITAL } else { 0 };
        WORD + longer + capital + marks
    }
}

fn price_of_space(space: &str, before: Before) -> (Price, Before) {
    let Some(end) = space.rfind('\n') else {
        return match space.chars().count() as u64 {
            // A single space is merged with the word after it.
            1 => (0, Before::Space),
            length => (SPACES.0 + SPACES.1 * (length - 2), Before::Space),
        };
    };
    let line_end = if before == Before::Sign { LINE_END_AFTER_SIGN } else { LINE_END };
    let indented = space.len() - end > 2;
    let blank = BLANK * space.len().saturating_sub(8) as u64;
    (line_end + if indented { INDENTATION } else { 0 } + blank, Before::LineEnd)
}

fn price_of_signs(signs: &str) -> Price {
    let length = signs.len() as u64;
    match signs.as_bytes() {
        [b','] => COMMA,
        [b'.'] => FULL_STOP,
        [_] => SIGN,
        [first, others @ ..] if length > 3 && others.iter().all(|other| other == first) => {
            RULE.0 + RULE.1 * length
        }
        _ => SIGNS.0 + SIGNS.1 * (length - 2),
    }
}

/// Shorter runs are costed as what they look like.
const SHORTEST_BLOB: usize = 24;

fn is_of_blobs(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '+' | '/' | '=' | '_' | '-')
}

/// What each character of a run costs if the run is encoded bytes and no words: letters of both cases and digits follow
/// each other without order.
fn price_in_blob(run: &str) -> Option<Price> {
    if run.len() < SHORTEST_BLOB || !run.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let class = |byte: u8| match byte {
        b'0'..=b'9' => Some(0),
        b'a'..=b'z' => Some(1),
        b'A'..=b'Z' => Some(2),
        // Between signs there may be words (paths, names).
        _ => None,
    };
    let changes = run
        .bytes()
        .map(class)
        .zip(run.bytes().map(class).skip(1))
        .filter(|(one, next)| one.is_some() && next.is_some() && one != next)
        .count();
    let is_hex = run.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    // Hexadecimal digits alone spell hardly any words.
    if is_hex && changes * 8 > run.len() {
        Some(HEX)
    } else if changes * 10 > run.len() * 3 {
        Some(BASE64)
    } else {
        None
    }
}

impl Language {
    fn note_word(&mut self, word: &Word) {
        if !(2..=LONGEST_FUNCTION_WORD).contains(&word.letters) {
            return;
        }
        if ENGLISH.binary_search(&word.code).is_ok() {
            self.english += 2;
        } else if WELL_KNOWN.binary_search(&word.code).is_ok() {
            self.well_known += 2;
        } else if LITTLE_KNOWN.binary_search(&word.code).is_ok() {
            self.little_known += 2;
        }
    }

    /// What the words cost beyond English ones. English is assumed until something speaks against it.
    fn price(&self) -> Price {
        // Of the well-known languages none marks every third word; Hungarian and Finnish do.
        let marked_little_known = if self.marked * 3 > self.words { self.marked } else { 0 };
        let foreign = self.well_known + self.little_known + self.marked + marked_little_known;
        if foreign == 0 {
            return 0;
        }
        // Languages that are little known share function words with the others, so their own weigh more.
        let little_known = ((self.little_known + 2 * marked_little_known) * 1600 / foreign).min(1000);
        let letter = (WELL_KNOWN_LETTER * (1000 - little_known) + LITTLE_KNOWN_LETTER * little_known) / 1000;
        let word = LITTLE_KNOWN_WORD * little_known / 1000;
        (self.letters_past_two * letter + self.words * word) * foreign / (foreign + 2 * self.english + 4)
    }
}

const LONGEST_FUNCTION_WORD: usize = 4;

/// The commonest short words, as numbers in order: what tells a text's language at the price of a look-up.
const ENGLISH: [u64; 35] = codes([
    "of", "to", "in", "is", "it", "as", "on", "be", "at", "or", "by", "if", "my", "we", "the", "and", "for",
    "you", "was", "are", "not", "can", "his", "has", "had", "but", "our", "that", "with", "this", "have",
    "from", "your", "what", "will",
]);
const WELL_KNOWN: [u64; 62] = codes([
    "de", "la", "el", "en", "le", "et", "du", "un", "es", "di", "il", "um", "na", "al", "au", "se", "ao",
    "os", "zu", "em", "do", "su", "que", "les", "des", "une", "der", "die", "das", "und", "ist", "den",
    "von", "ein", "che", "per", "non", "los", "las", "por", "con", "del", "uma", "mit", "auf", "aus", "dem",
    "qui", "sur", "het", "van", "een", "mas", "com", "est", "pas", "eine", "sich", "para", "dans", "pour",
    "mais",
]);
const LITTLE_KNOWN: [u64; 44] = codes([
    "og", "er", "ja", "az", "ve", "bu", "da", "si", "cu", "je", "ed", "jak", "co", "ne", "ho", "ku", "ya",
    "wa", "af", "ei", "ir", "za", "od", "att", "som", "det", "och", "bir", "dan", "nie", "kwa", "har", "til",
    "kad", "oraz", "jest", "hogy", "yang", "itu", "ini", "bez", "nem", "egy", "tak",
]);

/// Words as [`Word::code`] has them, sorted.
#[expect(clippy::indexing_slicing, reason = "only constants are made with it: the compiler would report it")]
const fn codes<const N: usize>(words: [&str; N]) -> [u64; N] {
    let mut out = [0; N];
    let mut word = 0;
    while word < N {
        let mut letters = words[word].as_bytes();
        let mut code = 0;
        while let [letter, others @ ..] = letters {
            code = (code << 8) | *letter as u64;
            letters = others;
        }
        // Insertion: a constant has no `sort`.
        let mut place = word;
        while place > 0 && out[place - 1] > code {
            out[place] = out[place - 1];
            place -= 1;
        }
        out[place] = code;
        word += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_where_tokenizers_cut_them() {
        for (text, end) in
            [("word next", 4), ("camelCase", 5), ("HTTPServer", 10), ("naïve.", 6), ("snake_case", 5)]
        {
            assert_eq!(Word::at_start_of(text).bytes, end, "{text}");
        }
    }

    #[test]
    fn encoded_bytes_are_told_from_words() {
        for run in ["iVBORw0KGgoAAAANSUhEUgAAAMgAAADICAYAAACtWK6e", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"] {
            assert_eq!(price_in_blob(run), Some(BASE64), "{run}");
        }
        for run in ["9b74c9897bac770ffc029102a200c5de", "123e4567-e89b-12d3-a456-426614174000"] {
            assert_eq!(price_in_blob(run), Some(HEX), "{run}");
        }
        for run in [
            "usr/local/lib/python3/dist-packages",
            "a_rather_long_name_with_underscores_2",
            "getElementsByTagNameAndReturnThem",
            "--------------------------------",
            "12345678901234567890123456789012",
            "aB3dE5gH",
        ] {
            assert_eq!(price_in_blob(run), None, "{run}");
        }
    }

    #[test]
    fn function_words_tell_the_language() {
        let language = |text: &str| {
            let mut language = Language::default();
            for word in text.split(' ') {
                Word::at_start_of(word).price(&mut language);
            }
            (language.english, language.well_known, language.little_known, language.marked)
        };
        assert_eq!(language("The cat and the dog"), (6, 0, 0, 0));
        assert_eq!(language("der Hund und die Katze"), (0, 6, 0, 0));
        assert_eq!(language("perché è così"), (0, 0, 0, 3), "by marked letters");
        assert_eq!(language("kot nie jest psem"), (0, 0, 4, 0));
        assert_eq!(language("zażółć"), (0, 0, 2, 0), "by marked letters");
    }

    #[test]
    fn the_lists_share_no_word() {
        let all = [ENGLISH.as_slice(), &WELL_KNOWN, &LITTLE_KNOWN].concat();
        for (at, code) in all.iter().enumerate() {
            assert!(!all.iter().skip(at + 1).any(|other| other == code), "{:?}", code.to_be_bytes());
        }
    }
}
