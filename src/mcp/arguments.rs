//! What a call of a tool means: whose memory, and what is to be done with it.
//!
//! Invariant: no call leaves the resource and the thread that the connection's headers name.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::message::{INVALID_PARAMS, Request};
use crate::error::Error;
use crate::headers::Headers;
use crate::memory::address::{check_id, id};
use crate::tools::frame::one_line;
use crate::tools::recall::{Reach, Reference, Target};

/// The longest text to remember, in characters.
const MAX_TEXT_CHARS: usize = 2_000;
/// The most notes and messages that are forgotten at once.
const MAX_FORGOTTEN: usize = 50;
/// How many threads are listed where the call does not say, and at most.
const DEFAULT_THREADS: u32 = 50;
const MAX_THREADS: u32 = 200;

/// What the headers of a connection settle for every call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// `x-resource-id`.
    pub resource: Option<String>,
    /// `x-thread-id`.
    pub thread: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// To look something up; the arguments are those of the tool.
    Recall(Reach, Value),
    /// To note something in a thread.
    Remember {
        /// Its owner.
        resource: String,
        /// The thread.
        thread: String,
        /// What, on one line.
        text: String,
    },
    /// To look what a question means that could be forgotten.
    FindForgettable(Reach, String),
    /// To forget notes and messages.
    Forget {
        /// The owner of all of them.
        resource: String,
        /// What is meant, by the threads' ids.
        meant: BTreeMap<String, Meant>,
    },
    /// To list threads.
    ListThreads(ListThreads),
}

/// What is to be forgotten of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// The notes' numbers.
    pub notes: Vec<i64>,
    /// The messages' public ids.
    pub messages: Vec<String>,
}

impl Call {
    /// True for a call that changes what is remembered.
    pub fn writes(&self) -> bool {
        match self {
            Call::Remember { .. } | Call::Forget { .. } => true,
            Call::Recall(..) | Call::FindForgettable(..) | Call::ListThreads(_) => false,
        }
    }
}

/// Which threads are to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListThreads {
    /// Their owner.
    pub resource: String,
    /// At most so many.
    pub limit: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whose {
    resource_id: Option<String>,
    thread_id: Option<String>,
}

impl Bound {
    /// Reads the headers. Errors: 400 for ids that cannot be, and for a thread without its owner.
    pub fn read(headers: Headers<'_>) -> Result<Self, Error> {
        let thread = id(headers, "x-thread-id", "x-sm-conversation-id")?;
        let resource = id(headers, "x-resource-id", "x-sm-user-id")?;
        if thread.is_some() && resource.is_none() {
            return Err(Error::invalid(
                "x-resource-id",
                "x-thread-id needs x-resource-id beside it: the id of the user or entity that owns the thread.",
            ));
        }
        Ok(Bound { resource, thread })
    }

    /// Reads a `tools/call`. Errors: a code of JSON-RPC with what is wrong, for a tool that is not there; the inner one is for
    /// the model, for arguments that it can mend.
    pub fn read_call(&self, request: &Request) -> Result<Result<Call, String>, (i32, String)> {
        let name = request.params.get("name").and_then(Value::as_str).unwrap_or_default();
        let arguments = match request.params.get("arguments") {
            None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
            Some(arguments @ Value::Object(_)) => arguments.clone(),
            Some(_) => return Err((INVALID_PARAMS, "`arguments` must be an object.".to_owned())),
        };
        Ok(match name {
            "recall" => self.whose(&arguments).map(|whose| Call::Recall(whose.reach(), arguments)),
            "remember" => self.remember(&arguments),
            "forget" => self.forget(&arguments),
            "list_threads" => self.list_threads(&arguments),
            _ => {
                let known = "recall, remember, forget, list_threads";
                return Err((INVALID_PARAMS, format!("There is no such tool. There are: {known}.")));
            }
        })
    }

    /// Whose memory a call means.
    fn whose(&self, arguments: &Value) -> Result<Owned, String> {
        let given: Whose = read(arguments)?;
        let settled = |name: &str, bound: &Option<String>, given: Option<String>| match (bound, given) {
            (Some(bound), Some(given)) if *bound != given => Err(format!(
                "`{name}` is settled by this connection's headers and cannot be another one. Leave it out."
            )),
            (Some(bound), _) => Ok(Some(bound.clone())),
            (None, given) => Ok(given.filter(|id| !id.is_empty())),
        };
        let resource = settled("resourceId", &self.resource, given.resource_id)?;
        let thread = settled("threadId", &self.thread, given.thread_id)?;
        let resource = resource.ok_or(
            "Say in `resourceId` whose memory is meant, or send the header x-resource-id with the connection.",
        )?;
        for (name, id) in [("resourceId", Some(&resource)), ("threadId", thread.as_ref())] {
            if let Some(id) = id {
                check_id(name, id).map_err(|error| error.message().to_owned())?;
            }
        }
        Ok(Owned { resource, thread })
    }

