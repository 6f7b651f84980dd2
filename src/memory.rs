//! Memory: which conversation a request belongs to, what is stored of it, and what is put before the model.
//!
//! Invariant: everything here is synchronous over a [`database::Database`]; nothing calls a model or a network.

pub mod activation;
pub mod address;
pub mod anchors;
pub mod api;
pub mod asking;
pub mod branch;
pub mod cache_lifetime;
pub mod context;
pub mod cycle;
pub mod database;
pub mod degenerate;
pub mod erasure;
pub mod fault;
pub mod gap;
pub mod hygiene;
pub mod index;
pub mod injection;
pub mod inner;
pub mod news;
pub mod note;
pub mod note_id;
pub mod observer;
pub mod plan;
pub mod profile;
pub mod public;
pub mod reconcile;
pub mod record;
pub mod reflector;
pub mod render;
pub mod rewrite;
pub mod schema;
pub mod search;
pub mod secrets;
pub mod settings;
pub mod state;
pub mod store;
pub mod transcript;
