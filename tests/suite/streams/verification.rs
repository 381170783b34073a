//! `/ssf/verify`

use http::StatusCode;
use serde_json::{Value, json};

use super::{Receivers, SERVER, VERIFICATION};
use crate::support::{Answer, TestApp};

async fn verify(receivers: &Receivers, id: &str, state: Value) -> Answer {
    let body = json!({ "stream_id": id, "state": state });
    receivers.call(SERVER, "POST", "/verify").json(&body).await
}

#[tokio::test]
async fn every_request_is_echoed_with_its_own_state() {
    // AC-295
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    // A verification need not be asked for among the events.
    for state in [json!("first"), Value::Null, json!("")] {
        let answer = verify(&receivers, &id, state).await;
        answer.with(StatusCode::NO_CONTENT);
        receivers.app.advance(5);
    }
    let waiting = receivers.waiting(&id).await;
    let events: Vec<Value> = waiting.iter().map(|set| set["events"].clone()).collect();
    let expected = [
        json!({ VERIFICATION: { "state": "first" } }),
        json!({ VERIFICATION: {} }),
        json!({ VERIFICATION: { "state": "" } }),
    ];
    assert_eq!(events, expected);
    for set in &waiting {
        assert_eq!(set["sub_id"], json!({ "format": "opaque", "id": id }));
    }
}

#[tokio::test]
async fn a_stream_is_verified_only_so_often_and_another_is_not_concerned() {
    // AC-295
    let receivers = Receivers::new().await;
    let (one, other) = (receivers.stream().await, receivers.stream().await);
    verify(&receivers, &one, json!("a"))
        .await
        .with(StatusCode::NO_CONTENT);
    receivers.app.advance(2);
    let answer = verify(&receivers, &one, json!("b")).await;
    answer.refused(429, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("3"));
    verify(&receivers, &other, json!("c"))
        .await
        .with(StatusCode::NO_CONTENT);
    receivers.app.advance(3);
    verify(&receivers, &one, json!("d"))
        .await
        .with(StatusCode::NO_CONTENT);
    assert_eq!(receivers.waiting(&one).await.len(), 2);
}

#[tokio::test]
async fn a_clock_that_was_set_back_puts_nothing_off() {
    for interval in [0, 5] {
        let app = TestApp::with(|config| config.events.verification_interval = interval).await;
        app.declare_weather(None).await;
        let receivers = Receivers::in_scene(app).await;
        let id = receivers.stream().await;
        for state in ["a", "b"] {
            let answer = verify(&receivers, &id, json!(state)).await;
            answer.with(StatusCode::NO_CONTENT);
            receivers.app.advance(-20);
        }
    }
}

#[tokio::test]
async fn a_stopped_stream_accepts_a_verification() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    receivers.set(&id, "paused").await.ok();
    verify(&receivers, &id, json!("held"))
        .await
        .with(StatusCode::NO_CONTENT);
    receivers.app.advance(5);
    receivers.set(&id, "enabled").await.ok();
    assert_eq!(
        receivers.waiting(&id).await[0]["events"][VERIFICATION]["state"],
        "held"
    );
    receivers.set(&id, "disabled").await.ok();
    let head = receivers.app.state.registry.signals().head();
    verify(&receivers, &id, json!("dropped"))
        .await
        .with(StatusCode::NO_CONTENT);
    assert_eq!(receivers.app.state.registry.signals().head(), head);
}

#[tokio::test]
async fn a_verification_waits_for_minutes_and_is_held_for_an_hour() {
    let receivers = Receivers::new().await;
    let (open, held) = (receivers.stream().await, receivers.stream().await);
    receivers.set(&held, "paused").await.ok();
    for id in [&open, &held] {
        let answer = verify(&receivers, id, json!("x")).await;
        answer.with(StatusCode::NO_CONTENT);
    }
    let waiting = async || {
        let (open, held) = (receivers.kinds(&open).await, receivers.kinds(&held).await);
        (open.len(), held.len())
    };
    for (seconds, wait) in [(590, (1, 1)), (20, (0, 1)), (2900, (0, 1)), (100, (0, 0))] {
        receivers.app.advance(seconds);
        assert_eq!(waiting().await, wait, "{seconds} s later");
    }
}

#[tokio::test]
async fn what_is_no_verification_is_refused() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let call = receivers.call(SERVER, "POST", "/verify");
    let cut = format!("{{\"stream_id\": \"{id}\"");
    call.raw("application/json", cut)
        .await
        .refused(400, "invalid_request");
    for state in [json!(7), json!({}), json!("x".repeat(1001))] {
        verify(&receivers, &id, state)
            .await
            .refused(400, "invalid_request");
    }
    verify(&receivers, "st-unknown", json!("x"))
        .await
        .refused(404, "not_found");
    let none = receivers
        .call(SERVER, "POST", "/verify")
        .json(&json!({}))
        .await;
    none.refused(400, "invalid_request");
    // None of it counted.
    verify(&receivers, &id, json!("x"))
        .await
        .with(StatusCode::NO_CONTENT);
}
