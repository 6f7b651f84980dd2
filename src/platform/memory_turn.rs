//! One turn with memory: begin it with the thread's object, ask the provider, carry the answer, report the end.
//!
//! Invariant: runs inside `waitUntil`, so that it goes on when the client has left; every turn that began ends with a
//! commit, however it ended; the object never holds the answer up for longer than the deadline.

use futures::channel::oneshot;
use futures::future::{Either, LocalBoxFuture, select};
use js_sys::{ArrayBuffer, Uint8Array};
use serde_json::json;
use std::pin::pin;
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue};
use worker::Delay;

use super::border::{
    AbortController, ClientGone, IdentityTransformStream, Readable, body_of, header_lines, now, respond,
    settled,
};
use super::inference::Inference;
use super::pump::{Pump, Stopped};
use super::thread_client::ThreadClient;
use super::{log, upstream};
use crate::body::Body;
use crate::error::Error;
use crate::headers::{Headers, is_event_stream};
use crate::memory::address::{Address, Mode};
use crate::memory::context::Item;
use crate::memory::store::TurnStatus;
use crate::observe::Observer;
use crate::prompt;
use crate::protocol::{Commit, Prepare, Prepared, ThreadKey};
use crate::refusal::{cut_short, refusal};
use crate::reply::MemoryStatus;
use crate::turn::{Answer, Ending, Origin};

/// A client that is given its answer; `None` once it has it.
pub type Reply = oneshot::Sender<Result<web_sys::Response, Error>>;

/// What the object said about the turn's prompt.
struct Begun {
    status: MemoryStatus,
    tokens: u64,
    items: Vec<Item>,
}

/// Runs the turn; the client's answer goes through `reply`.
pub async fn run(
    inference: Inference,
    address: Address,
    turn_id: String,
    mut gone: ClientGone,
    reply: Reply,
) {
    let thread = inference.thread(&address.thread);
    let outcome = start(&inference, &address, &turn_id, &thread, &mut gone).await;
    match outcome {
        Ok(started) => started.finish(&inference, &mut gone, reply).await,
        Err(Refused { error, commit }) => {
            // The answer does not wait for the book-keeping of a turn that failed.
            let _ = reply.send(Err(error));
            if let Some(commit) = commit {
                thread.commit(&commit).await;
            }
        }
    }
}

/// A turn that ended before an answer began.
struct Refused {
    error: Error,
    commit: Option<Box<Commit>>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused { error, commit: None }
    }
}

/// A turn whose answer has begun.
struct Started {
    thread: ThreadClient,
    answer: web_sys::Response,
    controller: AbortController,
    origin: Origin,
    commit: Commit,
    lines: crate::reply::Lines,
}

async fn start(
    inference: &Inference,
    address: &Address,
    turn_id: &str,
    thread: &ThreadClient,
    gone: &mut ClientGone,
) -> Result<Started, Refused> {
    let headers = inference.headers();
    let body = Body::parse(&inference.bytes)?;
    let route = inference.route()?;
    let dialect = inference.dialect;
    let origin = Origin { dialect, provider: route.provider.name.clone() };
    let conversation = dialect.read_conversation(&body, &origin)?;
    let prepare = Prepare {
        key: ThreadKey {
            project: inference.principal.project.clone(),
            thread: address.thread.clone(),
            resource: Some(address.resource.clone()),
        },
        turn: turn_id.to_owned(),
        started_at: now(),
        store: address.mode != Mode::Read,
        inject: address.mode != Mode::Write && !dialect.continues_upstream(&body),
        // The official SDKs count their own retries.
        repeated: headers.get("x-stainless-retry-count").is_some_and(|count| count != "0"),
        messages: prompt::messages(&conversation),
    };
    let asked_at = now();
    let begun = begin(thread, &prepare, inference.config.memory_deadline_ms).await?;
    let memory_ms = now() - asked_at;
    if begun.status == MemoryStatus::Degraded {
        log::event("memory_degraded", json!({ "request_id": inference.request_id, "turn": turn_id }));
    }

    let mut edits = inference.model_edit(&body, &route);
    edits.extend(prompt::edit(dialect, &body, &conversation, &begun.items, &route.provider.name));
    let sent = Uint8Array::from(body.edited(edits).as_slice());
    let commit = |status| {
        Box::new(Commit {
            turn: turn_id.to_owned(),
            prepare: prepare.clone(),
            finished_at: now(),
            status,
            answer: None,
            usage: None,
            stop: None,
            provider: route.provider.name.clone(),
            model: route.model.clone(),
        })
    };
    let controller = AbortController::new_controller();
    let sent_at = now();
    let timeout = inference.config.upstream_timeout_ms;
    let answer = upstream::request(&route, dialect, headers, &sent, &controller, gone, timeout)
        .await
        .map_err(|error| {
            let left = error.kind() == crate::error::Kind::ClientGone;
            let status = if left { TurnStatus::Incomplete } else { TurnStatus::Failed };
            Refused { error, commit: Some(commit(status)) }
        })?;
    let answer_lines = header_lines(&answer.headers());
    let answer_headers = Headers::from_lines(&answer_lines);
    if let Some(error) = refusal(&route, answer.status(), answer_headers) {
        controller.abort();
        return Err(Refused { error, commit: Some(commit(TurnStatus::Failed)) });
    }
    let mut lines = inference.lines();
    lines.add_route(&route.provider.name, &route.model, 1);
    lines.add_memory(begun.status, begun.tokens);
    lines.add_timing(inference.auth_ms, memory_ms, now() - sent_at);
    lines.add_upstream(answer_headers);
    Ok(Started {
        thread: thread.clone(),
        controller,
        origin,
        commit: *commit(TurnStatus::Failed),
        lines,
        answer,
    })
}

