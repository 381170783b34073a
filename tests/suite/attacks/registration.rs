//! O. Dynamic client registration.

use serde_json::{Value, json};

use crate::support::{Answer, Key, TestApp, WEATHER};

fn machine() -> Value {
    json!({ "grant_types": ["client_credentials"] })
}

async fn send(app: &TestApp, body: impl Into<Vec<u8>>) -> Answer {
    app.post("/register").raw("application/json", body).await
}

async fn refused(app: &TestApp, members: Value, code: &str) {
    let mut body = machine();
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = send(app, body.to_string()).await;
    assert_eq!(
        answer.refusal(),
        (400, code.to_owned()),
        "{members}: {}",
        answer.text()
    );
    assert_eq!(app.tenant(None).registered_clients(), 0);
}

// AC-243
#[tokio::test]
async fn a_body_that_is_no_metadata_is_refused() {
    let app = TestApp::new().await;
    for body in [
        "",
        "{",
        "[]",
        "7",
        "null",
        "\"x\"",
        "{}{}",
        "client_name=x",
        "\u{feff}{}",
        "{\"a\":1,}",
        "{'a':1}",
        &format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000)),
    ] {
        send(&app, body)
            .await
            .refused(400, "invalid_client_metadata");
    }
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jwt",
        "",
    ] {
        app.post("/register")
            .raw(media_type, machine().to_string())
            .await
            .refused(400, "invalid_client_metadata");
    }
    assert_eq!(app.tenant(None).registered_clients(), 0);
}

// AC-243
#[tokio::test]
async fn a_member_of_the_wrong_type_is_refused() {
    let app = TestApp::new().await;
    for members in [
        json!({ "client_name": 7 }),
        json!({ "client_name": ["x"] }),
        json!({ "client_name": "x\r\ny" }),
        json!({ "client_name": "x".repeat(3000) }),
        json!({ "redirect_uris": "https://a.example" }),
        json!({ "redirect_uris": [7] }),
        json!({ "redirect_uris": vec!["https://a.example/cb"; 51] }),
        json!({ "grant_types": "client_credentials" }),
        json!({ "grant_types": [null] }),
        json!({ "response_types": {} }),
        json!({ "scope": ["a"] }),
        json!({ "scope": "a\"b" }),
        json!({ "scope": "a\tb" }),
        json!({ "contacts": "me" }),
        json!({ "token_endpoint_auth_method": true }),
        json!({ "application_type": "toaster" }),
        json!({ "jwks": "x" }),
        json!({ "jwks_uri": 1 }),
        json!({ "client_uri": "javascript:alert(1)" }),
        json!({ "logo_uri": "data:image/png;base64,x" }),
        json!({ "tos_uri": "/tos" }),
        json!({ "policy_uri": "file:///etc/passwd" }),
    ] {
        refused(&app, members, "invalid_client_metadata").await;
    }
}

// AC-243
#[tokio::test]
async fn members_nobody_knows_are_ignored() {
    let app = TestApp::new().await;
    let mut body = machine();
    body["never_heard_of"] = json!({ "deep": [1, 2] });
    let answer = send(&app, body.to_string()).await;
    let registered = answer.with(http::StatusCode::CREATED);
    assert_eq!(registered.get("never_heard_of"), None);
}

// AC-018, AC-019, AC-009, AC-244
#[tokio::test]
async fn a_redirect_uri_that_is_missing_or_dangerous_is_refused() {
    let app = TestApp::new().await;
    for (kind, uri) in [
        ("web", "http://app.example/cb"),
        ("native", "http://app.example/cb"),
        ("native", "http://127.0.0.1.evil.example/cb"),
        ("native", "http://localhost.evil.example/cb"),
        ("native", "http://0.0.0.0/cb"),
        ("web", "https://app.example/cb#x"),
        ("web", "https://user:password@app.example/cb"),
        ("web", "com.example.app:/cb"),
        ("native", "myapp:/cb"),
        ("native", "javascript:alert(1)"),
        ("native", "JaVaScRiPt:alert(1)//.x"),
        ("native", "data:text/html,x"),
        ("native", "file:///etc/passwd"),
        ("native", "vbscript:x"),
        ("native", "about:blank"),
        ("native", "blob:https://app.example/x"),
        ("web", "/cb"),
        ("web", "app.example/cb"),
        ("web", ""),
    ] {
        let body = json!({ "application_type": kind, "redirect_uris": [uri] });
        send(&app, body.to_string())
            .await
            .refused(400, "invalid_redirect_uri");
        // One bad one among good ones.
        let body = json!({ "application_type": kind, "redirect_uris": ["https://a.example", uri] });
        send(&app, body.to_string())
            .await
            .refused(400, "invalid_redirect_uri");
    }
    for body in [
        json!({}),
        json!({ "redirect_uris": [] }),
        json!({ "grant_types": ["authorization_code"] }),
    ] {
        send(&app, body.to_string())
            .await
            .refused(400, "invalid_redirect_uri");
    }
}

