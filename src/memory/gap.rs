//! Pauses in a conversation, marked once and for good.
//!
//! Invariant: a mark is made when the message behind the pause is stored, and its bytes never change: what was in a prompt
//! once is in it the same way as long as the message is.

use crate::time::{Zone, local};
use crate::turn::{Message, PartKind, Role};

/// The mark in front of a message that came at `now`, when the one before it came at `before`; `None` for a pause of less
/// than `gap_ms`, or where pauses are not marked.
pub fn mark(before: u64, now: u64, gap_ms: u64, zone: Zone<'_>) -> Option<String> {
    let passed = now.checked_sub(before).filter(|passed| gap_ms > 0 && *passed >= gap_ms)?;
    let when = local(now, zone).format("%A %Y-%m-%d %H:%M");
    Some(format!("[{when}, {} later]\n", spoken(passed)))
}

/// A stretch of time in its largest unit.
fn spoken(ms: u64) -> String {
    const MINUTE: u64 = 60_000;
    let (unit, name) = match ms / MINUTE {
        0..60 => (MINUTE, "minute"),
        60..1_440 => (60 * MINUTE, "hour"),
        _ => (1_440 * MINUTE, "day"),
    };
    let count = ms / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// The message with a mark in front of its words; `None` for one that has no words of the user to put it in front of.
pub fn marked(message: &Message, mark: &str) -> Option<Message> {
    let mut marked = message.clone();
    if message.role != Role::User {
        return None;
    }
    let text = marked.parts.iter_mut().find_map(|part| match &mut part.kind {
        PartKind::Text(text) => Some(text),
        _ => None,
    })?;
    text.insert_str(0, mark);
    Some(marked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::utc;
    use crate::turn::Part;

    #[test]
    fn a_pause_is_marked_with_the_day_and_the_hour_from_its_length_on() {
        let at = 1_795_705_380_000; // 2026-11-26 15:03 UTC, a Thursday
        let after = |passed| mark(at - passed, at, 600_000, &utc);
        assert_eq!(after(599_999), None);
        assert_eq!(after(600_000).as_deref(), Some("[Thursday 2026-11-26 15:03, 10 minutes later]\n"));
        assert_eq!(after(3_600_000).as_deref(), Some("[Thursday 2026-11-26 15:03, 1 hour later]\n"));
        assert_eq!(after(200_000_000).as_deref(), Some("[Thursday 2026-11-26 15:03, 2 days later]\n"));
        assert_eq!(mark(0, at, 0, &utc), None);
        assert_eq!(mark(at + 1, at, 1, &utc), None);
    }

    #[test]
    fn a_mark_stands_before_the_users_first_words_and_nowhere_else() {
        let said = Message::new(Role::User, vec![Part::text("hi"), Part::text("there")]);
        assert_eq!(marked(&said, "[x]\n").map(|message| message.text()).as_deref(), Some("[x]\nhithere"));
        assert_eq!(marked(&Message::new(Role::Tool, vec![Part::text("hi")]), "[x]"), None);
        assert_eq!(marked(&Message::new(Role::User, Vec::new()), "[x]"), None);
    }
}
