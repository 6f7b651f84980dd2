//! One answer to a conversation: bring together what the model is to see, ask the provider, deliver, report the end.
//!
//! Invariant: runs inside `waitUntil`, so that it goes on when the client has left; every turn that began with a thread's
//! object ends with a report, however it ended; the object never holds the answer up for longer than the deadline.

use futures::channel::oneshot;
use futures::future::join;
use js_sys::Uint8Array;
use serde_json::{Value, json};

use super::border::{now, random_id, zone_offset};
use super::delivery::Delivery;
use super::inference::{Inference, usage_edit};
use super::report::Report;
use super::resource_client::ResourceClient;
use super::response_state::ResponseState;
use super::thread_client::ThreadClient;
use super::tool_turn::{self, ToolTurn};
use super::{log, upstream};
use crate::body::Body;
use crate::dialect::{Conversation, Dialect, responses};
use crate::error::{Error, Kind};
use crate::frame::Frame;
use crate::headers::Headers;
use crate::memory::address::{Address, Mode};
use crate::memory::context::Item;
use crate::memory::inner;
use crate::memory::store::TurnStatus;
use crate::plan::{Plan, ask_for_usage};
use crate::project::Tool;
use crate::prompt::{self, Target};
use crate::protocol::{Injection, Prepare, Prepared};
use crate::providers::Provider;
use crate::providers::quirk::Quirk;
use crate::reply::MemoryStatus;
use crate::request::{Request, ToolKind};
use crate::route::Route;
use crate::tokens;
use crate::tools::rounds::Rounds;
use crate::tools::web_search::native::native_web_search;
use crate::tools::{ask, offer};
use crate::translate;
use crate::turn::Origin;
use crate::way::Way;

/// Takes the client's answer, once.
pub type Reply = oneshot::Sender<Result<web_sys::Response, Error>>;

/// Runs the turn; the client's answer goes through `reply`. Without an address nothing is remembered.
pub async fn run(inference: Inference, dialect: Dialect, address: Option<Address>, reply: Reply) {
    match start(&inference, dialect, address.as_ref()).await {
        Ok((delivery, None)) => delivery.run(&inference, reply).await,
        Ok((delivery, Some(turn))) => {
            tool_turn::run(delivery, turn, &inference, address.as_ref(), reply).await;
        }
        Err(Refused { error, report }) => {
            // The client does not wait for the book-keeping of a turn that failed.
            let _ = reply.send(Err(error.clone()));
            let reported = async {
                if let Some(report) = report {
                    report.send().await;
                }
            };
            join(reported, inference.meter.refuse(&error)).await;
        }
    }
}

/// A turn that ended before an answer began.
struct Refused {
    error: Error,
    report: Option<Report>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused { error, report: None }
    }
}

/// What memory has to say to a prompt.
struct Remembered {
    status: MemoryStatus,
    tokens: u64,
    items: Vec<Item>,
    injection: Injection,
    report: Report,
    took_ms: u64,
}

/// What goes to the provider.
struct Written {
    bytes: Vec<u8>,
    way: Way,
    /// The client's fields that were left out.
    ignored: Vec<String>,
    /// The rounds in which the model may call the gateway's tools, where it may.
    rounds: Option<Rounds>,
}

