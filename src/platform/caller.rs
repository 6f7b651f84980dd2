//! Who asks, and whether they may: the gateway key, its rules, its limits.
//!
//! Invariant: what comes behind this knows the caller. Every answer to a known key tells how it stands.

use worker::Context;

use super::border::now;
use super::d1_keys;
use super::gateway_worker::Incoming;
use super::key_limits::{Stopped, admit};
use crate::auth::{CredentialHeaders, Credentials, credentials};
use crate::error::Error;
use crate::grant::Part;
use crate::keys::Principal;
use crate::limits::Scope;

/// Who asks.
#[derive(Clone)]
pub struct Caller {
    /// The gateway key, and the caller's own provider credential.
    pub credentials: Credentials,
    /// Whom the key speaks for.
    pub principal: Principal,
}

/// Checks the key of a request, and counts it; the answer's lines tell of it from then on. Errors: 401, 403, 429, and 503
/// when nobody can say.
pub async fn check(
    incoming: &mut Incoming,
    context: &Context,
    part: Part,
    scope: Scope,
) -> Result<(), Error> {
    let started = incoming.started;
    let headers = incoming.headers();
    let credentials = credentials(CredentialHeaders {
        gateway: headers.get("x-memory-gateway-authorization"),
        authorization: headers.get("authorization"),
        api_key: headers.get("x-api-key"),
    })?;
    #[cfg(feature = "fault-injection")]
    let fault = headers.get("x-fault").map(str::to_owned);
    #[cfg(not(feature = "fault-injection"))]
    let fault = None;
    let principal = d1_keys::principal(&incoming.env, &credentials.gateway).await?;
    let grant = principal.grant.clone();
    incoming.caller = Some(Caller { credentials, principal: principal.clone() });
    grant.check_valid(started)?;
    let limits = incoming.config.limits.changed(&grant.limits);
    let admitted = admit(&incoming.env, context, &principal, scope, limits, fault).await;
    incoming.auth_ms = now() - started;
    match admitted {
        Ok(standing) => standing.add_to(&mut incoming.answer_lines),
        Err(Stopped::Over(refusal)) => {
            refusal.standing.add_to(&mut incoming.answer_lines);
            return Err(refusal.error());
        }
        Err(Stopped::Uncounted(error)) => return Err(error),
    }
    grant.check_part(part)
}

/// Counts what a request of a caller that was [checked](check) does beside what it was counted as then. Errors: 429, and 503
/// when nobody can say.
pub async fn count(incoming: &Incoming, context: &Context, scope: Scope) -> Result<(), Error> {
    let principal = &incoming.caller()?.principal;
    let limits = incoming.config.limits.changed(&principal.grant.limits);
    match admit(&incoming.env, context, principal, scope, limits, None).await {
        Ok(_) => Ok(()),
        Err(Stopped::Over(refusal)) => Err(refusal.error()),
        Err(Stopped::Uncounted(error)) => Err(error),
    }
}
