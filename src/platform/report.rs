//! What a thread's object is told about the end of a turn.
//!
//! Invariant: until somebody says otherwise, the turn has failed; neither a panic nor an exception loses a report.

use std::cell::RefCell;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, LocalBoxFuture, join_all, select};
use serde_json::json;
use worker::Delay;

use super::border::now;
use super::log;
use super::thread_client::ThreadClient;
use crate::idempotency::{KeepAnswer, KeptAnswer};
use crate::memory::store::TurnStatus;
use crate::protocol::{Commit, Prepare};
use crate::turn::{Answer, Message};

thread_local! {
    /// The reports that were dropped unsent, as what fails drops them, until whoever notices sends them.
    static LEFT_BEHIND: RefCell<Vec<Unsent>> = const { RefCell::new(Vec::new()) };
}

/// A report that is still to be sent.
pub struct Report(Option<Unsent>);

struct Unsent {
    thread: ThreadClient,
    beginning: Prepare,
    commit: Commit,
    /// Who wants to know the ids of the messages that the turn stored.
    listener: Option<oneshot::Sender<Vec<String>>>,
    idempotency_key: Option<String>,
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(unsent) = self.0.take() {
            LEFT_BEHIND.with_borrow_mut(|left| left.push(unsent));
        }
    }
}

/// Sends the reports that a failure left behind: those turns have failed. To be called as soon as it is noticed.
pub async fn send_left_behind() {
    join_all(LEFT_BEHIND.take().into_iter().map(Unsent::send)).await;
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
        Report(Some(Unsent { thread, beginning, commit, listener: None, idempotency_key: None }))
    }

    /// The report, and who hears from it the ids of the messages that the turn stored. It is dropped unheard where nothing
    /// is reported.
    pub fn heard(self) -> (Self, oneshot::Receiver<Vec<String>>) {
        let (listener, heard) = oneshot::channel();
        (self.with(|unsent| unsent.listener = Some(listener)), heard)
    }

    /// True when the turn is stored at all.
    pub fn stores(&self) -> bool {
        self.0.as_ref().is_some_and(|unsent| unsent.beginning.store)
    }

    /// The request came with this key.
    pub fn with_idempotency_key(self, key: Option<String>) -> Self {
        self.with(|unsent| unsent.idempotency_key = key)
    }

    /// What keeps a whole answer for those that send the request again; `None` where it came without a key.
    pub fn keeper_of(&self, body: &str) -> Option<LocalBoxFuture<'static, ()>> {
        let Unsent { thread, beginning, commit, idempotency_key, .. } = self.0.as_ref()?;
        let thread = thread.clone();
        let keep = KeepAnswer {
            key: idempotency_key.clone()?,
            turn: beginning.turn.clone(),
            answer: KeptAnswer {
                body: body.to_owned(),
                provider: commit.provider.clone(),
                model: commit.model.clone(),
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
    pub fn with_prompt(self, profile: Option<String>, tokens: Option<u64>) -> Self {
        self.with(|unsent| {
            unsent.commit.profile = profile;
            unsent.commit.prompt_tokens = tokens;
        })
    }

    /// Who answers, which may be another than who was to be asked first.
    pub fn answered_by(self, provider: &str, model: &str) -> Self {
        self.with(|unsent| {
            provider.clone_into(&mut unsent.commit.provider);
            model.clone_into(&mut unsent.commit.model);
        })
    }

    /// The turn ended like this.
    pub fn with_status(self, status: TurnStatus) -> Self {
        self.with(|unsent| unsent.commit.status = status)
    }

    /// The turn ended with this answer.
    pub fn with_answer(self, answer: Answer) -> Self {
        self.with(|unsent| {
            unsent.commit.status = TurnStatus::of(&answer);
            unsent.commit.answer = answer.message.map(Message::without_logprobs);
            unsent.commit.usage = answer.usage;
            unsent.commit.stop = answer.stop;
        })
    }

    /// Sends it, for as long as it takes.
    pub async fn send(mut self) {
        if let Some(unsent) = self.0.take() {
            unsent.send().await;
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Unsent)) -> Self {
        if let Some(unsent) = &mut self.0 {
            change(unsent);
        }
        self
    }
}

impl Unsent {
    async fn send(mut self) {
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
