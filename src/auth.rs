//! Which credential in a request is whose: the gateway key that names the project, and the caller's own provider
//! credential, if there is one.
//!
//! Invariant: nothing that looks like a gateway key is ever handed out as a provider credential.

use crate::error::{Error, Kind};
use crate::keys::{KEY_PREFIX, PlainKey, Secret};

/// What some Anthropic clients put in `x-api-key` next to a bearer token.
const PLACEHOLDER: &str = "oauth-gateway-placeholder";

/// The headers that can carry a credential, as sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct CredentialHeaders<'a> {
    /// `X-Memory-Gateway-Authorization`.
    pub gateway: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `x-api-key`.
    pub api_key: Option<&'a str>,
}

/// The credentials of a request, told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Names the project.
    pub gateway: PlainKey,
    /// The caller's own provider credential (pass-through), used for this request alone.
    pub provider: Option<Secret>,
}

/// Tells the credentials of a request apart. Errors: 401 that says where the gateway key belongs.
pub fn credentials(headers: CredentialHeaders<'_>) -> Result<Credentials, Error> {
    if let Some(value) = headers.gateway {
        let gateway = PlainKey::parse(without_scheme(value)).ok_or_else(|| {
            unauthenticated(
                "X-Memory-Gateway-Authorization must hold a gateway key in the form `Bearer msk_…`.",
                "invalid_api_key",
            )
        })?;
        // What is no provider credential in one header does not hide the one in the other.
        let provider = [headers.authorization.map(without_scheme), headers.api_key.map(str::trim)]
            .into_iter()
            .flatten()
            .find(|key| !key.is_empty() && *key != PLACEHOLDER && !key.starts_with(KEY_PREFIX))
            .map(Secret::new);
        return Ok(Credentials { gateway, provider });
    }
    let sent = [headers.authorization.map(without_scheme), headers.api_key.map(str::trim)];
    let mut keys = sent.into_iter().flatten().filter(|key| !key.is_empty() && *key != PLACEHOLDER).peekable();
    if keys.peek().is_none() {
        return Err(unauthenticated(
            "No gateway key. Send it as `Authorization: Bearer msk_…` (the OpenAI SDK's apiKey) or as `x-api-key`.",
            "missing_api_key",
        ));
    }
    keys.find_map(PlainKey::parse).map(|gateway| Credentials { gateway, provider: None }).ok_or_else(|| {
        unauthenticated(
            "This is not a gateway key: those start with `msk_`. To use your own provider key, send it in \
             `Authorization` and the gateway key in `X-Memory-Gateway-Authorization: Bearer msk_…`.",
            "invalid_api_key",
        )
    })
}

/// 401 for a key of the right form that no project has.
pub fn unknown_key() -> Error {
    unauthenticated(
        "Unknown or revoked gateway key. Check it, or ask the gateway's operator for a new one.",
        "invalid_api_key",
    )
}

/// 401 with a machine-readable code.
pub fn unauthenticated(message: &str, code: &'static str) -> Error {
    Error::new(Kind::Unauthenticated, message).with_code(code)
}

/// The credential behind `Bearer `, whatever the scheme's case; a bare credential is taken as it is.
pub fn without_scheme(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
        // HTTP trims the blank of an empty bearer, as an unset variable leaves it.
        None if value.eq_ignore_ascii_case("bearer") => "",
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        gateway: Option<&str>,
        authorization: Option<&str>,
        api_key: Option<&str>,
    ) -> Result<(String, Option<String>), &'static str> {
        credentials(CredentialHeaders { gateway, authorization, api_key })
            .map(|found| {
                (found.gateway.hash().as_str().to_owned(), found.provider.map(|key| key.reveal().to_owned()))
            })
            .map_err(|error| {
                assert_eq!(error.status(), 401);
                if error.message().starts_with("No gateway key") { "missing" } else { "malformed" }
            })
    }

    fn hash(key: &str) -> String {
        PlainKey::parse(key).unwrap().hash().as_str().to_owned()
    }

    #[test]
    fn direct_mode_takes_the_bearer_or_the_anthropic_header() {
        assert_eq!(read(None, Some("Bearer msk_a"), None), Ok((hash("msk_a"), None)));
        assert_eq!(read(None, Some("bearer  msk_a "), None), Ok((hash("msk_a"), None)));
        assert_eq!(read(None, None, Some("msk_a")), Ok((hash("msk_a"), None)));
        assert_eq!(read(None, Some("Bearer msk_a"), Some("msk_b")), Ok((hash("msk_a"), None)));
    }

    #[test]
    fn pass_through_mode_leaves_the_other_header_to_the_provider() {
        let own = Some("sk-own".to_owned());
        assert_eq!(read(Some("Bearer msk_a"), Some("Bearer sk-own"), None), Ok((hash("msk_a"), own.clone())));
        assert_eq!(read(Some("Bearer msk_a"), None, Some("sk-own")), Ok((hash("msk_a"), own.clone())));
        assert_eq!(
            read(Some("Bearer msk_a"), Some("Bearer sk-own"), Some("oauth-gateway-placeholder")),
            Ok((hash("msk_a"), own))
        );
        assert_eq!(read(Some("msk_a"), None, Some("oauth-gateway-placeholder")), Ok((hash("msk_a"), None)));
    }

    #[test]
    fn a_gateway_key_is_never_taken_for_a_provider_credential() {
        assert_eq!(read(Some("Bearer msk_a"), Some("Bearer msk_b"), None), Ok((hash("msk_a"), None)));
        assert_eq!(read(Some("Bearer msk_a"), None, Some("msk_b")), Ok((hash("msk_a"), None)));
    }

    #[test]
    fn what_is_not_a_gateway_key_is_refused_with_a_reason() {
        assert_eq!(read(None, None, None), Err("missing"));
        assert_eq!(read(None, Some(""), Some(" ")), Err("missing"));
        assert_eq!(read(None, Some("Bearer"), None), Err("missing"));
        assert_eq!(read(Some("Bearer msk_a"), Some("Bearer "), None), Ok((hash("msk_a"), None)));
        assert_eq!(read(None, Some("Bearer sk-own"), None), Err("malformed"));
        assert_eq!(read(None, Some("Basic bXNrXw=="), None), Err("malformed"));
        assert_eq!(read(Some("Bearer sk-own"), Some("Bearer msk_a"), None), Err("malformed"));
    }

    #[test]
    fn no_error_repeats_the_credential() {
        let error =
            credentials(CredentialHeaders { authorization: Some("Bearer sk-planted"), ..Default::default() })
                .unwrap_err();
        assert!(!error.body().to_string().contains("planted"));
    }
}
