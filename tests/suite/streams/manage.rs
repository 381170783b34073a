//! `/ssf/streams`: streams come, change and go.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::StatusCode;
use serde_json::{Value, json};

use super::{CREDENTIAL_CHANGE, MONITOR, POLL, PUSH, Receivers, SERVER, SESSION_REVOKED, id};
use crate::support::{TestApp, WEATHER};

const ENDPOINT: &str = "https://weather.example/events";
const HEADER: &str = "Bearer of-the-receiver-0123456789";

fn push(header: Option<&str>) -> Value {
    let mut delivery = json!({ "method": PUSH, "endpoint_url": ENDPOINT });
    if let Some(header) = header {
        delivery["authorization_header"] = json!(header);
    }
    delivery
}

/// What is stored of the header that goes with pushes.
fn stored(receivers: &Receivers, id: &str) -> Option<String> {
    let stream = receivers.app.tenant(None).stream(id).unwrap();
    let header = writ::streams::secret::header(&receivers.app.state, &stream).unwrap();
    header.map(|header| String::from_utf8(header.to_vec()).unwrap())
}

#[tokio::test]
async fn a_pushed_stream_is_created_as_it_was_asked_for() {
    let receivers = Receivers::new().await;
    let body = json!({
        "delivery": push(Some(HEADER)),
        "events_requested": [SESSION_REVOKED, "https://example.com/unheard-of"],
        "description": "Weather",
    });
    let stream = receivers.created(SERVER, body).await;
    assert_eq!(stream["iss"], "https://as.example");
    assert_eq!(stream["aud"], WEATHER);
    assert_eq!(stream["delivery"], push(None));
    assert_eq!(stream["description"], "Weather");
    assert_eq!(stream["min_verification_interval"], 5);
    assert_eq!(stream["events_delivered"], json!([SESSION_REVOKED]));
    assert_eq!(
        stream["events_requested"][1],
        "https://example.com/unheard-of"
    );
    let supported = stream["events_supported"].as_array().unwrap();
    assert!(supported.contains(&json!(CREDENTIAL_CHANGE)));
    assert!(!supported.contains(&stream["events_requested"][1]));
    let id = id(&stream);
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    assert!(id.len() >= 20 && id.bytes().all(unreserved), "{id}");
    assert_eq!(receivers.read(SERVER, &id).await, stream);
    assert_eq!(stored(&receivers, &id).as_deref(), Some(HEADER));
    assert_eq!(receivers.app.count("stream.changed").await, 1);
}

#[tokio::test]
async fn the_header_for_pushes_is_nowhere_in_the_clear() {
    let receivers = Receivers::new().await;
    let body = json!({ "delivery": push(Some(HEADER)) });
    let stream = id(&receivers.created(SERVER, body).await);
    let patch = json!({ "stream_id": stream, "description": "x" });
    for answer in [
        receivers.call(SERVER, "GET", "/streams").await,
        receivers
            .call(SERVER, "PATCH", "/streams")
            .json(&patch)
            .await,
    ] {
        assert!(!answer.text().contains("of-the-receiver"));
    }
    let row = receivers
        .app
        .tenant(None)
        .stream(&stream)
        .unwrap()
        .row()
        .clone();
    let sealed = row.authorization.unwrap();
    assert!(
        !sealed
            .windows(8)
            .any(|part| HEADER.as_bytes().windows(8).any(|h| h == part))
    );
    let trail = receivers.app.admin("GET", "/audit?limit=1000").await.await;
    assert!(!trail.text().contains("of-the-receiver"));
}

#[tokio::test]
async fn who_names_no_delivery_polls() {
    let receivers = Receivers::new().await;
    for body in [json!({}), json!({ "delivery": { "method": POLL } })] {
        let stream = receivers.created(SERVER, body).await;
        let url = format!("https://as.example/ssf/poll/{}", id(&stream));
        assert_eq!(
            stream["delivery"],
            json!({ "method": POLL, "endpoint_url": url })
        );
        assert_eq!(stream["events_delivered"], json!([]));
        assert_eq!(stream.get("events_requested"), None);
    }
}

#[tokio::test]
async fn a_receiver_that_serves_nothing_is_its_own_audience() {
    let receivers = Receivers::new().await;
    let stream = receivers.created(MONITOR, json!({})).await;
    assert_eq!(stream["aud"], MONITOR);
}

