//! What a resource may be declared to be.

use serde_json::{Value, json};

use crate::support::TestApp;

fn resource(members: &Value) -> Value {
    let mut resource = json!({ "id": "r", "resource": "https://r.example/mcp" });
    for (name, value) in members.as_object().unwrap() {
        resource[name] = value.clone();
    }
    resource
}

#[tokio::test]
async fn a_rule_that_is_broken_is_named() {
    let app = TestApp::new().await;
    let tools = json!([{ "name": "t" }, { "name": "s", "sensitive": true }]);
    for (members, word) in [
        (json!({ "id": "A" }), "id"),
        (json!({ "id": "" }), "id"),
        (json!({ "id": "writ-admin" }), "id"),
        (json!({ "id": "a/b" }), "id"),
        (json!({ "resource": "r.example" }), "absolute"),
        (json!({ "resource": "http://r.example" }), "https"),
        (json!({ "resource": "https://r.example/#x" }), "fragment"),
        (json!({ "resource": "https://r.example/?q=1" }), "query"),
        (json!({ "resource": "https://u:p@r.example/" }), "user"),
        (json!({ "resource": "urn:example:r" }), "URI"),
        (json!({ "resource": "https://as.example/admin" }), "admin"),
        (json!({ "tools": [{ "name": "" }] }), "tool"),
        (
            json!({ "tools": [{ "name": "t" }, { "name": "t" }] }),
            "twice",
        ),
        (
            json!({ "tools": tools, "scopes": [{ "name": "tool:t" }] }),
            "twice",
        ),
        (json!({ "scopes": [{ "name": "a b" }] }), "scope"),
        (json!({ "scopes": [{ "name": "*" }] }), "scope"),
        (
            json!({ "scopes": [{ "name": "a", "includes": ["b"] }] }),
            "unknown scope",
        ),
        (
            json!({ "tools": tools, "default_scopes": ["tool:x"] }),
            "default_scopes",
        ),
        (
            json!({ "tools": tools, "default_scopes": ["tool:s"] }),
            "sensitive",
        ),
        (
            json!({ "tools": tools, "open_scopes": ["tool:s"] }),
            "sensitive",
        ),
        (
            json!({
                "tools": tools, "open_scopes": ["all"],
                "scopes": [{ "name": "all", "includes": ["tool:s"] }],
            }),
            "sensitive",
        ),
        (
            json!({ "access_token_lifetime": 59 }),
            "access_token_lifetime",
        ),
        (
            json!({ "access_token_lifetime": 3601 }),
            "access_token_lifetime",
        ),
    ] {
        let declaration = json!({ "resources": [resource(&members)] });
        let refused = app.apply_in(None, declaration).await;
        let error = refused.expect_err(&members.to_string());
        let description = error.description().into_owned();
        assert!(description.contains(word), "{members}: {description}");
    }
    // The server's own.
    assert_eq!(app.tenant(None).resources().all().len(), 3);
}

#[tokio::test]
async fn unknown_and_mistyped_members_are_errors_with_their_place() {
    let app = TestApp::new().await;
    for (members, word) in [
        (json!({ "tool": [] }), "tool"),
        (
            json!({ "tools": [{ "name": "t", "sensitiv": true }] }),
            "sensitiv",
        ),
        (json!({ "signing_algorithm": "HS256" }), "HS256"),
        (json!({ "signing_algorithm": "none" }), "none"),
        (json!({ "access_token_lifetime": "300" }), "300"),
        (json!({ "resource": 3 }), "resource"),
    ] {
        let answer = app
            .admin("POST", "/resources")
            .await
            .json(&resource(&members))
            .await;
        answer.refused(400, "invalid_request");
        assert!(answer.text().contains(word), "{members}: {}", answer.text());
    }
}

#[tokio::test]
async fn two_resources_never_share_a_uri_in_any_spelling() {
    let app = TestApp::new().await;
    app.apply(json!({ "resources": [resource(&json!({}))] }))
        .await;
    for spelling in [
        "https://r.example/mcp",
        "https://R.example/mcp/",
        "https://r.example:443/mcp",
    ] {
        let other = resource(&json!({ "id": "other", "resource": spelling }));
        app.admin("POST", "/resources")
            .await
            .json(&other)
            .await
            .refused(409, "conflict");
    }
    // Paths are compared as they are.
    let other = resource(&json!({ "id": "other", "resource": "https://r.example/MCP" }));
    app.apply(json!({ "resources": [other] })).await;
}

#[tokio::test]
async fn circles_of_scopes_end() {
    let app = TestApp::new().await;
    let scopes = json!([
        { "name": "a", "includes": ["b"] }, { "name": "b", "includes": ["a", "b"] },
    ]);
    app.apply(json!({ "resources": [resource(&json!({ "scopes": scopes }))] }))
        .await;
    let access = json!([{ "resource": "r", "scopes": ["a"] }]);
    app.client("agent", json!({ "access": access })).await;
    let body = app.ask("agent", &[("scope", "b")]).await.ok();
    assert_eq!(body["scope"], "a b");
}

#[tokio::test]
async fn access_belongs_to_the_uri_and_not_to_the_short_name() {
    let app = TestApp::new().await;
    let tools = json!([{ "name": "t" }]);
    app.apply(json!({ "resources": [resource(&json!({ "tools": tools }))] }))
        .await;
    let access = json!([{ "resource": "r", "scopes": ["*"] }]);
    app.client("agent", json!({ "access": access })).await;
    app.ask("agent", &[]).await.ok();
    // Another server takes the name: it does not inherit the agent's access.
    app.admin("DELETE", "/resources/r").await.await;
    let other = json!({ "tools": tools, "resource": "https://other.example" });
    app.apply(json!({ "resources": [resource(&other)] })).await;
    app.ask("agent", &[("resource", "https://other.example")])
        .await
        .refused(400, "invalid_target");
}
