//! The way to the authorization server: its metadata, and bounded answers.

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;
use url::{Host, Url};

use crate::json;

/// The largest metadata document or JWK Set that is read.
const MAX_DOCUMENT_BYTES: usize = 512 * 1024;

/// What is looked up in the issuer's metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Endpoint {
    /// `jwks_uri`.
    Keys,
    /// `introspection_endpoint`.
    Introspection,
    /// `token_endpoint`.
    Token,
}

/// The members of the issuer's metadata this crate reads.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
    introspection_endpoint: Option<String>,
    token_endpoint: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{0}: {1}")]
    Http(Url, reqwest::Error),
    #[error("{0} answered {1}")]
    Status(Url, reqwest::StatusCode),
    #[error("{0} answered more than {1} octets")]
    TooLarge(Url, usize),
    #[error("{0} is not usable: {1}")]
    Metadata(Url, &'static str),
    #[error("{0}")]
    Keys(String),
    #[error("the keys are fixed")]
    Fixed,
}

/// The address that the first metadata document which is the issuer's own gives this endpoint
/// (RFC 8414 §3, OpenID Connect Discovery 1.0 §4).
pub(crate) async fn endpoint(
    http: &reqwest::Client,
    issuer: &str,
    url: &Url,
    endpoint: Endpoint,
) -> Result<Url, FetchError> {
    let mut failure = FetchError::Fixed;
    for document in metadata_urls(url) {
        match endpoint_in(http, &document, issuer, url, endpoint).await {
            Ok(uri) => return Ok(uri),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn endpoint_in(
    http: &reqwest::Client,
    document: &Url,
    issuer: &str,
    url: &Url,
    endpoint: Endpoint,
) -> Result<Url, FetchError> {
    let unusable = |why| FetchError::Metadata(document.clone(), why);
    let (body, _) = get(http, document).await?;
    let metadata: Metadata = json::from_slice(&body).map_err(|_| unusable("not metadata"))?;
    // RFC 8414 §3.3: identical, or the document belongs to someone else.
    if metadata.issuer != issuer {
        return Err(unusable("another issuer"));
    }
    let uri = match endpoint {
        Endpoint::Keys => metadata.jwks_uri,
        Endpoint::Introspection => metadata.introspection_endpoint,
        Endpoint::Token => metadata.token_endpoint,
    };
    let uri = uri.ok_or_else(|| unusable("it does not name the endpoint"))?;
    named(url, &uri).map_err(unusable)
}

/// An address that an issuer's documents send us to.
///
/// # Errors
/// Words for why it is not gone to.
pub(crate) fn named(issuer: &Url, uri: &str) -> Result<Url, &'static str> {
    let uri = Url::parse(uri).map_err(|_| "an endpoint is not a URL")?;
    if may_name(issuer, &uri) {
        Ok(uri)
    } else {
        Err("an endpoint is not https")
    }
}

/// The body at an address, and the headers it came with.
pub(crate) async fn get(
    http: &reqwest::Client,
    url: &Url,
) -> Result<(Vec<u8>, HeaderMap), FetchError> {
    let request = http.get(url.clone()).header("accept", "application/json");
    send(request, url).await
}

/// The body of an answer of 200, which is bounded whatever its length claims to be.
pub(crate) async fn send(
    request: reqwest::RequestBuilder,
    url: &Url,
) -> Result<(Vec<u8>, HeaderMap), FetchError> {
    let failed = |error: reqwest::Error| FetchError::Http(url.clone(), error.without_url());
    let response = request.send().await.map_err(failed)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(FetchError::Status(url.clone(), response.status()));
    }
    let headers = response.headers().clone();
    let body = bounded(response, url, MAX_DOCUMENT_BYTES).await?;
    Ok((body, headers))
}

/// The body of an answer, of `most` octets whatever its length claims to be.
pub(crate) async fn bounded(
    mut response: reqwest::Response,
    url: &Url,
    most: usize,
) -> Result<Vec<u8>, FetchError> {
    let failed = |error: reqwest::Error| FetchError::Http(url.clone(), error.without_url());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > most {
            return Err(FetchError::TooLarge(url.clone(), most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether an issuer's metadata may send us there: to https, and on this
/// machine only when the issuer is here too.
fn may_name(issuer: &Url, uri: &Url) -> bool {
    match (is_loopback(uri), is_loopback(issuer)) {
        (true, here) => here,
        (false, _) => uri.scheme() == "https",
    }
}

/// The client every fetch goes through: no redirects, bounded in time.
pub(crate) fn http_client(
    timeout: Duration,
    peer: &Url,
) -> Result<reqwest::Client, reqwest::Error> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout);
    if is_loopback(peer) {
        // No proxy can reach this machine's own loopback address.
        client.no_proxy().build()
    } else {
        client.build()
    }
}

/// Where an issuer's metadata may be, in the order MCP asks clients to try.
fn metadata_urls(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut forms = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        forms.push(format!("{path}/.well-known/openid-configuration"));
    }
    forms
        .into_iter()
        .map(|form| {
            let mut url = issuer.clone();
            url.set_path(&form);
            url
        })
        .collect()
}

/// Whether the host is this machine's loopback interface.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// http, which only loopback may use.
pub(crate) fn is_plain_loopback(url: &Url) -> bool {
    url.scheme() == "http" && is_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_a_public_issuer_does_not_lead_to_this_machine() {
        let may =
            |issuer: &str, uri: &str| may_name(&issuer.parse().unwrap(), &uri.parse().unwrap());
        assert!(may("https://auth.example", "https://auth.example/jwks"));
        assert!(may("https://auth.example", "https://keys.example/jwks"));
        assert!(!may("https://auth.example", "http://auth.example/jwks"));
        for here in ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LOCALHOST"] {
            for scheme in ["http", "https"] {
                let uri = format!("{scheme}://{here}:8080/jwks");
                assert!(!may("https://auth.example", &uri), "{uri}");
                assert!(may("http://127.0.0.1:4455", &uri), "{uri}");
            }
        }
        assert!(!may("http://127.0.0.1:4455", "http://auth.example/jwks"));
        assert!(!may("http://127.0.0.1:4455", "file:///etc/passwd"));
    }
}
