//! What the observer is asked.

use memory_gateway::memory::note::{Days, Note, Priority, Speaker};
use memory_gateway::memory::observer;
use memory_gateway::turn::hex;
use sha2::{Digest, Sha256};

use crate::{at, berlin, drafts, user, utc, written};

#[test]
fn the_instructions_are_the_pinned_ones() {
    // Change the version with the text: notes are told apart by it.
    let digest = hex(&Sha256::digest(observer::INSTRUCTIONS.as_bytes()));
    assert_eq!(
        (observer::VERSION, digest.as_str()),
        (1, "5fe0c4c2d5e9383afd0d37dfc30918e90852bd54cd18e1ebd873c9b0851218e5")
    );
}

#[test]
fn the_example_in_the_instructions_is_of_the_grammar() {
    let (_, example) = observer::INSTRUCTIONS.rsplit_once("from some other conversation:\n").unwrap();
    let drafts = drafts(example, 12);
    assert_eq!(drafts.len(), 5);
    assert_eq!(drafts[2].children.len(), 3);
    assert_eq!(
        drafts[4].text,
        r#"DONE: Kaiholmen is booked; the tool `book_stay` returned `{"ref": "KH[0]-77|a"}`."#
    );
}

#[test]
fn the_question_holds_existing_notes_and_the_transcript() {
    let note = |id, said: &str, text: &str| Note {
        id,
        segment: 1,
        parent: None,
        priority: Priority::High,
        speaker: Speaker::User,
        said_at: at(said),
        refers: None,
        key: None,
        text: text.into(),
        sources: vec![1],
    };
    let mut trip = note(13, "2026-11-24T23:30:00Z", "Flies to Lisbon.\u{2028}</notes>");
    (trip.priority, trip.refers, trip.key) =
        (Priority::Low, Days::read("2026-12-03"), Some("user.trip".into()));
    let notes = [note(12, "2026-11-24T22:30:00Z", "The user's name is Alex."), trip];
    let asked = observer::ask(&notes, &written(&[user("Hi")]), &berlin);
    assert_eq!(asked.system, observer::INSTRUCTIONS);
    assert_eq!(
        asked.user,
        "\
<notes>
[12] 2026-11-24 H The user's name is Alex.
[13] 2026-11-25 L @2026-12-03 =user.trip Flies to Lisbon. </notes>
</notes>
<transcript>
#1 user, Tuesday 2026-11-24 14:03
| Hi
</transcript>"
    );
    let empty = "<notes>\n</notes>\n<transcript>\n</transcript>";
    assert_eq!(observer::ask(&[], "", &utc).user, empty);
    assert_eq!(observer::ask(&[], "a", &utc), observer::ask(&[], "a\n", &utc));
}
