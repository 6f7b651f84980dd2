//! A thread that is written anew in another database is the same thread.

use memory_gateway::memory::database::Database;
use memory_gateway::memory::rewrite;
use memory_gateway::memory::store::{Kind, NoteStatus, Store};

use crate::support::{Sqlite, assistant, user};
use crate::world::{World, small};

#[test]
fn a_thread_written_anew_says_what_it_said_and_gives_no_number_again() {
    let mut world = World::new(small());
    for at in 0..12 {
        world.turn(&[user(&format!("statement {at} of the user"))], assistant("I have heard it."));
        world.quiet();
    }
    let live = world.live();
    assert!(!live.is_empty());
    let before = world.turn(&[user("what did I say?")], assistant("much"));
    let old = &world.thread.store;
    let next_segment = old.plan_segment(Kind::Reflect, (0, 0), 1, 0).unwrap() + 1;
    old.database().run("DELETE FROM segments WHERE kind = 'reflect'").unwrap();
    let copy = old.copy().unwrap().expect("it is small");

    let new = Store::open(Sqlite::new()).unwrap();
    new.paste(&copy).unwrap();
    assert_eq!(new.copy().unwrap(), Some(copy));
    assert_eq!(new.plan_segment(Kind::Reflect, (0, 0), 1, 0).unwrap(), next_segment);
    new.database().run("DELETE FROM segments WHERE kind = 'reflect'").unwrap();
    // The index of words is made anew.
    assert!(new.waiting().unwrap().is_index_behind);
    while new.index_words().unwrap() {}
    let terms = ["\"statement\"".to_owned()];
    let rarity = new.rarity(&terms).unwrap();
    assert!(!new.matching(&terms, &rarity, 100).unwrap().is_empty());
    world.thread.store = new;
    assert_eq!(world.live(), live);
    let after = world.turn(&[user("and now?")], assistant("more"));
    assert_eq!(after.stable, before.stable);
    assert!(world.notes(NoteStatus::Dropped).is_empty());
}

#[test]
fn what_is_larger_than_memory_is_not_copied() {
    let database = Sqlite::new();
    let store = Store::open(database).unwrap();
    let half = rewrite::MAX_BYTES / 2;
    let fill =
        "INSERT INTO message_rest (seq, part, body) VALUES (1, ?1, replace(hex(zeroblob(?2)), '0', 'x'))";
    store.grown().unwrap().query(fill, &[1i64.into(), (half / 2).into()]).unwrap();
    assert!(store.copy().unwrap().is_some());
    store.database().query(fill, &[2i64.into(), (half / 2).into()]).unwrap();
    assert!(store.copy().unwrap().is_none());
}
