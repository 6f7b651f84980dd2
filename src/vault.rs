//! The deployment's master keys, and the credentials of providers sealed under them.
//!
//! Invariant: what is sealed opens only in the place it was sealed for: the place is part of what is authenticated, so a
//! row that is copied to another project, key or provider stays shut. The first master key seals, every one opens: a new
//! key is put in front, everything is sealed again, and the old one can go.

use std::collections::HashSet;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::error::{Error, Kind};
use crate::keys::{Secret, digest};

/// The version of the form of what is sealed: `v1:KEY_ID:BASE64`, where the bytes are the nonce and what AES-256-GCM
/// makes of the credential.
const VERSION: &str = "v1";

/// Random bytes in front of every sealed credential. 96 bits, drawn anew each time: with one master key and fewer than
/// 2^32 credentials no two meet. <https://doi.org/10.6028/NIST.SP.800-38D>, section 8.3.
pub const NONCE_BYTES: usize = 12;

const KEY_BYTES: usize = 32;

/// The deployment's master keys, the sealing one first. None: nothing can be sealed or opened.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MasterKeys(Vec<MasterKey>);

#[derive(Clone, PartialEq, Eq)]
struct MasterKey {
    id: String,
    bytes: [u8; KEY_BYTES],
}

/// Where a credential belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The project.
    pub project: &'a str,
    /// The gateway key's id; empty for the project's own.
    pub key_id: &'a str,
    /// The provider.
    pub provider: &'a str,
}

impl Place<'_> {
    fn authenticated(&self) -> [u8; 32] {
        digest(&["binding", self.project, self.key_id, self.provider])
    }
}

impl MasterKeys {
    /// Reads `ID:BASE64` pairs with commas between them; each key is 32 bytes. Errors: what is wrong with them, to follow
    /// the variable's name; a key's bytes are never in it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut ids = HashSet::new();
        let mut keys = Vec::new();
        for (at, pair) in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).enumerate() {
            let wrong = |what: &str| Err(format!("{what} in its entry {}", at + 1));
            let Some((id, encoded)) = pair.split_once(':') else {
                return wrong("must hold `ID:BASE64`, with commas between several, and has no colon");
            };
            let sane = (1..=32).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            if !sane {
                return wrong("has an id that is not 1 to 32 letters, digits and `-_.`");
            }
            if !ids.insert(id) {
                return wrong("has the same id twice, again");
            }
            let decoded = STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).ok();
            match decoded.and_then(|bytes| bytes.try_into().ok()) {
                Some(bytes) => keys.push(MasterKey { id: id.to_owned(), bytes }),
                None => {
                    return wrong(
                        "must hold 32 bytes in Base64, as `openssl rand -base64 32` gives them, and does not",
                    );
                }
            }
        }
        Ok(MasterKeys(keys))
    }

    /// The id of the key that seals.
    pub fn current(&self) -> Option<&str> {
        self.0.first().map(|key| key.id.as_str())
    }

    /// Seals a credential for its place. Errors: 400 when there is no master key.
    pub fn seal(
        &self,
        credential: &Secret,
        place: Place<'_>,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<String, Error> {
        let Some(key) = self.0.first() else { return Err(no_master_key()) };
        let payload = Payload { msg: credential.reveal().as_bytes(), aad: &place.authenticated() };
        let sealed = cipher(key).encrypt(&Nonce::from(nonce), payload).map_err(|_| Error::internal())?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(format!("{VERSION}:{}:{}", key.id, STANDARD.encode(bytes)))
    }

    /// Opens what was sealed for a place. Errors: 500 that says which master key is missing, or that this is not what was
    /// sealed for this place; the next level of credentials must not be used in its stead.
    pub fn open(&self, sealed: &str, place: Place<'_>) -> Result<Secret, Error> {
        let (id, encoded) = parts(sealed).ok_or_else(|| shut(place, "its form is unknown"))?;
        let Some(key) = self.0.iter().find(|key| key.id == id) else {
            return Err(shut(place, &format!("MASTER_KEYS has no key `{id}`")));
        };
        let bytes = STANDARD.decode(encoded).unwrap_or_default();
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).unwrap_or_default();
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| shut(place, "it is cut off"))?;
        cipher(key)
            .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: &place.authenticated() })
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Secret::new)
            .ok_or_else(|| shut(place, "it was sealed for another place, or under another key of that id"))
    }
}

/// The id of the master key under which something is sealed.
pub fn key_of(sealed: &str) -> Option<&str> {
    parts(sealed).map(|(id, _)| id)
}

fn parts(sealed: &str) -> Option<(&str, &str)> {
    sealed.strip_prefix(VERSION)?.strip_prefix(':')?.split_once(':')
}

