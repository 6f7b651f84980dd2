//! Sound, film and documents: how long they are, from a bounded part of their bytes.
//!
//! Invariant: no file is decoded whole; what is not found in the part that is read is told from the file's length.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padding is often left out.
const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
/// Google's clients write this one.
const BASE64_OF_URLS: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// The bytes of a piece of base64 in either alphabet; none where it is no base64.
fn bytes(letters: &[u8]) -> Vec<u8> {
    BASE64.decode(letters).or_else(|_| BASE64_OF_URLS.decode(letters)).unwrap_or_default()
}

/// The first bytes of a base64 text, at most `limit` and some; none where it is no base64.
pub fn decoded(base64: &str, limit: usize) -> Vec<u8> {
    let letters = base64.as_bytes();
    bytes(letters.get(..limit.div_ceil(3) * 4).unwrap_or(letters))
}

/// The last bytes of a base64 text, at most `limit` and some.
fn decoded_end(base64: &str, limit: usize) -> Vec<u8> {
    // Cut between groups of four, counted from the start.
    let skipped = base64.len().saturating_sub(limit.div_ceil(3) * 4) / 4 * 4;
    bytes(base64.as_bytes().get(skipped..).unwrap_or_default())
}

/// How many bytes a base64 text stands for.
fn length(base64: &str) -> u64 {
    base64.trim_end_matches('=').len() as u64 * 3 / 4
}

/// True when `bytes` has `word` at a place.
pub fn same_at(bytes: &[u8], at: usize, word: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(word))
}

/// Seconds of a sound or a film whose bytes are not at hand.
pub const UNKNOWN_SECONDS: u64 = 30;
/// Pages of a document whose bytes are not at hand.
pub const UNKNOWN_PAGES: u64 = 3;

/// Bytes a second by the kind of file, at the rates that recorders and exporters choose by themselves. A WAV says its
/// own; 24 kHz, 16 bits and one channel is what speech interfaces send without a head.
const BYTES_A_SECOND: [(&str, u64); 10] = [
    ("wav", 48_000),
    ("pcm", 48_000),
    ("flac", 60_000),
    ("mp3", 16_000),
    ("mpeg", 16_000),
    ("aac", 16_000),
    ("m4a", 16_000),
    ("ogg", 8_000),
    ("opus", 4_000),
    ("amr", 1_500),
];
/// Sound of another kind, and films.
const BYTES_A_SECOND_OF_SOUND: u64 = 16_000;
const BYTES_A_SECOND_OF_FILM: u64 = 150_000;

/// Seconds of sound in base64, at least one. `kind` is the MIME type or the format's name.
pub fn seconds_of_sound(base64: &str, kind: &str) -> u64 {
    let head = decoded(base64, 44);
    let is_wav = head.starts_with(b"RIFF") && same_at(&head, 8, b"WAVEfmt ");
    let rate = match head.get(28..32) {
        Some([a, b, c, d]) if is_wav => u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => BYTES_A_SECOND
            .iter()
            .find(|(word, _)| kind.contains(word))
            .map_or(BYTES_A_SECOND_OF_SOUND, |(_, rate)| *rate),
    };
    length(base64).div_ceil(rate.max(1)).max(1)
}

/// Seconds of a film in base64, at least one.
pub fn seconds_of_film(base64: &str) -> u64 {
    length(base64).div_ceil(BYTES_A_SECOND_OF_FILM).max(1)
}

/// How much of each end of a PDF is searched for its number of pages.
const PDF_END: usize = 64 * 1024;
/// Bytes of a page, where the number is packed away: between plain text and scans.
const BYTES_A_PAGE: u64 = 40_000;
/// No page takes less; a number of pages that would need smaller ones is a broken file's, or a trap.
const LEAST_BYTES_A_PAGE: u64 = 100;

/// Pages of a PDF in base64, at least one: the root of the page tree says how many there are, near one of the file's ends
/// where a writer did not pack it.
pub fn pages(base64: &str) -> u64 {
    let size = length(base64);
    let told = [decoded(base64, PDF_END), decoded_end(base64, PDF_END)]
        .iter()
        .filter_map(|part| largest_count(part))
        .max()
        .filter(|pages| (1..=(size / LEAST_BYTES_A_PAGE).max(1)).contains(pages));
    told.unwrap_or_else(|| size.div_ceil(BYTES_A_PAGE)).max(1)
}

