//! Observational memory over SQLite itself, with a scripted observer and reflector, a clock of its own and seeded chance.
//!
//! `MEMORY_SEEDS=10000 cargo test --test memory --release` runs the simulator for longer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unreachable
)]

#[path = "../support/mod.rs"]
mod support;

mod failures;
mod histories;
mod hygiene;
mod prompts;
mod reflection;
mod rewriting;
mod simulator;
mod triggers;
mod world;
