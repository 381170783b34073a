//! New key pairs as PKCS#8.
//!
//! Ed25519 and P-256 keys are made from injected entropy with the RustCrypto crates, so that a
//! seeded server is the same server twice; RSA primes come from aws-lc's own generator.

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeyPair as RsaKeyPair, KeySize},
};
use p256::pkcs8::EncodePrivateKey as _;
use zeroize::Zeroizing;

use super::{KeyError, SigningAlgorithm};
use crate::entropy::Entropy;

/// A new private key, PKCS#8 DER.
///
/// # Errors
/// When a library cannot make or encode the key.
pub fn pkcs8(
    algorithm: SigningAlgorithm,
    entropy: &Entropy,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match algorithm {
        SigningAlgorithm::EdDSA => {
            let secret = Zeroizing::new(entropy.bytes::<32>());
            // The 48-byte form without the public key: every library reads it.
            let pair = ed25519_dalek::pkcs8::KeypairBytes {
                secret_key: *secret,
                public_key: None,
            };
            let der = ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_der(&pair);
            Ok(Zeroizing::new(
                der.map_err(|_| KeyError::Encoding)?.as_bytes().to_vec(),
            ))
        }
        SigningAlgorithm::ES256 => {
            // A candidate is refused when it is zero or not below the group order: 2^-32 a try.
            let key = (0..8)
                .find_map(|_| {
                    let secret = Zeroizing::new(entropy.bytes::<32>());
                    p256::SecretKey::from_slice(secret.as_slice()).ok()
                })
                .ok_or(KeyError::Generation)?;
            let der = key.to_pkcs8_der().map_err(|_| KeyError::Encoding)?;
            Ok(Zeroizing::new(der.as_bytes().to_vec()))
        }
        SigningAlgorithm::RS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generation)?;
            let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
                pair.as_der().map_err(|_| KeyError::Encoding)?;
            Ok(Zeroizing::new(der.as_ref().to_vec()))
        }
    }
}
