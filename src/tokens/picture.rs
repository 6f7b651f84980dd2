//! Pictures: their size from the head of the file, and what they cost by the formulas that providers publish.
//!
//! Invariant: the picture is never decoded and only a bounded head of it is read; a size that is not found there is
//! [`UNKNOWN`].

use super::media::{decoded, same_at};

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels across.
    pub width: u64,
    /// Pixels down.
    pub height: u64,
}

/// What a picture of unknown size (behind a URL, or a file id) is taken for: the middle between a thumbnail and what a
/// camera takes, after providers have made it smaller.
pub const UNKNOWN: Size = Size { width: 1024, height: 768 };

/// The resolution at which a model is to look, where the client said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A thumbnail.
    Low,
    /// What the model takes by itself.
    Auto,
    /// As much as it can.
    High,
}

impl Detail {
    /// Reads a client's word. Unknown words are left to the model.
    pub fn of(word: Option<&str>) -> Self {
        match word {
            Some("low") => Detail::Low,
            Some("high" | "original" | "ultra_high") => Detail::High,
            _ => Detail::Auto,
        }
    }
}

/// How a maker counts pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// OpenAI's older models: fitted into 2048 × 2048, the shorter side brought to 768, then a base and a price for each
    /// square of 512; the base alone at low detail.
    /// <https://platform.openai.com/docs/guides/images-vision#calculating-costs>
    Tiles {
        /// For any picture.
        base: u64,
        /// For each square.
        tile: u64,
    },
    /// OpenAI's newer models and many open ones: squares of so many pixels, made fewer by shrinking the picture, times a
    /// factor (in thousandths). Same source; <https://docs.mistral.ai/capabilities/vision>
    Patches {
        /// A square's side in pixels.
        side: u64,
        /// The most patches.
        most: u64,
        /// Tokens a thousand patches.
        permille: u64,
    },
    /// Anthropic: width × height / 750, after shrinking. <https://docs.anthropic.com/en/docs/build-with-claude/vision>
    Area {
        /// The longest edge in pixels.
        longest_edge: u64,
        /// The most tokens.
        most: u64,
    },
    /// Gemini 2.0: 258 up to 384 × 384, else 258 for each crop and for the whole.
    /// <https://ai.google.dev/gemini-api/docs/tokens>
    Crops,
    /// Gemini's newer models, which bring every picture to one size.
    /// <https://ai.google.dev/gemini-api/docs/media-resolution>
    Fixed {
        /// At low resolution.
        low: u64,
        /// Where nothing is said.
        auto: u64,
        /// At high resolution.
        high: u64,
    },
}

impl Formula {
    /// Tokens of a picture.
    pub fn tokens(self, size: Size, detail: Detail) -> u64 {
        let Size { width, height } = Size { width: size.width.max(1), height: size.height.max(1) };
        match self {
            Formula::Tiles { base, .. } if detail == Detail::Low => base,
            Formula::Tiles { base, tile } => {
                let fitted = fit(Size { width, height }, 2048);
                let short = fitted.width.min(fitted.height);
                let scaled = |edge: u64| if short > 768 { edge * 768 / short } else { edge };
                base + tile * scaled(fitted.width).div_ceil(512) * scaled(fitted.height).div_ceil(512)
            }
            Formula::Patches { side, most, permille } => {
                // At low detail OpenAI brings the picture to 512 pixels, which is 256 patches of theirs.
                let most = if detail == Detail::Low { most.min(256) } else { most };
                patches(Size { width, height }, side, most) * permille / 1000
            }
            Formula::Area { longest_edge, most } => {
                let fitted = fit(Size { width, height }, longest_edge);
                (fitted.width * fitted.height).div_ceil(750).min(most)
            }
            Formula::Crops => {
                if width <= 384 && height <= 384 {
                    return 258;
                }
                let unit = (width.min(height) * 2 / 3).clamp(256, 768);
                258 * (1 + width.div_ceil(unit).saturating_mul(height.div_ceil(unit)).min(MOST_CROPS))
            }
            Formula::Fixed { low, auto, high } => match detail {
                Detail::Low => low,
                Detail::Auto => auto,
                Detail::High => high,
            },
        }
    }
}

