//! `/admin/audit`. Whether the chains hold is in `trail`.

use serde_json::{Value, json};

use crate::support::{Answer, CALENDAR, TestApp, WEATHER};

/// Target and relation of an answer's Link header.
fn link(answer: &Answer) -> (String, String) {
    let link = answer.header("link").unwrap();
    let (target, relation) = link
        .strip_prefix('<')
        .unwrap()
        .split_once(">; rel=")
        .unwrap();
    (target.to_owned(), relation.trim_matches('"').to_owned())
}

fn kinds(events: &Value) -> Vec<&str> {
    let events = events.as_array().unwrap().iter();
    events.map(|e| e["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_decision_is_remembered_with_who_what_and_why() {
    let app = TestApp::weather().await;
    app.token("agent", WEATHER, "tool:forecast").await;
    app.ask("agent", &[("resource", "https://nowhere.example")])
        .await;
    let issued = app
        .admin("GET", "/audit?kind=token.issued")
        .await
        .await
        .ok();
    let event = &issued
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["event"]["sub"] == "agent")
        .unwrap()["event"];
    assert_eq!(event["client_id"], "agent");
    assert_eq!(event["aud"], WEATHER);
    assert_eq!(event["scope"], "tool:forecast");
    assert!(event["jti"].is_string() && event["grant_id"].is_string());
    let refused = app
        .admin("GET", "/audit?kind=token.refused")
        .await
        .await
        .ok();
    assert_eq!(kinds(&refused), ["token.refused"]);
    let reason = refused[0]["event"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("invalid_target"), "{reason}");
}

#[tokio::test]
async fn events_come_in_order_and_page_by_page() {
    let app = TestApp::weather().await;
    for _ in 0..5 {
        app.token("agent", CALENDAR, "tool:list").await;
    }
    let token = app.admin_token(None, "writ:audit").await;
    let mut path = "/admin/audit?limit=3".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = app.get(&path).bearer(&token).await;
        let (target, relation) = link(&page);
        let page = page.ok();
        let page = page.as_array().unwrap();
        assert!(page.len() <= 3);
        seen.extend(page.iter().map(|e| e["seq"].as_i64().unwrap()));
        path = target.strip_prefix(&app.issuer).unwrap().to_owned();
        if relation == "monitor" {
            break;
        }
        assert!(!page.is_empty());
    }
    // What comes later is found at the place where the list ended.
    app.token("agent", CALENDAR, "tool:list").await;
    let page = app.get(&path).bearer(&token).await.ok();
    seen.push(page[0]["seq"].as_i64().unwrap());
    assert_eq!(page.as_array().unwrap().len(), 1);
    let expected: Vec<i64> = (1..).take(seen.len()).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_selection_that_makes_no_sense_is_refused() {
    let app = TestApp::new().await;
    for query in [
        "after=x",
        "limit=-1",
        "kinds=a",
        "limit=99999999999999999999",
        "cursor=x",
        "cursor=e30x",
        "since=yesterday",
        "until=1",
    ] {
        app.admin("GET", &format!("/audit?{query}"))
            .await
            .await
            .refused(400, "invalid_request");
    }
    // Beyond what one page may hold is one page.
    app.admin("GET", "/audit?limit=100000").await.await.ok();
    app.admin("GET", "/audit?after=-5").await.await.ok();
    app.admin("GET", "/audit/verify?cursor=x")
        .await
        .await
        .refused(400, "invalid_request");
    let long = "x".repeat(3000);
    app.admin("GET", &format!("/audit?agent={long}"))
        .await
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn changes_name_the_administrator() {
    let app = TestApp::new().await;
    let client = json!({ "client_id": "bot" });
    app.admin("POST", "/clients").await.json(&client).await;
    let events = app
        .admin("GET", "/audit?kind=client.changed")
        .await
        .await
        .ok();
    let event = &events.as_array().unwrap().last().unwrap()["event"];
    assert_eq!(
        (&event["client_id"], &event["object"]),
        (&json!("admin"), &json!("bot"))
    );
}
