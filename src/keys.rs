//! Secrets and the names made from them: gateway keys, provider credentials, the principal, the object's name.
//!
//! Invariant: no secret can be printed (`Debug` is redacted, there is no `Display`), and the name of an object is made here
//! only, from an authenticated principal.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::bindings::Bindings;
use crate::budget::Budget;
use crate::grant::Grant;
use crate::project::Settings;
use crate::responses::id::ChainId;
use crate::turn::hex;

/// What every gateway key starts with. NEVER CHANGE: keys in use, secret scanners and clients depend on it.
pub const KEY_PREFIX: &str = "msk_";

const KEY_MAX_BYTES: usize = 256;

/// A gateway key as a client sends it.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainKey(String);

impl PlainKey {
    /// The key, if the text has the form of one: `msk_` and letters, digits, `_`, `-` behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(KEY_PREFIX)?;
        let sane = !rest.is_empty()
            && text.len() <= KEY_MAX_BYTES
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        sane.then(|| PlainKey(text.to_owned()))
    }

    /// A new key from random bytes.
    pub fn from_random(bytes: [u8; KEY_RANDOM_BYTES]) -> Self {
        PlainKey(format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The key itself, for the one answer that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The first characters, to recognise it by.
    pub fn prefix(&self) -> String {
        self.0.chars().take(SHOWN_CHARS).collect()
    }

    /// What is stored and looked up instead of the key. Keys are random, so a fast hash is enough, and a look-up by
    /// hash compares no secret byte by byte.
    pub fn hash(&self) -> KeyHash {
        KeyHash(hex(&Sha256::digest(self.0.as_bytes())))
    }
}

impl std::fmt::Debug for PlainKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PlainKey(***)")
    }
}

/// Random bytes that a new key is made of: 256 bits, nothing to guess, so a plain SHA-256 of it is enough.
pub const KEY_RANDOM_BYTES: usize = 32;

/// How many characters of a key its owner may know it by; what is left of a new one is still beyond guessing.
const SHOWN_CHARS: usize = 8;

/// SHA-256 of a gateway key, lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(String);

impl KeyHash {
    /// The hex text, as in the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A credential of a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the credential's text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The credential itself, for the header that carries it and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(***)")
    }
}

/// Whom a valid gateway key speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The project: the boundary that no thread, resource or key crosses.
    pub project: String,
    /// The key's public id, for logs.
    pub key_id: String,
    /// What its owner calls the key.
    pub label: String,
    /// The first characters of the key, by which its owner knows it.
    pub prefix: String,
    /// The project's settings.
    pub settings: Rc<Settings>,
    /// What the project may use; `None`: what the deployment says of projects.
    pub budget: Option<Budget>,
    /// What the key may do.
    pub grant: Rc<Grant>,
    /// The credentials that it may use.
    pub bindings: Rc<Bindings>,
}

impl Principal {
    /// A key without a name and without rules, of a project without settings.
    pub fn new(project: impl Into<String>, key_id: impl Into<String>) -> Self {
        Principal {
            project: project.into(),
            key_id: key_id.into(),
            label: String::new(),
            prefix: String::new(),
            settings: Rc::default(),
            budget: None,
            grant: Rc::default(),
            bindings: Rc::default(),
        }
    }

    /// The name of the object that holds a thread. A digest, because the platform writes names into its own logs and
    /// limits them to 1,024 bytes, and thread ids may hold personal data.
    pub fn thread_object_name(&self, thread: &str) -> String {
        thread_object_name(&self.project, thread)
    }

    /// The name of the object that counts the key's requests.
    pub fn key_object_name(&self) -> String {
        format!("key:v1:{}", hex(&digest(&[&self.project, &self.key_id])))
    }

    /// The name of the object that holds a chain of responses.
    pub fn response_object_name(&self, chain: &ChainId) -> String {
        format!("responses:v1:{}", hex(&digest(&[&self.project, chain.as_str()])))
    }
}

/// SHA-256 of texts, each with its length, so that no two lists of texts have one digest.
pub fn digest(fields: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for field in fields {
        digest.update((field.len() as u64).to_le_bytes());
        digest.update(field.as_bytes());
    }
    digest.finalize().into()
}

/// The name of the object that holds a project's thread, where no key is at hand.
pub fn thread_object_name(project: &str, thread: &str) -> String {
    format!("thread:v1:{}", hex(&digest(&[project, thread])))
}

/// The name of the object that holds the profile of a project's resource.
pub fn resource_object_name(project: &str, resource: &str) -> String {
    format!("resource:v1:{}", hex(&digest(&[project, resource])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_a_gateway_key_is_taken() {
        assert!(PlainKey::parse("msk_Ab-9_z").is_some());
        for text in ["msk_", "sk-proj-1", "MSK_a", "msk_a b", "msk_ä", &format!("msk_{}", "a".repeat(300))] {
            assert_eq!(PlainKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_hash_is_the_sha256_that_other_tools_compute() {
        // printf 'msk_test' | sha256sum
        assert_eq!(
            PlainKey::parse("msk_test").map(|key| key.hash().as_str().to_owned()).as_deref(),
            Some("4ffa2fcecffa40681827e33ef5554430209cea7ea0a1b384a6ce2b014f912fd9")
        );
    }

    #[test]
    fn secrets_do_not_print() {
        let key = PlainKey::parse("msk_visible").unwrap();
        assert_eq!(format!("{key:?} {:?}", Secret::new("sk-visible")), "PlainKey(***) Secret(***)");
    }

    #[test]
    fn no_two_pairs_of_project_and_thread_or_resource_share_an_object() {
        let name = |project: &str, thread: &str| Principal::new(project, "k").thread_object_name(thread);
        assert_ne!(name("a", "bc"), name("ab", "c"));
        assert_ne!(name("a", "t"), name("b", "t"));
        assert_eq!(name("a", "t"), name("a", "t"));
        // Objects of deployed gateways are found by it: it must never change.
        assert_eq!(
            name("a", "t"),
            "thread:v1:475bfd2558b3cf6c5c1b575db62be901fab096f6fc566456070ef708c604558f"
        );
        assert_ne!(resource_object_name("a", "bc"), resource_object_name("ab", "c"));
        assert_eq!(
            resource_object_name("a", "t"),
            "resource:v1:475bfd2558b3cf6c5c1b575db62be901fab096f6fc566456070ef708c604558f"
        );
    }
}
