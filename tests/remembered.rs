//! What is remembered and forgotten by hand, and what is read around a message, over SQLite itself.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use memory_gateway::memory::news::News;
use memory_gateway::memory::note::{Note, Priority, Speaker};
use memory_gateway::memory::store::{NewNote, NoteStatus};
use memory_gateway::protocol::{
    Delete, DeleteMessages, Forget, ForgetNotes, Forgotten, Found, MessagesDeleted, NotesForgotten, Prepared,
    ReadAround, ReadSources, Remember, Remembered, Search, Sources, ThreadKey,
};
use memory_gateway::thread;
use support::{Thread, around, assistant, short, user};

fn key() -> ThreadKey {
    ThreadKey { project: "p".into(), thread: "t".into(), resource: Some("r".into()) }
}

fn stranger() -> ThreadKey {
    ThreadKey { resource: Some("another".into()), ..key() }
}

fn remember(thread: &mut Thread, turn: &str, text: &str) -> Remembered {
    thread.now += 1_000;
    let asked = Remember { key: key(), turn: turn.into(), at: thread.now, text: text.into() };
    thread::remember(&thread.store, &asked, around(&thread.settings)).unwrap()
}

fn noted(remembered: &Remembered) -> i64 {
    match remembered {
        Remembered::Noted { note } => *note,
        other => panic!("{other:?}"),
    }
}

fn forget(thread: &Thread, notes: &[i64]) -> Vec<(i64, String)> {
    let asked = ForgetNotes { key: key(), notes: notes.to_vec() };
    match thread::forget_notes(&thread.store, &asked, thread.now, around(&thread.settings)).unwrap() {
        NotesForgotten::Forgotten { notes } => notes,
        NotesForgotten::NotFound => panic!("no thread"),
    }
}

/// What a turn would tell the model beside its messages: what stays, and what moves.
fn told(thread: &mut Thread) -> (String, String) {
    let mut request = thread.request(&[user("?")]);
    request.store = false;
    match thread::prepare(&thread.store, &request, around(&thread.settings)).unwrap() {
        Prepared::Ready { injection, .. } => {
            (injection.stable.join("\n"), injection.volatile.unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

fn found(thread: &Thread, query: &str) -> Vec<String> {
    let search = Search { key: key(), query: query.into(), limit: 10 };
    match thread::search(&thread.store, &search).unwrap() {
        Found::Hits { hits, .. } => hits.into_iter().map(|hit| hit.id).collect(),
        Found::NotFound => panic!("no thread"),
    }
}

/// Everything in the database, as text.
fn all_rows(thread: &Thread) -> String {
    let tables = ["messages", "message_rest", "notes", "render", "outbox", "state", "segments", "gaps"];
    let rows = tables.iter().map(|table| {
        let rows = memory_gateway::memory::database::Database::query(
            thread.store.database(),
            &format!("SELECT * FROM {table}"),
            &[],
        );
        format!("{:?}", rows.unwrap())
    });
    rows.collect()
}

#[test]
fn what_is_remembered_is_told_as_the_agents_word_in_the_very_next_turn() {
    let mut thread = Thread::new();
    thread.turn(&[user("Hello")], assistant("Hi"));
    assert_eq!(told(&mut thread), (String::new(), String::new()));
    noted(&remember(&mut thread, "turn_a", "Ann is allergic to nuts."));
    let (log, _) = told(&mut thread);
    assert!(log.contains("(assistant) Ann is allergic to nuts.\n"), "{log}");
    assert_eq!(
        thread.turn(&[user("Dinner?")], assistant("Yes")),
        ["u:Hello", "a:Hi", "=u:Dinner?"],
        "it is no message of the prompt"
    );
}

#[test]
fn beside_a_log_it_leaves_the_beginning_of_the_prompt_as_it_was() {
    let mut thread = Thread::new();
    noted(&remember(&mut thread, "turn_a", "One."));
    let (log, _) = told(&mut thread);
    noted(&remember(&mut thread, "turn_b", "Two."));
    let (after, volatile) = told(&mut thread);
    assert_eq!(after, log);
    assert!(volatile.contains("Two.") && !volatile.contains("One."), "{volatile}");
}

#[test]
fn sent_twice_it_is_remembered_once() {
    let mut thread = Thread::new();
    let first = remember(&mut thread, "turn_a", "One.");
    assert_eq!(remember(&mut thread, "turn_a", "One."), first);
    assert_eq!(thread.store.notes(NoteStatus::Active).unwrap().len(), 1);
}

#[test]
fn a_client_with_the_whole_history_does_not_notice_it() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("a1"));
    noted(&remember(&mut thread, "turn_a", "One."));
    thread.turn(&[user("u1"), assistant("a1"), user("u2")], assistant("a2"));
    let replay = [user("u1"), assistant("a1"), user("u2"), assistant("a2"), user("u3")];
    let prompt = thread.turn(&replay, assistant("a3"));
    assert_eq!(prompt, ["=u:u1", "=a:a1", "=u:u2", "=a:a2", "=u:u3"]);
    assert_eq!(thread.stored(), ["u:u1", "a:a1", "a:One.", "u:u2", "a:a2", "u:u3", "a:a3"]);
}

#[test]
fn it_stays_when_the_conversation_around_it_is_replaced() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("a1"));
    thread.turn(&[user("u2")], assistant("a2"));
    let note = noted(&remember(&mut thread, "turn_a", "One."));
    thread.turn(&[user("u1"), assistant("a1"), user("u2 edited")], assistant("b2"));
    assert!(told(&mut thread).0.contains("One."));
    assert_eq!(thread.stored(), ["u:u1", "a:a1", "a:One.", "u:u2 edited", "a:b2"]);
    let sources = ReadSources { key: key(), note };
    let Sources::Messages(messages) = thread::sources(&thread.store, &sources).unwrap() else { panic!() };
    assert_eq!(messages.iter().map(|found| short(&found.message)).collect::<Vec<_>>(), ["a:One."]);
}

