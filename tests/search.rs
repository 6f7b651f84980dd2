//! Finding what was said: the rules on small threads, and the quality on recorded dialogues where they are at hand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

#[path = "search/dialogues.rs"]
mod dialogues;
#[path = "support/dialogues.rs"]
mod recorded_dialogues;

use memory_gateway::memory::database::Database;
use memory_gateway::memory::note::{Note, Priority, Speaker};
use memory_gateway::memory::settings::Settings;
use memory_gateway::memory::store::{NewNote, NoteStatus, TurnStatus};
use memory_gateway::protocol::{Found, Hit, HitKind, ReadSources, Search, Sources, ThreadKey};
use memory_gateway::thread;
use memory_gateway::turn::{Message, PartKind, Role, ToolCall};

use support::{Thread, assistant, calls, result, short, user};

fn key() -> ThreadKey {
    ThreadKey { project: "p".into(), thread: "t".into(), resource: None }
}

fn search(thread: &Thread, query: &str) -> Vec<Hit> {
    let request = Search { key: key(), query: query.into(), limit: 10 };
    match thread::search(&thread.store, &request).unwrap() {
        Found::Hits { hits, complete, .. } => {
            assert!(complete, "the index is behind");
            hits
        }
        Found::NotFound => panic!("no thread"),
    }
}

/// The texts that hold words of the question, best first, each hit's own before those around it.
fn found(thread: &Thread, query: &str) -> Vec<String> {
    let of_hit = |hit: Hit| {
        let around = hit.context.into_iter().map(|beside| (beside.is_beside, beside.snippet));
        std::iter::once((hit.is_beside, hit.snippet)).chain(around)
    };
    let texts = search(thread, query).into_iter().flat_map(of_hit);
    texts.filter(|(is_beside, _)| !is_beside).map(|(_, text)| text).collect()
}

/// A thread of these statements, each answered with `Ok.`
fn said(texts: &[&str]) -> Thread {
    let mut thread = Thread::new();
    for text in texts {
        thread.turn(&[user(text)], assistant("Ok."));
    }
    thread
}

fn note(thread: &Thread, text: &str, sources: &[i64], status: NoteStatus) -> i64 {
    let note = Note {
        id: 0,
        segment: 1,
        parent: None,
        priority: Priority::High,
        speaker: Speaker::User,
        said_at: 5_000,
        refers: None,
        key: None,
        text: text.into(),
        sources: sources.to_vec(),
    };
    thread.store.add_note(&NewNote { note, status, tokens: 5, created_at: 5_000 }).unwrap()
}

#[test]
fn words_are_found_in_their_other_forms_accents_and_scripts() {
    let texts = [
        "I was running marathons in Oslo",
        "We met in the Café Zoë",
        "Use items[0] of user_id, not items[1]",
        "東京に住んでいます",
        "ฉันชอบกินข้าวผัด",
        "Мы были в музее на прошлой неделе",
        "학교에서 점심을 먹었다",
        "नमस्ते दुनिया",
    ];
    let thread = said(&texts);
    for (query, expected) in [
        ("Who runs a marathon?", 0),
        ("cafe zoe", 1),
        ("cafe\u{301}", 1),
        ("items[0]", 2),
        ("user_id", 2),
        ("USER_ID", 2),
        ("東京", 3),
        ("京", 3),
        ("どこに住んでいますか", 3),
        ("ข้าวผัด", 4),
        ("музей", 5),
        ("недели", 5),
        ("학교", 6),
        ("नमस्ते", 7),
    ] {
        assert_eq!(found(&thread, query), [texts[expected]], "{query}");
    }
}

#[test]
fn a_hit_says_what_it_is_where_it_stands_and_how_well_it_fits() {
    let mut thread = said(&["My dog is called Rex", "Nothing of that"]);
    thread.turn(&[user("And the dog?")], assistant("It barks."));
    let place = |turn: i64| memory_gateway::memory::store::first_seq(turn);
    note(&thread, "The dog is called Rex.", &[place(1)], NoteStatus::Active);
    let hits = search(&thread, "dog Rex");
    let told: Vec<_> = hits
        .iter()
        .map(|hit| {
            let around: Vec<(i64, bool)> =
                hit.context.iter().map(|beside| (beside.seq, beside.is_beside)).collect();
            (hit.kind, hit.seqs.clone(), hit.speaker.as_str(), hit.priority.as_deref(), hit.is_beside, around)
        })
        .collect();
    let around_first = vec![(place(1) + 1, true), (place(2), true)];
    let around_third = vec![(place(2) + 1, true), (place(3) + 1, true)];
    assert_eq!(
        told,
        [
            (HitKind::Note, vec![place(1)], "user", Some("H"), false, vec![]),
            (HitKind::Message, vec![place(1)], "user", None, false, around_first),
            (HitKind::Message, vec![place(3)], "user", None, false, around_third),
        ]
    );
    assert_eq!(
        (hits[1].at, hits[1].id.as_str(), hits[1].snippet.as_str()),
        (1_001_000, "msg_1_0", "My dog is called Rex")
    );
    assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    let one = Search { key: key(), query: "dog".into(), limit: 1 };
    assert!(
        matches!(thread::search(&thread.store, &one).unwrap(), Found::Hits { hits, .. } if hits.len() == 1)
    );
}

