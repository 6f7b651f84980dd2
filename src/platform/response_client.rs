//! The Worker's side of the conversation with the objects that keep responses.
//!
//! Invariant: one who asks names a response or a conversation, and finding the object that has it takes two calls at most.
//! How long to wait is the caller's to say; a message that failed is only sent again because it may be.

use futures::future::join;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use worker::Env;

use super::border::{now, random_bytes};
use super::gateway_worker::Incoming;
use super::object_call::{CallFailed, ObjectCall};
use crate::keys::Principal;
use crate::object_failure::Need;
use crate::responses::id::ChainId;
use crate::responses::protocol::{
    Asked, DELETE, Delete, ERASE, Found, HISTORY, History, ITEMS, Items, KEEP, Keep, Kept, POINT, Past,
    Place, Point, READ, ReadHistory, ReadItems, ReadResponse,
};

/// The objects of a principal's responses, seen from the Worker.
#[derive(Clone)]
pub struct ResponseClient {
    env: Env,
    principal: Principal,
    /// Makes the objects misbehave, where the build allows it.
    pub fault: Option<String>,
}

impl ResponseClient {
    /// The objects of a principal.
    pub fn new(env: Env, principal: &Principal) -> Self {
        ResponseClient { env, principal: principal.clone(), fault: None }
    }

    /// The objects of the principal of a request.
    pub fn of(incoming: &Incoming, principal: &Principal) -> Self {
        #[allow(unused_mut)]
        let mut client = ResponseClient::new(incoming.env.clone(), principal);
        #[cfg(feature = "fault-injection")]
        {
            client.fault = incoming.headers().get("x-fault").map(str::to_owned);
        }
        client
    }

    /// A new chain, for a response that goes on from nothing.
    pub fn new_chain(&self) -> ChainId {
        ChainId::new(random_bytes())
    }

    /// A new id for a response in a chain.
    pub fn new_id(&self, chain: &ChainId) -> String {
        chain.response_id(random_bytes())
    }

    /// What was said up to there, and the chain that a response which goes on from it belongs to. `None` when the response
    /// is not kept; a conversation that was never used is an empty one.
    pub async fn history(&self, past: &Past) -> worker::Result<Option<(ChainId, History)>> {
        let ask = ReadHistory { from: past.clone() };
        match past {
            Past::Response(id) => self.find(HISTORY, id, &ask).await,
            Past::Conversation(id) => {
                let chain = ChainId::of_conversation(&self.principal.project, id);
                let history = match self.ask(HISTORY, &chain, &ask).await? {
                    Found::Here(history) => history,
                    Found::Elsewhere(_) | Found::Nowhere => {
                        History { items: Vec::new(), whole: true, maker: None }
                    }
                };
                Ok(Some((chain, history)))
            }
        }
    }

    /// Keeps a response in `chain`: that of its history, or a new one. Without a chain (nothing to go on from, under an id
    /// that a provider made) its id's home takes it. Tries for as long as the platform allows.
    pub async fn keep(&self, chain: Option<&ChainId>, keep: &Keep) -> worker::Result<Kept> {
        let home = ChainId::home(&self.principal.project, &keep.id);
        let chain = chain.unwrap_or(&home);
        let kept = self.persist(KEEP, chain, keep);
        if *chain == home {
            return kept.await;
        }
        let point = Point { id: keep.id.clone(), chain: chain.clone(), created_at: keep.created_at };
        let (kept, pointed) = join(kept, self.persist(POINT, &home, &point)).await;
        pointed?;
        kept
    }

    /// A response object, as the client got it; `None` if it is not kept.
    pub async fn read(&self, id: &str) -> worker::Result<Option<Box<RawValue>>> {
        Ok(self.find(READ, id, &ReadResponse { id: id.to_owned() }).await?.map(|(_, response)| response))
    }

    /// A page of the items that a response was made from; `None` if it is not kept.
    pub async fn input_items(&self, ask: &ReadItems) -> worker::Result<Option<Items>> {
        Ok(self.find(ITEMS, &ask.id, ask).await?.map(|(_, items)| items))
    }

    /// Deletes a response. False if it is not kept.
    pub async fn delete(&self, id: &str) -> worker::Result<bool> {
        let ask = Delete { id: id.to_owned(), at: now() };
        Ok(self.find::<_, ()>(DELETE, id, &ask).await?.is_some())
    }

    /// The chain that takes a response which belongs to `chain`, or to none.
    pub fn chain_of(&self, chain: Option<&ChainId>, id: &str) -> ChainId {
        chain.cloned().unwrap_or_else(|| ChainId::home(&self.principal.project, id))
    }

    /// Deletes a response of a chain, even before it came there.
    pub async fn erase(&self, chain: &ChainId, id: &str, at: u64) -> worker::Result<()> {
        let ask = Delete { id: id.to_owned(), at };
        let home = ChainId::home(&self.principal.project, id);
        self.call::<_, Kept>(ERASE, chain, &ask).await?;
        if home != *chain {
            self.call::<_, Kept>(ERASE, &home, &ask).await?;
        }
        Ok(())
    }

    /// Asks the home of an id, and where that says so, the chain that it points to.
    async fn find<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        id: &str,
        ask: &Q,
    ) -> worker::Result<Option<(ChainId, A)>> {
        let home = ChainId::home(&self.principal.project, id);
        let chain = match self.ask(path, &home, ask).await? {
            Found::Here(found) => return Ok(Some((home, found))),
            Found::Elsewhere(chain) => chain,
            Found::Nowhere => return Ok(None),
        };
        match self.ask(path, &chain, ask).await? {
            Found::Here(found) => Ok(Some((chain, found))),
            Found::Elsewhere(_) | Found::Nowhere => Ok(None),
        }
    }

    /// Asks a chain's object, once more where that may help.
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        chain: &ChainId,
        ask: &Q,
    ) -> worker::Result<Found<A>> {
        Ok(self.send(path, chain, ask, Some(Need::Answer)).await?)
    }

    async fn persist<Q: Serialize>(&self, path: &str, chain: &ChainId, ask: &Q) -> worker::Result<Kept> {
        Ok(self.send(path, chain, ask, Some(Need::Storage)).await?)
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        chain: &ChainId,
        ask: &Q,
    ) -> worker::Result<A> {
        Ok(self.send(path, chain, ask, None).await?)
    }

    /// Sends a message to a chain's object: once, or as often as the `need` allows.
    async fn send<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        chain: &ChainId,
        ask: &Q,
        need: Option<Need>,
    ) -> Result<A, CallFailed> {
        let name = self.principal.response_object_name(chain);
        let object =
            ObjectCall { env: &self.env, class: "RESPONSES", object: &name, fault: self.fault.as_deref() };
        let asked =
            Asked { place: Place { project: self.principal.project.clone(), chain: chain.clone() }, ask };
        match need {
            Some(need) => object.repeated(path, &asked, need).await,
            None => object.once(path, &asked).await,
        }
    }
}
