//! The published form of a key (RFC 7517), named by its thumbprint (RFC 7638).

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use serde_json::{Value, json};

use super::{KeyError, SigningAlgorithm};

/// Adds `kid` (the thumbprint), `alg` and `use` to the bare members of a public key.
///
/// # Errors
/// When the members do not make a key.
pub fn publish(algorithm: SigningAlgorithm, mut members: Value) -> Result<Value, KeyError> {
    let jwk: Jwk = serde_json::from_value(members.clone()).map_err(|_| KeyError::Encoding)?;
    let thumbprint = jwk
        .thumbprint(ThumbprintHash::SHA256)
        .map_err(|_| KeyError::Encoding)?;
    members["kid"] = json!(thumbprint);
    members["alg"] = json!(algorithm.as_str());
    members["use"] = json!("sig");
    Ok(members)
}
