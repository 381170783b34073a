//! Our own access tokens, where they are presented to us: at the admin API and in an exchange.

use std::sync::Arc;

use writ_resource::{claims::AccessClaims, jws::Unverified};

use crate::{
    app::{App, VerifiedToken},
    clients::digest_of,
    registry::Tenant,
};

/// Seconds another node's clock may be ahead of ours.
const SKEW: i64 = 30;

/// Why a token does not hold, for the developer who presents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not an access token of ours.
    #[error("is not an access token of this issuer")]
    NotOurs,
    /// Too old.
    #[error("has expired")]
    Expired,
    /// It was ended before its time.
    #[error("was revoked")]
    Revoked,
    /// Its client, or one that it was exchanged from, is gone.
    #[error("hangs from a grant that has ended")]
    GrantGone,
}

/// Checks signature, type, issuer, time and that its grant still stands. The audience is the
/// caller's business.
///
/// # Errors
/// [`Refused`]
pub async fn access_token(
    app: &App,
    tenant: &Tenant,
    token: &str,
) -> Result<AccessClaims, Refused> {
    let VerifiedToken { claims, .. } = signed(tenant, token)?;
    still_holds(app, tenant, &claims).await?;
    Ok(claims)
}

/// The same for a token that is presented many times, as at introspection: what cannot change of
/// it, signature and claims, is worked out once and kept for a while.
///
/// # Errors
/// [`Refused`]
pub async fn seen_before(
    app: &App,
    tenant: &Tenant,
    token: &str,
) -> Result<Arc<VerifiedToken>, Refused> {
    let digest = digest_of(token);
    // The key may have been taken away since.
    let published = |known: &VerifiedToken| {
        let keys = tenant.keys();
        let mut kids = keys.verifying().iter().map(|key| key.kid());
        kids.any(|kid| kid == Some(&known.kid))
    };
    let known = app.verified_tokens.get(&digest);
    let verified = match known.filter(|known| published(known)) {
        Some(known) => known,
        None => {
            let verified = Arc::new(signed(tenant, token)?);
            app.verified_tokens.insert(digest, verified.clone());
            verified
        }
    };
    still_holds(app, tenant, &verified.claims).await?;
    Ok(verified)
}

/// What does not change: type, key, signature, claims.
fn signed(tenant: &Tenant, token: &str) -> Result<VerifiedToken, Refused> {
    let unverified = Unverified::parse(token).map_err(|_| Refused::NotOurs)?;
    // RFC 9068 §4, and RFC 8725 §3.11: nothing else that we sign passes as an access token.
    if !unverified.is_typ("at+jwt") {
        return Err(Refused::NotOurs);
    }
    let keys = tenant.keys();
    let key = keys
        .verifying()
        .iter()
        .find(|key| key.kid() == unverified.kid() && key.algorithms().contains(&unverified.alg()))
        .ok_or(Refused::NotOurs)?;
    let claims: AccessClaims = unverified
        .verify(key)
        .and_then(|verified| verified.claims())
        .map_err(|_| Refused::NotOurs)?;
    Ok(VerifiedToken {
        claims,
        kid: key.kid().unwrap_or_default().into(),
        length: token.len(),
    })
}

/// What does change: whose token it is here, the time, the grant.
async fn still_holds(app: &App, tenant: &Tenant, claims: &AccessClaims) -> Result<(), Refused> {
    match holds(app, tenant, claims) {
        // Another node may have made the grant with this very token, a moment ago.
        Err(Refused::GrantGone) if app.feed.catch_up().await => holds(app, tenant, claims),
        outcome => outcome,
    }
}

/// Whether a token that was verified still holds, as far as this node has heard: for whoever was
/// let in with it and stays.
///
/// # Errors
/// [`Refused`]
pub fn holds(app: &App, tenant: &Tenant, claims: &AccessClaims) -> Result<(), Refused> {
    let now = app.clock.seconds();
    if claims.iss != tenant.issuer()
        || claims.iat > now + SKEW
        || claims.nbf.is_some_and(|at| at > now + SKEW)
    {
        return Err(Refused::NotOurs);
    }
    if claims.exp <= now {
        return Err(Refused::Expired);
    }
    if tenant.is_revoked(&claims.jti) {
        return Err(Refused::Revoked);
    }
    // Whoever the token comes from, in however many steps, must still be there.
    let grant = claims.grant_id.as_deref().unwrap_or_default();
    if !tenant.holds_grant(&claims.client_id, grant) {
        return Err(Refused::GrantGone);
    }
    Ok(())
}
