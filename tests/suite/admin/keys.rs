//! `/admin/keys`. What rotation does to tokens is in `keys`.

use serde_json::{Value, json};

use crate::support::TestApp;

#[tokio::test]
async fn keys_are_listed_with_their_state_and_nothing_private() {
    let app = TestApp::new().await;
    let keys = app.admin("GET", "/keys").await.await.ok();
    let keys = keys.as_array().unwrap();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let members: Vec<&String> = key.as_object().unwrap().keys().collect();
        let expected = ["activated_at", "algorithm", "kid", "published_at", "state"];
        assert_eq!(members, expected);
        assert_eq!(key["state"], "active");
    }
}

#[tokio::test]
async fn one_algorithm_rotates_alone() {
    let app = TestApp::new().await;
    let rotation = json!({ "algorithm": "EdDSA", "now": true });
    let keys = app
        .admin("POST", "/keys/rotate")
        .await
        .json(&rotation)
        .await
        .ok();
    let states = |algorithm: &str| -> Vec<Value> {
        let keys = keys.as_array().unwrap().iter();
        keys.filter(|k| k["algorithm"] == algorithm)
            .map(|k| k["state"].clone())
            .collect()
    };
    let mut rotated: Vec<String> = states("EdDSA").iter().map(ToString::to_string).collect();
    rotated.sort();
    assert_eq!(rotated, ["\"active\"", "\"next\"", "\"retired\""]);
    assert!(!states("ES256").contains(&json!("retired")));
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused() {
    let app = TestApp::new().await;
    for body in [
        json!({ "algorithm": "HS256" }),
        json!({ "when": "now" }),
        json!([]),
        json!(1),
    ] {
        app.admin("POST", "/keys/rotate")
            .await
            .json(&body)
            .await
            .refused(400, "invalid_request");
    }
}