#[tokio::test]
async fn what_cannot_be_agreed_on_is_refused() {
    // AC-290, AC-299
    let receivers = Receivers::new().await;
    let to = |url: &str| json!({ "delivery": { "method": PUSH, "endpoint_url": url } });
    let header = |text: &str| json!({ "delivery": push(Some(text)) });
    for body in [
        json!({ "events_requested": SESSION_REVOKED }),
        json!({ "events_requested": [7] }),
        json!({ "events_requested": vec!["urn:x"; 101] }),
        json!({ "description": 7 }),
        json!({ "delivery": PUSH }),
        json!({ "delivery": {} }),
        json!({ "delivery": { "method": "urn:ietf:rfc:9999" } }),
        json!({ "delivery": { "method": PUSH } }),
        json!({ "delivery": { "method": POLL, "endpoint_url": ENDPOINT } }),
        json!({ "delivery": { "method": POLL, "authorization_header": HEADER } }),
        to("http://weather.example/events"),
        to("https://127.0.0.1/events"),
        to("https://[::1]/events"),
        to("https://10.0.0.1/events"),
        to("https://169.254.169.254/latest"),
        to("https://localhost/events"),
        to("https://user:pass@weather.example/events"),
        to("https://user@weather.example/events"),
        to("https://weather.example/events#here"),
        to("https://2130706433/"),
        to("/events"),
        to("ftp://weather.example/events"),
        to(&format!("https://weather.example/{}", "x".repeat(2000))),
        header(""),
        header(" Bearer x"),
        header("Bearer a\r\nHost: evil.example"),
        header("Bearer \u{e9}"),
        header(&"x".repeat(4097)),
        json!({ "iss": "https://as.example" }),
        json!({ "aud": WEATHER }),
        json!({ "stream_id": "st-mine" }),
        json!({ "events_supported": [] }),
        json!({ "events_delivered": [] }),
        json!({ "min_verification_interval": 5 }),
        json!([]),
        json!("x"),
    ] {
        let answer = receivers.call(SERVER, "POST", "/streams").json(&body).await;
        answer.refused(400, "invalid_request");
    }
    for broken in [";{ broken", "", "{", "{}{}"] {
        let call = receivers.call(SERVER, "POST", "/streams");
        let answer = call.raw("application/json", broken).await;
        answer.refused(400, "invalid_request");
    }
    assert_eq!(
        receivers.call(SERVER, "GET", "/streams").await.ok(),
        json!([])
    );
}

#[tokio::test]
async fn the_test_switch_lets_pushes_go_to_this_machine() {
    let app = TestApp::with(|config| config.fetch.allow_private_addresses_for_tests = true).await;
    app.declare_weather(None).await;
    let receivers = Receivers::in_scene(app).await;
    let delivery = json!({ "method": PUSH, "endpoint_url": "http://127.0.0.1:8123/events" });
    let stream = receivers
        .created(SERVER, json!({ "delivery": delivery }))
        .await;
    assert_eq!(stream["delivery"], delivery);
}

#[tokio::test]
async fn where_nobody_has_listened_for_an_hour_there_is_room() {
    let app = TestApp::with(|config| config.events.streams_per_client = 4).await;
    app.declare_weather(None).await;
    let receivers = Receivers::in_scene(app).await;
    let push = json!({ "delivery": { "method": PUSH, "endpoint_url": "https://w.example/e" } });
    let pushed = id(&receivers.created(SERVER, push).await);
    let mut polled = Vec::new();
    for _ in 0..3 {
        polled.push(id(&receivers.created(SERVER, json!({})).await));
        receivers.app.advance(1);
    }
    let there = async |id: &str, expires: i64| {
        // The tokens of the scene have ended.
        let ask = receivers.app.ask(SERVER, &[("scope", "ssf.manage")]).await;
        let call = receivers
            .app
            .call("GET", &format!("/ssf/status?stream_id={id}"));
        let status = call.bearer(&ask.token()).await.status;
        receivers.app.advance(expires);
        status
    };
    let new = async || {
        let ask = receivers.app.ask(SERVER, &[("scope", "ssf.manage")]).await;
        let call = receivers
            .app
            .call("POST", "/ssf/streams")
            .bearer(&ask.token());
        call.json(&json!({})).await
    };
    receivers.app.advance(3000);
    assert_eq!(there(&polled[0], 590).await, 200);
    new().await.refused(403, "access_denied");
    receivers.app.advance(9);
    // The first was asked for since; the second was not.
    let created = id(&new().await.with(StatusCode::CREATED));
    let left: Vec<String> = receivers
        .app
        .tenant(None)
        .streams()
        .iter()
        .map(|s| s.id().to_owned())
        .collect();
    for id in [&pushed, &polled[0], &polled[2], &created] {
        assert!(left.contains(id), "{left:?}");
    }
    assert_eq!(left.len(), 4);
    let trail = receivers.app.admin("GET", "/audit?limit=1000").await.await;
    assert!(trail.text().contains("nobody listened"));
    // One that is pushed to is in use without a word of its receiver.
    receivers.app.advance(4000);
    for _ in 0..3 {
        new().await.with(StatusCode::CREATED);
    }
    new().await.refused(403, "access_denied");
    assert!(receivers.app.tenant(None).stream(&pushed).is_some());
}

