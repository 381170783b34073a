//! What codes and refresh tokens have in common: a person stands behind them, and they may be bound
//! to a key.

use super::{TokenRequest, scope};
use crate::{
    error::{OAuthError, Result},
    policy::{Authorized, Facts, OnBehalf, Permit, Request, decide},
};

/// What a client gets in the name of a person who has authorized it.
///
/// # Errors
/// What the policy says.
pub(super) fn permit(request: TokenRequest<'_>, authorized: &Authorized) -> Result<Permit> {
    let facts = Facts {
        resources: &request.tenant.resources(),
        subject_client: None,
        max_depth: request.app.config.policy.max_delegation_depth,
    };
    let asked = Request {
        client: request.authenticated.client.clone(),
        targets: request.params.all("resource").collect(),
        audiences: Vec::new(),
        // RFC 6749 §4.1.3 has no scope for codes; who sends one gets no more than that.
        scope: scope(request.params)?,
        on_behalf: OnBehalf::Person(Box::new(authorized.clone())),
        proved_key: request.proved_key,
    };
    decide(asked, &facts)
}

/// Whether a client has proved to hold the key that the parameter `name` is bound to, if it is
/// (RFC 9449 §5, §10).
///
/// # Errors
/// `invalid_dpop_proof` without a proof, `invalid_grant` for one of another key.
pub(super) fn check_key(name: &str, bound: Option<&str>, proved: Option<&str>) -> Result<()> {
    match (bound, proved) {
        (None, _) => Ok(()),
        (Some(bound), Some(proved)) if bound == proved => Ok(()),
        (Some(_), None) => Err(OAuthError::invalid_dpop_proof(format!(
            "{name} is bound to a key: send a DPoP proof made with it."
        ))),
        (Some(_), Some(_)) => Err(OAuthError::invalid_grant(format!(
            "{name} is bound to another key than the one that made the DPoP proof."
        ))),
    }
}
