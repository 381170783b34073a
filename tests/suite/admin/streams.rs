//! `/admin/streams`

use http::StatusCode;
use serde_json::{Value, json};

use crate::streams::{MONITOR, PUSH, Receivers, SERVER, SESSION_REVOKED, STREAM_UPDATED, id};

async fn admin(receivers: &Receivers, method: &str, path: &str, body: Value) -> Value {
    let call = receivers
        .app
        .admin(method, &format!("/streams{path}"))
        .await;
    call.json(&body).await.ok()
}

#[tokio::test]
async fn streams_are_shown_without_their_secrets() {
    let receivers = Receivers::new().await;
    let delivery = json!({
        "method": PUSH, "endpoint_url": "https://weather.example/events",
        "authorization_header": "Bearer of-the-receiver-0123456789",
    });
    let body = json!({ "delivery": delivery, "events_requested": [SESSION_REVOKED] });
    let stream = id(&receivers.created(SERVER, body).await);
    receivers.created(MONITOR, json!({})).await;
    let all = receivers.app.admin("GET", "/streams").await.await;
    assert!(!all.text().contains("of-the-receiver"));
    assert_eq!(all.ok().as_array().unwrap().len(), 2);
    let shown = admin(&receivers, "GET", &format!("/{stream}"), json!({})).await;
    let now = receivers.app.now();
    let expected = json!({
        "stream_id": stream,
        "client_id": SERVER,
        "aud": ["https://weather.example/mcp"],
        "subjects": "oauth",
        "signing_algorithm": "RS256",
        "method": PUSH,
        "endpoint_url": "https://weather.example/events",
        "authorization_header": true,
        "status": "enabled",
        "events_delivered": ["session-revoked"],
        "excluded": 0,
        "created_at": now,
        "updated_at": now,
        "backlog": { "position": 0, "head": 0, "waiting": 0 },
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn what_waits_is_counted() {
    let receivers = Receivers::new().await;
    let stream = receivers.stream().await;
    for _ in 0..3 {
        receivers.end_agent().await;
    }
    let shown = admin(&receivers, "GET", &format!("/{stream}"), json!({})).await;
    assert_eq!(
        shown["backlog"],
        json!({ "position": 0, "head": 3, "waiting": 3 })
    );
}

#[tokio::test]
async fn an_administrator_stops_a_stream_and_its_receiver_is_told() {
    let receivers = Receivers::new().await;
    let stream = receivers.stream().await;
    for (verb, status, why) in [
        ("pause", "paused", json!({ "reason": "too slow" })),
        ("enable", "enabled", json!({})),
    ] {
        let shown = admin(
            &receivers,
            "POST",
            &format!("/{stream}/{verb}"),
            why.clone(),
        )
        .await;
        assert_eq!(shown["status"], status);
        assert_eq!(shown.get("reason"), why.get("reason"));
    }
    let told = receivers.waiting(&stream).await;
    let told: Vec<Value> = told
        .iter()
        .map(|set| set["events"][STREAM_UPDATED].clone())
        .collect();
    let expected = [
        json!({ "status": "paused", "reason": "too slow" }),
        json!({ "status": "enabled" }),
    ];
    assert_eq!(told, expected);

    let shown = admin(&receivers, "POST", &format!("/{stream}/disable"), json!({})).await;
    assert_eq!(shown["status"], "disabled");
    receivers.end_agent().await;
    admin(&receivers, "POST", &format!("/{stream}/enable"), json!({})).await;
    assert!(
        !receivers
            .kinds(&stream)
            .await
            .contains(&SESSION_REVOKED.to_owned())
    );

    let call = receivers
        .app
        .admin("DELETE", &format!("/streams/{stream}"))
        .await;
    call.await.with(StatusCode::NO_CONTENT);
    let path = format!("/streams?stream_id={stream}");
    receivers
        .call(SERVER, "GET", &path)
        .await
        .refused(404, "not_found");
    for (method, path) in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/enable"),
        ("POST", "/pause"),
        ("POST", "/disable"),
    ] {
        let call = receivers
            .app
            .admin(method, &format!("/streams/{stream}{path}"))
            .await;
        call.json(&json!({})).await.refused(404, "not_found");
    }
}