#[test]
fn of_equal_messages_the_newest_comes_first() {
    let thread = said(&["green apples", "one", "two", "green apples"]);
    let hits = search(&thread, "apple");
    let seqs: Vec<i64> = hits.iter().filter(|hit| !hit.is_beside).map(|hit| hit.seqs[0]).collect();
    assert_eq!(seqs, [4 << 20, 1 << 20]);
}

#[test]
fn nothing_in_a_question_is_an_operator() {
    let thread = said(&["alpha beta", "gamma AND delta", "words rowid"]);
    for (query, expected) in [
        ("alpha NOT beta", vec!["alpha beta"]),
        ("\"alpha", vec!["alpha beta"]),
        ("alpha\" OR \"gamma", vec!["gamma AND delta", "alpha beta"]),
        ("words:alpha", vec!["words rowid", "alpha beta"]),
        ("(alpha", vec!["alpha beta"]),
        ("alph*", vec![]),
        ("-alpha ^beta", vec!["alpha beta"]),
        ("NEAR(alpha beta, 1)", vec!["alpha beta"]),
        ("'; DROP TABLE words; --", vec!["words rowid"]),
        ("\0", vec![]),
        ("", vec![]),
        ("?!*\"", vec![]),
    ] {
        let mut hits = found(&thread, query);
        hits.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(hits, expected, "{query}");
    }
}

#[test]
fn calls_and_results_are_found_up_to_their_bound_and_thoughts_never() {
    let mut thread = Thread::new();
    let call = ToolCall {
        id: "id-weather".into(),
        name: "weather".into(),
        arguments: r#"{"city":"Lisbon"}"#.into(),
        ..ToolCall::default()
    };
    let thought = PartKind::Reasoning(memory_gateway::turn::Reasoning {
        text: "pondering".into(),
        ..Default::default()
    });
    thread.turn(
        &[user("How is it there?")],
        Message::new(Role::Assistant, vec![thought.into(), PartKind::ToolCall(call).into()]),
    );
    thread.turn(
        &[result("weather", &format!("sunshine {} rainfall", "x ".repeat(10_000)))],
        assistant("Fine."),
    );
    assert_eq!(found(&thread, "Lisbon"), ["weather\n{\"city\":\"Lisbon\"}"]);
    assert!(found(&thread, "sunshine")[0].starts_with("sunshine x"));
    assert_eq!(found(&thread, "pondering rainfall"), [] as [&str; 0]);
}

#[test]
fn what_a_branch_replaced_is_never_found_neither_before_nor_after_it_was_indexed() {
    for index_first in [false, true] {
        let mut thread = said(&["apples are red", "plums are blue"]);
        if index_first {
            assert_eq!(found(&thread, "plums"), ["plums are blue"]);
        }
        thread
            .turn(&[user("apples are red"), assistant("Ok."), user("cherries are black")], assistant("Ok."));
        assert_eq!(found(&thread, "plums"), [] as [&str; 0]);
        assert_eq!(found(&thread, "cherry"), ["cherries are black"]);
        // Nor does it take the place of what is found.
        let first = Search { key: key(), query: "blue plums are red".into(), limit: 1 };
        let Found::Hits { hits, .. } = thread::search(&thread.store, &first).unwrap() else {
            panic!("no thread")
        };
        assert_eq!(hits[0].snippet, "apples are red");
        assert!(search(&thread, "apples cherries").iter().all(|hit| !hit.snippet.contains("plums")));
    }
}

#[test]
fn only_notes_of_the_log_are_found() {
    let thread = said(&["hello"]);
    let ids = [NoteStatus::Buffered, NoteStatus::Active, NoteStatus::Superseded, NoteStatus::Dropped]
        .map(|status| note(&thread, &format!("a zebra, {}", status.as_str()), &[1 << 20], status));
    assert_eq!(found(&thread, "zebras"), ["a zebra, active"]);
    thread.store.mark_notes(&[ids[1]], NoteStatus::Dropped, None).unwrap();
    thread.store.mark_notes(&[ids[0]], NoteStatus::Active, None).unwrap();
    assert_eq!(found(&thread, "zebras"), ["a zebra, buffered"]);
}

