//! Which key a token is bound to, and when it has to be (RFC 9449 §5, §10).
//!
//! Whoever asks with a proof gets a token for that key. A binding is never lost on the way: what
//! is made of a bound token is bound, to the same key while the same client holds it.

use std::sync::Arc;

use super::OnBehalf;
use crate::{
    error::{OAuthError, Result},
    oauth::claims::AccessClaims,
    registry::{Client, Resource},
};

/// The thumbprint of the key the new token is bound to; `proved` is that of the request's proof.
///
/// # Errors
/// `invalid_dpop_proof` when a proof is needed and there is none, `invalid_grant` when it is by
/// another key than the one that holds the tokens that are handed in.
pub fn check(
    client: &Client,
    resources: &[Arc<Resource>],
    on_behalf: &OnBehalf,
    proved: Option<&str>,
) -> Result<Option<String>> {
    if proved.is_none() {
        proof_not_needed(client, resources)?;
    }
    if let OnBehalf::Subject { subject, actor } = on_behalf {
        if subject.client_id == client.id() {
            same_key("subject_token", subject, proved)?;
        } else if subject.cnf.is_some() && proved.is_none() {
            return Err(OAuthError::invalid_dpop_proof(
                "subject_token is bound to a key: what it is exchanged for is bound to yours, \
                 which takes a DPoP proof.",
            ));
        }
        if let Some(actor) = actor {
            same_key("actor_token", actor, proved)?;
        }
    }
    Ok(proved.map(str::to_owned))
}

/// Whether neither the client nor a resource insists on bound tokens.
fn proof_not_needed(client: &Client, resources: &[Arc<Resource>]) -> Result<()> {
    if client.rights().profile.rules().bound {
        return Err(OAuthError::invalid_dpop_proof(
            "Under the profile of this client every token is bound to a key: send a DPoP proof.",
        ));
    }
    if client.rights().dpop_bound_access_tokens {
        return Err(OAuthError::invalid_dpop_proof(
            "This client is registered with dpop_bound_access_tokens: send a DPoP proof.",
        ));
    }
    match resources.iter().find(|r| r.document().dpop_required) {
        Some(strict) => Err(OAuthError::invalid_dpop_proof(format!(
            "'{}' accepts only DPoP-bound tokens: send a DPoP proof.",
            strict.uri()
        ))),
        None => Ok(()),
    }
}

/// A client that uses its own bound token shows that it still holds the key.
fn same_key(name: &str, token: &AccessClaims, proved: Option<&str>) -> Result<()> {
    let Some(bound) = &token.cnf else {
        return Ok(());
    };
    match (bound.jkt.as_deref(), proved) {
        (Some(jkt), Some(proved)) if jkt == proved => Ok(()),
        (_, None) => Err(OAuthError::invalid_dpop_proof(format!(
            "{name} is bound to a key: send a DPoP proof made with it."
        ))),
        _ => Err(OAuthError::invalid_grant(format!(
            "{name} is bound to another key than the one that made the DPoP proof."
        ))),
    }
}
