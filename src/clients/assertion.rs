//! `private_key_jwt`: client assertions (RFC 7523 §3, OpenID Connect Core §9).

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use writ_resource::{
    claims::numeric_date,
    jws::{Algorithm, Unverified},
};

use super::{
    authentication::{Authenticated, failed},
    find::claimed,
    keys,
};
use crate::{
    app::App,
    error::{OAuthError, Result},
    oauth::grant_type::AuthMethod,
    registry::{Profile, Tenant},
    store::{Change, Once},
};

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: serde_json::Value,
    #[serde(deserialize_with = "numeric_date")]
    exp: i64,
    #[serde(default, deserialize_with = "optional_date")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "optional_date")]
    iat: Option<i64>,
    jti: String,
}

fn optional_date<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
    numeric_date(d).map(Some)
}

/// Checks an assertion: signature first, so that every failure costs the same.
///
/// # Errors
/// `invalid_client`, always with the same words.
pub(super) async fn check(
    app: &App,
    tenant: &Tenant,
    token: &str,
    client_id: Option<&str>,
) -> Result<Authenticated> {
    let refuse = |why: &'static str| {
        tracing::debug!(why, "client assertion refused");
        failed().because(why)
    };
    let unverified = Unverified::parse(token).map_err(|_| refuse("not a JWS we read"))?;
    let algorithm = unverified.alg();
    // Whatever fails, that many signatures are checked.
    let attempts = keys::attempts(&unverified);
    let named = unverified.unverified_claims::<Claims>().ok();
    let named = named.filter(|c| c.iss == c.sub && client_id.is_none_or(|id| id == c.sub));
    let client = match named {
        Some(named) => claimed(app, tenant, &named.sub).await?,
        None => None,
    };
    let client =
        client.filter(|c| c.rights().token_endpoint_auth_method == AuthMethod::PrivateKeyJwt);
    let Some(client) = client else {
        spend_as_much(tenant, algorithm, attempts);
        return Err(refuse("no such client"));
    };
    let candidates = keys::candidates(app, &client, &unverified).await;
    let verified = candidates
        .iter()
        .find_map(|key| unverified.clone().verify(key).ok());
    let Some(verified) = verified else {
        spend_as_much(tenant, algorithm, attempts - candidates.len());
        return Err(refuse("no key of the client's made this signature"));
    };
    let a_fitting_typ = unverified.typ().is_none()
        || unverified.is_typ("jwt")
        || unverified.is_typ("client-authentication+jwt");
    if !a_fitting_typ {
        return Err(refuse("typ"));
    }
    if !client
        .rights()
        .profile
        .rules()
        .algorithms
        .contains(&algorithm)
    {
        return Err(refuse("alg is none of its profile's"));
    }
    let claims: Claims = verified.claims().map_err(|_| refuse("claims"))?;
    let (now, leeway) = (app.clock.seconds(), app.config.clients.assertion_leeway);
    if !audience_fits(&claims.aud, tenant, client.rights().profile) {
        return Err(refuse("aud"));
    }
    if claims.exp.saturating_add(leeway) <= now {
        return Err(refuse("expired"));
    }
    if claims.exp > now + app.config.clients.assertion_lifetime + leeway {
        return Err(refuse("exp is too far away"));
    }
    if claims
        .nbf
        .into_iter()
        .chain(claims.iat)
        .any(|at| at > now + leeway)
    {
        return Err(refuse("not yet valid"));
    }
    if claims.jti.is_empty() || claims.jti.len() > 512 {
        return Err(refuse("jti"));
    }
    Ok(Authenticated {
        method: AuthMethod::PrivateKeyJwt,
        once: Some(Change::use_once(
            tenant.name(),
            name_of(client.id(), &claims.jti),
            claims.exp + leeway + 1,
            Once::Assertion,
        )),
        client,
    })
}

/// The answer when an assertion turns out to have been used before.
#[must_use]
pub fn replayed() -> OAuthError {
    failed().because("assertion used twice")
}

/// RFC 7523bis: `aud` is the issuer, as a string. Libraries from before it say the token
/// endpoint, or a list; only the compatibility profile lets them.
fn audience_fits(audience: &serde_json::Value, tenant: &Tenant, profile: Profile) -> bool {
    let compatible = profile.rules().lenient_audience;
    let is_us = |aud: &str| aud == tenant.issuer() || (compatible && aud == tenant.url("/token"));
    match audience {
        serde_json::Value::String(one) => is_us(one),
        serde_json::Value::Array(many) => {
            compatible && many.iter().filter_map(serde_json::Value::as_str).any(is_us)
        }
        _ => false,
    }
}

fn name_of(client_id: &str, jti: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(client_id.len() + jti.len() + 1);
    name.extend_from_slice(client_id.as_bytes());
    name.push(0);
    name.extend_from_slice(jti.as_bytes());
    digest(&SHA256, &name).as_ref().to_vec()
}

/// Checks signatures that cannot hold, with a key of ours, so that an unknown client costs what
/// a wrong signature costs.
fn spend_as_much(tenant: &Tenant, algorithm: Algorithm, times: usize) {
    let stand_in = if algorithm == Algorithm::PS256 {
        Algorithm::RS256
    } else {
        algorithm
    };
    let keys = tenant.keys();
    let key = keys
        .verifying()
        .iter()
        .find(|key| key.algorithms().contains(&stand_in));
    if let Some(key) = key {
        let length = if stand_in == Algorithm::RS256 {
            256
        } else {
            64
        };
        for _ in 0..times {
            let _ = key.verify_signature(stand_in, b"no such client", &vec![1; length]);
        }
    }
}
