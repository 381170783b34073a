//! The one strict reader and verifier of signed tokens (RFC 7515, 7517, 7518,
//! 7638, 8037, hardened by RFC 8725).
//!
//! A token is [`Unverified`] until [`Unverified::verify`] has checked its
//! signature with a [`VerifyingKey`]; only then is there a [`Verified`] value
//! to take claims from. Nothing here knows the time, the issuer or the
//! audience: that is for the caller.
//!
//! ```
//! use writ_resource::jws::{KeySet, Unverified};
//!
//! # fn claims(token: &str, jwks: &[u8]) -> Option<serde_json::Value> {
//! let keys = KeySet::from_jwks(jwks).ok()?;
//! let token = Unverified::parse(token).ok()?;
//! let key = keys.find(token.kid(), token.alg())?;
//! let verified = token.verify(key).ok()?;
//! verified.claims().ok()
//! # }
//! # assert!(claims("a.b.c", b"{\"keys\":[]}").is_none());
//! ```

mod keys;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use keys::{JwkError, KeySet, VerifyingKey};

use crate::json::{self, Name, Names};

/// The longest compact serialisation that is read at all.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The most header parameters a token may carry.
const MAX_HEADER_MEMBERS: usize = 32;

/// The signature algorithms that are accepted, and no others (RFC 8725 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// EdDSA over Ed25519 (RFC 8037 §3.1).
    EdDSA,
    /// ECDSA with P-256 and SHA-256 (RFC 7518 §3.4).
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    RS256,
    /// RSASSA-PSS with SHA-256 (RFC 7518 §3.5).
    PS256,
}

impl Algorithm {
    /// Every accepted algorithm.
    pub const ALL: [Self; 4] = [Self::EdDSA, Self::ES256, Self::RS256, Self::PS256];

    /// The registered name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
        }
    }

    /// The algorithm of exactly this registered name; names are case-sensitive
    /// (RFC 7515 §4.1.1). `Ed25519` is the newer name of `EdDSA` on that curve
    /// (RFC 9864 §2.2), the only one read here.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDSA);
        }
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }

    const fn backend(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a token was refused. The words are fit for a client: they never quote
/// the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than [`MAX_TOKEN_BYTES`], or what was asked for.
    #[error("the token is too long")]
    TooLong,
    /// Not three non-empty, strictly encoded segments.
    #[error("the token is not a compact JWS")]
    NotCompact,
    /// The header is not one JSON object with distinct members of the right types.
    #[error("the token header is malformed")]
    Header,
    /// `alg` is missing, not a string, or not in [`Algorithm`].
    #[error("the signature algorithm is not accepted")]
    Algorithm,
    /// The header names an extension (`crit`, `b64`); none is supported.
    #[error("the token needs a header extension that is not supported")]
    Critical,
    /// The key is not for this algorithm.
    #[error("the key does not fit the signature algorithm")]
    KeyMismatch,
    /// The signature is wrong.
    #[error("the signature does not verify")]
    Signature,
    /// The payload is not the JSON that was asked for.
    #[error("the token claims are malformed")]
    Claims,
}

