//! A provider's metadata and keys, read when they are needed and kept for a while.

use std::{sync::Arc, time::Duration};

use url::Url;
use writ_resource::jws::{Algorithm, KeySet};

use super::Failure;
use crate::{
    app::{
        App,
        providers::{Provider, ProviderMetadata},
    },
    fetch::Wanted,
};

/// The provider's metadata (OpenID Connect Discovery §4).
///
/// # Errors
/// [`Failure`] when there is none that is its own.
pub(super) async fn metadata(
    app: &App,
    provider: &Provider,
) -> Result<Arc<ProviderMetadata>, Failure> {
    let read = async || {
        let read = read_metadata(app, provider).await;
        noted(provider, "metadata", read)
    };
    let found = provider.metadata.get(app.clock.seconds(), |_| true, read);
    found
        .await
        .ok_or_else(|| Failure::away("its metadata cannot be read"))
}

async fn read_metadata(app: &App, provider: &Provider) -> Result<ProviderMetadata, String> {
    // §4.1: a slash at the end goes before the path is added.
    let issuer = &provider.config.issuer;
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    let url = format!("{base}/.well-known/openid-configuration");
    let wanted = Wanted {
        url: &url,
        etag: None,
        max_body: app.config.fetch.max_body,
        timeout: Duration::from_secs(app.config.fetch.timeout),
    };
    let document = provider.fetch.document(wanted).await;
    let body = document.map_err(|why| why.to_string())?.body;
    let metadata: ProviderMetadata =
        serde_json::from_slice(&body.unwrap_or_default()).map_err(|why| why.to_string())?;
    check(provider, &metadata)?;
    Ok(metadata)
}

fn check(provider: &Provider, metadata: &ProviderMetadata) -> Result<(), String> {
    // §4.3: exactly, or it is another's document.
    if metadata.issuer != provider.config.issuer {
        return Err(format!("it is of the issuer '{}'", metadata.issuer));
    }
    let endpoints = [
        Some(&metadata.authorization_endpoint),
        Some(&metadata.token_endpoint),
        Some(&metadata.jwks_uri),
        metadata.userinfo_endpoint.as_ref(),
    ];
    for url in endpoints.into_iter().flatten() {
        let checked = provider.fetch.check(url);
        checked.map_err(|why| format!("'{url}': {why}"))?;
    }
    let page = Url::parse(&metadata.authorization_endpoint);
    // RFC 6749 §3.1
    match page {
        Ok(url) if url.fragment().is_none() && url.username().is_empty() => Ok(()),
        _ => Err("its authorization_endpoint is no URL to go to".into()),
    }
}

/// The keys that its ID tokens are signed with, read anew when the one that is needed is not among
/// them (OpenID Connect Core §10.1.1).
///
/// # Errors
/// [`Failure`] when they cannot be read.
pub(super) async fn keys(
    app: &App,
    provider: &Provider,
    metadata: &ProviderMetadata,
    kid: Option<&str>,
    algorithm: Algorithm,
) -> Result<Arc<KeySet>, Failure> {
    let read = async || {
        let body = provider.fetch.get(&metadata.jwks_uri).await;
        let body = body.map_err(|why| why.to_string());
        let keys = body.and_then(|body| KeySet::from_jwks(&body).map_err(|why| why.to_string()));
        noted(provider, "keys", keys)
    };
    let fits = |keys: &KeySet| keys.find(kid, algorithm).is_some();
    let found = provider.keys.get(app.clock.seconds(), fits, read).await;
    found.ok_or_else(|| Failure::away("its keys cannot be read"))
}

fn noted<T>(provider: &Provider, what: &str, read: Result<T, String>) -> Option<T> {
    let failed = |error: &String| {
        tracing::warn!(provider = provider.id, error, "{what} cannot be read");
    };
    read.inspect_err(failed).ok()
}
