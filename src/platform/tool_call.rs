//! Carries out a call of one of the gateway's tools.
//!
//! Invariant: there is always an outcome, and within the deadline; only the caller's own thread and resource are looked
//! into.

use super::border::within;
use super::gateway_worker::Incoming;
use super::web_search;
use crate::keys::Principal;
use crate::memory::address::Address;
use crate::project::Tool;
use crate::tools::outcome::ToolOutcome;

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
    let work = async {
        match tool {
            Tool::WebSearch => web_search::run(incoming, principal, arguments, deadline_ms).await,
            Tool::Recall => ToolOutcome::failed("Nothing can be recalled here. Answer from what you see."),
        }
    };
    let _ = address;
    within(deadline_ms, work).await.unwrap_or_else(|| {
        ToolOutcome::failed(format!(
            "The tool did not answer within {} s. Go on without it, and say that it could not be used.",
            deadline_ms.div_ceil(1_000)
        ))
    })
}
