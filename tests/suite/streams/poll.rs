//! RFC 8936

use std::{sync::Arc, time::Duration};

use entity::signal;
use serde_json::{Value, json};
use tokio::time::timeout;
use writ::{
    registry::Signal,
    signals::{Cause, Initiator},
    store::{Change, signals::AT_HAND},
    streams::{set, verification},
};

use super::{Receiver, STREAM_UPDATED, polled, sets};
use crate::support::TestApp;

async fn three(app: &TestApp) -> Receiver<'_> {
    let receiver = Receiver::of(app, "weather", polled()).await;
    for _ in 0..3 {
        app.end(json!({ "client": "agent" })).await;
    }
    receiver
}

fn names(answer: &Value) -> Vec<String> {
    sets(answer).into_iter().map(|(jti, _)| jti).collect()
}

#[tokio::test]
async fn max_events_is_kept_and_says_whether_there_is_more() {
    let app = TestApp::weather().await;
    let receiver = three(&app).await;
    let one = receiver.poll(&json!({ "maxEvents": 1 })).await.ok();
    assert_eq!(names(&one).len(), 1);
    assert_eq!(one["moreAvailable"], true);
    // New ones first: what is not acknowledged does not stand in their way.
    let two = receiver.poll(&json!({ "maxEvents": 2 })).await.ok();
    assert_eq!(names(&two).len(), 2);
    assert!(!names(&two).contains(&names(&one)[0]));
    let none = receiver.poll(&json!({ "maxEvents": 0 })).await.ok();
    assert_eq!(none, json!({ "sets": {}, "moreAvailable": true }));
}

#[tokio::test]
async fn what_is_acknowledged_never_comes_again_and_the_rest_does() {
    let app = TestApp::weather().await;
    let receiver = three(&app).await;
    let all = names(&receiver.poll(&json!({})).await.ok());
    assert_eq!(all.len(), 3);
    let body = json!({ "ack": [all[1], "unknown", "000000000001.x"], "returnImmediately": true });
    let rest = receiver.poll(&body).await.ok();
    assert_eq!(names(&rest), [all[0].clone(), all[2].clone()]);
    let error = json!({ all[0].clone(): { "err": "invalid_key", "description": "no" } });
    let body = json!({ "setErrs": error, "ack": [all[2]], "returnImmediately": true });
    assert_eq!(receiver.poll(&body).await.ok(), json!({ "sets": {} }));
    // Acknowledgement and delivery in one request.
    app.end(json!({ "client": "agent" })).await;
    let next = names(&receiver.poll(&json!({})).await.ok());
    app.end(json!({ "client": "agent" })).await;
    let last = names(&receiver.poll(&json!({ "ack": next })).await.ok());
    assert_eq!(last.len(), 1);
    assert_ne!(last, next);
}

#[tokio::test]
async fn a_poll_waits_for_what_comes() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let token = receiver.token().await;
    let empty = json!({});
    let poll = receiver.call(&token, &empty).into_future();
    tokio::pin!(poll);
    assert!(
        timeout(Duration::from_millis(200), &mut poll)
            .await
            .is_err()
    );
    app.end(json!({ "client": "agent" })).await;
    let answer = timeout(Duration::from_secs(5), poll).await.unwrap().ok();
    assert_eq!(names(&answer).len(), 1);
    // What was handed out a moment ago does not end a wait, but is there for who asks.
    let poll = receiver.call(&token, &empty).into_future();
    assert!(timeout(Duration::from_millis(200), poll).await.is_err());
    assert_eq!(receiver.waiting().await.len(), 1);
    app.advance(6);
    assert_eq!(names(&receiver.call(&token, &empty).await.ok()).len(), 1);
}

#[tokio::test]
async fn a_wait_has_an_end() {
    let app = TestApp::with(|config| config.events.poll_wait = 1).await;
    app.declare_weather(None).await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    assert_eq!(receiver.poll(&json!({})).await.ok(), json!({ "sets": {} }));
    let empty = receiver.app.post(&format!("/ssf/poll/{}", receiver.stream));
    let answer = empty.bearer(&receiver.token().await).await.ok();
    assert_eq!(answer, json!({ "sets": {} }));
}

