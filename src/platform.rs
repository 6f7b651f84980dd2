//! The thin shell on Cloudflare Workers: moves bytes between the client, the providers, the objects and D1.
//!
//! Invariant: no decision worth a test is made here; everything that can be wrong in an interesting way is in the core.

mod admin_api;
mod answer_turn;
mod attempts;
mod border;
mod budget_object;
mod budgets;
mod caller;
mod conveyor;
mod d1_index;
mod d1_keys;
mod d1_ledger;
mod delivery;
mod erasure;
#[cfg(feature = "fault-injection")]
mod fault;
mod gateway_worker;
mod inference;
mod key_limits;
mod key_object;
mod ledger;
mod log;
mod mcp_api;
mod memory_api;
mod meter;
mod model_call;
mod models_api;
mod object_call;
mod object_storage;
mod overhear;
mod pump;
mod recall;
mod report;
mod resource_client;
mod resource_object;
mod response_client;
mod response_object;
mod response_state;
mod responses_api;
mod search;
mod spans;
mod sql_database;
mod thread_client;
mod thread_object;
mod tool_call;
mod tool_rounds;
mod tool_stream;
mod tool_turn;
mod transaction;
mod unanswered;
mod unwind;
mod upstream;
mod web_search;
