//! Signatures made and checked without the server's code: Ed25519 and P-256 by the RustCrypto
//! crates, RSA by aws-lc.

use std::sync::LazyLock;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
        RsaKeyPair, RsaPublicKeyComponents,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, pkcs8::DecodePrivateKey as _};
use p256::ecdsa::signature::Verifier as _;
use serde_json::{Value, json};
use writ::{
    keys::{SigningAlgorithm, context},
    registry::Tenant,
};

use super::TestApp;

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// RSA keys take their time: made once.
static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

enum Private {
    Ed(ed25519_dalek::SigningKey),
    Ec(p256::ecdsa::SigningKey),
    Rsa(&'static RsaKeyPair),
}

/// A client's key pair.
pub(crate) struct Key {
    pub(crate) alg: &'static str,
    pub(crate) kid: String,
    private: Private,
}

impl Key {
    /// A key for this algorithm. The same seed gives the same key, but for RSA, of which there is
    /// one.
    pub(crate) fn new(alg: &'static str, seed: u8) -> Self {
        let private = match alg {
            "EdDSA" | "Ed25519" => Private::Ed(ed25519_dalek::SigningKey::from_bytes(&[seed; 32])),
            "ES256" => Private::Ec(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()),
            "RS256" | "PS256" => Private::Rsa(&RSA),
            other => panic!("no key for {other}"),
        };
        Self {
            alg,
            kid: format!("{alg}-{seed}"),
            private,
        }
    }

    /// An Ed25519 key.
    pub(crate) fn ed(seed: u8) -> Self {
        Self::new("EdDSA", seed)
    }

    /// The public half.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.private {
            Private::Ed(key) => json!({
                "kty": "OKP", "crv": "Ed25519", "x": b64(key.verifying_key().as_bytes()),
            }),
            Private::Ec(key) => {
                let point = key.verifying_key().to_sec1_bytes();
                let uncompressed = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
                    .unwrap()
                    .to_sec1_point(false);
                let bytes = uncompressed.as_bytes();
                json!({
                    "kty": "EC", "crv": "P-256", "x": b64(&bytes[1..33]), "y": b64(&bytes[33..]),
                })
            }
            Private::Rsa(key) => {
                let public = key.public_key();
                json!({
                    "kty": "RSA",
                    "n": b64(public.modulus().big_endian_without_leading_zero()),
                    "e": b64(public.exponent().big_endian_without_leading_zero()),
                })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.alg);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A set with only this key.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        match &self.private {
            Private::Ed(key) => key.sign(message).to_bytes().to_vec(),
            Private::Ec(key) => {
                let signature: p256::ecdsa::Signature =
                    p256::ecdsa::signature::Signer::sign(key, message);
                signature.to_bytes().to_vec()
            }
            Private::Rsa(key) => {
                let padding: &'static dyn RsaEncoding = if self.alg == "PS256" {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &SystemRandom::new(), message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }

    /// Signs exactly these texts.
    pub(crate) fn sign_text(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", b64(header), b64(payload));
        format!("{input}.{}", b64(self.signature(input.as_bytes())))
    }

    /// Signs this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// The header an honest signer writes.
    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.alg, "kid": self.kid, "typ": "JWT" })
    }
}

/// The server's own Ed25519 key, to forge tokens that only a server in disorder would make.
pub(crate) struct ServerKey(Key);

impl ServerKey {
    pub(crate) fn of(app: &TestApp, tenant: &Tenant) -> Self {
        let ring = tenant.keys();
        let key = ring
            .keys()
            .iter()
            .find(|key| key.algorithm == SigningAlgorithm::EdDSA)
            .unwrap();
        let place = context(&key.row.tenant, &key.kid);
        let sealer = app.state.registry.sealer();
        let pkcs8 = sealer.open(&key.row.sealed, &place).unwrap();
        let private = ed25519_dalek::SigningKey::from_pkcs8_der(&pkcs8).unwrap();
        Self(Key {
            alg: "EdDSA",
            kid: key.kid.clone(),
            private: Private::Ed(private),
        })
    }

    /// Signs these claims under the header of an access token.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.0.sign(&self.header(), claims)
    }

    /// The header of an access token.
    pub(crate) fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "kid": self.0.kid, "typ": "at+jwt" })
    }

    /// The private key.
    pub(crate) fn seed(&self) -> [u8; 32] {
        match &self.0.private {
            Private::Ed(key) => key.to_bytes(),
            _ => panic!("an Ed25519 key"),
        }
    }

    /// The key itself.
    pub(crate) fn key(&self) -> &Key {
        &self.0
    }
}

/// A token with `alg: none` and no signature.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.", b64(header.to_string()), b64(claims.to_string()))
}

/// Header and claims of a token, unverified.
pub(crate) fn parts(token: &str) -> (Value, Value) {
    let mut segments = token.split('.').map(|segment| {
        let bytes = URL_SAFE_NO_PAD.decode(segment).unwrap();
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    });
    (segments.next().unwrap(), segments.next().unwrap())
}

/// Verifies a token by a JWK Set, as a resource server with other libraries would, and gives its
/// claims. Insists on exactly one key with the token's `kid`, and on its `alg`.
pub(crate) fn verify(token: &str, jwks: &Value) -> Value {
    let (header, claims) = parts(token);
    let keys: Vec<&Value> = jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["kid"] == header["kid"])
        .collect();
    let [key] = keys.as_slice() else {
        panic!("{} keys have the kid of {header}", keys.len());
    };
    assert_eq!(key["alg"], header["alg"]);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let member = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    match header["alg"].as_str().unwrap() {
        "EdDSA" => {
            let bytes: [u8; 32] = member("x").try_into().unwrap();
            let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
            ed25519_dalek::VerifyingKey::from_bytes(&bytes)
                .unwrap()
                .verify_strict(message.as_bytes(), &signature)
                .unwrap();
        }
        "ES256" => {
            let point = [vec![4], member("x"), member("y")].concat();
            let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
            p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
                .unwrap()
                .verify(message.as_bytes(), &signature)
                .unwrap();
        }
        "RS256" => RsaPublicKeyComponents {
            n: member("n"),
            e: member("e"),
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature)
        .unwrap(),
        other => panic!("a token signed with {other}"),
    }
    claims
}