#[tokio::test]
async fn the_second_who_waits_sends_the_first_away() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let token = receiver.token().await;
    let empty = json!({});
    let first = receiver.call(&token, &empty).into_future();
    tokio::pin!(first);
    assert!(
        timeout(Duration::from_millis(100), &mut first)
            .await
            .is_err()
    );
    let second = receiver.call(&token, &empty).into_future();
    let both = async { tokio::join!(first, second) };
    let revoke = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.end(json!({ "client": "agent" })).await
    };
    let ((first, second), _) = tokio::join!(both, revoke);
    assert_eq!(first.ok(), json!({ "sets": {} }));
    assert_eq!(names(&second.ok()).len(), 1);
}

#[tokio::test]
async fn there_is_an_end_to_what_is_said_in_one_request() {
    let app = TestApp::weather().await;
    let receiver = three(&app).await;
    let mut ack: Vec<String> = receiver.waiting().await.into_iter().map(|s| s.0).collect();
    ack.resize(2001, "1.".to_owned());
    let answer = receiver.poll(&json!({ "ack": ack, "maxEvents": 0 })).await;
    answer.refused(400, "invalid_request");
    assert_eq!(receiver.waiting().await.len(), 3);
    ack.truncate(2000);
    receiver
        .poll(&json!({ "ack": ack, "maxEvents": 0 }))
        .await
        .ok();
    assert!(receiver.waiting().await.is_empty());
}

/// Events that only one stream hears, more than a node keeps in memory.
async fn many(app: &TestApp, stream: &str) -> Vec<Arc<Signal>> {
    let tenant = app.tenant(None);
    let stream = tenant.stream(stream).unwrap();
    let cause = Cause::new(&app.state.entropy, Initiator::System, "many");
    let count = AT_HAND + 500;
    let changes = (0..count).map(|_| verification::event(&app.state, &stream, None, &cause));
    let changes: Vec<Change> = changes.collect();
    let rows = changes.iter().zip(1..).map(|(change, seq)| match change {
        Change::Signal(row) => Signal::from_row(signal::Model { seq, ..row.clone() }).unwrap(),
        other => panic!("{other:?}"),
    });
    let signals = rows.collect();
    app.commit(changes).await.unwrap();
    signals
}

#[tokio::test]
async fn what_is_remembered_behind_one_that_is_not_taken_has_an_end() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let signals = many(&app, &receiver.stream).await;
    let jtis: Vec<String> = signals
        .iter()
        .map(|signal| set::jti(signal, &receiver.stream))
        .collect();
    // All but the first, far more than are remembered.
    for ack in jtis[1..12_001].chunks(1500) {
        let answer = receiver.poll(&json!({ "ack": ack, "maxEvents": 0 })).await;
        answer.ok();
    }
    let two = receiver.poll(&json!({ "maxEvents": 2 })).await.ok();
    assert_eq!(names(&two), [jtis[0].clone(), jtis[10_001].clone()]);
    let ack = json!({ "ack": names(&two), "maxEvents": 1, "returnImmediately": true });
    let next = receiver.poll(&ack).await.ok();
    assert_eq!(names(&next), [jtis[10_002].clone()]);
}

/// Waits with a token, until something is done to it.
async fn waits(receiver: &Receiver<'_>, token: &str, until: impl Future) -> Value {
    let empty = json!({});
    let poll = receiver.call(token, &empty).into_future();
    let then = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        until.await
    };
    let (answer, _) = tokio::join!(timeout(Duration::from_secs(5), poll), then);
    answer.unwrap().ok()
}

#[tokio::test]
async fn who_may_hear_no_more_does_not() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let token = receiver.token().await;
    let revoke = async {
        app.end(json!({ "token": token })).await;
        app.end(json!({ "client": "agent" })).await
    };
    assert_eq!(
        waits(&receiver, &token, revoke).await,
        json!({ "sets": {} })
    );
    assert_eq!(receiver.take().await.len(), 1);
    let token = receiver.token().await;
    // That its client has ended is told to everyone, and not to it.
    let path = format!("/clients/{}/disable", receiver.client);
    let disable = async { app.admin("POST", &path).await.await.ok() };
    assert_eq!(
        waits(&receiver, &token, disable).await,
        json!({ "sets": {} })
    );
}