async fn start(
    inference: &Inference,
    dialect: Dialect,
    address: Option<&Address>,
) -> Result<(Delivery, Option<ToolTurn>), Refused> {
    let wanted = inference.tools(address.is_some())?;
    let mut route = inference.route(&Body::parse(&inference.bytes)?)?;
    inference.routed(&route);
    inference.meter.admit(&route, inference.operation, &inference.bytes).await?;
    let mut state = match dialect {
        Dialect::Responses => Some(ResponseState::read(inference, &route, !wanted.is_empty()).await?),
        Dialect::Chat | Dialect::Messages | Dialect::Google => None,
    };
    let expanded = state.as_mut().and_then(ResponseState::take_expanded);
    let bytes = expanded.as_deref().unwrap_or(&inference.bytes);
    let body = Body::parse(bytes)?;
    let plan = Plan::of(dialect, route.dialect, &body, bytes)?;
    let origin = Origin { dialect, provider: route.provider.name.clone() };

    let conversation =
        if address.is_some() || plan.translates() || plan.has_wrapped_seals || !wanted.is_empty() {
            Some(dialect.read_conversation(&body, &origin)?)
        } else {
            None
        };
    let mut remembered = None;
    if let (Some(address), Some(conversation)) = (address, &conversation) {
        remembered = Some(remember(inference, address, &plan, &body, &route, conversation).await?);
        if let Some(state) = &mut state {
            state.belongs_to(inference.thread(&address.thread), inference.thread_key(address));
        }
    }
    let told = remembered
        .as_mut()
        .map(|remembered| (std::mem::take(&mut remembered.items), std::mem::take(&mut remembered.injection)));
    let prompt = conversation.map(|conversation| {
        let (items, injection) =
            told.unwrap_or_else(|| (kept(prompt::count_messages(&conversation)), Injection::default()));
        let sent = if address.is_some() { prompt::messages(&conversation) } else { Vec::new() };
        let (items, _) = inner::settled(items, &sent, !wanted.is_empty());
        Prompt { conversation, items, injection }
    });
    let written = write(inference, &route, &plan, &body, prompt, state.as_ref(), &wanted);
    let Written { bytes: sent, way, ignored, rounds } = match written {
        Ok(written) => counted(inference, &route, written),
        Err(error) => return Err(refused(error, remembered)),
    };

    route.dialect = way.target.dialect;
    if let Some(remembered) = &remembered {
        inference.meter.note(|account| account.remembers(remembered.tokens));
    }
    let body = Uint8Array::from(sent.as_slice());
    let sent_at = now();
    let asked = upstream::request(
        &route,
        inference.operation,
        inference.incoming.headers(),
        &body,
        way.streams_upstream,
        &inference.client,
        inference.incoming.config.upstream_timeout_ms,
    );
    let (asked, ()) = join(asked, inference.meter.send(&sent)).await;
    let upstream = match asked {
        Ok(upstream) => upstream,
        Err(error) => return Err(refused(error, remembered)),
    };
    let mut lines = inference.incoming.answer_lines.clone();
    lines.add_route(&route.provider.name, &route.model, 1);
    if let Some(remembered) = &remembered {
        lines.add_memory(remembered.status, remembered.tokens);
    }
    if !ignored.is_empty() {
        lines.add("x-gateway-ignored", &ignored.join(", "));
    }
    let memory_ms = remembered.as_ref().map_or(0, |remembered| remembered.took_ms);
    lines.add_timing(inference.auth_ms, memory_ms, now() - sent_at);
    lines.add_upstream(Headers::from_lines(&upstream.lines), way.frame.is_some());
    let report = remembered.map(|remembered| remembered.report);
    let turn = rounds.map(|rounds| ToolTurn { rounds, model: route.model.clone(), body: sent });
    Ok((Delivery { upstream, way, lines, report, state }, turn))
}

fn refused(error: Error, remembered: Option<Remembered>) -> Refused {
    let left = error.kind() == Kind::ClientGone;
    let status = if left { TurnStatus::Incomplete } else { TurnStatus::Failed };
    Refused { error, report: remembered.map(|remembered| remembered.report.with_status(status)) }
}

/// What the model is to see.
struct Prompt<'a> {
    /// What the client sent.
    conversation: Conversation<'a>,
    /// What takes the place of its messages.
    items: Vec<Item>,
    /// What is told beside them.
    injection: Injection,
}

/// The request, with token counts asked for where a stream would end without them and somebody counts.
fn counted(inference: &Inference, route: &Route<'_>, mut written: Written) -> Written {
    let Written { bytes, way, .. } = &mut written;
    if way.frame.is_none() && !way.hides_usage && inference.meter.counts() {
        let asking = Body::parse(bytes)
            .ok()
            .and_then(|body| Some(body.edited(vec![usage_edit(way.client, way.streams, route, &body)?])));
        if let Some(asking) = asking {
            *bytes = asking;
            way.hides_usage = true;
        }
    }
    written
}

