//! `/.well-known/ssf-configuration`

use serde_json::{Value, json};

use crate::support::{ACME, TestApp};

#[tokio::test]
async fn the_document_says_where_everything_is() {
    let app = TestApp::new().await;
    let answer = app.get("/.well-known/ssf-configuration").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let issuer = "https://as.example";
    let at = |path: &str| format!("{issuer}{path}");
    let expected = json!({
        "issuer": issuer,
        "spec_version": "1_0",
        "jwks_uri": at("/jwks.json"),
        "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
        "configuration_endpoint": at("/ssf/streams"),
        "status_endpoint": at("/ssf/status"),
        "add_subject_endpoint": at("/ssf/subjects/add"),
        "remove_subject_endpoint": at("/ssf/subjects/remove"),
        "verification_endpoint": at("/ssf/verify"),
        "authorization_schemes": [{ "spec_urn": "urn:ietf:rfc:6749" }],
        "default_subjects": "ALL",
        "feed_endpoint": at("/ssf/feed"),
    });
    assert_eq!(answer.ok(), expected);
}

#[tokio::test]
async fn every_path_form_answers_whatever_host_is_asked() {
    let app = TestApp::tenants_at("https://as.example/auth").await;
    for (issuer, paths) in [
        (
            "https://as.example/auth".to_owned(),
            [
                "/.well-known/ssf-configuration/auth".to_owned(),
                "/auth/.well-known/ssf-configuration".to_owned(),
            ],
        ),
        (
            format!("https://as.example/auth/t/{ACME}"),
            [
                format!("/.well-known/ssf-configuration/auth/t/{ACME}"),
                format!("/auth/t/{ACME}/.well-known/ssf-configuration"),
            ],
        ),
    ] {
        for path in paths {
            let plain = app.get(&path).await;
            assert_eq!(plain.ok()["issuer"], issuer, "{path}");
            let other = app.get(&path).header("host", "evil.example").await;
            assert_eq!(other.body, plain.body, "{path}");
            let members = plain.json();
            for (name, value) in members.as_object().unwrap() {
                let empty = value.as_array().is_some_and(Vec::is_empty);
                assert!(!empty, "{name}");
                if name.ends_with("_endpoint") || name.ends_with("_uri") {
                    let url = value.as_str().unwrap();
                    assert!(url.starts_with(&format!("{issuer}/")), "{name}: {url}");
                }
            }
        }
    }
    let nobody = app
        .get("/.well-known/ssf-configuration/auth/t/nobody")
        .await;
    nobody.refused(404, "not_found");
}

#[tokio::test]
async fn the_keys_hold_one_for_the_interoperability_profile() {
    let app = TestApp::new().await;
    let keys = app.get("/jwks.json").await.ok();
    let keys = keys["keys"].as_array().unwrap();
    let rsa = keys.iter().find(|key| key["alg"] == "RS256").unwrap();
    assert!(rsa["kid"].is_string() && rsa["use"] == "sig");
    // 2048 bits are 342 characters of base64url.
    assert!(rsa["n"].as_str().unwrap().len() >= 342);
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert_eq!(key.get(private), None::<&Value>);
        }
    }
}