/// Squares that cover a picture. One with more than `most` is shrunk to that many, and then until one of its
/// sides is whole squares.
fn patches(size: Size, side: u64, most: u64) -> u64 {
    let all = size.width.div_ceil(side).saturating_mul(size.height.div_ceil(side));
    if all <= most {
        return all;
    }
    let (width, height) = (size.width as f64 / side as f64, size.height as f64 / side as f64);
    let shrunk = (most as f64 / (width * height)).sqrt();
    let (across, down) = (width * shrunk, height * shrunk);
    let whole = (across.floor() / across).min(down.floor() / down);
    // The whole side may come out a hair above its number.
    let squares = |side: f64| (side * whole - 1e-6).ceil() as u64;
    (squares(across) * squares(down)).min(most)
}

/// More crops than any picture is cut into that a provider accepts.
const MOST_CROPS: u64 = 64;

/// A size brought down to a longest edge, its shape kept.
fn fit(size: Size, edge: u64) -> Size {
    let longest = size.width.max(size.height);
    if longest <= edge {
        return size;
    }
    let scaled = |side: u64| (side * edge / longest).max(1);
    Size { width: scaled(size.width), height: scaled(size.height) }
}

/// How much of a JPEG is read: its size comes after the camera's notes and a thumbnail, which fill up to 64 kB each.
const JPEG_HEAD: usize = 192 * 1024;
/// How much is read of the formats whose size stands in front.
const HEAD: usize = 32;

/// The size of a picture in base64; `None` for a format other than PNG, JPEG, GIF and WebP, and for a broken head.
pub fn size_of(base64: &str) -> Option<Size> {
    let head = decoded(base64, HEAD);
    let size = match head.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => {
            Size { width: big_endian(head.get(16..20)?), height: big_endian(head.get(20..24)?) }
        }
        [b'G', b'I', b'F', b'8', ..] => {
            Size { width: little_endian(head.get(6..8)?), height: little_endian(head.get(8..10)?) }
        }
        [b'R', b'I', b'F', b'F', ..] if same_at(&head, 8, b"WEBP") => size_of_webp(&head)?,
        [0xff, 0xd8, ..] => size_of_jpeg(&decoded(base64, JPEG_HEAD))?,
        _ => return None,
    };
    (size.width > 0 && size.height > 0).then_some(size)
}

/// <https://developers.google.com/speed/webp/docs/riff_container>
fn size_of_webp(head: &[u8]) -> Option<Size> {
    match head.get(12..16)? {
        b"VP8 " => Some(Size {
            width: little_endian(head.get(26..28)?) & 0x3fff,
            height: little_endian(head.get(28..30)?) & 0x3fff,
        }),
        b"VP8L" => {
            let bits = little_endian(head.get(21..25)?);
            Some(Size { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 })
        }
        b"VP8X" => Some(Size {
            width: little_endian(head.get(24..27)?) + 1,
            height: little_endian(head.get(27..30)?) + 1,
        }),
        _ => None,
    }
}

