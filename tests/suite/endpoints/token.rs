//! `POST /token` (RFC 6749 §3.2).

use crate::support::{TestApp, WEATHER, encode};

#[tokio::test]
async fn an_answer_with_a_token_is_never_kept() {
    let app = TestApp::weather().await;
    let answer = app.ask("agent", &[("resource", WEATHER)]).await;
    answer.ok();
    // RFC 6749 §5.1.
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn parameters_nobody_knows_are_ignored() {
    let app = TestApp::weather().await;
    // RFC 6749 §3.2.
    let params = [
        ("resource", WEATHER),
        ("colour", "blue"),
        ("response_type", "code"),
    ];
    app.ask("agent", &params).await.ok();
}

#[tokio::test]
async fn parameters_without_a_value_count_as_left_out() {
    let app = TestApp::weather().await;
    let params = [
        ("resource", WEATHER),
        ("scope", ""),
        ("client_id", ""),
        ("actor_token", ""),
    ];
    app.ask("agent", &params).await.ok();
}

#[tokio::test]
async fn the_form_may_say_its_character_set() {
    let app = TestApp::weather().await;
    let body = encode(&[("grant_type", "client_credentials"), ("resource", WEATHER)]);
    for media_type in [
        "application/x-www-form-urlencoded;charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded ; charset=utf-8",
    ] {
        app.post("/token")
            .basic("agent", &crate::support::secret_of("agent"))
            .raw(media_type, body.clone())
            .await
            .ok();
    }
}
