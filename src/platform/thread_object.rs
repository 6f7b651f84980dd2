//! The Durable Object of a thread: decodes the protocol, runs the core in one transaction, keeps the alarm.
//!
//! Invariant: between the first statement and the last of a message there is no `await`, and a failure undoes them all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::{now, random_bytes, random_id, zones};
use super::resource_client::ResourceClient;
use super::sql_database::SqlDatabase;
use super::transaction::transaction;
use super::{d1_index, gateway_worker, log, model_call};
use crate::config::{Config, PENDING_TURN_TTL_MS};
use crate::memory::news::News;
use crate::memory::settings::Settings;
use crate::memory::store::Store;
use crate::protocol::{
    COMMIT, CONFIGURE, DELETE, Deleted, Found, MESSAGES, Messages, OBSERVATIONS, Observations, PREPARE,
    SEARCH, SOURCES, Sources,
};
use crate::thread::{self, Surroundings};

/// One thread of one project.
#[durable_object]
pub struct ThreadObject {
    state: State,
    env: Env,
    store: RefCell<Option<Rc<Store<SqlDatabase>>>>,
    /// When the alarm that is set will ring; setting it costs a written row.
    alarm_at: Cell<Option<u64>>,
    config: Option<Rc<Config>>,
    defaults: Settings,
}

impl DurableObject for ThreadObject {
    fn new(state: State, env: Env) -> Self {
        let config = gateway_worker::config(&env).ok();
        ThreadObject {
            state,
            env,
            store: RefCell::new(None),
            alarm_at: Cell::new(None),
            config,
            defaults: Settings::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("object", request.headers().get("x-fault")?.as_deref()).await;
        let path = request.path();
        let body = request.bytes().await?;
        let changes = matches!(path.as_str(), PREPARE | COMMIT | CONFIGURE);
        let answer = match path.as_str() {
            PREPARE => self.run(&body, |store, asked| thread::prepare(store, asked, self.around())),
            COMMIT => self.run(&body, |store, asked| thread::commit(store, asked, self.around())),
            MESSAGES if !self.exists()? => answer(&Messages::NotFound),
            MESSAGES => self.run(&body, thread::messages),
            OBSERVATIONS if !self.exists()? => answer(&Observations::NotFound),
            OBSERVATIONS => {
                self.run(&body, |store, asked| thread::observations(store, asked, now(), self.around()))
            }
            CONFIGURE if !self.exists()? => answer(&Observations::NotFound),
            CONFIGURE => {
                self.run(&body, |store, asked| thread::configure(store, asked, now(), self.around()))
            }
            SEARCH if !self.exists()? => answer(&Found::NotFound),
            SEARCH => self.run(&body, thread::search),
            SOURCES if !self.exists()? => answer(&Sources::NotFound),
            SOURCES => self.run(&body, thread::sources),
            DELETE if !self.exists()? => answer(&Deleted::NotFound),
            DELETE => self.delete(&body).await,
            _ => return Response::error("unknown message", 404),
        }?;
        if changes {
            self.keep_alarm().await?;
        }
        Ok(answer)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.alarm_at.set(None);
        if !self.exists()? {
            return Response::empty();
        }
        let store = self.store()?;
        let ttl = self.pending_turn_ttl_ms();
        let lost = transaction(&self.state, || thread::close_lost_turns(&*store, now(), ttl, self.around()))?;
        for turn in lost {
            log::event("turn_closed_as_lost", json!({ "turn": turn }));
        }
        if let Some(known) = store.thread()?
            && thread::index_due(&known).is_some_and(|due| due <= now())
        {
            let told = d1_index::record(&self.env, &known).await;
            if let Err(error) = &told {
                log::event("index_failed", json!({ "error": error.to_string() }));
            }
            transaction(&self.state, || thread::index_told(&*store, known.updated_at, now(), told.is_ok()))?;
        }
        transaction(&self.state, || thread::index_words(&*store))?;
        self.tell_resource(&store).await?;
        self.do_a_job(&store).await?;
        self.keep_alarm().await?;
        Response::empty()
    }
}

fn answer(message: &impl Serialize) -> worker::Result<Response> {
    Response::from_bytes(serde_json::to_vec(message)?)
}

impl ThreadObject {
    fn around(&self) -> Surroundings<'_> {
        let settings = self.config.as_ref().map_or(&self.defaults, |config| &config.memory);
        Surroundings { settings, zones: &zones }
    }

