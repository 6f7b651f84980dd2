//! What memory costs and keeps: `cargo bench --bench memory [-- FILE]`.
//!
//! It replays dialogues through the core over SQLite itself: those recorded beside the project, or those of FILE, whose form
//! `tests/support/dialogues.rs` tells. The observer writes down every statement of the user word for word, and nothing of the
//! assistant's: what is measured is the machinery around a model and not a model.
//!
//! - `compression`: tokens of the messages that left the prompt, to tokens of the notes that stand for them.
//! - `prefix`: the share of all prompts' bytes that begin like the prompt before, which a provider's cache can serve.
//! - `sent`: prompt tokens of all requests, with memory and with the whole history.
//! - `evidence`: the share of the turns that answer the dialogue's questions which are, at its end, in the prompt as they
//!   were said (`raw`), among the sources of a live note (`noted`), among the first ten hits of a search for the question and the
//!   messages shown around them (`found`), or any of these (`kept`).
//!
//! Then a thread grows to 100,000 messages, and the time of a turn is taken on the way; and the statements of a turn that
//! read a growing table from end to end are listed with SQLite's plan.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

#[path = "../../tests/support/dialogues.rs"]
mod dialogues;
mod growth;
mod plans;
mod replay;
#[path = "../../tests/support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "../../tests/memory/world.rs"]
mod world;

use std::path::Path;

fn main() {
    // Cargo adds options of its own.
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let dialogues = match file {
        Some(file) => Some(dialogues::read(Path::new(&file))),
        None => dialogues::recorded(),
    };
    if let Some(dialogues) = dialogues {
        replay::report(&dialogues);
    }
    let thread = growth::report();
    plans::report(thread);
}
