//! memory-gateway: an OpenAI-compatible gateway that remembers.
//!
//! Everything with a decision in it is here, plain Rust without I/O: time, identifiers, randomness and storage are
//! arguments. [`platform`](self) is the thin shell on Cloudflare Workers, and the only part that may use `worker`;
//! a native build leaves it out, so the compiler keeps that border.

pub mod access;
pub mod admin;
pub mod api;
pub mod attempts;
pub mod auth;
pub mod bindings;
pub mod body;
pub mod budget;
pub mod cache;
pub mod carriage;
pub mod config;
pub mod deadlines;
pub mod dialect;
pub mod erasure;
pub mod error;
pub mod frame;
pub mod free_text;
pub mod gather;
pub mod grant;
pub mod headers;
pub mod idempotency;
pub mod key_cache;
pub mod key_lookup;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod mcp;
pub mod memory;
pub mod models;
pub mod object_failure;
pub mod observe;
pub mod operation;
pub mod outbox;
pub mod plan;
pub mod portable;
pub mod project;
pub mod prompt;
pub mod protocol;
pub mod providers;
pub mod redact;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod resource;
pub mod responses;
pub mod route;
pub mod seal;
pub mod sse;
pub mod thread;
pub mod time;
pub mod tokens;
pub mod tools;
pub mod trace;
pub mod translate;
pub mod turn;
pub mod usage_filter;
pub mod vault;
pub mod way;

#[cfg(target_family = "wasm")]
mod platform;