#[test]
fn rows_that_are_deleted_leave_the_index_with_their_words() {
    let thread = said(&["the password is xylophone", "hello there"]);
    note(&thread, "A quetzalcoatlus was seen.", &[1 << 20], NoteStatus::Active);
    assert_eq!(found(&thread, "xylophone quetzalcoatlus").len(), 2);
    let database = thread.store.database();
    database.run("DELETE FROM messages WHERE seq = 1 << 20; DELETE FROM notes").unwrap();
    assert_eq!(found(&thread, "xylophone quetzalcoatlus"), [] as [&str; 0]);
    let blobs = |word: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM words_data WHERE instr(block, CAST('{word}' AS BLOB)) > 0");
        database.query(&sql, &[]).unwrap()[0].integer(0)
    };
    // The index reduces words to stems; what stands in it of a word is the word's rest behind what it shares with others.
    assert_eq!((blobs("xylophon"), blobs("quetzalcoatlu")), (1, 1));
    thread.store.compact_index().unwrap();
    assert_eq!((blobs("xylophon"), blobs("quetzalcoatlu"), blobs("hello")), (0, 0, 1));
}

#[test]
fn an_answer_that_comes_when_the_index_has_passed_its_place_is_found() {
    let mut thread = Thread::new();
    let slow = thread.request(&[user("first question")]);
    thread.begin(&slow);
    thread.turn(&[user("second question")], assistant("quick"));
    assert_eq!(found(&thread, "quick"), ["quick"]);
    thread.end(&slow, TurnStatus::Complete, Some(assistant("a belated walrus")));
    assert_eq!(found(&thread, "walrus"), ["a belated walrus"]);
    let left = thread.store.database().query("SELECT count(*) FROM unindexed_messages", &[]).unwrap();
    assert_eq!(left[0].integer(0), 0);
}

#[test]
fn a_long_backlog_is_indexed_in_steps_and_a_search_says_that_more_is_to_come() {
    let unobserved =
        Settings { observe_tokens: u64::MAX / 8, buffer_tokens: u64::MAX / 16, ..Settings::default() };
    let mut thread = Thread::with(unobserved);
    let texts: Vec<Message> =
        (0..2_600).map(|number| user(&format!("fact{number} about a walrus"))).collect();
    thread.turn(&texts, assistant("Ok."));
    let request = Search { key: key(), query: "fact2599".into(), limit: 10 };
    let search = |thread: &Thread| match thread::search(&thread.store, &request).unwrap() {
        Found::Hits { hits, complete, .. } => (hits.len(), complete),
        Found::NotFound => panic!("no thread"),
    };
    assert_eq!(search(&thread), (0, false));
    let now = thread.now;
    let alarm = |thread: &Thread| {
        thread::index_told(&thread.store, now, now, true).unwrap();
        thread::next_alarm(&thread.store, now, 1_000).unwrap()
    };
    let mut steps = 0;
    while thread.store.waiting().unwrap().is_index_behind {
        assert_eq!(alarm(&thread), Some(now));
        thread::index_words(&thread.store).unwrap();
        steps += 1;
    }
    assert_eq!((steps, alarm(&thread)), (2, None));
    assert_eq!(search(&thread), (1, true));
}

#[test]
fn another_projects_key_finds_nothing() {
    let thread = said(&["hello"]);
    for stranger in
        [ThreadKey { project: "q".into(), ..key() }, ThreadKey { resource: Some("other".into()), ..key() }]
    {
        let request = Search { key: stranger.clone(), query: "hello".into(), limit: 10 };
        assert_eq!(thread::search(&thread.store, &request).unwrap(), Found::NotFound);
        let sources = ReadSources { key: stranger, note: 1 };
        assert_eq!(thread::sources(&thread.store, &sources).unwrap(), Sources::NotFound);
    }
}

#[test]
fn the_sources_of_a_note_are_the_very_messages_that_it_rests_on() {
    let mut thread = said(&["one", "two"]);
    thread.turn(&[user("three")], calls(&["look"]));
    let place = |turn: i64| memory_gateway::memory::store::first_seq(turn);
    let id = note(&thread, "One and three.", &[place(1), place(3), place(3) + 1], NoteStatus::Superseded);
    let sources = |note: i64| match thread::sources(&thread.store, &ReadSources { key: key(), note }).unwrap()
    {
        Sources::Messages(messages) => {
            Some(messages.iter().map(|stored| short(&stored.message)).collect::<Vec<_>>())
        }
        Sources::NotFound => None,
    };
    assert_eq!(sources(id).unwrap(), ["u:one", "u:three", "a:[look](id-look)"]);
    assert_eq!(sources(id + 1), None);
}
