//! How SQLite runs the statements of a turn.

use std::cell::RefCell;
use std::collections::BTreeSet;

use memory_gateway::memory::database::{Database, Row, Value};
use memory_gateway::memory::store::{Store, TurnStatus};
use memory_gateway::protocol::Commit;
use memory_gateway::thread;

use crate::support::{Sqlite, around, assistant, user};
use crate::world::World;

/// Tables that grow with the thread.
const GROWING: [&str; 6] = ["messages", "message_rest", "turns", "segments", "notes", "gaps"];

/// SQLite, and the statements that it was asked.
struct Heard {
    sqlite: Sqlite,
    statements: RefCell<BTreeSet<String>>,
}

impl Database for Heard {
    type Error = rusqlite::Error;

    fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, rusqlite::Error> {
        self.statements.borrow_mut().insert(sql.to_owned());
        self.sqlite.query(sql, values)
    }

    fn run(&self, script: &str) -> Result<(), rusqlite::Error> {
        self.sqlite.run(script)
    }
}

/// Prints the statements of a turn that read a growing table without an index.
pub fn report(world: World) {
    let mut thread = world.thread;
    let requests: Vec<_> =
        (0..100).map(|day| thread.request(&[user(&format!("And {day} more ships."))])).collect();
    let settings = thread.settings.clone();
    let heard = Heard { sqlite: thread.store.into_database(), statements: RefCell::default() };
    let store = Store::open(heard).unwrap();
    store.database().statements.borrow_mut().clear();
    for request in requests {
        thread::prepare(&store, &request, around(&settings)).unwrap();
        let commit = Commit {
            names_messages: false,
            turn: request.turn,
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
        };
        thread::commit(&store, &commit, around(&settings)).unwrap();
        thread::next_alarm(&store, request.started_at + 2, 60_000).unwrap();
    }
    let statements = store.database().statements.take();
    println!(
        "{} different statements in a turn; those that read a growing table from end to end:",
        statements.len()
    );
    let mut scans = 0;
    for sql in &statements {
        let steps = plan(&store.database().sqlite, sql);
        let scanned = steps.iter().filter(|step| {
            let table = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
            table.is_some_and(|table| GROWING.contains(&table)) && !is_partial(step)
        });
        for step in scanned {
            scans += 1;
            let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            println!("  {step}\n    {sql}");
        }
    }
    if scans == 0 {
        println!("  none");
    }
}

/// True for a walk along an index that holds only the rows that are asked for.
fn is_partial(step: &str) -> bool {
    ["raw_messages", "unclaimed_messages", "pending_turns", "unfrozen_notes"]
        .iter()
        .any(|index| step.contains(index))
}

fn plan(sqlite: &Sqlite, sql: &str) -> Vec<String> {
    let mut statement = sqlite.0.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let values = vec![rusqlite::types::Value::Integer(1); statement.parameter_count()];
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3)).unwrap();
    rows.map(Result::unwrap).collect()
}