/// A JPEG is a row of segments; the one that begins the frame holds its size (ITU T.81, B.2.2).
fn size_of_jpeg(bytes: &[u8]) -> Option<Size> {
    let mut at = 2;
    loop {
        match bytes.get(at..at + 2)? {
            // A marker may be preceded by any number of fill bytes.
            [0xff, 0xff] => at += 1,
            // Markers without a length.
            [0xff, 0x01 | 0xd0..=0xd8] => at += 2,
            [0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf] => {
                return Some(Size {
                    width: big_endian(bytes.get(at + 7..at + 9)?),
                    height: big_endian(bytes.get(at + 5..at + 7)?),
                });
            }
            [0xff, _] => at += 2 + usize::try_from(big_endian(bytes.get(at + 2..at + 4)?)).ok()?,
            _ => return None,
        }
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn size(bytes: &[u8]) -> Option<Size> {
        size_of(&STANDARD.encode(bytes))
    }

    fn jpeg(notes: usize) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        for length in [notes / 2, notes - notes / 2] {
            bytes.extend([0xff, 0xe1]);
            bytes.extend(u16::try_from(length + 2).unwrap().to_be_bytes());
            bytes.extend(vec![0; length]);
        }
        bytes.extend([0xff, 0xff, 0xc2, 0, 17, 8, 0x03, 0x00, 0x04, 0x00, 3]);
        bytes
    }

    #[test]
    fn the_size_is_read_from_each_format() {
        let expected = Some(Size { width: 1024, height: 768 });
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x04\0\0\0\x03\0\x08\x06";
        assert_eq!(size(png), expected);
        assert_eq!(size(b"GIF89a\0\x04\0\x03\0"), expected);
        assert_eq!(size(b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\x10\0\0\x9d\x01\x2a\0\x04\0\x03\0\0"), expected);
        // 1023 in the low 14 bits, 767 in the next.
        let bits = (1023_u32 | (767 << 14)).to_le_bytes();
        let lossless = [b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f".as_slice(), &bits].concat();
        assert_eq!(size(&lossless), expected);
        assert_eq!(size(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x03\0\xff\x02\0"), expected);
        assert_eq!(size(&jpeg(0)), expected);
        assert_eq!(size(&jpeg(100_000)), expected, "behind a camera's notes");
    }

    #[test]
    fn broken_heads_and_other_formats_have_no_size() {
        for bytes in [
            b"".as_slice(),
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a\0\x04",
            b"RIFF\0\0\0\0WEBPVP8 ",
            b"\xff\xd8\xff\xe1\xff\xff",
            b"\xff\xd8\xff\xe0\0\0",
            b"\xff\xd8no marker",
            b"GIF89a\0\0\0\0",
            b"BM bitmaps",
        ] {
            assert_eq!(size(bytes), None, "{bytes:?}");
        }
        assert_eq!(size_of("no base64 at all!"), None);
    }

    #[test]
    fn tiles_are_counted_as_in_openais_examples() {
        let formula = Formula::Tiles { base: 85, tile: 170 };
        let tokens = |width, height, detail| formula.tokens(Size { width, height }, detail);
        assert_eq!(tokens(1024, 1024, Detail::High), 765);
        assert_eq!(tokens(2048, 4096, Detail::High), 1105);
        assert_eq!(tokens(4096, 8192, Detail::Low), 85);
        assert_eq!(tokens(1, 1, Detail::Auto), 255);
    }

    #[test]
    fn patches_are_counted_as_in_openais_examples() {
        let formula = Formula::Patches { side: 32, most: 1536, permille: 1000 };
        assert_eq!(formula.tokens(Size { width: 1024, height: 1024 }, Detail::Auto), 1024);
        assert_eq!(formula.tokens(Size { width: 1800, height: 2400 }, Detail::High), 1452);
        assert_eq!(formula.tokens(Size { width: 1024, height: 1024 }, Detail::Low), 256);
    }

    #[test]
    fn areas_are_counted_as_in_anthropics_examples() {
        let formula = Formula::Area { longest_edge: 1568, most: 1600 };
        let tokens = |width, height| formula.tokens(Size { width, height }, Detail::Auto);
        assert_eq!(tokens(200, 200), 54);
        assert_eq!(tokens(1000, 1000), 1334);
        assert_eq!(tokens(1092, 1092), 1590);
        assert_eq!(tokens(8000, 6000), 1600);
    }

    #[test]
    fn crops_and_fixed_prices_are_googles() {
        let tokens = |width, height| Formula::Crops.tokens(Size { width, height }, Detail::Auto);
        assert_eq!(tokens(384, 384), 258);
        assert_eq!(tokens(640, 480), 258 * 5);
        assert_eq!(tokens(540, 360), 258 * 7);
        let fixed = Formula::Fixed { low: 280, auto: 1120, high: 1120 };
        assert_eq!(fixed.tokens(UNKNOWN, Detail::Low), 280);
        assert_eq!(fixed.tokens(UNKNOWN, Detail::Auto), 1120);
    }

    #[test]
    fn no_size_overflows() {
        let size = Size { width: u64::from(u32::MAX), height: u64::from(u32::MAX) };
        for formula in [
            Formula::Tiles { base: 85, tile: 170 },
            Formula::Patches { side: 32, most: 1536, permille: 2460 },
            Formula::Area { longest_edge: 1568, most: 1600 },
            Formula::Crops,
        ] {
            assert!(formula.tokens(size, Detail::High) < 20_000, "{formula:?}");
        }
    }
}
