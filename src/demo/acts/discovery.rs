//! From the challenge to the keys (RFC 9728 §3, RFC 8414 §3).

use std::sync::Arc;

use url::Url;
use writ_resource::jws::{KeySet, VerifyingKey};

use crate::{
    demo::{
        agent::{ResourceMetadata, ServerMetadata, metadata_url, send},
        mcp::Challenge,
        show::{Failed, Report, To, ensure, expect},
    },
    oauth::grant_type::{CLIENT_CREDENTIALS, TOKEN_EXCHANGE},
};

/// What was found.
pub(super) struct Found {
    /// The resource URI that tokens are asked for.
    pub(super) resource: String,
    /// The authorization server.
    pub(super) server: Arc<ServerMetadata>,
    /// Its keys, as they are now.
    pub(super) keys: KeySet,
}

pub(super) async fn play(
    http: &reqwest::Client,
    mcp: &str,
    challenge: &Challenge,
    report: &mut Report,
) -> Result<Found, Failed> {
    let url = challenge.get("resource_metadata");
    report.sent(To::Mcp, format!("GET {}", path(url)?));
    let resource: ResourceMetadata = send(http.get(url))
        .await?
        .success()?
        .read("metadata of a protected resource")?;
    // RFC 9728 §3.3: a document about another resource is not for us.
    expect(
        "resource is the URL in use",
        resource.resource.as_str(),
        mcp,
    )?;
    let issuer = match resource.authorization_servers.as_slice() {
        [issuer] => issuer,
        several => return Err(Failed::new("one authorization server", several.join(" "))),
    };
    report.received(format!("200 resource {mcp}"));
    report.facts(&[
        ("authorization_servers", issuer.clone()),
        ("scopes_supported", resource.scopes_supported.join(" ")),
    ]);

    let url = metadata_url(issuer)?;
    report.sent(To::Writ, format!("GET {}", url.path()));
    let server: ServerMetadata = send(http.get(url))
        .await?
        .success()?
        .read("metadata of an authorization server")?;
    // RFC 8414 §3.3: octet for octet, or somebody speaks for somebody else.
    expect("issuer", &server.issuer, issuer)?;
    for (list, wanted) in [
        (&server.grant_types_supported, CLIENT_CREDENTIALS),
        (&server.grant_types_supported, TOKEN_EXCHANGE),
        (
            &server.token_endpoint_auth_methods_supported,
            "private_key_jwt",
        ),
    ] {
        let offered = list.iter().any(|offered| offered == wanted);
        ensure(offered, wanted, format!("only {}", list.join(", ")))?;
    }
    report.received(format!("200 issuer {issuer}, the same octet for octet"));
    report.facts(&[
        ("token_endpoint", server.token_endpoint.clone()),
        (
            "registration_endpoint",
            server.registration_endpoint.clone(),
        ),
        ("jwks_uri", server.jwks_uri.clone()),
    ]);

    report.sent(To::Writ, format!("GET {}", path(&server.jwks_uri)?));
    let keys = key_set(http, &server.jwks_uri).await?;
    let names: Vec<_> = keys
        .keys()
        .iter()
        .flat_map(VerifyingKey::algorithms)
        .map(|algorithm| algorithm.as_str())
        .collect();
    for wanted in ["RS256", "ES256", "EdDSA"] {
        let there = names.contains(&wanted);
        ensure(there, "keys of RS256, ES256 and EdDSA", names.join(" "))?;
    }
    report.received(format!("200 public keys: {}", names.join(" ")));
    report.conclude("from one URL to issuer, endpoints and keys");
    Ok(Found {
        resource: resource.resource,
        server: Arc::new(server),
        keys,
    })
}

/// The published keys; a set with a private one in it is an error.
pub(super) async fn key_set(http: &reqwest::Client, url: &str) -> Result<KeySet, Failed> {
    let answer = send(http.get(url)).await?.success()?;
    let jwks: serde_json::Value = answer.read("a JWK Set")?;
    KeySet::from_jwks(jwks.to_string().as_bytes()).map_err(|why| Failed::new("a JWK Set", why))
}

fn path(url: &str) -> Result<String, Failed> {
    Url::parse(url)
        .map(|url| url.path().to_owned())
        .map_err(|why| Failed::new("an absolute URL", format!("{url}: {why}")))
}
