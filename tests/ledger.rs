//! The ledger's statements on SQLite itself, with the schema that D1 gets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use memory_gateway::ledger::prices::Prices;
use memory_gateway::ledger::query::{Activity, Logs, log, one_log};
use memory_gateway::ledger::row::{Outcome, Row};
use memory_gateway::ledger::write::{self, Statement};
use memory_gateway::ledger::{MemoryCost, MemoryOperation};
use memory_gateway::memory::database::{self, Database, Value};
use memory_gateway::turn::Usage;
use serde_json::{Value as Json, json};
use support::Sqlite;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// Wednesday, 25 November 2026, 00:00 UTC.
const WEDNESDAY: u64 = 1_795_564_800_000;

struct Ledger(Sqlite);

impl Ledger {
    fn new() -> Self {
        let database = Sqlite::new();
        database.run(include_str!("../migrations/0001_init.sql")).unwrap();
        database.run(include_str!("../migrations/0002_ledger.sql")).unwrap();
        database.run(include_str!("../migrations/0003_projects.sql")).unwrap();
        database.run(include_str!("../migrations/0008_failed_attempts.sql")).unwrap();
        database
            .run(
                "INSERT INTO projects (id, name, created_at) VALUES ('p', 'p', 0), ('q', 'q', 0);
                 INSERT INTO api_keys (hash, id, project_id, label, prefix, created_at)
                 VALUES ('h', 'key_1', 'p', 'my app', 'msk_abcd', 0);",
            )
            .unwrap();
        Ledger(database)
    }

    fn run(&self, statements: &[Statement]) {
        for statement in statements {
            self.read(statement);
        }
    }

    fn read(&self, statement: &Statement) -> Vec<database::Row> {
        self.0.query(&statement.sql, &statement.values).unwrap()
    }

    fn write(&self, rows: &[Row]) {
        self.run(&write::rows(rows));
    }

    fn activity(&self, query: &str) -> Json {
        let question = Activity::read(query, false, WEDNESDAY + DAY).unwrap();
        question.answer(&self.read(&question.statement("p")))["activity"].clone()
    }

    fn logs(&self, query: &str) -> Json {
        let question = Logs::read(query).unwrap();
        let [page, count] = question.statements("p");
        Logs::answer(&self.read(&page), &self.read(&count))
    }

    /// `[outcome, prompt tokens, cost, swept]` of the rows, by name.
    fn rows(&self) -> Vec<[Value; 5]> {
        self.0
            .query("SELECT id, outcome, prompt_tokens, cost_nano_usd, swept FROM ledger ORDER BY id", &[])
            .unwrap()
            .into_iter()
            .map(|row| row.0.try_into().unwrap())
            .collect()
    }
}

fn row(id: &str, started_at: u64, outcome: Outcome) -> Row {
    Row {
        id: id.into(),
        project: "p".into(),
        started_at,
        operation: None,
        request_id: format!("req_{id}"),
        key_id: "key_1".into(),
        source: "deployment",
        endpoint: "/v1/chat/completions",
        dialect: "chat",
        provider: "openai".into(),
        model: "gpt-5.4-mini".into(),
        streams: true,
        outcome,
        status: (outcome != Outcome::Pending).then_some(200),
        usage: Usage { input: 100, output: 10, cached: 40, cache_write: 3, cache_write_1h: 0, reasoning: 4 },
        estimated: false,
        cost: Some(1_500),
        latency_ms: (outcome != Outcome::Pending).then_some(20),
        ttft_ms: Some(5),
        attempts: 1,
        failed_attempts: Vec::new(),
        failed_tokens: 0,
        error: None,
        thread: Some("t'1".into()),
        resource: Some("r \"1\"".into()),
        message_ids: vec!["msg_1".into()],
        memory_tokens: 7,
        trace_id: None,
    }
}

