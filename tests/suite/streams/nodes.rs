//! Two nodes on one database: whoever a receiver asks, and whoever pushes.

use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{Receiver, event, polled, push::Target, pushed};
use crate::support::TestApp;

/// The same receiver at another node.
fn at<'a>(app: &'a TestApp, receiver: &Receiver<'_>) -> Receiver<'a> {
    Receiver {
        app,
        client: receiver.client.clone(),
        stream: receiver.stream.clone(),
    }
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn either_node_serves_a_poll_and_both_in_one_order() {
    let app = TestApp::weather().await;
    let other = app.another_node("2").await;
    let here = Receiver::of(&app, "weather", polled()).await;
    let there = at(&other, &here);
    let token = there.token().await;
    let nothing = json!({});
    let poll = there.call(&token, &nothing).into_future();
    let end = async {
        sleep(Duration::from_millis(100)).await;
        app.end(json!({ "client": "agent" })).await
    };
    let (told, _) = tokio::join!(timeout(Duration::from_secs(5), poll), end);
    assert_eq!(super::sets(&told.unwrap().ok()).len(), 1);
    other.end(json!({ "client": "agent" })).await;
    app.end(json!({ "client": "agent" })).await;
    // What the other has committed arrives here in a moment.
    let both = async {
        loop {
            let (a, b) = (here.waiting().await, there.waiting().await);
            if a.len() == 3 && b.len() == 3 {
                return (a, b);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let (a, b) = timeout(Duration::from_secs(10), both).await.unwrap();
    assert_eq!(a, b);
    // Taken over from one is taken over from both.
    here.take().await;
    assert!(there.waiting().await.is_empty());
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn one_pushes_and_the_other_takes_over() {
    let app = TestApp::with(|config| {
        config.fetch.allow_private_addresses_for_tests = true;
    })
    .await;
    app.declare_weather(None).await;
    let other = app.another_node("2").await;
    let target = Target::start(&[]).await;
    let _receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    for node in [&app, &other] {
        node.end(json!({ "client": "agent" })).await;
    }
    let came = target.wait(2).await;
    assert_ne!(came[0].1["jti"], came[1].1["jti"]);
    app.stop().await;
    other.end(json!({ "client": "agent" })).await;
    // Until then whoever stopped might come back.
    other.advance(10);
    target.wait(3).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(target.count(), 3);
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn whichever_node_stops_a_stream_its_receiver_is_told_once() {
    let app = TestApp::with(|config| {
        config.fetch.allow_private_addresses_for_tests = true;
    })
    .await;
    app.declare_weather(None).await;
    let other = app.another_node("2").await;
    let target = Target::start(&[]).await;
    let receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    let mut expected = Vec::new();
    for node in [&app, &other] {
        // What the one has committed arrives at the other in a moment.
        sleep(Duration::from_millis(500)).await;
        let receiver = at(node, &receiver);
        for (verb, status) in [("pause", "paused"), ("enable", "enabled")] {
            receiver.is_told_to(verb).await;
            expected.push(status);
            let came = target.wait(expected.len()).await;
            let told = came
                .iter()
                .map(|(_, claims, _)| event(claims).2["status"].clone());
            assert_eq!(told.collect::<Vec<_>>(), expected);
        }
    }
    sleep(Duration::from_millis(500)).await;
    assert_eq!(target.count(), expected.len());
}
