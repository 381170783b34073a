//! `private_key_jwt`: client assertions (RFC 7523 §3, OpenID Connect Core §9).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use entity::replay;
use serde::Deserialize;
use writ_resource::{
    claims::numeric_date,
    jws::{Algorithm, KeySet, Unverified},
};

use super::{
    authentication::{Authenticated, failed},
    find::claimed,
};
use crate::{
    app::{App, FetchedKeys},
    error::{OAuthError, Result},
    oauth::grant_type::AuthMethod,
    registry::{Client, Keys, Profile, Tenant},
};

/// Seconds that keys from a `jwks_uri` are used before they are read again.
const KEYS_AGE: i64 = 300;
/// Seconds that they are used while their owner does not answer.
const KEYS_MAX_AGE: i64 = 86_400;
/// Seconds between two requests to one `jwks_uri`, whatever assertions say: a made-up `kid` costs
/// its owner nothing.
const FETCH_FLOOR: i64 = 10;

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
    // An assertion that names its key is checked once; one that does not, as several SDKs send,
    // may mean either of two. Whatever fails, that many signatures are checked.
    let attempts = if unverified.kid().is_some() { 1 } else { 2 };
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
    let kid = unverified.kid().map(str::to_owned);
    let keys = client_keys(app, &client, kid.as_deref()).await;
    let candidates: Vec<_> = keys
        .iter()
        .flat_map(|keys| keys.keys())
        .filter(|key| key.algorithms().contains(&algorithm))
        .filter(|key| kid.is_none() || key.kid() == kid.as_deref())
        .take(attempts)
        .collect();
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

/// The client's keys: inline, or from its `jwks_uri`, which is read again when the keys are old or
/// `kid` is not among them.
async fn client_keys(app: &App, client: &Client, kid: Option<&str>) -> Option<Arc<KeySet>> {
    let url = match client.keys()? {
        Keys::Inline(keys) => return Some(keys.clone()),
        Keys::At(url) => url.as_str(),
    };
    let now = app.clock.seconds();
    let fits =
        |keys: &KeySet| kid.is_none_or(|kid| keys.keys().iter().any(|key| key.kid() == Some(kid)));
    let usable = |known: &FetchedKeys| known.asked_at + KEYS_AGE > now && fits(&known.keys);
    if let Some(known) = app.client_keys.get(url).await
        && usable(&known)
    {
        return Some(known.keys.clone());
    }
    // One at a time for each URL: whoever waits here takes what the one before has fetched.
    let entry = app
        .client_keys
        .entry_by_ref(url)
        .and_upsert_with(|known| async move {
            let known = known.map(moka::Entry::into_value);
            match known {
                Some(known) if known.asked_at + FETCH_FLOOR > now => known,
                known => {
                    let old = known.filter(|known| known.read_at + KEYS_MAX_AGE > now);
                    let (keys, read_at) = match (fetch_keys(app, url).await, old) {
                        (Some(fetched), _) => (fetched, now),
                        (None, Some(old)) => (old.keys.clone(), old.read_at),
                        (None, None) => (Arc::default(), 0),
                    };
                    Arc::new(FetchedKeys {
                        keys,
                        read_at,
                        asked_at: now,
                    })
                }
            }
        });
    Some(entry.await.into_value().keys.clone())
}

async fn fetch_keys(app: &App, url: &str) -> Option<Arc<KeySet>> {
    let body = app.fetch.get(url).await.map_err(|why| why.to_string());
    match body.and_then(|body| KeySet::from_jwks(&body).map_err(|why| why.to_string())) {
        Ok(keys) => Some(Arc::new(keys)),
        Err(error) => {
            // A query string may hold what only the client should know.
            let url = url.split('?').next();
            tracing::info!(url, error, "jwks_uri cannot be read");
            None
        }
    }
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
