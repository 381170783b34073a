//! RFC 8935

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::post,
};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::Notify,
    time::{Instant, timeout},
};

use writ::store::{Change, Whose, progress::Step};

use super::{Receiver, SERVER, SESSION_REVOKED, STREAM_UPDATED, event, pushed};
use crate::support::{TestApp, WEATHER, parts, secret_of};

/// What a receiver does with a push.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Status(u16),
    Err(&'static str),
    Wait(u8),
    Until(u8),
    Never,
}

/// A server that takes pushes, on loopback.
#[derive(Clone, Default)]
pub(super) struct Target {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    came: Arc<Mutex<Vec<(HeaderMap, Value, Instant)>>>,
    news: Arc<Notify>,
    pub(super) url: String,
}

impl Target {
    pub(super) async fn start(replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Self {
            replies: Arc::new(Mutex::new(replies.iter().copied().collect())),
            url: format!("http://{}/events", listener.local_addr().unwrap()),
            ..Self::default()
        };
        let router = Router::new()
            .route("/events", post(Self::take))
            .with_state(target.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        target
    }

    async fn take(State(target): State<Self>, headers: HeaderMap, set: Bytes) -> Response {
        let claims = parts(std::str::from_utf8(&set).unwrap()).1;
        target
            .came
            .lock()
            .unwrap()
            .push((headers, claims, Instant::now()));
        target.news.notify_one();
        let reply = target.replies.lock().unwrap().pop_front();
        match reply.unwrap_or(Reply::Status(202)) {
            Reply::Status(status) => http::StatusCode::from_u16(status).unwrap().into_response(),
            Reply::Wait(seconds) => {
                let headers = [("retry-after", seconds.to_string())];
                (http::StatusCode::TOO_MANY_REQUESTS, headers).into_response()
            }
            Reply::Until(seconds) => {
                let moment = |seconds| format!("Sun, 22 Nov 2026 10:00:{seconds:02} GMT");
                let headers = [("date", moment(0)), ("retry-after", moment(seconds))];
                (http::StatusCode::SERVICE_UNAVAILABLE, headers).into_response()
            }
            Reply::Err(err) => {
                let body = axum::Json(json!({ "err": err, "description": "no" }));
                (http::StatusCode::BAD_REQUEST, body).into_response()
            }
            Reply::Never => std::future::pending().await,
        }
    }

    /// Waits for so many pushes, and says what they were.
    pub(super) async fn wait(&self, count: usize) -> Vec<(HeaderMap, Value, Instant)> {
        let enough = async {
            while self.came.lock().unwrap().len() < count {
                self.news.notified().await;
            }
        };
        let came = timeout(Duration::from_secs(20), enough).await;
        let all = self.came.lock().unwrap().clone();
        assert!(came.is_ok(), "{} of {count} came", all.len());
        all
    }

    pub(super) fn count(&self) -> usize {
        self.came.lock().unwrap().len()
    }
}

async fn scene() -> TestApp {
    let app = TestApp::with(|config| {
        config.fetch.allow_private_addresses_for_tests = true;
        config.events.push_timeout = 1;
    })
    .await;
    app.declare_weather(None).await;
    app
}

fn names(came: &[(HeaderMap, Value, Instant)]) -> Vec<&str> {
    came.iter()
        .map(|(_, claims, _)| claims["jti"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_set_is_posted_as_the_clause_says_and_once() {
    let app = scene().await;
    let target = Target::start(&[]).await;
    let _receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    app.end(json!({ "client": "agent" })).await;
    let came = target.wait(1).await;
    let (headers, claims, _) = &came[0];
    assert_eq!(headers["content-type"], "application/secevent+jwt");
    assert_eq!(headers["accept"], "application/json");
    assert!(!headers.contains_key("authorization") && !headers.contains_key("cookie"));
    assert_eq!(event(claims).0["application"]["sub"], "agent");
    app.end(json!({ "client": "agent" })).await;
    let came = target.wait(2).await;
    assert_ne!(came[0].1["jti"], came[1].1["jti"]);
    // After a restart nothing comes again.
    let app = app.restart().await;
    app.end(json!({ "client": "agent" })).await;
    assert_eq!(target.wait(3).await.len(), 3);
}

#[tokio::test]
async fn what_fails_is_sent_again_under_its_name_and_in_order() {
    let app = scene().await;
    let replies = [
        Reply::Status(500),
        Reply::Never,
        Reply::Status(302),
        Reply::Err("authentication_failed"),
    ];
    let target = Target::start(&replies).await;
    let _receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    app.end(json!({ "client": "agent" })).await;
    app.end(json!({ "client": "agent" })).await;
    let came = target.wait(6).await;
    let names = names(&came);
    assert!(names[..5].iter().all(|name| *name == names[0]), "{names:?}");
    assert_ne!(names[5], names[0]);
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_sent_again() {
    let app = scene().await;
    let target = Target::start(&[Reply::Err("invalid_audience")]).await;
    let _receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    app.end(json!({ "client": "agent" })).await;
    app.end(json!({ "client": "agent" })).await;
    let came = target.wait(2).await;
    assert_ne!(came[0].1["jti"], came[1].1["jti"]);
}

#[tokio::test]
async fn a_receiver_may_ask_to_be_left_alone() {
    let app = scene().await;
    let target = Target::start(&[Reply::Wait(2), Reply::Until(3)]).await;
    let _receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    app.end(json!({ "client": "agent" })).await;
    let came = target.wait(3).await;
    assert!(came[1].2 - came[0].2 >= Duration::from_secs(2));
    assert!(came[2].2 - came[1].2 >= Duration::from_secs(3));
}

#[tokio::test]
async fn a_receiver_that_never_answers_delays_no_other() {
    let app = scene().await;
    let dead = Target::start(&[Reply::Never; 64]).await;
    let quick = Target::start(&[]).await;
    let _dead = Receiver::of(&app, "calendar", pushed(&dead.url)).await;
    let _quick = Receiver::of(&app, "weather", pushed(&quick.url)).await;
    app.end(json!({ "client": "agent" })).await;
    dead.wait(1).await;
    app.end(json!({ "client": "agent" })).await;
    quick.wait(2).await;
    assert_eq!(dead.count(), 1);
}

#[tokio::test]
async fn what_a_crash_interrupts_is_sent_afterwards() {
    let app = scene().await;
    let target = Target::start(&[Reply::Never]).await;
    let _receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    app.end(json!({ "client": "agent" })).await;
    target.wait(1).await;
    let _app = app.restart().await;
    let came = target.wait(2).await;
    assert_eq!(came[0].1["jti"], came[1].1["jti"]);
}

#[tokio::test]
async fn a_node_of_another_name_goes_on() {
    let app = scene().await;
    let target = Target::start(&[]).await;
    let _receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    app.end(json!({ "client": "agent" })).await;
    target.wait(1).await;
    let renamed = |config: &mut writ::config::Config| config.storage.node = "renamed".into();
    let app = app.restart_with(renamed).await;
    // Where there may be other nodes, the old one might come back until then.
    app.advance(10);
    app.end(json!({ "client": "agent" })).await;
    target.wait(2).await;
}

#[tokio::test]
async fn an_ended_tenants_receiver_hears_nothing_more_also_not_of_the_next_one_of_its_name() {
    let app = scene().await;
    let told = async |beta: Value| {
        app.apply(json!({ "tenants": [beta] })).await;
        let end = Change::EndGrants {
            tenant: "beta".into(),
            whose: Whose::All,
        };
        app.commit(vec![end]).await.unwrap();
    };
    let target = Target::start(&[Reply::Status(503); 2]).await;
    let weather = json!({
        "id": "weather", "resource": WEATHER, "tools": [{ "name": "forecast" }],
        "stream": { "delivery": pushed(&target.url) },
    });
    let server = json!({
        "client_id": SERVER, "client_secret": secret_of(SERVER), "serves": "weather",
    });
    told(json!({ "name": "beta", "resources": [weather], "clients": [server] })).await;
    target.wait(2).await;
    let gone = app.admin("DELETE", "/tenants/beta").await.await;
    assert_eq!(gone.status, 204);
    told(json!({ "name": "beta" })).await;
    // The third attempt follows the second after a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(target.count(), 2);
}

#[tokio::test]
async fn a_receiver_that_is_let_in_again_is_told_at_once() {
    let app = scene().await;
    let target = Target::start(&[]).await;
    let receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    app.end(json!({ "client": "agent" })).await;
    target.wait(1).await;
    for to in ["disable", "enable"] {
        let path = format!("/clients/{}/{to}", receiver.client);
        app.admin("POST", &path).await.await.ok();
        // A courier that is to end has ended.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    app.end(json!({ "client": "agent" })).await;
    // Its own end among them.
    target.wait(3).await;
}

#[tokio::test]
async fn a_stream_that_nobody_takes_from_is_paused_and_keeps_what_it_has() {
    let app = scene().await;
    let target = Target::start(&[Reply::Status(500); 9]).await;
    let receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    app.token("agent", WEATHER, "tool:forecast").await;
    app.end(json!({ "subject": "agent" })).await;
    target.wait(2).await;
    app.advance(86_400 + 1);
    let paused = async {
        while app
            .tenant(None)
            .stream(&receiver.stream)
            .unwrap()
            .is_enabled()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), paused).await.unwrap();
    let audit = app.admin("GET", "/audit").await.await.text();
    assert!(
        audit.contains("stream.changed") && audit.contains("paused"),
        "{audit}"
    );
}

/// What the pushes said: types, and the status where one was told.
fn said(came: &[(HeaderMap, Value, Instant)]) -> Vec<(&str, Option<&str>)> {
    let events = came.iter().map(|(_, claims, _)| event(claims));
    events
        .map(|(_, uri, members)| (uri, members["status"].as_str()))
        .collect()
}

#[tokio::test]
async fn who_is_stopped_hears_that_and_nothing_else() {
    let app = scene().await;
    let target = Target::start(&[]).await;
    let receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    // Of what it does itself it is told nothing.
    for status in ["paused", "disabled", "enabled"] {
        receiver.set(status).await;
    }
    assert_eq!(target.count(), 0);
    receiver.is_told_to("pause").await;
    let mut expected = vec![(STREAM_UPDATED, Some("paused"))];
    assert_eq!(said(&target.wait(1).await), expected);
    app.end(json!({ "client": "agent" })).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(target.count(), 1);
    // It does not come again with what was held.
    receiver.is_told_to("enable").await;
    expected.extend([(SESSION_REVOKED, None), (STREAM_UPDATED, Some("enabled"))]);
    assert_eq!(said(&target.wait(3).await), expected);
    receiver.is_told_to("disable").await;
    expected.push((STREAM_UPDATED, Some("disabled")));
    assert_eq!(said(&target.wait(4).await), expected);
    app.end(json!({ "client": "agent" })).await;
    receiver.is_told_to("enable").await;
    expected.push((STREAM_UPDATED, Some("enabled")));
    assert_eq!(said(&target.wait(5).await), expected);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(target.count(), 5);
}

#[tokio::test]
async fn who_did_not_take_that_it_is_stopped_is_told_when_it_goes_on() {
    let app = scene().await;
    let target = Target::start(&[Reply::Status(503)]).await;
    let receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    receiver.is_told_to("pause").await;
    receiver.is_told_to("enable").await;
    let came = target.wait(3).await;
    let statuses = ["paused", "paused", "enabled"];
    assert_eq!(said(&came), statuses.map(|s| (STREAM_UPDATED, Some(s))));
    assert_eq!(names(&came)[0], names(&came)[1]);
}

#[tokio::test]
async fn who_takes_nothing_it_is_sent_hears_that_it_is_paused() {
    let app = scene().await;
    let target = Target::start(&[Reply::Err("invalid_audience"); 3]).await;
    let _receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    for _ in 0..3 {
        app.end(json!({ "client": "agent" })).await;
    }
    let came = target.wait(4).await;
    assert_eq!(said(&came)[3], (STREAM_UPDATED, Some("paused")));
}

#[tokio::test]
async fn what_was_thrown_away_does_not_come_when_the_stream_is_enabled_again() {
    let app = scene().await;
    let target = Target::start(&[Reply::Status(503), Reply::Status(503)]).await;
    let receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    app.end(json!({ "client": "agent" })).await;
    target.wait(2).await;
    // In one moment, as another node may hear of it.
    let tenant = app.tenant(None);
    let before = tenant.stream(&receiver.stream).unwrap().row().clone();
    let after = |status: &str, updated_at: i64| entity::stream::Model {
        status: status.to_owned(),
        updated_at: before.updated_at + updated_at,
        ..before.clone()
    };
    let put = |row: entity::stream::Model, before: entity::stream::Model| Change::PutStream {
        row,
        before: Some(Box::new(before)),
    };
    let thrown_away = Step {
        tenant: before.tenant.clone(),
        stream: before.id.clone(),
        position: app.state.registry.signals().head(),
        settled: std::collections::BTreeSet::new(),
    };
    let changes = vec![
        put(after("disabled", 1), before.clone()),
        Change::Progress(vec![thrown_away]),
        put(after("enabled", 2), after("disabled", 1)),
    ];
    app.commit(changes).await.unwrap();
    app.end(json!({ "client": "agent" })).await;
    let came = target.wait(3).await;
    let names = names(&came);
    assert_eq!(names[0], names[1]);
    assert_ne!(names[1], names[2]);
}

#[tokio::test]
async fn the_header_that_a_receiver_gave_goes_with_every_push_and_with_no_other_url() {
    let app = scene().await;
    let (target, other) = (Target::start(&[]).await, Target::start(&[]).await);
    let mut delivery = pushed(&target.url);
    delivery["authorization_header"] = json!("Bearer of-the-receiver");
    let receiver = Receiver::of(&app, "weather", delivery).await;
    app.end(json!({ "client": "agent" })).await;
    let came = target.wait(1).await;
    assert_eq!(came[0].0["authorization"], "Bearer of-the-receiver");
    let body = json!({ "stream_id": receiver.stream, "delivery": pushed(&other.url) });
    let token = receiver.token().await;
    let call = app.call("PATCH", "/ssf/streams").bearer(&token);
    call.json(&body).await.ok();
    app.end(json!({ "client": "agent" })).await;
    let came = other.wait(1).await;
    assert!(!came[0].0.contains_key("authorization"));
    assert_eq!(target.count(), 1);
}