    fn remember(&self, arguments: &Value) -> Result<Call, String> {
        #[derive(Deserialize)]
        struct Given {
            text: String,
        }
        let Owned { resource, thread } = self.whose(arguments)?;
        let text = one_line(&read::<Given>(arguments)?.text, usize::MAX);
        if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS {
            return Err(format!("`text` must say what to remember, in 1 to {MAX_TEXT_CHARS} characters."));
        }
        let thread = thread.ok_or(
            "Say in `threadId` which conversation it belongs to, or send the header x-thread-id with the connection: there are \
             no notes outside of conversations. list_threads shows what there is; an id that is not among them begins one.",
        )?;
        Ok(Call::Remember { resource, thread, text })
    }

    fn forget(&self, arguments: &Value) -> Result<Call, String> {
        #[derive(Deserialize)]
        struct Given {
            query: Option<String>,
            notes: Option<Vec<String>>,
            messages: Option<Vec<String>>,
        }
        let owned = self.whose(arguments)?;
        let given: Given = read(arguments)?;
        let query = given.query.filter(|query| !query.trim().is_empty());
        let (notes, messages) = (given.notes.unwrap_or_default(), given.messages.unwrap_or_default());
        match (query, notes.len() + messages.len()) {
            (Some(query), 0) => Ok(Call::FindForgettable(owned.reach(), query)),
            (None, 1..=MAX_FORGOTTEN) => {
                let mut meant: BTreeMap<String, Meant> = BTreeMap::new();
                for text in &notes {
                    let wrong = || {
                        format!("`{text}` is no note's reference. Those look like note_7 or note_7@thread.")
                    };
                    match owned.named(text).ok_or_else(wrong)? {
                        (thread, Target::Note(number)) => {
                            meant.entry(thread?).or_default().notes.push(number);
                        }
                        (_, Target::Message(_)) => return Err(wrong()),
                    }
                }
                for text in &messages {
                    let wrong = || {
                        format!(
                            "`{text}` is no message's reference. Those look like msg_7f or msg_7f@thread."
                        )
                    };
                    match owned.named(text).ok_or_else(wrong)? {
                        (thread, Target::Message(id)) => {
                            meant.entry(thread?).or_default().messages.push(id);
                        }
                        (_, Target::Note(_)) => return Err(wrong()),
                    }
                }
                Ok(Call::Forget { resource: owned.resource, meant })
            }
            (None, 1..) => {
                Err(format!("At most {MAX_FORGOTTEN} notes and messages can be forgotten at once."))
            }
            _ => Err(
                "Give either `query` to see what would be forgotten, or `notes` and `messages` to forget."
                    .to_owned(),
            ),
        }
    }

    fn list_threads(&self, arguments: &Value) -> Result<Call, String> {
        #[derive(Deserialize)]
        struct Given {
            limit: Option<u32>,
        }
        let Owned { resource, .. } = self.whose(arguments)?;
        let limit = read::<Given>(arguments)?.limit.unwrap_or(DEFAULT_THREADS).clamp(1, MAX_THREADS);
        Ok(Call::ListThreads(ListThreads { resource, limit }))
    }
}

/// Whose memory is meant.
struct Owned {
    resource: String,
    thread: Option<String>,
}

impl Owned {
    /// A thread alone where one is named, else all of the resource's.
    fn reach(&self) -> Reach {
        Reach { resource: self.resource.clone(), thread: self.thread.clone(), is_wide: self.thread.is_none() }
    }

    /// What a reference means, and in which thread; the thread is an error where it is not said or out of reach. `None` for
    /// what is no reference.
    fn named(&self, text: &str) -> Option<(Result<String, String>, Target)> {
        let reference = Reference::read(text.trim())?;
        let thread = self.reach().thread_of(&reference).ok_or_else(|| {
            format!("It is not clear which conversation `{text}` belongs to, or it is out of reach. Say it in `threadId`.")
        });
        Some((thread, reference.target))
    }
}

