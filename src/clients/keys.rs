//! A client's public keys: inline, or at its `jwks_uri`.

use std::sync::Arc;

use writ_resource::jws::{KeySet, Unverified, VerifyingKey};

use crate::{
    app::{App, FetchedKeys},
    registry::{Client, Keys},
};

/// Seconds that keys from a `jwks_uri` are used before they are read again.
const KEYS_AGE: i64 = 300;
/// Seconds that they are used while their owner does not answer.
const KEYS_MAX_AGE: i64 = 86_400;
/// Seconds between two requests to one `jwks_uri`, whatever is signed: a made-up `kid` costs its
/// owner nothing.
const FETCH_FLOOR: i64 = 10;

/// How many of a client's keys are tried for what it has signed. A signature that names its key is
/// checked once; one that does not, as several SDKs send, may mean either of two.
#[must_use]
pub(super) fn attempts(signed: &Unverified<'_>) -> usize {
    if signed.kid().is_some() { 1 } else { 2 }
}

/// The client's keys that may have made this signature.
pub async fn candidates(app: &App, client: &Client, signed: &Unverified<'_>) -> Vec<VerifyingKey> {
    let (kid, algorithm) = (signed.kid(), signed.alg());
    let keys = client_keys(app, client, kid).await;
    let keys = keys.iter().flat_map(|keys| keys.keys());
    keys.filter(|key| key.algorithms().contains(&algorithm))
        .filter(|key| kid.is_none() || key.kid() == kid)
        .take(attempts(signed))
        .cloned()
        .collect()
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
