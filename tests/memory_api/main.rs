//! What the memory API does to a thread, over SQLite itself.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../memory/world.rs"]
#[allow(dead_code)]
mod world;

mod details;
mod forms;
mod index;
mod posting;
