//! The state behind the Responses API: what a response was asked and what it answered, so that a later request can go on
//! from it at any provider.
//!
//! Invariant: items are kept as the JSON texts that they came as and given out unchanged; everything here is synchronous
//! over a [`Database`](crate::memory::database::Database).

pub mod chain;
pub mod id;
pub mod items;
pub mod protocol;
pub mod request;
pub mod store;
