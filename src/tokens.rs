//! Estimates of token counts, for what must be known before a provider has counted.
//!
//! Invariant: an estimate is only ever shown as one (`x-memory-tokens`, `x-gateway-estimated`). It costs one pass over the
//! text, whatever the text is; pictures and files are never decoded for it.

pub mod calibration;
pub mod media;
pub mod model;
pub mod picture;
pub mod script;
pub mod text;

pub use calibration::Calibration;

use self::model::Family;
use crate::dialect::Dialect;
use crate::request::Request;
use crate::turn::{Message, Part, PartKind};

/// The model that is counted for where none is named: OpenAI's.
const ANY_MODEL: &str = "";

/// Tokens of a text.
pub fn of_text(text: &str) -> u64 {
    text::tokens(text)
}

/// Tokens of a message as part of a prompt.
pub fn of_message(message: &Message) -> u64 {
    Family::of(ANY_MODEL).message(message)
}

/// Tokens of a whole prompt, as the model that it names counts: instructions, messages, tools, the schema of the answer.
/// `dialect` is the one in which the provider gets it.
pub fn of_request(request: &Request, dialect: Dialect) -> u64 {
    Family::of(&request.model).request(request, dialect)
}

/// True when a message carries pictures, sound or files, whose tokens are a guess where a text's are an estimate.
pub fn holds_media(message: &Message) -> bool {
    fn any(parts: &[Part]) -> bool {
        parts.iter().any(|part| match &part.kind {
            PartKind::Image(_) | PartKind::Audio(_) | PartKind::File(_) => true,
            PartKind::ToolResult(result) => any(&result.content),
            _ => false,
        })
    }
    any(&message.parts)
}
