//! RFC 6749 §4.4, with resources (RFC 8707) and access tokens of RFC 9068.

use serde_json::{Value, json};

use crate::support::{CALENDAR, NOW, TestApp, WEATHER, parts};

/// The scope granted to a client that asks for this one at the weather server.
async fn granted(app: &TestApp, client_id: &str, scope: &str) -> Value {
    let params = [("resource", WEATHER), ("scope", scope)];
    app.ask(client_id, &params).await.ok()["scope"].clone()
}

/// A client with these scopes at the weather server.
async fn with_access(app: &TestApp, client_id: &str, scopes: &[&str]) {
    let access = json!([{ "resource": "weather", "scopes": scopes }]);
    app.client(client_id, json!({ "access": access })).await;
}

#[tokio::test]
async fn a_client_gets_a_token_in_its_own_name() {
    let app = TestApp::weather().await;
    let answer = app
        .ask(
            "agent",
            &[("resource", WEATHER), ("scope", "tool:forecast")],
        )
        .await;
    let body = answer.ok();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["scope"], "tool:forecast");
    // RFC 6749 §4.4.3: no refresh token.
    assert_eq!(body.get("refresh_token"), None);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let token = answer.token();
    // RFC 9068 §2.1.
    assert_eq!(parts(&token).0["typ"], "at+jwt");
    let claims = app.claims(&token).await;
    let (jti, grant_id) = (claims["jti"].clone(), claims["grant_id"].clone());
    assert!(jti.as_str().unwrap().len() >= 22 && grant_id.is_string());
    assert_eq!(
        claims,
        json!({
            "iss": "https://as.example", "sub": "agent", "client_id": "agent", "aud": WEATHER,
            "iat": NOW, "exp": NOW + 300, "jti": jti, "scope": "tool:forecast",
            "grant_id": grant_id,
        })
    );
}

#[tokio::test]
async fn every_token_has_a_name_of_its_own_and_the_grant_of_client_and_resource() {
    let app = TestApp::weather().await;
    with_access(&app, "other", &["*"]).await;
    let mut grants = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for (client, resource, scope) in [
        ("agent", WEATHER, "tool:forecast"),
        ("agent", WEATHER, "tool:history"),
        ("agent", CALENDAR, "tool:history"),
        ("other", WEATHER, "tool:history"),
    ] {
        let claims = parts(&app.token(client, resource, scope).await).1;
        assert!(names.insert(claims["jti"].to_string()));
        grants.push(claims["grant_id"].clone());
    }
    assert_eq!(grants[0], grants[1]);
    assert_ne!(grants[1], grants[2]);
    assert_ne!(grants[1], grants[3]);
}

#[tokio::test]
async fn without_a_scope_the_resource_defaults_are_granted() {
    let app = TestApp::weather().await;
    // RFC 6749 §3.3: a default, and it is echoed.
    let body = app.ask("agent", &[("resource", WEATHER)]).await.ok();
    assert_eq!(body["scope"], "tool:forecast");
    // Some clients send an empty scope, which counts as none.
    assert_eq!(granted(&app, "agent", "").await, "tool:forecast");
}

#[tokio::test]
async fn a_client_without_the_defaults_gets_what_is_plainly_its_own() {
    let app = TestApp::weather().await;
    with_access(&app, "historian", &["tool:history", "tool:alert"]).await;
    let body = app.ask("historian", &[("resource", WEATHER)]).await.ok();
    assert_eq!(body["scope"], "tool:history");
    with_access(&app, "alarm", &["tool:alert"]).await;
    app.ask("alarm", &[("resource", WEATHER)])
        .await
        .refused(400, "invalid_scope");
}

#[tokio::test]
async fn unknown_scopes_are_dropped_while_something_is_left() {
    let app = TestApp::weather().await;
    let asked = "tool:forecast tool:nonsense openid";
    assert_eq!(granted(&app, "agent", asked).await, "tool:forecast");
    for nothing in ["tool:nonsense", "openid offline_access", "*"] {
        app.ask("agent", &[("resource", WEATHER), ("scope", nothing)])
            .await
            .refused(400, "invalid_scope");
    }
}

