//! Threads that come into being without a turn, and what they are called.

use memory_gateway::memory::store::Thread as Row;
use memory_gateway::protocol::{Create, Created, Delete, Details, Prepared, ReadDetails, ThreadKey, Update};
use memory_gateway::thread;

use crate::support::{Thread, around, assistant, user};

fn key(resource: &str) -> ThreadKey {
    ThreadKey { project: "p".into(), thread: "t".into(), resource: Some(resource.into()) }
}

fn create(thread: &Thread, resource: &str, title: &str) -> Created {
    let request = Create { key: key(resource), title: Some(title.into()), metadata: Some("{}".into()) };
    thread::create(&thread.store, &request, thread.now).unwrap()
}

fn details(thread: &Thread) -> Row {
    match thread::details(&thread.store, &ReadDetails { key: key("r") }).unwrap() {
        Details::Thread(row) => *row,
        Details::NotFound => panic!("no thread"),
    }
}

#[test]
fn a_thread_is_made_once_and_belongs_to_its_first_owner() {
    let mut thread = Thread::new();
    let row = Row {
        project: "p".into(),
        id: "t".into(),
        resource: "r".into(),
        title: Some("First".into()),
        metadata: Some("{}".into()),
        created_at: 1_000_000,
        updated_at: 1_000_000,
        indexed_at: None,
        index_retry_at: None,
    };
    assert_eq!(create(&thread, "r", "First"), Created::Created(Box::new(row.clone())));
    assert_eq!(create(&thread, "r", "Second"), Created::Existing(Box::new(row.clone())));
    assert_eq!(create(&thread, "s", "Third"), Created::Conflict);
    assert_eq!(details(&thread), row);
    // Chat goes on with it, and leaves its name alone.
    assert_eq!(thread.turn(&[user("Hello")], assistant("Hi")), ["=u:Hello"]);
    assert_eq!(details(&thread).title, row.title);
    let mut foreign = thread.request(&[user("Mine?")]);
    foreign.key = key("s");
    assert_eq!(
        thread::prepare(&thread.store, &foreign, around(&thread.settings)).unwrap(),
        Prepared::NotFound
    );
}

#[test]
fn a_change_sets_what_it_names_and_always_makes_the_thread_newer() {
    let thread = Thread::new();
    create(&thread, "r", "First");
    let update = |title: Option<Option<&str>>, metadata: Option<Option<&str>>, resource: &str| {
        let own = |value: Option<Option<&str>>| value.map(|value| value.map(str::to_owned));
        let request = Update { key: key(resource), title: own(title), metadata: own(metadata) };
        // It crosses to the object as JSON, where nothing and not set must stay two things.
        let request = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
        thread::update(&thread.store, &request, 1_000_000).unwrap()
    };
    assert_eq!(update(Some(None), None, "s"), Details::NotFound);
    update(Some(Some("Named")), None, "r");
    let row = details(&thread);
    assert_eq!((row.title.as_deref(), row.metadata.as_deref()), (Some("Named"), Some("{}")));
    assert_eq!(row.updated_at, 1_000_001);
    update(Some(None), Some(Some(r#"{"a":1}"#)), "r");
    let row = details(&thread);
    assert_eq!((row.title, row.metadata.as_deref()), (None, Some(r#"{"a":1}"#)));
    assert_eq!(row.updated_at, 1_000_002);
}

#[test]
fn a_thread_that_is_made_anew_comes_after_its_deletion() {
    let mut thread = Thread::new();
    let late = thread.request(&[user("Late")]);
    create(&thread, "r", "First");
    thread::delete(&thread.store, &Delete::at_any_age(key("r")), thread.now).unwrap();
    let missing = thread::details(&thread.store, &ReadDetails { key: key("r") }).unwrap();
    assert_eq!(missing, Details::NotFound);
    assert!(
        matches!(create(&thread, "s", "Second"), Created::Created(row) if row.created_at == thread.now + 1)
    );
    assert_eq!(
        thread::prepare(&thread.store, &late, around(&thread.settings)).unwrap(),
        Prepared::Deleted,
        "what began before stays out"
    );
}