#[tokio::test]
async fn who_does_not_wait_sends_nobody_away() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let token = receiver.token().await;
    let others = async {
        assert!(receiver.take().await.is_empty());
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.end(json!({ "client": "agent" })).await
    };
    let answer = waits(&receiver, &token, others).await;
    assert_eq!(names(&answer).len(), 1);
}

#[tokio::test]
async fn what_is_acknowledged_elsewhere_meanwhile_does_not_come() {
    let app = TestApp::with(|config| config.events.poll_wait = 2).await;
    app.declare_weather(None).await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    app.end(json!({ "client": "agent" })).await;
    let (jti, _) = receiver.waiting().await.remove(0);
    // It would be offered again after another second.
    app.advance(4);
    let token = receiver.token().await;
    let acknowledge = async {
        let feed = format!("/ssf/feed?stream_id={}", receiver.stream);
        let call = app.get(&feed).bearer(&receiver.token().await);
        drop(call.header("last-event-id", &jti).open().await);
        app.advance(2);
    };
    assert_eq!(
        waits(&receiver, &token, acknowledge).await,
        json!({ "sets": {} })
    );
}

#[tokio::test]
async fn a_stream_that_is_stopped_says_so_however_much_it_holds() {
    let app = TestApp::weather().await;
    let receiver = three(&app).await;
    for (verb, status) in [("pause", "paused"), ("disable", "disabled")] {
        receiver.is_told_to(verb).await;
        let told = receiver.poll(&json!({ "maxEvents": 1 })).await.ok();
        assert_eq!(told.get("moreAvailable"), None);
        let [(jti, claims)] = <[_; 1]>::try_from(sets(&told)).unwrap();
        assert_eq!(claims["events"][STREAM_UPDATED]["status"], status);
        let rest = receiver.poll(&json!({ "ack": [jti] })).await.ok();
        assert_eq!(rest, json!({ "sets": {} }));
    }
}

#[tokio::test]
async fn what_was_held_comes_in_order_though_the_stop_was_told_first() {
    let app = TestApp::weather().await;
    let receiver = three(&app).await;
    receiver.is_told_to("pause").await;
    let told = receiver.poll(&json!({})).await.ok();
    assert_eq!(names(&told).len(), 1);
    app.end(json!({ "client": "agent" })).await;
    receiver.set("enabled").await;
    let mut came = Vec::new();
    for _ in 0..5 {
        came.extend(names(&receiver.poll(&json!({ "maxEvents": 1 })).await.ok()));
    }
    assert_eq!(came[3], names(&told)[0]);
    assert!(came.is_sorted(), "{came:?}");
}

#[tokio::test]
async fn only_the_owner_gets_in() {
    let app = TestApp::weather().await;
    let receiver = three(&app).await;
    let other = Receiver::of(&app, "calendar", polled()).await;
    let path = format!("/ssf/poll/{}", receiver.stream);
    let body = json!({ "returnImmediately": true });
    let nobody = app.post(&path).json(&body).await;
    assert_eq!(nobody.status, 401);
    let challenge = nobody.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("Bearer ") && !challenge.contains("error="),
        "{challenge}"
    );
    for path in [path.as_str(), "/ssf/poll/nonsense"] {
        let wrong = app
            .post(path)
            .bearer("invalid:x")
            .raw("application/json", ";{")
            .await;
        wrong.refused(401, "invalid_token");
    }
    let foreign = app
        .post(&path)
        .bearer(&other.token().await)
        .json(&body)
        .await;
    foreign.refused(404, "not_found");
    let reader = app
        .ask(&receiver.client, &[("scope", "ssf.read")])
        .await
        .token();
    let reading = app.post(&path).bearer(&reader).json(&body).await;
    reading.refused(403, "insufficient_scope");
    for broken in ["[]", ";{", r#"{"ack":"x"}"#, r#"{"maxEvents":-1}"#] {
        let token = receiver.token().await;
        let answer = app
            .post(&path)
            .bearer(&token)
            .raw("application/json", broken)
            .await;
        answer.refused(400, "invalid_request");
    }
}
