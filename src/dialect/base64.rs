//! Base64, for dialects that carry as text what others carry encoded.
//!
//! Invariant: decoding what was encoded gives the same bytes; a text that is not standard base64 with its padding is
//! refused.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The bytes as base64 text.
pub fn encode(bytes: &[u8]) -> String {
    let digit = |bits: u32| DIGITS.get((bits & 63) as usize).copied().map_or('=', char::from);
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.push(digit(bits >> 18));
        out.push(digit(bits >> 12));
        out.push(if chunk.len() > 1 { digit(bits >> 6) } else { '=' });
        out.push(if chunk.len() > 2 { digit(bits) } else { '=' });
    }
    out
}

/// The bytes behind base64 text.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in digits.bytes() {
        let value = DIGITS.iter().position(|digit| *digit == byte)?;
        bits = (bits << 6 | value as u32) & 0xfff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_whatever_its_length() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("Grüße 👋", "R3LDvMOfZSDwn5GL")]
        {
            assert_eq!(encode(text.as_bytes()), encoded);
            assert_eq!(decode(encoded), Some(text.as_bytes().to_vec()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        for wrong in ["Zg", "Zg=", "Z===", "Zm9v!A==", "Zm 9"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