/// Writes the request as the provider is to get it.
fn write(
    inference: &Inference,
    route: &Route<'_>,
    plan: &Plan,
    body: &Body<'_>,
    prompt: Option<Prompt<'_>>,
    state: Option<&ResponseState>,
    wanted: &[Tool],
) -> Result<Written, Error> {
    let target = Origin { dialect: plan.upstream, provider: route.provider.name.clone() };
    let provider = route.provider;
    let streams_upstream = plan.streams || provider.has(Quirk::AlwaysStreams);
    let mut way = Way {
        client: plan.client,
        target: target.clone(),
        frame: None,
        streams: plan.streams,
        streams_upstream,
        hides_usage: false,
    };
    let for_model = Target { provider: &provider.name, model: &route.model };
    let frame = |request: &Request, model: String, target: Origin, custom_tools: Vec<String>| Frame {
        id: state.map_or_else(|| random_id("") + &random_id(""), ResponseState::frame_id),
        model,
        created_at: now(),
        input_estimate: tokens::of_request(request, target.dialect).max(1),
        stream_usage: request.stream_usage,
        echo: if plan.client == Dialect::Responses { responses::echo(body) } else { Default::default() },
        custom_tools,
        origin: target,
    };
    if !plan.translates() {
        let mut asked = None;
        let mut edits = inference.model_edit(body, route);
        let bytes = match prompt {
            None => body.edited(edits),
            Some(Prompt { conversation, mut items, injection }) => {
                if plan.has_wrapped_seals {
                    items = prompt::unsealed(&conversation, items);
                }
                edits.extend(prompt::edit(plan.client, body, &conversation, &items, &injection, for_model));
                if plan.client == Dialect::Chat
                    && plan.streams
                    && provider.usage_option()
                    && let Some(edit) = ask_for_usage(body)
                {
                    edits.push(edit);
                    way.hides_usage = true;
                }
                let bytes =
                    prompt::with_cache_hints(plan.upstream, body.edited(edits), &injection, for_model);
                if !wanted.is_empty() {
                    let entries = prompt::entries(plan.client, conversation, items);
                    asked = Some(plan.client.read_request(body, entries)?);
                }
                bytes
            }
        };
        let (mut bytes, ignored) = adapted(provider, plan.upstream, body, bytes)?;
        let mut rounds = None;
        if let Some(request) = asked {
            (bytes, rounds) = equipped(wanted, &request, &target, &route.model, bytes)?;
            way.hides_usage = false;
            way.frame = Some(frame(&request, request.model.clone(), target, Vec::new()));
        }
        return Ok(Written { bytes, way, ignored, rounds });
    }
    let Some(Prompt { conversation, items, injection }) = prompt else { return Err(Error::internal()) };
    let entries = prompt::entries(plan.client, conversation, items);
    let mut request = plan.client.read_request(body, entries)?;
    prompt::inject(&mut request, &injection);
    let model = std::mem::replace(&mut request.model, route.model.clone());
    request.stream = streams_upstream;
    let dialects = provider.endpoints.iter().map(|endpoint| endpoint.dialect);
    let (target, translate::Translated { body: value, mut ignored, custom_tools }) =
        translate::request_in_any(&request, plan.client, dialects, &target.provider)?;
    way.target = target.clone();
    let Value::Object(mut fields) = value else { return Err(Error::internal()) };
    ignored.extend(provider.adapt(target.dialect, &mut fields).into_iter().map(str::to_owned));
    let text = Value::Object(fields).to_string();
    way.frame = Some(frame(&request, model, target, custom_tools));
    let bytes = prompt::with_cache_hints(way.target.dialect, text.into_bytes(), &injection, for_model);
    let (bytes, rounds) = equipped(wanted, &request, &way.target, &route.model, bytes)?;
    Ok(Written { bytes, way, ignored, rounds })
}

/// The request with the tools that it lets its model call: the provider's own search, where there is one, else ours.
fn equipped(
    wanted: &[Tool],
    request: &Request,
    target: &Origin,
    model: &str,
    mut bytes: Vec<u8>,
) -> Result<(Vec<u8>, Option<Rounds>), Error> {
    let mut tools = offer::allowed(wanted.to_vec(), request)?;
    let has_others = request
        .tools
        .iter()
        .any(|tool| matches!(tool.kind, ToolKind::Function { .. } | ToolKind::Custom { .. }));
    if tools.contains(&Tool::WebSearch)
        && let Some(search) = native_web_search(&target.provider, target.dialect, model)
        && !(search.is_alone && (has_others || tools.len() > 1))
    {
        bytes = ask::with_own_search(&bytes, search)?;
        tools.retain(|tool| *tool != Tool::WebSearch);
    }
    if tools.is_empty() {
        return Ok((bytes, None));
    }
    let bytes = ask::with_tools(target, model, &bytes, &tools)?;
    Ok((bytes, Some(Rounds::new(tools, has_others, now()))))
}

/// A request in the client's own form, made fit for a provider that wants some of it otherwise; and the names of the
/// fields that were left out.
pub fn adapted(
    provider: &Provider,
    dialect: Dialect,
    body: &Body<'_>,
    bytes: Vec<u8>,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    if !provider.must_adapt(dialect, |name| body.has(name)) {
        return Ok((bytes, Vec::new()));
    }
    let mut fields = serde_json::from_slice(&bytes).map_err(|_| Error::internal())?;
    let ignored = provider.adapt(dialect, &mut fields);
    Ok((Value::Object(fields).to_string().into_bytes(), ignored.into_iter().map(str::to_owned).collect()))
}

