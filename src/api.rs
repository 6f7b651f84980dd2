//! The HTTP surface: from method and path to an endpoint.
//!
//! Invariant: the one list of routes. A path with doubled or trailing slashes means the same as without, and what lies
//! in a path segment is percent-decoded here and nowhere else.

use crate::admin::{self, Resource};
use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::grant::Part;
use crate::limits::Scope;
use crate::memory;
use crate::operation::Operation;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /health`.
    Health,
    /// `GET /openapi.json`.
    OpenApi,
    /// `POST /v1/chat/completions` and its siblings.
    Inference(Operation),
    /// `GET /v1/responses/{id}`.
    Response {
        /// The response's id, decoded.
        id: String,
    },
    /// `DELETE /v1/responses/{id}`.
    DeleteResponse {
        /// The response's id, decoded.
        id: String,
    },
    /// `GET /v1/responses/{id}/input_items`.
    ResponseInputItems {
        /// The response's id, decoded.
        id: String,
    },
    /// `GET /v1/models`.
    Models,
    /// `GET /v1/models/{id}`.
    Model {
        /// The model's id, decoded; its own slashes need not be encoded.
        id: String,
    },
    /// What is below `/v1/memory`.
    Memory(memory::api::Resource),
    /// `POST /mcp`: the Model Context Protocol.
    Mcp,
    /// What is below `/v1/gateway`.
    Management(Resource),
}

impl Endpoint {
    /// The part of the API that rules of keys name; `None` for what wants no gateway key.
    pub fn part(&self) -> Option<Part> {
        Some(match self {
            Endpoint::Health | Endpoint::OpenApi | Endpoint::Management(_) => return None,
            Endpoint::Inference(Operation::Embeddings) => Part::Embeddings,
            Endpoint::Inference(operation) => match operation.dialect() {
                Dialect::Responses => Part::Responses,
                Dialect::Messages => Part::Messages,
                Dialect::Chat | Dialect::Google => Part::Chat,
            },
            Endpoint::Response { .. }
            | Endpoint::DeleteResponse { .. }
            | Endpoint::ResponseInputItems { .. } => Part::Responses,
            Endpoint::Models | Endpoint::Model { .. } => Part::Models,
            Endpoint::Memory(_) | Endpoint::Mcp => Part::Memory,
        })
    }

    /// What a request with this method is counted as; `None` for what wants no gateway key.
    pub fn scope(&self, method: &str) -> Option<Scope> {
        match self.part()? {
            // What a message asks is known when it was read; tools that write are counted again then.
            Part::Memory if matches!(method, "GET" | "HEAD") || *self == Endpoint::Mcp => {
                Some(Scope::MemoryRead)
            }
            Part::Memory => Some(Scope::MemoryWrite),
            _ => Some(Scope::LlmProxy),
        }
    }
}

/// Finds the endpoint. Errors: 404 for an unknown path, 405 with the methods that a known one has.
pub fn endpoint(method: &str, path: &str) -> Result<Endpoint, Error> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (endpoint, methods) = match segments.as_slice() {
        ["health"] => (Endpoint::Health, READ),
        ["openapi.json"] => (Endpoint::OpenApi, READ),
        ["v1", "chat", "completions"] => (Endpoint::Inference(Operation::Answer(Dialect::Chat)), WRITE),
        ["v1", "responses"] => (Endpoint::Inference(Operation::Answer(Dialect::Responses)), WRITE),
        ["v1", "responses", id] if method == "DELETE" => {
            (Endpoint::DeleteResponse { id: percent_decoded(id) }, READ_AND_DELETE)
        }
        ["v1", "responses", id] => (Endpoint::Response { id: percent_decoded(id) }, READ_AND_DELETE),
        ["v1", "responses", id, "input_items"] => {
            (Endpoint::ResponseInputItems { id: percent_decoded(id) }, READ)
        }
        ["v1", "messages"] => (Endpoint::Inference(Operation::Answer(Dialect::Messages)), WRITE),
        ["v1", "messages", "count_tokens"] => (Endpoint::Inference(Operation::CountTokens), WRITE),
        ["v1", "embeddings"] => (Endpoint::Inference(Operation::Embeddings), WRITE),
        ["v1", "models"] => (Endpoint::Models, READ),
        ["v1", "models", id @ ..] => (Endpoint::Model { id: percent_decoded(&id.join("/")) }, READ),
        ["v1", "memory", rest @ ..] => match memory::api::resource(rest) {
            Some((resource, methods)) => (Endpoint::Memory(resource), methods),
            None => return Err(no_such_path(path)),
        },
        ["mcp"] => (Endpoint::Mcp, WRITE),
        ["v1", "gateway", rest @ ..] => match admin::resource(rest) {
            Some((resource, methods)) => (Endpoint::Management(resource), methods),
            None => return Err(no_such_path(path)),
        },
        _ => return Err(no_such_path(path)),
    };
    if methods.contains(&method) {
        return Ok(endpoint);
    }
    let allow = methods.join(", ");
    Err(Error::new(Kind::MethodNotAllowed, format!("This path takes {allow}, not {method}."))
        .with("allow", allow))
}

fn no_such_path(path: &str) -> Error {
    Error::not_found(format!(
        "No such path: {}. The base URL of the gateway ends in /v1, for example https://gateway.example.com/v1.",
        path.chars().take(200).collect::<String>()
    ))
}

/// The dialect whose clients call a path, whatever the method and the outcome: their errors have its form.
pub fn dialect_of(path: &str) -> Option<Dialect> {
    match endpoint("POST", path) {
        Ok(Endpoint::Inference(operation)) => Some(operation.dialect()),
        _ => None,
    }
}

const READ: &[&str] = &["GET", "HEAD"];
const READ_AND_DELETE: &[&str] = &["GET", "HEAD", "DELETE"];
const WRITE: &[&str] = &["POST"];

/// The text behind percent-encoding; a text that is not valid as such stays as it is.
pub fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let escaped = tail
            .get(..2)
            .filter(|_| *byte == b'%')
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(escaped.unwrap_or(*byte));
        rest = tail.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A query parameter, decoded.
pub fn query_parameter(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| percent_decoded(&value.replace('+', " ")))
}

/// What to look for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    /// The thread's id; `None` for all threads of the resource.
    pub thread: Option<String>,
    /// The resource's id; `None` for a thread of any resource.
    pub resource: Option<String>,
    /// The question: any words.
    pub query: String,
    /// How many results at most.
    pub limit: u32,
}

impl SearchQuery {
    /// The longest question, in bytes.
    const MAX_BYTES: usize = 2_000;

    /// Reads `q`, `threadId`, `resourceId` and `limit` (default 10, clamped to 100) from a query. Errors: 400 that names the
    /// parameter.
    pub fn read(query: &str) -> Result<Self, Error> {
        let given = |name: &str| query_parameter(query, name).filter(|value| !value.trim().is_empty());
        let Some(question) = given("q").filter(|question| question.len() <= Self::MAX_BYTES) else {
            return Err(Error::invalid(
                "q",
                format!("Say in `q` what to look for, in at most {} bytes.", Self::MAX_BYTES),
            ));
        };
        let (thread, resource) = (given("threadId"), given("resourceId"));
        if thread.is_none() && resource.is_none() {
            return Err(Error::invalid(
                "threadId",
                "Say in `threadId` which thread to search, or in `resourceId` whose threads.",
            ));
        }
        let limit = match given("limit") {
            None => 10,
            Some(text) => text.parse::<u32>().ok().filter(|limit| *limit > 0).ok_or_else(|| {
                Error::invalid(
                    "limit",
                    format!("`limit` must be a whole number of at least 1, not `{text}`."),
                )
            })?,
        };
        Ok(SearchQuery { thread, resource, query: question, limit: limit.min(100) })
    }
}

/// A page of a list: how many, from where, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many at most.
    pub limit: u32,
    /// How many to pass over.
    pub offset: u32,
    /// Newest first.
    pub descending: bool,
}

impl Page {
    /// Reads `limit` (default 50, clamped to 200), `offset` and `order` from a query. Errors: 400 that names the
    /// parameter.
    pub fn read(query: &str) -> Result<Self, Error> {
        let descending = is_descending(query, false)?;
        Ok(Page {
            limit: number(query, "limit", 50)?.min(200),
            offset: number(query, "offset", 0)?,
            descending,
        })
    }
}

/// A page of a list in OpenAI's manner: how many, after which element, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// How many at most.
    pub limit: u32,
    /// Newest first.
    pub descending: bool,
    /// The id of the element that the page comes after.
    pub after: Option<String>,
}

impl Cursor {
    /// Reads `limit` (default 20, clamped to 1..100), `order` (default desc) and `after` from a query. Errors: 400 that
    /// names the parameter.
    pub fn read(query: &str) -> Result<Self, Error> {
        Ok(Cursor {
            limit: number(query, "limit", 20)?.clamp(1, 100),
            descending: is_descending(query, true)?,
            after: query_parameter(query, "after").filter(|id| !id.is_empty()),
        })
    }
}

fn number(query: &str, name: &str, default: u32) -> Result<u32, Error> {
    match query_parameter(query, name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Error::invalid(name, format!("The parameter `{name}` must be a whole number."))),
    }
}

fn is_descending(query: &str, default: bool) -> Result<bool, Error> {
    match query_parameter(query, "order").as_deref() {
        None => Ok(default),
        Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(_) => Err(Error::invalid("order", "The parameter `order` must be asc or desc.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_endpoints_whatever_their_slashes() {
        for path in ["/v1/chat/completions", "//v1/chat/completions", "/v1/chat/completions/"] {
            assert_eq!(
                endpoint("POST", path),
                Ok(Endpoint::Inference(Operation::Answer(Dialect::Chat))),
                "{path}"
            );
        }
        assert_eq!(
            endpoint("POST", "/v1/responses"),
            Ok(Endpoint::Inference(Operation::Answer(Dialect::Responses)))
        );
        assert_eq!(
            endpoint("POST", "//v1/messages/"),
            Ok(Endpoint::Inference(Operation::Answer(Dialect::Messages)))
        );
        assert_eq!(endpoint("HEAD", "/health"), Ok(Endpoint::Health));
        for path in ["/v1/models/openai/gpt-5", "/v1/models/openai%2Fgpt-5"] {
            assert_eq!(endpoint("GET", path), Ok(Endpoint::Model { id: "openai/gpt-5".into() }));
        }
        assert_eq!(
            endpoint("GET", "/v1/memory/threads/a%2Fb%20%C3%A9/messages"),
            Ok(Endpoint::Memory(memory::api::Resource::Messages { thread: "a/b é".into() }))
        );
    }

    #[test]
    fn a_response_is_read_or_deleted_by_its_decoded_id() {
        let id = || "gen-1/é".to_owned();
        for method in ["GET", "HEAD"] {
            assert_eq!(endpoint(method, "/v1/responses/gen-1%2F%C3%A9"), Ok(Endpoint::Response { id: id() }));
            assert_eq!(
                endpoint(method, "/v1/responses/gen-1%2F%C3%A9/input_items/"),
                Ok(Endpoint::ResponseInputItems { id: id() })
            );
        }
        assert_eq!(
            endpoint("DELETE", "/v1/responses/gen-1%2F%C3%A9"),
            Ok(Endpoint::DeleteResponse { id: id() })
        );
    }

    #[test]
    fn each_endpoint_belongs_to_a_part_and_is_counted_in_a_scope() {
        for (method, path, part, scope) in [
            ("POST", "/v1/chat/completions", Some(Part::Chat), Some(Scope::LlmProxy)),
            ("POST", "/v1/responses", Some(Part::Responses), Some(Scope::LlmProxy)),
            ("GET", "/v1/responses/r", Some(Part::Responses), Some(Scope::LlmProxy)),
            ("DELETE", "/v1/responses/r", Some(Part::Responses), Some(Scope::LlmProxy)),
            ("GET", "/v1/responses/r/input_items", Some(Part::Responses), Some(Scope::LlmProxy)),
            ("POST", "/v1/messages", Some(Part::Messages), Some(Scope::LlmProxy)),
            ("POST", "/v1/messages/count_tokens", Some(Part::Messages), Some(Scope::LlmProxy)),
            ("POST", "/v1/embeddings", Some(Part::Embeddings), Some(Scope::LlmProxy)),
            ("GET", "/v1/models", Some(Part::Models), Some(Scope::LlmProxy)),
            ("GET", "/v1/models/m", Some(Part::Models), Some(Scope::LlmProxy)),
            ("GET", "/v1/memory/threads/t/messages", Some(Part::Memory), Some(Scope::MemoryRead)),
            ("POST", "/mcp", Some(Part::Memory), Some(Scope::MemoryRead)),
            ("HEAD", "/v1/memory/threads/t/messages", Some(Part::Memory), Some(Scope::MemoryRead)),
            ("GET", "/health", None, None),
            ("GET", "/openapi.json", None, None),
            ("GET", "/v1/gateway/projects", None, None),
        ] {
            let found = endpoint(method, path).unwrap();
            assert_eq!((found.part(), found.scope(method)), (part, scope), "{method} {path}");
        }
        let messages = Endpoint::Memory(memory::api::Resource::Messages { thread: "t".into() });
        assert_eq!(messages.scope("POST"), Some(Scope::MemoryWrite));
    }

    #[test]
    fn an_unknown_path_is_404_and_a_wrong_method_405_with_the_right_ones() {
        assert_eq!(endpoint("POST", "/v1/nothing").unwrap_err().status(), 404);
        assert_eq!(endpoint("POST", "/").unwrap_err().status(), 404);
        assert_eq!(endpoint("GET", "/v1/responses/r/nothing").unwrap_err().status(), 404);
        assert_eq!(endpoint("GET", "/v1/gateway/nothing").unwrap_err().status(), 404);
        assert_eq!(endpoint("GET", "/v1/memory/nothing").unwrap_err().status(), 404);
        assert_eq!(endpoint("PUT", "/v1/gateway/projects").unwrap_err().status(), 405);
        let error = endpoint("POST", "/v1/responses/r").unwrap_err();
        assert_eq!(
            (error.status(), error.body()["error"]["allow"].as_str()),
            (405, Some("GET, HEAD, DELETE"))
        );
        let error = endpoint("GET", "/v1/responses").unwrap_err();
        assert_eq!((error.status(), error.body()["error"]["allow"].as_str()), (405, Some("POST")));
    }

    #[test]
    fn the_dialect_of_a_path_does_not_depend_on_the_method() {
        for (path, dialect) in [
            ("//v1/messages/", Some(Dialect::Messages)),
            ("/v1/responses", Some(Dialect::Responses)),
            ("/v1/memory/threads/t/messages", None),
            ("/health", None),
            ("/v1/nothing", None),
        ] {
            assert_eq!(dialect_of(path), dialect, "{path}");
        }
    }

    #[test]
    fn percent_encoding_is_undone_only_where_it_is_one() {
        for (text, decoded) in
            [("a%20b", "a b"), ("100%", "100%"), ("%zz%2", "%zz%2"), ("%ff", "%ff"), ("%+1", "%+1")]
        {
            assert_eq!(percent_decoded(text), decoded);
        }
    }

    #[test]
    fn a_cursor_is_clamped_and_a_bad_one_named() {
        assert_eq!(Cursor::read("after="), Ok(Cursor { limit: 20, descending: true, after: None }));
        assert_eq!(
            Cursor::read("limit=5000&after=msg%5F1&order=asc"),
            Ok(Cursor { limit: 100, descending: false, after: Some("msg_1".into()) })
        );
        assert_eq!(Cursor::read("limit=0").map(|cursor| cursor.limit), Ok(1));
        for (query, param) in [("limit=x", "limit"), ("limit=-1", "limit"), ("order=up", "order")] {
            assert_eq!(Cursor::read(query).unwrap_err().body()["error"]["param"], param);
        }
    }

    #[test]
    fn a_page_is_clamped_and_a_bad_one_named() {
        assert_eq!(Page::read(""), Ok(Page { limit: 50, offset: 0, descending: false }));
        assert_eq!(
            Page::read("limit=5000&offset=7&order=desc"),
            Ok(Page { limit: 200, offset: 7, descending: true })
        );
        for (query, param) in [("limit=x", "limit"), ("offset=-1", "offset"), ("order=up", "order")] {
            assert_eq!(Page::read(query).unwrap_err().body()["error"]["param"], param);
        }
    }

    #[test]
    fn a_search_says_where_and_for_what() {
        let read = |query: &str| {
            SearchQuery::read(query)
                .map(|read| (read.thread, read.resource, read.query, read.limit))
                .map_err(|error| error.body()["error"]["param"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(
            read("q=tea%20or+coffee&threadId=a%2Fb&limit=500"),
            Ok((Some("a/b".into()), None, "tea or coffee".into(), 100))
        );
        assert_eq!(read("q=tea&threadId=t").map(|read| read.3), Ok(10));
        assert_eq!(read("q=tea&resourceId=r%20s"), Ok((None, Some("r s".into()), "tea".into(), 10)));
        assert_eq!(read("threadId=t"), Err("q".into()));
        assert_eq!(read("q=%20&threadId=t"), Err("q".into()));
        assert_eq!(read("q=tea"), Err("threadId".into()));
        assert_eq!(read("q=tea&threadId=t&limit=0"), Err("limit".into()));
    }
}
