//! Proofs of possession where requests reach us: the token endpoint and whatever takes an access
//! token (RFC 9449).
//!
//! Reading a proof is [`writ_resource::dpop`]'s business. Here is what it takes to believe it at
//! this server: its nonces, and that each proof is used up in the journal, so that none holds
//! twice, on whichever node and after whatever restart.

use http::HeaderMap;
use writ_resource::dpop::{self, Expected, Htu, Proof, ProofError};

use crate::{
    app::App,
    error::{OAuthError, Result},
    registry::Tenant,
    store::{Change, Once},
};

/// The request that a proof came with.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path below the issuer.
    pub path: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its access token, where the endpoint takes one.
    pub token: Option<&'a str>,
}

/// The proof of a request, when it has one and that holds.
///
/// # Errors
/// `invalid_dpop_proof`, or `use_dpop_nonce` with a fresh nonce.
pub fn presented(app: &App, tenant: &Tenant, request: Request<'_>) -> Result<Option<Proof>> {
    let url = tenant.url(request.path);
    let refuse = |why| match why {
        // Behind a proxy this is what goes wrong: the issuer is not what clients see.
        ProofError::Url => OAuthError::invalid_dpop_proof(format!("{why}: here it is {url}.")),
        why => OAuthError::invalid_dpop_proof(format!("{why}.")),
    };
    let Some(text) = dpop::header(request.headers).map_err(refuse)? else {
        return Ok(None);
    };
    let expected = Expected {
        method: request.method,
        url: &Htu::parse(&url).ok_or_else(|| refuse(ProofError::Url))?,
        token: request.token,
        now: app.clock.seconds(),
        lifetime: app.config.dpop.proof_lifetime,
    };
    let proof = dpop::verify(text, &expected).map_err(refuse)?;
    let fresh = match proof.nonce() {
        Some(nonce) => app.nonces.accepts(tenant.issuer(), nonce, expected.now),
        None => !app.config.dpop.require_nonce,
    };
    if fresh {
        Ok(Some(proof))
    } else {
        Err(OAuthError::use_dpop_nonce(&nonce(app, tenant)))
    }
}

/// The change that uses a proof up.
#[must_use]
pub fn spend(app: &App, tenant: &Tenant, proof: &Proof) -> Change {
    let ends_at = proof.iat() + app.config.dpop.proof_lifetime + 1;
    Change::use_once(tenant.name(), proof.digest(), ends_at, Once::Proof)
}

/// The answer when a proof turns out to have been used before (RFC 9449 §11.1).
#[must_use]
pub fn replayed() -> OAuthError {
    OAuthError::invalid_dpop_proof(
        "The DPoP proof was used before: make a new proof for every request.",
    )
}

/// The nonce to hand out with an answer: a client that came without one is not bothered with
/// them, since a nonce that nobody asks for only grows stale.
#[must_use]
pub fn next_nonce(app: &App, tenant: &Tenant, proof: &Proof) -> Option<String> {
    let used = proof.nonce().is_some() || app.config.dpop.require_nonce;
    used.then(|| nonce(app, tenant))
}

fn nonce(app: &App, tenant: &Tenant) -> String {
    app.nonces.current(tenant.issuer(), app.clock.seconds())
}
