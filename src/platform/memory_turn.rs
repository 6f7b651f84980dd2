//! One turn with memory: begin it with the thread's object, ask the provider, carry the answer, report the end.
//!
//! Invariant: runs inside `waitUntil`, so that it goes on when the client has left; every turn that began ends with a
//! report, however it ended; the object never holds the answer up for longer than the deadline.

use std::pin::pin;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, LocalBoxFuture, select};
use js_sys::{ArrayBuffer, Uint8Array};
use serde_json::json;
use wasm_bindgen::{JsCast, JsValue};
use worker::Delay;

use super::border::{ClientGone, IdentityTransformStream, Readable, body_of, now, respond, settled, within};
use super::inference::Inference;
use super::pump::Pump;
use super::thread_client::ThreadClient;
use super::{log, upstream};
use crate::body::Body;
use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::headers::{Headers, is_event_stream};
use crate::memory::address::{Address, Mode};
use crate::memory::context::Item;
use crate::memory::store::TurnStatus;
use crate::observe::Observer;
use crate::prompt;
use crate::protocol::{Commit, Prepare, Prepared, ThreadKey};
use crate::refusal::{cut_short, too_slow};
use crate::reply::{Lines, MemoryStatus};
use crate::turn::{Answer, Ending, Origin};

/// Takes the client's answer, once.
pub type Reply = oneshot::Sender<Result<web_sys::Response, Error>>;

