//! Answers of the observer: the grammar, every fault, the lenient reading.

use memory_gateway::memory::fault::{self, Fault};
use memory_gateway::memory::note::{Child, Days, Priority};
use memory_gateway::memory::observer::{self, Observed, canonical_key};
use memory_gateway::turn::{Answer, Ending, Message, Part, PartKind, Stop};

use crate::{assistant, draft, drafts, malformed, read};

#[test]
fn an_answer_is_read_as_it_is_written() {
    let answer = "\
H #1 =user.name | The user's name is Alex.
M #5-7,9 @2026-12-03 | The user flies to Lisbon on 3 December 2026.
- #7 | Booked as TP 1234.
- #5,6 | Window seat.
L #8 =User.Trip_2 @2026-12-01..2026-12-05 | Rain | wind.
END";
    let mut name = draft(Priority::High, &[1], "The user's name is Alex.");
    name.key = Some("user.name".into());
    let mut flight = draft(Priority::Medium, &[5, 6, 7, 9], "The user flies to Lisbon on 3 December 2026.");
    flight.refers = Days::read("2026-12-03");
    flight.children = vec![
        Child { sources: vec![7], text: "Booked as TP 1234.".into() },
        Child { sources: vec![5, 6], text: "Window seat.".into() },
    ];
    let mut rain = draft(Priority::Low, &[8], "Rain | wind.");
    rain.refers = Days::read("2026-12-01..2026-12-05");
    rain.key = Some("user.trip_2".into());
    assert_eq!(drafts(answer, 9), [name, flight, rain]);
}

#[test]
fn white_space_and_fences_around_lines_are_passed_over() {
    let note = || Ok(Observed::Notes(vec![draft(Priority::High, &[1], "a")]));
    let mut detailed = draft(Priority::High, &[1], "a");
    detailed.children = vec![Child { sources: vec![1], text: "b".into() }];
    for answer in [
        "H #1 | a\nEND",
        "\n\nH #1 | a\r\n\r\nEND  \r\n\n",
        "```\nH #1 | a\nEND\n```",
        "```text\nH #1 | a\n```\nEND",
    ] {
        assert_eq!(read(answer, 1), note(), "{answer:?}");
    }
    assert_eq!(read("H #1 | a\n  - #1 | b\nEND", 1), Ok(Observed::Notes(vec![detailed])));
    for answer in ["NOTHING TO NOTE\nEND", "```\n NOTHING TO NOTE \n\nEND\n```\n"] {
        assert_eq!(read(answer, 0), Ok(Observed::Nothing), "{answer:?}");
    }
    assert_eq!(drafts("H #9,1-3,2 | a\nEND", 9), [draft(Priority::High, &[1, 2, 3, 9], "a")]);
    assert_eq!(drafts("H #007 |  a \nEND", 7), [draft(Priority::High, &[7], " a ")]);
}

