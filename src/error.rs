//! The one error that a client can see, and the one place that turns it into a status and a body.
//!
//! Policy: core functions that can fail because of the client or a provider return [`Error`]; the storage layer has
//! its own error and never reaches a client. Invariant: a message says what was wrong and what to do, and never holds
//! a credential.

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;

/// What kind of failure it is; decides status and `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request is malformed.
    BadRequest,
    /// 401: no valid gateway key.
    Unauthenticated,
    /// 402: a budget is spent.
    BudgetExceeded,
    /// 403: a valid key that may not do this.
    Forbidden,
    /// 404: absent, or another's.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 408: the client took too long to send the body.
    SlowBody,
    /// 409: it exists already, or stands against something else.
    Conflict,
    /// 413: the body is over the limit.
    TooLarge,
    /// 415: the body is not JSON.
    UnsupportedMediaType,
    /// 429: more requests than the key may make.
    RateLimited,
    /// 499: the client left before the answer; seen only in logs.
    ClientGone,
    /// 500: the gateway itself failed.
    Internal,
    /// 502: the provider is unreachable, speaks nonsense or refuses the gateway's credential.
    Upstream,
    /// 503: nothing can take the request at the moment.
    Overloaded,
    /// 504: a deadline passed.
    Timeout,
    /// The provider's own refusal, with its status.
    Refused(u16),
}

/// A failure to report to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Error(Box<Details>);

#[derive(Clone, Debug, PartialEq)]
struct Details {
    kind: Kind,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
    extra: Map<String, Value>,
}

impl Error {
    /// An error of a kind, with what was wrong and what to do.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(Details { kind, message: message.into(), param: None, code: None, extra: Map::new() }))
    }

    /// 400 without a field to blame.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Error::new(Kind::BadRequest, message)
    }

    /// 400 that names the field, header or query parameter.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Error::bad_request(message).with_param(param)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Error::new(Kind::NotFound, message)
    }

    /// 404 for a thread that does not exist for this caller, whoever else may have one of that name.
    pub fn thread_not_found() -> Self {
        Error::not_found(
            "No such thread for this resource. Check x-thread-id and x-resource-id: a thread belongs to the resource \
             that it was first used with.",
        )
        .with_param("x-thread-id")
    }

    /// 403 for a valid key.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Error::new(Kind::Forbidden, message)
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Error::new(Kind::Conflict, message)
    }

    /// 429.
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Error::new(Kind::RateLimited, message)
    }

    /// 500 whose cause is in the log and not in the answer.
    pub fn internal() -> Self {
        Error::new(
            Kind::Internal,
            "The gateway failed. Try again; if it persists, look for the request id in the Worker's log.",
        )
    }

    /// Names the field, header or query parameter at fault.
    #[must_use]
    pub fn with_param(mut self, param: &str) -> Self {
        self.0.param = Some(param.to_owned());
        self
    }

    /// Adds a machine-readable code.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = Some(code);
        self
    }

    /// Adds a field to the error object.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(field.to_owned(), value.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What was wrong and what to do.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The machine-readable code.
    pub fn code(&self) -> Option<&'static str> {
        self.0.code
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self.0.kind {
            Kind::BadRequest => 400,
            Kind::Unauthenticated => 401,
            Kind::BudgetExceeded => 402,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::MethodNotAllowed => 405,
            Kind::SlowBody => 408,
            Kind::Conflict => 409,
            Kind::TooLarge => 413,
            Kind::UnsupportedMediaType => 415,
            Kind::RateLimited => 429,
            Kind::ClientGone => 499,
            Kind::Internal => 500,
            Kind::Upstream => 502,
            Kind::Overloaded => 503,
            Kind::Timeout => 504,
            Kind::Refused(status) => status,
        }
    }

    /// The error's `type` on the wire.
    pub fn type_name(&self) -> &'static str {
        match self.0.kind {
            Kind::BadRequest | Kind::MethodNotAllowed | Kind::TooLarge | Kind::UnsupportedMediaType => {
                "invalid_request_error"
            }
            Kind::Unauthenticated => "authentication_error",
            Kind::BudgetExceeded => "budget_exceeded",
            Kind::Forbidden => "permission_error",
            Kind::Conflict => "conflict",
            Kind::RateLimited => "rate_limit_error",
            Kind::NotFound => "not_found",
            Kind::ClientGone => "client_closed_request",
            Kind::Internal => "server_error",
            Kind::Upstream => "upstream_error",
            Kind::Overloaded => "overloaded",
            Kind::Timeout | Kind::SlowBody => "timeout",
            Kind::Refused(status) => match status {
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found",
                429 => "rate_limit_error",
                400..=499 => "invalid_request_error",
                503 | 529 => "overloaded",
                504 => "timeout",
                _ => "upstream_error",
            },
        }
    }

    /// The body in the form that clients of an endpoint expect: Anthropic's for Messages, OpenAI's for all else.
    pub fn body_for(&self, dialect: Option<Dialect>, request_id: &str) -> Value {
        match dialect {
            Some(Dialect::Messages) => self.messages_body(request_id),
            Some(Dialect::Chat | Dialect::Responses | Dialect::Google) | None => self.body(),
        }
    }

    /// `{"type":"error","error":{"type","message"},"request_id"}`. The message names the field, so `param` and `code`,
    /// which the form does not have, are left out.
    fn messages_body(&self, request_id: &str) -> Value {
        let mut error = json!({"type": self.type_name(), "message": self.0.message});
        if let Value::Object(fields) = &mut error {
            fields.extend(self.0.extra.clone());
        }
        json!({"type": "error", "error": error, "request_id": request_id})
    }

    /// The body in the form of OpenAI's API: `{"error":{"message","type","param","code"}}`.
    pub fn body(&self) -> Value {
        let mut error = json!({
            "message": self.0.message,
            "type": self.type_name(),
            "param": self.0.param,
            "code": self.0.code,
        });
        if let Value::Object(fields) = &mut error {
            fields.extend(self.0.extra.clone());
        }
        json!({ "error": error })
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}: {}", self.status(), self.type_name(), self.0.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_all_four_fields_even_when_null() {
        assert_eq!(
            Error::bad_request("No.").body(),
            json!({"error": {"message": "No.", "type": "invalid_request_error", "param": null, "code": null}})
        );
        assert_eq!(
            Error::invalid("model", "No.").with_code("model_missing").with("provider", "openai").body(),
            json!({"error": {"message": "No.", "type": "invalid_request_error", "param": "model",
                             "code": "model_missing", "provider": "openai"}})
        );
    }

    #[test]
    fn clients_of_messages_get_the_form_of_anthropics_api() {
        let error = Error::invalid("messages", "No.").with_code("c").with("provider", "anthropic");
        assert_eq!(
            error.body_for(Some(Dialect::Messages), "req_1"),
            json!({"type": "error", "request_id": "req_1",
                   "error": {"type": "invalid_request_error", "message": "No.", "provider": "anthropic"}})
        );
        for dialect in [Some(Dialect::Chat), Some(Dialect::Responses), None] {
            assert_eq!(error.body_for(dialect, "req_1"), error.body());
        }
    }
}
