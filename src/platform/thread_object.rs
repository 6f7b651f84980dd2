//! The Durable Object of a thread: decodes the protocol, runs the core in one transaction, keeps the alarm.
//!
//! Invariant: memory's questions to models are asked between transactions, never inside one; what came of them is settled in
//! one of its own.

use std::rc::Rc;

use serde_json::json;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::{now, random_bytes, random_id, zones};
use super::object_storage::{ObjectStorage, answer};
use super::resource_client::ResourceClient;
use super::sql_database::SqlDatabase;
use super::{d1_index, gateway_worker, log, model_call};
use crate::config::{Config, PENDING_TURN_TTL_MS};
use crate::memory::news::News;
use crate::memory::settings::Settings;
use crate::memory::store::Store;
use crate::protocol::{
    CLAIM, COMMIT, CONFIGURE, DELETE, Deleted, Found, KEEP_ANSWER, MESSAGES, Messages, OBSERVATIONS,
    Observations, PREPARE, SEARCH, SOURCES, Sources,
};
use crate::thread::{self, Surroundings};

/// One thread of one project.
#[durable_object]
pub struct ThreadObject {
    storage: ObjectStorage<Store<SqlDatabase>>,
    env: Env,
    config: Option<Rc<Config>>,
    defaults: Settings,
}

impl DurableObject for ThreadObject {
    fn new(state: State, env: Env) -> Self {
        let config = gateway_worker::config(&env).ok();
        ThreadObject { storage: ObjectStorage::new(state), env, config, defaults: Settings::default() }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("object", request.headers().get("x-fault")?.as_deref()).await;
        let path = request.path();
        let body = request.bytes().await?;
        let changes = matches!(path.as_str(), PREPARE | COMMIT | CONFIGURE);
        let answered = match path.as_str() {
            PREPARE => self.storage.run(&body, |store, asked| thread::prepare(store, asked, self.around())),
            COMMIT => self.storage.run(&body, |store, asked| thread::commit(store, asked, self.around())),
            CLAIM => self.storage.run(&body, thread::claim),
            KEEP_ANSWER => self.storage.run(&body, thread::keep_answer),
            MESSAGES if !self.storage.exists()? => answer(&Messages::NotFound),
            MESSAGES => self.storage.run(&body, thread::messages),
            OBSERVATIONS if !self.storage.exists()? => answer(&Observations::NotFound),
            OBSERVATIONS => self
                .storage
                .run(&body, |store, asked| thread::observations(store, asked, now(), self.around())),
            CONFIGURE if !self.storage.exists()? => answer(&Observations::NotFound),
            CONFIGURE => {
                self.storage.run(&body, |store, asked| thread::configure(store, asked, now(), self.around()))
            }
            SEARCH if !self.storage.exists()? => answer(&Found::NotFound),
            SEARCH => self.storage.run(&body, thread::search),
            SOURCES if !self.storage.exists()? => answer(&Sources::NotFound),
            SOURCES => self.storage.run(&body, thread::sources),
            DELETE if !self.storage.exists()? => answer(&Deleted::NotFound),
            DELETE => self.delete(&body).await,
            _ => return Response::error("unknown message", 404),
        }?;
        if changes {
            self.keep_alarm().await?;
        }
        Ok(answered)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.storage.alarm_rang();
        if !self.storage.exists()? {
            return Response::empty();
        }
        let ttl = self.pending_turn_ttl_ms();
        let lost =
            self.storage.transaction(|store| thread::close_lost_turns(store, now(), ttl, self.around()))?;
        for turn in lost {
            log::event("turn_closed_as_lost", json!({ "turn": turn }));
        }
        self.tell_index().await?;
        self.storage.transaction(thread::index_words)?;
        self.tell_resource().await?;
        self.do_a_job().await?;
        self.keep_alarm().await?;
        Response::empty()
    }
}

impl ThreadObject {
    fn around(&self) -> Surroundings<'_> {
        let settings = self.config.as_ref().map_or(&self.defaults, |config| &config.memory);
        Surroundings { settings, zones: &zones }
    }

    fn pending_turn_ttl_ms(&self) -> u64 {
        self.config.as_ref().map_or(PENDING_TURN_TTL_MS, |config| config.pending_turn_ttl_ms)
    }

    /// Tells the index across threads, where it is to hear of this one.
    async fn tell_index(&self) -> worker::Result<()> {
        let Some(known) = self.storage.store()?.thread()? else { return Ok(()) };
        if thread::index_due(&known).is_none_or(|due| due > now()) {
            return Ok(());
        }
        let told = d1_index::record(&self.env, &known).await;
        if let Err(error) = &told {
            log::event("index_failed", json!({ "error": error.to_string() }));
        }
        self.storage.transaction(|store| thread::index_told(store, known.updated_at, now(), told.is_ok()))
    }

    /// Tells the resource's object what it is to hear.
    async fn tell_resource(&self) -> worker::Result<()> {
        let Some(post) = thread::news(&*self.storage.store()?, now())? else { return Ok(()) };
        let resource = ResourceClient::new(self.env.clone(), &post.thread.project, &post.thread.resource);
        let mut told = Ok(());
        for news in &post.news {
            told = match news {
                News::Promote(facts) => resource.promote(facts.clone()).await.map(drop),
                News::Forget { notes, at } => {
                    resource.forget(&post.thread.id, Some(notes.clone()), *at).await.map(drop)
                }
            };
            if let Err(error) = &told {
                log::event("resource_untold", json!({ "error": error.to_string() }));
                break;
            }
        }
        self.storage.transaction(|store| thread::news_told(store, &post, now(), told.is_ok()))
    }

    /// Does the next job of memory whose time has come: one at a time, so that the alarm stays far below its limit.
    async fn do_a_job(&self) -> worker::Result<()> {
        let Some(config) = &self.config else { return Ok(()) };
        let cycle = random_id("cyc_");
        let job = self.storage.transaction(|store| thread::take_job(store, now(), &cycle, self.around()))?;
        let Some(job) = job else { return Ok(()) };
        let began = now();
        let reply = model_call::ask(&self.env, config, &job).await;
        let jitter = u64::from_le_bytes(random_bytes());
        let verdict = self
            .storage
            .transaction(|store| thread::settle_job(store, now(), &cycle, &reply, jitter, self.around()))?;
        log::event("memory_cycle", thread::cycle_event(&job, &reply, &verdict, now() - began));
        Ok(())
    }

    /// Deletes the thread: the whole database goes, and a mark stays that keeps late messages from bringing it back.
    async fn delete(&self, body: &[u8]) -> worker::Result<Response> {
        let asked = serde_json::from_slice(body)?;
        let deleted = self.storage.transaction(|store| thread::delete(store, &asked, now()))?;
        if let Deleted::Deleted { deleted_at, .. } = &deleted {
            // Deleting rows leaves their bytes in the file until they are written over.
            self.storage.delete_all().await?;
            self.storage.transaction(|store| store.bury(*deleted_at))?;
        }
        answer(&deleted)
    }

    async fn keep_alarm(&self) -> worker::Result<()> {
        let store = self.storage.store()?;
        let due = thread::next_alarm(&*store, now(), self.pending_turn_ttl_ms(), self.around())?;
        self.storage.ring_by(due).await
    }
}
