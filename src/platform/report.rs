//! What a thread's object is told about the end of a turn.
//!
//! Invariant: until somebody says otherwise, the turn has failed.

use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, LocalBoxFuture, select};
use serde_json::json;
use worker::Delay;

use super::border::now;
use super::log;
use super::thread_client::ThreadClient;
use crate::idempotency::{KeepAnswer, KeptAnswer};
use crate::memory::store::TurnStatus;
use crate::protocol::{Commit, Prepare};
use crate::turn::{Answer, Message};

/// A report that is still to be sent.
pub struct Report {
    thread: ThreadClient,
    beginning: Prepare,
    commit: Commit,
    /// Who wants to know the ids of the messages that the turn stored.
    listener: Option<oneshot::Sender<Vec<String>>>,
    idempotency_key: Option<String>,
}

impl Report {
    /// The report of a turn that began with `beginning`.
    pub fn new(thread: ThreadClient, beginning: Prepare, provider: &str, model: &str) -> Self {
        let commit = Commit {
            turn: beginning.turn.clone(),
            prepare: None,
            finished_at: now(),
            status: TurnStatus::Failed,
            answer: None,
            usage: None,
            stop: None,
            provider: provider.to_owned(),
            model: model.to_owned(),
            profile: None,
            prompt_tokens: None,
            names_messages: true,
        };
        Report { thread, beginning, commit, listener: None, idempotency_key: None }
    }

    /// The report, and who hears from it the ids of the messages that the turn stored. It is dropped unheard where nothing
    /// is reported.
    pub fn heard(self) -> (Self, oneshot::Receiver<Vec<String>>) {
        let (listener, heard) = oneshot::channel();
        (Report { listener: Some(listener), ..self }, heard)
    }

    /// True when the turn is stored at all.
    pub fn stores(&self) -> bool {
        self.beginning.store
    }

    /// The request came with this key.
    pub fn with_idempotency_key(mut self, key: Option<String>) -> Self {
        self.idempotency_key = key;
        self
    }

    /// What keeps a whole answer for those that send the request again; `None` where it came without a key.
    pub fn keeper_of(&self, body: &str) -> Option<LocalBoxFuture<'static, ()>> {
        let thread = self.thread.clone();
        let keep = KeepAnswer {
            key: self.idempotency_key.clone()?,
            turn: self.beginning.turn.clone(),
            answer: KeptAnswer {
                body: body.to_owned(),
                provider: self.commit.provider.clone(),
                model: self.commit.model.clone(),
            },
        };
        Some(Box::pin(async move {
            if let Err(error) = thread.keep_answer(&keep).await {
                let reason = error.to_string();
                log::event("answer_not_kept", json!({ "turn": keep.turn, "reason": reason }));
            }
        }))
    }

    /// What the model was shown: the resource's profile, where the thread wanted it, and our estimate of all of it.
    pub fn with_prompt(mut self, profile: Option<String>, tokens: Option<u64>) -> Self {
        self.commit.profile = profile;
        self.commit.prompt_tokens = tokens;
        self
    }

    /// Who answers, which may be another than who was to be asked first.
    pub fn answered_by(mut self, provider: &str, model: &str) -> Self {
        provider.clone_into(&mut self.commit.provider);
        model.clone_into(&mut self.commit.model);
        self
    }

    /// The turn ended like this.
    pub fn with_status(mut self, status: TurnStatus) -> Self {
        self.commit.status = status;
        self
    }

    /// The turn ended with this answer.
    pub fn with_answer(mut self, answer: Answer) -> Self {
        self.commit.status = TurnStatus::of(&answer);
        self.commit.answer = answer.message.map(Message::without_logprobs);
        self.commit.usage = answer.usage;
        self.commit.stop = answer.stop;
        self
    }

    /// Sends it, for as long as it takes.
    pub async fn send(mut self) {
        self.commit.finished_at = now();
        let message_ids = self.thread.commit(&self.beginning, self.commit).await;
        if let Some(listener) = self.listener {
            // An account that did not wait so long goes without them.
            let _ = listener.send(message_ids);
        }
    }
}

/// Waits for work to be done, but not for longer than the deadline; what is then still to do is given back.
pub async fn done_within(
    work: LocalBoxFuture<'static, ()>,
    deadline_ms: u32,
) -> Option<LocalBoxFuture<'static, ()>> {
    match select(work, Delay::from(Duration::from_millis(u64::from(deadline_ms)))).await {
        Either::Left(_) => None,
        Either::Right((_, work)) => Some(work),
    }
}
