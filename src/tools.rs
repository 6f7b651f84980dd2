//! The tools that the gateway itself carries out for a model: what they are called, what they take, what they answer.
//!
//! Invariant: what a tool found is data. It comes framed and bounded, no text in it can close the frame, and nothing goes
//! wrong that the model is not told in words.

pub mod ask;
pub mod cite;
pub mod definition;
pub mod frame;
pub mod limits;
pub mod offer;
pub mod outcome;
pub mod recall;
pub mod rounds;
pub mod steps;
pub mod web_search;
