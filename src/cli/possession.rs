//! Proofs of possession as a client makes them (RFC 9449 §4.2).

use serde_json::json;
use writ_resource::dpop::token_hash;

use super::Failure;
use crate::{clock::Clock, entropy::Entropy, keys::jws::Signer};

/// What a proof is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// Its URL.
    pub url: &'a str,
    /// The access token it presents.
    pub token: Option<&'a str>,
    /// The server's nonce.
    pub nonce: Option<&'a str>,
}

/// A proof of now.
///
/// # Errors
/// When the library makes no signature.
pub(super) fn prove(key: &Signer, purpose: Purpose<'_>) -> Result<String, Failure> {
    let mut claims = json!({
        "jti": Entropy::Os.id(),
        "htm": purpose.method,
        "htu": purpose.url,
        "iat": Clock::System.seconds(),
    });
    if let Some(token) = purpose.token {
        claims["ath"] = token_hash(token).into();
    }
    if let Some(nonce) = purpose.nonce {
        claims["nonce"] = nonce.into();
    }
    Ok(key.prove(claims.to_string().as_bytes())?)
}
