//! Keys that verify, and sets of them (RFC 7517, 7518 §6, 7638, 8037 §2).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::ThumbprintHash;
use serde_json::{Map, Value};

use super::{Algorithm, JwsError, segment};
use crate::json;

/// The most keys one JWK Set may hold.
const MAX_KEYS: usize = 256;

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
