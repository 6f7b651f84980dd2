//! An answer for which the model may call the gateway's tools: round after round, until it is whole.
//!
//! Invariant: what was said is reported before the client can know that it is over, however it ended; an answer that broke
//! off is never delivered as a whole one.

use futures::future::join;

use super::answer_turn::Reply;
use super::border::ClientGone;
use super::delivery::{Delivery, InOnePiece, Listeners};
use super::inference::Inference;
use super::log;
use super::report::done_within;
use super::tool_rounds::{Asking, Ended, ToolTurn};
use super::tool_stream::ClientStream;
use crate::carriage::{Outcome, Stopped};
use crate::error::{Error, Kind};
use crate::memory::address::Address;
use crate::memory::inner::has_inner;
use crate::memory::store::TurnStatus;
use crate::refusal::failed_inside;
use crate::reply::Lines;
use crate::tools::rounds::Finished;
use crate::turn::{Answer, Ending};
use crate::way::{Way, Whole};

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
    let listeners = Listeners { report, state };
    let mut gone = ClientGone::watch(inference.client.clone());
    let asking = Asking { inference, address, way: &way };
    let Some(stream) = way.stream_rounds() else {
        let ended = asking.run(&mut turn, upstream, &mut gone, None).await;
        return end_whole(inference, turn, &way, ended, lines, listeners, reply).await;
    };
    lines.add_event_stream();
    let mut client = match ClientStream::open(stream, &lines, reply) {
        Ok(client) => client,
        Err((error, reply)) => {
            upstream.controller.abort();
            let whole = Whole { outcome: Outcome::default(), reply: Err(error) };
            return InOnePiece::made(way.client, lines, whole, listeners).send(inference, reply).await;
        }
    };
    let ended = asking.run(&mut turn, upstream, &mut gone, Some(&mut client)).await;
    end_stream(inference, turn, &way, ended, listeners, client).await;
}

/// Ends the rounds. The account hears of it.
fn finished(inference: &Inference, turn: ToolTurn, ended: Ended) -> (Finished, Closed) {
    let (answer, outcomes, closed) = match ended {
        Ended::Answered(answer, outcomes, words) => (answer, outcomes, Closed::Answered(words)),
        Ended::Failed(error, answer, stopped) => (answer, Vec::new(), Closed::Failed(error, stopped)),
        Ended::Left(answer) => {
            // It may have been whole, and nobody got it.
            (Answer { ending: Ending::Truncated, ..answer }, Vec::new(), Closed::Left)
        }
    };
    let mut finished = turn.rounds.finish(answer, outcomes);
    let Finished { kept, shown, .. } = &mut finished;
    let heard = Answer { usage: shown.usage, ..kept.clone() };
    inference.hear(&Outcome { answer: Some(heard), response: None });
    if kept.message.as_ref().is_some_and(has_inner) {
        // Of several prompts; what is estimated is one.
        kept.usage = None;
    }
    (finished, closed)
}

/// How the rounds ended, but for what was said.
enum Closed {
    /// With an answer, and what the provider said if it failed.
    Answered(Option<String>),
    /// With an error.
    Failed(Error, Stopped),
    /// The client left.
    Left,
}

async fn end_whole(
    inference: &Inference,
    turn: ToolTurn,
    way: &Way,
    ended: Ended,
    mut lines: Lines,
    listeners: Listeners,
    reply: Reply,
) {
    lines.set_attempts(turn.attempts);
    let (Finished { kept, shown, steps }, closed) = finished(inference, turn, ended);
    let outcome = |response| Outcome { answer: Some(kept), response };
    let whole = match closed {
        Closed::Left => {
            let report = listeners.report.map(|report| report.with_status(TurnStatus::Incomplete));
            let told = Listeners { report, state: None }.tell(outcome(None));
            join(told, inference.meter.end(200, Stopped::ClientGone)).await;
            return;
        }
        Closed::Failed(error, _) => Whole { outcome: outcome(None), reply: Err(error) },
        Closed::Answered(_) if is_silent(&shown) => {
            Whole { outcome: outcome(None), reply: Err(unanswered(&way.target.provider)) }
        }
        Closed::Answered(words) => {
            let whole = way.clone().write_rounds(shown, steps.as_deref(), words);
            Whole { outcome: outcome(whole.outcome.response), reply: whole.reply }
        }
    };
    InOnePiece::made(way.client, lines, whole, listeners).send(inference, reply).await;
}

async fn end_stream(
    inference: &Inference,
    turn: ToolTurn,
    way: &Way,
    ended: Ended,
    listeners: Listeners,
    mut client: ClientStream,
) {
    let provider = way.target.provider.as_str();
    let (Finished { kept, shown, steps }, closed) = finished(inference, turn, ended);
    let (stopped, last, response) = match closed {
        Closed::Left => (Stopped::ClientGone, String::new(), None),
        Closed::Failed(error, stopped) => (stopped, client.stream().fail(&error), None),
        Closed::Answered(words) => {
            let error = match shown.ending {
                Ending::Complete if is_silent(&shown) => Some(unanswered(provider)),
                Ending::Complete => None,
                _ => Some(failed_inside(provider, words.as_deref().unwrap_or("It did not say why."))),
            };
            match error {
                Some(error) => (Stopped::Ended, client.stream().fail(&error), None),
                None => {
                    let last = client.stream().finish(&shown, steps.as_deref());
                    (Stopped::Ended, last, client.stream().whole())
                }
            }
        }
    };
    let deadline = inference.incoming.config.memory_deadline_ms;
    let late = done_within(listeners.tell(Outcome { answer: Some(kept), response }), deadline).await;
    client.end(stopped, &last).await;
    if let Some(side) = stopped.by() {
        log::event(
            "stream_broken",
            serde_json::json!({ "request_id": inference.incoming.request_id, "by": side }),
        );
    }
    let late = async {
        if let Some(late) = late {
            late.await;
        }
    };
    join(late, inference.meter.end(200, stopped)).await;
}

/// True for an answer that is over and shows nothing.
fn is_silent(shown: &Answer) -> bool {
    shown.message.is_none() && shown.ending == Ending::Complete
}

fn unanswered(provider: &str) -> Error {
    Error::new(
        Kind::Upstream,
        format!(
            "The model of `{provider}` went on calling tools and gave no answer. Ask again, or ask another model."
        ),
    )
}
