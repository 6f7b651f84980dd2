//! The document of the HTTP surface against the code that serves it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use memory_gateway::api::endpoint;
use memory_gateway::error::{Error, Kind};
use memory_gateway::headers::READ;
use serde_json::Value;

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Where routes are matched, and the path that comes before what is matched there.
const ROUTERS: [(&str, &str); 3] =
    [("src/api.rs", ""), ("src/memory/api.rs", "/v1/memory"), ("src/admin.rs", "/v1/gateway")];

/// All that may be wrong; the compiler asks for what is missing.
const KINDS: [Kind; 16] = [
    Kind::BadRequest,
    Kind::Unauthenticated,
    Kind::BudgetExceeded,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::MethodNotAllowed,
    Kind::SlowBody,
    Kind::Conflict,
    Kind::TooLarge,
    Kind::UnsupportedMediaType,
    Kind::RateLimited,
    Kind::ClientGone,
    Kind::Internal,
    Kind::Upstream,
    Kind::Overloaded,
    Kind::Timeout,
];

fn at(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn document() -> Value {
    serde_json::from_str(&fs::read_to_string(at("openapi.json")).unwrap()).unwrap()
}

/// Every operation: its path, its method in capitals, what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    all
}

/// A path with every parameter called alike: how it is called is each side's own business.
fn shape(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// The paths that a router matches: the slice patterns of literals and names that stand before `=>`. What is left to
/// another router is not among them.
fn matched(source: &str, before: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let mut paths = Vec::new();
    for line in code.lines().map(str::trim).filter(|line| line.starts_with("[\"")) {
        let Some((patterns, _)) = line.split_once("=>") else { continue };
        for pattern in patterns.split('[').skip(1) {
            let segments: Vec<&str> = pattern.split(']').next().unwrap().split(", ").collect();
            let is_nested = segments.last() == Some(&"rest @ ..");
            if !is_nested {
                let segments = segments.iter().map(|segment| match segment.strip_prefix('"') {
                    Some(literal) => literal.trim_end_matches('"'),
                    None => "{}",
                });
                paths.push(format!("{before}/{}", segments.collect::<Vec<_>>().join("/")));
            }
        }
    }
    paths
}

#[test]
fn every_route_is_in_the_document_with_every_method_and_nothing_else_is() {
    let mut served = BTreeSet::new();
    for (file, before) in ROUTERS {
        let paths = matched(&fs::read_to_string(at(file)).unwrap(), before);
        assert!(paths.len() > 3, "{file} has its routes in another form: {paths:?}");
        for path in paths {
            for method in METHODS {
                if endpoint(method, &path.replace("{}", "x")).is_ok() {
                    served.insert(format!("{method} {path}"));
                }
            }
        }
    }
    let documented: BTreeSet<String> =
        operations(&document()).iter().map(|(path, method, _)| format!("{method} {}", shape(path))).collect();
    let missing: Vec<_> = served.difference(&documented).collect();
    let dead: Vec<_> = documented.difference(&served).collect();
    assert!(
        missing.is_empty() && dead.is_empty(),
        "not in openapi.json: {missing:#?}; not in the code: {dead:#?}"
    );
}

#[test]
fn every_error_has_its_type_and_its_answer_under_its_own_status() {
    let document = document();
    let components = &document["components"];
    let mut types = BTreeSet::new();
    for kind in KINDS {
        let error = Error::new(kind, "No.");
        types.insert(error.type_name());
        for name in [format!("{kind:?}"), format!("Messages{kind:?}")] {
            let answer = &components["responses"][&name];
            // Nobody's client is told of these two in a place of its own: any path may answer the one, and nobody is
            // there for the other.
            let is_general = matches!(kind, Kind::MethodNotAllowed | Kind::ClientGone);
            assert!(answer.is_object() || is_general && name.starts_with("Messages"), "{name} is missing");
            let reference = format!("#/components/responses/{name}");
            for (path, method, operation) in operations(&document) {
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    if answer["$ref"] == reference.as_str() {
                        assert_eq!(status, &error.status().to_string(), "{method} {path}");
                    }
                }
            }
        }
    }
    let documented: BTreeSet<&str> = components["schemas"]["ErrorType"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert_eq!(types, documented);
}

#[test]
fn what_wants_a_key_says_what_happens_without_one() {
    for (path, method, operation) in operations(&document()) {
        let answers = operation["responses"].as_object().unwrap();
        let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(answers.contains_key("401"), !is_open, "{method} {path}");
        let found = endpoint(&method, &shape(&path).replace("{}", "x")).unwrap();
        assert_eq!(answers.contains_key("429"), found.part().is_some(), "{method} {path}");
        let is_management = operation["security"][0]["admin"].is_array();
        assert_eq!(is_management, path.starts_with("/v1/gateway"), "{method} {path}");
    }
}

#[test]
fn operations_have_names_of_their_own_and_refer_to_what_is_there() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
        let in_path = path.matches('{').count();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let described = parameters.iter().filter(|parameter| {
            let parameter = match parameter["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                None => parameter,
            };
            parameter["in"] == "path"
        });
        assert_eq!(described.count(), in_path, "{method} {path}");
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_header_that_the_gateway_reads_or_writes_is_described() {
    // What HTTP itself and its browsers bring, credentials, and what only tests send.
    const UNSAID: [&str; 8] = [
        "access-control-request-headers",
        "authorization",
        "content-length",
        "content-type",
        "origin",
        "x-api-key",
        "x-fault",
        "x-stainless-retry-count",
    ];
    let document = document();
    let components = &document["components"];
    for name in READ.iter().filter(|name| !UNSAID.contains(name)) {
        let parameter = &components["parameters"][name];
        assert_eq!((&parameter["name"], &parameter["in"]), (&(*name).into(), &"header".into()), "{name}");
    }
    let mut written = BTreeSet::new();
    sources(&at("src"), &mut |text| {
        for rest in text.split(".add(\"").skip(1) {
            written.insert(rest.split('"').next().unwrap().to_owned());
        }
    });
    let own = |name: &&String| {
        ["x-gateway-", "x-memory-", "x-ratelimit-"].iter().any(|family| name.starts_with(family))
            || ["x-request-id", "server-timing", "retry-after", "allow"].contains(&name.as_str())
    };
    let undescribed: Vec<&String> =
        written.iter().filter(own).filter(|name| !components["headers"][name.as_str()].is_object()).collect();
    assert!(written.contains("x-memory-status") && undescribed.is_empty(), "{undescribed:?}");
}

fn sources(folder: &Path, read: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, read);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read(&fs::read_to_string(&path).unwrap());
        }
    }
}
