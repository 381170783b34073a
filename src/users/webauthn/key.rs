//! Public keys of passkeys, as COSE writes them (RFC 9052 §7, RFC 9053).

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use ed25519_dalek::VerifyingKey as Ed25519;
use p256::ecdsa::{Signature, VerifyingKey as P256, signature::Verifier as _};

use super::cbor::Value;

/// The algorithms that are taken, as COSE numbers them, the best first (RFC 9053 §2, RFC 8812 §2).
pub(super) const ALGORITHMS: [i64; 3] = [ED_DSA, ES256, RS256];

const ED_DSA: i64 = -8;
const ES256: i64 = -7;
const RS256: i64 = -257;

/// A public key that can be used.
#[derive(Debug)]
pub(super) enum Key {
    /// ECDSA with P-256 and SHA-256.
    Es256(P256),
    /// Ed25519.
    EdDsa(Ed25519),
    /// RSASSA-PKCS1-v1_5 with SHA-256: modulus and exponent.
    Rs256(Vec<u8>, Vec<u8>),
}

impl Key {
    /// Reads a `COSE_Key`, and says what follows it. Its algorithm must be one of
    /// [`ALGORITHMS`] and its parameters those of that.
    #[must_use]
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (map, rest) = Value::read(bytes)?;
        let number = |label| map.numbered(label)?.number();
        let bytes = |label| map.numbered(label)?.bytes();
        let key = match (number(1)?, number(3)?) {
            // OKP, Ed25519.
            (1, ED_DSA) if number(-1)? == 6 => {
                let x = bytes(-2)?.try_into().ok()?;
                Self::EdDsa(Ed25519::from_bytes(x).ok()?)
            }
            // EC2, P-256, both coordinates.
            (2, ES256) if number(-1)? == 1 => {
                let (x, y) = (bytes(-2)?, bytes(-3)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                let point = [&[4], x, y].concat();
                Self::Es256(P256::from_sec1_bytes(&point).ok()?)
            }
            // RSA.
            (3, RS256) => {
                let (n, e) = (bytes(-1)?, bytes(-2)?);
                let sized = (256..=1024).contains(&n.len()) && (1..=8).contains(&e.len());
                let odd = n.last().is_some_and(|last| last & 1 == 1);
                (sized && odd && n[0] != 0).then(|| Self::Rs256(n.into(), e.into()))?
            }
            _ => return None,
        };
        Some((key, rest))
    }

    /// Whether this key has signed the message (WebAuthn level 2 §6.5.5).
    #[must_use]
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Es256(key) => {
                let signature = Signature::from_der(signature);
                signature.is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            Self::EdDsa(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                signature.is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
            }
            Self::Rs256(n, e) => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .is_ok()
            }
        }
    }
}
