//! `private_key_jwt`: client assertions (RFC 7523 §3, OpenID Connect Core §9).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use entity::replay;
use serde::Deserialize;
use writ_resource::{
    claims::numeric_date,
    jws::{Algorithm, KeySet, Unverified},
};

use super::authentication::{Authenticated, failed};
use crate::{
    app::App,
    error::{OAuthError, Result},
    oauth::grant_type::AuthMethod,
    registry::{Client, Profile, Tenant},
};

/// Keys of one client that are tried when an assertion names none.
const MAX_KEYS: usize = 8;

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
    let named = unverified.unverified_claims::<Claims>().ok();
    let client = named
        .filter(|c| c.iss == c.sub && client_id.is_none_or(|id| id == c.sub))
        .and_then(|c| tenant.client(&c.sub))
        .filter(|c| c.document().token_endpoint_auth_method == AuthMethod::PrivateKeyJwt);
    let Some(client) = client else {
        spend_as_much(tenant, algorithm);
        return Err(refuse("no such client"));
    };
    let kid = unverified.kid().map(str::to_owned);
    let keys = client_keys(app, &client, kid.as_deref()).await;
    let candidates: Vec<_> = keys
        .iter()
        .flat_map(|keys| keys.keys())
        .filter(|key| key.algorithms().contains(&algorithm))
        .filter(|key| kid.is_none() || key.kid() == kid.as_deref())
        .take(MAX_KEYS)
        .collect();
    if candidates.is_empty() {
        spend_as_much(tenant, algorithm);
        return Err(refuse("no key fits"));
    }
    let typ = unverified.typ().map(str::to_ascii_lowercase);
    let verified = candidates
        .into_iter()
        .find_map(|key| unverified.clone().verify(key).ok())
        .ok_or_else(|| refuse("signature"))?;
    if !matches!(
        typ.as_deref(),
        None | Some("jwt" | "client-authentication+jwt")
    ) {
        return Err(refuse("typ"));
    }
    if client.document().profile == Profile::Fapi2 && algorithm == Algorithm::RS256 {
        return Err(refuse("RS256 under fapi2"));
    }
    let claims: Claims = verified.claims().map_err(|_| refuse("claims"))?;
    let (now, leeway) = (app.clock.seconds(), app.config.clients.assertion_leeway);
    if !audience_fits(&claims.aud, tenant, client.document().profile) {
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
        once: Some(replay::Model {
            tenant: tenant.name().to_owned(),
            digest: name_of(client.id(), &claims.jti),
            expires_at: claims.exp + leeway + 1,
        }),
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
    let compatible = profile == Profile::OidcCompat;
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

/// The client's keys: inline, or from its `jwks_uri`, read again once when `kid` is not in it.
async fn client_keys(app: &App, client: &Client, kid: Option<&str>) -> Option<Arc<KeySet>> {
    if let Some(keys) = client.keys() {
        return Some(keys.clone());
    }
    let url = client.document().jwks_uri.clone()?;
    if let Some(known) = app.client_keys.get(&url).await
        && kid.is_none_or(|kid| known.keys().iter().any(|key| key.kid() == Some(kid)))
    {
        return Some(known);
    }
    // At most one fetch of a URL in ten seconds: an assertion with a made-up `kid` costs us
    // nothing but the signature check.
    let floor = format!("{url}\u{0}fetched");
    if app.client_keys.contains_key(&floor) {
        return app.client_keys.get(&url).await;
    }
    let body = app.fetch.get(&url).await;
    app.client_keys.insert(floor, Arc::default()).await;
    match body
        .map_err(|e| e.to_string())
        .and_then(|b| KeySet::from_jwks(&b).map_err(|e| e.to_string()))
    {
        Ok(keys) => {
            let keys = Arc::new(keys);
            app.client_keys.insert(url, keys.clone()).await;
            Some(keys)
        }
        Err(error) => {
            tracing::info!(client.id = client.id(), error, "jwks_uri cannot be read");
            app.client_keys.get(&url).await
        }
    }
}

/// Checks a signature that cannot hold, with a key of ours, so that an unknown client costs what
/// a wrong signature costs.
fn spend_as_much(tenant: &Tenant, algorithm: Algorithm) {
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
        let _ = key.verify_signature(stand_in, b"no such client", &vec![1; length]);
    }
}
