//! Refresh tokens (RFC 6749 §6): attack group G.

use serde_json::{Value, json};

use crate::support::{CALENDAR, TestApp, WEATHER, parts, secret_of};

async fn begin(app: &TestApp) -> String {
    let person = app.signed_in("ann").await;
    let body = person.tokens(&json!({})).await;
    refresh_token(&body)
}

fn refresh_token(body: &Value) -> String {
    body["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_public_client_gets_a_new_one_each_time() {
    let app = TestApp::apps().await;
    let mut token = begin(&app).await;
    let mut seen = std::collections::BTreeSet::from([token.clone()]);
    for _ in 0..5 {
        app.advance(300);
        let body = app.refresh(&token, &json!({})).await.ok();
        assert!(app.is_active(body["access_token"].as_str().unwrap()).await);
        token = refresh_token(&body);
        // AC-118.
        assert!(seen.insert(token.clone()));
    }
}

#[tokio::test]
async fn a_client_that_proves_who_it_is_keeps_its_own() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let code = person.code(&json!({ "client_id": "web" })).await;
    let web = json!({ "client_id": "web", "client_secret": secret_of("web") });
    let body = app.redeem(&code, &web).await.ok();
    let token = refresh_token(&body);
    for _ in 0..3 {
        app.advance(1000);
        let body = app.refresh(&token, &web).await.ok();
        assert_eq!(refresh_token(&body), token);
    }
    // AC-120: nobody else does anything with it, nor to it.
    app.refresh(&token, &json!({}))
        .await
        .refused(400, "invalid_grant");
    app.refresh(&token, &web).await.ok();
    let wrong = json!({ "client_id": "web", "client_secret": "wrong-wrong-wrong" });
    app.refresh(&token, &wrong)
        .await
        .refused(401, "invalid_client");
    app.refresh(&token, &web).await.ok();
}

#[tokio::test]
async fn a_race_logs_nobody_out() {
    let app = TestApp::apps().await;
    let token = begin(&app).await;
    let calls = (0..10).map(|_| app.refresh(&token, &json!({})).into_future());
    let answers = futures_util::future::join_all(calls).await;
    let mut lines: Vec<String> = Vec::new();
    for answer in answers {
        lines.push(refresh_token(&answer.ok()));
    }
    // Each goes on by itself, long after.
    for token in &mut lines {
        app.advance(100);
        let body = app.refresh(token, &json!({})).await.ok();
        *token = refresh_token(&body);
    }
    // And the one that was used again may be, for a while.
    let body = app.refresh(&lines[9], &json!({})).await.ok();
    app.advance(60);
    let late = app.refresh(&lines[9], &json!({})).await.ok();
    for token in [&body, &late].map(refresh_token) {
        app.refresh(&token, &json!({})).await.ok();
    }
}

#[tokio::test]
async fn used_again_late_it_ends_everything() {
    let app = TestApp::apps().await;
    let first = begin(&app).await;
    let body = app.refresh(&first, &json!({})).await.ok();
    let second = refresh_token(&body);
    let access = body["access_token"].as_str().unwrap();
    app.advance(61);
    assert!(app.is_active(access).await);
    // AC-119.
    app.refresh(&first, &json!({}))
        .await
        .refused(400, "invalid_grant");
    app.refresh(&second, &json!({}))
        .await
        .refused(400, "invalid_grant");
    assert!(!app.is_active(access).await);
    assert_eq!(app.count("grants.ended").await, 1);

    // One that is two steps behind may be one of three who raced, for a while.
    let app = TestApp::apps().await;
    let first = begin(&app).await;
    let second = refresh_token(&app.refresh(&first, &json!({})).await.ok());
    let third = refresh_token(&app.refresh(&second, &json!({})).await.ok());
    let sibling = refresh_token(&app.refresh(&first, &json!({})).await.ok());
    app.refresh(&sibling, &json!({})).await.ok();
    app.advance(61);
    app.refresh(&first, &json!({}))
        .await
        .refused(400, "invalid_grant");
    app.refresh(&third, &json!({}))
        .await
        .refused(400, "invalid_grant");
}

#[tokio::test]
async fn it_may_ask_for_less_and_never_for_more() {
    let app = TestApp::apps().await;
    let token = begin(&app).await;
    // AC-121; a refusal uses nothing up.
    for (over, error) in [
        (
            json!({ "scope": "tool:forecast tool:alert" }),
            "invalid_scope",
        ),
        (json!({ "scope": "a\"b" }), "invalid_scope"),
        (json!({ "resource": CALENDAR }), "invalid_target"),
        (
            json!({ "resource": "https://as.example/admin" }),
            "invalid_target",
        ),
    ] {
        app.refresh(&token, &over).await.refused(400, error);
    }
    // AC-122.
    let less = json!({ "scope": "tool:forecast", "resource": WEATHER });
    let body = app.refresh(&token, &less).await.ok();
    assert_eq!(body["scope"], "tool:forecast");
    let body = app.refresh(&refresh_token(&body), &json!({})).await.ok();
    assert_eq!(body["scope"], "tool:forecast tool:history");
    assert_eq!(
        parts(body["access_token"].as_str().unwrap()).1["aud"],
        WEATHER
    );
}