fn cipher(key: &MasterKey) -> Aes256Gcm {
    Aes256Gcm::new(&key.bytes.into())
}

/// 400 for a deployment that cannot keep credentials.
fn no_master_key() -> Error {
    Error::bad_request(
        "The gateway cannot keep credentials: it has no master key. Set the secret MASTER_KEYS to `k1:` and 32 random \
         bytes in Base64 (`openssl rand -base64 32`).",
    )
    .with_code("no_master_key")
}

fn shut(place: Place<'_>, why: &str) -> Error {
    Error::new(
        Kind::Internal,
        format!(
            "The stored credential for `{}` cannot be opened: {why}. The gateway's operator has to set it again, or to \
             give MASTER_KEYS the key back.",
            place.provider
        ),
    )
    .with_code("binding_shut")
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place { project: "p", key_id: "k", provider: "openai" };

    fn keys(text: &str) -> MasterKeys {
        MasterKeys::read(text).unwrap()
    }

    fn key(id: &str, byte: u8) -> String {
        format!("{id}:{}", STANDARD.encode([byte; 32]))
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_and_in_no_other() {
        let keys = keys(&key("k1", 1));
        let sealed = keys.seal(&Secret::new("sk-planted"), HERE, [7; 12]).unwrap();
        assert!(sealed.starts_with("v1:k1:") && !sealed.contains("planted"));
        assert_eq!(keys.open(&sealed, HERE), Ok(Secret::new("sk-planted")));
        for elsewhere in [
            Place { project: "q", ..HERE },
            Place { key_id: "", ..HERE },
            Place { provider: "anthropic", ..HERE },
            Place { project: "pk", key_id: "", ..HERE },
        ] {
            let error = keys.open(&sealed, elsewhere).unwrap_err();
            assert_eq!((error.status(), error.code()), (500, Some("binding_shut")), "{elsewhere:?}");
        }
    }

    #[test]
    fn a_changed_or_cut_seal_stays_shut() {
        let keys = keys(&key("k1", 1));
        let sealed = keys.seal(&Secret::new("sk"), HERE, [7; 12]).unwrap();
        for broken in [
            "",
            "v1",
            "v1:k1:",
            "v1:k1:AAAA",
            "v2:k1:AAAA",
            &sealed.replacen("v1:k1:", "v1:k1:B", 1),
            sealed.get(..20).unwrap(),
        ] {
            assert_eq!(keys.open(broken, HERE).unwrap_err().code(), Some("binding_shut"), "{broken}");
        }
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let old = keys(&key("k1", 1));
        let both = keys(&format!("{}, {}", key("k2", 2), key("k1", 1)));
        let new = keys(&key("k2", 2));
        let sealed = old.seal(&Secret::new("sk"), HERE, [7; 12]).unwrap();
        let opened = both.open(&sealed, HERE).unwrap();
        let again = both.seal(&opened, HERE, [8; 12]).unwrap();
        assert_eq!((key_of(&sealed), key_of(&again), both.current()), (Some("k1"), Some("k2"), Some("k2")));
        assert_eq!(new.open(&again, HERE), Ok(Secret::new("sk")));
        assert!(new.open(&sealed, HERE).unwrap_err().message().contains("MASTER_KEYS has no key `k1`"));
    }

    #[test]
    fn a_key_whose_bytes_changed_under_its_id_opens_nothing() {
        let sealed = keys(&key("k1", 1)).seal(&Secret::new("sk"), HERE, [7; 12]).unwrap();
        assert_eq!(keys(&key("k1", 9)).open(&sealed, HERE).unwrap_err().code(), Some("binding_shut"));
    }

    #[test]
    fn without_a_key_nothing_is_sealed() {
        let error = keys("").seal(&Secret::new("sk"), HERE, [7; 12]).unwrap_err();
        assert_eq!((error.status(), error.code()), (400, Some("no_master_key")));
    }

    #[test]
    fn master_keys_that_cannot_be_used_are_refused_without_showing_them() {
        let short = format!("k1:{}", STANDARD.encode([1; 31]));
        for text in [
            "secretsecret",
            ":c2VjcmV0",
            "k 1:c2VjcmV0",
            "k1:c2VjcmV0",
            &short,
            &format!("{0},{0}", key("k1", 1)),
        ] {
            let error = MasterKeys::read(text).unwrap_err();
            assert!(!error.contains("c2VjcmV0") && !error.contains("secretsecret"), "{error}");
        }
        assert_eq!(format!("{:?}", keys(&key("k1", 1))), r#"["k1"]"#);
    }
}
