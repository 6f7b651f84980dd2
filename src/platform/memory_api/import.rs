//! Lines of an export, into the caller's project: read as they come, and brought to each thread batch by batch.
//!
//! Invariant: what is taken of a batch is all or nothing; a thread that refused one gets no further lines of the file. Sending
//! a file again changes nothing that is there.

use std::collections::BTreeSet;

use wasm_bindgen::JsCast;

use super::unreachable;
use crate::error::Error;
use crate::memory::store::Brought;
use crate::platform::border::{Read, Readable, request_body, settled};
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::platform::resource_client::ResourceClient;
use crate::platform::thread_client::ThreadClient;
use crate::portable::intake::{Batch, Intake};
use crate::portable::report::Report;
use crate::protocol::{BRING, Bring, ThreadKey};
use crate::resource::protocol::Done;

/// `POST /v1/memory/import`.
pub async fn import(incoming: &Incoming) -> Result<web_sys::Response, Error> {
    let mut import = Import { incoming, report: Report::default(), refused: BTreeSet::new() };
    let mut intake = Intake::default();
    let body = request_body(&incoming.request);
    if !body.is_null() && !body.is_undefined() {
        let broken = || {
            Error::bad_request("The body could not be read to its end. Send it again: nothing comes twice.")
        };
        let reader = body.unchecked_into::<Readable>().reader().map_err(|_| broken())?;
        loop {
            let read: Read = settled(reader.read()).await.map_err(|_| broken())?.unchecked_into();
            if read.done() {
                break;
            }
            let batches = match intake.push(&read.value().to_vec()) {
                Ok(batches) => batches,
                Err(error) => {
                    let _ = reader.cancel();
                    return Err(error);
                }
            };
            for batch in batches {
                import.take(batch).await?;
            }
        }
    }
    for batch in intake.finish()? {
        import.take(batch).await?;
    }
    json_answer(incoming, &import.report.answer(intake.lines(), intake.is_whole()))
}

struct Import<'a> {
    incoming: &'a Incoming,
    report: Report,
    refused: BTreeSet<String>,
}

impl Import<'_> {
    async fn take(&mut self, batch: Batch) -> Result<(), Error> {
        let principal = &self.incoming.caller()?.principal;
        let env = self.incoming.env.clone();
        match batch {
            Batch::Thread { thread, numbers, .. } if self.refused.contains(&thread) => {
                self.report.passed_over(numbers.len());
            }
            Batch::Thread { thread, resource, numbers, lines } => {
                let key = ThreadKey { project: principal.project.clone(), thread: thread.clone(), resource };
                let object = ThreadClient::new(env, principal, &thread);
                let request = Bring { key, lines };
                let brought: Brought = match object.call(BRING, &request).await {
                    Ok(brought) => brought,
                    Err(_) => object
                        .call(BRING, &request)
                        .await
                        .map_err(|error| unreachable(self.incoming, &error))?,
                };
                if brought.conflict.is_some() {
                    self.refused.insert(thread.clone());
                }
                self.report.add(&thread, &numbers, &brought);
            }
            Batch::Facts { resource, facts } => {
                let count = facts.len();
                let client = ResourceClient::new(env, &principal.project, &resource);
                let done = client.promote(facts).await.map_err(|error| unreachable(self.incoming, &error))?;
                self.report.facts(count, done == Done::Done);
            }
        }
        Ok(())
    }
}
