//! RFC 8693: a token is exchanged for a narrower one, and who acts is written into it.

use serde_json::{Value, json};

use crate::support::{CALENDAR, DELEGATION, NOW, TestApp, WEATHER, parts};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Grant types of a client that also exchanges.
fn grants() -> Value {
    json!(["client_credentials", DELEGATION])
}

/// `agent` lets `helper` act for it, `helper` lets `deeper`, and so on down the list.
pub(crate) async fn chain(app: &TestApp, names: &[&str]) {
    for (i, name) in names.iter().enumerate() {
        let delegates: Vec<&str> = names.get(i + 1).copied().into_iter().collect();
        let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
        let members = json!({ "access": access, "grant_types": grants(), "delegates": delegates });
        app.client(name, members).await;
    }
}

/// The server behind the weather resource may reach the calendar with what it receives.
async fn weather_server(app: &TestApp, entry: Value) {
    let members = json!({
        "grant_types": [DELEGATION], "serves": "weather", "exchange": [entry],
    });
    app.client("weather-server", members).await;
}

#[tokio::test]
async fn a_client_narrows_its_own_token() {
    let app = TestApp::weather().await;
    chain(&app, &["agent"]).await;
    let token = app.token("agent", WEATHER, "weather:read").await;
    let answer = app
        .exchange("agent", &token, &[("scope", "tool:history")])
        .await;
    let body = answer.ok();
    assert_eq!(body["issued_token_type"], ACCESS_TOKEN);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["scope"], "tool:history");
    let claims = app.claims(&answer.token()).await;
    assert_eq!(claims["sub"], "agent");
    assert_eq!(claims["client_id"], "agent");
    assert_eq!(claims["aud"], WEATHER);
    // It acts for itself: there is nobody to name.
    assert_eq!(claims.get("act"), None);
}

#[tokio::test]
async fn a_delegate_speaks_for_the_subject_and_is_named() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let token = app.token("agent", WEATHER, "weather:read").await;
    assert_eq!(parts(&token).1["may_act"], json!({ "sub": "helper" }));
    let answer = app
        .exchange("helper", &token, &[("scope", "tool:history")])
        .await;
    let claims = app.claims(&answer.token()).await;
    assert_eq!(claims["sub"], "agent");
    assert_eq!(claims["client_id"], "helper");
    assert_eq!(claims["act"], json!({ "sub": "helper" }));
    assert_eq!(claims["scope"], "tool:history");
}

#[tokio::test]
async fn an_actor_token_says_the_same_with_proof() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let subject = app.token("agent", WEATHER, "tool:history").await;
    let actor = app.token("helper", WEATHER, "tool:forecast").await;
    let answer = app.exchange_as_actor("helper", &subject, &actor, &[]).await;
    let claims = app.claims(&answer.token()).await;
    assert_eq!(claims["act"], json!({ "sub": "helper" }));
    // The actor's own rights add nothing.
    assert_eq!(claims["scope"], "tool:history");
}

#[tokio::test]
async fn earlier_actors_are_nested_and_their_order_is_kept() {
    let app = TestApp::weather().await;
    let names = ["agent", "first", "second", "third"];
    chain(&app, &names).await;
    let mut token = app.token("agent", WEATHER, "weather:read").await;
    for name in &names[1..] {
        token = app.exchange(name, &token, &[]).await.token();
    }
    let claims = app.claims(&token).await;
    assert_eq!(claims["sub"], "agent");
    // RFC 8693 §4.1: the outermost actor is the current one.
    let chain = json!({ "sub": "third", "act": { "sub": "second", "act": { "sub": "first" } } });
    assert_eq!(claims["act"], chain);
}

#[tokio::test]
async fn an_exchanged_token_never_outlives_what_it_came_from() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let subject = app.token("agent", WEATHER, "tool:history").await;
    app.advance(200);
    let body = app.exchange("helper", &subject, &[]).await.ok();
    assert_eq!(body["expires_in"], 100);
    assert_eq!(
        parts(body["access_token"].as_str().unwrap()).1["exp"],
        NOW + 300
    );
    app.advance(99);
    assert_eq!(
        app.exchange("helper", &subject, &[]).await.ok()["expires_in"],
        1
    );
    app.advance(1);
    app.exchange("helper", &subject, &[])
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn an_actor_token_that_ends_sooner_ends_the_new_one_sooner() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let actor = app.token("helper", WEATHER, "tool:forecast").await;
    app.advance(250);
    let subject = app.token("agent", WEATHER, "tool:history").await;
    let answer = app.exchange_as_actor("helper", &subject, &actor, &[]).await;
    assert_eq!(answer.ok()["expires_in"], 50);
}

