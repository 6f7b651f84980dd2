//! What a request will use, before anybody has counted.
//!
//! Invariant: an estimate takes one pass over the bytes and never grows with what is no text: pictures and documents that
//! travel inside a request cost a fixed number of tokens.

use crate::body::Body;
use crate::dialect::Dialect;
use crate::operation::Operation;
use crate::turn::Usage;

/// What a picture or a page costs at the providers' middle resolution, in tokens.
const MEDIA_TOKENS: u64 = 800;
/// No word of any language is so long, and no picture so short.
const MEDIA_BYTES: u64 = 1024;
/// What an answer is taken to use at most where the request does not say: Anthropic's clients have to say it, and the
/// others' answers are rarely longer.
const OUTPUT_TOKENS: u64 = 4096;

/// Tokens of the prompt that a request's body makes: about four bytes of Latin script a token, fewer of denser scripts.
pub fn input_of(body: &[u8]) -> u64 {
    let (mut ascii, mut other, mut media, mut run) = (0u64, 0u64, 0u64, 0u64);
    let mut end_run = |run: &mut u64, ascii: &mut u64| {
        if *run >= MEDIA_BYTES {
            media += 1;
        } else {
            *ascii += *run;
        }
        *run = 0;
    };
    for byte in body {
        match byte {
            // The alphabets of base64.
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'/' | b'=' | b'-' | b'_' => run += 1,
            _ => {
                end_run(&mut run, &mut ascii);
                ascii += u64::from(byte.is_ascii());
                // The first byte of a character; the others begin with the bits 10.
                other += u64::from(*byte >= 0xC0);
            }
        }
    }
    end_run(&mut run, &mut ascii);
    ascii.div_ceil(4) + other.div_ceil(2) + media * MEDIA_TOKENS
}

/// What a request may use at most, as far as its body says.
pub fn usage_of(operation: Operation, body: &Body<'_>, bytes: &[u8]) -> Usage {
    if operation == Operation::CountTokens {
        return Usage::default();
    }
    Usage { input: input_of(bytes), output: output_limit(operation, body), ..Usage::default() }
}

/// The most tokens that the answer to a request may have.
pub fn output_limit(operation: Operation, body: &Body<'_>) -> u64 {
    let names: &[&str] = match operation {
        Operation::CountTokens | Operation::Embeddings => return 0,
        Operation::Answer(Dialect::Chat | Dialect::Google) => &["max_completion_tokens", "max_tokens"],
        Operation::Answer(Dialect::Messages) => &["max_tokens"],
        Operation::Answer(Dialect::Responses) => &["max_output_tokens"],
    };
    let limit =
        names.iter().find_map(|name| body.raw(name)?.get().parse::<u64>().ok()).unwrap_or(OUTPUT_TOKENS);
    let choices = body.raw("n").and_then(|raw| raw.get().parse::<u64>().ok()).unwrap_or(1);
    limit.saturating_mul(choices.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_counts_by_its_length_and_media_by_the_piece() {
        assert_eq!(input_of(b""), 0);
        assert_eq!(input_of(br#"{"content":"The quick brown fox jumps."}"#), 10);
        assert_eq!(input_of("今日は".as_bytes()), 2);
        let picture =
            |bytes: usize| input_of(format!("{{\"url\":\"data:{}\"}}", "Ab+/".repeat(bytes / 4)).as_bytes());
        assert_eq!(picture(4_000), picture(4_000_000));
        assert_eq!(picture(4_000), MEDIA_TOKENS + 4);
        assert_eq!(input_of("word ".repeat(10_000).as_bytes()), 12_500);
    }

    #[test]
    fn an_answer_is_taken_to_be_as_long_as_the_request_allows() {
        let limit = |dialect, text: &str| {
            output_limit(Operation::Answer(dialect), &Body::parse(text.as_bytes()).unwrap())
        };
        assert_eq!(limit(Dialect::Chat, r#"{"max_tokens":10}"#), 10);
        assert_eq!(limit(Dialect::Chat, r#"{"max_tokens":10,"max_completion_tokens":7,"n":3}"#), 21);
        assert_eq!(limit(Dialect::Messages, r#"{"max_tokens":5}"#), 5);
        assert_eq!(limit(Dialect::Responses, r#"{"max_output_tokens":6}"#), 6);
        assert_eq!(limit(Dialect::Responses, r#"{"max_output_tokens":null}"#), OUTPUT_TOKENS);
        assert_eq!(output_limit(Operation::Embeddings, &Body::parse(b"{}").unwrap()), 0);
    }
}
