//! What `docs/resilience.md` says: that each bound names a test, and that the variables, headers, codes and events it names are
//! the code's own. Invariant: only code that is deployed counts, no comment and no test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{read_dir, read_to_string};
use std::path::Path;

use memory_gateway::key_cache::{KeyCache, Known};
use memory_gateway::keys::{PlainKey, Principal};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    read_to_string(root().join("docs/resilience.md")).unwrap()
}

/// What stands between backticks, in its order.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The first lines of a file of Rust that are deployed: without its comments and the tests at its end.
fn deployed(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

/// All that is deployed of a folder.
fn code_in(folder: &Path) -> String {
    let mut code = String::new();
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            code.push_str(&code_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&deployed(&read_to_string(path).unwrap()));
        }
    }
    code
}

/// A bound of the table, and the tests named for it: a path, and the words of the test's name.
struct Bound {
    what: String,
    tests: Vec<(String, String)>,
}

fn bounds(document: &str) -> Vec<Bound> {
    let (_, section) = document.split_once("\n| what | bound | beyond it | test |\n").unwrap();
    let rows = section.lines().skip(1).take_while(|line| line.starts_with('|'));
    let bound = |row: &str| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [what, _, _, tests] = cells[..] else { panic!("not four cells: {row}") };
        let tests = tests.split("; ").map(|named| {
            let (path, name) =
                named.split_once(": ").unwrap_or_else(|| panic!("no test's name in {named}, for: {what}"));
            (path.trim_matches('`').to_owned(), name.trim_matches('`').to_owned())
        });
        Bound { what: what.to_owned(), tests: tests.collect() }
    };
    rows.map(bound).collect()
}

/// True when a file has a test of this name: a function of Rust's; of Node's, words in a title or in a case that makes one.
fn has_test(path: &str, name: &str) -> bool {
    let path = if path.ends_with(".test.mjs") { format!("tests/e2e/{path}") } else { path.to_owned() };
    let Ok(text) = read_to_string(root().join(&path)) else { return false };
    if path.ends_with(".rs") {
        let function = format!("fn {name}()");
        return text.split("#[test]").skip(1).any(|item| item.trim_start().starts_with(&function));
    }
    let opens = ["test(", "`", "\"", "what: ", "["];
    text.lines()
        .map(str::trim_start)
        .any(|line| opens.iter().any(|open| line.starts_with(open)) && line.contains(name))
}

#[test]
fn keys_beyond_ten_thousand_are_forgotten_and_looked_up_again() {
    let hash = |n: usize| PlainKey::parse(&format!("msk_{n}")).unwrap().hash();
    let principal = || Some(Principal::new("p", "k"));
    let mut cache = KeyCache::default();
    for n in 0..10_000 {
        cache.learned(hash(n), principal(), 0);
    }
    let known = |cache: &KeyCache| (0..=10_000).filter(|n| cache.look(&hash(*n), 0) != Known::Ask).count();
    assert_eq!(known(&cache), 10_000);
    cache.learned(hash(10_000), principal(), 0);
    assert!(known(&cache) <= 10_000, "{}", known(&cache));
    assert_eq!(cache.look(&hash(10_000), 0), Known::Fresh(principal()));
}

#[test]
fn every_bound_names_a_test_that_exists() {
    let bounds = bounds(&document());
    assert!(bounds.len() >= 17, "only {} bounds were found", bounds.len());
    for Bound { what, tests } in &bounds {
        for (path, name) in tests {
            assert!(has_test(path, name), "there is no test `{name}` in {path}, named for: {what}");
        }
    }
    assert!(!has_test("errors.test.mjs", "no such test"));
    assert!(!has_test("nowhere.test.mjs", "a body"));
    assert!(!has_test("tests/resilience.rs", "no_such_test"));
}

#[test]
fn every_variable_is_read_by_the_code_and_told_of_in_the_readme() {
    let document = document();
    let is_variable =
        |word: &&str| word.len() > 5 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let variables: Vec<&str> = quoted(&document).into_iter().filter(is_variable).collect();
    let config = deployed(&read_to_string(root().join("src/config.rs")).unwrap());
    let readme = read_to_string(root().join("README.md")).unwrap();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(variables.len() >= 8, "only {variables:?} were found");
    for name in variables {
        assert!(config.contains(&format!("\"{name}\"")), "src/config.rs does not read {name}");
        let told =
            rows.iter().any(|row| row.split('|').nth(1).is_some_and(|cell| quoted(cell).contains(&name)));
        assert!(told, "{name} is in no table of README.md");
    }
}

#[test]
fn every_header_code_and_event_is_one_of_the_code() {
    let document = document();
    let code = code_in(&root().join("src"));
    // A header may stand with its value.
    let names = quoted(&document).into_iter().map(|text| text.split(": ").next().unwrap());
    let is_name = |word: &&str| {
        word.contains(['_', '-'])
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-".contains(&byte))
    };
    let bounds = bounds(&document);
    let is_test = |word: &str| bounds.iter().any(|bound| bound.tests.iter().any(|(_, name)| name == word));
    let names: Vec<&str> = names.filter(is_name).filter(|word| !is_test(word)).collect();
    assert!(names.len() >= 12, "only {names:?} were found");
    for name in names {
        assert!(code.contains(&format!("\"{name}\"")), "no code says \"{name}\"");
    }
}

#[test]
fn every_file_it_speaks_of_is_there() {
    let document = document();
    let words = quoted(&document).into_iter().flat_map(|text| text.split(' '));
    let is_path = |word: &&str| ["src/", "tests/"].iter().any(|folder| word.starts_with(folder));
    let paths: Vec<&str> = words.filter(is_path).collect();
    assert!(paths.len() >= 5, "only {paths:?} were found");
    for path in paths {
        assert!(root().join(path).is_file(), "there is no {path}");
    }
}
