//! The RFC 9728 document Writ publishes for a resource.

use serde_json::json;

use crate::support::{TestApp, WEATHER};

#[tokio::test]
async fn the_document_says_what_clients_need() {
    let app = TestApp::weather().await;
    let answer = app.get("/resources/weather/oauth-protected-resource").await;
    let body = answer.ok();
    assert_eq!(
        body,
        json!({
            "resource": WEATHER,
            "authorization_servers": ["https://as.example"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Weather",
            "scopes_supported": [
                "tool:alert", "tool:forecast", "tool:history", "weather:all", "weather:read",
            ],
        })
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(answer.header("cache-control").unwrap().contains("max-age"));
}

#[tokio::test]
async fn a_resource_of_bound_tokens_says_so() {
    let app = TestApp::new().await;
    let resource = json!({
        "id": "bank", "resource": "https://bank.example", "dpop_required": true,
        "documentation": "https://bank.example/docs",
    });
    app.apply(json!({ "resources": [resource] })).await;
    let body = app
        .get("/resources/bank/oauth-protected-resource")
        .await
        .ok();
    assert_eq!(body["dpop_bound_access_tokens_required"], true);
    assert_eq!(body["resource_documentation"], "https://bank.example/docs");
    // RFC 9728 §2: members without a value are left out.
    assert_eq!(body.get("scopes_supported"), None);
    assert_eq!(body.get("resource_name"), None);
}

#[tokio::test]
async fn what_is_not_registered_has_no_document() {
    let app = TestApp::weather().await;
    for id in ["nowhere", "..", "%2e%2e", "a%00b", ""] {
        let path = format!("/resources/{id}/oauth-protected-resource");
        assert_eq!(app.get(&path).await.status, 404, "{id}");
    }
}
