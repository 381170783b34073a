//! What an administrator may declare a client to be.

use serde_json::{Value, json};

use crate::support::{DELEGATION, Key, TestApp};

async fn refusal(app: &TestApp, members: Value) -> String {
    let mut client = json!({ "client_id": "x" });
    for (name, value) in members.as_object().unwrap() {
        client[name] = value.clone();
    }
    let refused = app.apply_in(None, json!({ "clients": [client] })).await;
    let error = refused.expect_err(&members.to_string());
    assert!(app.tenant(None).client("x").is_none());
    error.description().into_owned()
}

#[tokio::test]
async fn a_rule_that_is_broken_is_named() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    let private = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA" }] });
    let secret = "0123456789abcdef0123";
    for (members, word) in [
        (json!({ "client_id": "a b" }), "client_id"),
        (json!({ "client_id": "" }), "client_id"),
        (json!({ "client_id": "x".repeat(129) }), "client_id"),
        (json!({ "client_secret": "short" }), "client_secret"),
        (
            json!({ "client_secret": secret, "token_endpoint_auth_method": "none" }),
            "client_secret",
        ),
        (
            json!({ "client_secret": secret, "jwks": key.jwks() }),
            "client_secret",
        ),
        (
            json!({ "jwks": key.jwks(), "jwks_uri": "https://a.example" }),
            "jwks",
        ),
        (json!({ "jwks": private }), "jwks"),
        (json!({ "jwks": { "keys": [] } }), "jwks"),
        (json!({ "jwks": 3 }), "jwks"),
        (json!({ "jwks_uri": "http://a.example/jwks" }), "jwks_uri"),
        (json!({ "jwks_uri": "/jwks" }), "jwks_uri"),
        (
            json!({ "token_endpoint_auth_method": "private_key_jwt" }),
            "jwks",
        ),
        (json!({ "grant_types": ["password"] }), "grant_types"),
        (
            json!({ "grant_types": [DELEGATION], "token_endpoint_auth_method": "none" }),
            "grant_types",
        ),
        (json!({ "delegates": ["a b"] }), "client_id"),
        (json!({ "serves": "nowhere" }), "serves"),
        (json!({ "serves": "writ-admin" }), "serves"),
        (
            json!({ "access": [{ "resource": "nowhere", "scopes": [] }] }),
            "access",
        ),
        (
            json!({ "access": [{ "resource": "weather", "scopes": ["tool:none"] }] }),
            "access",
        ),
        (
            json!({ "exchange": [{ "resource": "weather", "scopes": ["tool:none"] }] }),
            "exchange",
        ),
        (
            json!({ "access": [{ "resource": "weather" }, { "resource": "weather" }] }),
            "twice",
        ),
    ] {
        let description = refusal(&app, members.clone()).await;
        assert!(description.contains(word), "{members}: {description}");
    }
}

#[tokio::test]
async fn unknown_members_are_errors() {
    let app = TestApp::new().await;
    let body = json!({ "client_id": "x", "grant_type": ["client_credentials"] });
    let answer = app.admin("POST", "/clients").await.json(&body).await;
    answer.refused(400, "invalid_request");
    assert!(answer.text().contains("grant_type"));
}

#[tokio::test]
async fn a_client_twice_in_one_declaration_is_an_error() {
    let app = TestApp::new().await;
    let twice = json!({ "clients": [{ "client_id": "x" }, { "client_id": "x" }] });
    assert!(app.apply_in(None, twice).await.is_err());
}
