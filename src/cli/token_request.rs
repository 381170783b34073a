//! A client's side of the token endpoint: discovery, authentication, client credentials.

use std::fmt;

use http::header;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};
use writ_resource::dpop::{HEADER, NONCE_HEADER};

use super::{
    Failure,
    http::{Answer, Http, is_safe, send},
    possession::{Purpose, prove},
};
use crate::{clock::Clock, entropy::Entropy, keys::jws::Signer};

/// Seconds an assertion of ours is good for.
const ASSERTION_LIFETIME: i64 = 60;

/// What discovery tells (RFC 8414 §2).
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    /// Who answers.
    pub issuer: String,
    /// Where tokens are.
    pub token_endpoint: String,
    /// Where keys are.
    pub jwks_uri: String,
}

/// How a client proves who it is.
pub(super) enum Proof {
    /// `client_secret_basic`
    Secret(String),
    /// `private_key_jwt`
    Key(Box<Signer>),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Key(_) => "Key",
        })
    }
}

/// The URL of a well-known document with the segment in front of the path (RFC 8414 §3.1,
/// RFC 9728 §3.1).
pub(super) fn inserted(url: &Url, document: &str) -> String {
    let origin = url.origin().ascii_serialization();
    let path = url.path().trim_end_matches('/');
    format!("{origin}/.well-known/{document}{path}")
}

/// Reads the issuer's metadata and insists that it is this issuer's (RFC 8414 §3.3).
///
/// # Errors
/// What is in the way, and what to do.
pub(super) async fn discover(http: &Http, issuer: &str) -> Result<Metadata, Failure> {
    let url = Url::parse(issuer)
        .map_err(|why| Failure::new(format!("issuer '{issuer}' is not a URL: {why}")))?;
    if !is_safe(issuer) {
        return Err(Failure::new(format!(
            "issuer '{issuer}': credentials are sent over https only (http on loopback)"
        )));
    }
    let at = inserted(&url, "oauth-authorization-server");
    let answer = http
        .get(&at)
        .await
        .map_err(|why| Failure::new(format!("{issuer} cannot be reached: {why}")))?;
    if answer.status != http::StatusCode::OK {
        return Err(Failure::new(format!(
            "{at} answers {}: is {issuer} the issuer, and does it know this tenant?",
            answer.status
        )));
    }
    let metadata: Metadata = answer
        .json()
        .map_err(|why| Failure::new(format!("{at}: {why}")))?;
    if metadata.issuer != issuer {
        return Err(Failure::new(format!(
            "{at} is the metadata of '{}', not of '{issuer}': use the issuer exactly as it calls \
             itself",
            metadata.issuer
        )));
    }
    if !is_safe(&metadata.token_endpoint) {
        return Err(Failure::new(format!(
            "token_endpoint '{}' is not https",
            metadata.token_endpoint
        )));
    }
    Ok(metadata)
}

/// Who asks for a token, and for which.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    /// The client.
    pub client_id: &'a str,
    /// How it proves to be that.
    pub proof: &'a Proof,
    /// The resource the token is for (RFC 8707).
    pub resource: &'a str,
    /// The scope it is for.
    pub scope: Option<&'a str>,
    /// The key it is to be bound to (RFC 9449).
    pub bind_to: Option<&'a Signer>,
}

/// Asks for a token by client credentials (RFC 6749 §4.4).
///
/// # Errors
/// The server's words.
pub(super) async fn client_credentials(
    http: &Http,
    server: &Metadata,
    asking: &Asking<'_>,
) -> Result<Value, Failure> {
    let mut answer = ask(http, server, asking, None).await?;
    // RFC 9449 §8: once more with the nonce that the server wants.
    if let Some(nonce) = wanted_nonce(&answer) {
        answer = ask(http, server, asking, Some(&nonce)).await?;
    }
    if answer.status != http::StatusCode::OK {
        return Err(refusal(asking.client_id, &server.issuer, &answer));
    }
    let token: Value = answer
        .json()
        .map_err(|why| Failure::new(format!("{}: {why}", server.token_endpoint)))?;
    if token["access_token"].as_str().is_none_or(str::is_empty) {
        return Err(Failure::new(format!(
            "{} answered without an access_token",
            server.token_endpoint
        )));
    }
    Ok(token)
}

