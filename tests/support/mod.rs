//! What several core tests share: SQLite as the database of a thread, and short ways to write conversations.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use memory_gateway::memory::context::Item;
use memory_gateway::memory::database::{Database, Row, Value};
use memory_gateway::memory::settings::{Overrides, Settings};
use memory_gateway::memory::store::{Store, TurnStatus};
use memory_gateway::protocol::{Commit, Committed, Messages, Prepare, Prepared, ReadMessages, ThreadKey};
use memory_gateway::thread::{self, Surroundings};
use memory_gateway::turn::{Message, Part, PartKind, Role, ToolCall, ToolResult};
use rusqlite::types::ValueRef;

/// SQLite in memory.
pub struct Sqlite(pub rusqlite::Connection);

impl Sqlite {
    pub fn new() -> Self {
        Sqlite(rusqlite::Connection::open_in_memory().unwrap())
    }
}

impl Database for Sqlite {
    type Error = rusqlite::Error;

    fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, rusqlite::Error> {
        let mut statement = self.0.prepare_cached(sql)?;
        let values = values.iter().map(|value| match value {
            Value::Null => rusqlite::types::Value::Null,
            Value::Integer(number) => rusqlite::types::Value::Integer(*number),
            Value::Text(text) => rusqlite::types::Value::Text(text.clone()),
        });
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            let cells = (0..columns).map(|column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(number) => Value::Integer(number),
                    ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                    other => panic!("no column holds {other:?}"),
                })
            });
            out.push(Row(cells.collect::<Result<_, rusqlite::Error>>()?));
        }
        Ok(out)
    }

    fn run(&self, script: &str) -> Result<(), rusqlite::Error> {
        self.0.execute_batch(script)
    }
}

/// The surroundings of a thread with these settings, in UTC.
pub fn around(settings: &Settings) -> Surroundings<'_> {
    Surroundings { settings, zones: &|_, _| 0 }
}

/// A thread with a clock and a counter of turns.
pub struct Thread {
    pub store: Store<Sqlite>,
    pub now: u64,
    pub settings: Settings,
    turns: u64,
}

impl Thread {
    pub fn new() -> Self {
        Thread::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        Thread { store: Store::open(Sqlite::new()).unwrap(), now: 1_000_000, settings, turns: 0 }
    }

    pub fn request(&mut self, messages: &[Message]) -> Prepare {
        self.turns += 1;
        self.now += 1_000;
        Prepare {
            key: ThreadKey { project: "p".into(), thread: "t".into(), resource: Some("r".into()) },
            turn: format!("turn_{}", self.turns),
            started_at: self.now,
            store: true,
            inject: true,
            repeated: false,
            scope: None,
            time_zone: None,
            project: Overrides::default(),
            messages: messages.to_vec(),
        }
    }

    /// Begins a turn; gives the prompt in short form.
    pub fn begin(&mut self, request: &Prepare) -> Vec<String> {
        match thread::prepare(&self.store, request, around(&self.settings)).unwrap() {
            Prepared::Ready { items, .. } => prompt(&items, &request.messages),
            other => panic!("{other:?}"),
        }
    }

    pub fn end(&mut self, request: &Prepare, status: TurnStatus, answer: Option<Message>) -> Committed {
        match self.end_known(request, None, status, answer.clone()) {
            Committed::UnknownTurn => self.end_known(request, Some(request.clone()), status, answer),
            committed => committed,
        }
    }

    pub fn end_known(
        &mut self,
        request: &Prepare,
        beginning: Option<Prepare>,
        status: TurnStatus,
        answer: Option<Message>,
    ) -> Committed {
        self.now += 1_000;
        thread::commit(
            &self.store,
            &Commit {
                turn: request.turn.clone(),
                prepare: beginning,
                finished_at: self.now,
                status,
                answer,
                usage: None,
                stop: None,
                provider: "openai".into(),
                model: "gpt".into(),
                profile: None,
                prompt_tokens: None,
                names_messages: false,
            },
            around(&self.settings),
        )
        .unwrap()
    }

    /// A whole turn; gives the prompt.
    pub fn turn(&mut self, messages: &[Message], answer: Message) -> Vec<String> {
        let request = self.request(messages);
        let prompt = self.begin(&request);
        assert_eq!(self.end(&request, TurnStatus::Complete, Some(answer)), Committed::Stored);
        prompt
    }

    /// What is stored and not superseded, in short form.
    pub fn stored(&self) -> Vec<String> {
        let key = ThreadKey { project: "p".into(), thread: "t".into(), resource: None };
        let all = ReadMessages { key, limit: 1_000_000, offset: 0, descending: false };
        match thread::messages(&self.store, &all).unwrap() {
            Messages::Page { messages, .. } => messages.iter().map(|stored| short(&stored.message)).collect(),
            Messages::NotFound => panic!("no thread"),
        }
    }
}

/// The prompt that the items make, in short form; `=` marks what the client sent and what is left untouched.
pub fn prompt(items: &[Item], incoming: &[Message]) -> Vec<String> {
    items
        .iter()
        .map(|item| match item {
            Item::Keep(at) => format!("={}", short(&incoming[*at])),
            Item::Insert(message) | Item::Replace(_, message) => short(message),
        })
        .collect()
}

/// `u:text`, `a:text`, `a:[call](id)`, `t:id:text`.
pub fn short(message: &Message) -> String {
    let parts: Vec<String> = message
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::Text(text) => text.clone(),
            PartKind::ToolCall(call) => format!("[{}]({})", call.name, call.id),
            PartKind::ToolResult(result) => {
                let text: String = result
                    .content
                    .iter()
                    .map(|part| match &part.kind {
                        PartKind::Text(text) => text.as_str(),
                        _ => "?",
                    })
                    .collect();
                format!("{}:{text}", result.call_id)
            }
            other => format!("{other:?}"),
        })
        .collect();
    format!("{}:{}", message.role.as_str().chars().next().unwrap(), parts.join(""))
}

pub fn user(text: &str) -> Message {
    Message::new(Role::User, vec![Part::text(text)])
}

pub fn assistant(text: &str) -> Message {
    Message::new(Role::Assistant, vec![Part::text(text)])
}

pub fn calls(names: &[&str]) -> Message {
    let parts = names.iter().map(|name| {
        let arguments = "{}".to_owned();
        PartKind::ToolCall(ToolCall {
            id: format!("id-{name}"),
            name: (*name).into(),
            arguments,
            ..ToolCall::default()
        })
        .into()
    });
    Message::new(Role::Assistant, parts.collect())
}

pub fn result(name: &str, text: &str) -> Message {
    let content = vec![Part::text(text)];
    Message::new(
        Role::Tool,
        vec![
            PartKind::ToolResult(ToolResult {
                call_id: format!("id-{name}"),
                content,
                custom: false,
                is_error: false,
            })
            .into(),
        ],
    )
}
