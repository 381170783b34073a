//! Signing.
//!
//! Signatures are made with aws-lc on a key that was parsed once: `jsonwebtoken` would parse it
//! again for every token. Verification, here and in the layer for MCP servers, is the one strict
//! reader in [`writ_resource::jws`].

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{KeyError, SigningAlgorithm, jwks};

enum Private {
    EdDSA(Ed25519KeyPair),
    ES256(EcdsaKeyPair),
    RS256(RsaKeyPair),
}

/// A private key, parsed once, with the public form it is known by.
pub struct Signer {
    private: Private,
    jwk: Value,
    /// `base64url(header) + "."` of an access token, the same for every token of this key.
    access_token_header: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.jwk["kid"])
    }
}

impl Signer {
    /// Parses a PKCS#8 private key.
    ///
    /// # Errors
    /// When it is not a key of this algorithm.
    pub fn new(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (private, members) = match algorithm {
            SigningAlgorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
                    .map_err(|_| KeyError::Encoding)?;
                let x = encode(pair.public_key().as_ref());
                (
                    Private::EdDSA(pair),
                    json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
                )
            }
            SigningAlgorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(|_| KeyError::Encoding)?;
                // Uncompressed point: 0x04, x, y.
                let point = pair.public_key().as_ref();
                let (x, y) = (point.get(1..33), point.get(33..65));
                let (Some(x), Some(y)) = (x, y) else {
                    return Err(KeyError::Encoding);
                };
                let members =
                    json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) });
                (Private::ES256(pair), members)
            }
            SigningAlgorithm::RS256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Encoding)?;
                let public = pair.public_key();
                let (n, e) = (
                    public.modulus().big_endian_without_leading_zero(),
                    public.exponent().big_endian_without_leading_zero(),
                );
                let members = json!({ "kty": "RSA", "n": encode(n), "e": encode(e) });
                (Private::RS256(pair), members)
            }
        };
        let jwk = jwks::publish(algorithm, members)?;
        let header = json!({ "alg": algorithm.as_str(), "kid": jwk["kid"], "typ": "at+jwt" });
        let access_token_header = encode(header.to_string().as_bytes()) + ".";
        Ok(Self {
            private,
            jwk,
            access_token_header,
        })
    }

    /// The public key as it is published.
    #[must_use]
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// The `kid`.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.jwk["kid"].as_str().unwrap_or_default()
    }

    /// Signs the claims of an access token (`typ: at+jwt`, RFC 9068 §2.1).
    ///
    /// # Errors
    /// When the library makes no signature.
    pub fn sign_access_token(&self, claims: &[u8]) -> Result<String, KeyError> {
        self.complete(&self.access_token_header, claims)
    }

    /// Signs the claims of another kind of JWT, for instance a client assertion.
    ///
    /// # Errors
    /// When the library makes no signature.
    pub fn sign(&self, typ: &str, claims: &[u8]) -> Result<String, KeyError> {
        let header = json!({ "alg": self.jwk["alg"], "kid": self.jwk["kid"], "typ": typ });
        let header = URL_SAFE_NO_PAD.encode(header.to_string()) + ".";
        self.complete(&header, claims)
    }

    /// The same with the public key in the header (RFC 7515 §4.1.3), for what outlives the JWKS.
    ///
    /// # Errors
    /// When the library makes no signature.
    pub fn sign_with_key(&self, typ: &str, claims: &[u8]) -> Result<String, KeyError> {
        let jwk = &self.jwk;
        let header = json!({ "alg": jwk["alg"], "kid": jwk["kid"], "jwk": jwk, "typ": typ });
        let header = URL_SAFE_NO_PAD.encode(header.to_string()) + ".";
        self.complete(&header, claims)
    }

    /// Signs a proof of possession: the public key is in its header (RFC 9449 §4.2).
    ///
    /// # Errors
    /// When the library makes no signature.
    pub fn prove(&self, claims: &[u8]) -> Result<String, KeyError> {
        let header = json!({ "typ": "dpop+jwt", "alg": self.jwk["alg"], "jwk": self.jwk });
        let header = URL_SAFE_NO_PAD.encode(header.to_string()) + ".";
        self.complete(&header, claims)
    }

    /// `header` is in base64url already, with its dot.
    fn complete(&self, header: &str, claims: &[u8]) -> Result<String, KeyError> {
        let mut token = String::with_capacity(header.len() + claims.len() * 4 / 3 + 360);
        token.push_str(header);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.private {
            Private::EdDSA(pair) => Ok(pair
                .try_sign(message)
                .map_err(|_| KeyError::Signing)?
                .as_ref()
                .to_vec()),
            Private::ES256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|s| s.as_ref().to_vec())
                .map_err(|_| KeyError::Signing),
            Private::RS256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .map_err(|_| KeyError::Signing)?;
                Ok(signature)
            }
        }
    }
}
