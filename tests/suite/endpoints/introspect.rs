//! `POST /introspect` (RFC 7662, RFC 9701).

use serde_json::{Value, json};

use crate::{
    grant_types::token_exchange::chain,
    support::{ACME, CALENDAR, Key, TestApp, WEATHER, parts, secret_of, verify},
};

const SIGNED: &str = "application/token-introspection+jwt";

async fn scene() -> (TestApp, String) {
    let app = TestApp::weather().await;
    app.weather_server().await;
    let token = app
        .token("agent", WEATHER, "tool:forecast tool:history")
        .await;
    (app, token)
}

fn inactive() -> Value {
    json!({ "active": false })
}

#[tokio::test]
async fn the_server_of_a_resource_is_told_what_the_token_says() {
    let (app, token) = scene().await;
    let claims = app.claims(&token).await;
    let answer = app.introspect("weather-server", &token).await;
    // RFC 7662 §2.2.
    let expected = json!({
        "active": true, "token_type": "Bearer", "scope": "tool:forecast tool:history",
        "client_id": "agent", "sub": "agent", "aud": WEATHER, "iss": app.issuer,
        "iat": app.now(), "exp": app.now() + 300,
        "jti": claims["jti"], "grant_id": claims["grant_id"],
    });
    assert_eq!(answer.ok(), expected);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_client_that_holds_a_token_may_ask_what_it_is() {
    let (app, token) = scene().await;
    let body = app.introspect("agent", &token).await.ok();
    assert_eq!(body["active"], true);
    assert_eq!(body["sub"], "agent");
}

#[tokio::test]
async fn who_acts_for_whom_is_told() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper", "last"]).await;
    app.weather_server().await;
    let first = app.token("agent", WEATHER, "tool:forecast").await;
    let second = app.exchange("helper", &first, &[]).await.token();
    let third = app.exchange("last", &second, &[]).await.token();
    let body = app.introspect("weather-server", &third).await.ok();
    assert_eq!(
        body["act"],
        json!({ "sub": "last", "act": { "sub": "helper" } })
    );
    assert_eq!(
        (&body["sub"], &body["client_id"]),
        (&json!("agent"), &json!("last"))
    );
    let may_act = app.introspect("weather-server", &second).await.ok();
    assert_eq!(may_act["may_act"], app.claims(&second).await["may_act"]);
}

#[tokio::test]
async fn a_server_is_told_only_what_concerns_it() {
    let app = TestApp::weather().await;
    app.weather_server().await;
    app.client(
        "agent",
        json!({
            "multiple_resources": true,
            "access": [
                { "resource": "weather", "scopes": ["*"] },
                { "resource": "calendar", "scopes": ["*"] },
            ],
        }),
    )
    .await;
    app.client("calendar-server", json!({ "serves": "calendar" }))
        .await;
    let targets = [
        ("resource", WEATHER),
        ("resource", CALENDAR),
        ("scope", "tool:history"),
    ];
    let token = app.ask("agent", &targets).await.token();
    // RFC 7662 §2.2 and §5, RFC 9701 §5: neither the other server nor its scopes.
    for (server, uri) in [("weather-server", WEATHER), ("calendar-server", CALENDAR)] {
        let body = app.introspect(server, &token).await.ok();
        assert_eq!(
            (&body["aud"], &body["scope"]),
            (&json!(uri), &json!("tool:history"))
        );
    }
    let whole = app.introspect("agent", &token).await.ok();
    assert_eq!(whole["aud"], json!([WEATHER, CALENDAR]));
}

#[tokio::test]
async fn a_scope_that_a_resource_has_given_up_is_not_told() {
    let (app, token) = scene().await;
    app.apply(json!({ "resources": [{
        "id": "weather", "resource": WEATHER, "tools": [{ "name": "forecast" }],
    }] }))
    .await;
    let body = app.introspect("weather-server", &token).await.ok();
    assert_eq!(body["scope"], "tool:forecast");
}

#[tokio::test]
async fn an_administrator_with_the_scope_sees_every_token() {
    let (app, token) = scene().await;
    let form = [("token", token.as_str())];
    for scope in ["token:introspect", "writ:admin"] {
        let bearer = app.admin_token(None, scope).await;
        let body = app
            .post("/introspect")
            .bearer(&bearer)
            .form(&form)
            .await
            .ok();
        assert_eq!(body["active"], true, "{scope}");
    }
    let other = app.admin_token(None, "writ:read").await;
    app.post("/introspect")
        .bearer(&other)
        .form(&form)
        .await
        .refused(403, "insufficient_scope");
    // A token for another resource opens nothing, not even itself.
    app.post("/introspect")
        .bearer(&token)
        .form(&form)
        .await
        .refused(401, "invalid_token");
}

