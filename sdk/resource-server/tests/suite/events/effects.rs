//! What a revocation does beside refusing the next request.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use writ_resource::events::{Reaction, Revocation};
use writ_resource::{AccessClaims, WhenStale};

use super::stage::{Stage, Way, eventually};
use super::transmitter::{caep, risc};
use crate::support::NOW;

/// Opens an event stream with this token and reads its first event.
async fn open(stage: &Stage, changes: &Value) -> reqwest::Response {
    let mut response = stage
        .http
        .get(format!("{}/open", stage.origin))
        .bearer_auth(stage.token(changes))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.chunk().await.unwrap().unwrap(), ": open\n\n");
    response
}

#[tokio::test]
async fn an_open_stream_ends_when_its_token_is_revoked() {
    let stage = Stage::new().await;
    let mut ended = open(&stage, &json!({})).await;
    let mut other = open(&stage, &json!({ "grant_id": "g2" })).await;
    let senders: Vec<_> = stage.open.lock().unwrap().clone();
    for sender in &senders {
        sender.send("data: 1\n\n".into()).await.unwrap();
    }
    assert_eq!(ended.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    assert_eq!(other.chunk().await.unwrap().unwrap(), "data: 1\n\n");

    stage.hears_revoked(&stage.grant("g1"), NOW).await;
    // The end itself, not a broken connection.
    let last = tokio::time::timeout(Duration::from_secs(1), ended.chunk()).await;
    assert_eq!(last.unwrap().unwrap(), None);
    // And the server's side of it is dropped.
    eventually(|| senders[0].is_closed(), || "still open".to_owned()).await;
    senders[1].send("data: 2\n\n".into()).await.unwrap();
    assert_eq!(other.chunk().await.unwrap().unwrap(), "data: 2\n\n");

    stage.hears_revoked(&stage.user("alice"), NOW).await;
    assert_eq!(other.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn an_open_stream_ends_when_its_token_expires() {
    let stage = Stage::new().await;
    let mut response = open(&stage, &json!({})).await;
    let mut longer = open(&stage, &json!({ "exp": NOW + 600 })).await;
    let senders: Vec<_> = stage.open.lock().unwrap().clone();
    // To the end of the leeway, as for requests.
    stage.clock.advance(329);
    for (sender, response) in senders.iter().zip([&mut response, &mut longer]) {
        sender.send("data: 1\n\n".into()).await.unwrap();
        assert_eq!(response.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    }
    stage.clock.advance(1);
    let last = tokio::time::timeout(Duration::from_secs(1), response.chunk()).await;
    assert_eq!(last.unwrap().unwrap(), None);
    eventually(|| senders[0].is_closed(), || "still open".to_owned()).await;
    senders[1].send("data: 2\n\n".into()).await.unwrap();
    assert_eq!(longer.chunk().await.unwrap().unwrap(), "data: 2\n\n");
}

#[tokio::test]
async fn a_narrowed_scope_ends_no_stream() {
    let stage = Stage::new().await;
    let mut response = open(&stage, &json!({})).await;
    let sender = stage.open.lock().unwrap()[0].clone();
    let payload = json!({ "event_timestamp": NOW, "claims": { "scope": "" } });
    stage
        .hears(&stage.grant("g1"), &caep("token-claims-change"), &payload)
        .await;
    sender.send("data: 1\n\n".into()).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: 1\n\n");
}

#[tokio::test]
async fn a_running_call_is_told() {
    let stage = Stage::new().await;
    let call = |grant: &str| {
        let token = stage.token(&json!({ "grant_id": grant }));
        let request = stage
            .http
            .post(format!("{}/slow", stage.origin))
            .bearer_auth(token)
            .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))
            .timeout(Duration::from_secs(20));
        tokio::spawn(request.send())
    };
    let (told, not_told) = (call("g1"), call("g2"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!told.is_finished());
    stage.hears_revoked(&stage.grant("g1"), NOW).await;
    let reply = told.await.unwrap().unwrap();
    assert_eq!(reply.text().await.unwrap(), "stopped");
    assert!(!not_told.is_finished());
    not_told.abort();
}

#[tokio::test]
async fn the_author_is_told_of_each_revocation_once() {
    let told = Arc::new(Mutex::new(Vec::<Revocation>::new()));
    let stage = {
        let told = Arc::clone(&told);
        Stage::with(Way::Push, |events| {
            events.on_revoked(move |revocation| {
                told.lock().unwrap().push(revocation.clone());
                assert!(revocation.subject().user() != Some("panic"));
            })
        })
        .await
    };
    let set = stage
        .transmitter
        .set(&stage.grant("g1"), &caep("session-revoked"), &json!({}));
    let set = stage.transmitter.sign(&crate::support::RSA, &set);
    for _ in 0..2 {
        assert_eq!(stage.transmitter.push(&set).await.0, 202);
    }
    {
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1);
        let subject = told[0].subject();
        assert_eq!(subject.grant(), Some("g1"));
        assert_eq!(subject.user(), Some("alice"));
        assert_eq!(subject.application(), Some("agent"));
        assert_eq!((told[0].cut_off(), told[0].txn()), (None, Some("t1")));
        let claims = |changes: Value| -> AccessClaims {
            serde_json::from_value(stage.claims(&changes)).unwrap()
        };
        assert!(told[0].ends(&claims(json!({}))));
        assert!(!told[0].ends(&claims(json!({ "grant_id": "g2" }))));
    }
    // Neither what narrows, nor what opens again; and a panic costs nothing.
    let narrowed = json!({ "claims": { "scope": "" } });
    stage
        .hears(&stage.grant("g9"), &caep("token-claims-change"), &narrowed)
        .await;
    stage
        .hears(&stage.user("x"), &risc("account-enabled"), &json!({}))
        .await;
    assert_eq!(told.lock().unwrap().len(), 1);
    stage.hears_revoked(&stage.user("panic"), NOW).await;
    stage.is_dead(&json!({ "sub": "panic" })).await;
    stage.hears_revoked(&stage.user("u"), NOW).await;
    let last = told.lock().unwrap().pop().unwrap();
    assert_eq!(last.cut_off(), Some(NOW));
    assert_eq!(last.event_type(), caep("session-revoked"));
}

#[tokio::test]
async fn the_author_decides_about_other_events() {
    let stage = Stage::with(Way::Push, |events| {
        events
            .when_stale(WhenStale::Refuse)
            .event_types(["https://schemas.example/own"])
            .on_event(|event| {
                let gone = event.payload.get("current_status") == Some(&json!("not-compliant"));
                let own = event.event_type == "https://schemas.example/own";
                assert!(event.payload.get("panic").is_none());
                if gone || own {
                    Reaction::EndTokens
                } else {
                    Reaction::Nothing
                }
            })
    })
    .await;
    let requested = stage.transmitter.stream().object["events_requested"].clone();
    let requested = requested.as_array().unwrap();
    assert!(requested.contains(&json!("https://schemas.example/own")));
    assert!(requested.contains(&json!(caep("session-revoked"))));
    let device = |status: &str| json!({ "event_timestamp": NOW, "previous_status": "compliant", "current_status": status });
    let event_type = caep("device-compliance-change");
    stage
        .hears(&stage.user("alice"), &event_type, &device("compliant"))
        .await;
    stage.lives(&json!({})).await;
    stage
        .hears(&stage.user("alice"), &event_type, &device("not-compliant"))
        .await;
    stage.is_dead(&json!({})).await;
    stage.lives(&json!({ "iat": NOW + 1 })).await;
    stage
        .hears(
            &stage.agent("a9"),
            "https://schemas.example/own",
            &json!({}),
        )
        .await;
    stage
        .is_dead(&json!({ "sub": "bob", "client_id": "a9" }))
        .await;
    let panic = json!({ "panic": 1, "credential_type": "pin", "change_type": "create" });
    stage
        .hears(&stage.user("bob"), &caep("credential-change"), &panic)
        .await;
    stage.lives(&json!({ "sub": "bob" })).await;
}

#[tokio::test]
async fn kept_answers_are_dropped_with_a_revocation() {
    use writ_resource::{Introspect, Protect};

    let stage = Stage::with(Way::Push, |events| events).await;
    // Another verifier of the same server, which asks and keeps the answers.
    let clock = stage.clock.clone();
    let layer = Protect::resource(&stage.resource)
        .issuer(&stage.transmitter.url)
        .clock(clock)
        .introspect(Introspect::cached(
            "rs",
            "secret",
            Duration::from_secs(300),
            100,
        ))
        .events(Way::Poll.events().instance("other"))
        .build()
        .unwrap();
    let health = || layer.health().unwrap();
    let ready = || health().trouble.is_none();
    eventually(ready, || format!("{:?}", health())).await;
    let token = stage.token(&json!({ "iat": NOW + 1 }));
    let ask = async || layer.verifier().verify(&token).await.is_ok();
    assert!(ask().await && ask().await);
    assert_eq!(stage.transmitter.world().introspections, 1);
    let id = health().stream_id.unwrap();
    stage.transmitter.emit_on(
        &id,
        &stage.user("bob"),
        &caep("session-revoked"),
        &json!({}),
    );
    eventually(|| health().remembered == 1, || format!("{:?}", health())).await;
    assert!(ask().await && ask().await);
    assert_eq!(stage.transmitter.world().introspections, 2);
    stage.transmitter.emit_on(
        &id,
        &stage.user("alice"),
        &caep("session-revoked"),
        &json!({}),
    );
    eventually(|| health().remembered == 2, || format!("{:?}", health())).await;
    assert!(ask().await, "issued after the cut-off");
}