// AC-245
#[tokio::test]
async fn keys_come_one_way_and_public_only() {
    let app = TestApp::new().await;
    let key = Key::ed(1);
    let with = |name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        json!({ "jwks": { "keys": [jwk] } })
    };
    for members in [
        json!({ "jwks": key.jwks(), "jwks_uri": "https://a.example/jwks" }),
        with("d", json!("AAAA")),
        json!({ "jwks": { "keys": [{ "kty": "oct", "k": "AAAA" }] } }),
        json!({ "jwks": { "keys": [{ "kty": "RSA", "n": "AQAB", "e": "AQAB" }] } }),
        json!({ "jwks": { "keys": [] } }),
        json!({ "jwks": {} }),
        json!({ "jwks_uri": "http://a.example/jwks" }),
        json!({ "jwks_uri": "file:///etc/passwd" }),
        json!({ "jwks_uri": "https://a.example/#x" }),
        json!({ "token_endpoint_auth_method": "private_key_jwt" }),
    ] {
        refused(&app, members, "invalid_client_metadata").await;
    }
}

// AC-246
#[tokio::test]
async fn flows_that_are_unsafe_unknown_or_do_not_fit_are_refused() {
    let app = TestApp::new().await;
    let redirect = json!(["https://app.example/cb"]);
    for members in [
        json!({ "grant_types": ["password"] }),
        json!({ "grant_types": ["implicit"] }),
        json!({ "grant_types": ["client_credentials", "password"] }),
        json!({ "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"] }),
        json!({ "grant_types": [] }),
        json!({ "token_endpoint_auth_method": "client_secret_jwt" }),
        json!({ "token_endpoint_auth_method": "tls_client_auth" }),
        json!({ "token_endpoint_auth_method": "None" }),
        json!({ "token_endpoint_auth_method": "none" }),
        json!({ "response_types": ["code"] }),
        json!({ "response_types": ["token"] }),
        json!({ "response_types": ["code id_token"], "grant_types": ["authorization_code"], "redirect_uris": redirect }),
        json!({ "response_types": [], "grant_types": ["authorization_code"], "redirect_uris": redirect }),
    ] {
        refused(&app, members, "invalid_client_metadata").await;
    }
}