#[tokio::test]
async fn a_server_takes_what_it_received_to_another_server() {
    let app = TestApp::weather().await;
    weather_server(
        &app,
        json!({ "resource": "calendar", "scopes": ["tool:history", "tool:add"] }),
    )
    .await;
    let received = app
        .token("agent", WEATHER, "tool:history tool:forecast")
        .await;
    let answer = app
        .exchange("weather-server", &received, &[("resource", CALENDAR)])
        .await;
    let claims = app.claims(&answer.token()).await;
    assert_eq!(claims["aud"], CALENDAR);
    assert_eq!(claims["sub"], "agent");
    assert_eq!(claims["act"], json!({ "sub": "weather-server" }));
    // What has the same name at both, and nothing the agent did not have.
    assert_eq!(claims["scope"], "tool:history");
}

#[tokio::test]
async fn an_administrator_translates_names_between_two_servers() {
    let app = TestApp::weather().await;
    let translate = json!({ "tool:forecast": ["tool:list"] });
    weather_server(
        &app,
        json!({ "resource": "calendar", "translate": translate }),
    )
    .await;
    let received = app.token("agent", WEATHER, "tool:forecast").await;
    let target = [("audience", "calendar")];
    let answer = app.exchange("weather-server", &received, &target).await;
    assert_eq!(answer.ok()["scope"], "tool:list");
    // Another scope translates to nothing.
    let received = app.token("agent", WEATHER, "tool:history").await;
    app.exchange("weather-server", &received, &target)
        .await
        .refused(400, "invalid_scope");
}

#[tokio::test]
async fn a_server_narrows_what_it_received() {
    let app = TestApp::weather().await;
    weather_server(&app, json!({ "resource": "calendar", "scopes": [] })).await;
    let received = app.token("agent", WEATHER, "weather:read").await;
    let answer = app
        .exchange("weather-server", &received, &[("scope", "tool:history")])
        .await;
    let claims = app.claims(&answer.token()).await;
    assert_eq!(claims["aud"], WEATHER);
    assert_eq!(claims["act"], json!({ "sub": "weather-server" }));
}

#[tokio::test]
async fn the_grant_of_an_exchanged_token_hangs_from_the_one_it_came_from() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let subject = app.token("agent", WEATHER, "weather:read").await;
    let grant = |token: &str| parts(token).1["grant_id"].clone();
    let first = app.exchange("helper", &subject, &[]).await.token();
    let again = app
        .exchange("helper", &subject, &[("scope", "tool:history")])
        .await
        .token();
    assert_eq!(grant(&first), grant(&again));
    assert_ne!(grant(&first), grant(&subject));
    let own = app.token("helper", WEATHER, "tool:history").await;
    assert_ne!(grant(&own), grant(&first));
}

#[tokio::test]
async fn the_type_that_was_asked_for_is_named_in_the_answer() {
    let app = TestApp::weather().await;
    chain(&app, &["agent"]).await;
    let token = app.token("agent", WEATHER, "tool:history").await;
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    for (given, wanted) in [(ACCESS_TOKEN, jwt), (jwt, ACCESS_TOKEN)] {
        let form = [
            ("grant_type", DELEGATION),
            ("subject_token", &token),
            ("subject_token_type", given),
            ("requested_token_type", wanted),
        ];
        let body = app.ask("agent", &form).await.ok();
        assert_eq!(body["issued_token_type"], wanted);
    }
}

#[tokio::test]
async fn several_delegates_are_kept_on_the_server_and_not_in_the_token() {
    let app = TestApp::weather().await;
    chain(&app, &["agent"]).await;
    for name in ["left", "right"] {
        let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
        app.client(name, json!({ "access": access, "grant_types": grants() }))
            .await;
    }
    let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
    let members = json!({ "access": access, "delegates": ["left", "right"] });
    app.client("agent", members).await;
    let subject = app.token("agent", WEATHER, "tool:history").await;
    assert_eq!(parts(&subject).1.get("may_act"), None);
    for name in ["left", "right"] {
        let claims = parts(&app.exchange(name, &subject, &[]).await.token()).1;
        assert_eq!(claims["act"]["sub"], name);
    }
}
