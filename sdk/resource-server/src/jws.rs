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

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::ThumbprintHash;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::{self, Name, Names};

/// The longest compact serialisation that is read at all.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The most header parameters a token may carry.
const MAX_HEADER_MEMBERS: usize = 32;

/// The most keys one JWK Set may hold.
const MAX_KEYS: usize = 256;

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

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Not a JWK, or not a JWK Set.
    #[error("not a JSON Web Key: {0}")]
    Malformed(&'static str),
    /// A kind of key, a curve, a use or an algorithm that cannot verify here.
    #[error("the key cannot be used to verify: {0}")]
    Unusable(&'static str),
    /// Private or symmetric key material where only public keys belong.
    #[error("the key holds private material")]
    Private,
}

/// A public key that may verify signatures, and for which algorithms.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Option<String>,
    algorithms: &'static [Algorithm],
    thumbprint: String,
    key: DecodingKey,
}

impl VerifyingKey {
    /// Reads a public JWK (RFC 7517 §4) and holds it to everything it says
    /// about itself.
    ///
    /// # Errors
    /// When it is not a well-formed public key for one of [`Algorithm`], is
    /// meant for something other than verifying, is too weak, or holds any
    /// private member.
    pub fn from_jwk(jwk: &Value) -> Result<Self, JwkError> {
        let jwk = jwk
            .as_object()
            .ok_or(JwkError::Malformed("not an object"))?;
        if holds_private_material(jwk) {
            return Err(JwkError::Private);
        }
        let (fitting, key, canonical) = match text(jwk, "kty")?.ok_or(JwkError::Malformed("kty"))? {
            "OKP" => okp(jwk)?,
            "EC" => ec(jwk)?,
            "RSA" => rsa(jwk)?,
            _ => return Err(JwkError::Unusable("kty")),
        };
        if text(jwk, "use")?.is_some_and(|usage| usage != "sig") {
            return Err(JwkError::Unusable("use"));
        }
        if !may_verify(jwk)? {
            return Err(JwkError::Unusable("key_ops"));
        }
        let algorithms = match text(jwk, "alg")? {
            None => fitting,
            Some(alg) => fitting
                .iter()
                .position(|fit| Algorithm::from_name(alg) == Some(*fit))
                .map(|at| &fitting[at..=at])
                .ok_or(JwkError::Unusable("alg"))?,
        };
        Ok(Self {
            kid: text(jwk, "kid")?.map(str::to_owned),
            algorithms,
            thumbprint: sha256_base64url(canonical.as_bytes())?,
            key,
        })
    }

    /// The `kid` member.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithms this key may verify: one, unless an RSA key leaves `alg` out.
    #[must_use]
    pub const fn algorithms(&self) -> &'static [Algorithm] {
        self.algorithms
    }

    /// The SHA-256 thumbprint (RFC 7638 §3), base64url.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Checks a bare signature over `message`. ES256 signatures are the 64
    /// octets of R and S (RFC 7518 §3.4), never DER.
    ///
    /// # Errors
    /// [`JwsError::KeyMismatch`] or [`JwsError::Signature`].
    pub fn verify_signature(
        &self,
        alg: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), JwsError> {
        if !self.algorithms.contains(&alg) {
            return Err(JwsError::KeyMismatch);
        }
        // The backend is named rather than taken from the process default: a
        // process that links both of them would panic there on its first token.
        (DEFAULT_PROVIDER.verifier_factory)(&alg.backend(), &self.key)
            .map_err(|_| JwsError::KeyMismatch)?
            .verify(message, &signature.to_vec())
            .map_err(|_| JwsError::Signature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms)
            .field("thumbprint", &self.thumbprint)
            .finish()
    }
}

/// The usable public keys of a JWK Set (RFC 7517 §5).
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
}

impl KeySet {
    /// Reads a JWK Set. Keys of unknown kinds, for encryption, or too weak are
    /// left out, as RFC 7517 §5 asks.
    ///
    /// # Errors
    /// When it is not a JWK Set, is absurdly large, or publishes private
    /// material: whoever does that cannot be trusted with any of its keys.
    pub fn from_jwks(jwks: &[u8]) -> Result<Self, JwkError> {
        let set: Value =
            json::from_slice(jwks).map_err(|_| JwkError::Malformed("not strict JSON"))?;
        let listed = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(JwkError::Malformed("no keys array"))?;
        if listed.len() > MAX_KEYS {
            return Err(JwkError::Malformed("too many keys"));
        }
        let mut keys = Vec::with_capacity(listed.len());
        for jwk in listed {
            match VerifyingKey::from_jwk(jwk) {
                Ok(key) => keys.push(key),
                Err(JwkError::Private) => return Err(JwkError::Private),
                Err(JwkError::Malformed(_) | JwkError::Unusable(_)) => {}
            }
        }
        Ok(Self { keys })
    }

    /// The key to verify a token of this `kid` and algorithm with. Without a
    /// `kid` there must be exactly one key for the algorithm: keys are never
    /// tried one after the other.
    #[must_use]
    pub fn find(&self, kid: Option<&str>, alg: Algorithm) -> Option<&VerifyingKey> {
        let mut fitting = self.keys.iter().filter(|key| {
            key.algorithms.contains(&alg) && (kid.is_none() || key.kid.as_deref() == kid)
        });
        let found = fitting.next()?;
        fitting.next().is_none().then_some(found)
    }

    /// Every usable key.
    #[must_use]
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }
}

impl From<Vec<VerifyingKey>> for KeySet {
    fn from(keys: Vec<VerifyingKey>) -> Self {
        Self { keys }
    }
}

