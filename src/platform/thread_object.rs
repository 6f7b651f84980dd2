//! The Durable Object of a thread: decodes the protocol, runs the core in one transaction, keeps the alarm.
//!
//! Invariant: memory's questions to models are asked between transactions, never inside one; what came of them is settled in
//! one of its own.

use std::rc::Rc;

use futures::future::join_all;
use serde_json::json;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::{now, random_bytes, random_id, zones};
use super::object_storage::{ObjectStorage, answer};
use super::resource_client::ResourceClient;
use super::response_client::ResponseClient;
use super::sql_database::SqlDatabase;
use super::{d1_index, erasure, gateway_worker, log, model_call, unanswered};
use crate::config::{Config, PENDING_TURN_TTL_MS};
use crate::keys::Principal;
use crate::memory::news::News;
use crate::memory::settings::Settings;
use crate::memory::store::Store;
use crate::protocol::{
    AROUND, BRING, CLAIM, COMMIT, CONFIGURE, COPY, CORRECT, CREATE, Copied, Corrected, DELETE,
    DELETE_MESSAGES, DETAILS, Delete, Deleted, Details, FORGET, FORGET_NOTES, Forgotten, Found, HISTORY,
    History, KEEP_ANSWER, LINK_RESPONSE, MESSAGES, Messages, MessagesDeleted, NOTES, Notes, NotesForgotten,
    OBSERVATIONS, Observations, PASTE, POST, PREPARE, Posting, Prepared, REMEMBER, ROWS, Rows, SEARCH,
    SOURCES, Sources, TRY_OUT, UPDATE,
};
use crate::responses::id::ChainId;
use crate::thread::deletion::{self, Departure};
use crate::thread::{self, Surroundings};

/// How many stored responses are deleted at a time.
const RESPONSES_AT_A_TIME: u32 = 16;

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

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        unanswered::or_told(request.inner().into(), Box::pin(self.answer(request))).await
    }

    async fn alarm(&self) -> worker::Result<Response> {
        unanswered::or_told(self.storage.key(), Box::pin(self.ring())).await
    }
}