#[test]
fn a_line_that_is_not_of_the_grammar_is_named() {
    let alone = "`NOTHING TO NOTE` must stand alone";
    let separator = "there must be ` | ` before the text";
    let priority = "the priority must be H, M or L";
    let sources = "the sources must be message numbers such as #5-7,9";
    let unknown = "the transcript has no message of that number";
    let days = "behind `@` must stand YYYY-MM-DD or YYYY-MM-DD..YYYY-MM-DD";
    let between = "between sources and ` | ` may stand only `@` with a date and `=` with a key";
    for (line, why) in [
        ("Here are the notes:", separator),
        ("H #1", separator),
        ("H #1 |", separator),
        ("H #1 |a", separator),
        ("H #1 | ", "the text must not be empty"),
        ("H #1 |  \t", "the text must not be empty"),
        ("X #1 | a", priority),
        ("h #1 | a", priority),
        ("HM #1 | a", priority),
        ("#1 | a", priority),
        ("| a | b", priority),
        ("* H #1 | a", priority),
        ("H | a", sources),
        ("H 1 | a", sources),
        ("H # | a", sources),
        ("H #a | a", sources),
        ("H #+1 | a", sources),
        ("H #1, | a", sources),
        ("H #1- | a", sources),
        ("H #-1 | a", sources),
        ("H #1-2-3 | a", sources),
        ("H  #1 | a", sources),
        ("H =user.name #1 | a", sources),
        ("H #0 | a", unknown),
        ("H #10 | a", unknown),
        ("H #1-10 | a", unknown),
        ("H #1-99999999999999999999999999 | a", unknown),
        ("H #3-2 | a", "a range of messages must run from the lower number to the higher"),
        ("H #1 @ | a", days),
        ("H #1 @tomorrow | a", days),
        ("H #1 @2026-02-29 | a", days),
        ("H #1 @2026-12-05..2026-12-01 | a", days),
        ("H #1 @2026-12-01 @2026-12-02 | a", "there must be one `@` at most"),
        ("H #1 =a =b | a", "there must be one `=` at most"),
        ("H #1 =é =b | a", "there must be one `=` at most"),
        ("H #1, #2 | a", sources),
        ("H #1 #2 | a", between),
        ("H #1  @2026-12-01 | a", between),
        ("H #1 user.name | a", between),
        ("- #1 @2026-12-01 | a", sources),
        ("- 1 | a", sources),
        ("- H #1 | a", sources),
        ("- #1 | ", "the text must not be empty"),
        ("NOTHING TO NOTE", alone),
        // Before the last `END` it is a line like any other.
        ("END", separator),
    ] {
        assert_eq!(read(&format!("H #1 | a\n\n{line}\nM #2 | b\nEND"), 9), malformed(3, why), "{line:?}");
    }
    // The first line that is wrong, whatever is wrong with it.
    assert_eq!(read("H #1 | a\nNOTHING TO NOTE\nx\nEND", 9), malformed(2, alone));
    let parent = "a detail must stand below its note";
    assert_eq!(read("- #1 | a\nH #1 | a\nEND", 9), malformed(1, parent));
    assert_eq!(read("H #1 | a\nEND\nThat is all.", 9), malformed(3, "nothing may stand behind `END`"));
    assert_eq!(read("NOTHING TO NOTE\nNOTHING TO NOTE\nEND", 9), malformed(2, alone));
    assert_eq!(read("NOTHING TO NOTE\nH #1 | a\nEND", 9), malformed(1, alone));
    assert_eq!(read("NOTHING TO NOTE.\nEND", 9), malformed(1, separator));
}

#[test]
fn every_fault_is_told_apart() {
    let whole = "H #1 | a\nEND";
    let read = |answer, stop: Option<Stop>| observer::read(answer, stop.as_ref(), 1, true).map(|_| ());
    let circle = "M #1 | The user likes tea.\n".repeat(40);
    for (answer, stop, outcome) in [
        (Some(whole), Some(Stop::End), Ok(())),
        (Some(whole), Some(Stop::Other("eos_token".into())), Ok(())),
        (Some(whole), Some(Stop::Length), Err(Fault::Truncated)),
        (Some(whole), None, Err(Fault::Truncated)),
        (Some(whole), Some(Stop::ContentFilter), Err(Fault::Refused)),
        (None, Some(Stop::ContentFilter), Err(Fault::Refused)),
        (None, Some(Stop::End), Err(Fault::Empty)),
        (Some(" \n"), Some(Stop::End), Err(Fault::Empty)),
        (Some("END"), Some(Stop::End), Err(Fault::Empty)),
        (Some("```\nEND\n```"), Some(Stop::End), Err(Fault::Empty)),
        (None, None, Err(Fault::Truncated)),
        (Some(""), Some(Stop::Length), Err(Fault::Truncated)),
        (Some("H #1 | a"), Some(Stop::End), Err(Fault::Truncated)),
        (Some("NOTHING TO NOTE"), Some(Stop::End), Err(Fault::Truncated)),
        (Some("H #1 | a\nH #1 | the END"), Some(Stop::End), Err(Fault::Truncated)),
        (Some("H #1 | a\nend"), Some(Stop::End), Err(Fault::Truncated)),
        (Some("I cannot help with that."), Some(Stop::End), Err(Fault::Truncated)),
        (Some(&circle), Some(Stop::Length), Err(Fault::Degenerate("a passage is repeated over and over"))),
        (Some("x\nEND"), Some(Stop::End), Err(Fault::malformed(1, "there must be ` | ` before the text"))),
    ] {
        assert_eq!(read(answer, stop.clone()), outcome, "{answer:?} {stop:?}");
    }
    for (fault, word, text) in [
        (Fault::Empty, "empty", "the answer is empty"),
        (Fault::Refused, "refused", "the model declined"),
        (Fault::Truncated, "truncated", "the answer is not whole"),
        (Fault::malformed(3, "why"), "malformed", "the answer is not of the grammar: line 3: why"),
        (Fault::Degenerate("how"), "degenerate", "the answer is degenerate: how"),
    ] {
        assert_eq!((fault.word(), fault.to_string().as_str()), (word, text));
    }
}

