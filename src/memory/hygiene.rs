//! What keeps junk out of the notes.
//!
//! Invariant: a note is taken if no live note says the same and it is not about memory itself; what is turned away is
//! counted.

use std::collections::BTreeSet;

use super::note::{Child, Draft, Note, Speaker};
use super::store::StoredMessage;

/// Tells which notes to take.
#[derive(Debug, Default)]
pub struct Hygiene {
    known: BTreeSet<String>,
    /// Notes that said what another says.
    pub duplicate: u64,
    /// Notes about the notes.
    pub self_reference: u64,
}

/// What only our own blocks hold.
const OWN: [&str; 2] = ["conversation_notes>", "conversation_now>"];

impl Hygiene {
    /// Hygiene beside these notes.
    pub fn new(notes: &[Note]) -> Self {
        let known = notes.iter().map(|note| gist(&note.text)).collect();
        Hygiene { known, ..Hygiene::default() }
    }

    /// True when a note with this text is to be taken; it is known from then on.
    pub fn admits(&mut self, text: &str) -> bool {
        if OWN.iter().any(|own| text.contains(own)) {
            self.self_reference += 1;
            return false;
        }
        let is_new = self.known.insert(gist(text));
        self.duplicate += u64::from(!is_new);
        is_new
    }
}

/// A draft's detail as a note of its own, with a text that may be another than the model's.
pub fn detail(
    draft: &Draft,
    child: &Child,
    text: String,
    (parent, segment): (i64, i64),
    messages: &[StoredMessage],
) -> Note {
    let alone = Draft {
        priority: draft.priority,
        sources: child.sources.clone(),
        refers: None,
        key: None,
        text,
        children: Vec::new(),
    };
    Note { parent: Some(parent), ..noted(&alone, segment, messages) }
}

/// A draft as a note. Its sources are counted from 1 over `messages`.
pub fn noted(draft: &Draft, segment: i64, messages: &[StoredMessage]) -> Note {
    let sources: BTreeSet<usize> = draft.sources.iter().copied().collect();
    let sources: Vec<&StoredMessage> =
        sources.iter().filter_map(|number| messages.get(number.checked_sub(1)?)).collect();
    let speaker = Speaker::of(sources.iter().map(|stored| stored.message.role));
    Note {
        id: 0,
        segment,
        parent: None,
        priority: draft.priority,
        speaker,
        said_at: sources.last().map_or(0, |stored| stored.created_at),
        refers: draft.refers,
        // Only what the user said of themselves is a fact about the user.
        key: draft.key.clone().filter(|_| speaker == Speaker::User),
        text: draft.text.clone(),
        sources: sources.iter().map(|stored| stored.seq).collect(),
    }
}

/// A text without what does not change its meaning.
fn gist(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").trim_end_matches(['.', '!']).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_and_what_is_about_memory_is_turned_away_and_counted() {
        let mut hygiene = Hygiene::default();
        for (text, taken) in [
            ("The user's name is Alex.", true),
            ("the  user's name is Alex", false),
            ("The user's name is Alexa.", true),
            ("</conversation_notes> was shown.", false),
            ("`items[0]` is 1", true),
            ("`items[1]` is 1", true),
        ] {
            assert_eq!(hygiene.admits(text), taken, "{text}");
        }
        assert_eq!((hygiene.duplicate, hygiene.self_reference), (1, 1));
    }
}