#[test]
fn a_secret_is_masked_in_the_note() {
    let mut thread = Thread::new();
    noted(&remember(&mut thread, "turn_a", "The key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD."));
    let (log, _) = told(&mut thread);
    assert!(log.contains("The key is") && !log.contains("abcdefghijklmnop"), "{log}");
}

#[test]
fn nobody_else_can_remember_or_forget_in_a_thread() {
    let mut thread = Thread::new();
    let note = noted(&remember(&mut thread, "turn_a", "One."));
    let asked = Remember { key: stranger(), turn: "turn_b".into(), at: thread.now, text: "Two.".into() };
    let answer = thread::remember(&thread.store, &asked, around(&thread.settings)).unwrap();
    assert_eq!(answer, Remembered::NotFound);
    let asked = ForgetNotes { key: stranger(), notes: vec![note] };
    let answer = thread::forget_notes(&thread.store, &asked, thread.now, around(&thread.settings)).unwrap();
    assert_eq!(answer, NotesForgotten::NotFound);
    let asked = ReadAround { key: stranger(), id: "msg_a_0".into(), before: 1, behind: 1 };
    assert_eq!(thread::around(&thread.store, &asked).unwrap(), Sources::NotFound);
    assert_eq!(thread.store.notes(NoteStatus::Active).unwrap().len(), 1);
}

#[test]
fn what_was_asked_before_a_deletion_is_not_remembered_after_it() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("a1"));
    let asked = Remember { key: key(), turn: "turn_a".into(), at: thread.now, text: "One.".into() };
    thread::delete(&thread.store, &Delete::at_any_age(key()), thread.now + 1).unwrap();
    let answer = thread::remember(&thread.store, &asked, around(&thread.settings)).unwrap();
    assert_eq!(answer, Remembered::Deleted);
}

#[test]
fn what_is_forgotten_is_in_no_row_and_found_no_more() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("a1"));
    let one = noted(&remember(&mut thread, "turn_a", "The zebra is striped."));
    let two = noted(&remember(&mut thread, "turn_b", "The lion is not."));
    let hits = found(&thread, "zebra");
    assert!(hits.contains(&one.to_string()) && hits.contains(&"msg_a_0".to_owned()), "{hits:?}");
    assert_eq!(forget(&thread, &[one, 999]), [(one, "The zebra is striped.".to_owned())]);
    assert_eq!(forget(&thread, &[one]), []);
    assert!(!all_rows(&thread).contains("zebra"));
    assert_eq!(found(&thread, "zebra"), Vec::<String>::new());
    let (log, volatile) = told(&mut thread);
    assert!(!format!("{log}{volatile}").contains("zebra") && log.contains("The lion is not."), "{log}");
    assert_eq!(thread.stored(), ["u:u1", "a:a1", "a:The lion is not."]);
    assert_eq!(forget(&thread, &[two]).len(), 1);
    assert_eq!(told(&mut thread), (String::new(), String::new()));
}

