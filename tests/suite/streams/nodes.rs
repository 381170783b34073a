//! Two nodes on one database: whoever a receiver asks, and whoever pushes.

use std::{collections::HashSet, time::Duration};

use sea_orm::ConnectionTrait as _;
use serde_json::json;
use tokio::time::{sleep, timeout};
use writ::{
    config::Config,
    store::{Change, Whose, progress},
};

use super::{Receiver, event, polled, push::Target, pushed};
use crate::support::{TestApp, WEATHER};

/// The same receiver at another node.
fn at<'a>(app: &'a TestApp, receiver: &Receiver<'_>) -> Receiver<'a> {
    Receiver {
        app,
        client: receiver.client.clone(),
        stream: receiver.stream.clone(),
    }
}

/// Two nodes, and a place that they push to.
async fn pushing() -> (TestApp, TestApp, Target) {
    let allow = |config: &mut Config| config.fetch.allow_private_addresses_for_tests = true;
    let app = TestApp::with(allow).await;
    app.declare_weather(None).await;
    let other = app.another_node("2").await;
    (app, other, Target::start(&[]).await)
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
async fn an_end_reaches_what_the_other_node_issues_until_it_hears() {
    let app = TestApp::weather().await;
    let other = app.another_node("2").await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let agent = json!({ "client": "agent" });
    // Each has looked who is there.
    other.end(agent.clone()).await;
    let told = timeout(Duration::from_secs(5), async {
        while receiver.waiting().await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
        app.end(agent).await;
        receiver.take().await
    });
    let told = told.await.unwrap();
    let [.., set] = told.as_slice() else {
        panic!("nothing told")
    };
    let (_, _, members) = event(set);
    assert!(members["event_timestamp"].as_i64() > set["iat"].as_i64());
    // One token is that token, whenever it was issued.
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    app.revoke("agent", &token).await;
    let [set] = &receiver.take().await[..] else {
        panic!("one is told")
    };
    let (_, _, members) = event(set);
    assert_eq!(members["event_timestamp"], set["iat"]);
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn one_pushes_and_the_other_takes_over() {
    let (app, other, target) = pushing().await;
    let receiver = Receiver::of(&app, "weather", pushed(&target.url)).await;
    for node in [&app, &other] {
        node.end(json!({ "client": "agent" })).await;
    }
    let came = target.wait(2).await;
    assert_ne!(came[0].1["jti"], came[1].1["jti"]);
    // What is not known to be taken when its node stops comes again.
    let taken = async || {
        let step = progress::of(&app.state.db, "default", &receiver.stream).await;
        step.unwrap().unwrap().position == app.state.registry.signals().head()
    };
    while !taken().await {
        sleep(Duration::from_millis(5)).await;
    }
    app.stop().await;
    other.end(json!({ "client": "agent" })).await;
    // Until then whoever stopped might come back.
    other.advance(10);
    // Whoever takes over may send again what had arrived; it bears the same name.
    let three = async {
        loop {
            let came = target.wait(1).await;
            let names: HashSet<String> = came
                .iter()
                .map(|(_, set, _)| set["jti"].to_string())
                .collect();
            if names.len() == 3 {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), three).await.unwrap();
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn what_is_gone_before_it_is_heard_of_holds_nothing_up() {
    let app = TestApp::weather().await;
    app.apply(json!({ "tenants": [{ "name": "beta" }] })).await;
    let other = app.another_node("2").await;
    let here = Receiver::of(&app, "weather", polled()).await;
    let there = at(&other, &here);
    let head = app.state.registry.signals().head();
    // What a tenant was told in the moment of its end.
    let end = vec![
        Change::EndGrants {
            tenant: "beta".into(),
            whose: Whose::All,
        },
        Change::RemoveTenant("beta".into()),
    ];
    app.commit(end).await.unwrap();
    // What has expired while nobody listened.
    let sql = "UPDATE signal_head SET seq = seq + 1; INSERT INTO node (name, seq) VALUES ('3', 1); \
               INSERT INTO outbox (node, seq, tenant, kind, subject, at) \
               SELECT '3', 1, 'default', 'signal', seq::text, 0 FROM signal_head";
    app.state.db.execute_unprepared(sql).await.unwrap();
    app.end(json!({ "client": "agent" })).await;
    let both = async {
        while here.waiting().await.is_empty() || there.waiting().await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), both).await.unwrap();
    for node in [&app, &other] {
        let signals = node.state.registry.signals();
        assert_eq!((signals.head(), signals.early()), (head + 3, 0));
    }
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn whichever_node_stops_a_stream_its_receiver_is_told_once() {
    let (app, other, target) = pushing().await;
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