#[tokio::test]
async fn a_scope_brings_what_it_includes() {
    let app = TestApp::weather().await;
    assert_eq!(
        granted(&app, "agent", "weather:read").await,
        "tool:forecast tool:history weather:read"
    );
    with_access(&app, "chief", &["weather:all"]).await;
    assert_eq!(
        granted(&app, "chief", "weather:all").await,
        "tool:alert tool:forecast tool:history weather:all weather:read"
    );
    // Part of it may be asked for alone.
    assert_eq!(granted(&app, "chief", "tool:history").await, "tool:history");
}

#[tokio::test]
async fn a_sensitive_scope_is_only_for_a_client_that_was_given_it_by_name() {
    let app = TestApp::weather().await;
    let asked = "tool:alert tool:forecast weather:all";
    assert_eq!(granted(&app, "agent", asked).await, "tool:forecast");
    app.ask("agent", &[("resource", WEATHER), ("scope", "weather:all")])
        .await
        .refused(400, "invalid_scope");
    with_access(&app, "alarm", &["*", "tool:alert"]).await;
    assert_eq!(granted(&app, "alarm", "tool:alert").await, "tool:alert");
    assert_eq!(granted(&app, "alarm", "").await, "tool:forecast");
}

#[tokio::test]
async fn the_audience_is_the_registered_uri_whatever_spelling_was_asked_for() {
    let app = TestApp::weather().await;
    for spelling in [
        WEATHER,
        "https://weather.example/mcp/",
        "HTTPS://Weather.EXAMPLE/mcp",
        "https://weather.example:443/mcp",
    ] {
        let claims = parts(&app.token("agent", spelling, "tool:forecast").await).1;
        assert_eq!(claims["aud"], WEATHER, "{spelling}");
    }
}

#[tokio::test]
async fn without_a_resource_the_only_fitting_one_is_meant() {
    let app = TestApp::weather().await;
    with_access(&app, "single", &["*"]).await;
    let answer = app.ask("single", &[]).await;
    assert_eq!(parts(&answer.token()).1["aud"], WEATHER);
    // Two to choose from: the scope tells which, when only one knows it.
    let answer = app.ask("agent", &[("scope", "tool:add")]).await;
    assert_eq!(parts(&answer.token()).1["aud"], CALENDAR);
    for ambiguous in ["", "tool:history", "tool:add tool:forecast"] {
        app.ask("agent", &[("scope", ambiguous)])
            .await
            .refused(400, "invalid_target");
    }
}

#[tokio::test]
async fn the_token_lives_as_long_as_its_resource_says() {
    let app = TestApp::weather().await;
    app.apply(json!({ "resources": [
        { "id": "brief", "resource": "https://brief.example", "tools": [{ "name": "t" }],
          "access_token_lifetime": 60, "signing_algorithm": "EdDSA" },
        { "id": "long", "resource": "https://long.example", "tools": [{ "name": "t" }],
          "access_token_lifetime": 3600, "signing_algorithm": "EdDSA" },
    ]}))
    .await;
    let access = json!([
        { "resource": "brief", "scopes": ["*"] },
        { "resource": "long", "scopes": ["*"] },
    ]);
    let members = json!({ "access": access, "multiple_resources": true });
    app.client("both", members).await;
    for (resources, lifetime) in [
        (&["https://brief.example"][..], 60),
        (&["https://long.example"], 3600),
        (&["https://long.example", "https://brief.example"], 60),
    ] {
        let params: Vec<_> = resources.iter().map(|r| ("resource", *r)).collect();
        let body = app.ask("both", &params).await.ok();
        assert_eq!(body["expires_in"], lifetime);
        let claims = parts(body["access_token"].as_str().unwrap()).1;
        assert_eq!(claims["exp"], NOW + lifetime);
    }
}

#[tokio::test]
async fn every_signing_algorithm_is_verified_by_other_libraries() {
    let app = TestApp::new().await;
    for (id, algorithm) in [
        ("a", Some("RS256")),
        ("b", Some("ES256")),
        ("c", Some("EdDSA")),
        ("d", None),
    ] {
        let mut resource = json!({
            "id": id, "resource": format!("https://{id}.example"), "tools": [{ "name": "t" }],
        });
        if let Some(algorithm) = algorithm {
            resource["signing_algorithm"] = json!(algorithm);
        }
        let access = json!([{ "resource": id, "scopes": ["*"] }]);
        app.apply(json!({ "resources": [resource] })).await;
        app.client(&format!("client-{id}"), json!({ "access": access }))
            .await;
        let token = app.ask(&format!("client-{id}"), &[]).await.token();
        assert_eq!(parts(&token).0["alg"], algorithm.unwrap_or("RS256"));
        assert_eq!(
            app.claims(&token).await["aud"],
            format!("https://{id}.example")
        );
    }
}

