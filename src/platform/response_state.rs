//! What a request of Responses goes on from, and what is kept of its answer.
//!
//! Invariant: a request goes on from what this project kept, or from what the caller's own account at the provider has;
//! never from what only the deployment's account has, which all projects share.

use futures::future::{join, join_all};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::border::now;
use super::inference::Inference;
use super::log;
use super::response_client::ResponseClient;
use super::thread_client::ThreadClient;
use crate::body::Body;
use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::protocol::{LinkResponse, Linked, ThreadKey};
use crate::providers::quirk::Quirk;
use crate::responses::id::{ChainId, response_of_item};
use crate::responses::items::{of_input, references, resolved};
use crate::responses::protocol::{History, Keep, Kept, Past};
use crate::responses::request::{State, begun_elsewhere, previous_not_found, read};
use crate::route::{CredentialSource, Route};

/// The state of one request.
pub struct ResponseState {
    client: ResponseClient,
    state: State,
    /// The chain that the response belongs to; `None` for one of a provider's id that goes on from nothing.
    chain: Option<ChainId>,
    /// The id of a response that we write.
    id: String,
    input: Vec<Box<RawValue>>,
    expanded: Option<Vec<u8>>,
    /// The provider, where the answer is passed on as it makes it.
    maker: Option<String>,
    created_at: u64,
    request_id: String,
    /// The thread that the response is made in: when that goes, it goes.
    thread: Option<(ThreadClient, ThreadKey)>,
}

impl ResponseState {
    /// Reads what the request says, and gets what it goes on from. Errors: 400, 404 for a response that is not kept, 503
    /// when nobody can say.
    /// `rewritten` says that the answer is written by us, whatever the provider's dialect.
    pub async fn read(inference: &Inference, route: &Route<'_>, rewritten: bool) -> Result<Self, Error> {
        let body = Body::parse(&inference.bytes)?;
        let state = read(&body)?;
        let client = ResponseClient::of(&inference.incoming, &inference.principal);
        let translated = rewritten || route.dialect != Dialect::Responses;
        let mut chain = None;
        let mut expanded = None;
        if let Some(past) = &state.from {
            let found = client.history(past).await.map_err(unread)?;
            let keeps = !translated && route.provider.has(Quirk::KeepsResponses);
            let callers = route.source == CredentialSource::Caller;
            match (found, past) {
                (Some((home, history)), Past::Response(_))
                    if keeps && history.maker.as_ref() == Some(&route.provider.name) =>
                {
                    chain = Some(home);
                }
                (Some((_, History { whole: false, .. })), Past::Response(id)) => {
                    return Err(begun_elsewhere(id));
                }
                // A conversation that was never used here may be one of the caller's own at the provider.
                (Some((home, history)), Past::Conversation(_))
                    if keeps && callers && history.items.is_empty() =>
                {
                    chain = Some(home);
                }
                (Some((home, history)), _) => {
                    expanded = Some(expand(&body, history)?);
                    chain = Some(home);
                }
                (None, _) if keeps && callers => {}
                (None, Past::Response(id) | Past::Conversation(id)) => return Err(previous_not_found(id)),
            }
        }
        if let Some(resolved) = resolve(&client, expanded.as_deref().unwrap_or(&inference.bytes)).await? {
            expanded = Some(resolved);
        }
        if translated && chain.is_none() {
            chain = Some(client.new_chain());
        }
        let id = chain.as_ref().map(|chain| client.new_id(chain)).unwrap_or_default();
        let maker = (!translated).then(|| route.provider.name.clone());
        Ok(ResponseState {
            input: of_input(&body)?,
            client,
            state,
            chain,
            id,
            expanded,
            maker,
            created_at: now(),
            request_id: inference.incoming.request_id.clone(),
            thread: None,
        })
    }

    /// The request with everything that it goes on from, if it does.
    pub fn take_expanded(&mut self) -> Option<Vec<u8>> {
        self.expanded.take()
    }

    /// The answer's own part of ids, for an answer that we write.
    pub fn frame_id(&self) -> String {
        self.id.strip_prefix("resp_").unwrap_or(&self.id).to_owned()
    }

    /// The response is made in a thread.
    pub fn belongs_to(&mut self, thread: ThreadClient, key: ThreadKey) {
        self.thread = Some((thread, key));
    }

    /// True when the response is to be kept.
    pub fn stores(&self) -> bool {
        self.state.store
    }

    /// Keeps the response object as the client got it, for as long as it takes.
    pub async fn keep(self, response: Value) {
        if !self.state.store {
            return;
        }
        let Some(id) = response.get("id").and_then(Value::as_str).map(str::to_owned) else { return };
        let Ok(response) = to_raw_value(&response) else { return };
        let (previous, conversation) = match self.state.from {
            Some(Past::Response(id)) => (Some(id), None),
            Some(Past::Conversation(id)) => (None, Some(id)),
            None => (None, None),
        };
        let keep = Keep {
            id,
            previous,
            conversation,
            created_at: self.created_at,
            input: self.input,
            response,
            maker: self.maker,
        };
        let chain = self.client.chain_of(self.chain.as_ref(), &keep.id);
        let linked = async {
            let Some((thread, key)) = self.thread else { return Linked::Linked };
            let (id, chain) = (keep.id.clone(), chain.as_str().to_owned());
            thread.link_response(&LinkResponse { key, id, chain, created_at: keep.created_at }).await
        };
        let (kept, linked) = join(self.client.keep(self.chain.as_ref(), &keep), linked).await;
        // Whoever deleted the thread, or messages of it, wants nothing of it back.
        if linked == Linked::Deleted
            && let Err(error) = self.client.erase(&chain, &keep.id, now()).await
        {
            log::event(
                "response_not_erased",
                serde_json::json!({ "response": keep.id, "error": error.to_string() }),
            );
        }
        let failure = match kept {
            Ok(Kept::Kept | Kept::Deleted) => return,
            Ok(Kept::NotFound) => "the object belongs to another chain".to_owned(),
            Err(error) => error.to_string(),
        };
        log::event(
            "response_lost",
            serde_json::json!({ "request_id": self.request_id, "response": keep.id, "reason": failure }),
        );
    }
}

/// The request with its history in front of its input, and without the field that named it.
fn expand(body: &Body<'_>, history: History) -> Result<Vec<u8>, Error> {
    let own = of_input(body)?;
    let items: Vec<&str> = history.items.iter().chain(&own).map(|item| item.get()).collect();
    let mut edits = vec![body.set("input", format!("[{}]", items.join(",")))];
    edits.extend(["previous_response_id", "conversation"].into_iter().filter_map(|name| body.remove(name)));
    Ok(body.edited(edits))
}

/// The request with the items in it that it names by ids of ours only; `None` where it names none.
async fn resolve(client: &ResponseClient, bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let body = Body::parse(bytes)?;
    let mut ids: Vec<String> = references(&body).iter().filter_map(|item| response_of_item(item)).collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() {
        return Ok(None);
    }
    let read = join_all(ids.iter().map(|id| client.read(id))).await;
    let mut responses = Vec::with_capacity(read.len());
    for response in read {
        responses.extend(response.map_err(unread)?);
    }
    resolved(&body, &responses).map(Some)
}

fn unread(error: worker::Error) -> Error {
    log::event("response_state_failed", serde_json::json!({ "error": error.to_string() }));
    Error::new(Kind::Overloaded, "An earlier response could not be read at the moment. Try again.")
}
