//! The management API below `/v1/gateway`: projects, their keys, the credentials bound to them, what they used.
//!
//! Invariant: nothing here is done before the administrator's token was checked, which the caller does; every statement
//! names the project, so that an id of another one is not found. What is secret is shown once, in the answer that makes
//! it, and never read back.

pub mod bindings;
pub mod fields;
pub mod keys;
pub mod projects;
pub mod token;

use serde_json::Value as Json;

use crate::api::percent_decoded;
use crate::config::Config;
use crate::error::Error;
use crate::ledger::write::Statement;
use crate::memory::database::Row;

/// What a management request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// All projects.
    Projects,
    /// One project.
    Project {
        /// Its id.
        project: String,
    },
    /// A project's keys.
    Keys {
        /// The project's id.
        project: String,
    },
    /// One key.
    Key {
        /// The project's id.
        project: String,
        /// The key's id.
        key: String,
    },
    /// A new secret for a key.
    RotatedKey {
        /// The project's id.
        project: String,
        /// The key's id.
        key: String,
    },
    /// The credentials of a project or key.
    Bindings(Owner),
    /// The credential of a project or key for a provider.
    Binding(Owner, String),
    /// All bindings, sealed anew under the current master key.
    Resealed,
    /// What a project used.
    Usage {
        /// The project's id.
        project: String,
        /// What exactly.
        of: Usage,
    },
}

/// Whose credentials are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The project's id.
    pub project: String,
    /// The key's id; empty for the project itself.
    pub key: String,
}

/// A question to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Requests over time.
    Activity,
    /// Memory's own calls over time.
    MemoryActivity,
    /// Requests one by one.
    Logs,
    /// One request, by its id.
    Log(String),
}

const READ: &[&str] = &["GET", "HEAD"];
const LIST: &[&str] = &["GET", "HEAD", "POST"];
const CHANGE: &[&str] = &["GET", "HEAD", "PATCH", "DELETE"];
const PUT: &[&str] = &["GET", "HEAD", "PUT", "DELETE"];
const DO: &[&str] = &["POST"];

/// Finds what a path below `/v1/gateway` is about, and the methods it takes.
pub fn resource(segments: &[&str]) -> Option<(Resource, &'static [&'static str])> {
    let segments: Vec<String> = segments.iter().map(|segment| percent_decoded(segment)).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = |text: &&str| (*text).to_owned();
    let owner = |project: &&str, key: &str| Owner { project: own(project), key: key.to_owned() };
    let usage = |project: &&str, of: Usage| (Resource::Usage { project: own(project), of }, READ);
    Some(match segments.as_slice() {
        ["projects"] => (Resource::Projects, LIST),
        ["projects", project] => (Resource::Project { project: own(project) }, CHANGE),
        ["projects", project, "keys"] => (Resource::Keys { project: own(project) }, LIST),
        ["projects", project, "keys", key] => {
            (Resource::Key { project: own(project), key: own(key) }, CHANGE)
        }
        ["projects", project, "keys", key, "rotate"] => {
            (Resource::RotatedKey { project: own(project), key: own(key) }, DO)
        }
        ["projects", project, "bindings"] => (Resource::Bindings(owner(project, "")), READ),
        ["projects", project, "bindings", provider] => {
            (Resource::Binding(owner(project, ""), own(provider)), PUT)
        }
        ["projects", project, "keys", key, "bindings"] => (Resource::Bindings(owner(project, key)), READ),
        ["projects", project, "keys", key, "bindings", provider] => {
            (Resource::Binding(owner(project, key), own(provider)), PUT)
        }
        ["projects", project, "usage", "activity"] => usage(project, Usage::Activity),
        ["projects", project, "usage", "memory-activity"] => usage(project, Usage::MemoryActivity),
        ["projects", project, "usage", "logs"] => usage(project, Usage::Logs),
        ["projects", project, "usage", "logs", request] => usage(project, Usage::Log(own(request))),
        ["bindings", "reseal"] => (Resource::Resealed, DO),
        _ => return None,
    })
}

/// Where statements run: D1, or SQLite in tests. Errors are the client's to see: 503.
pub trait Store {
    /// Runs a statement and gives its rows.
    fn rows(&self, statement: Statement) -> impl Future<Output = Result<Vec<Row>, Error>>;

