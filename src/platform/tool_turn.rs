//! An answer for which the model may call the gateway's tools: round after round, until it is whole.
//!
//! Invariant: the client gets nothing before the last round is whole, so that no answer is taken back; when it leaves, the
//! provider and the tools are let go, and what was said so far is kept.

use std::pin::pin;

use futures::future::{Either, join, join_all, select};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::answer_turn::Reply;
use super::border::{ClientGone, now, respond};
use super::delivery::{Delivery, Listeners};
use super::inference::Inference;
use super::report::done_within;
use super::{tool_call, upstream};
use crate::body::Body;
use crate::carriage::{Outcome, Stopped};
use crate::error::{Error, Kind};
use crate::headers::{Headers, is_event_stream};
use crate::memory::address::Address;
use crate::memory::inner::has_inner;
use crate::memory::store::TurnStatus;
use crate::project::Tool;
use crate::refusal::{nonsense, translated};
use crate::route::Route;
use crate::tools::ask;
use crate::tools::outcome::ToolOutcome;
use crate::tools::rounds::{Next, Rounds};
use crate::turn::{Answer, Ending, ToolCall};
use crate::way::{Way, Written};

/// What the rounds of an answer need.
pub struct ToolTurn {
    /// The rounds.
    pub rounds: Rounds,
    /// The model's name at the provider.
    pub model: String,
    /// Which of the request's routes answers: the later rounds stay with it, whose seals they carry.
    pub at: usize,
    /// The request as it was sent last.
    pub body: Vec<u8>,
}

/// How the rounds ended.
enum Ended {
    /// With an answer, and what the provider said if it failed.
    Answered(Answer, Option<String>),
    /// With an error.
    Failed(Error),
    /// The client left.
    Left,
}

/// Runs the rounds and delivers the answer. A provider that refuses the first one is heard as ever.
pub async fn run(
    delivery: Delivery,
    mut turn: ToolTurn,
    inference: &Inference,
    address: Option<&Address>,
    reply: Reply,
) {
    if !(200..300).contains(&delivery.upstream.status) {
        return delivery.run(inference, reply).await;
    }
    let Delivery { upstream, way, mut lines, report, state } = delivery;
    let mut gone = ClientGone::watch(inference.client.clone());
    let ended = go_round(inference, address, &way, &mut turn, upstream, &mut gone).await;
    let rounds = turn.rounds;
    let provider = way.target.provider.clone();
    let (answer, failure, error) = match ended {
        Ended::Answered(answer, words) => (answer, words, None),
        Ended::Failed(error) => (unsaid(Ending::Truncated), None, Some(error)),
        Ended::Left => (unsaid(Ending::Truncated), None, None),
    };
    let left = error.is_none() && answer.ending == Ending::Truncated && answer.message.is_none();
    let (mut kept, shown) = rounds.finish(answer);
    inference.hear(&Outcome { answer: Some(Answer { usage: shown.usage, ..kept.clone() }), response: None });
    if kept.message.as_ref().is_some_and(has_inner) {
        // Of several prompts; what is estimated is one.
        kept.usage = None;
    }
    let outcome = |response| Outcome { answer: Some(kept), response };
    if left {
        let report = report.map(|report| report.with_status(TurnStatus::Incomplete));
        let told = Listeners { report, state: None }.tell(outcome(None));
        join(told, inference.meter.end(200, Stopped::ClientGone)).await;
        return;
    }
    let (response, written) = match error {
        Some(error) => (None, Err(error)),
        None if shown.message.is_none() && shown.ending == Ending::Complete => {
            (None, Err(unanswered(&provider)))
        }
        None => {
            let whole = way.clone().write_rounds(shown, failure);
            (whole.outcome.response, whole.reply)
        }
    };
    let error = written.as_ref().err().cloned();
    let answer = match written {
        Ok(Written::Json(text)) => {
            lines.add("content-type", "application/json");
            respond(200, lines.as_str(), &JsValue::from_str(&text)).map_err(|_| Error::internal())
        }
        Ok(Written::Events(text)) => {
            lines.add_event_stream();
            respond(200, lines.as_str(), &JsValue::from_str(&text)).map_err(|_| Error::internal())
        }
        Ok(Written::Same) => Err(Error::internal()),
        Err(error) => Err(error),
    };
    let deadline = inference.incoming.config.memory_deadline_ms;
    let late = done_within(Listeners { report, state }.tell(outcome(response)), deadline).await;
    let _ = reply.send(answer);
    let late = async {
        if let Some(late) = late {
            late.await;
        }
    };
    let settled = async {
        match error {
            Some(error) => inference.meter.refuse(&error).await,
            None => inference.meter.end(200, Stopped::Ended).await,
        }
    };
    join(late, settled).await;
}

