//! The secret that opens the management API.
//!
//! Invariant: kept and compared as a digest, all of it whatever differs, so that neither the log nor the time that a
//! comparison takes tells of it.

use sha2::{Digest, Sha256};

use crate::auth::{unauthenticated, without_scheme};
use crate::error::Error;
use crate::keys::KEY_PREFIX;

/// What an administrator's secret has at least: less can be guessed.
const MIN_CHARS: usize = 16;

/// The administrator's secret, as its SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Takes the secret. Errors: what is wrong with it, to follow the variable's name.
    pub fn read(text: &str) -> Result<Self, String> {
        match text.chars().count() {
            count if count < MIN_CHARS => {
                Err(format!("must have at least {MIN_CHARS} characters, better 32 random ones"))
            }
            _ => Ok(AdminToken(Sha256::digest(text.as_bytes()).into())),
        }
    }

    /// Checks the `Authorization` of a request against the secret of the deployment. Errors: 403 where it has none, 401
    /// for anything but the secret.
    pub fn check(expected: Option<&Self>, authorization: Option<&str>) -> Result<(), Error> {
        let Some(expected) = expected else {
            return Err(Error::forbidden(
                "The management API is off: this gateway has no ADMIN_TOKEN. Set that secret to a long random text \
                 (`npx wrangler secret put ADMIN_TOKEN`, locally in .dev.vars) to switch it on.",
            )
            .with_code("management_off"));
        };
        let Some(sent) = authorization.map(without_scheme).filter(|sent| !sent.is_empty()) else {
            return Err(unauthenticated(
                "The management API wants the deployment's secret: `Authorization: Bearer ADMIN_TOKEN`.",
                "missing_admin_token",
            ));
        };
        let digest: [u8; 32] = Sha256::digest(sent.as_bytes()).into();
        let difference = digest.iter().zip(expected.0).fold(0, |all, (one, other)| all | (one ^ other));
        // A barrier, or the loop above might be made to end at the first difference.
        if std::hint::black_box(difference) == 0 {
            return Ok(());
        }
        Err(unauthenticated(
            if sent.starts_with(KEY_PREFIX) {
                "This is a gateway key. The management API wants the deployment's ADMIN_TOKEN in its place."
            } else {
                "This is not the deployment's ADMIN_TOKEN."
            },
            "invalid_admin_token",
        ))
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("AdminToken(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_opens() {
        let token = AdminToken::read("0123456789abcdef").unwrap();
        let code = |expected: Option<&AdminToken>, sent: Option<&str>| {
            AdminToken::check(expected, sent).map_err(|error| (error.status(), error.code()))
        };
        assert_eq!(code(Some(&token), Some("Bearer 0123456789abcdef")), Ok(()));
        for sent in ["Bearer 0123456789abcdeF", "Bearer 0123456789abcde", "0123456789abcdef0", "Bearer msk_a"]
        {
            assert_eq!(code(Some(&token), Some(sent)), Err((401, Some("invalid_admin_token"))), "{sent}");
        }
        for sent in [None, Some(""), Some("Bearer ")] {
            assert_eq!(code(Some(&token), sent), Err((401, Some("missing_admin_token"))));
        }
        assert_eq!(code(None, Some("Bearer 0123456789abcdef")), Err((403, Some("management_off"))));
        assert!(AdminToken::read("short").is_err());
        assert_eq!(format!("{token:?}"), "AdminToken(***)");
    }
}
