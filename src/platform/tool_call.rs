//! Carries out a call of one of the gateway's tools.
//!
//! Invariant: there is always an outcome, and within the deadline; only the caller's own thread and resource are looked
//! into.

use super::border::within;
use super::gateway_worker::Incoming;
use super::{recall, web_search};
use crate::keys::Principal;
use crate::memory::address::{Address, Scope};
use crate::project::Tool;
use crate::tools::outcome::ToolOutcome;
use crate::tools::recall::Reach;

/// Carries out a call: `arguments` is the JSON text that the model wrote. Never fails: an error is an outcome that the
/// model can read. `address` is the conversation that the call came up in; `recall` needs one.
pub async fn run(
    incoming: &Incoming,
    principal: &Principal,
    address: Option<&Address>,
    tool: Tool,
    arguments: &str,
    deadline_ms: u32,
) -> ToolOutcome {
    match (tool, address) {
        (Tool::WebSearch, _) => web_search::run(incoming, principal, arguments, deadline_ms).await,
        (Tool::Recall, Some(address)) => {
            let reach = Reach {
                resource: address.resource.clone(),
                thread: Some(address.thread.clone()),
                is_wide: scope(incoming, principal, address) == Scope::Resource,
            };
            let recalled =
                within(deadline_ms, recall::run(&incoming.env, principal, &reach, arguments)).await;
            recalled.unwrap_or_else(|| {
                ToolOutcome::failed(
                    "Memory did not answer in time. Go on without it, and say that you could not look.",
                )
            })
        }
        (Tool::Recall, None) => ToolOutcome::failed(
            "There is no memory in this conversation: the request names no thread. Answer from what you see.",
        ),
    }
}

/// How far memory reaches: as the request says, else its project, else the deployment.
fn scope(incoming: &Incoming, principal: &Principal, address: &Address) -> Scope {
    address.scope.or(principal.settings.memory.scope).unwrap_or(incoming.config.memory.scope)
}