#[tokio::test]
async fn a_receiver_has_several_streams_up_to_a_limit() {
    // AC-291
    let app = TestApp::with(|config| config.events.streams_per_client = 3).await;
    app.declare_weather(None).await;
    let receivers = Receivers::in_scene(app).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(receivers.created(SERVER, json!({})).await);
    }
    let urls: std::collections::BTreeSet<String> = all
        .iter()
        .map(|stream| stream["delivery"]["endpoint_url"].to_string())
        .collect();
    assert_eq!(urls.len(), 3);
    let beyond = receivers
        .call(SERVER, "POST", "/streams")
        .json(&json!({}))
        .await;
    beyond.refused(403, "access_denied");
    let read = receivers.call(SERVER, "GET", "/streams").await.ok();
    assert_eq!(read.as_array().unwrap().len(), 3);
    // Nobody else is concerned, and who deletes one may have another.
    receivers.created(MONITOR, json!({})).await;
    let path = format!("/streams?stream_id={}", id(&all[0]));
    receivers
        .call(SERVER, "DELETE", &path)
        .await
        .with(StatusCode::NO_CONTENT);
    receivers.created(SERVER, json!({})).await;
}

#[tokio::test]
async fn patch_changes_what_it_names_and_put_everything() {
    let receivers = Receivers::new().await;
    let body = json!({
        "delivery": push(Some(HEADER)),
        "events_requested": [SESSION_REVOKED, CREDENTIAL_CHANGE],
        "description": "Weather",
    });
    let created = receivers.created(SERVER, body).await;
    let id = id(&created);
    let send = async |method: &str, mut body: Value| {
        body["stream_id"] = json!(id);
        let answer = receivers
            .call(SERVER, method, "/streams")
            .json(&body)
            .await
            .ok();
        assert_eq!(receivers.read(SERVER, &id).await, answer);
        answer
    };

    let mut expected = created.clone();
    expected["description"] = json!("Wind");
    assert_eq!(
        send("PATCH", json!({ "description": "Wind" })).await,
        expected
    );
    assert_eq!(stored(&receivers, &id).as_deref(), Some(HEADER));

    let narrowed = send(
        "PUT",
        json!({
            "delivery": push(Some(HEADER)), "events_requested": [SESSION_REVOKED],
        }),
    )
    .await;
    assert_eq!(narrowed["events_delivered"], json!([SESSION_REVOKED]));
    assert_eq!(narrowed.get("description"), None);
    assert_eq!(stored(&receivers, &id).as_deref(), Some(HEADER));

    // A secret does not follow: a delivery is one member.
    let moved = json!({ "method": PUSH, "endpoint_url": "https://weather.example/other" });
    let answer = send("PATCH", json!({ "delivery": moved })).await;
    assert_eq!(answer["delivery"], moved);
    assert_eq!(stored(&receivers, &id), None);

    let bare = send("PUT", json!({})).await;
    assert_eq!(bare["delivery"]["method"], POLL);
    assert_eq!(bare["events_delivered"], json!([]));
    assert_eq!(bare.get("events_requested"), None);
}

#[tokio::test]
async fn changes_of_one_moment_follow_each_other() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let patch = async |description: &str| {
        let body = json!({ "stream_id": id, "description": description });
        receivers
            .call(SERVER, "PATCH", "/streams")
            .json(&body)
            .await
    };
    // The clock stands still.
    for description in ["one", "two", "three"] {
        assert_eq!(patch(description).await.ok()["description"], description);
    }
    let (left, right) = tokio::join!(patch("left"), patch("right"));
    assert!(matches!((left.status, right.status), (200, 200)));
    let before = receivers.app.count("stream.changed").await;
    let last = receivers.read(SERVER, &id).await["description"].clone();
    patch(last.as_str().unwrap()).await.ok();
    assert_eq!(receivers.app.count("stream.changed").await, before);
}

