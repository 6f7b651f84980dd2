//! A thread that leaves as lines and comes back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use memory_gateway::memory::database::Database;
use memory_gateway::memory::note::{Note, Priority, Speaker};
use memory_gateway::memory::store::{Brought, Kind, NewNote, NoteStatus, Store, TurnStatus, first_seq};
use memory_gateway::protocol::{Bring, ReadObservations, ReadRows, Rows, ThreadKey};
use memory_gateway::thread;
use support::{Sqlite, Thread, around, assistant, calls, result, user};

fn key() -> ThreadKey {
    ThreadKey { project: "p".into(), thread: "t".into(), resource: Some("r".into()) }
}

/// All lines, in pages of about so many bytes.
fn exported(store: &Store<Sqlite>, bytes: u64) -> Vec<String> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let request = ReadRows { key: key(), after, bytes };
        let Rows::Page { lines, next } = thread::rows(store, &request).unwrap() else { panic!("no thread") };
        all.extend(lines);
        after = next;
        if after.is_none() {
            return all;
        }
    }
}

fn brought(thread: &Thread, lines: &[String]) -> Brought {
    let request = Bring { key: key(), lines: lines.to_vec() };
    thread::bring(&thread.store, &request, 9_000_000, around(&thread.settings)).unwrap()
}

/// A thread with calls, a branch, an answer cut short, a message of several rows, notes and a log.
fn lived() -> Thread {
    let mut thread = Thread::new();
    thread.turn(&[user("My dog is called Rex")], calls(&["look"]));
    thread.turn(&[result("look", "a dog")], assistant("A fine dog."));
    thread.turn(&[user(&"é".repeat(1_500_000))], assistant("Long."));
    let cut = thread.request(&[user("And then?")]);
    thread.begin(&cut);
    thread.end(&cut, TurnStatus::Incomplete, Some(assistant("Then the")));
    let again =
        [user("My dog is called Rex"), calls(&["look"]), result("look", "a dog"), user("Another way")];
    thread.turn(&again, assistant("As you like."));
    let segment = thread.store.plan_segment(Kind::Observe, (first_seq(1), first_seq(2)), 10, 5_000).unwrap();
    let note = Note {
        id: 0,
        segment,
        parent: None,
        priority: Priority::High,
        speaker: Speaker::User,
        said_at: 5_000,
        refers: None,
        key: Some("user.dog".into()),
        text: "The dog is called \"Rex\".".into(),
        sources: vec![first_seq(1)],
    };
    let new = NewNote { note, status: NoteStatus::Active, tokens: 7, created_at: 6_000 };
    thread.store.add_note(&new).unwrap();
    thread
}

#[test]
fn a_thread_that_was_moved_is_the_same_thread_however_its_pages_were_cut() {
    let lived = lived();
    let lines = exported(&lived.store, 1_000_000);
    assert_eq!(exported(&lived.store, 1), lines);
    let moved = Thread::new();
    for some in lines.chunks(3) {
        assert_eq!(brought(&moved, some), Brought { added: some.len() as u64, known: 0, conflict: None });
    }
    assert_eq!(exported(&moved.store, 10_000), lines);
    assert_eq!(moved.stored(), lived.stored());
    for types in ["thread", "turn", "segment", "note", "state", "message"] {
        assert!(lines.iter().any(|line| line.starts_with(&format!("{{\"type\":\"{types}\""))), "{types}");
    }
}

#[test]
fn what_is_brought_twice_is_there_once_even_when_the_thread_has_gone_on() {
    let lines = exported(&lived().store, 1_000_000);
    let mut moved = Thread::new();
    brought(&moved, &lines);
    assert_eq!(brought(&moved, &lines), Brought { added: 0, known: lines.len() as u64, conflict: None });
    moved.now = 50_000_000;
    let went_on = moved.request(&[user("Hello again")]);
    let went_on = memory_gateway::protocol::Prepare { turn: "turn_later".into(), ..went_on };
    moved.begin(&went_on);
    moved.end(&went_on, TurnStatus::Complete, Some(assistant("Hello.")));
    let before = exported(&moved.store, 1_000_000);
    assert_eq!(brought(&moved, &lines), Brought { added: 0, known: lines.len() as u64, conflict: None });
    assert_eq!(exported(&moved.store, 1_000_000), before);
}

