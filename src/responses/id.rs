//! Where a response is kept: from its id to the chain, whose object holds it.
//!
//! Invariant: every id has one home, a chain that is computed from the project and the id alone. A response is kept in its
//! home or, where another chain had to take it, its home holds a pointer there; so finding one takes two steps at most.

use serde::{Deserialize, Serialize};

use crate::keys::digest;
use crate::turn::hex;

/// What ids of responses start with.
const PREFIX: &str = "resp_";
const CHAIN_DIGITS: usize = 32;
const OWN_DIGITS: usize = 16;

/// The id of a chain: a response, all that continue it, or all of a conversation. 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainId(String);

impl ChainId {
    /// A new chain, from 128 random bits.
    pub fn new(random: [u8; CHAIN_DIGITS / 2]) -> Self {
        ChainId(hex(&random))
    }

    /// The home of a response's id. Our own ids say it; a provider's may look the same (OpenAI's did), and are then found
    /// the same way.
    pub fn home(project: &str, response: &str) -> Self {
        match own_chain(response) {
            Some(chain) => ChainId(chain.to_owned()),
            None => ChainId::derived("response", project, response),
        }
    }

    /// The chain of a conversation.
    pub fn of_conversation(project: &str, conversation: &str) -> Self {
        ChainId::derived("conversation", project, conversation)
    }

    /// A chain id as it was stored.
    pub fn stored(digits: String) -> Self {
        ChainId(digits)
    }

    fn derived(kind: &str, project: &str, id: &str) -> Self {
        ChainId(hex(&digest(&[kind, project, id])).chars().take(CHAIN_DIGITS).collect())
    }

    /// The id of a new response in this chain, from 64 random bits: `resp_`, the chain, 16 hex digits of its own.
    pub fn response_id(&self, random: [u8; OWN_DIGITS / 2]) -> String {
        format!("{PREFIX}{}{}", self.0, hex(&random))
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// True for an id of the form that we make, which is never given twice.
pub fn is_own(response: &str) -> bool {
    own_chain(response).is_some()
}

/// The response that an item of a translated answer belongs to, by the item's id: `msg_`, `rs_`, `fc_` or another word,
/// then the digits of the response's id, then the item's own. `None` for ids of any other form.
pub fn response_of_item(item: &str) -> Option<String> {
    let (_, digits) = item.split_once('_')?;
    let id = format!("{PREFIX}{}", digits.get(..CHAIN_DIGITS + OWN_DIGITS)?);
    is_own(&id).then_some(id)
}

fn own_chain(response: &str) -> Option<&str> {
    let digits = response.strip_prefix(PREFIX)?;
    let sane = digits.len() == CHAIN_DIGITS + OWN_DIGITS
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    digits.get(..CHAIN_DIGITS).filter(|_| sane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_ids_say_where_they_are_at_home() {
        let chain = ChainId::new([0xab; 16]);
        let id = chain.response_id([1; 8]);
        assert_eq!(id, format!("resp_{}{}", "ab".repeat(16), "01".repeat(8)));
        assert_eq!(ChainId::home("any project", &id), chain);
        assert!(is_own(&id));
    }

    #[test]
    fn an_item_says_which_response_it_belongs_to() {
        let id = format!("resp_{}", "0f".repeat(24));
        assert_eq!(response_of_item(&format!("msg_{}12", "0f".repeat(24))), Some(id));
        for other in
            ["msg_68af", "msg_", "rs", &format!("msg_{}", "é".repeat(48)), &format!("fc_{}", "A".repeat(50))]
        {
            assert_eq!(response_of_item(other), None, "{other}");
        }
    }

    #[test]
    fn ids_of_providers_have_a_home_in_each_project() {
        for id in [
            "resp_68af",
            "gen-1741386163-abc",
            "resp_0c44cfe6e9bf2d84006a0e434c5a70819bb8b57fbf1d10c2df",
            &format!("resp_{}", "A".repeat(48)),
            &format!("resp_{}é", "a".repeat(46)),
            "",
        ] {
            assert!(!is_own(id), "{id}");
            let home = ChainId::home("p", id);
            assert_eq!((home.as_str().len(), &home), (32, &ChainId::home("p", id)));
            assert_ne!(home, ChainId::home("q", id));
            assert_ne!(home, ChainId::of_conversation("p", id));
        }
    }
}
