//! DPoP (RFC 9449): the one strict reader of proofs, for whoever takes them.
//!
//! [`verify`] decides about a proof from the proof, the request and the time
//! alone. What needs a memory is beside it: [`Nonces`] for a server that
//! wants its own time in proofs (§8, §9), [`Replays`] for proofs that were
//! seen (§11.1).
//!
//! | check of RFC 9449 §4.3 | here |
//! |---|---|
//! | 1 not more than one header | [`header`] |
//! | 2 to 7, 11: form, algorithm, key, signature, `jti`, `iat` | [`verify`] |
//! | 8, 9: `htm`, `htu` | [`verify`], [`Htu`] |
//! | 10: `nonce` | [`Proof::nonce`], [`Nonces::accepts`] |
//! | 12: `ath` | [`verify`]; the token's own key is compared with [`Proof::thumbprint`] |

mod htu;
mod nonces;
mod replays;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde::de::Deserializer;

pub use htu::Htu;
pub use nonces::Nonces;
pub use replays::{Replays, Seen};

use crate::claims::numeric_date;
use crate::jws::{JwkError, JwsError, Unverified, VerifyingKey};

/// What a proof may be signed with, the cheapest to check first: the value of
/// `dpop_signing_alg_values_supported` (RFC 9449 §5.1) and of `algs` (§7.1).
pub const ALGORITHMS: [&str; 5] = ["EdDSA", "Ed25519", "ES256", "PS256", "RS256"];

/// Where proofs are (RFC 9449 §4.1).
pub const HEADER: HeaderName = HeaderName::from_static("dpop");

/// Where a server's nonces are (RFC 9449 §8.1, §9).
pub const NONCE_HEADER: HeaderName = HeaderName::from_static("dpop-nonce");

/// Seconds a proof may be dated ahead of the server: clocks differ.
pub const AHEAD: i64 = 10;

/// The longest `jti`, bytes: it is remembered.
const MAX_JTI: usize = 256;

/// Why a proof was refused. The words are for the client's developer and
/// never quote the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Several `DPoP` headers, or several proofs in one.
    #[error("there is more than one DPoP header")]
    Several,
    /// Nothing in the header, or not text.
    #[error("the DPoP header holds no proof")]
    Empty,
    /// Not a JWS that is read here.
    #[error("the DPoP proof cannot be read: {0}")]
    Jws(JwsError),
    /// `typ` is missing or names another kind of JWT.
    #[error("the DPoP proof's typ must be dpop+jwt")]
    Type,
    /// No `jwk` in the header.
    #[error("the DPoP proof's header has no jwk")]
    NoKey,
    /// The `jwk` cannot verify, or holds a private member.
    #[error("the DPoP proof's jwk: {0}")]
    Key(JwkError),
    /// Signed by another key, or changed since.
    #[error("the DPoP proof's signature does not verify with its jwk")]
    Signature,
    /// The payload is not JSON of the right types.
    #[error("the DPoP proof's claims are malformed")]
    Claims,
    /// A claim that RFC 9449 §4.2 demands is not there.
    #[error("the DPoP proof has no {0}")]
    Missing(&'static str),
    /// `jti` is empty or too long to be remembered.
    #[error("the DPoP proof's jti must hold 1 to 256 bytes")]
    Jti,
    /// `htm` is another method.
    #[error("the DPoP proof's htm is not the method of this request")]
    Method,
    /// `htu` is another URL.
    #[error("the DPoP proof's htu is not the URL of this request")]
    Url,
    /// `iat` is too long ago.
    #[error("the DPoP proof's iat is too long ago: make a new proof for every request")]
    TooOld,
    /// `iat` has not come yet.
    #[error("the DPoP proof's iat is in the future: set the clock")]
    TooEarly,
    /// `ath` is the hash of something else.
    #[error("the DPoP proof's ath is not the hash of the access token")]
    TokenHash,
}

/// The request a proof has to be for, and when it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The method of the request; names of methods are case-sensitive.
    pub method: &'a str,
    /// The URL of the request as clients know it.
    pub url: &'a Htu,
    /// The access token of the request, where there is one.
    pub token: Option<&'a str>,
    /// The time, Unix seconds.
    pub now: i64,
    /// Seconds a proof is accepted after its `iat`.
    pub lifetime: i64,
}

