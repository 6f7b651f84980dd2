//! The ids under which notes are known outside.
//!
//! Invariant: an id leads to its thread, and holds for no note of another one; it is made of letters, digits, `-` and `_`,
//! so that it stands in a path as it is. Whose thread that is, the caller's project decides.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const PREFIX: &str = "note_";

/// The id of a thread's note.
pub fn write(thread: &str, note: i64) -> String {
    format!("{PREFIX}{note}_{}", URL_SAFE_NO_PAD.encode(thread))
}

/// The thread and the number behind an id; `None` for what is none.
pub fn read(id: &str) -> Option<(String, i64)> {
    let (number, thread) = id.strip_prefix(PREFIX)?.split_once('_')?;
    let thread = String::from_utf8(URL_SAFE_NO_PAD.decode(thread).ok()?).ok()?;
    let note = number.parse().ok().filter(|note| *note > 0)?;
    (write(&thread, note) == id).then_some((thread, note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_thread_and_number_and_nothing_else_is_one() {
        for thread in ["t", "a/b: c_d", "ünïcode 👋", &"x".repeat(512)] {
            let id = write(thread, 7);
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{id}");
            assert_eq!(read(&id), Some((thread.to_owned(), 7)));
        }
        for id in [
            "",
            "7",
            "note_7",
            "note_x_dA",
            "note_0_dA",
            "note_-7_dA",
            "note_07_dA",
            "note_7_dA=",
            "note_7_!",
        ] {
            assert_eq!(read(id), None, "{id}");
        }
    }
}
