//! Erasing a resource or a project: carries on what the core's list says, thread by thread.
//!
//! Invariant: everything can be done twice, and whoever does it can die at any point; the schedule carries it on.

use futures::future::{join_all, try_join};
use serde_json::json;
use worker::Env;

use super::border::now;
use super::resource_client::ResourceClient;
use super::thread_client::ThreadClient;
use super::{d1_ledger, log};
use crate::erasure::{self, AT_A_TIME, AT_ONCE, Counts, Erasure, RETRY_MS};
use crate::ledger::write::Statement;
use crate::memory::database::Row;
use crate::memory::store::Thread;
use crate::protocol::{Delete, Deleted, ThreadKey};

/// Erases a resource as far as one request can; the schedule does the rest. Gives how it stands then.
pub async fn resource(env: &Env, project: &str, resource: &str) -> worker::Result<Erasure> {
    let erasure = Erasure::of_resource(project, resource, now());
    d1_ledger::run(env, vec![erasure.begin()]).await?;
    carry_on(env, &erasure).await?;
    Ok(read(env, &erasure.standing()).await?.first().map_or(erasure, Erasure::found))
}

/// Erases what a deleted project remembers, as far as one request can; the schedule does the rest.
pub async fn project(env: &Env, project: &str) {
    if let Err(error) = begun(env, project).await {
        log::event("erasure_unfinished", json!({ "project": project, "error": error.to_string() }));
    }
}

async fn begun(env: &Env, project: &str) -> worker::Result<()> {
    let known = read(env, &Erasure::of_project(project, 0).standing()).await?;
    match known.first().map(Erasure::found).filter(|known| known.finished_at.is_none()) {
        Some(erasure) => carry_on(env, &erasure).await,
        None => Ok(()),
    }
}

/// Carries on all that is under way, and lets go of threads that projects do not keep any longer.
pub async fn keep_up(env: &Env) {
    if let Err(error) = kept_up(env).await {
        log::event("erasure_unfinished", json!({ "error": error.to_string() }));
    }
}

async fn kept_up(env: &Env) -> worker::Result<()> {
    for row in read(env, &erasure::under_way(now())).await? {
        let erasure = Erasure::found(&row);
        if let Err(error) = carry_on(env, &erasure).await {
            log::event(
                "erasure_unfinished",
                json!({ "project": erasure.project, "error": error.to_string() }),
            );
        }
    }
    d1_ledger::run(env, vec![erasure::expire(now())]).await?;
    let idle = read(env, &erasure::idle_threads(now(), AT_ONCE)).await?;
    for some in idle.chunks(AT_A_TIME as usize) {
        for outcome in join_all(some.iter().map(|row| let_go(env, row))).await {
            outcome?;
        }
    }
    Ok(())
}

/// Deletes a thread unless it was used after all: the index is behind.
async fn let_go(env: &Env, row: &Row) -> worker::Result<()> {
    let (project, thread, idle_since) = (row.text(0), row.text(1), row.unsigned(3));
    let key = ThreadKey { project: project.clone(), thread: thread.clone(), resource: None };
    let asked = Delete { key, created_until: None, idle_since: Some(idle_since) };
    let client = ThreadClient::of_project(env.clone(), &project, &thread);
    match client.delete(&asked).await? {
        Deleted::NotFound => forget_thread(env, &project, &thread, now()).await,
        Deleted::Deleted { .. } | Deleted::TooYoung => Ok(()),
    }
}

