//! The public Wycheproof vectors for the signature schemes behind the four
//! algorithms, through the same [`VerifyingKey`] every token meets.
//!
//! Vectors of neighbouring schemes (other hashes, curves, encodings, salts)
//! are presented too: no signature made under them may pass as one of ours.
//! For RSA only those that are valid there: the invalid ones include "hashed
//! with SHA-256 instead" and the like, which is to say made under ours.

use serde_json::{Value, json};
use writ_resource::jws::{Algorithm, VerifyingKey};
use wycheproof::{EdwardsCurve, EllipticCurve, HashFunction, Mgf, TestResult};

use crate::support::b64;

/// What became of the vectors of one scheme.
#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    /// Refused already because of the key: another curve, too short.
    refused_keys: usize,
    /// Signatures that must fail, or are of another scheme, and passed.
    false_accepts: Vec<String>,
    /// Signatures of our scheme that are valid, and failed.
    false_refusals: Vec<String>,
}

/// One vector as it concerns us.
struct Vector<'a> {
    name: String,
    message: &'a [u8],
    signature: &'a [u8],
    /// Valid under exactly the algorithm that is asked for.
    ours: bool,
}

impl Tally {
    fn present(&mut self, jwk: &Value, alg: Algorithm, vector: &Vector<'_>) {
        let key = VerifyingKey::from_jwk(jwk);
        let passed = key.as_ref().is_ok_and(|key| {
            key.verify_signature(alg, vector.message, vector.signature)
                .is_ok()
        });
        match (passed, key) {
            (true, _) => self.accepted += 1,
            (false, Ok(_)) => self.refused += 1,
            (false, Err(_)) => self.refused_keys += 1,
        }
        if passed && !vector.ours {
            self.false_accepts.push(vector.name.clone());
        }
        if !passed && vector.ours {
            self.false_refusals.push(vector.name.clone());
        }
    }

    #[track_caller]
    fn is_clean(&self, scheme: &str, at_least: usize) {
        println!(
            "{scheme}: {} accepted, {} refused, {} refused by key, {} false accepts, {} false refusals",
            self.accepted,
            self.refused,
            self.refused_keys,
            self.false_accepts.len(),
            self.false_refusals.len()
        );
        assert_eq!(self.false_accepts, [""; 0], "{scheme}");
        assert_eq!(self.false_refusals, [""; 0], "{scheme}");
        assert!(self.accepted >= at_least, "{scheme}: {}", self.accepted);
        assert!(self.refused >= at_least, "{scheme}: {}", self.refused);
    }
}

#[test]
fn eddsa() {
    use wycheproof::eddsa::{TestName, TestSet};

    let mut tally = Tally::default();
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let ed25519 = matches!(group.key.curve, EdwardsCurve::Ed25519);
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&*group.key.pk)});
            for test in &group.tests {
                let vector = Vector {
                    name: format!("{name:?} {} {}", test.tc_id, test.comment),
                    message: &test.msg,
                    signature: &test.sig,
                    ours: ed25519 && test.result == TestResult::Valid,
                };
                tally.present(&jwk, Algorithm::EdDSA, &vector);
            }
        }
    }
    tally.is_clean("EdDSA", 50);
}

#[test]
fn es256() {
    use wycheproof::ecdsa::{TestGroupTypeId, TestName, TestSet};

    let mut tally = Tally::default();
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let scheme = matches!(group.key.curve, EllipticCurve::Secp256r1)
                && matches!(group.hash, HashFunction::Sha2_256)
                && matches!(group.test_type, TestGroupTypeId::EcdsaP1363);
            let point = &group.key.key[1..];
            let (x, y) = point.split_at(point.len() / 2);
            let jwk = json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)});
            for test in &group.tests {
                let vector = Vector {
                    name: format!("{name:?} {} {}", test.tc_id, test.comment),
                    message: &test.msg,
                    signature: &test.sig,
                    ours: scheme && test.result == TestResult::Valid,
                };
                tally.present(&jwk, Algorithm::ES256, &vector);
            }
        }
    }
    tally.is_clean("ES256", 100);
}

#[test]
fn rs256() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};

    let mut tally = Tally::default();
    let mut as_pss = Tally::default();
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let jwk = rsa(&group.key.n, &group.key.e);
            let scheme = matches!(group.hash, HashFunction::Sha2_256);
            for test in &group.tests {
                let vector = |ours| Vector {
                    name: format!("{name:?} {} {}", test.tc_id, test.comment),
                    message: &test.msg,
                    signature: &test.sig,
                    ours,
                };
                // "Acceptable" stands for encodings a lenient reader lets
                // pass; RFC 8017 §8.2.2 does not, and neither do we.
                let valid = test.result == TestResult::Valid;
                if scheme || valid {
                    tally.present(&jwk, Algorithm::RS256, &vector(scheme && valid));
                }
                if valid {
                    as_pss.present(&jwk, Algorithm::PS256, &vector(false));
                }
            }
        }
    }
    tally.is_clean("RS256", 20);
    as_pss.is_clean("PKCS #1 v1.5 as PS256", 0);
}

#[test]
fn ps256() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};

    let mut tally = Tally::default();
    let mut as_pkcs1 = Tally::default();
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let jwk = rsa(&group.key.n, &group.key.e);
            // RFC 7518 §3.5: MGF1 and hash SHA-256, salt as long as the hash.
            let scheme = matches!(group.hash, HashFunction::Sha2_256)
                && matches!(group.mgf, Mgf::Mgf1)
                && matches!(group.mgf_hash, Some(HashFunction::Sha2_256))
                && group.salt_size == 32;
            for test in &group.tests {
                let vector = |ours| Vector {
                    name: format!("{name:?} {} {}", test.tc_id, test.comment),
                    message: &test.msg,
                    signature: &test.sig,
                    ours,
                };
                let valid = test.result == TestResult::Valid;
                if scheme || valid {
                    tally.present(&jwk, Algorithm::PS256, &vector(scheme && valid));
                }
                if valid {
                    as_pkcs1.present(&jwk, Algorithm::RS256, &vector(false));
                }
            }
        }
    }
    tally.is_clean("PS256", 20);
    as_pkcs1.is_clean("PSS as RS256", 0);
}

/// The vectors write numbers with a leading zero octet; a JWK does not.
fn rsa(n: &[u8], e: &[u8]) -> Value {
    let number = |octets: &[u8]| {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        b64(&octets[zeros..])
    };
    json!({"kty": "RSA", "n": number(n), "e": number(e)})
}