/// Begins the turn with the thread's object. Errors: 404 for another resource's thread, 400 for a request too large to
/// keep.
async fn remember(
    inference: &Inference,
    address: &Address,
    plan: &Plan,
    body: &Body<'_>,
    route: &Route<'_>,
    conversation: &Conversation<'_>,
) -> Result<Remembered, Error> {
    let headers = inference.incoming.headers();
    if let Some(zone) = &address.time_zone
        && zone_offset(zone, now()).is_none()
    {
        return Err(unknown_zone(zone));
    }
    let thread = inference.thread(&address.thread);
    let beginning = Prepare {
        key: inference.thread_key(address),
        turn: random_id("turn_"),
        started_at: now(),
        store: address.mode != Mode::Read,
        inject: address.mode != Mode::Write && !plan.client.continues_upstream(body),
        // The official SDKs count their own retries.
        repeated: headers.get("x-stainless-retry-count").is_some_and(|count| count != "0"),
        scope: address.scope,
        time_zone: address.time_zone.clone(),
        project: inference.principal.settings.memory.overrides(),
        messages: prompt::messages(conversation),
    };
    let asked_at = now();
    let deadline = inference.incoming.config.memory_deadline_ms;
    let mut told = begin(&thread, &beginning, deadline).await?;
    if told.status == MemoryStatus::Degraded {
        log::event(
            "memory_degraded",
            json!({ "request_id": inference.incoming.request_id, "turn": beginning.turn }),
        );
    }
    let mut profile = None;
    if told.wants_profile {
        let resource = ResourceClient::new(
            inference.incoming.env.clone(),
            &inference.principal.project,
            &address.resource,
        );
        let left = u64::from(deadline).saturating_sub(now() - asked_at);
        let known = resource.profile(u32::try_from(left).unwrap_or(deadline)).await;
        profile = known.map(|profile| profile.text.unwrap_or_default());
        told.add_profile(profile.as_deref());
    }
    let outside = prompt::outside_tokens(conversation, body);
    let report = Report::new(thread, beginning, &route.provider.name, &route.model)
        .with_prompt(profile, told.prompt_tokens.map(|tokens| tokens + outside));
    let Told { status, tokens, items, injection, .. } = told;
    Ok(Remembered { status, tokens, items, injection, report, took_ms: now() - asked_at })
}

fn unknown_zone(zone: &str) -> Error {
    Error::invalid(
        "x-timezone",
        format!("x-timezone is `{zone}`, which is no time zone. Give an IANA name such as Europe/Berlin."),
    )
}

/// What the thread's object has to say to a turn.
struct Told {
    status: MemoryStatus,
    tokens: u64,
    items: Vec<Item>,
    injection: Injection,
    wants_profile: bool,
    prompt_tokens: Option<u64>,
}

impl Told {
    /// Puts the resource's profile in front.
    fn add_profile(&mut self, text: Option<&str>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        let cost = tokens::of_text(text);
        self.tokens += cost;
        self.prompt_tokens = self.prompt_tokens.map(|tokens| tokens + cost);
        self.injection.stable.insert(0, text.to_owned());
        self.status = MemoryStatus::Hit;
    }
}

async fn begin(thread: &ThreadClient, beginning: &Prepare, deadline_ms: u32) -> Result<Told, Error> {
    match thread.prepare(beginning, deadline_ms).await {
        Some(Prepared::Ready { items, tokens, remembered, injection, wants_profile, prompt_tokens }) => {
            let status = match (beginning.inject, remembered) {
                (false, _) => MemoryStatus::Off,
                (true, 0) => MemoryStatus::Empty,
                (true, _) => MemoryStatus::Hit,
            };
            Ok(Told { status, tokens, items, injection, wants_profile, prompt_tokens })
        }
        Some(Prepared::NotFound | Prepared::Deleted) => Err(Error::thread_not_found()),
        Some(Prepared::TooManyMessages) => {
            Err(Error::bad_request("The request holds too many messages to be remembered. Send fewer."))
        }
        None => Ok(Told {
            status: MemoryStatus::Degraded,
            tokens: 0,
            items: kept(beginning.messages.len()),
            injection: Injection::default(),
            wants_profile: false,
            prompt_tokens: None,
        }),
    }
}

/// The items that leave so many messages as they are.
fn kept(messages: usize) -> Vec<Item> {
    (0..messages).map(Item::Keep).collect()
}