/// Deletes up to so many threads of an erasure, and ends it when none is left.
async fn carry_on(env: &Env, erasure: &Erasure) -> worker::Result<()> {
    d1_ledger::run(env, vec![erasure.progress(&Counts::default(), now() + RETRY_MS)]).await?;
    if let Some(resource) = &erasure.resource {
        // Facts that are on their way are not taken any more.
        ResourceClient::new(env.clone(), &erasure.project, resource).delete(erasure.requested_at).await?;
    }
    for _ in 0..AT_ONCE / AT_A_TIME {
        let threads = read(env, &erasure.threads(AT_A_TIME)).await?;
        if threads.is_empty() {
            return forget_resources(env, erasure).await;
        }
        let mut counts = Counts::default();
        let deleted = join_all(threads.iter().map(|row| delete(env, erasure, row))).await;
        deleted.iter().flatten().for_each(|deleted| counts.add(deleted));
        d1_ledger::run(env, vec![erasure.progress(&counts, now() + RETRY_MS)]).await?;
        deleted.into_iter().collect::<worker::Result<Vec<_>>>()?;
    }
    Ok(())
}

async fn delete(env: &Env, erasure: &Erasure, row: &Row) -> worker::Result<Deleted> {
    let (thread, resource) = (row.text(0), row.text(1));
    let client = ThreadClient::of_project(env.clone(), &erasure.project, &thread);
    let key =
        ThreadKey { project: erasure.project.clone(), thread: thread.clone(), resource: Some(resource) };
    let asked = Delete { key, created_until: erasure.until(), idle_since: None };
    let deleted = client.delete(&asked).await?;
    if !matches!(deleted, Deleted::Deleted { .. }) {
        // The index is behind: what it has of that name is gone already.
        let until = erasure.until().unwrap_or_else(now);
        forget_thread(env, &erasure.project, &thread, until).await?;
    }
    Ok(deleted)
}

/// No thread is left: what is known of their owners goes, then their names.
async fn forget_resources(env: &Env, erasure: &Erasure) -> worker::Result<()> {
    for _ in 0..AT_ONCE / AT_A_TIME {
        let resources = read(env, &erasure.resources(AT_A_TIME)).await?;
        if resources.is_empty() {
            return d1_ledger::run(env, erasure.finish(now())).await;
        }
        let forgotten = resources.iter().map(|row| async move {
            let resource = row.text(0);
            ResourceClient::new(env.clone(), &erasure.project, &resource)
                .delete(erasure.requested_at)
                .await?;
            d1_ledger::run(env, vec![erasure.remove_resource(&resource)]).await
        });
        join_all(forgotten).await.into_iter().collect::<worker::Result<Vec<()>>>()?;
        // One that has a thread again is not taken out.
        if resources.len() < AT_A_TIME as usize {
            return d1_ledger::run(env, erasure.finish(now())).await;
        }
    }
    Ok(())
}

/// True when an erasure was asked for that reaches a thread.
pub async fn reaches(env: &Env, thread: &Thread) -> worker::Result<bool> {
    let asked = erasure::reaches(&thread.project, &thread.resource, thread.created_at);
    Ok(!read(env, &asked).await?.is_empty())
}

/// Takes a thread out of the index, and its name out of the ledger.
pub async fn forget_thread(env: &Env, project: &str, thread: &str, until: u64) -> worker::Result<()> {
    d1_ledger::run(env, erasure::forget_thread(project, thread, until)).await
}

/// A page of a project's resources, and how many there are.
pub async fn resources(env: &Env, project: &str, limit: u32, offset: u32) -> worker::Result<(Vec<Row>, u64)> {
    let [page, count] = erasure::resources(project, limit, offset);
    let (page, count) = try_join(read(env, &page), read(env, &count)).await?;
    Ok((page, count.first().map_or(0, |row| row.unsigned(0))))
}

/// A resource and a page of its threads; `None` where the index does not know it.
pub async fn one_resource(
    env: &Env,
    project: &str,
    resource: &str,
    (limit, offset): (u32, u32),
) -> worker::Result<Option<(Row, Vec<Row>)>> {
    let known = erasure::resource(project, resource);
    let threads = erasure::threads_of(project, resource, limit, offset);
    let (known, threads) = try_join(read(env, &known), read(env, &threads)).await?;
    Ok(known.into_iter().next().map(|known| (known, threads)))
}

async fn read(env: &Env, statement: &Statement) -> worker::Result<Vec<Row>> {
    d1_ledger::read(&env.d1("DB")?, statement).await
}