#[test]
fn the_words_of_an_answer_say_whether_it_was_declined_or_broken_off() {
    let answer = |message: Option<Message>, stop, ending| Answer { message, usage: None, stop, ending };
    let said = || Some(assistant(vec![Part::text("a"), Part::text("b")]));
    let declined = assistant(vec![PartKind::Refusal("no".into()).into()]);
    let text = |text: &str| Some(text.to_owned());
    for (answer, words) in [
        (answer(said(), Some(Stop::End), Ending::Complete), (text("ab"), Some(Stop::End))),
        (answer(said(), Some(Stop::Length), Ending::Complete), (text("ab"), Some(Stop::Length))),
        (answer(said(), None, Ending::Complete), (text("ab"), None)),
        (answer(said(), Some(Stop::End), Ending::Truncated), (text("ab"), None)),
        (answer(said(), Some(Stop::End), Ending::Failed), (text("ab"), None)),
        (answer(said(), Some(Stop::End), Ending::Unread), (text("ab"), None)),
        (answer(None, Some(Stop::End), Ending::Complete), (None, Some(Stop::End))),
        (answer(Some(declined), Some(Stop::End), Ending::Complete), (text(""), Some(Stop::ContentFilter))),
    ] {
        assert_eq!(fault::words(&answer), words);
    }
}

#[test]
fn the_last_attempt_leaves_out_what_is_not_of_the_grammar_where_most_is() {
    let read = |answer: &str| observer::read(Some(answer), Some(&Stop::End), 9, true);
    let notes = |texts: &[(&str, usize)]| {
        Observed::Notes(texts.iter().map(|(text, source)| draft(Priority::High, &[*source], text)).collect())
    };
    let whole = "H #1 | a\nH #2 | b\nEND";
    assert_eq!(read(whole), Ok((notes(&[("a", 1), ("b", 2)]), 0)));
    let chatty =
        "Here are the notes:\nH #1 | a\nH #77 | lost\nH #2 | b\nH #3 | c\nH #4 | d\nEND\nThat is all.";
    assert_eq!(read(chatty), Ok((notes(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]), 3)));
    // Half is not most.
    assert_eq!(read("H #1 | a\nx\nEND"), Err(Fault::malformed(2, "there must be ` | ` before the text")));
    // A detail never goes to another note than the one it was written below.
    let orphan = "H #1 | a\nH #2 | b\nH #99 | lost\n- #3 | of the lost one\nH #3 | c\nEND";
    assert_eq!(read(orphan), Ok((notes(&[("a", 1), ("b", 2), ("c", 3)]), 2)));
    assert_eq!(read("H #1 | a\nNOTHING TO NOTE\nH #2 | b\nEND"), Ok((notes(&[("a", 1), ("b", 2)]), 1)));
    assert_eq!(
        read("H #1 | a\nH #2 | b\nEND\nH #3 | c\nEND"),
        Ok((notes(&[("a", 1), ("b", 2), ("c", 3)]), 1))
    );
    assert_eq!(read("NOTHING TO NOTE\nEND"), Ok((Observed::Nothing, 0)));
    assert_eq!(
        read("Well.\nNOTHING TO NOTE\nEND"),
        Err(Fault::malformed(1, "there must be ` | ` before the text"))
    );
    assert_eq!(read("H #1 | a\nH #2 | b"), Err(Fault::Truncated));
}

#[test]
fn keys_have_one_spelling_or_none() {
    let long = "a".repeat(80);
    for (key, spelled) in [
        ("user.name", Some("user.name")),
        ("User.Preference.COFFEE", Some("user.preference.coffee")),
        ("user.tool-box_2", Some("user.tool-box_2")),
        (long.as_str(), Some(long.as_str())),
        (&"a".repeat(81), None),
        ("", None),
        ("user.", None),
        (".name", None),
        ("user..name", None),
        ("user.näme", None),
        ("user/name", None),
    ] {
        assert_eq!(canonical_key(key).as_deref(), spelled, "{key}");
    }
    assert_eq!(drafts("H #1 =user.prénom | Zoë\nEND", 1), [draft(Priority::High, &[1], "Zoë")]);
}
