//! Server-sent events.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Receiver, polled, pushed};
use crate::support::{TestApp, parts};

/// An open feed.
struct Feed {
    body: Body,
    text: String,
    /// Whether it said that this was all.
    is_whole: bool,
}

impl Feed {
    async fn open(receiver: &Receiver<'_>, query: &str, last: Option<&str>) -> Self {
        Self::with(receiver, &receiver.token().await, query, last).await
    }

    async fn with(receiver: &Receiver<'_>, token: &str, query: &str, last: Option<&str>) -> Self {
        let path = format!("/ssf/feed?stream_id={}{query}", receiver.stream);
        let mut call = receiver.app.get(&path).bearer(token);
        if let Some(last) = last {
            call = call.header("last-event-id", last);
        }
        let answer = call.open().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            body: answer.into_body(),
            text: String::new(),
            is_whole: false,
        }
    }

    /// Name and claims of the next SET; nothing at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let lines = event.lines();
                    lines.filter_map(|line| line.strip_prefix(name)).next()
                };
                if let (Some(id), Some(set)) = (field("id: "), field("data: ")) {
                    assert_eq!(field("event: "), Some("set"));
                    return Some((id.to_owned(), parts(set).1));
                }
                self.is_whole |= field("event: ") == Some("end");
                continue;
            }
            let frame = timeout(Duration::from_secs(10), self.body.frame())
                .await
                .unwrap();
            let data = frame?.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// Whether nothing comes for a moment.
    async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(150), self.next())
            .await
            .is_err()
    }
}

#[tokio::test]
async fn it_tells_what_waits_and_what_comes_and_resumes() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    app.end(json!({ "client": "agent" })).await;
    let mut feed = Feed::open(&receiver, "", None).await;
    let (first, claims) = feed.next().await.unwrap();
    assert_eq!(claims["jti"], first);
    app.end(json!({ "client": "agent" })).await;
    let (second, _) = feed.next().await.unwrap();
    assert!(feed.is_quiet().await);
    // Nothing was acknowledged: another one begins from the same place.
    let mut again = Feed::open(&receiver, "", None).await;
    assert_eq!(again.next().await.unwrap().0, first);
    let mut resumed = Feed::open(&receiver, "", Some(&first)).await;
    assert_eq!(resumed.next().await.unwrap().0, second);
    // And that holds for polls.
    assert_eq!(receiver.waiting().await.len(), 1);
    let mut nonsense = Feed::open(&receiver, "", Some("000000000002.nonsense")).await;
    assert_eq!(nonsense.next().await.unwrap().0, second);
}

#[tokio::test]
async fn it_replays_the_past() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    app.end(json!({ "client": "agent" })).await;
    app.advance(600);
    app.end(json!({ "client": "agent" })).await;
    assert_eq!(receiver.take().await.len(), 2);
    let mut all = Feed::open(&receiver, "&replay=3600", None).await;
    let first = all.next().await.unwrap().0;
    assert_ne!(all.next().await.unwrap().0, first);
    let mut recent = Feed::open(&receiver, "&replay=60", None).await;
    assert_ne!(recent.next().await.unwrap().0, first);
    assert!(recent.is_quiet().await);
    let mut none = Feed::open(&receiver, "", None).await;
    assert!(none.is_quiet().await);
}

#[tokio::test]
async fn what_waits_is_told_however_short_the_past_that_is_replayed() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    for _ in 0..3 {
        app.end(json!({ "client": "agent" })).await;
    }
    let waiting = receiver.waiting().await;
    let [first, second, third] = [0, 1, 2].map(|at: usize| waiting[at].0.clone());
    receiver
        .poll(&json!({ "ack": [second], "maxEvents": 0 }))
        .await
        .ok();
    app.advance(600);
    app.end(json!({ "client": "agent" })).await;
    let mut feed = Feed::open(&receiver, "&replay=60", None).await;
    assert_eq!(feed.next().await.unwrap().0, first);
    assert_eq!(feed.next().await.unwrap().0, third);
    let (last, _) = feed.next().await.unwrap();
    assert!(feed.is_quiet().await);
    // So whoever resumes after the last one has had all that is acknowledged with it.
    let mut resumed = Feed::open(&receiver, "", Some(&last)).await;
    assert!(resumed.is_quiet().await);
    assert!(receiver.waiting().await.is_empty());
}

#[tokio::test]
async fn of_a_pushed_stream_it_only_replays() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", pushed("https://weather.example/events")).await;
    app.end(json!({ "client": "agent" })).await;
    let mut feed = Feed::open(&receiver, "&replay=60", None).await;
    assert!(feed.next().await.is_some());
    assert!(feed.next().await.is_none());
    assert!(feed.is_whole);
    // Not of one that was cut short.
    let mut feed = Feed::open(&receiver, "&replay=60", None).await;
    receiver.is_told_to("pause").await;
    assert!(feed.next().await.is_none() && !feed.is_whole);
    receiver.is_told_to("enable").await;
    let path = format!("/ssf/feed?stream_id={}", receiver.stream);
    let answer = app.get(&path).bearer(&receiver.token().await).await;
    answer.refused(400, "invalid_request");
}

#[tokio::test]
async fn it_ends_with_its_stream_and_its_receiver() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let mut feed = Feed::open(&receiver, "", None).await;
    assert!(feed.is_quiet().await);
    let path = format!("/clients/{}", receiver.client);
    assert_eq!(app.admin("DELETE", &path).await.await.status, 204);
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn of_too_many_the_oldest_ends() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let mut feeds = Vec::new();
    for _ in 0..16 {
        feeds.push(Feed::open(&receiver, "", None).await);
    }
    // One that is gone counts no more.
    drop(feeds.pop());
    feeds.push(Feed::open(&receiver, "", None).await);
    assert!(feeds[0].is_quiet().await);
    let mut last = Feed::open(&receiver, "", None).await;
    assert!(feeds[0].next().await.is_none());
    app.end(json!({ "client": "agent" })).await;
    for feed in feeds.iter_mut().skip(1).chain([&mut last]) {
        assert!(feed.next().await.is_some());
    }
}

#[tokio::test]
async fn it_ends_with_its_token() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let token = receiver.token().await;
    let mut feed = Feed::with(&receiver, &token, "", None).await;
    assert!(feed.is_quiet().await);
    app.end(json!({ "token": token })).await;
    app.end(json!({ "client": "agent" })).await;
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn what_is_asked_for_has_to_be_said() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let token = receiver.token().await;
    for query in ["", "?stream_id", "?replay=5", "?stream_id=a&replay=x"] {
        let answer = app.get(&format!("/ssf/feed{query}")).bearer(&token).await;
        answer.refused(
            if query == "?stream_id" { 404 } else { 400 },
            if query == "?stream_id" {
                "not_found"
            } else {
                "invalid_request"
            },
        );
    }
    let unknown = app.get("/ssf/feed?stream_id=unknown");
    unknown.bearer(&token).await.refused(404, "not_found");
}
