//! Looks up what a thread or a resource remembers, for a model that calls `recall` and for agents over MCP.
//!
//! Invariant: every thread is asked on behalf of the one resource that the call may see.

use worker::Env;

use super::search::search;
use super::thread_client::ThreadClient;
use crate::error::Error;
use crate::keys::Principal;
use crate::protocol::{ReadAround, ReadSources, Sources, ThreadKey};
use crate::tools::outcome::ToolOutcome;
use crate::tools::recall::{
    Asked, BEFORE, BEHIND, MAX_HITS, Reach, Reference, Target, Wish, found, not_there, opened,
};

/// Carries out a call of `recall`: `arguments` is the JSON text that the model wrote.
pub async fn run(env: &Env, principal: &Principal, reach: &Reach, arguments: &str) -> ToolOutcome {
    let asked = match Asked::read(arguments) {
        Ok(asked) => asked,
        Err(told) => return ToolOutcome::failed(told),
    };
    let outcome = match &asked.wish {
        Wish::Find(query) => search(env, principal, Some(&reach.resource), reach.searched(), query, MAX_HITS)
            .await
            .map(|results| found(&asked, reach, &results)),
        Wish::Open(reference) => open(env, principal, reach, &asked, reference).await,
    };
    outcome.unwrap_or_else(|error| ToolOutcome::failed(error.message()))
}

async fn open(
    env: &Env,
    principal: &Principal,
    reach: &Reach,
    asked: &Asked,
    reference: &Reference,
) -> Result<ToolOutcome, Error> {
    let Some(thread) = reach.thread_of(reference) else { return Ok(not_there()) };
    let object = ThreadClient::new(env.clone(), principal, &thread);
    let key = ThreadKey {
        project: principal.project.clone(),
        thread: thread.clone(),
        resource: Some(reach.resource.clone()),
    };
    let sources = match &reference.target {
        Target::Note(note) => object.sources(&ReadSources { key, note: *note }).await,
        Target::Message(id) => {
            let around = ReadAround { key, id: id.clone(), before: BEFORE, behind: BEHIND };
            object.around(&around).await
        }
    };
    Ok(match sources {
        Ok(Sources::Messages(messages)) => opened(asked, reach, &thread, &messages),
        Ok(Sources::NotFound) => not_there(),
        Err(_) => {
            ToolOutcome::failed("Memory does not answer at the moment. Try again, or go on without it.")
        }
    })
}
