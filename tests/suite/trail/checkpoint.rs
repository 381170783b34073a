//! Signed checkpoints: they find a history that was rewritten by somebody who had every key.

use serde_json::Value;
use writ_resource::jws::{KeySet, Unverified, VerifyingKey};

use crate::support::{TestApp, WEATHER};

async fn checkpoint(app: &TestApp) -> String {
    let signed = app.admin("GET", "/audit/checkpoint").await.await.ok();
    signed["checkpoint"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_checkpoint_names_the_end_of_every_chain_and_is_checked_with_the_jwks() {
    let app = TestApp::weather().await;
    app.other_node([(1, writ::audit::Event::default())].into_iter())
        .await;
    let token = checkpoint(&app).await;
    let jwks = app.get("/jwks.json").await;
    let keys = KeySet::from_jwks(&jwks.body).unwrap();
    let unverified = Unverified::parse(&token).unwrap();
    assert!(unverified.is_typ("audit-checkpoint+jwt"));
    let key = keys.find(unverified.kid(), unverified.alg()).unwrap();
    let enclosed = VerifyingKey::from_jwk(unverified.jwk().unwrap()).unwrap();
    assert_eq!(Some(enclosed.thumbprint()), unverified.kid());
    let claims: Value = unverified.verify(key).unwrap().claims().unwrap();
    assert_eq!(claims["iss"], app.issuer);
    assert_eq!(claims["tenant"], "default");
    assert_eq!(claims["iat"], app.now());
    let chains = claims["chains"].as_array().unwrap();
    assert_eq!(
        (&chains[0]["node"], &chains[1]["node"]),
        (&"1".into(), &"2".into())
    );
    for chain in chains {
        let query = format!(
            "node={}&after={}",
            chain["node"].as_str().unwrap(),
            chain["seq"].as_i64().unwrap() - 1
        );
        assert_eq!(app.events(&query).await[0]["hash"], chain["hash"]);
    }
    // It is no access token.
    app.get("/admin/clients")
        .bearer(&token)
        .await
        .refused(401, "invalid_token");
}

#[tokio::test]
async fn the_trail_names_the_key_of_a_checkpoint_when_it_has_left_the_jwks() {
    let app = TestApp::weather().await;
    let token = checkpoint(&app).await;
    let unverified = Unverified::parse(&token).unwrap();
    let kid = unverified.kid().unwrap();
    let named = app.events("kind=keys.rotated").await.iter().any(|event| {
        let kids = event["event"]["object"].as_str().unwrap_or_default();
        kids.split(' ').any(|one| one == kid)
    });
    assert!(named);
}

#[tokio::test]
async fn what_does_not_hold_is_not_vouched_for() {
    let app = TestApp::weather().await;
    let token = app.admin_token(None, "writ:audit").await;
    app.sql("UPDATE audit_head SET last_seq = last_seq - 1")
        .await;
    app.token("agent", WEATHER, "tool:forecast").await;
    app.sql("UPDATE audit_head SET last_seq = last_seq - 1")
        .await;
    app.get("/admin/audit/checkpoint")
        .bearer(&token)
        .await
        .refused(409, "conflict");
}
