//! The tables of what becomes of a request's fields, held against what is written; and what no table speaks of: fields
//! without a word, hints, parts that one provider alone knows.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use memory_gateway::dialect::{Dialect, chat, google, messages, responses};
use memory_gateway::error::Error;
use memory_gateway::request::{
    Effort, Entry, Field, Format, Handling, Request, Thinking, Tool, ToolChoice, ToolKind, WebSearch,
};
use memory_gateway::translate::{self, Translated};
use memory_gateway::turn::{Media, Message, Origin, Part, PartKind, Role, Source, ToolResult};
use serde_json::{Map, Number, Value, json};

struct Target {
    dialect: Dialect,
    provider: &'static str,
    model: &'static str,
    table: &'static [(Field, Handling)],
    /// The dialects whose requests are translated for it.
    clients: &'static [Dialect],
}

impl Target {
    fn origin(&self) -> Origin {
        Origin { dialect: self.dialect, provider: self.provider.to_owned() }
    }

    fn asks(&self, fill: impl FnOnce(&mut Request)) -> Request {
        let mut request = Request { model: self.model.to_owned(), ..Request::default() };
        request.entries.push(sent(Message::new(Role::User, vec![Part::text("hi")])));
        fill(&mut request);
        request
    }
}

/// What a request is written for, and by whom.
const TARGETS: &[Target] = &[
    Target {
        dialect: Dialect::Chat,
        provider: "openai",
        model: "gpt-5.4",
        table: chat::TABLE,
        clients: &[Dialect::Messages, Dialect::Responses],
    },
    Target {
        dialect: Dialect::Messages,
        provider: "anthropic",
        model: "claude-sonnet-4-5",
        table: messages::TABLE,
        clients: &[Dialect::Chat, Dialect::Responses],
    },
    Target {
        dialect: Dialect::Google,
        provider: "google",
        model: "gemini-2.5-flash",
        table: google::TABLE,
        clients: &[Dialect::Chat, Dialect::Messages, Dialect::Responses],
    },
    Target {
        dialect: Dialect::Responses,
        provider: "openai",
        model: "gpt-5.4",
        table: responses::TABLE,
        clients: &[Dialect::Chat, Dialect::Messages],
    },
];

fn sent(message: Message) -> Entry {
    Entry::Message { message, place: Some("messages[0]".into()) }
}

fn stored(message: Message) -> Entry {
    Entry::Message { message, place: None }
}

fn tool(kind: ToolKind) -> Tool {
    Tool { kind, extra: Map::new() }
}

fn function(name: &str) -> Tool {
    tool(ToolKind::Function {
        name: name.into(),
        description: Some("Looks it up.".into()),
        parameters: Some(json!({"type": "object", "properties": {"q": {"type": "string"}}})),
        strict: None,
    })
}

/// What a field needs beside it.
fn ground(field: Field, request: &mut Request) {
    if matches!(
        field,
        Field::CustomTools
            | Field::ServerTools
            | Field::ToolChoice
            | Field::AllowedTools
            | Field::ParallelToolCalls
    ) {
        request.tools = vec![function("find"), function("count")];
    }
    if matches!(
        field,
        Field::SearchContextSize
            | Field::SearchLocation
            | Field::SearchAllowedDomains
            | Field::SearchBlockedDomains
            | Field::SearchLimit
    ) {
        request.tools = vec![tool(ToolKind::WebSearch(WebSearch::default()))];
    }
}

fn search(request: &mut Request, fill: impl FnOnce(&mut WebSearch)) {
    if let Some(ToolKind::WebSearch(search)) = request.tools.first_mut().map(|tool| &mut tool.kind) {
        fill(search);
    }
}

