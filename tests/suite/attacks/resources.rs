//! L. Resources and audience, as far as the server decides them. What a resource server checks is
//! proved in the layer's own suite; what the admin API checks in `admin::access`.

use serde_json::json;

use crate::support::{CALENDAR, TestApp, WEATHER, parts};

// AC-202
#[tokio::test]
async fn a_resource_that_cannot_be_is_refused_and_not_guessed() {
    let app = TestApp::weather().await;
    for resource in [
        "https://nowhere.example",
        "weather",
        "/mcp",
        "mcp",
        "//weather.example/mcp",
        "weather.example/mcp",
        "https://weather.example/mcp#x",
        "https://weather.example/mcp#",
        "https://weather.example/mcp?x=1",
        "https://weather.example/mcp/other",
        "https://weather.example/MCP",
        "https://weather.example/",
        "http://weather.example/mcp",
        "https://weather.example:444/mcp",
        "https://weather.example.evil.example/mcp",
        "https://u@weather.example/mcp",
        "https://weather.example/mcp/../admin",
        "https://weather.example/mcp%2f",
        "https://[",
        "urn:example:weather",
        "javascript:alert(1)",
        "\u{0}",
        "*",
    ] {
        let answer = app.ask("agent", &[("resource", resource)]).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_target".into()),
            "{resource}"
        );
    }
}

// AC-202
#[tokio::test]
async fn a_resource_of_others_looks_like_one_that_does_not_exist() {
    let app = TestApp::weather().await;
    app.client(
        "poor",
        json!({ "access": [{ "resource": "calendar", "scopes": ["*"] }] }),
    )
    .await;
    let words = async |resource: &str| {
        let answer = app.ask("poor", &[("resource", resource)]).await;
        answer.refused(400, "invalid_target");
        answer.text().replace(resource, "X")
    };
    assert_eq!(words(WEATHER).await, words("https://nowhere.example").await);
}

// AC-203
#[tokio::test]
async fn no_resource_is_never_every_resource() {
    let app = TestApp::weather().await;
    app.ask("agent", &[]).await.refused(400, "invalid_target");
    app.ask("agent", &[("resource", "")])
        .await
        .refused(400, "invalid_target");
    app.client(
        "single",
        json!({ "access": [{ "resource": "calendar", "scopes": ["*"] }] }),
    )
    .await;
    assert_eq!(
        parts(&app.ask("single", &[]).await.token()).1["aud"],
        CALENDAR
    );
    app.client("none", json!({})).await;
    app.ask("none", &[]).await.refused(400, "invalid_target");
}

// AC-205
#[tokio::test]
async fn two_resources_only_where_policy_allows() {
    let app = TestApp::weather().await;
    let both = [("resource", WEATHER), ("resource", CALENDAR)];
    app.ask("agent", &both).await.refused(400, "invalid_target");
    let with_unknown = [
        ("resource", WEATHER),
        ("resource", "https://nowhere.example"),
    ];
    app.ask("agent", &with_unknown)
        .await
        .refused(400, "invalid_target");
    // Not with one that the client has nothing at, however many it may ask for.
    let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
    app.client(
        "multi",
        json!({ "access": access, "multiple_resources": true }),
    )
    .await;
    app.ask("multi", &both).await.refused(400, "invalid_target");
}

// AC-207
#[tokio::test]
async fn an_access_token_has_all_that_rfc_9068_asks_for() {
    let app = TestApp::weather().await;
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    let (header, claims) = parts(&token);
    assert_eq!(header["typ"], "at+jwt");
    assert_ne!(header["alg"], "none");
    for name in ["iss", "aud", "sub", "client_id", "jti"] {
        assert!(!claims[name].as_str().unwrap().is_empty(), "{name}");
    }
    for name in ["exp", "iat"] {
        assert!(claims[name].is_i64(), "{name}");
    }
}

// AC-199, AC-200: what belongs to one resource is nothing at another.
#[tokio::test]
async fn a_token_for_one_resource_is_refused_by_the_admin_api() {
    let app = TestApp::weather().await;
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    app.get("/admin/resources")
        .bearer(&token)
        .await
        .refused(401, "invalid_token");
    app.post("/resources")
        .bearer(&token)
        .json(&json!({ "resource": "https://x.example" }))
        .await
        .refused(401, "invalid_token");
}
