//! The management API over SQLite with the deployment's own schema, and what a key looked up there may do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use memory_gateway::admin::{Request, Store, resource, serve};
use memory_gateway::config::Config;
use memory_gateway::error::Error;
use memory_gateway::key_lookup;
use memory_gateway::keys::{PlainKey, Principal, Secret};
use memory_gateway::ledger::write::Statement;
use memory_gateway::memory::database::{Database, Row};
use memory_gateway::route::CredentialSource;
use serde_json::{Value, json};
use support::Sqlite;

const K1: &str = "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const K2: &str = "k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

struct Gateway {
    database: Sqlite,
    config: Config,
    now: Cell<u64>,
}

impl Store for Sqlite {
    async fn rows(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        Ok(self.query(&statement.sql, &statement.values).unwrap())
    }

    async fn run(&self, statements: Vec<Statement>) -> Result<(), Error> {
        for statement in statements {
            self.query(&statement.sql, &statement.values).unwrap();
        }
        Ok(())
    }
}

/// SQLite answers at once: nothing here ever waits.
fn now_or_never<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("SQLite does not wait"),
    }
}

fn random() -> [u8; 32] {
    thread_local! { static COUNT: Cell<u8> = const { Cell::new(0) } }
    COUNT.set(COUNT.get() + 1);
    [COUNT.get(); 32]
}

fn config(master_keys: &str) -> Config {
    Config::read(|name| (name == "MASTER_KEYS").then(|| master_keys.to_owned())).unwrap()
}

impl Gateway {
    fn new() -> Self {
        let database = Sqlite::new();
        for script in [
            include_str!("../migrations/0001_init.sql"),
            include_str!("../migrations/0002_ledger.sql"),
            include_str!("../migrations/0003_projects.sql"),
            include_str!("../migrations/0007_key_overlap.sql"),
            include_str!("../migrations/0005_erasure.sql"),
            include_str!("../migrations/0008_failed_attempts.sql"),
        ] {
            Database::run(&database, script).unwrap();
        }
        Gateway { database, config: config(K1), now: Cell::new(1_800_000_000_000) }
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.now.set(self.now.get() + 1_000);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (resource, methods) = resource(&path.split('/').collect::<Vec<_>>()).unwrap();
        assert!(methods.contains(&method), "{method} {path}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request { method, query, body: body.as_bytes(), now: self.now.get(), random };
        match now_or_never(serve(&self.database, &self.config, &resource, request)) {
            Ok(answer) => (answer.status, answer.body),
            Err(error) => (error.status(), error.body()["error"].clone()),
        }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, Value::Null)
    }

    /// Makes a project and a key; gives the key's id and text.
    fn key(&self, project: &str, rules: Value) -> (String, String) {
        self.ask("POST", "projects", json!({"id": project}));
        let (status, body) = self.ask("POST", &format!("projects/{project}/keys"), rules);
        assert_eq!(status, 201, "{body}");
        (body["key"]["id"].as_str().unwrap().to_owned(), body["secret"].as_str().unwrap().to_owned())
    }

    fn look_up(&self, key: &str) -> Option<Principal> {
        let statement = key_lookup::statement(&PlainKey::parse(key).unwrap().hash());
        let rows = self.database.query(&statement.sql, &statement.values).unwrap();
        rows.first().map(|row| key_lookup::principal(row).unwrap())
    }

    /// Everything that is stored, as text.
    fn dump(&self) -> String {
        let tables = ["projects", "api_keys", "bindings"].map(|table| {
            format!("{:?}", self.database.query(&format!("SELECT * FROM {table}"), &[]).unwrap())
        });
        tables.concat()
    }
}

