//! `/ssf/status`: delivered, held, thrown away.

use serde_json::{Value, json};
use writ::{registry::Status, streams::status::set_status_by_us};

use super::{Receivers, SERVER, SESSION_REVOKED, STREAM_UPDATED};

#[tokio::test]
async fn a_new_stream_is_enabled_and_every_status_can_follow_every_other() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let path = format!("/status?stream_id={id}");
    let status = async || receivers.call(SERVER, "GET", &path).await.ok();
    assert_eq!(
        status().await,
        json!({ "stream_id": id, "status": "enabled" })
    );
    for next in [
        "paused", "disabled", "paused", "enabled", "disabled", "enabled", "paused",
    ] {
        let answer = receivers.set(&id, next).await.ok();
        assert_eq!(answer, json!({ "stream_id": id, "status": next }));
        assert_eq!(status().await, answer);
    }
    // Its receiver knows what it has done itself.
    receivers.set(&id, "enabled").await.ok();
    assert_eq!(receivers.kinds(&id).await, [""; 0]);
}

#[tokio::test]
async fn the_reason_is_kept_with_the_status() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let expected = json!({ "stream_id": id, "status": "paused", "reason": "maintenance" });
    // The suite repeats the stream in the query.
    let call = receivers.call(SERVER, "POST", &format!("/status?stream_id={id}"));
    assert_eq!(call.json(&expected).await.ok(), expected);
    let enabled = receivers.set(&id, "enabled").await.ok();
    assert_eq!(enabled.get("reason"), None);
}

#[tokio::test]
async fn what_is_no_status_is_refused() {
    // AC-294
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    for status in [
        json!("nonsense"),
        json!(""),
        json!("Enabled"),
        json!(7),
        Value::Null,
    ] {
        let body = json!({ "stream_id": id, "status": status });
        let answer = receivers.call(SERVER, "POST", "/status").json(&body).await;
        answer.refused(400, "invalid_request");
    }
    // PostgreSQL stores no NUL.
    for reason in ["x".repeat(501), "a\0".to_owned(), "a\u{1b}[2J".to_owned()] {
        let body = json!({ "stream_id": id, "status": "paused", "reason": reason });
        let answer = receivers.call(SERVER, "POST", "/status").json(&body).await;
        answer.refused(400, "invalid_request");
    }
    assert_eq!(receivers.app.count("stream.changed").await, 1);
    receivers
        .set("st-unknown", "nonsense")
        .await
        .refused(404, "not_found");
    let none = receivers.call(SERVER, "GET", "/status").await;
    none.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_paused_stream_keeps_and_a_disabled_one_forgets() {
    // AC-294
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    receivers.set(&id, "paused").await.ok();
    receivers.end_agent().await;
    receivers.set(&id, "enabled").await.ok();
    assert_eq!(receivers.kinds(&id).await, [SESSION_REVOKED]);

    receivers.set(&id, "disabled").await.ok();
    assert_eq!(receivers.kinds(&id).await, [""; 0]);
    receivers.end_agent().await;
    receivers.set(&id, "enabled").await.ok();
    assert_eq!(receivers.kinds(&id).await, [""; 0]);
    receivers.end_agent().await;
    assert_eq!(receivers.kinds(&id).await, [SESSION_REVOKED]);
}

#[tokio::test]
async fn what_this_transmitter_does_by_itself_is_told() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let (app, tenant) = (&receivers.app.state, receivers.app.tenant(None));
    let stream = tenant.stream(&id).unwrap();
    for (status, reason) in [
        (Status::Paused, Some("nobody answers")),
        // A second time changes nothing, and is not told.
        (Status::Paused, Some("nobody answers")),
        (Status::Enabled, None),
    ] {
        let after = set_status_by_us(app, &tenant, &stream, status, reason)
            .await
            .unwrap();
        assert_eq!(
            (after.status(), after.row().reason.as_deref()),
            (status, reason)
        );
    }
    let told = receivers.waiting(&id).await;
    let told: Vec<&Value> = told
        .iter()
        .map(|claims| &claims["events"][STREAM_UPDATED])
        .collect();
    let expected = [
        json!({ "status": "paused", "reason": "nobody answers" }),
        json!({ "status": "enabled" }),
    ];
    assert_eq!(told, expected.iter().collect::<Vec<_>>());
    assert_eq!(
        receivers.waiting(&id).await[0]["sub_id"],
        json!({ "format": "opaque", "id": id })
    );
    // Created, paused, enabled.
    assert_eq!(receivers.app.count("stream.changed").await, 3);
}

#[tokio::test]
async fn whoever_stops_a_stream_waits_for_what_is_under_way() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let stream = receivers.app.tenant(None).stream(&id).unwrap();
    let sending = stream.live().sending.lock().await;
    let (answered, stopped) = tokio::sync::oneshot::channel();
    let stop = async {
        let answer = receivers.set(&id, "paused").await;
        answered.send(()).unwrap();
        answer.ok();
    };
    let push = async {
        stream.live().bell.notified().await;
        // The row has changed, and whoever asked still waits.
        let now = receivers.app.tenant(None).stream(&id).unwrap();
        assert_eq!(now.status(), Status::Paused);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(stopped.is_empty());
        drop(sending);
    };
    tokio::join!(push, stop);
}