impl ThreadObject {
    async fn answer(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("object", request.headers().get("x-fault")?.as_deref()).await;
        #[cfg(feature = "fault-injection")]
        super::fault::throw(request.headers().get("x-fault")?.as_deref())?;
        let path = request.path();
        let body = request.bytes().await?;
        let changes = matches!(
            path.as_str(),
            PREPARE
                | BRING
                | COMMIT
                | CONFIGURE
                | REMEMBER
                | FORGET_NOTES
                | CREATE
                | UPDATE
                | POST
                | PASTE
                | CORRECT
                | FORGET
        );
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
            CREATE => self.storage.run(&body, |store, asked| thread::create(store, asked, now())),
            DETAILS | UPDATE if !self.storage.exists()? => answer(&Details::NotFound),
            DETAILS => self.storage.run(&body, thread::details),
            UPDATE => self.storage.run(&body, |store, asked| thread::update(store, asked, now())),
            POST if !self.storage.exists()? => answer(&Posting::NotFound),
            POST => self.storage.run(&body, |store, asked| thread::post(store, asked, now(), self.around())),
            COPY if !self.storage.exists()? => answer(&Copied::NotFound),
            COPY => self.storage.run(&body, thread::copy),
            PASTE => {
                self.storage.run(&body, |store, asked| thread::paste(store, asked, now(), self.around()))
            }
            TRY_OUT if !self.storage.exists()? => answer(&Prepared::NotFound),
            TRY_OUT => {
                self.storage.try_out(&body, |store, asked| thread::prepare(store, asked, self.around()))
            }
            NOTES if !self.storage.exists()? => answer(&Notes::NotFound),
            NOTES => self.storage.run(&body, thread::notes),
            CORRECT if !self.storage.exists()? => answer(&Corrected::NotFound),
            CORRECT => {
                self.storage.run(&body, |store, asked| thread::correct(store, asked, now(), self.around()))
            }
            FORGET if !self.storage.exists()? => answer(&Forgotten::NotFound),
            FORGET => {
                self.storage.run(&body, |store, asked| thread::forget(store, asked, now(), self.around()))
            }
            HISTORY if !self.storage.exists()? => answer(&History::NotFound),
            HISTORY => {
                self.storage.run(&body, |store, asked| thread::history(store, asked, now(), self.around()))
            }
            SEARCH if !self.storage.exists()? => answer(&Found::NotFound),
            SEARCH => self.storage.run(&body, thread::search),
            SOURCES if !self.storage.exists()? => answer(&Sources::NotFound),
            SOURCES => self.storage.run(&body, thread::sources),
            ROWS if !self.storage.exists()? => answer(&Rows::NotFound),
            ROWS => self.storage.run(&body, thread::rows),
            BRING => {
                self.storage.run(&body, |store, asked| thread::bring(store, asked, now(), self.around()))
            }
            AROUND if !self.storage.exists()? => answer(&Sources::NotFound),
            AROUND => self.storage.run(&body, thread::around),
            REMEMBER => self.storage.run(&body, |store, asked| thread::remember(store, asked, self.around())),
            FORGET_NOTES if !self.storage.exists()? => answer(&NotesForgotten::NotFound),
            FORGET_NOTES => self
                .storage
                .run(&body, |store, asked| thread::forget_notes(store, asked, now(), self.around())),
            DELETE_MESSAGES if !self.storage.exists()? => answer(&MessagesDeleted::NotFound),
            DELETE_MESSAGES => self.delete_messages(&body).await,
            LINK_RESPONSE => self.storage.run(&body, thread::link_response),
            DELETE if !self.storage.exists()? => answer(&Deleted::NotFound),
            DELETE => self.delete(&body).await,
            _ => return Response::error("unknown message", 404),
        }?;
        if matches!(path.as_str(), CREATE | UPDATE | PASTE) {
            // Whoever made or named a thread looks for it in the list at once.
            self.tell_index(true).await?;
        }
        if matches!(path.as_str(), CORRECT | FORGET) && self.storage.exists()? {
            // What was put right or forgotten leaves the profile with the answer; if not now, then when the alarm rings.
            self.tell_resource().await?;
            self.write_anew().await?;
        }
        if changes && self.storage.exists()? {
            self.keep_alarm().await?;
        }
        Ok(answered)
    }

    async fn ring(&self) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike_alarm();
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
        self.end_deletions().await?;
        self.tell_index(false).await?;
        self.storage.transaction(thread::index_words)?;
        self.tell_resource().await?;
        self.do_a_job().await?;
        self.keep_alarm().await?;
        Response::empty()
    }

    fn around(&self) -> Surroundings<'_> {
        let settings = self.config.as_ref().map_or(&self.defaults, |config| &config.memory);
        Surroundings { settings, zones: &zones }
    }

    fn pending_turn_ttl_ms(&self) -> u64 {
        self.config.as_ref().map_or(PENDING_TURN_TTL_MS, |config| config.pending_turn_ttl_ms)
    }

    /// Tells the index across threads, where it is to hear of this one.
    async fn tell_index(&self, at_once: bool) -> worker::Result<()> {
        if !self.storage.exists()? {
            return Ok(());
        }
        let Some(known) = self.storage.store()?.thread()? else { return Ok(()) };
        if thread::index_due(&known).is_none_or(|due| due > now() && !at_once) {
            return Ok(());
        }
        let told = d1_index::record(&self.env, &known).await;
        if self.storage.store()?.thread()?.is_none_or(|thread| thread.created_at != known.created_at) {
            // It was deleted meanwhile, and perhaps the index was told of that first.
            return erasure::forget_thread(&self.env, &known.project, &known.id, known.created_at).await;
        }
        if told.is_ok() && erasure::reaches(&self.env, &known).await.unwrap_or(false) {
            // Whoever was forgotten was forgotten before the index had heard of this thread.
            self.erase(&Delete::at_any_age(known.key())).await?;
            return Ok(());
        }
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

    async fn delete(&self, body: &[u8]) -> worker::Result<Response> {
        answer(&self.erase(&serde_json::from_slice(body)?).await?)
    }

    /// Deletes the thread, here and everywhere else.
    async fn erase(&self, asked: &Delete) -> worker::Result<Deleted> {
        let deleted = self.storage.transaction(|store| thread::delete(store, asked, now()))?;
        if let Deleted::Deleted { .. } = &deleted {
            let ended = self.end_deletion().await;
            self.keep_alarm().await?;
            ended?;
        }
        Ok(deleted)
    }

    async fn delete_messages(&self, body: &[u8]) -> worker::Result<Response> {
        let asked = serde_json::from_slice(body)?;
        let deleted =
            self.storage.transaction(|store| thread::delete_messages(store, &asked, now(), self.around()))?;
        let ended = async {
            self.erase_responses(now()).await?;
            self.tell_resource().await?;
            self.write_anew().await
        };
        let ended = ended.await;
        self.keep_alarm().await?;
        ended?;
        answer(&deleted)
    }

    /// Writes the storage anew: deleting rows leaves their bytes in the file until they are written over.
    async fn write_anew(&self) -> worker::Result<()> {
        match self.storage.store()?.copy()? {
            Some(rows) => self.storage.delete_all_but(|store| store.paste(&rows)).await,
            None => {
                log::event("bytes_left", json!({ "reason": "too large to be written anew" }));
                Ok(())
            }
        }
    }

    /// Carries on what was begun to be deleted.
    async fn end_deletions(&self) -> worker::Result<()> {
        if let Err(error) = self.end_deletion().await {
            log::event("deletion_unfinished", json!({ "error": error.to_string() }));
            self.storage.transaction(|store| deletion::postpone(store, now()))?;
        }
        Ok(())
    }

    /// Deletes what others keep of a deleted thread; then the whole database goes, and a mark stays that keeps late messages
    /// from bringing it back.
    async fn end_deletion(&self) -> worker::Result<()> {
        let leaving = deletion::departure(&*self.storage.store()?)?;
        self.erase_responses(leaving.as_ref().map_or_else(now, |leaving| leaving.deleted_at)).await?;
        let Some(Departure { project, thread, resource, deleted_at, .. }) = leaving else { return Ok(()) };
        ResourceClient::new(self.env.clone(), &project, &resource).forget(&thread, None, deleted_at).await?;
        erasure::forget_thread(&self.env, &project, &thread, deleted_at).await?;
        if self.storage.transaction(deletion::departed)? {
            // Deleting rows leaves their bytes in the file until they are written over.
            self.storage.delete_all().await?;
            self.storage.transaction(|store| store.bury(deleted_at))?;
        }
        Ok(())
    }

    /// Deletes the stored responses that are to go.
    async fn erase_responses(&self, at: u64) -> worker::Result<()> {
        loop {
            let store = self.storage.store()?;
            let leaving = store.leaving_responses(RESPONSES_AT_A_TIME)?;
            let Some(project) = deletion::project(&*store)?.filter(|_| !leaving.is_empty()) else {
                return Ok(());
            };
            let client = ResponseClient::new(self.env.clone(), &Principal::new(project, ""));
            let erased = leaving.iter().map(|linked| {
                let (client, chain) = (&client, ChainId::stored(linked.chain.clone()));
                async move { client.erase(&chain, &linked.id, at).await }
            });
            join_all(erased).await.into_iter().collect::<worker::Result<Vec<()>>>()?;
            let ids: Vec<String> = leaving.into_iter().map(|linked| linked.id).collect();
            self.storage.transaction(|store| store.unlink_responses(&ids))?;
        }
    }

    async fn keep_alarm(&self) -> worker::Result<()> {
        let store = self.storage.store()?;
        let due = thread::next_alarm(&*store, now(), self.pending_turn_ttl_ms())?;
        self.storage.ring_by(due).await
    }
}
