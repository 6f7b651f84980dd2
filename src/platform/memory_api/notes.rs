//! Notes one by one: to see, to put right, to forget; and the messages that they rest on.

use serde_json::json;

use super::{Asked, asked, body, unreachable};
use crate::api::{Page, query_parameter};
use crate::error::Error;
use crate::memory::api::notes::{self, Correction, not_found};
use crate::memory::{note_id, public};
use crate::platform::gateway_worker::{Incoming, json_answer};
use crate::protocol::{
    CORRECT, Correct, Corrected, FORGET, Forget, Forgotten, NOTES, Notes, ReadNotes, ReadSources, SOURCES,
    Sources,
};

/// `GET /v1/memory/threads/{id}/notes`.
pub async fn page(incoming: &Incoming, thread: String) -> Result<web_sys::Response, Error> {
    let Asked { object, key } = asked(incoming, thread)?;
    let Page { limit, offset, descending } = Page::read(incoming.query())?;
    let asked = ReadNotes { key, statuses: notes::statuses(incoming.query())?, limit, offset, descending };
    match object.call(NOTES, &asked).await {
        Ok(Notes::Page { notes: some, total }) => {
            json_answer(incoming, &notes::page(&asked.key.thread, &some, total))
        }
        Ok(Notes::NotFound) => Err(Error::thread_not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}

/// The thread that a note's id leads to, and its number there. Errors: 404 for what is no id.
fn of_note(incoming: &Incoming, id: &str) -> Result<(Asked, i64), Error> {
    let (thread, note) = note_id::read(id).ok_or_else(not_found)?;
    let named = query_parameter(incoming.query(), "threadId");
    if named.is_some_and(|named| named != thread) {
        return Err(not_found());
    }
    Ok((asked(incoming, thread)?, note))
}

/// `PATCH /v1/memory/notes/{id}`.
pub async fn correct(incoming: &Incoming, id: &str) -> Result<web_sys::Response, Error> {
    let (Asked { object, key }, note) = of_note(incoming, id)?;
    let Correction { text, priority } = Correction::read(&body(incoming).await?)?;
    let asked = Correct { key, note, text, priority };
    match object.call(CORRECT, &asked).await {
        Ok(Corrected::Note(note)) => json_answer(incoming, &notes::one(&asked.key.thread, &note)),
        Ok(Corrected::Gone(successor)) => Err(notes::gone(&asked.key.thread, successor)),
        Ok(Corrected::NotFound) => Err(not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}

/// `DELETE /v1/memory/notes/{id}`.
pub async fn forget(incoming: &Incoming, id: &str) -> Result<web_sys::Response, Error> {
    let (Asked { object, key }, note) = of_note(incoming, id)?;
    match object.call(FORGET, &Forget { key, note }).await {
        Ok(Forgotten::Forgotten { deleted_at, notes: gone, restored }) => {
            json_answer(incoming, &notes::receipt(id, deleted_at, gone, restored))
        }
        Ok(Forgotten::NotFound) => Err(not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}

/// `GET /v1/memory/notes/{id}/sources`.
pub async fn sources(incoming: &Incoming, id: &str) -> Result<web_sys::Response, Error> {
    let (Asked { object, key }, note) = of_note(incoming, id)?;
    let asked = ReadSources { key, note };
    match object.call(SOURCES, &asked).await {
        Ok(Sources::Messages(messages)) => {
            let thread = &asked.key.thread;
            let messages: Vec<_> = messages.iter().map(|message| public::public(thread, message)).collect();
            json_answer(incoming, &json!({ "messages": messages }))
        }
        Ok(Sources::NotFound) => Err(not_found()),
        Err(error) => Err(unreachable(incoming, &error)),
    }
}
