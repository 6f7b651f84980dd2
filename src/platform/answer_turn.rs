//! One answer to a conversation: bring together what the model is to see, ask the provider, deliver, report the end.
//!
//! Invariant: runs inside `waitUntil`, so that it goes on when the client has left; every turn that began with a thread's
//! object ends with a report, however it ended; the object never holds the answer up for longer than the deadline.

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::join;
use serde_json::{Value, json};
use wasm_bindgen::JsValue;

use super::attempts::{self, Asked, Written};
use super::border::{now, random_id, respond, zone_offset};
use super::delivery::Delivery;
use super::inference::{Inference, usage_edit};
use super::log;
use super::report::Report;
use super::resource_client::ResourceClient;
use super::response_state::ResponseState;
use super::thread_client::ThreadClient;
use super::tool_rounds::ToolTurn;
use super::tool_turn;
use crate::body::Body;
use crate::carriage::Stopped;
use crate::dialect::{Conversation, Dialect, responses};
use crate::error::{Error, Kind};
use crate::frame::Frame;
use crate::headers::Headers;
use crate::idempotency::{self, Claim, Claimed, KeptAnswer};
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
use crate::tools::rounds::{Rounds, Terms};
use crate::tools::web_search::native::native_web_search;
use crate::tools::{ask, offer, steps};
use crate::translate;
use crate::turn::Origin;
use crate::way::Way;

/// Takes the client's answer, once.
pub type Reply = oneshot::Sender<Result<web_sys::Response, Error>>;