#[tokio::test]
async fn time_and_keys_count_for_a_token_that_was_seen_before_too() {
    let (app, token) = scene().await;
    let ask = async || app.introspect("weather-server", &token).await.ok()["active"].clone();
    assert_eq!(ask().await, true);
    app.advance(299);
    assert_eq!(ask().await, true);
    app.advance(1);
    assert_eq!(ask().await, false);
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    let ask = async || app.introspect("weather-server", &token).await.ok()["active"].clone();
    assert_eq!(ask().await, true);
    let tenant = app.tenant(None);
    let kid = parts(&token).0["kid"].as_str().unwrap().to_owned();
    let change = writ::store::Change::Keys {
        tenant: tenant.name().to_owned(),
        known: app.tenant(None).keys().rows(),
        put: Vec::new(),
        remove: vec![kid],
    };
    let command = writ::journal::Command {
        changes: vec![change],
        ..Default::default()
    };
    app.state.journal.commit(command).await.unwrap();
    assert_eq!(ask().await, false);
}

#[tokio::test]
async fn a_tenant_knows_only_its_own_tokens() {
    let app = TestApp::with_tenants().await;
    for tenant in [None, Some(ACME)] {
        app.declare_weather(tenant).await;
        let server = json!({ "clients": [{
            "client_id": "weather-server", "client_secret": secret_of("weather-server"),
            "serves": "weather",
        }] });
        app.apply_in(tenant, server).await.unwrap();
    }
    let token = app
        .ask_in(Some(ACME), "agent", &[("resource", WEATHER)])
        .await
        .token();
    let ask = |path: &str| {
        app.post(path)
            .basic("weather-server", &secret_of("weather-server"))
            .form(&[("token", &token)])
    };
    let own = ask("/t/acme/introspect").await.ok();
    assert_eq!(
        (&own["active"], &own["tenant"]),
        (&json!(true), &json!("acme"))
    );
    // It was just seen, by the same server.
    assert_eq!(ask("/introspect").await.ok(), inactive());
}

#[tokio::test]
async fn the_answer_is_signed_when_that_is_asked_for() {
    let (app, token) = scene().await;
    let plain = app.introspect("weather-server", &token).await.ok();
    let jwks = app.get("/jwks.json").await.ok();
    for (presented, told) in [(token.as_str(), plain), ("no token", inactive())] {
        let answer = app
            .introspect("weather-server", presented)
            .header("accept", &format!("application/json;q=0.5, {SIGNED}"))
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some(SIGNED));
        let text = answer.text();
        // RFC 9701 §5: its own type, for this caller, and no access token.
        let (header, _) = parts(&text);
        assert_eq!(header["typ"], "token-introspection+jwt");
        assert_eq!(header["alg"], "EdDSA");
        let expected = json!({
            "iss": app.issuer, "aud": "weather-server", "iat": app.now(),
            "token_introspection": told,
        });
        assert_eq!(verify(&text, &jwks), expected);
        // RFC 9701 §8.1: nobody takes it for a token.
        assert_eq!(app.introspect("agent", &text).await.ok(), inactive());
        app.get("/admin/clients")
            .bearer(&text)
            .await
            .refused(401, "invalid_token");
    }
    for refused in ["application/json", &format!("{SIGNED};q=0"), "*/*"] {
        let answer = app
            .introspect("weather-server", &token)
            .header("accept", refused)
            .await;
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn an_assertion_is_used_up_here_too() {
    let (app, token) = scene().await;
    let key = Key::ed(3);
    app.robot(&key, json!({ "serves": "weather" })).await;
    let assertion = app.assertion(&key, "robot", &json!({}));
    let form = [
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion.as_str()),
    ];
    // Even by a question that is none.
    app.post("/introspect")
        .form(&form)
        .await
        .refused(400, "invalid_request");
    let mut whole = form.to_vec();
    whole.push(("token", &token));
    app.post("/introspect")
        .form(&whole)
        .await
        .refused(401, "invalid_client");
    let app = app.restart().await;
    app.ask_with(&assertion, &[("resource", WEATHER)])
        .await
        .refused(401, "invalid_client");
}

#[tokio::test]
async fn asking_writes_nothing() {
    let (app, token) = scene().await;
    let count = async || {
        let events = app.admin("GET", "/audit?limit=1000").await.await.ok();
        events.as_array().unwrap().len()
    };
    let before = count().await;
    for _ in 0..3 {
        app.introspect("weather-server", &token).await.ok();
        app.introspect("weather-server", "junk").await.ok();
    }
    // Reading the trail needs a token, which is an event.
    assert_eq!(count().await, before + 1);
}
