//! The rounds of an answer: read what the model says, carry out its calls, ask again.
//!
//! Invariant: a round that is not whole is not gone on from. Later rounds stay with the route of the first, whose seals
//! they carry. When the client leaves, the provider and the tools are let go.

use std::pin::pin;

use futures::future::{Either, join_all, select};

use super::attempts::{self, Asked, Written};
use super::border::{ClientGone, Unread, now};
use super::inference::Inference;
use super::tool_stream::ClientStream;
use super::upstream::Begun;
use super::{tool_call, upstream};
use crate::body::Body;
use crate::carriage::Stopped;
use crate::error::{Error, Kind};
use crate::headers::{Headers, is_event_stream};
use crate::memory::address::Address;
use crate::project::Tool;
use crate::refusal::{cut_short, nonsense, translated};
use crate::route::Route;
use crate::tools::ask;
use crate::tools::outcome::ToolOutcome;
use crate::tools::rounds::{Next, Rounds};
use crate::turn::{Answer, Ending, Message, ToolCall};
use crate::way::Way;

/// What the rounds of an answer need.
pub struct ToolTurn {
    /// The rounds.
    pub rounds: Rounds,
    /// The model's name at the provider.
    pub model: String,
    /// Which of the request's routes answers.
    pub at: usize,
    /// The request as it was sent last.
    pub body: Vec<u8>,
    /// How often a provider was asked, over all rounds.
    pub attempts: u32,
}

/// What came of calls, in their order.
pub type Outcomes = Vec<(ToolCall, ToolOutcome)>;

/// How the rounds ended.
pub enum Ended {
    /// With an answer, what came of calls beside the client's, and what the provider said if it failed.
    Answered(Answer, Outcomes, Option<String>),
    /// With an error, after this much of a round.
    Failed(Error, Answer, Stopped),
    /// The client left, after this much of a round.
    Left(Answer),
}

/// What is asked, and on whose behalf.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The request.
    pub inference: &'a Inference,
    /// The conversation that it belongs to.
    pub address: Option<&'a Address>,
    /// The answer's way.
    pub way: &'a Way,
}

