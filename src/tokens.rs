//! Estimates of token counts, for what must be known before a provider has counted.
//!
//! Invariant: an estimate is only ever shown as one (`x-memory-tokens`), and grows with the text.

use crate::turn::{Media, Message, PartKind, Source};

/// What a picture costs at the providers' middle resolution, in tokens.
const IMAGE_TOKENS: u64 = 800;
/// What the framing of a message costs.
const MESSAGE_TOKENS: u64 = 4;

/// Tokens of a text: about four bytes of Latin script a token, fewer of denser scripts.
pub fn of_text(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    let other = text.chars().filter(|char| !char.is_ascii()).count() as u64;
    ascii.div_ceil(4) + other.div_ceil(2)
}

/// Tokens of a message as part of a prompt.
pub fn of_message(message: &Message) -> u64 {
    MESSAGE_TOKENS + message.parts.iter().map(|part| of_part(&part.kind)).sum::<u64>()
}

fn of_part(kind: &PartKind) -> u64 {
    match kind {
        PartKind::Text(text) | PartKind::Refusal(text) => of_text(text),
        PartKind::Image(_) => IMAGE_TOKENS,
        PartKind::Audio(media) | PartKind::File(media) => of_media(media),
        PartKind::ToolCall(call) => of_text(&call.name) + of_text(&call.arguments),
        PartKind::ToolResult(result) => result.content.iter().map(|part| of_part(&part.kind)).sum(),
        PartKind::Reasoning(reasoning) => of_text(&reasoning.text),
        PartKind::Other(value) => of_text(&value.to_string()),
    }
}

fn of_media(media: &Media) -> u64 {
    match &media.source {
        // Base64 of compressed formats; text extracted from it is a small share.
        Source::Data(data) => (data.len() as u64 / 40).max(IMAGE_TOKENS),
        Source::Url(_) | Source::FileId(_) => IMAGE_TOKENS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{Part, Role};

    #[test]
    fn estimates_are_near_what_providers_count() {
        // "The quick brown fox jumps over the lazy dog." is 10 tokens in OpenAI's encodings, 「今日は」 about 3.
        assert_eq!(of_text("The quick brown fox jumps over the lazy dog."), 11);
        assert_eq!(of_text("今日は"), 2);
        assert_eq!(of_text(""), 0);
        assert_eq!(of_message(&Message::new(Role::User, vec![Part::text("four")])), 5);
    }
}
