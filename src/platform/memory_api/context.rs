//! What memory would make of a request.

use super::{Asked, asked, body, unreachable};
use crate::error::Error;
use crate::memory::address;
use crate::memory::api::context::{self, Told};
use crate::platform::border::{now, random_id};
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::platform::resource_client::ResourceClient;
use crate::protocol::{DETAILS, Details, Prepare, Prepared, ReadDetails, TRY_OUT};

/// `POST /v1/memory/threads/{id}/context`.
pub async fn dry_run(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, mut key } = asked(incoming, thread)?;
    let bytes = body(incoming).await?;
    let request = context::Asked::read(incoming.query(), incoming.headers(), &bytes)?;
    let (scope, time_zone) = address::view(incoming.headers())?;
    let details = object.call(DETAILS, &ReadDetails { key: key.clone() }).await;
    let owner = match details.map_err(|error| unreachable(incoming, &error))? {
        Details::Thread(thread) => thread.resource,
        Details::NotFound => return Err(Error::thread_not_found()),
    };
    key.resource = Some(owner.clone());
    let beginning = Prepare {
        key,
        turn: random_id("turn_"),
        started_at: now(),
        store: true,
        inject: true,
        repeated: false,
        scope,
        time_zone,
        project: incoming.caller()?.principal.settings.memory.overrides(),
        messages: request.messages(),
    };
    let prepared = object.call(TRY_OUT, &beginning).await.map_err(|error| unreachable(incoming, &error))?;
    let Prepared::Ready { items, mut injection, wants_profile, .. } = prepared else {
        return Err(context::refused(&prepared));
    };
    if wants_profile {
        let resource = ResourceClient::new(incoming.env.clone(), &beginning.key.project, &owner);
        let profile = resource.profile(incoming.config.memory_deadline_ms).await;
        injection.stable.splice(0..0, profile.and_then(|profile| profile.text));
    }
    json_answer(incoming, &request.answer(&Told { items, injection }))
}