#[tokio::test]
async fn it_is_one_of_ours_or_nothing() {
    let app = TestApp::apps().await;
    let token = begin(&app).await;
    let person = app.signed_in("bob").await;
    let access = person.tokens(&json!({})).await["access_token"].clone();
    // AC-127.
    for wrong in [
        access.as_str().unwrap(),
        &token[1..],
        &token[..token.len() - 1],
        &token.replace(".0.", ".1."),
        "wrt_..",
        "wrt_",
        "ä",
    ] {
        app.refresh(wrong, &json!({}))
            .await
            .refused(400, "invalid_grant");
    }
    let without = json!({ "refresh_token": null });
    app.refresh(&token, &without)
        .await
        .refused(400, "invalid_request");
    app.get("/userinfo")
        .bearer(&token)
        .await
        .refused(401, "invalid_token");
    app.refresh(&token, &json!({})).await.ok();
}

#[tokio::test]
async fn it_ends_when_it_is_not_used_and_at_last_in_any_case() {
    let app = TestApp::apps().await;
    let token = begin(&app).await;
    app.advance(30 * 86_400 - 1);
    let mut token = refresh_token(&app.refresh(&token, &json!({})).await.ok());
    for _ in 0..11 {
        app.advance(30 * 86_400 - 1);
        token = refresh_token(&app.refresh(&token, &json!({})).await.ok());
    }
    // AC-124: a year after it began.
    app.advance(10 * 86_400);
    app.refresh(&token, &json!({}))
        .await
        .refused(400, "invalid_grant");

    let app = TestApp::apps().await;
    let token = begin(&app).await;
    app.advance(30 * 86_400);
    app.refresh(&token, &json!({}))
        .await
        .refused(400, "invalid_grant");
}

#[tokio::test]
async fn it_survives_a_restart_and_the_end_of_others() {
    let app = TestApp::apps().await;
    let token = begin(&app).await;
    let app = app.restart().await;
    let token = refresh_token(&app.refresh(&token, &json!({})).await.ok());
    let app = app.restart().await;
    app.refresh(&token, &json!({})).await.ok();
}

#[tokio::test]
async fn no_grant_without_the_right_to_it() {
    let app = TestApp::apps().await;
    let members = json!({
        "redirect_uris": [crate::support::CALLBACK], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
    });
    app.client("app", members).await;
    let person = app.signed_in("ann").await;
    let body = person
        .tokens(&json!({ "scope": "offline_access tool:forecast" }))
        .await;
    assert_eq!(body.get("refresh_token"), None);
    assert_eq!(body["scope"], "tool:forecast");
    let any = app.refresh("wrt_x.0.x", &json!({})).await;
    any.refused(400, "unauthorized_client");
}

#[tokio::test]
async fn its_holder_may_ask_about_it_and_end_it() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let code = person.code(&json!({ "client_id": "web" })).await;
    let web = json!({ "client_id": "web", "client_secret": secret_of("web") });
    let body = app.redeem(&code, &web).await.ok();
    let (token, access) = (refresh_token(&body), body["access_token"].as_str().unwrap());
    let told = app.introspect("web", &token).await.ok();
    assert_eq!(told["active"], true);
    assert_eq!(told["client_id"], "web");
    assert_eq!(told["sub"], json!(person.user.id));
    assert_eq!(told["scope"], "tool:forecast tool:history");
    assert_eq!(told.get("token_type"), None);
    // AC-280: nobody else, the servers of its resources neither.
    app.weather_server().await;
    for other in ["agent", "weather-server"] {
        let told = app.introspect(other, &token).await.ok();
        assert_eq!(told, json!({ "active": false }), "{other}");
    }
    // AC-284.
    app.revoke("agent", &token).await.with(http::StatusCode::OK);
    assert_eq!(app.introspect("web", &token).await.ok()["active"], true);
    // AC-285, AC-286: with what hangs from it, whatever the hint.
    let hinted = [
        ("token", token.as_str()),
        ("token_type_hint", "access_token"),
    ];
    let answer = app.post("/revoke").basic("web", &secret_of("web"));
    assert_eq!(answer.form(&hinted).await.status, 200);
    assert_eq!(
        app.introspect("web", &token).await.ok(),
        json!({ "active": false })
    );
    assert!(!app.is_active(access).await);
    app.refresh(&token, &web)
        .await
        .refused(400, "invalid_grant");
    assert_eq!(app.revoke("web", &token).await.status, 200);
    // A token that was used is not the one of its line any more.
    let public = refresh_token(&person.tokens(&json!({})).await);
    assert!(app.is_active(&public).await);
    app.refresh(&public, &json!({})).await.ok();
    assert!(!app.is_active(&public).await);
}