#[tokio::test]
async fn several_resources_only_for_a_client_that_may() {
    let app = TestApp::weather().await;
    let both = [("resource", WEATHER), ("resource", CALENDAR)];
    app.ask("agent", &both).await.refused(400, "invalid_target");
    // The same one twice is one.
    let twice = [
        ("resource", WEATHER),
        ("resource", "https://weather.example/mcp/"),
    ];
    assert_eq!(
        parts(&app.ask("agent", &twice).await.token()).1["aud"],
        WEATHER
    );
    let access = json!([
        { "resource": "weather", "scopes": ["tool:forecast"] },
        { "resource": "calendar", "scopes": ["tool:list"] },
    ]);
    let members = json!({ "access": access, "multiple_resources": true });
    app.client("planner", members).await;
    let token = app.ask("planner", &both).await.token();
    let claims = app.claims(&token).await;
    assert_eq!(claims["aud"], json!([WEATHER, CALENDAR]));
    assert_eq!(claims["scope"], "tool:forecast tool:list");
    // The two chose different algorithms: what every verifier accepts is used.
    assert_eq!(parts(&token).0["alg"], "RS256");
}

#[tokio::test]
async fn a_right_at_one_resource_is_none_at_another_that_uses_the_same_name() {
    let app = TestApp::weather().await;
    let access = json!([
        { "resource": "weather", "scopes": ["tool:history"] },
        { "resource": "calendar", "scopes": ["tool:list"] },
    ]);
    let members = json!({ "access": access, "multiple_resources": true });
    app.client("planner", members).await;
    // Both servers have a tool `history`; the planner may call it at one of them. A token for
    // both that says `tool:history` would let it call the other's too (RFC 8707 §3).
    let both = [("resource", WEATHER), ("resource", CALENDAR)];
    let answer = app.ask("planner", &both).await;
    if answer.status == 200 {
        let scope = answer.ok()["scope"].as_str().unwrap().to_owned();
        assert!(!scope.contains("tool:history"), "{scope}");
    } else {
        assert_eq!(answer.status, 400);
    }
}

#[tokio::test]
async fn a_resource_that_wants_bound_tokens_gives_none_without_proof() {
    let app = TestApp::new().await;
    let resource = json!({
        "id": "bank", "resource": "https://bank.example", "tools": [{ "name": "pay" }],
        "dpop_required": true,
    });
    app.apply(json!({ "resources": [resource] })).await;
    let access = json!([{ "resource": "bank", "scopes": ["*"] }]);
    app.client("agent", json!({ "access": access })).await;
    app.ask("agent", &[])
        .await
        .refused(400, "invalid_dpop_proof");
}

#[tokio::test]
async fn only_confidential_clients_have_it() {
    let app = TestApp::weather().await;
    let public = json!({
        "client_id": "app", "token_endpoint_auth_method": "none",
        "grant_types": ["client_credentials"],
        "access": [{ "resource": "weather", "scopes": ["*"] }],
    });
    let refused = app.apply_in(None, json!({ "clients": [public] })).await;
    assert!(refused.is_err());
    let members = json!({ "token_endpoint_auth_method": "none", "grant_types": [] });
    app.client("app", members).await;
    let form = [("grant_type", "client_credentials"), ("client_id", "app")];
    app.post("/token")
        .form(&form)
        .await
        .refused(400, "unauthorized_client");
}

#[tokio::test]
async fn rights_that_are_taken_away_are_gone_at_the_next_request() {
    let app = TestApp::weather().await;
    app.token("agent", WEATHER, "tool:history").await;
    with_access(&app, "agent", &["tool:forecast"]).await;
    app.ask("agent", &[("resource", WEATHER), ("scope", "tool:history")])
        .await
        .refused(400, "invalid_scope");
    app.admin("DELETE", "/resources/weather").await.await;
    app.ask("agent", &[("resource", WEATHER)])
        .await
        .refused(400, "invalid_target");
}
