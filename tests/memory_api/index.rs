//! The index of threads, in SQLite with the tables of D1.

use memory_gateway::memory::database::Database;
use memory_gateway::memory::index;
use memory_gateway::memory::store::Thread as Row;
use serde_json::{Value, json};

use crate::support::Sqlite;

fn database() -> Sqlite {
    let database = Sqlite::new();
    for script in [
        include_str!("../../migrations/0001_init.sql"),
        include_str!("../../migrations/0004_thread_details.sql"),
    ] {
        database.run(script).unwrap();
    }
    database
}

fn row(project: &str, id: &str, resource: &str, updated_at: u64) -> Row {
    Row {
        project: project.into(),
        id: id.into(),
        resource: resource.into(),
        title: Some(format!("{id} at {updated_at}")),
        metadata: Some(r#"{"b":[1],"a":null}"#.into()),
        created_at: 1,
        updated_at,
        indexed_at: None,
        index_retry_at: None,
    }
}

fn tell(database: &Sqlite, thread: &Row) {
    for statement in index::record(thread) {
        database.query(&statement.sql, &statement.values).unwrap();
    }
}

fn list(database: &Sqlite, project: &str, resource: Option<&str>, limit: u32, offset: u32) -> Value {
    let rows = index::list(project, resource, limit, offset)
        .map(|statement| database.query(&statement.sql, &statement.values).unwrap());
    index::listed(&rows[0], &rows[1])
}

fn titles(listed: &Value) -> (Vec<&str>, u64) {
    let threads = listed["threads"].as_array().unwrap();
    (
        threads.iter().map(|thread| thread["title"].as_str().unwrap()).collect(),
        listed["total"].as_u64().unwrap(),
    )
}

#[test]
fn threads_are_listed_the_one_used_last_first_within_project_and_resource() {
    let database = database();
    for thread in
        [row("p", "a", "r", 10), row("p", "b", "s", 30), row("p", "c", "r", 20), row("q", "a", "r", 40)]
    {
        tell(&database, &thread);
    }
    assert_eq!(titles(&list(&database, "p", None, 50, 0)), (vec!["b at 30", "c at 20", "a at 10"], 3));
    assert_eq!(titles(&list(&database, "p", None, 1, 1)), (vec!["c at 20"], 3));
    assert_eq!(titles(&list(&database, "p", Some("r"), 50, 0)), (vec!["c at 20", "a at 10"], 2));
    assert_eq!(list(&database, "p", Some("nobody"), 50, 0), json!({ "threads": [], "total": 0 }));
    assert_eq!(
        list(&database, "q", None, 50, 0),
        json!({ "threads": [{
            "id": "a", "projectId": "q", "resourceId": "r", "title": "a at 40",
            "metadata": { "b": [1], "a": null },
            "createdAt": "1970-01-01T00:00:00.001Z", "updatedAt": "1970-01-01T00:00:00.040Z",
        }], "total": 1 })
    );
}

#[test]
fn an_older_telling_that_comes_late_changes_nothing() {
    let database = database();
    tell(&database, &row("p", "a", "r", 20));
    tell(&database, &row("p", "a", "r", 10));
    assert_eq!(titles(&list(&database, "p", None, 50, 0)), (vec!["a at 20"], 1));
    tell(&database, &Row { title: None, metadata: None, ..row("p", "a", "r", 30) });
    let listed = list(&database, "p", None, 50, 0);
    assert_eq!(
        (&listed["threads"][0]["title"], &listed["threads"][0]["metadata"]),
        (&Value::Null, &Value::Null)
    );
}