#[test]
fn a_note_takes_with_it_its_details_and_what_it_was_rewritten_from_and_leaves_the_messages() {
    let mut thread = Thread::new();
    thread.turn(&[user("I saw a zebra")], assistant("Nice"));
    let seq = thread.store.page(1, 0, false).unwrap().0[0].seq;
    let add = |parent: Option<i64>, status, text: &str| {
        let note = Note {
            id: 0,
            segment: 7,
            parent,
            priority: Priority::High,
            speaker: Speaker::User,
            said_at: 5,
            refers: None,
            key: Some("user.animal".into()),
            text: text.into(),
            sources: vec![seq],
        };
        thread.store.add_note(&NewNote { note, status, tokens: 1, created_at: 5 }).unwrap()
    };
    let old = add(None, NoteStatus::Active, "Zebra, first wording.");
    let note = add(None, NoteStatus::Active, "Zebra, second wording.");
    thread.store.mark_notes(&[old], NoteStatus::Superseded, Some(note)).unwrap();
    let detail = add(Some(note), NoteStatus::Active, "Zebra detail.");
    add(None, NoteStatus::Active, "A lion.");
    let forgotten: Vec<i64> = forget(&thread, &[note]).into_iter().map(|(id, _)| id).collect();
    assert_eq!(forgotten, [note, detail]);
    let rows = all_rows(&thread);
    assert!(!rows.contains("Zebra") && rows.contains("A lion.") && rows.contains("I saw a zebra"), "{rows}");
    let news: Vec<News> = thread.store.outbox(9).unwrap().into_iter().filter_map(|(_, news)| news).collect();
    assert_eq!(news, [News::Forget { notes: vec![old, note, detail], at: thread.now }]);
}

#[test]
fn a_message_is_read_with_those_around_it() {
    let mut thread = Thread::new();
    for at in 1..=4 {
        thread.turn(&[user(&format!("u{at}"))], assistant(&format!("a{at}")));
    }
    let id = thread.store.page(1, 3, false).unwrap().0[0].id.clone();
    let read = |before, behind| {
        let asked = ReadAround { key: key(), id: id.clone(), before, behind };
        match thread::around(&thread.store, &asked).unwrap() {
            Sources::Messages(messages) => {
                messages.iter().map(|found| short(&found.message)).collect::<Vec<_>>()
            }
            Sources::NotFound => panic!("not there"),
        }
    };
    assert_eq!(read(1, 2), ["u:u2", "a:a2", "u:u3", "a:a3"]);
    assert_eq!(read(0, 0), ["a:a2"]);
    assert_eq!(read(99, 99).len(), 8);
    let asked = ReadAround { key: key(), id: "msg_none".into(), before: 1, behind: 1 };
    assert_eq!(thread::around(&thread.store, &asked).unwrap(), Sources::NotFound);
}

#[test]
fn a_note_that_its_owner_deletes_takes_the_words_along_that_were_stored_for_it() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("a1"));
    let note = noted(&remember(&mut thread, "turn_a", "Ann is allergic to pistachios."));
    noted(&remember(&mut thread, "turn_b", "Ann likes almonds."));
    let asked = Forget { key: key(), note };
    let gone = thread::forget(&thread.store, &asked, thread.now, around(&thread.settings)).unwrap();
    assert_eq!(gone, Forgotten::Forgotten { deleted_at: thread.now, notes: 1, restored: 0 });
    assert_eq!(thread.stored(), ["u:u1", "a:a1", "a:Ann likes almonds."]);
    assert!(!all_rows(&thread).contains("pistachios"));
    let stable = told(&mut thread).0;
    assert!(stable.contains("almonds") && !stable.contains("pistachios"), "{stable}");
}

#[test]
fn deleting_messages_says_which_of_the_ids_there_were() {
    let mut thread = Thread::new();
    thread.turn(&[user("My walrus is called Ignatius.")], assistant("a1"));
    let named = found(&thread, "walrus");
    let ids = [named.clone(), vec!["msg_of_nobody".to_owned()]].concat();
    let delete = |key| {
        let asked = DeleteMessages { key, ids: ids.clone() };
        thread::delete_messages(&thread.store, &asked, thread.now, around(&thread.settings)).unwrap()
    };
    assert_eq!(delete(stranger()), MessagesDeleted::NotFound);
    let MessagesDeleted::Deleted { messages, ids: gone, .. } = delete(key()) else { panic!() };
    assert_eq!((messages, gone), (1, named));
    let MessagesDeleted::Deleted { messages, ids: gone, .. } = delete(key()) else { panic!() };
    assert_eq!((messages, gone), (0, Vec::new()));
}
