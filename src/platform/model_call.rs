//! A question of memory's own to a model, through the same providers as everybody's.
//!
//! Invariant: it ends within its deadline, and whatever happens there is a reply; the project's credential is used or the
//! deployment's own, never a caller's.

use js_sys::Uint8Array;
use serde_json::Value;

use worker::Env;

use super::border::{now, within};
use super::{d1_keys, ledger, upstream};
use crate::config::Config;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::headers::{Headers, is_event_stream};
use crate::memory::asking;
use crate::memory::cycle::{Heard, Job, Reply};
use crate::observe::Observer;
use crate::operation::Operation;
use crate::providers::quirk::Quirk;
use crate::route::{Route, route};
use crate::tokens;
use crate::translate;
use crate::turn::{Answer, Origin, Usage};

/// Asks the first of the job's models that there is a way to, on the account of the thread's project: within its budget
/// for memory, and with a row in the ledger for what it cost.
pub async fn ask(env: &Env, config: &Config, job: &Job) -> Reply {
    let bindings = match d1_keys::project_bindings(env, &job.thread.project).await {
        Ok(bindings) => bindings,
        Err(reason) => return unasked(job, format!("the project's bindings: {reason}")),
    };
    let mut reason = String::from("no model is named");
    for model in &job.models {
        match route(config, Operation::Answer(Dialect::Chat), model, None, &bindings) {
            Ok(route) => return ask_on_account(env, config, route, job).await,
            // What is missing is the operator's to mend, and named in the log.
            Err(error) => reason = error.message().to_owned(),
        }
    }
    unasked(job, reason)
}

fn unasked(job: &Job, reason: String) -> Reply {
    let model = job.models.first().cloned().unwrap_or_default();
    let (provider, model) = model.split_once('/').unwrap_or(("", &model));
    Reply {
        heard: Heard::Unreachable(reason),
        provider: provider.to_owned(),
        model: model.to_owned(),
        usage: Usage::default(),
        estimated: false,
        status: None,
    }
}

async fn ask_on_account(env: &Env, config: &Config, route: Route<'_>, job: &Job) -> Reply {
    let (provider, model) = (route.provider.name.clone(), route.model.clone());
    let estimate = Usage { input: asked_tokens(job), output: job.answer_tokens, ..Usage::default() };
    let project = &job.thread.project;
    if let Err(error) = ledger::admit_memory(env, &job.cycle, project, &provider, &model, &estimate).await {
        return Reply { provider, model, ..unasked(job, error.message().to_owned()) };
    }
    let started_at = now();
    let reply = ask_by(config, route, job).await;
    ledger::record_memory(env, asking::cost(job, &reply, started_at, now() - started_at)).await;
    reply
}

fn asked_tokens(job: &Job) -> u64 {
    tokens::of_text(&job.asked.system) + tokens::of_text(&job.asked.user)
}

async fn ask_by(config: &Config, mut route: Route<'_>, job: &Job) -> Reply {
    let deadline = u32::try_from(job.deadline_ms).unwrap_or(u32::MAX);
    let answered = within(deadline, exchange(&mut route, job, deadline, config.max_answer_bytes)).await;
    let (status, answer, heard) = match answered {
        Some(Ok((status, answer))) => {
            let heard = asking::heard(status, answer.as_ref());
            (Some(status), answer, heard)
        }
        Some(Err(error)) => (None, None, Heard::Unreachable(error.message().to_owned())),
        None => (None, None, Heard::Unreachable(format!("no answer within {deadline} ms"))),
    };
    let reported = answer.as_ref().and_then(|answer| answer.usage);
    let usage = reported.unwrap_or_else(|| {
        let output = answer.as_ref().and_then(|answer| answer.message.as_ref()).map_or(0, tokens::of_message);
        let input = match status {
            Some(200..300) => asked_tokens(job),
            _ => 0,
        };
        Usage { input, output, ..Usage::default() }
    });
    Reply {
        heard,
        provider: route.provider.name.clone(),
        model: route.model.clone(),
        usage,
        estimated: reported.is_none() && usage != Usage::default(),
        status,
    }
}

/// One exchange with the provider: its status, and its answer where that can be read.
async fn exchange(
    route: &mut Route<'_>,
    job: &Job,
    deadline: u32,
    most_bytes: usize,
) -> Result<(u16, Option<Answer>), Error> {
    let provider = route.provider;
    let mut request = asking::request(&job.asked, &route.model, job.answer_tokens);
    request.stream = provider.has(Quirk::AlwaysStreams);
    let dialects = provider.endpoints.iter().map(|endpoint| endpoint.dialect);
    let (target, translated) = translate::request_in_any(&request, Dialect::Chat, dialects, &provider.name)?;
    let Value::Object(mut fields) = translated.body else { return Err(Error::internal()) };
    provider.adapt(target.dialect, &mut fields);
    route.dialect = target.dialect;
    let bytes = Value::Object(fields).to_string().into_bytes();
    let question = upstream::Question {
        operation: Operation::Answer(Dialect::Chat),
        headers: Headers::from_lines(""),
        body: &Uint8Array::from(bytes.as_slice()),
        stream: request.stream,
        reading: None,
    };
    let begun =
        upstream::request(route, &question, &web_sys::AbortSignal::timeout_with_u32(deadline), deadline)
            .await?;
    let received = begun
        .read(most_bytes, deadline)
        .await
        .map_err(|why| upstream::unread(why, &provider.name, most_bytes, deadline))?
        .to_vec();
    let is_stream = is_event_stream(Headers::from_lines(&begun.lines));
    Ok((begun.status, read(&target, is_stream, &received)))
}

fn read(target: &Origin, is_stream: bool, received: &[u8]) -> Option<Answer> {
    if !is_stream {
        return target.dialect.read_answer(received, target);
    }
    let mut observer = Observer::new(target.clone());
    observer.push(received);
    Some(observer.outcome(true))
}