async fn go_round(
    inference: &Inference,
    address: Option<&Address>,
    way: &Way,
    turn: &mut ToolTurn,
    mut upstream: upstream::Begun,
    gone: &mut ClientGone,
) -> Ended {
    let ToolTurn { rounds, model, at, body } = turn;
    let provider = way.target.provider.as_str();
    let timeout = inference.incoming.config.upstream_timeout_ms;
    loop {
        let most = inference.incoming.config.max_answer_bytes;
        let bytes = match select(pin!(upstream.read(most, timeout)), pin!(gone.wait())).await {
            Either::Left((Ok(bytes), _)) => bytes.to_vec(),
            Either::Left((Err(why), _)) => {
                return Ended::Failed(upstream::unread(why, provider, most, timeout));
            }
            Either::Right(_) => {
                upstream.controller.abort();
                return Ended::Left;
            }
        };
        if !(200..300).contains(&upstream.status) {
            return Ended::Failed(translated(provider, upstream.status, &bytes));
        }
        let is_stream = is_event_stream(Headers::from_lines(&upstream.lines));
        let Some((answer, failure)) = way.read_round(is_stream, &bytes) else {
            return Ended::Failed(nonsense(provider));
        };
        let Next::Run(calls, deadline_ms) = rounds.next(&answer, now()) else {
            return Ended::Answered(answer, failure);
        };
        let carried_out = carry_out(inference, address, calls, deadline_ms);
        let outcomes = match select(pin!(carried_out), pin!(gone.wait())).await {
            Either::Left((outcomes, _)) => outcomes,
            Either::Right(_) => return Ended::Left,
        };
        for (_, outcome) in &outcomes {
            inference.meter.note(|account| account.spends(outcome.cost_nano_usd));
        }
        let (said, results) = rounds.close(answer, outcomes, now());
        let asked = async {
            *body = ask::with_round(&way.target, model, body, said, results)?;
            if rounds.forbids_calls(now()) {
                *body = ask::without_calls(way.target.dialect, body)?;
            }
            let parsed = Body::parse(&inference.bytes)?;
            let route = inference.routes(&parsed)?.into_iter().nth(*at).ok_or_else(Error::internal)?;
            let route = Route { dialect: way.target.dialect, ..route };
            inference.meter.admit_prompt(&route, body).await?;
            let question = upstream::Question {
                operation: inference.operation,
                headers: inference.incoming.headers(),
                body: &Uint8Array::from(body.as_slice()),
                stream: way.streams_upstream,
            };
            upstream::request(&route, &question, &inference.client, timeout).await
        };
        upstream = match asked.await {
            Ok(upstream) => upstream,
            Err(error) if error.kind() == Kind::ClientGone => return Ended::Left,
            Err(error) => return Ended::Failed(error),
        };
    }
}

/// Carries out the calls of a round, all at once.
async fn carry_out(
    inference: &Inference,
    address: Option<&Address>,
    calls: Vec<(Tool, ToolCall)>,
    deadline_ms: u32,
) -> Vec<(ToolCall, ToolOutcome)> {
    let (incoming, principal) = (&inference.incoming, &inference.principal);
    let runs = calls.into_iter().enumerate().map(|(at, (tool, call))| async move {
        let outcome = if at < Rounds::MOST_CALLS {
            tool_call::run(incoming, principal, address, tool, call.written_arguments(), deadline_ms).await
        } else {
            Rounds::too_many()
        };
        (call, outcome)
    });
    join_all(runs).await
}

fn unsaid(ending: Ending) -> Answer {
    Answer { message: None, usage: None, stop: None, ending }
}

fn unanswered(provider: &str) -> Error {
    Error::new(
        Kind::Upstream,
        format!(
            "The model of `{provider}` went on calling tools and gave no answer. Ask again, or ask another model."
        ),
    )
}
