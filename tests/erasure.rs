//! What is to be erased, over SQLite itself with the schema of D1.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/mod.rs"]
mod support;

use memory_gateway::erasure::{self, Counts, Erasure, REMEMBERED_MS};
use memory_gateway::ledger::write::Statement;
use memory_gateway::memory::database::{Database, Row};
use memory_gateway::protocol::Deleted;

use support::Sqlite;

struct D1(Sqlite);

impl D1 {
    fn new() -> Self {
        let database = Sqlite::new();
        for script in [
            include_str!("../migrations/0001_init.sql"),
            include_str!("../migrations/0002_ledger.sql"),
            include_str!("../migrations/0003_projects.sql"),
            include_str!("../migrations/0004_thread_details.sql"),
            include_str!("../migrations/0005_erasure.sql"),
        ] {
            database.run(script).unwrap();
        }
        D1(database)
    }

    fn run(&self, statement: &Statement) -> Vec<Row> {
        self.0.query(&statement.sql, &statement.values).unwrap()
    }

    fn thread(&self, project: &str, id: &str, resource: &str, created_at: u64, updated_at: u64) {
        self.run(&Statement::new(
            "INSERT INTO threads (project_id, id, resource_id, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            vec![project.into(), id.into(), resource.into(), created_at.into(), updated_at.into()],
        ));
        self.run(&Statement::new(
            "INSERT INTO resources (project_id, id, created_at, updated_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            vec![project.into(), resource.into(), created_at.into(), updated_at.into()],
        ));
    }

    fn ids(&self, statement: &Statement) -> Vec<String> {
        let mut ids: Vec<String> = self.run(statement).iter().map(|row| row.text(0)).collect();
        ids.sort();
        ids
    }

    fn reaches(&self, project: &str, resource: &str, created_at: u64) -> bool {
        !self.run(&erasure::reaches(project, resource, created_at)).is_empty()
    }

    fn request(&self, project: &str, id: &str, thread: &str, resource: &str) {
        self.0
            .run(&format!(
                "INSERT INTO ledger VALUES ('{project}', 1, '{id}', 'inference', '{id}', 'k', 'own', 'chat', 'chat', 'openai',
                   'm', '', 0, 'complete', 200, 7, 1, 0, 0, 0, 0, 5, 1, 1, 1, NULL, '{thread}', '{resource}', '[\"a\"]', 0,
                   NULL, 0)"
            ))
            .unwrap();
    }

    fn named(&self) -> Vec<String> {
        let named = "SELECT id FROM ledger
                     WHERE thread_id IS NOT NULL OR resource_id IS NOT NULL OR message_ids IS NOT NULL";
        self.ids(&Statement::new(named, vec![]))
    }
}

fn deleted(messages: u64) -> Deleted {
    Deleted::Deleted { deleted_at: 9, resource: "ann".into(), messages, notes: 2, jobs: 1, responses: 3 }
}

#[test]
fn an_erasure_reaches_the_threads_of_its_resource_that_were_first_used_before() {
    let d1 = D1::new();
    d1.thread("p", "old", "ann", 10, 90);
    d1.thread("p", "then", "ann", 50, 50);
    d1.thread("p", "young", "ann", 51, 51);
    d1.thread("p", "bobs", "bob", 10, 10);
    d1.thread("q", "others", "ann", 10, 10);
    let ann = Erasure::of_resource("p", "ann", 50);
    d1.run(&ann.begin());
    assert_eq!(d1.ids(&ann.threads(9)), ["old", "then"]);
    assert_eq!(d1.ids(&ann.threads(1)).len(), 1);
    assert_eq!(d1.ids(&ann.resources(9)), ["ann"]);
    for (project, resource, created_at, reached) in
        [("p", "ann", 50, true), ("p", "ann", 51, false), ("p", "bob", 10, false), ("q", "ann", 10, false)]
    {
        assert_eq!(d1.reaches(project, resource, created_at), reached, "{project} {resource} {created_at}");
    }
    let all = Erasure::of_project("p", 60);
    d1.run(&all.begin());
    assert_eq!(d1.ids(&all.threads(9)), ["bobs", "old", "then", "young"]);
    assert_eq!(d1.ids(&all.resources(9)), ["ann", "bob"]);
    // Nobody may use a deleted project, so what is younger goes, too.
    d1.thread("p", "younger", "bob", 61, 61);
    assert_eq!(d1.ids(&all.threads(9)), ["bobs", "old", "then", "young", "younger"]);
    assert!(d1.reaches("p", "bob", 61) && !d1.reaches("q", "bob", 1));
}

