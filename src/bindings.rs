//! Credentials of providers that belong to a project or to one of its keys.
//!
//! Invariant: a stored credential is sealed at rest and until the moment it is used; it goes to the provider it was
//! stored for, at the address that the deployment's configuration has for it.

use crate::error::Error;
use crate::keys::{Secret, digest};
use crate::route::CredentialSource;
use crate::vault::{MasterKeys, Place};

/// What a key may use of stored credentials: its own and its project's, sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    project: String,
    all: Vec<Binding>,
}

/// One stored credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The gateway key's id; empty for the project's own.
    pub key_id: String,
    /// The provider, by its name.
    pub provider: String,
    /// The credential, sealed.
    pub sealed: String,
}

impl Bindings {
    /// The bindings of a project and of one of its keys.
    pub fn new(project: impl Into<String>, all: Vec<Binding>) -> Self {
        Bindings { project: project.into(), all }
    }

    /// True when there is a credential for the provider.
    pub fn has(&self, provider: &str) -> bool {
        self.find(provider).is_some()
    }

    /// The credential for a provider and whose it is: the key's own goes before the project's. Errors: 500 for one that
    /// cannot be opened; it is not passed over, or the request would go on somebody else's account.
    pub fn credential(
        &self,
        provider: &str,
        master_keys: &MasterKeys,
    ) -> Result<Option<(Secret, CredentialSource)>, Error> {
        let Some(binding) = self.find(provider) else { return Ok(None) };
        let place = Place { project: &self.project, key_id: &binding.key_id, provider };
        let source = match binding.key_id.is_empty() {
            true => CredentialSource::Project,
            false => CredentialSource::Key,
        };
        Ok(Some((master_keys.open(&binding.sealed, place)?, source)))
    }

    /// The project's own credential for a provider. Errors: 500 for one that cannot be opened.
    pub fn of_project(&self, provider: &str, master_keys: &MasterKeys) -> Result<Option<Secret>, Error> {
        let of_project = |binding: &&Binding| binding.key_id.is_empty() && binding.provider == provider;
        let Some(binding) = self.all.iter().find(of_project) else { return Ok(None) };
        let place = Place { project: &self.project, key_id: "", provider };
        master_keys.open(&binding.sealed, place).map(Some)
    }

    /// What tells these bindings from any others; of all empty ones it is the same.
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.all.iter().map(|binding| binding.sealed.as_str()).collect::<Vec<_>>())
    }

    fn find(&self, provider: &str) -> Option<&Binding> {
        self.all
            .iter()
            .filter(|binding| binding.provider == provider)
            .max_by_key(|binding| !binding.key_id.is_empty())
    }
}

/// How a credential is shown: its last characters, where enough of it stays hidden.
pub fn hint(credential: &Secret) -> String {
    let chars: Vec<char> = credential.reveal().chars().collect();
    let shown = if chars.len() >= 16 { 4 } else { 0 };
    let from = chars.len().saturating_sub(shown);
    std::iter::once('…').chain(chars.into_iter().skip(from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_never_shows_most_of_a_credential() {
        assert_eq!(hint(&Secret::new("sk-proj-0123456789abcd")), "…abcd");
        assert_eq!(hint(&Secret::new("sk-short")), "…");
        assert_eq!(hint(&Secret::new("")), "…");
    }
}