/// The one proof of a request; none when there is no `DPoP` header.
///
/// # Errors
/// [`ProofError::Several`] and [`ProofError::Empty`].
pub fn header(headers: &HeaderMap) -> Result<Option<&str>, ProofError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    // A proxy may have joined two headers into one (RFC 9110 §5.3).
    if values.next().is_some() || value.as_bytes().contains(&b',') {
        return Err(ProofError::Several);
    }
    let text = value.to_str().map_err(|_| ProofError::Empty)?.trim();
    if text.is_empty() {
        return Err(ProofError::Empty);
    }
    Ok(Some(text))
}

/// Checks a proof (RFC 9449 §4.3): all that can be said without a memory.
///
/// # Errors
/// [`ProofError`], the first thing that is wrong.
pub fn verify(proof: &str, expected: &Expected<'_>) -> Result<Proof, ProofError> {
    let unverified = Unverified::parse(proof).map_err(ProofError::Jws)?;
    if !unverified.is_typ("dpop+jwt") {
        return Err(ProofError::Type);
    }
    let key = unverified.jwk().ok_or(ProofError::NoKey)?;
    let key = VerifyingKey::from_jwk(key).map_err(ProofError::Key)?;
    let claims: Claims = unverified
        .verify(&key)
        .map_err(|why| match why {
            JwsError::Signature => ProofError::Signature,
            other => ProofError::Jws(other),
        })?
        .claims()
        .map_err(|_| ProofError::Claims)?;
    let (jti, iat) = claims.check(expected)?;
    Ok(Proof {
        thumbprint: key.thumbprint().to_owned(),
        htu: expected.url.clone(),
        jti,
        iat,
        nonce: claims.nonce,
    })
}

/// The `ath` of an access token (RFC 9449 §4.2).
#[must_use]
pub fn token_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}

/// A proof that holds for its request. Whether it was seen before, and
/// whether its nonce is one of the server's, is for the caller to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    thumbprint: String,
    htu: Htu,
    jti: String,
    iat: i64,
    nonce: Option<String>,
}

impl Proof {
    /// The SHA-256 thumbprint of the key that made it (RFC 7638): `cnf.jkt`.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The server's nonce it was made with.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// When it was made, Unix seconds.
    #[must_use]
    pub const fn iat(&self) -> i64 {
        self.iat
    }

    /// What must not come a second time (RFC 9449 §11.1): a digest of key,
    /// URL and `jti`, so that nobody can use up another one's names.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let name = [&self.thumbprint, self.htu.as_str(), &self.jti].join("\0");
        let mut octets = [0; 32];
        octets.copy_from_slice(digest(&SHA256, name.as_bytes()).as_ref());
        octets
    }
}

#[derive(Deserialize)]
struct Claims {
    jti: Option<String>,
    htm: Option<String>,
    htu: Option<String>,
    #[serde(default, deserialize_with = "optional_date")]
    iat: Option<i64>,
    ath: Option<String>,
    nonce: Option<String>,
}

fn optional_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    numeric_date(deserializer).map(Some)
}

impl Claims {
    /// Gives `jti` and `iat` once everything fits. Other claims, `exp` and
    /// `nbf` too, mean nothing in a proof.
    fn check(&self, expected: &Expected<'_>) -> Result<(String, i64), ProofError> {
        let jti = self.jti.as_deref().ok_or(ProofError::Missing("jti"))?;
        let htm = self.htm.as_deref().ok_or(ProofError::Missing("htm"))?;
        let htu = self.htu.as_deref().ok_or(ProofError::Missing("htu"))?;
        let iat = self.iat.ok_or(ProofError::Missing("iat"))?;
        if jti.is_empty() || jti.len() > MAX_JTI {
            return Err(ProofError::Jti);
        }
        if htm != expected.method {
            return Err(ProofError::Method);
        }
        if Htu::parse(htu).as_ref() != Some(expected.url) {
            return Err(ProofError::Url);
        }
        if iat > expected.now.saturating_add(AHEAD) {
            return Err(ProofError::TooEarly);
        }
        if iat < expected.now.saturating_sub(expected.lifetime) {
            return Err(ProofError::TooOld);
        }
        if let Some(token) = expected.token {
            let ath = self.ath.as_deref().ok_or(ProofError::Missing("ath"))?;
            if ath != token_hash(token) {
                return Err(ProofError::TokenHash);
            }
        }
        Ok((jti.to_owned(), iat))
    }
}
