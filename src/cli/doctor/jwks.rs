//! A JWKS (RFC 7517 §5), judged as a verifier reads it.

use std::collections::BTreeSet;

use serde_json::Value;
use writ_resource::jws::{Algorithm, VerifyingKey};

use super::Report;

/// Members that only a private or shared key has (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Judges the published keys.
pub(super) fn judge(report: &mut Report, document: &Value) {
    let keys = document["keys"].as_array().map_or(&[][..], Vec::as_slice);
    if keys.is_empty() {
        report.fail(
            "keys",
            "the JWKS has no keys: no token can be verified",
            "publish the public keys that sign tokens",
        );
        return;
    }
    for member in PRIVATE {
        if keys.iter().any(|key| key.get(member).is_some()) {
            report.fail(
                "keys",
                format!("a key has the private member '{member}': anyone can make tokens"),
                "take these keys out of use now, and publish public members only",
            );
            return;
        }
    }
    judge_ids(report, keys);
    let usable: Vec<_> = keys
        .iter()
        .filter_map(|key| VerifyingKey::from_jwk(key).ok())
        .collect();
    let algorithms: BTreeSet<_> = usable
        .iter()
        .flat_map(VerifyingKey::algorithms)
        .map(|algorithm| algorithm.as_str())
        .collect();
    let listed = algorithms.iter().copied().collect::<Vec<_>>().join(", ");
    if usable.is_empty() {
        report.fail(
            "algorithms",
            "no key is one for EdDSA, ES256, RS256 or PS256 (RSA from 2048 bits)",
            "sign with one of these",
        );
    } else if algorithms.contains(Algorithm::RS256.as_str()) {
        report.ok("algorithms", format!("{} keys for {listed}", usable.len()));
    } else {
        report.warn(
            "algorithms",
            format!("{} keys for {listed}, none for RS256", usable.len()),
            "many verifiers take RS256 only unless told; name the algorithm in each MCP server",
        );
    }
}

fn judge_ids(report: &mut Report, keys: &[Value]) {
    let ids: Vec<_> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
    let different: BTreeSet<_> = ids.iter().collect();
    if ids.len() < keys.len() {
        report.fail(
            "kid",
            format!("{} keys have no kid", keys.len() - ids.len()),
            "give each key a kid and name it in the tokens' header, or verifiers have to guess",
        );
    } else if different.len() < ids.len() {
        report.fail(
            "kid",
            "two keys have the same kid",
            "give each key a kid of its own, such as its thumbprint (RFC 7638)",
        );
    } else {
        report.ok("kid", format!("{} keys, each with its own", keys.len()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        cli::doctor::Verdict,
        entropy::Entropy,
        keys::{SigningAlgorithm, generate, jws::Signer},
    };

    fn key(algorithm: SigningAlgorithm, seed: u64) -> Value {
        let der = generate::pkcs8(algorithm, &Entropy::seeded(seed)).unwrap();
        Signer::new(algorithm, &der).unwrap().jwk().clone()
    }

    fn judged(keys: &[Value]) -> Report {
        let mut report = Report::new("issuer", "https://a.example");
        judge(&mut report, &json!({ "keys": keys }));
        report
    }

    #[test]
    fn good_keys() {
        let report = judged(&[
            key(SigningAlgorithm::RS256, 1),
            key(SigningAlgorithm::EdDSA, 2),
        ]);
        assert!(report.checks.iter().all(|c| c.verdict == Verdict::Ok));
        let report = judged(&[key(SigningAlgorithm::ES256, 1)]);
        assert!(report.has(Verdict::Warn, "algorithms") && !report.failed());
    }

    #[test]
    fn keys_that_must_not_be_published_so() {
        let good = key(SigningAlgorithm::ES256, 1);
        let with = |member: &str, value: Value| {
            let mut key = good.clone();
            key[member] = value;
            key
        };
        let mut nameless = good.clone();
        nameless.as_object_mut().unwrap().remove("kid");
        assert!(judged(&[]).has(Verdict::Fail, "keys"));
        assert!(judged(&[with("d", json!("x"))]).has(Verdict::Fail, "keys"));
        let shared = json!({ "kty": "oct", "kid": "s", "k": "AAAA" });
        assert!(judged(&[good.clone(), shared]).has(Verdict::Fail, "keys"));
        assert!(judged(&[nameless]).has(Verdict::Fail, "kid"));
        assert!(judged(&[good.clone(), good.clone()]).has(Verdict::Fail, "kid"));
        assert!(judged(&[with("x", json!("AA"))]).has(Verdict::Fail, "algorithms"));
    }
}