// AC-247
#[tokio::test]
async fn privileges_are_not_for_the_asking() {
    let app = TestApp::weather().await;
    let mut body = machine();
    for (name, value) in [
        ("client_id", json!("admin")),
        ("client_secret", json!("chosen-by-myself-0123456789")),
        ("scope", json!("writ:admin tool:alert tool:forecast")),
        (
            "access",
            json!([{ "resource": "writ-admin", "scopes": ["writ:admin"] }]),
        ),
        (
            "exchange",
            json!([{ "resource": "weather", "scopes": ["*"] }]),
        ),
        ("delegates", json!(["agent"])),
        ("serves", json!("weather")),
        ("multiple_resources", json!(true)),
        ("profile", json!("oidc_compat")),
        ("origin", json!("declared")),
        ("registration_access_token", json!("mine")),
        (
            "grant_types",
            json!([
                "client_credentials",
                "urn:ietf:params:oauth:grant-type:token-exchange"
            ]),
        ),
    ] {
        body[name] = value;
    }
    let answer = send(&app, body.to_string()).await;
    let registered = answer.with(http::StatusCode::CREATED);
    assert_ne!(registered["client_id"], "admin");
    assert_ne!(registered["client_secret"], body["client_secret"]);
    assert_ne!(registered["registration_access_token"], "mine");
    // The answer shows what was really registered.
    assert_eq!(registered["grant_types"], json!(["client_credentials"]));
    for name in [
        "access",
        "exchange",
        "delegates",
        "serves",
        "profile",
        "origin",
    ] {
        assert_eq!(registered.get(name), None, "{name}");
    }
    let (id, secret) = (
        registered["client_id"].as_str().unwrap(),
        registered["client_secret"].as_str().unwrap(),
    );
    let ask = |resource: &'static str, scope: &'static str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", resource),
            ("scope", scope),
        ];
        app.post("/token").basic(id, secret).form(&form)
    };
    let scope = ask(WEATHER, "tool:alert tool:forecast writ:admin")
        .await
        .ok()["scope"]
        .clone();
    assert_eq!(scope, "tool:forecast");
    ask(WEATHER, "tool:alert")
        .await
        .refused(400, "invalid_scope");
    ask("https://as.example/admin", "writ:admin")
        .await
        .refused(400, "invalid_target");
    let client = app.tenant(None).client(id).unwrap();
    assert!(client.rights().delegates.is_empty() && client.rights().serves.is_none());
}

// AC-247
#[tokio::test]
async fn privileges_do_not_come_with_an_update_either() {
    let app = TestApp::weather().await;
    let registered = send(&app, machine().to_string()).await.json();
    let token = registered["registration_access_token"].as_str().unwrap();
    let path = format!("/register/{}", registered["client_id"].as_str().unwrap());
    let put = |body: &Value| app.call("PUT", &path).bearer(token).json(body);
    for (name, value) in [
        ("client_id", "admin"),
        ("client_secret", "chosen-by-myself-0123456789"),
    ] {
        let mut body = machine();
        body[name] = json!(value);
        put(&body).await.refused(400, "invalid_client_metadata");
    }
    let mut body = machine();
    body["access"] = json!([{ "resource": "writ-admin", "scopes": ["writ:admin"] }]);
    body["grant_types"] = json!([
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:token-exchange"
    ]);
    assert_eq!(
        put(&body).await.ok()["grant_types"],
        json!(["client_credentials"])
    );
    let only = json!({ "grant_types": ["urn:ietf:params:oauth:grant-type:token-exchange"] });
    put(&only).await.refused(400, "invalid_client_metadata");
}

// AC-248
#[tokio::test]
async fn where_a_token_is_wanted_nothing_else_will_do() {
    let app = TestApp::with(|c| c.registration.mode = writ::config::RegistrationMode::Token).await;
    let anonymous = app.post("/register").json(&machine()).await;
    anonymous.refused(401, "invalid_token");
    assert!(
        anonymous
            .header("www-authenticate")
            .unwrap()
            .starts_with("Bearer ")
    );
    for token in ["x", "", "a.b.c"] {
        let answer = app
            .post("/register")
            .header("authorization", &format!("Bearer {token}"))
            .json(&machine())
            .await;
        answer.refused(401, "invalid_token");
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .contains("error=\"invalid_token\"")
        );
    }
    let other = app.admin_token(None, "writ:clients").await;
    app.post("/register")
        .bearer(&other)
        .json(&machine())
        .await
        .refused(403, "insufficient_scope");
    let token = app.admin_token(None, "client:register").await;
    app.advance(300);
    app.post("/register")
        .bearer(&token)
        .json(&machine())
        .await
        .refused(401, "invalid_token");
    assert_eq!(app.tenant(None).registered_clients(), 0);
}