/// A compact JWS whose signature nobody has checked yet.
///
/// Keys that the header itself brings (`jku`, `x5u`, `x5c`) are never used;
/// `jwk` is kept because a DPoP proof (RFC 9449 §4.2) is verified with it.
#[derive(Clone, Debug)]
pub struct Unverified<'a> {
    header: Header,
    signing_input: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Reads a compact serialisation (RFC 7515 §7.1) without checking the signature.
    ///
    /// # Errors
    /// When the text is not exactly three non-empty base64url segments without
    /// padding, blanks or stray trailing bits, or its header is not acceptable.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        Self::parse_within(token, MAX_TOKEN_BYTES)
    }

    /// Reads a compact serialisation of at most `longest` bytes: some kinds of
    /// token are longer than [`MAX_TOKEN_BYTES`].
    ///
    /// # Errors
    /// As [`Unverified::parse`].
    pub fn parse_within(token: &'a str, longest: usize) -> Result<Self, JwsError> {
        if token.len() > longest {
            return Err(JwsError::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsError::NotCompact)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::NotCompact)?;
        // A fourth dot would be inside `payload`, where the alphabet refuses it.
        let header = segment(header)?;
        let raw: RawHeader = serde_json::from_slice(&header).map_err(|_| JwsError::Header)?;
        if raw.jwk.is_some() {
            // The visitor sees repeated names at the top only.
            serde_json::from_slice::<json::Unique>(&header).map_err(|_| JwsError::Header)?;
        }
        let header = raw.accept()?;
        Ok(Self {
            header,
            signing_input,
            payload: segment(payload)?,
            signature: segment(signature)?,
        })
    }

    /// The `alg` header parameter.
    #[must_use]
    pub const fn alg(&self) -> Algorithm {
        self.header.alg
    }

    /// The `kid` header parameter.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The `typ` header parameter as it was written.
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// Whether `typ` names this media type, with or without `application/`, in
    /// any letter case (RFC 7515 §4.1.9).
    #[must_use]
    pub fn is_typ(&self, media_type: &str) -> bool {
        self.typ().is_some_and(|typ| {
            let short = match typ.split_at_checked("application/".len()) {
                Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
                _ => typ,
            };
            short.eq_ignore_ascii_case(media_type)
        })
    }

    /// The `jwk` header parameter; not trusted by anything in this crate.
    #[must_use]
    pub const fn jwk(&self) -> Option<&Value> {
        self.header.jwk.as_ref()
    }

    /// The payload, which anybody may have written.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The claims, which anybody may have written. Only for finding out whose
    /// key to verify with.
    ///
    /// # Errors
    /// [`JwsError::Claims`] when the payload is not such JSON.
    pub fn unverified_claims<T: DeserializeOwned>(&self) -> Result<T, JwsError> {
        json::from_slice(&self.payload).map_err(|_| JwsError::Claims)
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`JwsError::KeyMismatch`] when the key is not for this algorithm,
    /// [`JwsError::Signature`] when the signature is wrong.
    pub fn verify(self, key: &VerifyingKey) -> Result<Verified, JwsError> {
        key.verify_signature(self.alg(), self.signing_input.as_bytes(), &self.signature)?;
        Ok(Verified {
            header: self.header,
            payload: self.payload,
        })
    }
}

/// A JWS whose signature verified.
#[derive(Clone, Debug)]
pub struct Verified {
    header: Header,
    payload: Vec<u8>,
}

impl Verified {
    /// The `alg` header parameter.
    #[must_use]
    pub const fn alg(&self) -> Algorithm {
        self.header.alg
    }

    /// The `kid` header parameter.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The signed bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signed claims, refusing repeated names at any depth (RFC 7519 §4).
    ///
    /// # Errors
    /// [`JwsError::Claims`] when the payload is not such JSON.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, JwsError> {
        json::from_slice(&self.payload).map_err(|_| JwsError::Claims)
    }
}

#[derive(Clone, Debug)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    jwk: Option<Value>,
}

/// The header as written, before it is judged.
#[derive(Default)]
struct RawHeader {
    alg: Option<Value>,
    kid: Option<String>,
    typ: Option<String>,
    jwk: Option<Value>,
    extended: bool,
}

impl RawHeader {
    fn accept(self) -> Result<Header, JwsError> {
        if self.extended {
            return Err(JwsError::Critical);
        }
        let alg = self
            .alg
            .as_ref()
            .and_then(Value::as_str)
            .and_then(Algorithm::from_name)
            .ok_or(JwsError::Algorithm)?;
        Ok(Header {
            alg,
            kid: self.kid,
            typ: self.typ,
            jwk: self.jwk,
        })
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        let mut names = Names::default();
        let mut count = 0;
        while let Some(Name(name)) = members.next_key()? {
            count += 1;
            if count > MAX_HEADER_MEMBERS {
                return Err(A::Error::custom("too many header parameters"));
            }
            match &*name {
                "alg" => header.alg = Some(members.next_value()?),
                "kid" => header.kid = Some(members.next_value()?),
                "typ" => header.typ = Some(members.next_value()?),
                "jwk" => header.jwk = Some(members.next_value()?),
                // Whatever their value, even an empty list or `true`: nothing
                // is understood here, so nothing can be critical (RFC 7515
                // §4.1.11) and the payload is always encoded (RFC 7797 §3).
                "crit" | "b64" => {
                    header.extended = true;
                    members.next_value::<json::Unique>()?;
                }
                _ => {
                    members.next_value::<json::Unique>()?;
                }
            }
            if !names.insert(name) {
                return Err(A::Error::custom("a header parameter is repeated"));
            }
        }
        Ok(header)
    }
}

/// One segment of a compact serialisation: the base64url alphabet only, at
/// least one character, no padding and no unused bits (RFC 7515 §2, RFC 4648 §3.5).
fn segment(text: &str) -> Result<Vec<u8>, JwsError> {
    if text.is_empty() {
        return Err(JwsError::NotCompact);
    }
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| JwsError::NotCompact)
}