/// Runs the turn; the client's answer goes through `reply`.
pub async fn run(inference: Inference, dialect: Dialect, address: Address, turn_id: String, reply: Reply) {
    match start(&inference, dialect, &address, turn_id).await {
        Ok(started) => started.carry(&inference, reply).await,
        Err(Refused { error, report }) => {
            // The client does not wait for the book-keeping of a turn that failed.
            let _ = reply.send(Err(error));
            if let Some(report) = report {
                report.send().await;
            }
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

/// A turn whose answer has begun.
struct Started {
    upstream: upstream::Begun,
    origin: Origin,
    lines: Lines,
    report: Report,
}

/// What the object said about the turn's prompt.
struct Begun {
    status: MemoryStatus,
    tokens: u64,
    items: Vec<Item>,
}

async fn start(
    inference: &Inference,
    dialect: Dialect,
    address: &Address,
    turn_id: String,
) -> Result<Started, Refused> {
    let headers = inference.incoming.headers();
    let body = Body::parse(&inference.bytes)?;
    let route = inference.route(&body)?;
    let origin = Origin { dialect, provider: route.provider.name.clone() };
    let conversation = dialect.read_conversation(&body, &origin)?;
    let thread = inference.thread(&address.thread);
    let beginning = Prepare {
        key: ThreadKey {
            project: inference.principal.project.clone(),
            thread: address.thread.clone(),
            resource: Some(address.resource.clone()),
        },
        turn: turn_id,
        started_at: now(),
        store: address.mode != Mode::Read,
        inject: address.mode != Mode::Write && !dialect.continues_upstream(&body),
        // The official SDKs count their own retries.
        repeated: headers.get("x-stainless-retry-count").is_some_and(|count| count != "0"),
        messages: prompt::messages(&conversation),
    };
    let asked_at = now();
    let begun = begin(&thread, &beginning, inference.incoming.config.memory_deadline_ms).await?;
    let memory_ms = now() - asked_at;
    if begun.status == MemoryStatus::Degraded {
        log::event(
            "memory_degraded",
            json!({ "request_id": inference.incoming.request_id, "turn": beginning.turn }),
        );
    }
    let report = Report {
        thread,
        commit: Commit {
            turn: beginning.turn.clone(),
            prepare: None,
            finished_at: now(),
            status: TurnStatus::Failed,
            answer: None,
            usage: None,
            stop: None,
            provider: route.provider.name.clone(),
            model: route.model.clone(),
        },
        beginning,
    };

    let mut edits = inference.model_edit(&body, &route);
    edits.extend(prompt::edit(dialect, &body, &conversation, &begun.items, &route.provider.name));
    let sent = Uint8Array::from(body.edited(edits).as_slice());
    let sent_at = now();
    let timeout = inference.incoming.config.upstream_timeout_ms;
    let upstream = match upstream::request(
        &route,
        inference.operation,
        headers,
        &sent,
        &inference.client,
        timeout,
    )
    .await
    {
        Ok(upstream) => upstream,
        Err(error) => {
            let left = error.kind() == Kind::ClientGone;
            let status = if left { TurnStatus::Incomplete } else { TurnStatus::Failed };
            return Err(Refused { error, report: Some(report.with_status(status)) });
        }
    };
    let mut lines = inference.incoming.answer_lines.clone();
    lines.add_route(&route.provider.name, &route.model, 1);
    lines.add_memory(begun.status, begun.tokens);
    lines.add_timing(inference.auth_ms, memory_ms, now() - sent_at);
    lines.add_upstream(Headers::from_lines(&upstream.lines));
    Ok(Started { upstream, origin, lines, report })
}

/// Begins the turn with the object. Errors: 404 for another resource's thread, 400 for a request too large to keep.
async fn begin(thread: &ThreadClient, beginning: &Prepare, deadline_ms: u32) -> Result<Begun, Error> {
    match thread.prepare(beginning, deadline_ms).await {
        Some(Prepared::Ready { items, tokens, remembered }) => Ok(Begun {
            status: match (beginning.inject, remembered) {
                (false, _) => MemoryStatus::Off,
                (true, 0) => MemoryStatus::Empty,
                (true, _) => MemoryStatus::Hit,
            },
            tokens,
            items,
        }),
        Some(Prepared::NotFound) => Err(Error::thread_not_found()),
        Some(Prepared::TooManyMessages) => {
            Err(Error::bad_request("The request holds too many messages to be remembered. Send fewer."))
        }
        None => Ok(Begun {
            status: MemoryStatus::Degraded,
            tokens: 0,
            items: (0..beginning.messages.len()).map(Item::Keep).collect(),
        }),
    }
}

impl Started {
    /// Carries the answer to the client, and reports how it ended.
    async fn carry(self, inference: &Inference, reply: Reply) {
        let status = self.upstream.status;
        if !self.report.beginning.store {
            // Nobody will remember it, so nobody has to watch it.
            let body = body_of(&self.upstream.answer);
            let _ = reply.send(respond(status, self.lines.as_str(), &body).map_err(|_| Error::internal()));
            return;
        }
        let mut gone = ClientGone::watch(inference.client.clone());
        if (200..300).contains(&status) && is_event_stream(Headers::from_lines(&self.upstream.lines)) {
            self.stream(inference, &mut gone, reply).await;
        } else {
            self.whole(inference, &mut gone, reply).await;
        }
    }

    async fn stream(self, inference: &Inference, gone: &mut ClientGone, reply: Reply) {
        let Started { upstream, origin, lines, report } = self;
        let body = body_of(&upstream.answer);
        let Some((pipe, writer)) = IdentityTransformStream::new()
            .ok()
            .filter(|_| !body.is_null())
            .and_then(|pipe| pipe.writable().writer().ok().map(|writer| (pipe, writer)))
        else {
            let _ = reply.send(Err(cut_short(&origin.provider)));
            return report.send().await;
        };
        let client = respond(upstream.status, lines.as_str(), &pipe.readable());
        let _ = reply.send(client.map_err(|_| Error::internal()));
        let last_words = origin.dialect.write_failure(&cut_short(&origin.provider));
        let deadline = inference.incoming.config.memory_deadline_ms;
        let mut late = None;
        let pump = Pump {
            from: body.unchecked_ref::<Readable>(),
            to: &writer,
            controller: &upstream.controller,
            gone,
            idle_ms: u64::from(inference.incoming.config.upstream_timeout_ms),
            last_words: &last_words,
        };
        let stopped = pump
            .run(Observer::new(origin), async |answer| {
                late = report.with_answer(answer).send_within(deadline).await;
            })
            .await;
        if let Some(side) = stopped.by() {
            log::event("stream_broken", json!({ "request_id": inference.incoming.request_id, "by": side }));
        }
        if let Some(late) = late {
            late.await;
        }
    }

    async fn whole(self, inference: &Inference, gone: &mut ClientGone, reply: Reply) {
        let Started { upstream, origin, lines, report } = self;
        let status = upstream.status;
        let timeout = inference.incoming.config.upstream_timeout_ms;
        let body = within(timeout, settled(upstream.answer.array_buffer()));
        let bytes = match select(pin!(body), pin!(gone.wait())).await {
            Either::Left((Some(Ok(buffer)), _)) => Uint8Array::new(&buffer.unchecked_into::<ArrayBuffer>()),
            Either::Left((broken, _)) => {
                upstream.controller.abort();
                let provider = &origin.provider;
                let error = if broken.is_none() { too_slow(provider, timeout) } else { cut_short(provider) };
                let _ = reply.send(Err(error));
                return report.send().await;
            }
            Either::Right(_) => {
                upstream.controller.abort();
                return report.with_status(TurnStatus::Incomplete).send().await;
            }
        };
        let read = (200..300)
            .contains(&status)
            .then(|| origin.dialect.read_answer(&bytes.to_vec(), &origin))
            .flatten()
            .unwrap_or(Answer { message: None, usage: None, stop: None, ending: Ending::Failed });
        let late = report.with_answer(read).send_within(inference.incoming.config.memory_deadline_ms).await;
        let body: &JsValue = bytes.as_ref();
        let _ = reply.send(respond(status, lines.as_str(), body).map_err(|_| Error::internal()));
        if let Some(late) = late {
            late.await;
        }
    }
}

/// What is to be told the object about the end of a turn; to begin with, that it failed.
struct Report {
    thread: ThreadClient,
    beginning: Prepare,
    commit: Commit,
}

impl Report {
    fn with_status(mut self, status: TurnStatus) -> Self {
        self.commit.status = status;
        self
    }

    fn with_answer(mut self, answer: Answer) -> Self {
        self.commit.status = TurnStatus::of(&answer);
        self.commit.answer = answer.message;
        self.commit.usage = answer.usage;
        self.commit.stop = answer.stop;
        self
    }

    async fn send(mut self) {
        self.commit.finished_at = now();
        self.thread.commit(&self.beginning, self.commit).await;
    }

    /// Sends it and waits for it to be stored, but not for longer than the deadline; what is then still to do is given
    /// back.
    async fn send_within(self, deadline_ms: u32) -> Option<LocalBoxFuture<'static, ()>> {
        let work: LocalBoxFuture<'static, ()> = Box::pin(self.send());
        match select(work, Delay::from(Duration::from_millis(u64::from(deadline_ms)))).await {
            Either::Left(_) => None,
            Either::Right((_, work)) => Some(work),
        }
    }
}