fn sample(field: Field, request: &mut Request) {
    let number = |text: &str| text.parse::<Number>().ok();
    match field {
        Field::MaxTokens => request.max_tokens = Some(77),
        Field::Temperature => request.temperature = number("0.25"),
        Field::TopP => request.top_p = number("0.5"),
        Field::TopK => request.top_k = Some(7),
        Field::FrequencyPenalty => request.frequency_penalty = number("0.5"),
        Field::PresencePenalty => request.presence_penalty = number("0.5"),
        Field::Seed => request.seed = number("42"),
        Field::LogitBias => request.logit_bias = Some(json!({"50256": -100})),
        Field::Logprobs => request.logprobs = Some(2),
        Field::Stop => request.stop = vec!["END".into()],
        Field::N => request.n = Some(2),
        Field::JsonObject => request.format = Some(Format::JsonObject),
        Field::JsonSchema => {
            let schema = json!({
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": ["a"],
                "additionalProperties": false,
            });
            request.format = Some(Format::JsonSchema {
                name: Some("a".into()),
                description: None,
                schema,
                strict: Some(true),
            });
        }
        Field::Verbosity => request.verbosity = Some("low".into()),
        Field::Thinking => request.thinking = Thinking { effort: Some(Effort::High), ..Thinking::default() },
        Field::Tools => request.tools.push(function("find")),
        Field::CustomTools => request.tools.push(tool(ToolKind::Custom {
            name: "patch".into(),
            description: None,
            format: None,
        })),
        Field::WebSearch => request.tools.push(tool(ToolKind::WebSearch(WebSearch::default()))),
        Field::SearchContextSize => search(request, |search| search.context_size = Some("low".into())),
        Field::SearchLocation => {
            search(request, |search| search.location = json!({"country": "DE"}).as_object().cloned());
        }
        Field::SearchAllowedDomains => {
            search(request, |search| search.allowed_domains = vec!["a.test".into()])
        }
        Field::SearchBlockedDomains => {
            search(request, |search| search.blocked_domains = vec!["a.test".into()])
        }
        Field::SearchLimit => search(request, |search| search.max_uses = Some(3)),
        Field::ServerTools => request.tools.push(tool(ToolKind::Server(json!({"type": "code_interpreter"})))),
        Field::ToolChoice => request.tool_choice = Some(ToolChoice::Named("find".into())),
        Field::AllowedTools => {
            request.tool_choice = Some(ToolChoice::Allowed { required: true, names: vec!["find".into()] });
        }
        Field::ParallelToolCalls => request.parallel_tool_calls = Some(false),
        Field::User => request.user = Some("u-1".into()),
        Field::Metadata => request.metadata = json!({"a": "b"}).as_object().cloned(),
        Field::ServiceTier => request.service_tier = Some("flex".into()),
    }
}

fn param(error: &Error) -> (u16, String) {
    (error.status(), error.body()["error"]["param"].as_str().unwrap_or_default().to_owned())
}

/// Every target, with each dialect that is translated for it.
fn pairs() -> impl Iterator<Item = (&'static Target, Dialect)> {
    TARGETS.iter().flat_map(|target| target.clients.iter().map(move |client| (target, *client)))
}

#[test]
fn every_table_has_one_row_for_every_field() {
    for target in TARGETS {
        for field in Field::ALL {
            let rows = target.table.iter().filter(|(known, _)| *known == field).count();
            assert_eq!(rows, 1, "{field:?} in the table of {:?}", target.dialect);
        }
        assert_eq!(target.table.len(), Field::ALL.len());
    }
}

#[test]
fn a_sample_sets_its_field_and_no_other() {
    for field in Field::ALL {
        let mut base = Request::default();
        ground(field, &mut base);
        let mut request = base.clone();
        sample(field, &mut request);
        let set: Vec<Field> =
            Field::ALL.into_iter().filter(|one| one.is_set(&request) && !one.is_set(&base)).collect();
        assert_eq!(set, [field]);
    }
}

#[test]
fn every_row_of_every_table_is_true() {
    let mut untrue = Vec::new();
    for (target, client) in pairs() {
        for (field, handling) in target.table {
            if let Err(why) = row_is_true(target, client, *field, *handling) {
                untrue.push(format!("{client:?} to {:?}: {field:?}, {handling:?}: {why}", target.dialect));
            }
        }
    }
    assert!(untrue.is_empty(), "{} rows are untrue:\n{}", untrue.len(), untrue.join("\n"));
}

fn row_is_true(target: &Target, client: Dialect, field: Field, handling: Handling) -> Result<(), String> {
    let name = client.name_of(field).unwrap_or("model").replace("[]", "[0]");
    let base = target.asks(|request| ground(field, request));
    let mut asked = base.clone();
    sample(field, &mut asked);
    let base = translate::request(base, client, &target.origin()).map_err(|error| error.to_string())?;
    let told = translate::request(asked, client, &target.origin());
    let told = match (handling, told) {
        (Handling::Refused(_), told) => {
            let place = match field {
                Field::CustomTools | Field::ServerTools if name != "model" => format!("{name}[2]"),
                Field::CustomTools | Field::ServerTools => "model[2]".to_owned(),
                _ => name,
            };
            let error = told.err().ok_or("it is not refused")?;
            let expected = (400, place);
            return if param(&error) == expected { Ok(()) } else { Err(format!("refused as {error:?}")) };
        }
        (_, told) => told.map_err(|error| format!("refused: {error}"))?,
    };
    let ignored = if matches!(handling, Handling::Ignored(_)) { vec![name] } else { Vec::new() };
    if told.ignored != ignored {
        return Err(format!("ignored are {:?}", told.ignored));
    }
    match handling {
        Handling::Mapped(pointer) => {
            let value = told.body.pointer(pointer).filter(|value| !value.is_null());
            if value.is_none() || value == base.body.pointer(pointer) {
                return Err(format!("there stands {value:?} in {}", told.body));
            }
        }
        Handling::Emulated(_) if told.body == base.body => return Err("nothing is done".to_owned()),
        Handling::Ignored(_) if told.body != base.body => return Err(format!("it changes {}", told.body)),
        _ => {}
    }
    Ok(())
}