/// Begins the turn with the object. Errors: 404 for another resource's thread, 400 for a request too large to keep.
async fn begin(thread: &ThreadClient, prepare: &Prepare, deadline_ms: u32) -> Result<Begun, Error> {
    let kept = || (0..prepare.messages.len()).map(Item::Keep).collect();
    match thread.prepare(prepare, deadline_ms).await {
        Some(Prepared::Ready { items, tokens, remembered }) => Ok(Begun {
            status: match (prepare.inject, remembered) {
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
        None => Ok(Begun { status: MemoryStatus::Degraded, tokens: 0, items: kept() }),
    }
}

impl Started {
    async fn finish(self, inference: &Inference, gone: &mut ClientGone, reply: Reply) {
        let status = self.answer.status();
        let lines = header_lines(&self.answer.headers());
        if (200..300).contains(&status) && is_event_stream(Headers::from_lines(&lines)) {
            self.stream(inference, gone, reply).await;
        } else {
            self.whole(status, inference, gone, reply).await;
        }
    }

    async fn stream(self, inference: &Inference, gone: &mut ClientGone, reply: Reply) {
        let Started { thread, answer, controller, origin, commit, lines } = self;
        let body = body_of(&answer);
        let Some((pipe, writer)) = IdentityTransformStream::new()
            .ok()
            .filter(|_| !body.is_null())
            .and_then(|pipe| pipe.writable().writer().ok().map(|writer| (pipe, writer)))
        else {
            let _ = reply.send(Err(cut_short(&origin.provider)));
            return thread.commit(&commit).await;
        };
        let client =
            respond(answer.status(), lines.as_str(), &pipe.readable()).map_err(|_| Error::internal());
        let _ = reply.send(client);
        let failure = origin.dialect.write_failure(&cut_short(&origin.provider));
        let mut late: Option<LocalBoxFuture<'_, ()>> = None;
        let pump = Pump {
            from: body.unchecked_ref::<Readable>(),
            to: &writer,
            controller: &controller,
            gone,
            idle_ms: u64::from(inference.config.upstream_timeout_ms),
            last_words: &failure,
        };
        let deadline = inference.config.memory_deadline_ms;
        let stopped = pump
            .run(Observer::new(origin), async |answer| {
                late = commit_within(&thread, finished(commit, answer), deadline).await;
            })
            .await;
        if stopped != Stopped::Ended {
            log::event(
                "stream_broken",
                json!({ "request_id": inference.request_id, "by": if stopped == Stopped::Cut { "provider" } else { "client" } }),
            );
        }
        if let Some(late) = late {
            late.await;
        }
    }

    async fn whole(self, status: u16, inference: &Inference, gone: &mut ClientGone, reply: Reply) {
        let Started { thread, answer, controller, origin, commit, lines } = self;
        let bytes = match select(pin!(settled(answer.array_buffer())), pin!(gone.wait())).await {
            Either::Left((Ok(buffer), _)) => Uint8Array::new(&buffer.unchecked_into::<ArrayBuffer>()),
            Either::Left((Err(_), _)) => {
                let _ = reply.send(Err(cut_short(&origin.provider)));
                return thread.commit(&commit).await;
            }
            Either::Right(_) => {
                controller.abort();
                return thread.commit(&Commit { status: TurnStatus::Incomplete, ..commit }).await;
            }
        };
        let read = (200..300)
            .contains(&status)
            .then(|| origin.dialect.read_answer(&bytes.to_vec(), &origin))
            .flatten()
            .unwrap_or(Answer { message: None, usage: None, stop: None, ending: Ending::Failed });
        let late = commit_within(&thread, finished(commit, read), inference.config.memory_deadline_ms).await;
        let body: &JsValue = bytes.as_ref();
        let _ = reply.send(respond(status, lines.as_str(), body).map_err(|_| Error::internal()));
        if let Some(late) = late {
            late.await;
        }
    }
}

fn finished(commit: Commit, answer: Answer) -> Commit {
    Commit {
        status: TurnStatus::of(&answer),
        finished_at: now(),
        answer: answer.message,
        usage: answer.usage,
        stop: answer.stop,
        ..commit
    }
}

/// Reports the end of a turn, and waits for it to be stored, but not for longer than the deadline; what is then still to
/// do is given back.
async fn commit_within(
    thread: &ThreadClient,
    commit: Commit,
    deadline_ms: u32,
) -> Option<LocalBoxFuture<'_, ()>> {
    let work: LocalBoxFuture<'_, ()> = Box::pin(async move { thread.commit(&commit).await });
    match select(work, Delay::from(Duration::from_millis(u64::from(deadline_ms)))).await {
        Either::Left(_) => None,
        Either::Right((_, work)) => Some(work),
    }
}