    fn pending_turn_ttl_ms(&self) -> u64 {
        self.config.as_ref().map_or(PENDING_TURN_TTL_MS, |config| config.pending_turn_ttl_ms)
    }

    /// Tells the resource's object what it is to hear.
    async fn tell_resource(&self, store: &Store<SqlDatabase>) -> worker::Result<()> {
        let Some(post) = thread::news(store, now())? else { return Ok(()) };
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
        transaction(&self.state, || thread::news_told(store, &post, now(), told.is_ok()))
    }

    /// Does the next job of memory whose time has come: one at a time, so that the alarm stays far below its limit.
    async fn do_a_job(&self, store: &Store<SqlDatabase>) -> worker::Result<()> {
        let Some(config) = &self.config else { return Ok(()) };
        let cycle = random_id("cyc_");
        let Some(job) = transaction(&self.state, || thread::take_job(store, now(), &cycle, self.around()))?
        else {
            return Ok(());
        };
        let began = now();
        let reply = model_call::ask(&self.env, config, &job).await;
        let jitter = u64::from_le_bytes(random_bytes());
        let verdict = transaction(&self.state, || {
            thread::settle_job(store, now(), &cycle, &reply, jitter, self.around())
        })?;
        log::event("memory_cycle", thread::cycle_event(&job, &reply, &verdict, now() - began));
        Ok(())
    }

    /// Deletes the thread: the whole database goes, and a mark stays that keeps late messages from bringing it back.
    async fn delete(&self, body: &[u8]) -> worker::Result<Response> {
        let asked = serde_json::from_slice(body)?;
        let store = self.store()?;
        let deleted = transaction(&self.state, || thread::delete(&*store, &asked, now()))?;
        if let Deleted::Deleted { deleted_at, .. } = &deleted {
            self.store.replace(None);
            drop(store);
            // Deleting rows leaves their bytes in the file until they are written over.
            self.state.storage().delete_all().await?;
            self.alarm_at.set(None);
            let store = self.store()?;
            transaction(&self.state, || store.bury(*deleted_at))?;
        }
        answer(&deleted)
    }

    /// True when something was ever stored. Looking must not make an empty database, which would be kept and billed.
    fn exists(&self) -> worker::Result<bool> {
        if self.store.borrow().is_none()
            && let Some(store) = Store::open_existing(SqlDatabase::of(&self.state)?)?
        {
            self.store.replace(Some(Rc::new(store)));
        }
        Ok(self.store.borrow().is_some())
    }

    /// The open storage; opening it is tried again after a failure.
    fn store(&self) -> worker::Result<Rc<Store<SqlDatabase>>> {
        if let Some(store) = self.store.borrow().as_ref() {
            return Ok(store.clone());
        }
        let store = transaction(&self.state, || Store::open(SqlDatabase::of(&self.state)?).map(Rc::new))?;
        self.store.replace(Some(store.clone()));
        Ok(store)
    }

    fn run<Q: DeserializeOwned, A: Serialize>(
        &self,
        body: &[u8],
        work: impl FnOnce(&Store<SqlDatabase>, &Q) -> worker::Result<A>,
    ) -> worker::Result<Response> {
        let message: Q = serde_json::from_slice(body)?;
        let store = self.store()?;
        let answer = transaction(&self.state, || work(&store, &message))?;
        self::answer(&answer)
    }

    /// Sets the alarm, unless one that rings early enough is set.
    async fn keep_alarm(&self) -> worker::Result<()> {
        let now = now();
        let store = self.store()?;
        let due = thread::next_alarm(&*store, now, self.pending_turn_ttl_ms(), self.around())?;
        let Some(due) = due else { return Ok(()) };
        if self.alarm_at.get().is_none_or(|set| set > due) {
            let offset = i64::try_from(due.saturating_sub(now)).unwrap_or(i64::MAX);
            self.state.storage().set_alarm(offset).await?;
            self.alarm_at.set(Some(due));
        }
        Ok(())
    }
}
