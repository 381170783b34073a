//! Q. Metadata, key sets and their paths.

use serde_json::json;

use crate::support::{DELEGATION, Key, TestApp, WEATHER, parts};

const DOCUMENTS: [&str; 4] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource/admin",
    "/jwks.json",
];

// AC-276
#[tokio::test]
async fn documents_are_got_whatever_the_client_accepts() {
    let app = TestApp::new().await;
    for path in DOCUMENTS {
        let honest = app.get(path).await;
        for accept in [
            "*/*",
            "application/json",
            "text/html",
            "application/xml;q=0.1",
            "nonsense",
            "",
            "\u{e9}",
        ] {
            let answer = app.get(path).header("accept", accept).await;
            assert_eq!(answer.ok(), honest.json(), "{path} {accept}");
        }
        let head = app.call("HEAD", path).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-type"), honest.header("content-type"));
    }
}

// AC-276
#[tokio::test]
async fn documents_are_not_posted_to() {
    let app = TestApp::new().await;
    for path in DOCUMENTS {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = app.call(method, path).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(
                answer.header("allow").unwrap().contains("GET"),
                "{method} {path}"
            );
        }
        let options = app.call("OPTIONS", path).await;
        assert!(options.status < 500, "{path}: {}", options.status);
    }
}

// AC-275
#[tokio::test]
async fn what_is_advertised_works_and_nothing_else_does() {
    let app = TestApp::weather().await;
    let body = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .ok();
    let list = |name: &str| -> Vec<String> { serde_json::from_value(body[name].clone()).unwrap() };
    assert_eq!(
        list("token_endpoint_auth_methods_supported"),
        [
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
            "none"
        ]
    );
    let advertised = list("token_endpoint_auth_signing_alg_values_supported");
    for alg in ["EdDSA", "ES256", "RS256", "PS256"] {
        assert!(advertised.iter().any(|a| a == alg), "{alg}");
        let key = Key::new(alg, 4);
        app.robot(&key, json!({})).await;
        app.ask_with(&app.assertion(&key, "robot", &json!({})), &[])
            .await
            .ok();
    }
    // Registration knows the same methods and no other.
    for method in [
        "client_secret_jwt",
        "tls_client_auth",
        "self_signed_tls_client_auth",
        "attest_jwt_client_auth",
    ] {
        let metadata = json!({
            "grant_types": ["client_credentials"], "token_endpoint_auth_method": method,
        });
        app.post("/register")
            .json(&metadata)
            .await
            .refused(400, "invalid_client_metadata");
    }
    assert_eq!(
        list("grant_types_supported"),
        [
            "authorization_code",
            "refresh_token",
            "client_credentials",
            DELEGATION
        ]
    );
}

// AC-273
#[tokio::test]
async fn no_path_trick_leads_to_another_document() {
    let app = TestApp::with_tenants().await;
    for path in [
        "/.well-known/",
        "/.well-known",
        "/.well-known/oauth-authorization-server/",
        "/.well-known/oauth-authorization-server/t/acme/",
        "/.well-known/oauth-authorization-server//t/acme",
        "/.well-known/oauth-authorization-server/t/acme/t/globex",
        "/.well-known/oauth-authorization-server/../jwks.json",
        "/.well-known/oauth-authorization-server/t/acme%2f",
        "/.well-known/oauth-authorization-server%2ft/acme",
        "/.WELL-KNOWN/oauth-authorization-server",
        "/.well-known/jwks.json",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/admin/x",
        "/.well-known/oauth-protected-resource/t/nobody/admin",
        "/jwks.json/",
        "/jwks",
        "//",
        "/t",
        "/t/",
        "/index.html",
        "/.git/config",
        "/admin.json",
        "/writ.db",
        "/..%2fadmin.json",
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

// AC-274
#[tokio::test]
async fn every_token_is_signed_with_a_key_that_is_published_as_it_is_used() {
    let app = TestApp::weather().await;
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    let header = parts(&token).0;
    let set = app.get("/jwks.json").await.ok();
    let fitting = set["keys"].as_array().unwrap().iter().filter(|key| {
        key["kid"] == header["kid"] && key["alg"] == header["alg"] && key["use"] == "sig"
    });
    assert_eq!(fitting.count(), 1);
    // Nothing in the header a careless verifier could be led by.
    let members: Vec<&String> = header.as_object().unwrap().keys().collect();
    assert_eq!(members, ["alg", "kid", "typ"]);
}