#[test]
fn a_project_is_made_listed_changed_and_deleted() {
    let gateway = Gateway::new();
    let settings = json!({"memory": {"observe_tokens": 30_000, "scope": "resource"}});
    let budget = json!({"period": "month", "usd": 50});
    let sent = json!({"id": "shop", "name": "The shop", "settings": settings, "budget": budget});
    let made = json!({
        "id": "shop", "name": "The shop", "settings": settings, "budget": budget,
        "created_at": "2027-01-15T08:00:01.000Z", "updated_at": "2027-01-15T08:00:01.000Z",
    });
    assert_eq!(gateway.ask("POST", "projects", sent), (201, json!({"project": made})));
    assert_eq!(gateway.get("projects/shop"), (200, json!({"project": made})));

    let patch =
        json!({"name": "Shop", "settings": {"memory": {"scope": null, "keep_tokens": 9}}, "budget": null});
    let changed = json!({
        "id": "shop", "name": "Shop", "settings": {"memory": {"observe_tokens": 30_000, "keep_tokens": 9}},
        "budget": null, "created_at": "2027-01-15T08:00:01.000Z", "updated_at": "2027-01-15T08:00:03.000Z",
    });
    assert_eq!(gateway.ask("PATCH", "projects/shop", patch), (200, json!({"project": changed})));
    let (status, body) = gateway.ask("POST", "projects", Value::Null);
    assert_eq!((status, body["project"]["name"] == body["project"]["id"]), (201, true));
    assert_eq!(gateway.get("projects?limit=1").1, json!({"projects": [changed], "total": 2}));

    let (_, key) = gateway.key("shop", Value::Null);
    assert_eq!(
        gateway.look_up(&key).map(|principal| principal.settings.document()),
        Some(changed["settings"].clone())
    );
    let (status, deleted) = gateway.ask("DELETE", "projects/shop", Value::Null);
    assert_eq!((status, deleted["erasure"]["state"].as_str()), (200, Some("running")));
    // Asked again, it says how far the erasure has come.
    assert_eq!(gateway.ask("DELETE", "projects/shop", Value::Null), (200, deleted));
    assert_eq!(gateway.look_up(&key), None, "its keys went with it");
    gateway.database.query("UPDATE api_keys SET revoked_at = NULL", &[]).unwrap();
    assert_eq!(gateway.look_up(&key), None, "one that is added past the API is nobody's either");
    for (method, path) in
        [("GET", "projects/shop"), ("PATCH", "projects/shop"), ("GET", "projects/shop/keys")]
    {
        assert_eq!(gateway.ask(method, path, Value::Null).0, 404, "{method} {path}");
    }
    let (status, error) = gateway.ask("POST", "projects", json!({"id": "shop"}));
    assert_eq!(
        (status, error["param"].as_str()),
        (409, Some("id")),
        "its conversations' objects would be found again"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_by_its_name() {
    let gateway = Gateway::new();
    gateway.ask("POST", "projects", json!({"id": "p"}));
    let (id, _) = gateway.key("p", json!({}));
    let key = format!("projects/p/keys/{id}");
    for (method, path, body, param) in [
        ("POST", "projects", json!({"id": "a b"}), "id"),
        ("POST", "projects", json!({"nam": "x"}), "nam"),
        ("POST", "projects", json!({"settings": {"memory": {"keep": 1}}}), "settings.memory.keep"),
        ("POST", "projects", json!({"budget": {"usd": 1}}), "budget"),
        ("PATCH", "projects/p", json!({"id": "q"}), "id"),
        ("PATCH", "projects/p", json!({"name": null}), "name"),
        ("PATCH", &key, json!({"label": "a\nb"}), "label"),
        ("PATCH", &key, json!({"expires_at": "tomorrow"}), "expires_at"),
        ("PATCH", &key, json!({"models": "openai/*"}), "models"),
        ("PATCH", &key, json!({"models": ["a b"]}), "models"),
        ("PATCH", &key, json!({"endpoints": ["chat", "images"]}), "endpoints"),
        ("PATCH", &key, json!({"limits": {"llm": 1}}), "limits"),
        ("PATCH", &key, json!({"disabled": 1}), "disabled"),
        ("POST", "projects/p/keys", json!({"secret": "msk_mine"}), "secret"),
        ("POST", &format!("{key}/rotate"), json!({"overlap_seconds": 604_801}), "overlap_seconds"),
        ("POST", &format!("{key}/rotate"), json!({"overlap_seconds": -1}), "overlap_seconds"),
        ("PUT", "projects/p/bindings/openai", json!({}), "credential"),
        ("PUT", "projects/p/bindings/openai", json!({"credential": "sk a"}), "credential"),
        ("PUT", "projects/p/bindings/openai", json!({"credential": "msk_mine"}), "credential"),
        (
            "PUT",
            "projects/p/bindings/openai",
            json!({"credential": "s", "base_url": "https://x"}),
            "base_url",
        ),
        ("GET", "projects?limit=x", Value::Null, "limit"),
    ] {
        let (status, error) = gateway.ask(method, path, body.clone());
        assert_eq!((status, error["param"].as_str()), (400, Some(param)), "{method} {path} {body}: {error}");
    }
}

#[test]
fn a_keys_text_is_shown_once_and_stored_nowhere() {
    let gateway = Gateway::new();
    let (id, secret) = gateway.key("p", json!({"label": "laptop"}));
    assert!(secret.starts_with("msk_") && secret.len() == 47);
    let shown = json!({
        "id": id, "label": "laptop", "prefix": &secret[..8], "disabled": false, "expires_at": null, "models": null,
        "endpoints": null, "limits": {}, "budget": null,
        "created_at": "2027-01-15T08:00:02.000Z", "updated_at": "2027-01-15T08:00:02.000Z",
        "previous_valid_until": null,
    });
    assert_eq!(gateway.get("projects/p/keys"), (200, json!({"keys": [shown], "total": 1})));
    assert_eq!(gateway.get(&format!("projects/p/keys/{id}")), (200, json!({"key": shown})));
    assert!(!gateway.dump().contains(&secret));
    let principal = gateway.look_up(&secret).unwrap();
    assert_eq!(
        (principal.project, principal.key_id, principal.label, principal.prefix),
        ("p".into(), id, "laptop".into(), secret[..8].into())
    );
}

#[test]
fn rules_reach_whoever_looks_the_key_up_and_null_takes_them_back() {
    let gateway = Gateway::new();
    let rules = json!({
        "disabled": true, "expires_at": "2027-02-01T00:00:00Z", "models": ["openai/*"], "endpoints": ["chat", "memory"],
        "limits": {"llm_proxy": 7}, "budget": {"period": "day", "tokens": 1_000},
    });
    let (id, secret) = gateway.key("p", rules);
    let grant = gateway.look_up(&secret).unwrap().grant;
    assert!(grant.disabled && grant.allows_model("openai/x") && !grant.allows_model("google/x"));
    assert_eq!(grant.expires_at, Some(1_801_440_000_000));
    assert_eq!(serde_json::to_value(&grant.parts).unwrap(), json!(["chat", "memory"]));
    assert_eq!(grant.limits.llm_proxy, Some(7));
    assert_eq!(grant.budget.unwrap().document(), json!({"period": "day", "tokens": 1_000}));

    let nothing = json!({
        "disabled": false, "expires_at": null, "models": null, "endpoints": null, "limits": null, "budget": null,
    });
    let (status, body) = gateway.ask("PATCH", &format!("projects/p/keys/{id}"), nothing);
    assert_eq!((status, &body["key"]["limits"]), (200, &json!({})));
    assert_eq!(*gateway.look_up(&secret).unwrap().grant, memory_gateway::grant::Grant::default());
}

#[test]
fn a_rotated_key_keeps_its_id_and_rules_and_a_deleted_one_is_nobodys() {
    let gateway = Gateway::new();
    let (id, old) = gateway.key("p", json!({"models": ["openai/*"]}));
    let (status, body) = gateway.ask("POST", &format!("projects/p/keys/{id}/rotate"), Value::Null);
    let new = body["secret"].as_str().unwrap();
    assert_eq!((status, body["key"]["id"] == id, body["key"]["prefix"] == new[..8]), (200, true, true));
    assert_eq!(gateway.look_up(&old), None);
    assert!(!gateway.look_up(new).unwrap().grant.allows_model("google/x"));

    gateway.ask("PUT", &format!("projects/p/keys/{id}/bindings/openai"), json!({"credential": "sk-1"}));
    assert_eq!(gateway.ask("DELETE", &format!("projects/p/keys/{id}"), Value::Null).0, 200);
    assert_eq!(gateway.look_up(new), None);
    assert_eq!(gateway.get("projects/p/keys").1, json!({"keys": [], "total": 0}));
    assert_eq!(gateway.database.query("SELECT * FROM bindings", &[]).unwrap(), vec![]);
    for (method, path) in
        [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("GET", "/bindings")]
    {
        let path = format!("projects/p/keys/{id}{path}");
        assert_eq!(gateway.ask(method, &path, Value::Null).0, 404, "{method} {path}");
    }
}

#[test]
fn a_rotated_keys_old_secret_is_good_until_the_overlap_ends_and_never_longer_than_the_key() {
    let gateway = Gateway::new();
    let (id, first) = gateway.key("p", json!({}));
    let path = format!("projects/p/keys/{id}");
    let rotate = |seconds: u64| {
        let (status, body) =
            gateway.ask("POST", &format!("{path}/rotate"), json!({"overlap_seconds": seconds}));
        assert_eq!(status, 200, "{body}");
        (body["secret"].as_str().unwrap().to_owned(), body["key"]["previous_valid_until"].clone())
    };
    let code = |key: &str, at: u64| {
        gateway.look_up(key).map(|principal| principal.grant.check_valid(at).map_err(|error| error.code()))
    };
    let (second, until) = rotate(60);
    let ends = gateway.now.get() + 60_000;
    assert_eq!(until, "2027-01-15T08:01:03.000Z");
    assert_eq!((code(&first, ends - 1), code(&second, ends - 1)), (Some(Ok(())), Some(Ok(()))));
    assert_eq!((code(&first, ends), code(&second, ends)), (Some(Err(Some("key_expired"))), Some(Ok(()))));
    assert_eq!(gateway.look_up(&first).unwrap().key_id, id, "its limits and its budget are the key's");

    // The key expires before the overlap ends.
    gateway.ask("PATCH", &path, json!({"expires_at": "2027-01-15T08:00:30Z"}));
    assert_eq!(code(&first, ends - 33_000), Some(Err(Some("key_expired"))));
    gateway.ask("PATCH", &path, json!({"expires_at": null}));

    // One secret of before at a time, and none after a rotation without an overlap.
    let (third, _) = rotate(60);
    assert_eq!((code(&first, 0), code(&second, 0), code(&third, 0)), (None, Some(Ok(())), Some(Ok(()))));
    let (fourth, until) = rotate(0);
    assert_eq!(until, Value::Null);
    assert_eq!((code(&second, 0), code(&third, 0), code(&fourth, 0)), (None, None, Some(Ok(()))));
    let (fifth, _) = rotate(7 * 24 * 60 * 60);
    gateway.ask("DELETE", &path, Value::Null);
    assert_eq!((code(&fourth, 0), code(&fifth, 0)), (None, None), "a deleted key has no overlap");
}

#[test]
fn a_key_is_found_through_its_own_project_only() {
    let gateway = Gateway::new();
    let (id, secret) = gateway.key("a", json!({}));
    gateway.key("b", json!({}));
    for (method, path, body) in [
        ("GET", format!("projects/b/keys/{id}"), Value::Null),
        ("PATCH", format!("projects/b/keys/{id}"), json!({"disabled": true})),
        ("DELETE", format!("projects/b/keys/{id}"), Value::Null),
        ("POST", format!("projects/b/keys/{id}/rotate"), Value::Null),
        ("PUT", format!("projects/b/keys/{id}/bindings/openai"), json!({"credential": "sk-1"})),
    ] {
        assert_eq!(gateway.ask(method, &path, body).0, 404, "{method} {path}");
    }
    assert!(!gateway.look_up(&secret).unwrap().grant.disabled);
    assert_eq!(opened(&gateway, &secret, "openai"), None);
}

fn opened(gateway: &Gateway, key: &str, provider: &str) -> Option<(String, CredentialSource)> {
    let bindings = gateway.look_up(key).unwrap().bindings;
    let found = bindings.credential(provider, &gateway.config.master_keys).unwrap();
    found.map(|(credential, source)| (Secret::reveal(&credential).to_owned(), source))
}

#[test]
fn a_binding_is_masked_sealed_and_the_keys_own_before_the_projects() {
    let gateway = Gateway::new();
    let (id, secret) = gateway.key("p", json!({}));
    let (_, sibling) = gateway.key("p", json!({}));
    let (_, stranger) = gateway.key("q", json!({}));
    let at_project = json!({"credential": "sk-project-planted-1111"});
    let (status, body) = gateway.ask("PUT", "projects/p/bindings/gemini", at_project);
    assert_eq!(
        (status, &body["binding"]),
        (
            200,
            &json!({"provider": "google", "credential": "…1111", "master_key": "k1",
                      "created_at": "2027-01-15T08:00:07.000Z", "updated_at": "2027-01-15T08:00:07.000Z"})
        )
    );
    assert_eq!(
        opened(&gateway, &secret, "google"),
        Some(("sk-project-planted-1111".into(), CredentialSource::Project))
    );
    let at_key = json!({"credential": "sk-key-planted-2222"});
    gateway.ask("PUT", &format!("projects/p/keys/{id}/bindings/google"), at_key);
    assert_eq!(
        opened(&gateway, &secret, "google"),
        Some(("sk-key-planted-2222".into(), CredentialSource::Key))
    );
    assert_eq!(
        opened(&gateway, &sibling, "google"),
        Some(("sk-project-planted-1111".into(), CredentialSource::Project))
    );
    assert_eq!(opened(&gateway, &secret, "openai"), None);
    assert_eq!(opened(&gateway, &stranger, "google"), None);
    assert!(!gateway.dump().contains("planted"));
    assert_eq!(gateway.get("projects/p/bindings").1["bindings"], json!([body["binding"]]));
    assert_eq!(
        gateway.get(&format!("projects/p/keys/{id}/bindings/google")).1["binding"]["credential"],
        "…2222"
    );

    assert_eq!(gateway.ask("DELETE", &format!("projects/p/keys/{id}/bindings/google"), Value::Null).0, 200);
    assert_eq!(
        opened(&gateway, &secret, "google").map(|(_, source)| source),
        Some(CredentialSource::Project)
    );
    for path in [format!("projects/p/keys/{id}/bindings/google"), "projects/p/bindings/nobody".into()] {
        assert_eq!(gateway.get(&path).0, 404, "{path}");
    }
}

#[test]
fn a_sealed_credential_that_is_moved_to_another_row_stays_shut() {
    let gateway = Gateway::new();
    let (_, secret) = gateway.key("thief", json!({}));
    gateway.key("rich", json!({}));
    gateway.ask("PUT", "projects/rich/bindings/openai", json!({"credential": "sk-rich"}));
    gateway.database.query("UPDATE bindings SET project_id = 'thief'", &[]).unwrap();
    let bindings = gateway.look_up(&secret).unwrap().bindings;
    let error = bindings.credential("openai", &gateway.config.master_keys).unwrap_err();
    assert_eq!((error.status(), error.code()), (500, Some("binding_shut")));
}

#[test]
fn a_new_master_key_takes_over_and_the_old_one_can_go() {
    let mut gateway = Gateway::new();
    let (id, secret) = gateway.key("p", json!({}));
    gateway.ask("PUT", "projects/p/bindings/openai", json!({"credential": "sk-1"}));
    gateway.ask("PUT", &format!("projects/p/keys/{id}/bindings/google"), json!({"credential": "sk-2"}));
    gateway.config = config(&format!("{K2},{K1}"));
    assert_eq!(opened(&gateway, &secret, "openai").map(|(text, _)| text), Some("sk-1".into()));
    let told = |resealed, kept| json!({"master_key": "k2", "resealed": resealed, "kept": kept, "failed": []});
    assert_eq!(gateway.ask("POST", "bindings/reseal", Value::Null), (200, told(2, 0)));
    assert_eq!(gateway.ask("POST", "bindings/reseal", Value::Null), (200, told(0, 2)));
    gateway.config = config(K2);
    assert_eq!(opened(&gateway, &secret, "openai").map(|(text, _)| text), Some("sk-1".into()));
    assert_eq!(opened(&gateway, &secret, "google").map(|(text, _)| text), Some("sk-2".into()));

    gateway.config = config(K1);
    let (_, body) = gateway.ask("POST", "bindings/reseal", Value::Null);
    assert_eq!((&body["resealed"], body["failed"].as_array().unwrap().len()), (&json!(0), 2));
    assert!(body["failed"][0]["error"].as_str().unwrap().contains("MASTER_KEYS has no key `k2`"), "{body}");
}

#[test]
fn without_a_master_key_no_credential_is_taken() {
    let mut gateway = Gateway::new();
    gateway.config = config("");
    gateway.ask("POST", "projects", json!({"id": "p"}));
    for (method, path, body) in [
        ("PUT", "projects/p/bindings/openai", json!({"credential": "sk-1"})),
        ("POST", "bindings/reseal", Value::Null),
    ] {
        let (status, error) = gateway.ask(method, path, body);
        assert_eq!((status, error["code"].as_str()), (400, Some("no_master_key")), "{path}");
    }
}
