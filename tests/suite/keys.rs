//! Signing keys: published before use, kept until their last token is over.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use writ::keys::{KeyState, SigningAlgorithm};

use crate::support::{Answer, AtRest, TestApp, WEATHER, parts, verify};

async fn published(app: &TestApp) -> BTreeSet<String> {
    let body = app.get("/jwks.json").await.ok();
    let keys = body["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

/// The key of this algorithm in this state.
fn kid(app: &TestApp, algorithm: SigningAlgorithm, state: KeyState) -> String {
    let tenant = app.tenant(None);
    let ring = tenant.keys();
    let mut found = ring
        .keys()
        .iter()
        .filter(|k| k.algorithm == algorithm && k.state == state);
    let kid = found.next().unwrap().kid.clone();
    assert!(found.next().is_none(), "two keys are {state:?}");
    kid
}

async fn rotate(app: &TestApp, body: Value) -> Answer {
    app.admin("POST", "/keys/rotate").await.json(&body).await
}

async fn signer(app: &TestApp) -> String {
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    parts(&token).0["kid"].as_str().unwrap().to_owned()
}

async fn maintain(app: &TestApp) {
    app.state.maintain_keys(&app.tenant(None)).await.unwrap();
}

const EDDSA: SigningAlgorithm = SigningAlgorithm::EdDSA;

#[tokio::test]
async fn the_next_key_is_published_before_it_signs() {
    let app = TestApp::weather().await;
    maintain(&app).await;
    let (first, next) = (
        kid(&app, EDDSA, KeyState::Active),
        kid(&app, EDDSA, KeyState::Next),
    );
    assert!(published(&app).await.contains(&next));
    assert_eq!(signer(&app).await, first);
    // Some verifier may have cached the set a moment before.
    let refused = rotate(&app, json!({ "algorithm": "EdDSA" })).await;
    refused.refused(409, "conflict");
    assert_eq!(signer(&app).await, first);
    app.advance(600);
    rotate(&app, json!({ "algorithm": "EdDSA" })).await.ok();
    assert_eq!(signer(&app).await, next);
    // And the one after it is out already.
    let after = kid(&app, EDDSA, KeyState::Next);
    assert!(published(&app).await.contains(&after));
}

#[tokio::test]
async fn an_operator_in_a_hurry_may_use_the_next_key_at_once() {
    let app = TestApp::weather().await;
    maintain(&app).await;
    let next = kid(&app, EDDSA, KeyState::Next);
    rotate(&app, json!({ "algorithm": "EdDSA", "now": true }))
        .await
        .ok();
    assert_eq!(signer(&app).await, next);
}

#[tokio::test]
async fn a_retired_key_verifies_until_its_last_token_is_over() {
    let app = TestApp::weather().await;
    app.apply(json!({ "resources": [{
        "id": "weather", "resource": WEATHER, "tools": [{ "name": "forecast" }],
        "signing_algorithm": "EdDSA", "access_token_lifetime": 3600,
    }]}))
    .await;
    let old = kid(&app, EDDSA, KeyState::Active);
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    rotate(&app, json!({ "algorithm": "EdDSA", "now": true }))
        .await
        .ok();
    // To the token's last second any verifier finds the key.
    app.advance(3599);
    maintain(&app).await;
    verify(&token, &app.get("/jwks.json").await.ok());
    // A while later there is nothing it could verify.
    app.advance(3600);
    maintain(&app).await;
    assert!(!published(&app).await.contains(&old));
}

#[tokio::test]
async fn a_token_of_a_retired_key_is_still_ours() {
    let app = TestApp::weather().await;
    let token = app.admin_token(None, "writ:read").await;
    rotate(&app, json!({ "now": true })).await.ok();
    app.get("/admin/clients").bearer(&token).await.ok();
    assert_ne!(
        parts(&token).0["kid"],
        parts(&app.admin_token(None, "writ:read").await).0["kid"]
    );
}

#[tokio::test]
async fn age_rotates_keys_without_anyone_asking() {
    let app = TestApp::weather().await;
    maintain(&app).await;
    let (first, next) = (
        kid(&app, EDDSA, KeyState::Active),
        kid(&app, EDDSA, KeyState::Next),
    );
    app.advance(90 * 86_400 - 1);
    maintain(&app).await;
    assert_eq!(signer(&app).await, first);
    app.advance(1);
    maintain(&app).await;
    assert_eq!(signer(&app).await, next);
    assert!(published(&app).await.contains(&first));
    // Every algorithm, not only the one in use.
    for algorithm in SigningAlgorithm::ALL {
        kid(&app, algorithm, KeyState::Retired);
    }
}

#[tokio::test]
async fn age_does_nothing_when_the_operator_rotates_alone() {
    let app = TestApp::with(|c| c.keys.rotate_after = 0).await;
    maintain(&app).await;
    let first = kid(&app, EDDSA, KeyState::Active);
    app.advance(10 * 365 * 86_400);
    maintain(&app).await;
    assert_eq!(kid(&app, EDDSA, KeyState::Active), first);
}

#[tokio::test]
async fn maintenance_with_nothing_to_do_writes_nothing() {
    let app = TestApp::new().await;
    maintain(&app).await;
    let before = app
        .admin("GET", "/audit?kind=keys.rotated")
        .await
        .await
        .ok();
    maintain(&app).await;
    let after = app
        .admin("GET", "/audit?kind=keys.rotated")
        .await
        .await
        .ok();
    assert_eq!(before, after);
}

#[tokio::test]
async fn rotation_is_in_the_audit_trail_with_who_asked() {
    let app = TestApp::new().await;
    rotate(&app, json!({ "algorithm": "EdDSA", "now": true }))
        .await
        .ok();
    let events = app
        .admin("GET", "/audit?kind=keys.rotated")
        .await
        .await
        .ok();
    let reasons: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"]["reason"].clone())
        .collect();
    assert_eq!(reasons.last(), Some(&json!("rotated by admin")));
}

#[tokio::test]
async fn keys_survive_a_restart_in_the_state_they_were_in() {
    let app = TestApp::weather().await;
    rotate(&app, json!({ "algorithm": "EdDSA", "now": true }))
        .await
        .ok();
    let before: Vec<_> = [KeyState::Next, KeyState::Active, KeyState::Retired]
        .map(|state| kid(&app, EDDSA, state))
        .into();
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    let app = app.restart().await;
    let after: Vec<_> = [KeyState::Next, KeyState::Active, KeyState::Retired]
        .map(|state| kid(&app, EDDSA, state))
        .into();
    assert_eq!(before, after);
    app.claims(&token).await;
}

#[tokio::test]
async fn private_keys_are_sealed_on_disk() {
    let app = TestApp::new().await;
    let key = crate::support::ServerKey::of(&app, &app.tenant(None));
    let private = key.seed();
    let kept = AtRest::read(&app.stop().await.0).await;
    let holds = |part: &[u8]| kept.holds(part);
    // The search finds what is there: the key's name.
    assert!(holds(key.header()["kid"].as_str().unwrap().as_bytes()));
    assert!(!holds(&private));
    // DER of an Ed25519 and of an RSA private key, as PKCS#8 begins.
    assert!(!holds(&[0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22]));
    assert!(!holds(&[
        0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01
    ]));
}