#[test]
fn what_asks_for_no_more_than_the_default_is_never_refused() {
    for (target, client) in pairs() {
        let request = target.asks(|request| {
            request.n = Some(1);
            request.frequency_penalty = Some(0.into());
            request.presence_penalty = Some(0.into());
            request.logit_bias = Some(json!({}));
            request.service_tier = Some("auto".into());
            request.parallel_tool_calls = Some(true);
            request.format = Some(Format::Text);
            request.rest.insert("unheard_of".into(), Value::Null);
            request.rest.insert("background".into(), false.into());
        });
        let told = translate::request(request, client, &target.origin());
        assert_eq!(told.unwrap().ignored, Vec::<String>::new());
    }
}

#[test]
fn an_unknown_field_is_refused_by_name_and_a_hint_is_ignored_by_name() {
    for (target, client) in pairs() {
        let base = translate::request(target.asks(|_| {}), client, &target.origin()).unwrap();
        let unknown = target.asks(|request| drop(request.rest.insert("unheard_of".into(), 1.into())));
        let error = translate::request(unknown, client, &target.origin()).unwrap_err();
        assert_eq!((param(&error), error.code()), ((400, "unheard_of".into()), Some("unsupported_field")));
        assert!(!client.hints().is_empty());
        for hint in client.hints() {
            let hinted = target.asks(|request| drop(request.rest.insert((*hint).into(), "x".into())));
            let told = translate::request(hinted, client, &target.origin()).unwrap();
            let expected = Translated {
                body: base.body.clone(),
                ignored: vec![(*hint).to_owned()],
                custom_tools: vec![],
            };
            assert_eq!(told, expected);
        }
    }
}

fn file_id(kind: fn(Media) -> PartKind) -> Part {
    let source = Source::FileId("file-1".into());
    kind(Media { source, media_type: None, name: None, detail: None }).into()
}

/// What no other dialect can hold.
fn unsayable() -> Vec<Part> {
    vec![
        file_id(PartKind::Image),
        file_id(PartKind::Audio),
        file_id(PartKind::File),
        PartKind::Other(json!({"type": "container_upload", "file_id": "f"})).into(),
        PartKind::Other(json!("words")).into(),
    ]
}

fn result_of(content: Vec<Part>) -> Part {
    let result = ToolResult { call_id: "c1".into(), content, custom: false, is_error: false };
    PartKind::ToolResult(result).into()
}

#[test]
fn a_part_that_only_another_provider_knows_is_refused_naming_its_place() {
    for (target, client) in pairs() {
        for part in unsayable() {
            let said = Message::new(Role::User, vec![Part::text("see"), part.clone()]);
            let returned = Message::new(Role::Tool, vec![result_of(vec![Part::text("see"), part])]);
            for (message, place) in [(said, "messages[0].content[1]"), (returned, "messages[0].content[0]")] {
                let request = target.asks(|request| request.entries = vec![sent(message)]);
                let error = translate::request(request, client, &target.origin()).unwrap_err();
                assert_eq!((param(&error), error.code()), ((400, place.into()), Some("unsupported_field")));
            }
        }
    }
}

#[test]
fn stored_messages_never_cause_a_refusal() {
    for (target, client) in pairs() {
        for part in unsayable() {
            for origin in [None, Some(Origin { dialect: client, provider: "elsewhere".into() })] {
                let of = |role, part| Message {
                    origin: origin.clone(),
                    ..Message::new(role, vec![Part::text("see"), part])
                };
                let told = translate::request(
                    target.asks(|request| {
                        request.entries.splice(
                            0..0,
                            [
                                stored(of(Role::User, part.clone())),
                                stored(of(Role::Assistant, part.clone())),
                                stored(of(Role::Tool, result_of(vec![part.clone()]))),
                            ],
                        );
                    }),
                    client,
                    &target.origin(),
                );
                assert!(told.is_ok(), "{client:?} to {:?}: {told:?} of {part:?}", target.dialect);
                assert!(told.unwrap().body.to_string().contains("see"));
            }
        }
    }
}
