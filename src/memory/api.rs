//! The memory API below `/v1/memory`: what a path is about, and the methods it takes.
//!
//! Invariant: the one list of its routes; an id in a path is decoded here and nowhere else.

pub mod body;
pub mod messages;
pub mod threads;

use crate::api::percent_decoded;

/// What a memory request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A project's threads.
    Threads,
    /// One thread.
    Thread {
        /// Its id.
        thread: String,
    },
    /// A thread's messages.
    Messages {
        /// The thread's id.
        thread: String,
    },
    /// A thread's log of notes, as it stands in prompts.
    Observations {
        /// The thread's id.
        thread: String,
    },
    /// How a thread's memory stands.
    ObservationRecord {
        /// The thread's id.
        thread: String,
    },
    /// What a thread's memory does otherwise than its project's.
    ObservationConfig {
        /// The thread's id.
        thread: String,
    },
    /// What was said and noted, by words.
    Search,
    /// All resources.
    Resources,
    /// One resource.
    Resource {
        /// Its id.
        resource: String,
    },
    /// What is known of a resource.
    Profile {
        /// The resource's id.
        resource: String,
    },
}

const READ: &[&str] = &["GET", "HEAD"];
const LIST: &[&str] = &["GET", "HEAD", "POST"];
const MESSAGES: &[&str] = &["GET", "HEAD", "POST", "DELETE"];
const READ_AND_DELETE: &[&str] = &["GET", "HEAD", "DELETE"];
const ONE: &[&str] = &["GET", "HEAD", "PATCH", "DELETE"];
const CHANGE: &[&str] = &["PATCH"];

/// Finds what a path below `/v1/memory` is about, and the methods it takes.
pub fn resource(segments: &[&str]) -> Option<(Resource, &'static [&'static str])> {
    let segments: Vec<String> = segments.iter().map(|segment| percent_decoded(segment)).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = |id: &&str| (*id).to_owned();
    Some(match segments.as_slice() {
        ["threads"] => (Resource::Threads, LIST),
        ["threads", thread] => (Resource::Thread { thread: own(thread) }, ONE),
        ["threads", thread, "messages"] => (Resource::Messages { thread: own(thread) }, MESSAGES),
        ["threads", thread, "observations"] => (Resource::Observations { thread: own(thread) }, READ),
        ["threads", thread, "observations", "record"] => {
            (Resource::ObservationRecord { thread: own(thread) }, READ)
        }
        ["threads", thread, "observations", "config"] => {
            (Resource::ObservationConfig { thread: own(thread) }, CHANGE)
        }
        ["resources"] => (Resource::Resources, READ),
        ["resources", resource] => (Resource::Resource { resource: own(resource) }, READ_AND_DELETE),
        ["resources", resource, "profile"] => (Resource::Profile { resource: own(resource) }, READ),
        ["search"] => (Resource::Search, READ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_decoded_once_and_never_mistaken_for_a_part_of_the_path() {
        let thread = |id: &str| Resource::Thread { thread: id.into() };
        for (segment, id) in
            [("a%2Fb%20%C3%A9", "a/b é"), ("a:b", "a:b"), ("messages", "messages"), ("a%252F", "a%2F")]
        {
            assert_eq!(resource(&["threads", segment]), Some((thread(id), ONE)), "{segment}");
        }
        assert_eq!(
            resource(&["threads", "observations", "observations", "record"]),
            Some((Resource::ObservationRecord { thread: "observations".into() }, READ))
        );
        assert_eq!(resource(&["threads", "a", "b", "messages"]), None);
        assert_eq!(resource(&[]), None);
    }
}