fn wanted_nonce(answer: &Answer) -> Option<String> {
    let body: Value = answer.json().ok()?;
    let nonce = answer.headers.get(NONCE_HEADER)?.to_str().ok()?;
    (body["error"] == "use_dpop_nonce").then(|| nonce.to_owned())
}

/// One request to the token endpoint.
async fn ask(
    http: &Http,
    server: &Metadata,
    asking: &Asking<'_>,
    nonce: Option<&str>,
) -> Result<Answer, Failure> {
    let client_id = asking.client_id;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("resource", asking.resource);
    if let Some(scope) = asking.scope {
        form.append_pair("scope", scope);
    }
    let mut request = http.request(Method::POST, &server.token_endpoint);
    if let Some(key) = asking.bind_to {
        let purpose = Purpose {
            method: "POST",
            url: &server.token_endpoint,
            token: None,
            nonce,
        };
        request = request.header(HEADER, prove(key, purpose)?);
    }
    match asking.proof {
        Proof::Secret(secret) => {
            // RFC 6749 §2.3.1: both are form-encoded inside HTTP Basic.
            let encode = |text: &str| -> String {
                form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            request = request.basic_auth(encode(client_id), Some(encode(secret)));
        }
        Proof::Key(signer) => {
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            form.append_pair("client_assertion_type", kind);
            let assertion = assertion(signer, client_id, &server.issuer)?;
            form.append_pair("client_assertion", &assertion);
        }
    }
    send(
        request
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish()),
    )
    .await
    .map_err(|why| Failure::new(format!("{}: {why}", server.token_endpoint)))
}

/// A client assertion (RFC 7523 §3) with the issuer as its only audience.
fn assertion(signer: &Signer, client_id: &str, issuer: &str) -> Result<String, Failure> {
    let now = Clock::System.seconds();
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": now,
        "exp": now + ASSERTION_LIFETIME,
        "jti": Entropy::Os.id(),
    });
    Ok(signer.sign("JWT", claims.to_string().as_bytes())?)
}

fn refusal(client_id: &str, issuer: &str, answer: &Answer) -> Failure {
    let body: Value = answer.json().unwrap_or_default();
    let code = body["error"].as_str().unwrap_or_default();
    let words = said(&body).unwrap_or_else(|| format!("it answered {}", answer.status));
    let help = match code {
        "invalid_client" => format!(
            " Is '{client_id}' a client of {issuer} (each tenant has its own clients), and is the \
             secret or key the current one?"
        ),
        _ => String::new(),
    };
    Failure::new(format!(
        "{issuer} gives '{client_id}' no token: {words}{help}"
    ))
}

/// The words and code of an OAuth error body (RFC 6749 §5.2).
pub(super) fn said(body: &Value) -> Option<String> {
    let code = body["error"].as_str()?;
    Some(match body["error_description"].as_str() {
        Some(words) => format!("{words} ({code})"),
        None => code.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_segment_goes_between_host_and_path() {
        for (url, expected) in [
            ("https://a.example", "https://a.example/.well-known/x"),
            ("https://a.example/", "https://a.example/.well-known/x"),
            (
                "https://a.example:8443/t/acme",
                "https://a.example:8443/.well-known/x/t/acme",
            ),
        ] {
            assert_eq!(inserted(&Url::parse(url).unwrap(), "x"), expected);
        }
    }

    #[test]
    fn the_words_of_an_error() {
        let body = json!({ "error": "invalid_scope", "error_description": "No." });
        assert_eq!(said(&body).unwrap(), "No. (invalid_scope)");
        assert_eq!(said(&json!({ "error": "x" })).unwrap(), "x");
        assert_eq!(said(&json!([1])), None);
    }
}