#[tokio::test]
async fn what_the_transmitter_says_may_be_repeated_and_not_contradicted() {
    // AC-293
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let shown = receivers.read(SERVER, &id).await;
    for method in ["PATCH", "PUT"] {
        for (member, value) in [
            ("iss", json!("https://other.example")),
            ("aud", json!("https://calendar.example/mcp")),
            ("aud", json!([WEATHER, "https://calendar.example/mcp"])),
            ("events_supported", json!([SESSION_REVOKED])),
            ("events_delivered", json!([])),
            ("min_verification_interval", json!(1)),
            ("inactivity_timeout", json!(60)),
            (
                "delivery",
                json!({ "method": POLL, "endpoint_url": "https://as.example/ssf/poll/x" }),
            ),
        ] {
            let body = json!({ "stream_id": id, member: value });
            let answer = receivers.call(SERVER, method, "/streams").json(&body).await;
            answer.refused(400, "invalid_request");
        }
        // As it was read, in whatever order and form.
        let mut whole = shown.clone();
        whole["aud"] = json!([WEATHER]);
        whole["events_delivered"].as_array_mut().unwrap().reverse();
        let answer = receivers
            .call(SERVER, method, "/streams")
            .json(&whole)
            .await;
        assert_eq!(answer.ok(), shown);
        let answer = receivers
            .call(SERVER, method, "/streams")
            .json(&json!({}))
            .await;
        answer.refused(400, "invalid_request");
        let unknown = json!({ "stream_id": "st-unknown", "iss": "https://other.example" });
        let answer = receivers
            .call(SERVER, method, "/streams")
            .json(&unknown)
            .await;
        answer.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_deleted_stream_is_gone_with_what_waited_for_it() {
    // AC-292
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    receivers.end_agent().await;
    assert_eq!(receivers.kinds(&id).await, [SESSION_REVOKED]);
    let path = format!("/streams?stream_id={id}");
    let answer = receivers.call(SERVER, "DELETE", &path).await;
    answer.with(StatusCode::NO_CONTENT);
    assert!(answer.body.is_empty());
    for (method, path) in [
        ("GET", &*path),
        ("DELETE", &path),
        ("GET", &format!("/status?stream_id={id}")),
    ] {
        receivers
            .call(SERVER, method, path)
            .await
            .refused(404, "not_found");
    }
    let none = receivers.call(SERVER, "DELETE", "/streams").await;
    none.refused(400, "invalid_request");
    let twice = format!("{path}&stream_id={id}");
    receivers
        .call(SERVER, "GET", &twice)
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn streams_are_there_after_a_restart() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let before = receivers.read(SERVER, &id).await;
    let app = receivers.app.restart().await;
    let token = app.ask(SERVER, &[("scope", "ssf.read")]).await.token();
    let path = format!("/ssf/streams?stream_id={id}");
    assert_eq!(app.get(&path).bearer(&token).await.ok(), before);
}

#[tokio::test]
async fn nobody_keeps_an_answer() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    for (method, path) in [
        ("GET", "/streams".to_owned()),
        ("GET", format!("/status?stream_id={id}")),
        ("DELETE", format!("/streams?stream_id={id}")),
    ] {
        let answer = receivers.call(SERVER, method, &path).await;
        assert_eq!(
            answer.header("cache-control"),
            Some("no-store"),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_stream_is_there_while_it_is_changed() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let (tenant, over) = (receivers.app.tenant(None), Arc::new(AtomicBool::new(false)));
    let looking = std::thread::spawn({
        let (id, over) = (id.clone(), over.clone());
        move || {
            while !over.load(Ordering::Relaxed) {
                assert!(tenant.stream(&id).is_some());
            }
        }
    });
    for number in 0..300 {
        let body = json!({ "stream_id": id, "description": number.to_string() });
        let call = receivers.call(SERVER, "PATCH", "/streams").json(&body);
        call.await.ok();
    }
    over.store(true, Ordering::Relaxed);
    looking.join().unwrap();
}