/// The largest number behind `/Count`: inner nodes of the page tree have smaller ones, outlines have negative ones when
/// they are closed.
fn largest_count(bytes: &[u8]) -> Option<u64> {
    const WORD: &[u8] = b"/Count";
    let mut largest = None;
    let mut rest = bytes;
    while let Some(at) = rest.windows(WORD.len()).position(|window| window == WORD) {
        rest = rest.get(at + WORD.len()..).unwrap_or_default();
        let digits = rest.trim_ascii_start();
        let number = digits
            .iter()
            .take(9)
            .map_while(|byte| char::from(*byte).to_digit(10).map(u64::from))
            .reduce(|number, digit| number * 10 + digit);
        largest = largest.max(number);
    }
    largest
}

/// How much of a text file is read; a longer one is taken to go on as it began.
const TEXT_HEAD: usize = 48 * 1024;

/// What a text file in base64 comes to, by a measure of texts; `None` when it is no text.
pub fn measured(base64: &str, measure: impl Fn(&str) -> u64) -> Option<u64> {
    let head = decoded(base64, TEXT_HEAD);
    // The cut may go through a character.
    let text = match std::str::from_utf8(&head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    if text.contains('\0') {
        return None;
    }
    let read = (text.len() as u64).max(1);
    Some(measure(text).saturating_mul(length(base64).max(read)) / read)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn both_alphabets_are_read_with_padding_or_without() {
        for base64 in ["+/+/AA==", "+/+/AA", "-_-_AA==", "-_-_AA"] {
            assert_eq!(decoded(base64, 100), [0xfb, 0xff, 0xbf, 0], "{base64}");
        }
        assert_eq!(decoded("+/+/AA==", 2), [0xfb, 0xff, 0xbf]);
        assert!(decoded("no base64", 100).is_empty());
    }

    #[test]
    fn a_wav_says_its_own_rate() {
        let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        wav.extend(16_000_u32.to_le_bytes());
        wav.extend(32_000_u32.to_le_bytes());
        wav.resize(32_000 * 5, 0);
        assert_eq!(seconds_of_sound(&STANDARD.encode(&wav), "wav"), 5);
    }

    #[test]
    fn other_sound_is_told_by_its_kind() {
        let bytes = STANDARD.encode(vec![1; 160_000]);
        assert_eq!(seconds_of_sound(&bytes, "audio/mp3"), 10);
        assert_eq!(seconds_of_sound(&bytes, "pcm16"), 4);
        assert_eq!(seconds_of_sound(&bytes, "audio/ogg"), 20);
        assert_eq!(seconds_of_sound("", "mp3"), 1);
        assert_eq!(seconds_of_film(&STANDARD.encode(vec![1; 600_000])), 4);
    }

    #[test]
    fn a_pdf_says_its_pages_at_one_of_its_ends() {
        let pdf = |front: &str, filling: usize, back: &str| {
            STANDARD.encode([front.as_bytes(), &vec![b' '; filling], back.as_bytes()].concat())
        };
        assert_eq!(pages(&pdf("%PDF-1.4 /Type /Pages /Count 12", 4000, "")), 12);
        assert_eq!(pages(&pdf("%PDF-1.4", 1_000_000, "<< /Count 3 >> << /Count 45\n>>")), 45);
        assert_eq!(pages(&pdf("%PDF-1.4", 100_000, "")), 3, "by its length");
        assert_eq!(pages(&pdf("%PDF-1.4 /Count 99999", 4000, "")), 1, "a page takes some bytes");
        assert_eq!(pages(&pdf("%PDF-1.4 /Count -7", 4000, "")), 1, "a closed outline");
        assert_eq!(pages(""), 1);
    }

    #[test]
    fn a_text_file_is_read_in_part_and_goes_on_as_it_began() {
        let measure = |text: &str| text.len() as u64 / 10;
        assert_eq!(measured(&STANDARD.encode("é".repeat(50)), measure), Some(10));
        let long = measured(&STANDARD.encode("ab é".repeat(40_000)), measure).unwrap();
        assert!(long.abs_diff(20_000) < 20, "{long}");
        assert_eq!(measured(&STANDARD.encode(b"\xff\xfe\0binary"), measure), None);
    }
}