impl Asking<'_> {
    /// Goes round until the end. `upstream` is the first round's answer; `client` is given the answer as it is said.
    pub async fn run(
        self,
        turn: &mut ToolTurn,
        mut upstream: Begun,
        gone: &mut ClientGone,
        mut client: Option<&mut ClientStream>,
    ) -> Ended {
        let config = &self.inference.incoming.config;
        let provider = self.way.target.provider.as_str();
        loop {
            let read = self.read(&mut upstream, &turn.rounds, gone, client.as_deref_mut());
            let (answer, failure) = match read.await {
                Ok(read) => read,
                Err(ended) => return ended,
            };
            let cost = answer.usage.and_then(|usage| config.prices.cost(provider, &turn.model, &usage));
            turn.rounds.spends(cost);
            match turn.rounds.next(&answer, now()) {
                Next::Over => return Ended::Answered(answer, Vec::new(), failure),
                Next::Keep(calls, deadline_ms) => {
                    let work = self.carry_out(calls, deadline_ms, turn.rounds.most_calls());
                    return match wait(client.as_deref(), work, gone).await {
                        Some(outcomes) => Ended::Answered(answer, outcomes, failure),
                        None => Ended::Left(answer),
                    };
                }
                Next::Run(calls, deadline_ms) => {
                    let work = self.carry_out(calls, deadline_ms, turn.rounds.most_calls());
                    let Some(outcomes) = wait(client.as_deref(), work, gone).await else {
                        return Ended::Left(answer);
                    };
                    let (said, results) = turn.rounds.close(answer, outcomes, now());
                    let work = self.ask_again(turn, said, results);
                    upstream = match wait(client.as_deref(), work, gone).await {
                        Some(Ok(upstream)) => upstream,
                        None => return Ended::Left(unsaid()),
                        Some(Err(error)) if error.kind() == Kind::ClientGone => {
                            return Ended::Left(unsaid());
                        }
                        Some(Err(error)) => return Ended::Failed(error, unsaid(), Stopped::Cut),
                    };
                }
            }
        }
    }

    /// Reads a round; passes it on where the client is given it as it is said.
    async fn read(
        self,
        upstream: &mut Begun,
        rounds: &Rounds,
        gone: &mut ClientGone,
        mut client: Option<&mut ClientStream>,
    ) -> Result<(Answer, Option<String>), Ended> {
        let provider = self.way.target.provider.as_str();
        let is_stream = is_event_stream(Headers::from_lines(&upstream.lines));
        let succeeded = (200..300).contains(&upstream.status);
        if let Some(client) = client.as_deref_mut()
            && is_stream
            && succeeded
        {
            let read = client.read_round(self.inference, upstream, gone, rounds);
            let (answer, failure, stopped) = read.await;
            return match stopped {
                Stopped::Ended => Ok((answer, failure)),
                Stopped::ClientGone => Err(Ended::Left(answer)),
                Stopped::Failed => Err(Ended::Failed(Error::internal(), answer, stopped)),
                Stopped::Cut | Stopped::Silent => Err(Ended::Failed(cut_short(provider), answer, stopped)),
            };
        }
        let timeout = self.inference.deadlines.rest_ms(now());
        let most = self.inference.incoming.config.max_answer_bytes;
        let bytes = match upstream.take_whole(gone, most, timeout).await {
            Ok(bytes) => bytes.to_vec(),
            Err(Unread::Gone) => return Err(Ended::Left(unsaid())),
            Err(why) => {
                let stopped = if why == Unread::Slow { Stopped::Silent } else { Stopped::Cut };
                let error = upstream::unread(why, provider, most, timeout);
                return Err(Ended::Failed(error, unsaid(), stopped));
            }
        };
        if !succeeded {
            let error = translated(provider, upstream.status, &bytes);
            return Err(Ended::Failed(error, unsaid(), Stopped::Cut));
        }
        let Some((answer, failure)) = self.way.read_round(rounds.number(), is_stream, &bytes) else {
            return Err(Ended::Failed(nonsense(provider), unsaid(), Stopped::Cut));
        };
        if let Some(client) = client {
            client.take_whole(&answer, rounds);
        }
        Ok((answer, failure))
    }

    /// Carries out the calls of a round, all at once.
    async fn carry_out(self, calls: Vec<(Tool, ToolCall)>, deadline_ms: u32, most: usize) -> Outcomes {
        let (incoming, principal) = (&self.inference.incoming, &self.inference.principal);
        let deadline_ms = deadline_ms.min(self.inference.deadlines.rest_ms(now()));
        let address = self.address;
        let runs = calls.into_iter().enumerate().map(|(at, (tool, call))| async move {
            let outcome = if at < most {
                let arguments = call.written_arguments();
                tool_call::run(incoming, principal, address, tool, arguments, deadline_ms).await
            } else {
                Rounds::too_many()
            };
            (call, outcome)
        });
        let outcomes = join_all(runs).await;
        for (_, outcome) in &outcomes {
            self.inference.meter.note(|account| account.spends(outcome.cost_nano_usd));
        }
        outcomes
    }

    /// Asks the model again, with what it said and what was found.
    async fn ask_again(
        self,
        turn: &mut ToolTurn,
        said: Message,
        results: Vec<Message>,
    ) -> Result<Begun, Error> {
        let Asking { inference, way, .. } = self;
        turn.body = ask::with_round(&way.target, &turn.model, &turn.body, said, results)?;
        if turn.rounds.forbids_calls(now()) {
            turn.body = ask::without_calls(way.target.dialect, &turn.body)?;
        }
        let parsed = Body::parse(&inference.bytes)?;
        let route = inference.routes(&parsed)?.into_iter().nth(turn.at).ok_or_else(Error::internal)?;
        let route = Route { dialect: way.target.dialect, ..route };
        inference.meter.admit_prompt(&route, &turn.body).await?;
        inference.meter.note(|account| account.goes_round());
        let mut written = Some(Written {
            bytes: turn.body.clone(),
            way: way.clone(),
            ignored: Vec::new(),
            state: None,
            rounds: None,
        });
        let asked = attempts::ask(inference, std::slice::from_ref(&route), async |_| {
            written.take().ok_or_else(Error::internal)
        });
        let Asked { upstream, attempts, .. } = asked.await?;
        turn.attempts = turn.attempts.saturating_add(attempts);
        Ok(upstream)
    }
}

/// Waits for work to be done; `None` when the client left.
async fn wait<T>(
    client: Option<&ClientStream>,
    work: impl Future<Output = T>,
    gone: &mut ClientGone,
) -> Option<T> {
    match client {
        Some(client) => client.wait(work, gone).await,
        None => match select(pin!(work), pin!(gone.wait())).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        },
    }
}

/// A round of which nothing was heard.
fn unsaid() -> Answer {
    Answer { message: None, usage: None, stop: None, ending: Ending::Truncated }
}