/// Runs the turn; the client's answer goes through `reply`. Without an address nothing is remembered.
pub async fn run(inference: Inference, dialect: Dialect, address: Option<Address>, reply: Reply) {
    match start(&inference, dialect, address.as_ref()).boxed_local().await {
        Ok((delivery, None)) => delivery.run(&inference, reply).await,
        Ok((delivery, Some(turn))) => {
            tool_turn::run(delivery, turn, &inference, address.as_ref(), reply).boxed_local().await;
        }
        Err(Unstarted::Answered(kept)) => {
            let mut lines = inference.incoming.answer_lines.clone();
            lines.add_route(&kept.provider, &kept.model, 0);
            lines.add("idempotency-replayed", "true");
            lines.add("content-type", "application/json");
            let answer = respond(200, lines.as_str(), &JsValue::from_str(&kept.body));
            let _ = reply.send(answer.map_err(|_| Error::internal()));
            inference.meter.note(|account| account.hear_counts(br#"{"usage":{}}"#));
            inference.meter.end(200, Stopped::Ended).await;
        }
        Err(Unstarted::Refused { error, report }) => {
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
enum Unstarted {
    /// With an error.
    Refused { error: Error, report: Option<Box<Report>> },
    /// It was answered before: the client sent it again.
    Answered(KeptAnswer),
}

impl From<Error> for Unstarted {
    fn from(error: Error) -> Self {
        Unstarted::Refused { error, report: None }
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

impl Remembered {
    fn take_told(&mut self) -> (Vec<Item>, Injection) {
        (std::mem::take(&mut self.items), std::mem::take(&mut self.injection))
    }
}

async fn start(
    inference: &Inference,
    dialect: Dialect,
    address: Option<&Address>,
) -> Result<(Delivery, Option<ToolTurn>), Unstarted> {
    let wanted = inference.tools(address.is_some())?;
    let routes = inference.routes(&Body::parse(&inference.bytes)?)?;
    let Some(primary) = routes.first() else { return Err(Error::internal().into()) };
    let route = primary;
    inference.routed(route);
    inference.meter.admit(route, inference.operation, &inference.bytes).await?;
    let mut state = response_state(inference, dialect, route, &wanted).await?;
    let expanded = state.as_mut().and_then(ResponseState::take_expanded);
    let bytes = expanded.as_deref().unwrap_or(&inference.bytes);
    let body = Body::parse(bytes)?;
    let plan = Plan::of(dialect, route.dialect, &body, bytes)?;
    let origin = Origin { dialect, provider: route.provider.name.clone() };

    let conversation = if address.is_some() || plan.must_be_read() || !wanted.is_empty() {
        Some(dialect.read_conversation(&body, &origin)?)
    } else {
        None
    };
    let mut remembered = None;
    if let (Some(address), Some(conversation)) = (address, &conversation) {
        remembered =
            Some(remember(inference, address, &plan, &body, route, conversation).boxed_local().await?);
        if let Some(state) = &mut state {
            state.belongs_to(inference.thread(&address.thread), inference.thread_key(address));
        }
    }
    let told = remembered.as_mut().map(Remembered::take_told);
    if let Some(remembered) = &remembered {
        inference.meter.note(|account| account.remembers(remembered.tokens));
    }
    #[cfg(feature = "fault-injection")]
    super::fault::strike("asking", inference.incoming.headers().get("x-fault")).await;
    // Kept for the routes behind the first, where there are any.
    let others_told = told.clone().filter(|_| routes.len() > 1);
    let messages = conversation.as_ref().map(prompt::count_messages);
    let mut first = Some((conversation, told, state));
    let asked = attempts::ask(inference, &routes, async |route| {
        match first.take_if(|_| std::ptr::eq(route, primary)) {
            Some((conversation, told, state)) => {
                let prompt =
                    conversation.map(|conversation| Prompt::new(conversation, told, !wanted.is_empty()));
                let written = write(inference, route, &plan, &body, prompt, state.as_ref(), &wanted)?;
                admitted(inference, route, Written { state, ..written }).await
            }
            None => {
                write_again(inference, dialect, route, &origin, messages.zip(others_told.clone()), &wanted)
                    .await
            }
        }
    });
    let Asked { upstream, way, model, state, rounds, at, sent, mut lines, asked_at, attempts } =
        match asked.await {
            Ok(asked) => asked,
            Err(error) => return Err(refused(error, remembered)),
        };
    if let Some(remembered) = &remembered {
        lines.add_memory(remembered.status, remembered.tokens);
    }
    let memory_ms = remembered.as_ref().map_or(0, |remembered| remembered.took_ms);
    lines.add_timing(inference.auth_ms, memory_ms, upstream.began_at - asked_at);
    lines.add_upstream(Headers::from_lines(&upstream.lines), way.frame.is_some());
    let report = remembered.map(|remembered| remembered.report.answered_by(&way.target.provider, &model));
    let keeps = address.is_some_and(|address| address.mode == Mode::On);
    let turn =
        rounds.map(|rounds| ToolTurn { rounds: rounds.keeping(keeps), model, at, body: sent, attempts });
    Ok((Delivery { upstream, way, lines, report, state }, turn))
}

async fn response_state(
    inference: &Inference,
    dialect: Dialect,
    route: &Route<'_>,
    wanted: &[Tool],
) -> Result<Option<ResponseState>, Error> {
    match dialect {
        Dialect::Responses => ResponseState::read(inference, route, !wanted.is_empty()).await.map(Some),
        Dialect::Chat | Dialect::Messages | Dialect::Google => Ok(None),
    }
}

/// Writes the request for a route behind the first. Whose thoughts it repeats does not change with who is asked: `origin`
/// is the first route's. What memory told a conversation of so many messages says nothing to another one, as when a
/// provider that keeps the beginning itself is replaced by one that does not.
async fn write_again(
    inference: &Inference,
    dialect: Dialect,
    route: &Route<'_>,
    origin: &Origin,
    told: Option<(usize, (Vec<Item>, Injection))>,
    wanted: &[Tool],
) -> Result<Written, Error> {
    let mut state = response_state(inference, dialect, route, wanted).await?;
    let expanded = state.as_mut().and_then(ResponseState::take_expanded);
    let bytes = expanded.as_deref().unwrap_or(&inference.bytes);
    let body = Body::parse(bytes)?;
    let plan = Plan::of(dialect, route.dialect, &body, bytes)?;
    let prompt = if told.is_some() || plan.must_be_read() || !wanted.is_empty() {
        let conversation = dialect.read_conversation(&body, origin)?;
        let messages = prompt::count_messages(&conversation);
        let told = told.filter(|(fits, _)| *fits == messages).map(|(_, told)| told);
        Some(Prompt::new(conversation, told, !wanted.is_empty()))
    } else {
        None
    };
    let written = write(inference, route, &plan, &body, prompt, state.as_ref(), wanted)?;
    admitted(inference, route, Written { state, ..written }).await
}

/// The request as it is sent, for which the budgets have room. Errors: 402.
async fn admitted(inference: &Inference, route: &Route<'_>, written: Written) -> Result<Written, Error> {
    let written = counted(inference, route, written);
    inference.meter.admit_prompt(route, &written.bytes).await?;
    Ok(written)
}

fn refused(error: Error, remembered: Option<Remembered>) -> Unstarted {
    let left = error.kind() == Kind::ClientGone;
    let status = if left { TurnStatus::Incomplete } else { TurnStatus::Failed };
    Unstarted::Refused {
        error,
        report: remembered.map(|remembered| Box::new(remembered.report.with_status(status))),
    }
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

impl<'a> Prompt<'a> {
    /// A conversation with what memory has to say to it. What was looked up for earlier answers is among it where the
    /// request `has_tools`.
    fn new(conversation: Conversation<'a>, told: Option<(Vec<Item>, Injection)>, has_tools: bool) -> Self {
        let Some((items, injection)) = told else {
            let items = kept(prompt::count_messages(&conversation));
            return Prompt { conversation, items, injection: Injection::default() };
        };
        let (items, _) = inner::settled(items, &prompt::messages(&conversation), has_tools);
        Prompt { conversation, items, injection }
    }
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
            (bytes, rounds) = equipped(inference, wanted, &request, &target, &route.model, bytes)?;
            way.hides_usage = false;
            way.frame = Some(frame(&request, request.model.clone(), target, Vec::new()));
        }
        return Ok(Written { bytes, way, ignored, rounds, state: None });
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
    let (bytes, rounds) = equipped(inference, wanted, &request, &way.target, &route.model, bytes)?;
    Ok(Written { bytes, way, ignored, rounds, state: None })
}

/// The request with the tools that it lets its model call: the provider's own search, where there is one, else ours.
fn equipped(
    inference: &Inference,
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
    let limits = inference.incoming.config.tool_limits;
    let shows_steps = steps::are_wanted(inference.incoming.headers().get(steps::HEADER))?;
    let terms = Terms { tools, has_others, dialect: target.dialect, limits, shows_steps };
    Ok((bytes, Some(Rounds::new(terms, now()))))
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
) -> Result<Remembered, Unstarted> {
    let headers = inference.incoming.headers();
    if let Some(zone) = &address.time_zone
        && zone_offset(zone, now()).is_none()
    {
        return Err(unknown_zone(zone).into());
    }
    let thread = inference.thread(&address.thread);
    let mut beginning = Prepare {
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
    let key = idempotency::read(headers)?.filter(|_| beginning.store);
    if let Some(key) = &key {
        claim(inference, &thread, key, &mut beginning).await?;
    }
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
        .with_idempotency_key(key)
        .with_prompt(profile, told.prompt_tokens.map(|tokens| tokens + outside));
    let (report, message_ids) = report.heard();
    inference.meter.expect_messages(message_ids);
    let Told { status, tokens, items, injection, .. } = told;
    Ok(Remembered { status, tokens, items, injection, report, took_ms: now() - asked_at })
}

/// Claims the key of a request that may come twice; the turn becomes what the first one was. A thread's object that does
/// not answer in time holds nobody up, here as elsewhere. Errors: 409, 404, and the answer that it got before.
async fn claim(
    inference: &Inference,
    thread: &ThreadClient,
    key: &str,
    beginning: &mut Prepare,
) -> Result<(), Unstarted> {
    let request = format!("{} {}", inference.operation.path(), inference.models.join(" "));
    let claim = Claim {
        thread: beginning.key.clone(),
        key: key.to_owned(),
        fingerprint: idempotency::fingerprint(&request, &inference.bytes),
        turn: beginning.turn.clone(),
        at: beginning.started_at,
    };
    match thread.claim(&claim, inference.incoming.config.memory_deadline_ms).await {
        Some(Claimed::First { repeated }) => beginning.repeated |= repeated,
        Some(Claimed::Again { turn }) => beginning.turn = turn,
        Some(Claimed::Finished(kept)) => return Err(Unstarted::Answered(kept)),
        Some(Claimed::Running) => return Err(idempotency::running().into()),
        Some(Claimed::Conflict) => return Err(idempotency::conflict().into()),
        Some(Claimed::NotFound) => return Err(Error::thread_not_found().into()),
        None => {
            log::event("key_not_claimed", json!({ "request_id": inference.incoming.request_id }));
        }
    }
    Ok(())
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
