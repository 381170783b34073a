//! The events that are wanted, of all nodes, in the order of time.

use serde_json::{Value, json};
use writ::audit::Event;

use crate::{
    grant_types::token_exchange::chain,
    support::{CALENDAR, NOW, TestApp, WEATHER},
};

fn who(events: &[Value]) -> Vec<&str> {
    let members = events.iter().map(|e| e["event"]["client_id"].as_str());
    members.map(Option::unwrap_or_default).collect()
}

#[tokio::test]
async fn an_agent_is_found_as_client_and_as_actor() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let subject = app.token("agent", WEATHER, "tool:forecast").await;
    app.exchange("helper", &subject, &[]).await.ok();
    let events = app.events("agent=helper&kind=token.*").await;
    assert_eq!(who(&events), ["helper"]);
    assert_eq!(events[0]["event"]["sub"], "agent");
    // An actor deep in the chain, of an event that another client asked for.
    let actor = |sub: &str, act: Option<Value>| match act {
        Some(act) => json!({ "sub": sub, "act": act }),
        None => json!({ "sub": sub }),
    };
    let act = actor("first", Some(actor("second", Some(actor("third", None)))));
    let act = serde_json::from_value(act).unwrap();
    let event = Event {
        client_id: Some("first"),
        sub: Some("person"),
        act: Some(&act),
        ..Event::default()
    };
    app.other_node([(NOW * 1000, event)].into_iter()).await;
    for agent in ["first", "second", "third"] {
        assert_eq!(
            who(&app.events(&format!("agent={agent}")).await),
            ["first"],
            "{agent}"
        );
    }
    assert_eq!(app.events("agent=person").await.len(), 0);
    assert_eq!(who(&app.events("subject=person").await), ["first"]);
    assert_eq!(app.events("subject=third").await.len(), 0);
}

#[tokio::test]
async fn events_are_found_by_resource_kind_and_time() {
    let app = TestApp::weather().await;
    app.token("agent", WEATHER, "tool:forecast").await;
    app.advance(100);
    app.token("agent", CALENDAR, "tool:list").await;
    for name in ["weather", WEATHER] {
        let events = app.events(&format!("resource={name}&kind=token.*")).await;
        assert_eq!(events.len(), 1, "{name}");
        assert_eq!(events[0]["event"]["aud"], WEATHER);
    }
    assert!(app.events("resource=weather").await.len() > 1);
    let kinds = |events: &[Value]| -> Vec<String> {
        let mut kinds: Vec<_> = events
            .iter()
            .map(|e| e["kind"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    assert_eq!(
        kinds(&app.events("kind=client.*").await),
        ["client.changed"]
    );
    assert_eq!(
        kinds(&app.events("kind=token.issued").await),
        ["token.issued"]
    );
    assert_eq!(app.events("kind=token").await.len(), 0);
    // The moment itself is in `since` and not in `until`.
    let moment = "2027-01-15T08:01:40Z";
    let later = app.events(&format!("since={moment}&agent=agent")).await;
    let earlier = app.events(&format!("until={moment}&agent=agent")).await;
    assert_eq!((later.len(), earlier.len()), (1, 1));
    assert_eq!(later[0]["event"]["aud"], CALENDAR);
    assert_eq!(earlier[0]["event"]["aud"], WEATHER);
}

#[tokio::test]
async fn a_run_is_found_by_its_trace_id_and_text_is_taken_as_it_is() {
    let app = TestApp::new().await;
    for id in ["a%c", "abc", "a_c", "a\"c", "a\\c"] {
        let event = Event {
            client_id: Some(id),
            ..Event::default()
        };
        // Each is a chain of its own, written over the one before.
        app.sql(
            "DELETE FROM audit_event WHERE node = '2'; DELETE FROM audit_head WHERE node = '2'",
        )
        .await;
        app.other_node([(1, event)].into_iter()).await;
        let found = async |text: &str| app.events(&format!("agent={text}")).await.len();
        let encoded: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        assert_eq!(found(&encoded).await, 1, "{id}");
        for other in ["a%25c", "abc", "a_c", "a", "%25", "ABC"] {
            let same = other.replace("%25", "%") == id;
            assert_eq!(found(other).await, usize::from(same), "{other} for {id}");
        }
    }
}

#[tokio::test]
async fn nodes_are_merged_in_the_order_of_time_and_a_cursor_misses_nothing() {
    let app = TestApp::new().await;
    let ours = app
        .number("SELECT max(seq) FROM audit_event WHERE node = '1'")
        .await;
    // Before, between and after what this node has written.
    let times = [1, 2, NOW * 1000, NOW * 1000 + 500_000];
    app.other_node(times.into_iter().map(|at| (at, Event::default())))
        .await;
    let token = app.admin_token(None, "writ:audit").await;
    let (mut path, mut seen, mut pages) = ("/admin/audit?limit=2".to_owned(), Vec::new(), 0);
    loop {
        let answer = app.get(&path).bearer(&token).await;
        let link = answer.header("link").unwrap().to_owned();
        for event in answer.ok().as_array().unwrap() {
            let place = (event["node"].to_string(), event["seq"].as_i64().unwrap());
            seen.push((event["at"].as_i64().unwrap(), place));
        }
        pages += 1;
        let target = link.split(['<', '>']).nth(1).unwrap();
        target
            .strip_prefix(&app.issuer)
            .unwrap()
            .clone_into(&mut path);
        if link.contains("monitor") {
            break;
        }
    }
    let mut sorted = seen.clone();
    sorted.sort_by_key(|(at, _)| *at);
    assert_eq!(seen, sorted);
    let mut places: Vec<_> = seen.into_iter().map(|(_, place)| place).collect();
    places.sort();
    places.dedup();
    // One more for the token this list was asked with.
    assert_eq!(places.len() as i64, ours + 1 + 4);
    assert!(pages >= places.len() / 2);
}

#[tokio::test]
async fn a_rare_event_in_a_long_trail_takes_several_calls_of_bounded_work() {
    const ROWS: i64 = 120_000;
    let app = TestApp::new().await;
    let rare = |n| Event {
        client_id: Some(if n == ROWS - 1 { "rare" } else { "common" }),
        ..Event::default()
    };
    app.other_node((0..ROWS).map(|n| (n * 100_000, rare(n))))
        .await;
    let token = app.admin_token(None, "writ:audit").await;
    let mut path = "/admin/audit?agent=rare&node=2".to_owned();
    let (mut calls, mut found) = (0, 0);
    loop {
        let answer = app.get(&path).bearer(&token).await;
        let link = answer.header("link").unwrap().to_owned();
        found += answer.ok().as_array().unwrap().len();
        calls += 1;
        let target = link.split(['<', '>']).nth(1).unwrap();
        target
            .strip_prefix(&app.issuer)
            .unwrap()
            .clone_into(&mut path);
        if link.contains("monitor") {
            break;
        }
    }
    assert_eq!((calls, found), (2, 1));
    // By time it is found at once.
    let path = "/admin/audit?agent=rare&node=2&since=1970-05-19T21:18:20Z";
    let answer = app.get(path).bearer(&token).await.ok();
    assert_eq!(answer.as_array().unwrap().len(), 1);
}
