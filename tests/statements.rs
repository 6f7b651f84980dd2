//! How often a turn asks its database, and what is left of a turn whose statements fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::cell::Cell;

use memory_gateway::memory::database::{Database, Row, Value};
use memory_gateway::memory::store::{GROWN_BY, Store, TurnStatus};
use memory_gateway::protocol::{Commit, Prepare};
use memory_gateway::thread;
use support::{Sqlite, Thread, around, assistant, user};

/// SQLite that counts its statements, and can be told to fail at one.
struct Counted {
    sqlite: Sqlite,
    statements: Cell<usize>,
    fails_at: Cell<Option<usize>>,
}

impl Counted {
    fn over(sqlite: Sqlite) -> Self {
        Counted { sqlite, statements: Cell::new(0), fails_at: Cell::new(None) }
    }

    /// Counts from nothing, up to a statement that fails.
    fn begin(&self, fails_at: Option<usize>) {
        self.statements.set(0);
        self.fails_at.set(fails_at);
    }

    /// Everything in the tables.
    fn tables(&self) -> Vec<(String, Vec<Row>)> {
        let names =
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'words%' ORDER BY name";
        let names = self.sqlite.query(names, &[]).unwrap();
        let rows = |name: &str| self.sqlite.query(&format!("SELECT * FROM {name}"), &[]).unwrap();
        names.iter().map(|name| (name.text(0), rows(&name.text(0)))).collect()
    }
}

impl Database for Counted {
    type Error = rusqlite::Error;

    fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, rusqlite::Error> {
        let count = self.statements.get() + 1;
        self.statements.set(count);
        if self.fails_at.get() == Some(count) {
            return Err(rusqlite::Error::InvalidQuery);
        }
        self.sqlite.query(sql, values)
    }

    fn run(&self, script: &str) -> Result<(), rusqlite::Error> {
        self.sqlite.run(script)
    }
}

/// A thread of so many turns over a database that counts, and its next request.
fn thread(turns: u32) -> (Store<Counted>, Prepare, Thread) {
    let mut thread = Thread::new();
    for day in 0..turns {
        thread.turn(&[user(&format!("What sails on day {day}?"))], assistant("A ship."));
    }
    let request = thread.request(&[user("And tomorrow?")]);
    let sqlite = std::mem::replace(&mut thread.store, Thread::new().store).into_database();
    (Store::open(Counted::over(sqlite)).unwrap(), request, thread)
}

fn commit(request: &Prepare) -> Commit {
    Commit {
        names_messages: true,
        turn: request.turn.clone(),
        prepare: None,
        finished_at: request.started_at + 1,
        status: TurnStatus::Complete,
        answer: Some(assistant("Noted.")),
        usage: None,
        stop: None,
        provider: "openai".into(),
        model: "gpt".into(),
        profile: None,
        prompt_tokens: None,
    }
}

#[test]
fn a_thread_that_stays_short_makes_few_tables_and_has_all_of_them_by_its_sixteenth_turn() {
    let tables = |turns: u32| {
        let (store, request, thread) = thread(turns);
        thread::prepare(&store, &request, around(&thread.settings)).unwrap();
        let sql = "SELECT count(*) FROM sqlite_master";
        store.database().query(sql, &[]).unwrap()[0].integer(0)
    };
    assert_eq!([tables(0), tables(14)], [12, 12]);
    assert!(tables(15) > 40);
}

/// Each statement crosses the border between wasm and the runtime, which costs more than SQLite does.
#[test]
fn a_turn_of_a_thread_that_is_awake_takes_few_statements() {
    assert_eq!(counts(6), [8, 1, 6, 1]);
    assert_eq!(counts(GROWN_BY.try_into().unwrap()), [11, 1, 6, 1]);
}

/// The statements of a turn's beginning, of the question for the alarm, of its end, and of that question again.
fn counts(turns: u32) -> [usize; 4] {
    let (store, request, thread) = thread(turns);
    let counted = |what: &dyn Fn()| {
        store.database().begin(None);
        what();
        store.database().statements.get()
    };
    let settings = &thread.settings;
    thread::next_alarm(&store, request.started_at, 60_000).unwrap();
    store.tombstone().unwrap();
    [
        counted(&|| drop(thread::prepare(&store, &request, around(settings)).unwrap())),
        counted(&|| assert!(thread::next_alarm(&store, request.started_at, 60_000).unwrap().is_some())),
        counted(&|| drop(thread::commit(&store, &commit(&request), around(settings)).unwrap())),
        counted(&|| assert!(thread::next_alarm(&store, request.started_at, 60_000).unwrap().is_some())),
    ]
}

#[test]
fn a_turn_whose_transaction_is_undone_at_any_statement_leaves_nothing_behind() {
    for turns in [0, 6, 15] {
        undone_at_any_statement(turns);
    }
}

fn undone_at_any_statement(turns: u32) {
    let (control, request, thread) = thread(turns);
    let settings = &thread.settings;
    thread::prepare(&control, &request, around(settings)).unwrap();
    thread::commit(&control, &commit(&request), around(settings)).unwrap();

    let (store, request, _) = self::thread(turns);
    let transaction = |fails_at: Option<usize>, work: &dyn Fn() -> Result<(), rusqlite::Error>| {
        let database = store.database();
        database.sqlite.run("BEGIN").unwrap();
        database.begin(fails_at);
        let outcome = work();
        database.sqlite.run(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).unwrap();
        if outcome.is_err() {
            store.undone();
        }
        outcome.is_ok()
    };
    let begins = || thread::prepare(&store, &request, around(settings)).map(drop);
    let ends = || thread::commit(&store, &commit(&request), around(settings)).map(drop);
    for work in [&begins as &dyn Fn() -> Result<(), rusqlite::Error>, &ends] {
        let singles = || (store.thread().unwrap(), store.state().unwrap(), store.tombstone().unwrap());
        let before = (store.database().tables(), singles());
        let mut at = 1;
        while !transaction(Some(at), work) {
            assert_eq!((store.database().tables(), singles()), before);
            at += 1;
        }
        assert!(at > 6, "it failed at {at} statements only");
    }
    assert_eq!(store.database().tables(), control.database().tables());
    assert_eq!(store.thread().unwrap(), control.thread().unwrap());
}

/// Storage whose tables were all made at once, under the numbers of one list, is read on.
#[test]
fn a_thread_that_had_all_tables_from_the_beginning_goes_on() {
    let (store, request, thread) = thread(6);
    let script =
        "DROP TABLE more_migrations; INSERT INTO migrations (version) VALUES (2), (3), (4), (5), (6)";
    store.grown().unwrap().run(script).unwrap();
    let store = Store::open(store.into_database()).unwrap();
    assert!(store.has_grown().unwrap());
    thread::prepare(&store, &request, around(&thread.settings)).unwrap();
    thread::commit(&store, &commit(&request), around(&thread.settings)).unwrap();
    store.grown().unwrap();
    let versions = |table: &str| {
        let sql = format!("SELECT group_concat(version) FROM {table}");
        store.database().query(&sql, &[]).unwrap()[0].text(0)
    };
    assert_eq!([versions("migrations"), versions("more_migrations")], ["1", "1"]);
}