// AC-249
#[tokio::test]
async fn a_registration_token_opens_one_registration_and_tells_nothing_of_others() {
    let app = TestApp::weather().await;
    let mine = send(&app, machine().to_string()).await.json();
    let yours = send(&app, machine().to_string()).await.json();
    let token = mine["registration_access_token"].as_str().unwrap();
    let mut seen = Vec::new();
    for id in [
        yours["client_id"].as_str().unwrap(),
        "agent",
        "admin",
        "nobody",
        "%00",
        "x/y",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let path = format!("/register/{}", id.replace('/', "%2f"));
            let answer = app.call(method, &path).bearer(token).json(&machine()).await;
            answer.refused(401, "invalid_token");
            seen.push((answer.body.clone(), answer.headers_but_id()));
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    let own = format!("/register/{}", mine["client_id"].as_str().unwrap());
    for call in [
        app.get(&own),
        app.get(&own).bearer(""),
        app.get(&own).bearer(&token[1..]),
        app.get(&own).basic("x", token),
        app.get(&own).bearer(token).bearer(token),
        app.get(&format!("{own}?access_token={token}")),
    ] {
        call.await.refused(401, "invalid_token");
    }
    // A client's secret and an access token are no registration tokens.
    let access = app.token("agent", WEATHER, "tool:forecast").await;
    app.get(&own)
        .bearer(&access)
        .await
        .refused(401, "invalid_token");
    app.get(&own)
        .bearer(mine["client_secret"].as_str().unwrap())
        .await
        .refused(401, "invalid_token");
    app.get(&own).bearer(token).await.ok();
}

// AC-250
#[tokio::test]
async fn a_client_that_is_deleted_is_dead_in_every_way() {
    let app = TestApp::weather().await;
    let registered = send(&app, machine().to_string()).await.json();
    let id = registered["client_id"].as_str().unwrap();
    let secret = registered["client_secret"].as_str().unwrap();
    let token = registered["registration_access_token"].as_str().unwrap();
    let path = format!("/register/{id}");
    let form = [("grant_type", "client_credentials"), ("resource", WEATHER)];
    let access = app
        .post("/token")
        .basic(id, secret)
        .form(&form)
        .await
        .token();
    assert_eq!(app.call("DELETE", &path).bearer(token).await.status, 204);
    app.post("/token")
        .basic(id, secret)
        .form(&form)
        .await
        .refused(401, "invalid_client");
    for method in ["GET", "PUT", "DELETE"] {
        app.call(method, &path)
            .bearer(token)
            .json(&machine())
            .await
            .refused(401, "invalid_token");
    }
    crate::grant_types::token_exchange::chain(&app, &["helper"]).await;
    app.exchange("helper", &access, &[])
        .await
        .refused(400, "invalid_request");
    let app = app.restart().await;
    app.post("/token")
        .basic(id, secret)
        .form(&form)
        .await
        .refused(401, "invalid_client");
}

#[tokio::test]
async fn registrations_are_bounded_and_those_in_use_stay() {
    let app = TestApp::with(|c| c.registration.max_clients = 2).await;
    app.declare_weather(None).await;
    let used = send(&app, machine().to_string()).await.json();
    let secret = |client: &Value| {
        let text = |name: &str| client[name].as_str().unwrap().to_owned();
        (text("client_id"), text("client_secret"))
    };
    let ask = async |client: &Value| {
        let (id, secret) = secret(client);
        let form = [("grant_type", "client_credentials"), ("resource", WEATHER)];
        app.post("/token").basic(&id, &secret).form(&form).await
    };
    ask(&used).await.ok();
    let idle = send(&app, machine().to_string()).await.json();
    // A third one takes the place of the one that never did anything.
    let third = send(&app, machine().to_string()).await;
    let third = third.with(http::StatusCode::CREATED);
    assert_eq!(app.tenant(None).registered_clients(), 2);
    ask(&idle).await.refused(401, "invalid_client");
    ask(&used).await.ok();
    ask(&third).await.ok();
    // Nobody who works is pushed out.
    let refused = send(&app, machine().to_string()).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(app.tenant(None).registered_clients(), 2);
    // Declared clients do not count, and a place that is given back is free.
    app.client("declared", json!({})).await;
    let path = format!("/register/{}", used["client_id"].as_str().unwrap());
    let token = used["registration_access_token"].as_str().unwrap();
    assert_eq!(app.call("DELETE", &path).bearer(token).await.status, 204);
    send(&app, machine().to_string())
        .await
        .with(http::StatusCode::CREATED);
}