#[test]
fn an_erasure_is_carried_on_until_it_is_over_and_then_names_nobody() {
    let d1 = D1::new();
    d1.thread("p", "t", "ann", 10, 10);
    d1.request("p", "1", "t", "ann");
    d1.request("p", "2", "u", "bob");
    d1.request("q", "3", "t", "ann");
    let ann = Erasure::of_resource("p", "ann", 50);
    d1.run(&ann.begin());
    assert_eq!(d1.run(&erasure::under_way(49)), []);
    assert_eq!(Erasure::found(&d1.run(&erasure::under_way(50))[0]), ann);
    let mut done = Counts::default();
    done.add(&deleted(4));
    done.add(&Deleted::NotFound);
    assert_eq!(done, Counts { threads: 1, messages: 4, notes: 2, jobs: 1, responses: 3 });
    d1.run(&ann.progress(&done, 70));
    assert_eq!(d1.run(&erasure::under_way(69)), []);
    // Asked for again while it is under way, it goes on counting.
    d1.run(&Erasure::of_resource("p", "ann", 60).begin());
    let again = Erasure::found(&d1.run(&ann.standing())[0]);
    assert_eq!((again.requested_at, again.counts), (60, done));
    // Whoever was at the first request does not end the second.
    ann.finish(80).iter().for_each(|statement| drop(d1.run(statement)));
    assert_eq!(Erasure::found(&d1.run(&ann.standing())[0]).finished_at, None);
    again.finish(80).iter().for_each(|statement| drop(d1.run(statement)));
    let over = Erasure::found(&d1.run(&ann.standing())[0]);
    assert_eq!((over.resource, over.finished_at, over.counts), (None, Some(80), done));
    assert_eq!(d1.named(), ["2", "3"]);
    let everything = d1.0.query(
        "SELECT group_concat(project_id || scope || digest || ifnull(resource_id, '')) FROM erasures",
        &[],
    );
    assert!(!everything.unwrap()[0].text(0).contains("ann"));
    // It still reaches a thread that the index hears of late, for a while.
    assert!(d1.reaches("p", "ann", 60));
    d1.run(&erasure::expire(80 + REMEMBERED_MS));
    assert!(d1.reaches("p", "ann", 60));
    d1.run(&erasure::expire(81 + REMEMBERED_MS));
    assert!(!d1.reaches("p", "ann", 60));
}

#[test]
fn a_thread_leaves_the_index_and_the_ledger_and_its_resource_with_the_last_one() {
    let d1 = D1::new();
    d1.thread("p", "a", "ann", 10, 10);
    d1.thread("p", "b", "ann", 10, 10);
    d1.request("p", "1", "a", "ann");
    d1.request("p", "2", "b", "ann");
    let forget = |thread: &str, until| {
        erasure::forget_thread("p", thread, until).iter().for_each(|statement| drop(d1.run(statement)));
        let count = |table: &str| {
            d1.run(&Statement::new(format!("SELECT count(*) FROM {table}"), vec![]))[0].integer(0)
        };
        (count("threads"), count("resources"))
    };
    assert_eq!(forget("a", 9), (2, 1), "a thread of that name that was first used since stays");
    assert_eq!(forget("a", 10), (1, 1));
    assert_eq!(d1.named(), ["2"]);
    assert_eq!(forget("b", 10), (0, 0));
    assert_eq!(d1.named(), Vec::<String>::new());
}

#[test]
fn only_projects_that_say_so_let_go_of_threads_that_nobody_uses() {
    let d1 = D1::new();
    let day = 24 * 60 * 60 * 1000;
    d1.0.run(
        r#"INSERT INTO projects (id, name, created_at, settings) VALUES ('p', 'p', 0, '{"retention":{"threads_days":2}}'),
             ('q', 'q', 0, '{}'), ('r', 'r', 0, '{"retention":{"logs_days":1}}')"#,
    )
    .unwrap();
    for project in ["p", "q", "r"] {
        d1.thread(project, "idle", "ann", 0, 8 * day - 1);
        d1.thread(project, "used", "ann", 0, 8 * day);
    }
    let found = d1.run(&erasure::idle_threads(10 * day, 9));
    let cells: Vec<_> = found.iter().map(|row| (row.text(0), row.text(1), row.unsigned(3))).collect();
    assert_eq!(cells, [("p".to_owned(), "idle".to_owned(), 8 * day)]);
}