#[test]
fn an_import_that_broke_off_goes_on_where_it_was() {
    let lines = exported(&lived().store, 1_000_000);
    let moved = Thread::new();
    brought(&moved, &lines[..lines.len() / 2]);
    let rest = brought(&moved, &lines);
    assert_eq!((rest.conflict, rest.known), (None, (lines.len() / 2) as u64));
    assert_eq!(exported(&moved.store, 1_000_000), lines);
}

#[test]
fn lines_that_stand_against_what_is_there_are_named_and_nothing_of_them_is_taken() {
    let lines = exported(&lived().store, 1_000_000);
    let mut other = Thread::new();
    other.turn(&[user("Something else")], assistant("Ok."));
    let before = exported(&other.store, 1_000_000);
    other.now += 77;
    let foreign: Vec<String> =
        lines.iter().map(|line| line.replace("\"startedAt\":1001000", "\"startedAt\":5")).collect();
    let outcome = brought(&other, &foreign);
    assert_eq!(
        outcome,
        Brought {
            conflict: Some((1, "The thread has another turn with the number 1.".into())),
            ..Brought::default()
        }
    );
    assert_eq!(exported(&other.store, 1_000_000), before);

    let stranger: Vec<String> =
        lines.iter().map(|line| line.replace("\"resourceId\":\"r\"", "\"resourceId\":\"s\"")).collect();
    let moved = Thread::new();
    brought(&moved, &lines);
    let why = brought(&moved, &stranger).conflict.unwrap();
    assert_eq!(why, (0, "The thread exists and belongs to another resource.".to_owned()));

    let fresh = Thread::new();
    let why = brought(&fresh, &lines[1..]).conflict.unwrap().1;
    assert!(why.contains("`thread`"), "{why}");
    for (line, word) in [
        ("{", "no JSON"),
        (r#"{"type":"dream"}"#, "`dream`"),
        (r#"{"type":"turn","seq":1}"#, "`id`"),
        (&lines.last().unwrap().replace("\"role\":\"assistant\"", "\"role\":\"system\""), "`message`"),
    ] {
        let why = brought(&moved, &[line.to_owned()]).conflict.unwrap().1;
        assert!(why.contains(word), "{why}");
    }
}

fn said(id: &str, role: &str, at: u64, text: &str) -> String {
    format!(
        r#"{{"type":"said","thread":"t","id":"{id}","role":"{role}","createdAt":{at},"content":"{text}"}}"#
    )
}

#[test]
fn messages_and_a_log_from_elsewhere_become_a_thread_that_goes_on() {
    let begin = r#"{"type":"thread","thread":"t","resourceId":"r","createdAt":1000,"updatedAt":2000}"#;
    let log = "## Thursday 1970-01-01\\n- 🔴 00:01 The dog is called Rex\\n  - it barks";
    let filler = "word ".repeat(9_000);
    let mut lines = vec![begin.to_owned()];
    lines.extend([
        said("m1", "user", 60_000, "My dog is called Rex"),
        said("m2", "assistant", 61_000, &filler),
    ]);
    lines.push(said("m3", "user", 90_000, "Latest question"));
    lines.push(said("m4", "assistant", 91_000, "Latest answer"));
    lines.push(format!(r#"{{"type":"observed","thread":"t","until":61000,"text":"{log}"}}"#));
    let mut moved = Thread::new();
    assert_eq!(brought(&moved, &lines), Brought { added: 6, known: 0, conflict: None });
    assert_eq!(brought(&moved, &lines), Brought { added: 0, known: 6, conflict: None });
    let memory_gateway::protocol::Observations::Record(record) = thread::observations(
        &moved.store,
        &ReadObservations { key: key() },
        100_000,
        around(&moved.settings),
    )
    .unwrap() else {
        panic!("no thread")
    };
    let log = record.log.unwrap();
    assert!(log.contains("- 00:01 The dog is called Rex\n  - it barks\n"), "{log}");
    let notes =
        moved.store.database().query("SELECT priority, said_at, parent FROM notes ORDER BY id", &[]).unwrap();
    assert_eq!((notes[0].text(0), notes[0].integer(1), notes[1].integer(2)), ("H".into(), 60_000, 1));
    let request = moved.request(&[user("What is my dog called?")]);
    let prompt = moved.begin(&request);
    assert!(prompt.iter().any(|said| said == "u:Latest question") && prompt.len() < 6, "{prompt:?}");
    assert_eq!(moved.stored().len(), 5);
    // What comes back out is whole.
    let copy = Thread::new();
    let lines = exported(&moved.store, 1_000_000);
    brought(&copy, &lines);
    assert_eq!(exported(&copy.store, 1_000_000), lines);
}
