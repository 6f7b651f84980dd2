//! Copies of threads: as useful as the original, and of nothing that a filter withholds.

use memory_gateway::memory::store::{NoteStatus, Store};
use memory_gateway::protocol::{Copied, Filter, Paste, Pasted, PublicMessage, ReadCopy, ThreadKey};
use memory_gateway::thread;
use serde_json::json;

use crate::support::{Sqlite, Thread, around, assistant, calls, result, short, user};
use crate::world::{World, small};

/// A thread with notes in use, notes that wait, and messages that are neither.
fn original() -> World {
    let mut world = World::new(small());
    for at in 0..14 {
        world.turn(&[user(&format!("fact {at} is `value-{at}`"))], assistant("I will keep that in mind."));
        world.quiet();
    }
    world.turn(&[user("Add 2 and 3")], calls(&["add"]));
    world.turn(&[result("add", "5")], assistant("It is 5."));
    assert!(world.live().len() > 2);
    world
}

/// The copy, as another thread; and its messages.
fn copied(world: &World, limit: Option<u32>, filter: Filter) -> (World, Vec<PublicMessage>) {
    let key =
        |thread: &str| ThreadKey { project: "p".into(), thread: thread.into(), resource: Some("r".into()) };
    let asked = ReadCopy { key: ThreadKey { resource: None, ..key("t") }, limit, filter };
    let snapshot = match thread::copy(&world.thread.store, &asked).unwrap() {
        Copied::Thread(snapshot) => snapshot,
        other => panic!("{other:?}"),
    };
    // It crosses between objects as JSON.
    let snapshot = serde_json::from_value(json!(snapshot)).unwrap();
    let mut copy = World::new(world.thread.settings.clone());
    copy.thread.now = world.thread.now;
    copy.thread.store = Store::open(Sqlite::new()).unwrap();
    let paste = Paste { key: key("t"), token: "x".into(), title: None, metadata: None, snapshot };
    let Thread { store, now, settings, .. } = &copy.thread;
    match thread::paste(store, &paste, *now, around(settings)).unwrap() {
        Pasted::Thread { messages, .. } => {
            assert_eq!(thread::paste(store, &paste, *now, around(settings)).unwrap(), Pasted::Conflict);
            (copy, messages)
        }
        Pasted::Conflict => panic!("it is new"),
    }
}

/// What the next turn shows a model.
fn shown(world: &mut World) -> (Vec<String>, Vec<String>) {
    let mut request = world.thread.request(&[user("What do you know?")]);
    request.turn = "turn_next".into();
    let shown = world.begin(&request);
    (shown.stable, shown.messages)
}

#[test]
fn a_whole_copy_shows_a_model_the_same_bytes_and_has_ids_of_its_own() {
    let mut world = original();
    let (mut copy, messages) = copied(&world, None, Filter::default());
    assert_eq!(messages.iter().map(|one| short(&one.message)).collect::<Vec<_>>(), world.thread.stored());
    assert_eq!(copy.live(), world.live());
    assert_eq!(copy.notes(NoteStatus::Buffered).len(), world.notes(NoteStatus::Buffered).len());
    assert!(messages.iter().enumerate().all(|(nth, one)| one.id == format!("msg_x_{nth}")));
    assert_eq!(shown(&mut copy), shown(&mut world));
    // Each goes its own way from there, and a client with the whole history finds its place in the copy.
    let before = world.thread.stored();
    let mut history: Vec<_> = messages.into_iter().map(|one| one.message).collect();
    history.push(user("And on?"));
    copy.turn(&history, assistant("On."));
    copy.quiet();
    assert_eq!(world.thread.stored(), before);
    let told = copy.thread.stored();
    assert_eq!(told[told.len() - 2..], ["u:And on?", "a:On."]);
    assert!(told.len() <= before.len() + 3, "nothing is doubled: {told:?}");
}

#[test]
fn a_limit_takes_the_newest_messages_and_leaves_the_notes() {
    let world = original();
    let (mut copy, messages) = copied(&world, Some(4), Filter::default());
    let stored = world.thread.stored();
    assert_eq!(
        messages.iter().map(|one| short(&one.message)).collect::<Vec<_>>(),
        stored[stored.len() - 4..]
    );
    assert_eq!(copy.live(), world.live());
    assert!(shown(&mut copy).0.concat().contains("`value-0`"), "it knows what it was told");
}

#[test]
fn what_a_filter_withholds_is_in_no_message_and_no_note_of_the_copy() {
    let mut world = original();
    let all = copied(&world, None, Filter::default()).1;
    let dated: Vec<u64> = all.iter().map(|one| one.created_at).collect();
    // The thread as it was after its third turn.
    let (mut copy, messages) = copied(&world, None, Filter { to: Some(dated[5]), ..Filter::default() });
    assert_eq!(messages.len(), 6);
    let everything = |copy: &World| {
        let notes = NoteStatus::ALL.map(|status| copy.notes(status)).concat();
        notes.into_iter().map(|note| note.text).collect::<Vec<_>>()
    };
    for text in everything(&copy).into_iter().chain(shown(&mut copy).0) {
        assert!((3..14).all(|at| !text.contains(&format!("`value-{at}`"))), "{text}");
    }
    // What it may know and no note says any more stands in its prompt as it was said.
    let prompt = format!("{:?}", shown(&mut copy));
    assert!((0..3).all(|at| prompt.contains(&format!("`value-{at}`"))), "{prompt}");
    let ids = world.thread.store.page(2, 4, false).unwrap().0.into_iter().map(|one| one.id).collect();
    let (copy, messages) = copied(&world, None, Filter { ids: Some(ids), ..Filter::default() });
    assert_eq!(
        messages.iter().map(|one| short(&one.message)).collect::<Vec<_>>(),
        ["u:fact 2 is `value-2`", "a:I will keep that in mind."]
    );
    assert!(everything(&copy).iter().all(|text| text.contains("`value-2`")), "{:?}", everything(&copy));
    let nothing = Filter { from: Some(world.thread.now + 1), ..Filter::default() };
    let (mut copy, messages) = copied(&world, None, nothing);
    assert_eq!((messages.len(), shown(&mut copy).1), (0, vec!["=u:What do you know?".to_owned()]));
    world.quiet();
}

#[test]
fn a_turn_under_way_is_over_in_the_copy() {
    let mut world = original();
    let request = world.thread.request(&[user("Still asking")]);
    world.begin(&request);
    let (copy, messages) = copied(&world, None, Filter::default());
    assert_eq!(messages.last().map(|one| short(&one.message)).as_deref(), Some("u:Still asking"));
    assert_eq!(copy.thread.store.first_pending().unwrap(), None);
}
