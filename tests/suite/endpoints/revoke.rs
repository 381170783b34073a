//! `POST /revoke` (RFC 7009).

use entity::revoked_token;
use sea_orm::EntityTrait as _;
use serde_json::json;

use crate::{
    grant_types::token_exchange::chain,
    support::{ACME, Key, TestApp, WEATHER, parts, secret_of},
};

async fn scene() -> (TestApp, String) {
    let app = TestApp::weather().await;
    app.weather_server().await;
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    (app, token)
}

#[tokio::test]
async fn the_token_is_over_when_the_answer_is_given() {
    let (app, token) = scene().await;
    // Seen before, so that a remembered signature is no way around it.
    assert!(app.is_active(&token).await);
    let answer = app.revoke("agent", &token).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!app.is_active(&token).await);
    // That token, and no other.
    let next = app.token("agent", WEATHER, "tool:forecast").await;
    assert_eq!(parts(&next).1["grant_id"], parts(&token).1["grant_id"]);
    assert!(app.is_active(&next).await);
}

#[tokio::test]
async fn what_was_exchanged_for_it_stays() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    let derived = app.exchange("helper", &token, &[]).await.token();
    app.revoke("agent", &token).await;
    assert!(!app.is_active(&token).await);
    assert!(app.is_active(&derived).await);
}

#[tokio::test]
async fn the_admin_api_honours_it() {
    let app = TestApp::new().await;
    let access = json!([{ "resource": "writ-admin", "scopes": ["writ:read"] }]);
    app.client("reader", json!({ "access": access })).await;
    let admin = format!("{}/admin", app.issuer);
    let token = app.token("reader", &admin, "writ:read").await;
    let read = || app.get("/admin/clients").bearer(&token);
    read().await.ok();
    app.revoke("reader", &token).await;
    read().await.refused(401, "invalid_token");
}

#[tokio::test]
async fn the_second_time_changes_nothing() {
    let (app, token) = scene().await;
    for _ in 0..2 {
        let answer = app.revoke("agent", &token).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    assert_eq!(app.count("token.revoked").await, 1);
}

#[tokio::test]
async fn who_revoked_what_is_in_the_trail() {
    let (app, token) = scene().await;
    app.revoke("agent", &token).await;
    let events = app
        .admin("GET", "/audit?kind=token.revoked")
        .await
        .await
        .ok();
    let (event, claims) = (&events[0]["event"], parts(&token).1);
    for member in ["client_id", "sub", "aud", "jti", "grant_id"] {
        assert_eq!(event[member], claims[member], "{member}");
    }
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let (app, token) = scene().await;
    app.revoke("agent", &token).await;
    let app = app.restart().await;
    assert!(!app.is_active(&token).await);
    let next = app.token("agent", WEATHER, "tool:forecast").await;
    assert!(app.is_active(&next).await);
}

#[tokio::test]
async fn it_is_remembered_until_the_token_has_expired() {
    let (app, token) = scene().await;
    app.revoke("agent", &token).await;
    let forget = async |seconds: i64| {
        app.advance(seconds);
        let before = app.now();
        let command = writ::journal::Command {
            changes: vec![writ::store::Change::ForgetExpired { before }],
            ..Default::default()
        };
        app.state.journal.commit(command).await.unwrap();
        let rows = revoked_token::Entity::find().all(&app.state.db).await;
        rows.unwrap().len()
    };
    assert_eq!(forget(0).await, 1);
    assert_eq!(forget(299).await, 1);
    assert!(!app.is_active(&token).await);
    assert_eq!(forget(62).await, 0);
    assert!(!app.is_active(&token).await);
}

#[tokio::test]
async fn one_tenant_revokes_nothing_of_another() {
    let app = TestApp::with_tenants().await;
    for tenant in [None, Some(ACME)] {
        app.declare_weather(tenant).await;
    }
    let token = app
        .ask_in(Some(ACME), "agent", &[("resource", WEATHER)])
        .await
        .token();
    let call = |path: &str| {
        app.post(path)
            .basic("agent", &secret_of("agent"))
            .form(&[("token", &token)])
    };
    assert_eq!(call("/revoke").await.status, 200);
    assert_eq!(call("/t/acme/introspect").await.ok()["active"], true);
    assert_eq!(call("/t/acme/revoke").await.status, 200);
    assert_eq!(call("/t/acme/introspect").await.ok()["active"], false);
}

#[tokio::test]
async fn an_assertion_is_used_up_with_the_revocation() {
    let (app, _) = scene().await;
    let key = Key::ed(3);
    app.robot(&key, json!({})).await;
    let own = app
        .ask_with(&app.assertion(&key, "robot", &json!({})), &[])
        .await
        .token();
    let assertion = app.assertion(&key, "robot", &json!({}));
    let revoke = |token: Option<&str>| {
        let mut form = vec![
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion.as_str()),
        ];
        form.extend(token.map(|token| ("token", token)));
        app.post("/revoke").form(&form)
    };
    assert_eq!(revoke(Some(&own)).await.status, 200);
    assert!(!app.is_active(&own).await);
    for token in [Some(own.as_str()), Some("junk"), None] {
        let answer = revoke(token).await;
        answer.refused(401, "invalid_client");
    }
    app.ask_with(&assertion, &[])
        .await
        .refused(401, "invalid_client");
}

#[tokio::test]
async fn the_answer_is_read_by_browsers_of_any_origin() {
    let (app, token) = scene().await;
    // RFC 7009 §2.3.
    let answer = app
        .revoke("agent", &token)
        .header("origin", "https://app.example")
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}
