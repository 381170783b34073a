//! `GET /jwks.json` (RFC 7517 §5).

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::support::{ACME, TestApp, b64};

/// RFC 7638 §3.2: the required members in lexicographic order, without white space.
fn thumbprint(key: &Value) -> String {
    let members: &[&str] = match key["kty"].as_str().unwrap() {
        "OKP" => &["crv", "kty", "x"],
        "EC" => &["crv", "kty", "x", "y"],
        "RSA" => &["e", "kty", "n"],
        other => panic!("{other}"),
    };
    let inner: Vec<String> = members
        .iter()
        .map(|m| format!("\"{m}\":{}", key[m]))
        .collect();
    let text = format!("{{{}}}", inner.join(","));
    b64(digest(&SHA256, text.as_bytes()))
}

#[tokio::test]
async fn every_key_is_named_by_its_thumbprint_and_says_what_it_is_for() {
    let app = TestApp::with_tenants().await;
    for path in ["/jwks.json", "/t/acme/jwks.json"] {
        let answer = app.get(path).await;
        let body = answer.ok();
        assert_eq!(body.as_object().unwrap().len(), 1);
        let keys = body["keys"].as_array().unwrap();
        let algorithms: BTreeSet<&str> = keys.iter().map(|k| k["alg"].as_str().unwrap()).collect();
        assert_eq!(algorithms, BTreeSet::from(["ES256", "EdDSA", "RS256"]));
        for key in keys {
            assert_eq!(key["kid"], thumbprint(key));
            assert_eq!(key["use"], "sig");
        }
    }
    assert!(app.tenant(Some(ACME)).keys().keys().len() >= 3);
}

#[tokio::test]
async fn only_public_members_are_published() {
    let app = TestApp::new().await;
    for key in app.get("/jwks.json").await.ok()["keys"].as_array().unwrap() {
        // AC-274: a list of what may be there, not of what may not.
        let members: BTreeSet<&str> = key
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let expected: &[&str] = match key["kty"].as_str().unwrap() {
            "OKP" => &["alg", "crv", "kid", "kty", "use", "x"],
            "EC" => &["alg", "crv", "kid", "kty", "use", "x", "y"],
            _ => &["alg", "e", "kid", "kty", "n", "use"],
        };
        assert_eq!(members, expected.iter().copied().collect());
    }
}

#[tokio::test]
async fn rsa_keys_are_long_enough() {
    let app = TestApp::new().await;
    let body = app.get("/jwks.json").await.ok();
    let rsa = body["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|k| k["kty"] == "RSA")
        .unwrap();
    // RFC 7518 §3.3: 2048 bits or more; 342 characters of base64url.
    assert!(rsa["n"].as_str().unwrap().len() >= 342);
    assert_eq!(rsa["e"], json!("AQAB"));
}

#[tokio::test]
async fn verifiers_may_keep_it_for_a_while() {
    let app = TestApp::with(|c| c.keys.cache = 77).await;
    let answer = app.get("/jwks.json").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/jwk-set+json")
    );
    assert_eq!(answer.header("cache-control"), Some("public, max-age=77"));
}