/// A key as its kind reads it: the algorithms it fits, the key itself, and the
/// JSON that RFC 7638 §3.2 digests.
type Material = (&'static [Algorithm], DecodingKey, String);

/// Ed25519 (RFC 8037 §2).
fn okp(jwk: &Map<String, Value>) -> Result<Material, JwkError> {
    if text(jwk, "crv")? != Some("Ed25519") {
        return Err(JwkError::Unusable("crv"));
    }
    let x = octets(jwk, "x")?;
    let point: [u8; 32] = x
        .as_slice()
        .try_into()
        .map_err(|_| JwkError::Malformed("x"))?;
    if is_small_order(point) || ParsedPublicKey::new(&ED25519, point).is_err() {
        return Err(JwkError::Unusable("x"));
    }
    let canonical = format!(
        r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
        URL_SAFE_NO_PAD.encode(point)
    );
    Ok((
        &[Algorithm::EdDSA],
        DecodingKey::from_ed_der(&point),
        canonical,
    ))
}

/// P-256 (RFC 7518 §6.2).
fn ec(jwk: &Map<String, Value>) -> Result<Material, JwkError> {
    if text(jwk, "crv")? != Some("P-256") {
        return Err(JwkError::Unusable("crv"));
    }
    let (x, y) = (octets(jwk, "x")?, octets(jwk, "y")?);
    // Coordinates are full length, leading zeros included (RFC 7518 §6.2.1.2).
    if x.len() != 32 || y.len() != 32 {
        return Err(JwkError::Malformed("x or y"));
    }
    let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
    if ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).is_err() {
        return Err(JwkError::Unusable("the point is not on the curve"));
    }
    let canonical = format!(
        r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
        URL_SAFE_NO_PAD.encode(x),
        URL_SAFE_NO_PAD.encode(y)
    );
    Ok((
        &[Algorithm::ES256],
        DecodingKey::from_ec_der(&point),
        canonical,
    ))
}

/// RSA of at least 2048 bits (RFC 7518 §3.3, §6.3).
fn rsa(jwk: &Map<String, Value>) -> Result<Material, JwkError> {
    let (n, e) = (octets(jwk, "n")?, octets(jwk, "e")?);
    // Numbers have no leading zero octet (RFC 7518 §2, Base64urlUInt).
    if n.first() == Some(&0) || e.first() == Some(&0) {
        return Err(JwkError::Malformed("n or e"));
    }
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) || n.last().is_none_or(|last| last % 2 == 0) {
        return Err(JwkError::Unusable("n"));
    }
    let exponent = e
        .iter()
        .fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet));
    if e.len() > 4 || exponent < 3 || exponent % 2 == 0 {
        return Err(JwkError::Unusable("e"));
    }
    let canonical = format!(
        r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
        URL_SAFE_NO_PAD.encode(&e),
        URL_SAFE_NO_PAD.encode(&n)
    );
    Ok((
        &[Algorithm::RS256, Algorithm::PS256],
        DecodingKey::from_rsa_raw_components(&n, &e),
        canonical,
    ))
}

/// The private members of every kind of key (RFC 7518 §6.2.2, §6.3.2, §6.4,
/// RFC 8037 §2, and `priv` of the AKP kind).
fn holds_private_material(jwk: &Map<String, Value>) -> bool {
    ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]
        .iter()
        .any(|name| jwk.contains_key(*name))
}

/// Whether `key_ops` allows verifying (RFC 7517 §4.3); it may be left out.
fn may_verify(jwk: &Map<String, Value>) -> Result<bool, JwkError> {
    let Some(operations) = jwk.get("key_ops") else {
        return Ok(true);
    };
    let operations = operations
        .as_array()
        .ok_or(JwkError::Malformed("key_ops"))?;
    if !operations.iter().all(Value::is_string) {
        return Err(JwkError::Malformed("key_ops"));
    }
    Ok(operations.iter().any(|operation| operation == "verify"))
}

/// Eight points of Ed25519 have an order that divides 8; a signature under
/// such a key says nothing about who signed. These are the y coordinates of
/// all of them, with the encodings that exceed the prime.
fn is_small_order(mut point: [u8; 32]) -> bool {
    const ORDER_8: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    const MINUS_ORDER_8: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    // The sign of x does not change the order.
    point[31] &= 0x7f;
    let small = |low: u8| point[0] == low && point[1..].iter().all(|octet| *octet == 0);
    let near_prime = |low: u8| {
        point[0] == low && point[1..31].iter().all(|octet| *octet == 0xff) && point[31] == 0x7f
    };
    // y = 0, 1; y = p - 1, p, p + 1.
    small(0)
        || small(1)
        || near_prime(0xec)
        || near_prime(0xed)
        || near_prime(0xee)
        || point == ORDER_8
        || point == MINUS_ORDER_8
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, JwkError> {
    jwk.get(name)
        .map(|value| value.as_str().ok_or(JwkError::Malformed(name)))
        .transpose()
}

fn octets(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    let encoded = text(jwk, name)?.ok_or(JwkError::Malformed(name))?;
    segment(encoded).map_err(|_| JwkError::Malformed(name))
}

fn sha256_base64url(bytes: &[u8]) -> Result<String, JwkError> {
    (DEFAULT_PROVIDER.key_utils.compute_digest)(bytes, ThumbprintHash::SHA256)
        .map(|digest| URL_SAFE_NO_PAD.encode(digest))
        .map_err(|_| JwkError::Unusable("no digest"))
}
