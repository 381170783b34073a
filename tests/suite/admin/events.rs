//! `/admin/events`: an administrator tells receivers something.

use serde_json::{Value, json};
use writ::signals::KINDS;

use crate::{
    streams::{CREDENTIAL_CHANGE, MONITOR, Receivers, SERVER, SESSION_REVOKED, VERIFICATION, id},
    support::{ACME, Answer, TestApp},
};

async fn emit(receivers: &Receivers, body: &Value) -> Answer {
    receivers
        .app
        .admin("POST", "/events")
        .await
        .json(body)
        .await
}

/// A stream that asks for everything.
async fn all(receivers: &Receivers, client: &str) -> String {
    let all: Vec<&str> = KINDS.iter().map(|kind| kind.uri).collect();
    id(&receivers
        .created(client, json!({ "events_requested": all }))
        .await)
}

fn person() -> Value {
    json!({ "format": "iss_sub", "iss": "https://as.example", "sub": "u" })
}

fn agent() -> Value {
    let application = json!({ "format": "iss_sub", "iss": "https://as.example", "sub": "agent" });
    json!({ "format": "complex", "application": application })
}

#[tokio::test]
async fn every_type_can_be_emitted_and_arrives_as_it_was_said() {
    let receivers = Receivers::new().await;
    let stream = all(&receivers, MONITOR).await;
    let compliant = ["compliant", "not-compliant"];
    for (kind, event) in [
        ("session-revoked", json!({})),
        (
            "token-claims-change",
            json!({ "claims": { "role": "reader" } }),
        ),
        (
            "credential-change",
            json!({ "credential_type": "password", "change_type": "update" }),
        ),
        (
            "assurance-level-change",
            json!({ "namespace": "NIST-AAL", "current_level": "nist-aal1" }),
        ),
        (
            "device-compliance-change",
            json!({ "previous_status": compliant[0], "current_status": compliant[1] }),
        ),
        (
            "risk-level-change",
            json!({ "principal": "USER", "current_level": "HIGH" }),
        ),
        ("account-disabled", json!({ "reason": "hijacking" })),
        ("account-enabled", json!({})),
        ("account-purged", json!({})),
        (
            "credential-compromise",
            json!({ "credential_type": "password" }),
        ),
        ("account-credential-change-required", json!({})),
    ] {
        let body = json!({ "type": kind, "subject": person(), "event": event, "reason": "a test" });
        let emitted = emit(&receivers, &body).await.ok();
        let told = receivers.waiting(&stream).await.pop().unwrap();
        assert_eq!(told["txn"], emitted["txn"], "{kind}");
        assert_eq!(told["sub_id"], person());
        let (uri, members) = told["events"].as_object().unwrap().iter().next().unwrap();
        assert!(uri.ends_with(&format!("/event-type/{kind}")), "{uri}");
        let mut expected = event.clone();
        if uri.contains("/caep/") {
            // CAEP interoperability profile §2.8: always a reason, and whole seconds.
            expected["event_timestamp"] = json!(receivers.app.now());
            expected["initiating_entity"] = json!("admin");
            expected["reason_admin"] = json!({ "en": "a test" });
        }
        assert_eq!(*members, expected, "{kind}");
    }
    let places: Vec<i64> = (1..=11).collect();
    let log = receivers
        .app
        .state
        .registry
        .signals()
        .after(0, 100)
        .unwrap();
    assert_eq!(
        log.iter().map(|signal| signal.seq()).collect::<Vec<_>>(),
        places
    );
    assert_eq!(receivers.app.count("event.emitted").await, 11);
}

#[tokio::test]
async fn what_is_about_tokens_goes_to_servers_and_what_is_about_people_to_everyone() {
    let receivers = Receivers::new().await;
    let (server, monitor) = (
        all(&receivers, SERVER).await,
        all(&receivers, MONITOR).await,
    );
    for (body, heard) in [
        (json!({ "subject": agent() }), [1, 0]),
        (
            json!({ "subject": agent(), "resources": ["weather"] }),
            [1, 0],
        ),
        (
            json!({ "subject": agent(), "resources": ["calendar"] }),
            [0, 0],
        ),
        (json!({ "subject": person() }), [1, 1]),
        (
            json!({ "subject": person(), "resources": ["calendar"] }),
            [0, 1],
        ),
        (json!({ "subject": person(), "stream": monitor }), [0, 1]),
        (json!({ "subject": agent(), "stream": server }), [1, 0]),
    ] {
        let count = async || {
            let (server, monitor) = (
                receivers.kinds(&server).await,
                receivers.kinds(&monitor).await,
            );
            [server.len(), monitor.len()]
        };
        let before = count().await;
        let mut body = body;
        body["type"] = json!("session-revoked");
        emit(&receivers, &body).await.ok();
        let after = count().await;
        assert_eq!(
            [after[0] - before[0], after[1] - before[1]],
            heard,
            "{body}"
        );
    }
}

