//! Signing keys: made, sealed, published, used, retired.
//!
//! | file | what |
//! |---|---|
//! | [`generate`] | a new key pair |
//! | [`refresh`] | refresh tokens as text |
//! | [`sealed`] | private keys at rest |
//! | [`ticket`] | what comes back from browsers and clients unchanged |
//! | [`jws`] | sign and verify; algorithms named by us, times by our clock |
//! | [`jwks`] | the published form (RFC 7517) and its thumbprint (RFC 7638) |
//! | [`rotation`] | which key is next, which signs, which only verifies |
//!
//! A key's life: `next` (in the JWKS, not used) → `active` (signs) → `retired` (still in the
//! JWKS until the last token it signed has expired) → gone.

pub mod generate;
pub mod jwks;
pub mod jws;
pub mod refresh;
pub mod rotation;
pub mod sealed;
pub mod ticket;

use std::{fmt, io, str::FromStr, sync::Arc};

use bytes::Bytes;
use entity::signing_key;
use serde::{Deserialize, Serialize};
use writ_resource::jws::VerifyingKey;

use self::{jws::Signer, sealed::Sealer};

/// What Writ signs with.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: what every verifier accepts without being told.
    #[default]
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519: the fastest.
    EdDSA,
}

impl SigningAlgorithm {
    /// All of them, in the order metadata lists them.
    pub const ALL: [Self; 3] = [Self::RS256, Self::ES256, Self::EdDSA];

    /// The registered name (RFC 7518 §3.1, RFC 8037 §3.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SigningAlgorithm {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        Self::ALL
            .into_iter()
            .find(|a| a.as_str() == name)
            .ok_or(KeyError::Encoding)
    }
}

/// Why a key cannot be made, kept or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The library made no key.
    #[error("a key could not be generated")]
    Generation,
    /// Not the encoding it should be.
    #[error("a key is not encoded as expected")]
    Encoding,
    /// Sealed under another key, or changed.
    #[error(
        "a private key cannot be opened: the sealing key is not the one it was sealed with, or \
         the row was changed"
    )]
    Sealing,
    /// A file problem.
    #[error("{0}: {1}")]
    File(String, #[source] io::Error),
    /// The file holds something else.
    #[error("{0} does not hold a sealing key: restore it from a backup, it cannot be made anew")]
    NotASealingKey(String),
    /// Signing failed.
    #[error("a signature could not be made")]
    Signing,
    /// No active key of this algorithm.
    #[error("no active signing key for {0}")]
    NoActiveKey(SigningAlgorithm),
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Published, not used yet.
    Next,
    /// Signs.
    Active,
    /// Verifies what it signed.
    Retired,
    /// Is published no more: it tells ID tokens of ours that have expired, as clients show them
    /// when they ask whose session it is (OpenID Connect RP-Initiated Logout §2).
    Past,
}

impl KeyState {
    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Past => "past",
        }
    }
}

impl FromStr for KeyState {
    type Err = KeyError;

    fn from_str(word: &str) -> Result<Self, KeyError> {
        match word {
            "next" => Ok(Self::Next),
            "active" => Ok(Self::Active),
            "retired" => Ok(Self::Retired),
            "past" => Ok(Self::Past),
            _ => Err(KeyError::Encoding),
        }
    }
}

/// A key with everything but its private part, which sits in the signer.
#[derive(Clone, Debug)]
pub struct Key {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Where it is in its life.
    pub state: KeyState,
    /// The row it came from.
    pub row: signing_key::Model,
    /// Signs with it.
    pub signer: Arc<Signer>,
}

/// A tenant's keys.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
    verifying: Vec<VerifyingKey>,
    past: Vec<VerifyingKey>,
    jwks: Bytes,
}

impl Default for KeyRing {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            verifying: Vec::new(),
            past: Vec::new(),
            jwks: Bytes::from_static(br#"{"keys":[]}"#),
        }
    }
}

impl KeyRing {
    /// Opens the rows of one tenant.
    ///
    /// # Errors
    /// When a private key cannot be opened.
    pub fn open(rows: &[signing_key::Model], sealer: &Sealer) -> Result<Self, KeyError> {
        let mut keys = rows
            .iter()
            .map(|row| {
                let algorithm = row.algorithm.parse()?;
                let pkcs8 = sealer.open(&row.sealed, &context(&row.tenant, &row.kid))?;
                Ok(Key {
                    kid: row.kid.clone(),
                    algorithm,
                    state: row.state.parse()?,
                    row: row.clone(),
                    signer: Arc::new(Signer::new(algorithm, &pkcs8)?),
                })
            })
            .collect::<Result<Vec<Key>, KeyError>>()?;
        keys.sort_by(|a, b| {
            (a.algorithm, a.row.published_at, &a.kid).cmp(&(
                b.algorithm,
                b.row.published_at,
                &b.kid,
            ))
        });
        let (past, published): (Vec<&Key>, Vec<&Key>) =
            keys.iter().partition(|key| key.state == KeyState::Past);
        let published: Vec<&serde_json::Value> = published.iter().map(|k| k.signer.jwk()).collect();
        let jwks = serde_json::json!({ "keys": published }).to_string().into();
        Ok(Self {
            verifying: public(published)?,
            past: public(past.iter().map(|key| key.signer.jwk()))?,
            jwks,
            keys,
        })
    }

    /// The stored rows of all keys.
    #[must_use]
    pub fn rows(&self) -> Vec<signing_key::Model> {
        self.keys.iter().map(|key| key.row.clone()).collect()
    }

    /// All keys, by algorithm and age.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The JWK Set (RFC 7517 §5) of every key that signs, will sign or has signed what still holds.
    #[must_use]
    pub fn jwks(&self) -> &Bytes {
        &self.jwks
    }

    /// The public keys, for our own tokens.
    #[must_use]
    pub fn verifying(&self) -> &[VerifyingKey] {
        &self.verifying
    }

    /// The same, and those of tokens that have all expired.
    pub fn remembered(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.verifying.iter().chain(&self.past)
    }

    /// The key that signs with `algorithm` now.
    ///
    /// # Errors
    /// When there is none, which start-up and rotation rule out.
    pub fn signer(&self, algorithm: SigningAlgorithm) -> Result<&Signer, KeyError> {
        self.keys
            .iter()
            .find(|k| k.algorithm == algorithm && k.state == KeyState::Active)
            .map(|k| k.signer.as_ref())
            .ok_or(KeyError::NoActiveKey(algorithm))
    }
}

fn public<'a>(
    jwks: impl IntoIterator<Item = &'a serde_json::Value>,
) -> Result<Vec<VerifyingKey>, KeyError> {
    let keys = jwks.into_iter().map(VerifyingKey::from_jwk);
    keys.collect::<Result<_, _>>()
        .map_err(|_| KeyError::Encoding)
}

/// What a sealed key is bound to: it cannot be moved to another tenant or name.
#[must_use]
pub fn context(tenant: &str, kid: &str) -> String {
    format!("{tenant}/{kid}")
}