/// A number as it is written.
fn number(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn told(id: &str, outcome: &str, input: i64, cost: Option<i64>, swept: i64) -> [Value; 5] {
    [id.into(), outcome.into(), input.into(), cost.into(), swept.into()]
}

#[test]
fn a_row_comes_back_as_it_was_written() {
    let ledger = Ledger::new();
    let written = Row {
        error: Some("No.".into()),
        failed_attempts: vec![json!({"provider": "anthropic"})],
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        ..row("a", WEDNESDAY + 1, Outcome::Failed)
    };
    ledger.write(&[written]);
    let found = ledger.read(&one_log("p", "req_a"));
    assert_eq!(
        log(&found[0]),
        json!({
            "request_id": "req_a", "api_key_id": "key_1", "api_key_label": "my app", "api_key_prefix": "msk_abcd",
            "model": "gpt-5.4-mini", "provider": "openai", "source": "deployment", "endpoint": "/v1/chat/completions",
            "dialect": "chat", "outcome": "failed", "status_code": 200, "prompt_tokens": 100, "completion_tokens": 10,
            "total_tokens": 110, "reasoning_tokens": 4, "cached_tokens": 40, "cache_write_tokens": 3,
            "estimated": false, "cost_usd": number("0.0000015"), "latency_ms": 20,
            "ttft_ms": 5, "is_stream": true, "attempts": 1, "failed_attempts": [{"provider": "anthropic"}],
            "error": "No.", "thread_id": "t'1",
            "resource_id": "r \"1\"", "message_ids": ["msg_1"], "memory_tokens": 7,
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "timestamp": "2026-11-25T00:00:00.001Z",
        })
    );
    assert!(ledger.read(&one_log("q", "req_a")).is_empty());
}

#[test]
fn an_unknown_price_is_null_in_the_answer_and_counted_in_the_sums() {
    let ledger = Ledger::new();
    ledger.write(&[
        Row { cost: None, ..row("a", WEDNESDAY, Outcome::Complete) },
        row("b", WEDNESDAY, Outcome::Complete),
    ]);
    assert_eq!(log(&ledger.read(&one_log("p", "req_a"))[0])["cost_usd"], Json::Null);
    let day = &ledger.activity("")[0];
    assert_eq!(
        (&day["unpriced"], &day["cost_usd"], &day["requests"]),
        (&json!(1), &number("0.0000015"), &json!(2))
    );
}

#[test]
fn where_no_price_is_known_the_sum_is_unknown_too() {
    let ledger = Ledger::new();
    let unpriced = |id: &str, at| Row { cost: None, ..row(id, at, Outcome::Complete) };
    ledger.write(&[unpriced("a", WEDNESDAY), unpriced("b", WEDNESDAY), unpriced("c", WEDNESDAY - DAY)]);
    ledger.write(&[Row { cost: Some(0), ..row("d", WEDNESDAY - DAY, Outcome::Refused) }]);
    let days = ledger.activity("");
    let shown = |at: usize| {
        (days[at]["requests"].clone(), days[at]["unpriced"].clone(), days[at]["cost_usd"].clone())
    };
    assert_eq!(shown(0), (json!(2), json!(2), Json::Null));
    // What used nothing is known to have cost nothing.
    assert_eq!(shown(1), (json!(2), json!(1), json!(0)));
    ledger.run(&write::sums(WEDNESDAY + DAY));
    assert_eq!(ledger.activity(""), days);
}

#[test]
fn a_project_keeps_its_rows_as_long_as_it_says_and_its_sums_for_good() {
    let ledger = Ledger::new();
    for (project, settings) in [
        ("p", r#"{"retention":{"logs_days":2}}"#),
        ("q", r#"{"retention":{"threads_days":1}}"#),
        ("r", r#"{"retention":{"logs_days":40}}"#),
        ("s", "no JSON"),
    ] {
        let sql = "INSERT INTO projects (id, name, created_at, settings) VALUES (?1, '', 0, ?2)
                   ON CONFLICT DO UPDATE SET settings = excluded.settings";
        ledger.0.query(sql, &[project.into(), settings.into()]).unwrap();
        for days in [1, 3, 20, 50] {
            let name = format!("{project}{days:02}");
            let at = WEDNESDAY - days * DAY - HOUR;
            ledger.write(&[Row { project: project.into(), ..row(&name, at, Outcome::Complete) }]);
        }
    }
    let before = ledger.activity("granularity=monthly&from=2026-01-01T00:00:00Z");
    ledger.run(&write::sums(WEDNESDAY));
    ledger.run(&[write::expire(WEDNESDAY, 30 * DAY)]);
    let left: Vec<String> = ledger.rows().into_iter().map(|[id, ..]| id.text()).collect();
    assert_eq!(left, ["p01", "q01", "q03", "q20", "r01", "r03", "r20", "s01", "s03", "s20"]);
    assert_eq!(ledger.activity("granularity=monthly&from=2026-01-01T00:00:00Z"), before);
    assert_eq!(before[0]["requests"], 3);
}

#[test]
fn writing_twice_writing_late_and_writing_in_any_order_leave_one_settled_row() {
    let open = row("a", 5, Outcome::Pending);
    let settled = Row { usage: Usage { input: 9, ..Usage::default() }, ..row("a", 5, Outcome::Complete) };
    let contrary = Row { usage: Usage { input: 77, ..Usage::default() }, ..row("a", 5, Outcome::Failed) };
    for order in [vec![&open, &settled], vec![&settled, &open], vec![&open, &settled, &contrary, &open]] {
        let ledger = Ledger::new();
        for written in order {
            ledger.write(std::slice::from_ref(written));
        }
        assert_eq!(ledger.rows(), [told("a", "complete", 9, Some(1_500), 0)]);
    }
}

#[test]
fn a_lost_request_is_closed_as_an_estimate_and_a_late_end_still_holds() {
    let ledger = Ledger::new();
    ledger.write(&[row("lost", 1_000, Outcome::Pending), row("running", 3_000, Outcome::Pending)]);
    ledger.run(&[write::sweep(2_000)]);
    assert_eq!(
        ledger.rows(),
        [told("lost", "aborted", 100, Some(1_500), 1), told("running", "pending", 100, Some(1_500), 0)]
    );
    let lost = log(&ledger.read(&one_log("p", "req_lost"))[0]);
    assert_eq!((&lost["estimated"], lost["error"].as_str().is_some()), (&json!(true), true));
    ledger.write(&[row("lost", 1_000, Outcome::Complete)]);
    ledger.run(&[write::sweep(2_000)]);
    assert_eq!(ledger.rows()[0], told("lost", "complete", 100, Some(1_500), 0));
}

#[test]
fn hundreds_of_rows_are_one_statement_for_rows() {
    let ledger = Ledger::new();
    let rows: Vec<Row> = (0..300).map(|at| row(&format!("{at:03}"), at, Outcome::Complete)).collect();
    let statements = write::rows(&rows);
    assert_eq!(statements.len(), 1);
    ledger.run(&statements);
    assert_eq!(ledger.logs("limit=1000")["total"], 300);
    assert_eq!(ledger.logs("limit=1000")["logs"].as_array().unwrap().len(), 200);
}

#[test]
fn sums_are_the_same_before_and_after_an_hour_is_summed_and_after_its_rows_are_gone() {
    let ledger = Ledger::new();
    for at in 0..50 {
        let started = WEDNESDAY - 3 * DAY + at * 97 * 60_000;
        let outcome = if at % 5 == 0 { Outcome::Aborted } else { Outcome::Complete };
        let model = if at % 3 == 0 { "a" } else { "b" };
        let cost = (at % 7 != 0).then_some(at * 1_000);
        ledger.write(&[Row {
            model: model.into(),
            cost,
            estimated: at % 5 == 0,
            ..row(&at.to_string(), started, outcome)
        }]);
    }
    ledger.write(&[Row { project: "q".into(), ..row("other", WEDNESDAY - DAY, Outcome::Complete) }]);
    ledger.write(&[row("open", WEDNESDAY - DAY, Outcome::Pending)]);
    let questions =
        ["granularity=1h", "granularity=daily&group_by=model", "granularity=weekly", "granularity=monthly"];
    let before = questions.map(|question| ledger.activity(question));
    assert_eq!(before[3].as_array().unwrap().len(), 1);
    assert_eq!(before[3][0]["requests"], 50);
    assert_eq!(before[3][0]["unsuccessful"], 10);
    for _ in 0..3 {
        ledger.run(&write::sums(WEDNESDAY));
        assert_eq!(questions.map(|question| ledger.activity(question)), before);
    }
    // The open row keeps its hour from being wrong: it is not summed, and its end has the hour summed again.
    ledger.write(&[Row { latency_ms: Some(DAY - HOUR), ..row("open", WEDNESDAY - DAY, Outcome::Complete) }]);
    ledger.run(&write::sums(WEDNESDAY));
    assert_eq!(ledger.activity("granularity=monthly")[0]["requests"], 51);
    ledger.run(&[write::expire(WEDNESDAY, DAY / 2)]);
    assert!(ledger.rows().len() < 30);
    assert_eq!(ledger.activity("granularity=monthly")[0]["requests"], 51);
    ledger.run(&[write::expire(WEDNESDAY, 0)]);
    // What is not summed yet is not deleted, however old it may be.
    assert_eq!(ledger.activity("granularity=monthly")[0]["requests"], 51);
    ledger.run(&write::forget_project("p"));
    assert_eq!(ledger.activity(""), json!([]));
}

#[test]
fn periods_begin_at_midnight_on_monday_and_on_the_first() {
    let ledger = Ledger::new();
    ledger.write(&[
        row("a", WEDNESDAY + 5 * HOUR + 7, Outcome::Complete),
        row("b", WEDNESDAY - 3 * DAY, Outcome::Complete),
    ]);
    let periods = |granularity: &str| -> Vec<String> {
        let found = ledger.activity(&format!("granularity={granularity}"));
        found
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["period"].as_str().unwrap()[..16].to_owned())
            .collect()
    };
    assert_eq!(periods("1h"), ["2026-11-25T05:00", "2026-11-22T00:00"]);
    assert_eq!(periods("daily"), ["2026-11-25T00:00", "2026-11-22T00:00"]);
    assert_eq!(periods("weekly"), ["2026-11-23T00:00", "2026-11-16T00:00"]);
    assert_eq!(periods("monthly"), ["2026-11-01T00:00"]);
}

#[test]
fn activity_is_split_by_what_is_asked() {
    let ledger = Ledger::new();
    ledger.write(&[
        row("a", WEDNESDAY, Outcome::Complete),
        Row { model: "gpt-5.4".into(), ..row("b", WEDNESDAY, Outcome::Complete) },
        Row { key_id: "key_2".into(), provider: "google".into(), ..row("c", WEDNESDAY, Outcome::Complete) },
    ]);
    let split = |by: &str, name: &str| -> Vec<(String, u64)> {
        let found = ledger.activity(&format!("group_by={by}"));
        let entry = |entry: &Json| {
            (entry[name].as_str().unwrap().to_owned(), entry["prompt_tokens"].as_u64().unwrap())
        };
        found.as_array().unwrap().iter().map(entry).collect()
    };
    let pair = |name: &str, tokens| (name.to_owned(), tokens);
    assert_eq!(
        split("model", "model"),
        [pair("google/gpt-5.4-mini", 100), pair("openai/gpt-5.4", 100), pair("openai/gpt-5.4-mini", 100)]
    );
    assert_eq!(split("provider", "provider"), [pair("google", 100), pair("openai", 200)]);
    assert_eq!(split("key", "api_key_id"), [pair("key_1", 200), pair("key_2", 100)]);
}

#[test]
fn logs_are_filtered_paged_and_never_show_another_projects() {
    let ledger = Ledger::new();
    for at in 0..5 {
        let model = if at == 2 { "100% x'y" } else { "m" };
        ledger
            .write(&[Row { model: model.into(), ..row(&at.to_string(), WEDNESDAY + at, Outcome::Complete) }]);
    }
    ledger.write(&[
        Row { project: "q".into(), ..row("q", WEDNESDAY, Outcome::Complete) },
        row("open", WEDNESDAY + 9, Outcome::Pending),
        Row { status: Some(429), ..row("busy", WEDNESDAY - DAY, Outcome::Refused) },
    ]);
    let ids = |query: &str| -> (Vec<String>, u64) {
        let found = ledger.logs(query);
        let id = |log: &Json| log["request_id"].as_str().unwrap().trim_start_matches("req_").to_owned();
        (found["logs"].as_array().unwrap().iter().map(id).collect(), found["total"].as_u64().unwrap())
    };
    let some = |ids: &[&str], total| (ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(), total);
    assert_eq!(ids(""), some(&["4", "3", "2", "1", "0", "busy"], 6));
    assert_eq!(ids("limit=2&offset=1"), some(&["3", "2"], 6));
    assert_eq!(ids("model=100%25+x%27y"), some(&["2"], 1));
    assert_eq!(ids("status_code=429"), some(&["busy"], 1));
    assert_eq!(ids("outcome=pending"), some(&["open"], 1));
    assert_eq!(ids("from=2026-11-25T00:00:00.003Z&to=2026-11-25T01:00:00%2B01:00"), some(&[], 0));
    assert_eq!(ids(&format!("from={}&to={}", WEDNESDAY + 3, WEDNESDAY + 4)), some(&["3"], 1));
    assert_eq!(ids("thread_id=t%271&resource_id=r+%221%22&limit=1"), some(&["4"], 6));
    assert_eq!(ids("api_key_id=x'%20OR%201=1"), some(&[], 0));
    assert_eq!(ids("kind=memory"), some(&[], 0));
    for (query, param) in [
        ("limit=many", "limit"),
        ("from=yesterday", "from"),
        ("status_code=ok", "status_code"),
        ("kind=both", "kind"),
    ] {
        assert_eq!(Logs::read(query).unwrap_err().body()["error"]["param"], param);
    }
    for (query, param) in [("granularity=2h", "granularity"), ("group_by=mood", "group_by"), ("to=x", "to")] {
        assert_eq!(Activity::read(query, false, 0).unwrap_err().body()["error"]["param"], param);
    }
}

#[test]
fn memorys_own_calls_are_apart_from_the_clients() {
    let ledger = Ledger::new();
    let cost = MemoryCost {
        id: "call_1".into(),
        project: "p".into(),
        thread: "t".into(),
        resource: "r".into(),
        cycle: "cycle_1".into(),
        operation: MemoryOperation::Observe,
        provider: "google".into(),
        model: "gemini-2.5-flash".into(),
        usage: Usage { input: 1_000, output: 100, ..Usage::default() },
        estimated: false,
        status: Some(200),
        error: None,
        started_at: WEDNESDAY,
        latency_ms: 900,
    };
    let failed = MemoryCost {
        id: "call_2".into(),
        operation: MemoryOperation::Reflect,
        status: Some(500),
        usage: Usage::default(),
        ..cost.clone()
    };
    let prices = Prices::default();
    ledger.write(&[
        Row::of_memory(cost.clone(), &prices),
        Row::of_memory(failed, &prices),
        Row::of_memory(cost, &prices),
        row("a", WEDNESDAY, Outcome::Complete),
    ]);
    let question = Activity::read("group_by=operation", true, WEDNESDAY + DAY).unwrap();
    let found = question.answer(&ledger.read(&question.statement("p")));
    let entry = |at: usize, name: &str| found["activity"][at][name].clone();
    assert_eq!(found["activity"].as_array().unwrap().len(), 2);
    assert_eq!(
        (entry(0, "operation"), entry(0, "requests"), entry(0, "cost_usd")),
        (json!("observe"), json!(1), number("0.00055"))
    );
    assert_eq!((entry(1, "operation"), entry(1, "unsuccessful")), (json!("reflect"), json!(1)));
    assert_eq!(ledger.activity("")[0]["requests"], 1);
    let logs = ledger.logs("kind=memory&operation=observe");
    assert_eq!((&logs["total"], &logs["logs"][0]["operation"]), (&json!(1), &json!("observe")));
    assert_eq!(
        (&logs["logs"][0]["request_id"], &logs["logs"][0]["thread_id"]),
        (&json!("cycle_1"), &json!("t"))
    );
}