    /// Runs statements that write, all or none.
    fn run(&self, statements: Vec<Statement>) -> impl Future<Output = Result<(), Error>>;
}

/// A management request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// One of the methods that its resource takes.
    pub method: &'a str,
    /// The URL's query.
    pub query: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// When it came, in Unix milliseconds.
    pub now: u64,
    /// Draws random bytes.
    pub random: fn() -> [u8; 32],
}

/// The answer to a management request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status: 200 or 201.
    pub status: u16,
    /// The body.
    pub body: Json,
}

impl Answer {
    fn ok(body: Json) -> Self {
        Answer { status: 200, body }
    }

    fn created(body: Json) -> Self {
        Answer { status: 201, body }
    }
}

/// Serves a management request, but for those about usage. Errors: 400 that names the field, 404, 409, 503.
pub async fn serve<S: Store>(
    store: &S,
    config: &Config,
    resource: &Resource,
    request: Request<'_>,
) -> Result<Answer, Error> {
    match (resource, request.method) {
        (Resource::Projects, "POST") => projects::create(store, request).await,
        (Resource::Projects, _) => projects::list(store, request).await,
        (Resource::Project { project }, "PATCH") => projects::change(store, request, project).await,
        (Resource::Project { project }, "DELETE") => projects::delete(store, request, project).await,
        (Resource::Project { project }, _) => projects::one(store, project).await,
        (Resource::Keys { project }, "POST") => keys::create(store, request, project).await,
        (Resource::Keys { project }, _) => keys::list(store, request, project).await,
        (Resource::Key { project, key }, "PATCH") => keys::change(store, request, project, key).await,
        (Resource::Key { project, key }, "DELETE") => keys::delete(store, request, project, key).await,
        (Resource::Key { project, key }, _) => keys::one(store, project, key).await,
        (Resource::RotatedKey { project, key }, _) => keys::rotate(store, request, project, key).await,
        (Resource::Bindings(owner), _) => bindings::list(store, owner).await,
        (Resource::Binding(owner, provider), method) => {
            let provider = bindings::provider(config, provider)?;
            match method {
                "PUT" => bindings::put(store, config, request, owner, provider).await,
                "DELETE" => bindings::delete(store, owner, provider).await,
                _ => bindings::one(store, owner, provider).await,
            }
        }
        (Resource::Resealed, _) => bindings::reseal(store, config, request).await,
        (Resource::Usage { project, .. }, _) => projects::one(store, project).await,
    }
}

/// A new id: a prefix and 64 random bits.
fn new_id(prefix: &str, random: [u8; 32]) -> String {
    let digits: String = crate::turn::hex(&random).chars().take(16).collect();
    format!("{prefix}{digits}")
}

/// A page's bounds as values for `LIMIT` and `OFFSET`.
fn bounds(query: &str) -> Result<(u64, u64), Error> {
    let page = crate::api::Page::read(query)?;
    Ok((page.limit.into(), page.offset.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_resources_with_their_methods() {
        let found = |path: &str| resource(&path.split('/').collect::<Vec<_>>());
        let owner = |key: &str| Owner { project: "p".into(), key: key.into() };
        assert_eq!(found("projects"), Some((Resource::Projects, LIST)));
        assert_eq!(found("projects/a%2Fb"), Some((Resource::Project { project: "a/b".into() }, CHANGE)));
        assert_eq!(
            found("projects/p/keys/k/rotate"),
            Some((Resource::RotatedKey { project: "p".into(), key: "k".into() }, DO))
        );
        assert_eq!(
            found("projects/p/bindings/openai"),
            Some((Resource::Binding(owner(""), "openai".into()), PUT))
        );
        assert_eq!(found("projects/p/keys/k/bindings"), Some((Resource::Bindings(owner("k")), READ)));
        assert_eq!(
            found("projects/p/usage/logs/req_1"),
            Some((Resource::Usage { project: "p".into(), of: Usage::Log("req_1".into()) }, READ))
        );
        for path in ["", "project", "projects/p/key", "projects/p/usage", "bindings"] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