fn read<T: for<'de> Deserialize<'de>>(arguments: &Value) -> Result<T, String> {
    T::deserialize(arguments).map_err(|error| format!("The arguments cannot be read: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bound(resource: Option<&str>, thread: Option<&str>) -> Bound {
        Bound { resource: resource.map(str::to_owned), thread: thread.map(str::to_owned) }
    }

    fn call(bound: &Bound, name: &str, arguments: Value) -> Result<Call, String> {
        let params = json!({"name": name, "arguments": arguments});
        bound.read_call(&Request { id: json!(1), method: "tools/call".into(), params }).unwrap()
    }

    #[test]
    fn a_call_never_leaves_what_the_headers_name() {
        let ann = bound(Some("ann"), Some("t"));
        for (name, arguments) in [
            ("recall", json!({"query": "q", "resourceId": "bob"})),
            ("recall", json!({"query": "q", "threadId": "other"})),
            ("remember", json!({"text": "x", "resourceId": "bob"})),
            ("forget", json!({"query": "q", "resourceId": "bob"})),
            ("list_threads", json!({"resourceId": "bob"})),
        ] {
            let told = call(&ann, name, arguments).unwrap_err();
            assert!(told.contains("settled by this connection"), "{name}: {told}");
        }
        for named in [json!({"notes": ["note_1@other"]}), json!({"messages": ["msg_1@other"]})] {
            let told = call(&ann, "forget", named).unwrap_err();
            assert!(told.contains("out of reach"), "{told}");
        }
        let reach = Reach { resource: "ann".into(), thread: Some("t".into()), is_wide: false };
        let arguments = json!({"query": "q", "resourceId": "ann"});
        assert_eq!(call(&ann, "recall", arguments.clone()), Ok(Call::Recall(reach, arguments)));
    }

    #[test]
    fn arguments_say_whose_memory_is_meant_where_the_headers_do_not() {
        let free = bound(None, None);
        let wide = Reach { resource: "ann".into(), thread: None, is_wide: true };
        assert_eq!(
            call(&free, "forget", json!({"resourceId": "ann", "query": "tea"})),
            Ok(Call::FindForgettable(wide, "tea".into()))
        );
        assert_eq!(
            call(&free, "remember", json!({"resourceId": "ann", "threadId": "t", "text": " Likes\ntea. "})),
            Ok(Call::Remember { resource: "ann".into(), thread: "t".into(), text: "Likes tea.".into() })
        );
        assert_eq!(
            call(
                &free,
                "forget",
                json!({"resourceId": "ann", "notes": ["note_1@a%20b", " note_2@c "], "messages": ["msg_x@c", "msg_y@d"]})
            ),
            Ok(Call::Forget {
                resource: "ann".into(),
                meant: BTreeMap::from([
                    ("a b".into(), Meant { notes: vec![1], messages: vec![] }),
                    ("c".into(), Meant { notes: vec![2], messages: vec!["msg_x".into()] }),
                    ("d".into(), Meant { notes: vec![], messages: vec!["msg_y".into()] }),
                ])
            })
        );
        assert_eq!(
            call(&free, "list_threads", json!({"resourceId": "ann", "limit": 9_999})),
            Ok(Call::ListThreads(ListThreads { resource: "ann".into(), limit: 200 }))
        );
    }

    #[test]
    fn arguments_that_cannot_be_meant_are_answered_with_what_to_write() {
        let ann = bound(Some("ann"), None);
        for (name, arguments, says) in [
            ("remember", json!({"text": "x"}), "`threadId`"),
            ("remember", json!({"text": " ", "threadId": "t"}), "1 to 2000"),
            ("remember", json!({"text": "x".repeat(2_001), "threadId": "t"}), "1 to 2000"),
            ("remember", json!({"threadId": "t"}), "text"),
            ("forget", json!({}), "either"),
            ("forget", json!({"notes": ["msg_1@t"]}), "no note's reference"),
            ("forget", json!({"messages": ["note_1@t"]}), "no message's reference"),
            ("forget", json!({"messages": ["two words@t"]}), "no message's reference"),
            ("forget", json!({"query": "tea", "messages": ["msg_1@t"]}), "either"),
            ("forget", json!({"notes": [], "messages": []}), "either"),
            ("forget", json!({"notes": ["note_1"]}), "`threadId`"),
            ("forget", json!({"messages": ["msg_1"]}), "`threadId`"),
            ("forget", json!({"notes": vec!["note_1@t"; 26], "messages": vec!["msg_1@t"; 25]}), "At most 50"),
            ("forget", json!({"notes": vec!["note_1@t"; 51]}), "At most 50"),
            ("list_threads", json!({"limit": -1}), "cannot be read"),
            ("recall", json!({"query": "q", "threadId": "t".repeat(513)}), "513 bytes"),
            ("recall", json!({"query": "q", "threadId": 5}), "cannot be read"),
        ] {
            let told = call(&ann, name, arguments).unwrap_err();
            assert!(told.contains(says), "{name}: {told}");
        }
        let told = call(&bound(None, None), "recall", json!({"query": "q"})).unwrap_err();
        assert!(told.contains("x-resource-id"), "{told}");
    }

    #[test]
    fn only_calls_that_change_memory_are_writes() {
        let ann = bound(Some("ann"), Some("t"));
        for (name, arguments, writes) in [
            ("recall", json!({"query": "q"}), false),
            ("list_threads", json!({}), false),
            ("forget", json!({"query": "q"}), false),
            ("forget", json!({"notes": ["note_1"]}), true),
            ("forget", json!({"messages": ["msg_1"]}), true),
            ("remember", json!({"text": "x"}), true),
        ] {
            assert_eq!(call(&ann, name, arguments).unwrap().writes(), writes, "{name}");
        }
    }

    #[test]
    fn a_tool_that_is_not_there_is_an_error_of_the_protocol() {
        for params in [json!({"name": "shell"}), json!({}), json!({"name": "recall", "arguments": []})] {
            let request = Request { id: json!(1), method: "tools/call".into(), params };
            assert_eq!(bound(Some("a"), None).read_call(&request).unwrap_err().0, INVALID_PARAMS);
        }
    }
}
