//! What `SECURITY.md` claims: that each claim names a test; and what of it is shown here: names of objects, depth of JSON.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::Path;

use memory_gateway::body::Body;
use memory_gateway::budget::Owner;
use memory_gateway::dialect::Dialect;
use memory_gateway::keys::{Principal, digest, resource_object_name};
use memory_gateway::responses::id::ChainId;
use memory_gateway::turn::Origin;

/// Ids that a careless way of joining two of them would confuse.
const IDS: [&str; 16] =
    ["a", "b", "c", "a/b", "b/c", "a:b", "b:c", "ab", "bc", "", "/", "a\0", "\0a", "a\0b", "1:a", "a b"];

#[test]
fn no_two_pairs_of_ids_share_an_object() {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |name: String, owner: String| {
        let before = names.insert(name, owner.clone());
        assert_eq!(before, None, "{owner}");
    };
    for project in IDS {
        add(Owner::Project(project).object_name(), format!("budget of {project:?}"));
        add(Owner::Memory(project).object_name(), format!("budget of the memory of {project:?}"));
        add(Owner::Key(project).object_name(), format!("budget of the key {project:?}"));
        for other in IDS {
            let principal = Principal::new(project, other);
            let of = |kind: &str| format!("{kind} {other:?} of {project:?}");
            add(principal.thread_object_name(other), of("thread"));
            add(principal.key_object_name(), of("key"));
            add(resource_object_name(project, other), of("resource"));
            let chain = ChainId::of_conversation(project, other);
            add(principal.response_object_name(&chain), of("conversation"));
            add(principal.response_object_name(&ChainId::home(project, other)), of("response"));
        }
    }
}

#[test]
fn the_digest_of_a_list_is_that_of_no_other_list() {
    assert_ne!(digest(&["a", "b"]), digest(&["ab"]));
    assert_ne!(digest(&["a", "b"]), digest(&["a", "b", ""]));
    assert_ne!(digest(&[]), digest(&[""]));
}

#[test]
fn json_is_read_as_deep_as_the_bound_and_refused_behind_it() {
    let read = |depth: usize| {
        // The message itself is the first level.
        let deep = format!("{}1{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let body = format!(r#"{{"model":"a/b","messages":[{{"role":"user","content":"a","x":{deep}}}]}}"#);
        let origin = Origin { dialect: Dialect::Chat, provider: "a".into() };
        let body = Body::parse(body.as_bytes()).unwrap();
        Dialect::Chat.read_conversation(&body, &origin).map(drop).map_err(|error| error.status())
    };
    assert_eq!(read(127), Ok(()));
    assert_eq!(read(128), Err(400));
    assert_eq!(read(100_000), Err(400));
}

/// A claim: a list item of the section "What holds", and the tests below it, `path: name`.
struct Claim {
    text: String,
    tests: Vec<(String, String)>,
}

fn claims(document: &str) -> Vec<Claim> {
    let (_, section) = document.split_once("\n## What holds, and the tests that show it\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut claims: Vec<Claim> = Vec::new();
    for line in section.lines() {
        if let Some(text) = line.strip_prefix("- ") {
            claims.push(Claim { text: text.to_owned(), tests: Vec::new() });
        } else if let Some(named) = line.strip_prefix("  - `") {
            let (path, name) = named.split_once("`: ").unwrap_or_else(|| panic!("no `path`: name in {line}"));
            claims.last_mut().unwrap().tests.push((path.to_owned(), name.to_owned()));
        }
    }
    claims
}

/// True when a file has a test of this name: a function of Rust's, or a text in a line that begins a test of Node's.
fn has_test(root: &Path, path: &str, name: &str) -> bool {
    let Ok(text) = read_to_string(root.join(path)) else { return false };
    if path.ends_with(".rs") {
        let function = format!("fn {name}()");
        return text.split("#[test]").skip(1).any(|item| item.trim_start().starts_with(&function));
    }
    // A long name stands on the line below.
    let mut opened = false;
    text.lines().map(str::trim_start).any(|line| {
        let is_first = std::mem::replace(&mut opened, line == "test(");
        (line.starts_with("test(") || is_first) && line.contains(name)
    })
}

#[test]
fn every_claim_of_the_security_document_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let claims = claims(&read_to_string(root.join("SECURITY.md")).unwrap());
    assert!(claims.len() >= 25, "only {} claims were found", claims.len());
    for Claim { text, tests } in &claims {
        assert!(!tests.is_empty(), "no test is named for: {text}");
        for (path, name) in tests {
            assert!(has_test(root, path, name), "there is no test `{name}` in {path}, named for: {text}");
        }
    }
    assert!(!has_test(root, "tests/security.rs", "no_such_test"));
    assert!(!has_test(root, "tests/nowhere.rs", "no_such_test"));
}
