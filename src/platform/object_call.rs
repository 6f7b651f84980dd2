//! One message to a Durable Object, and what its failure is.
//!
//! Invariant: each call has a stub of its own, because one that failed stays broken; the platform's flags of an error are
//! read here and nowhere else.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::{Env, Method, Request, RequestInit};

use super::border::{random_bytes, within};
use super::log;
use crate::object_failure::{Flags, Need, ObjectFailure};

#[wasm_bindgen]
extern "C" {
    /// An error as the platform throws it.
    type Thrown;
    #[wasm_bindgen(method, getter, structural)]
    fn overloaded(this: &Thrown) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    fn retryable(this: &Thrown) -> JsValue;
    #[wasm_bindgen(method, getter, structural, js_name = durableObjectReset)]
    fn reset(this: &Thrown) -> JsValue;
}

/// An object, and how to call it.
pub struct ObjectCall<'a> {
    /// The Worker's bindings.
    pub env: &'a Env,
    /// The binding of its class.
    pub class: &'static str,
    /// Its name.
    pub object: &'a str,
    /// Makes it misbehave, where the build allows it.
    pub fault: Option<&'a str>,
}

/// A call that failed.
pub struct CallFailed {
    /// How.
    pub failure: ObjectFailure,
    /// In words.
    pub reason: String,
}

impl From<CallFailed> for worker::Error {
    fn from(failed: CallFailed) -> Self {
        worker::Error::RustError(failed.reason)
    }
}

impl CallFailed {
    fn lasting(reason: impl ToString) -> Self {
        CallFailed { failure: ObjectFailure::Lasting, reason: reason.to_string() }
    }

    fn thrown(error: &worker::Error) -> Self {
        let flags = match error {
            worker::Error::UnknownJsError { original, .. } => flags(original),
            _ => Flags::default(),
        };
        CallFailed { failure: ObjectFailure::of(flags), reason: error.to_string() }
    }
}

fn flags(error: &JsValue) -> Flags {
    if !error.is_object() {
        return Flags::default();
    }
    let error = error.unchecked_ref::<Thrown>();
    Flags {
        overloaded: error.overloaded().is_truthy(),
        retryable: error.retryable().is_truthy(),
        reset: error.reset().is_truthy(),
    }
}

impl ObjectCall<'_> {
    /// Sends a message once.
    pub async fn once<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        ask: &Q,
    ) -> Result<A, CallFailed> {
        let message = self.message(path, ask).map_err(CallFailed::lasting)?;
        let stub = self.env.durable_object(self.class).and_then(|class| class.get_by_name(self.object));
        let sent = stub.map_err(CallFailed::lasting)?.fetch_with_request(message).await;
        let mut answer = sent.map_err(|error| CallFailed::thrown(&error))?;
        if answer.status_code() != 200 {
            let reason = format!("the object ({}) answered {}", self.class, answer.status_code());
            return Err(CallFailed::lasting(reason));
        }
        let bytes = answer.bytes().await.map_err(|error| CallFailed::thrown(&error))?;
        serde_json::from_slice(&bytes).map_err(CallFailed::lasting)
    }

    /// Sends a message that may come twice, again and again as far as the failure and the `need` allow.
    pub async fn repeated<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        ask: &Q,
        need: Need,
    ) -> Result<A, CallFailed> {
        let mut failed = 0;
        loop {
            let error = match self.once(path, ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failed += 1;
            let Some(ms) = self.pause_ms(&error, path, need, failed) else { return Err(error) };
            within(ms, std::future::pending::<()>()).await;
        }
    }

    /// How long to wait before a message is sent again that failed so many times; `None` to give up. The log is told.
    pub fn pause_ms(&self, error: &CallFailed, path: &str, need: Need, failed: usize) -> Option<u32> {
        let pause_ms = error.failure.pause_ms(need, failed, u32::from_le_bytes(random_bytes::<4>()));
        log::event(
            "object_failed",
            json!({
                "class": self.class,
                "message": path,
                "failure": error.failure.word(),
                "failed": failed,
                "again_in_ms": pause_ms,
                "reason": error.reason,
            }),
        );
        pause_ms
    }

    fn message<Q: Serialize>(&self, path: &str, ask: &Q) -> worker::Result<Request> {
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(JsValue::from_str(&serde_json::to_string(ask)?)));
        let message = Request::new_with_init(&format!("https://object{path}"), &init)?;
        if let Some(fault) = self.fault {
            message.headers().set("x-fault", fault)?;
        }
        Ok(message)
    }
}
