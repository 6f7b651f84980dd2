//! Private keys in the textual form of RFC 7468 and its older kin.
//!
//! Invariant: only what follows a header line with key material in it is a key; certificates and public keys are none.

use super::{Found, Hint, run, tail};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// The longest label between the dashes, in bytes.
const LABEL_BYTES: usize = 60;
/// The longest header line, in bytes.
const HEADER_BYTES: usize = 120;
/// The shortest line of key material but the last; `|`, quotes and `\n` may stand between lines.
const LINE_BYTES: usize = 16;

/// What is known about end lines, so that no stretch of text is searched twice.
#[derive(Default)]
pub struct Ends {
    /// Where the next one is, as far as it was looked for.
    next: Option<Option<usize>>,
}

impl Ends {
    fn after(&mut self, text: &str, at: usize) -> Option<usize> {
        let known = self.next.filter(|next| next.is_none_or(|next| next >= at));
        *self.next.insert(known.unwrap_or_else(|| tail(text, at).find(END).map(|found| at + found)))
    }
}

/// The private key whose header line begins here.
pub fn find(text: &str, at: usize, ends: &mut Ends) -> Option<Found> {
    let label = tail(text, at).strip_prefix(BEGIN)?;
    let label = run(label, |byte| byte != b'-');
    if label.len() > LABEL_BYTES || !(label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK"))
    {
        return None;
    }
    let body = at + BEGIN.len() + label.len();
    let body = body + tail(text, body).starts_with(DASHES).then_some(DASHES.len())?;
    let material = material(tail(text, body));
    if material == 0 {
        return None;
    }
    let end = body + material;
    // The end line belongs to the key if nothing but a short rest is left before it.
    let close = ends.after(text, end).filter(|close| is_rest(text.get(end..*close).unwrap_or_default()));
    let end = close.map_or(end, |close| {
        let label = close + END.len();
        let label = label + run(tail(text, label), |byte| byte != b'-' && byte != b'\n').len();
        label + run(tail(text, label), |byte| byte == b'-').len().min(DASHES.len())
    });
    Some(Found { place: at..end, kind: "private key", hint: Hint::Never })
}

/// How far lines of key material go, headers such as `Proc-Type: 4,ENCRYPTED` before them included.
fn material(text: &str) -> usize {
    let mut end = 0;
    let mut at = 0;
    let mut headers = 0;
    loop {
        at += gap(tail(text, at));
        let line = run(tail(text, at), is_base64);
        let rest = tail(text, at + line.len());
        if line.len() >= LINE_BYTES && (end == 0 || line.bytes().any(|byte| !byte.is_ascii_lowercase())) {
            at += line.len();
            end = at;
        } else if end == 0 && headers < 4 && (line.is_empty() || rest.starts_with([':', '-'])) {
            let header = tail(text, at);
            let header = header.get(..header.floor_char_boundary(HEADER_BYTES)).unwrap_or_default();
            let header = run(header, |byte| byte != b'\n' && byte != b'\\');
            if !header.contains(": ") {
                return 0;
            }
            headers += 1;
            at += header.len();
        } else {
            return end;
        }
    }
}

/// What may stand between two lines: ends of lines, real or escaped, quotes, and marks of quoted text.
fn gap(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = tail(text, at);
        match rest.as_bytes().first() {
            Some(b'\\') => {
                at += if rest.as_bytes().get(1).is_some_and(|byte| b"nrt\"".contains(byte)) { 2 } else { 1 }
            }
            Some(byte) if byte.is_ascii_whitespace() || b"|>\"'".contains(byte) => at += 1,
            _ => return at,
        }
    }
}

/// True for what may be left before the end line: the last line, and OpenPGP's check sum.
fn is_rest(text: &str) -> bool {
    let mut rest = text;
    for _ in 0..2 {
        rest = tail(rest, gap(rest));
        rest = tail(rest, run(rest, is_base64).len());
    }
    gap(rest) == rest.len() && text.len() < 2 * HEADER_BYTES
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