#[tokio::test]
async fn who_did_not_ask_for_a_type_does_not_hear_it() {
    let receivers = Receivers::new().await;
    let only = json!({ "events_requested": [SESSION_REVOKED] });
    let stream = id(&receivers.created(MONITOR, only).await);
    let event = json!({ "credential_type": "password", "change_type": "update" });
    let body = json!({ "type": CREDENTIAL_CHANGE, "subject": person(), "event": event });
    emit(&receivers, &body).await.ok();
    assert_eq!(receivers.kinds(&stream).await, [""; 0]);
    let mut named = body;
    named["stream"] = json!(stream);
    emit(&receivers, &named)
        .await
        .refused(400, "invalid_request");
    let of_tokens = json!({ "type": "session-revoked", "subject": agent(), "stream": stream });
    emit(&receivers, &of_tokens)
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn a_verification_that_nobody_asked_for_has_no_state() {
    let receivers = Receivers::new().await;
    let stream = receivers.stream().await;
    emit(
        &receivers,
        &json!({ "type": "verification", "stream": stream }),
    )
    .await
    .ok();
    let told = receivers.waiting(&stream).await.remove(0);
    assert_eq!(told["events"], json!({ VERIFICATION: {} }));
    assert_eq!(told["sub_id"]["id"], stream);
    for body in [
        json!({ "type": "verification" }),
        json!({ "type": "verification", "stream": stream, "event": { "state": "x" } }),
        json!({ "type": "verification", "stream": stream, "subject": person() }),
        json!({ "type": "verification", "stream": stream, "resources": ["weather"] }),
    ] {
        emit(&receivers, &body)
            .await
            .refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_told_to_nobody() {
    let receivers = Receivers::new().await;
    let revoked = |mut members: Value| {
        members["type"] = json!("session-revoked");
        members
    };
    for body in [
        json!({}),
        json!({ "type": "shoes-changed", "subject": person() }),
        json!({ "type": "stream-updated", "subject": person(), "event": { "status": "paused" } }),
        json!({ "type": "credential-change", "subject": person() }),
        json!({ "type": "account-disabled", "subject": person(), "event": { "reason": "boredom" } }),
        revoked(json!({})),
        revoked(json!({ "subject": { "format": "complex" } })),
        revoked(json!({ "subject": { "format": "email", "email": "a", "name": "A" } })),
        revoked(json!({ "subject": person(), "event": { "scope": "x" } })),
        revoked(json!({ "subject": person(), "event": { "event_timestamp": 1.5 } })),
        revoked(json!({ "subject": person(), "event": [] })),
        revoked(json!({ "subject": person(), "resources": [] })),
        revoked(json!({ "subject": person(), "reason": "a\nb" })),
        revoked(json!({ "subject": person(), "reason": "x".repeat(501) })),
        revoked(json!({ "subject": person(), "audience": "all" })),
        json!([]),
    ] {
        emit(&receivers, &body)
            .await
            .refused(400, "invalid_request");
    }
    for body in [
        revoked(json!({ "subject": person(), "resources": ["nowhere"] })),
        revoked(json!({ "subject": person(), "resources": ["writ-admin"] })),
        revoked(json!({ "subject": person(), "stream": "st-unknown" })),
    ] {
        emit(&receivers, &body).await.refused(404, "not_found");
    }
    assert_eq!(receivers.app.state.registry.signals().head(), 0);
    assert_eq!(receivers.app.count("event.emitted").await, 0);
}

#[tokio::test]
async fn one_tenant_tells_nothing_to_another() {
    let app = TestApp::with_tenants().await;
    app.declare_weather(None).await;
    let receivers = Receivers::in_scene(app).await;
    let stream = all(&receivers, SERVER).await;
    let token = receivers.app.admin_token(Some(ACME), "writ:events").await;
    let path = format!("/t/{ACME}/admin/events");
    let body = json!({ "type": "session-revoked", "subject": person() });
    receivers
        .app
        .post(&path)
        .bearer(&token)
        .json(&body)
        .await
        .ok();
    assert_eq!(receivers.kinds(&stream).await, [""; 0]);
    let path = format!("/t/{ACME}/admin/streams/{stream}");
    let token = receivers
        .app
        .admin_token(Some(ACME), "writ:events writ:read")
        .await;
    for method in ["GET", "DELETE"] {
        let answer = receivers.app.call(method, &path).bearer(&token).await;
        answer.refused(404, "not_found");
    }
}
