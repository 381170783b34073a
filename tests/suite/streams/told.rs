//! What receivers are told when something ends.

use serde_json::json;

use super::{Receiver, caep, event, polled};
use crate::support::{CALENDAR, NOW, TestApp, WEATHER, parts, verify};

const ISSUER: &str = "https://as.example";

fn agent(client_id: &str) -> serde_json::Value {
    json!({ "format": "iss_sub", "iss": ISSUER, "sub": client_id })
}

#[tokio::test]
async fn a_client_that_revokes_its_token_ends_that_one() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    assert_eq!(app.revoke("agent", &token).await.status, 200);
    let told = receiver.take().await;
    let [set] = told.as_slice() else {
        panic!("{told:?}")
    };
    let (subject, uri, members) = event(set);
    let jti = parts(&token).1["jti"].clone();
    assert_eq!(uri, caep("session-revoked"));
    let session = json!({ "format": "jwt_id", "iss": ISSUER, "jti": jti });
    let expected =
        json!({ "format": "complex", "session": session, "application": agent("agent") });
    assert_eq!(*subject, expected);
    assert_eq!(members["event_timestamp"], NOW);
    assert_eq!(members["initiating_entity"], "user");
    assert!(members["reason_admin"]["en"].is_string());
    assert_eq!(set["aud"], json!([WEATHER]));
    assert!(receiver.take().await.is_empty());
}

#[tokio::test]
async fn a_set_is_what_ssf_says() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    app.end(json!({ "client": "agent" })).await;
    let answer = receiver.poll(&json!({})).await.ok();
    let (name, set) = answer["sets"].as_object().unwrap().iter().next().unwrap();
    let (header, claims) = parts(set.as_str().unwrap());
    assert_eq!(header["typ"], "secevent+jwt");
    assert_eq!(header["alg"], "RS256");
    assert_eq!(header.as_object().unwrap().len(), 3);
    verify(set.as_str().unwrap(), &app.get("/jwks.json").await.ok());
    let mut members: Vec<&str> = claims
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    assert_eq!(
        members,
        ["aud", "events", "iat", "iss", "jti", "sub_id", "txn"]
    );
    assert_eq!(
        (&claims["iss"], &claims["jti"]),
        (&json!(ISSUER), &json!(name))
    );
    assert_eq!(claims["iat"], NOW);
    assert!(claims["txn"].is_string());
}

#[tokio::test]
async fn a_grant_ends_with_those_derived_from_it_under_one_transaction() {
    let app = TestApp::weather().await;
    app.client(
        "helper",
        json!({
            "grant_types": [crate::support::DELEGATION],
            "exchange": [{ "resource": "calendar", "scopes": ["*"] }],
        }),
    )
    .await;
    app.client("agent", json!({
        "access": [{ "resource": "weather", "scopes": ["*"] }, { "resource": "calendar", "scopes": ["*"] }],
        "delegates": ["helper"],
    })).await;
    let weather = Receiver::of(&app, "weather", polled()).await;
    let calendar = Receiver::of(&app, "calendar", polled()).await;
    let token = app.token("agent", WEATHER, "tool:history").await;
    let exchanged = app
        .exchange(
            "helper",
            &token,
            &[("resource", CALENDAR), ("scope", "tool:history")],
        )
        .await
        .token();
    let grant = |token: &str| parts(token).1["grant_id"].clone();
    app.end(json!({ "grant": grant(&token) })).await;
    let (first, second) = (weather.take().await, calendar.take().await);
    let ([first], [second]) = (first.as_slice(), second.as_slice()) else {
        panic!("{first:?} {second:?}")
    };
    assert_eq!(first["txn"], second["txn"]);
    assert_ne!(first["jti"], second["jti"]);
    assert_eq!(
        event(first).0["session"],
        json!({ "format": "opaque", "id": grant(&token) })
    );
    assert_eq!(
        event(second).0["session"],
        json!({ "format": "opaque", "id": grant(&exchanged) })
    );
    assert_eq!(event(second).0["application"], agent("helper"));
    assert_eq!(event(second).0["user"], agent("agent"));
    assert_eq!(event(first).2["initiating_entity"], "admin");
}

#[tokio::test]
async fn the_kill_switch_of_a_client_reaches_everyone() {
    let app = TestApp::weather().await;
    let weather = Receiver::of(&app, "weather", polled()).await;
    let calendar = Receiver::of(&app, "calendar", polled()).await;
    app.token("agent", WEATHER, "tool:forecast").await;
    app.admin("POST", "/clients/agent/disable").await.await.ok();
    for receiver in [&weather, &calendar] {
        let told = receiver.take().await;
        let [set] = told.as_slice() else {
            panic!("{told:?}")
        };
        let expected = json!({ "format": "complex", "application": agent("agent") });
        assert_eq!(*event(set).0, expected);
    }
    assert_eq!(
        app.admin("DELETE", "/clients/agent").await.await.status,
        204
    );
    assert_eq!(weather.take().await.len(), 1);
}

#[tokio::test]
async fn a_subject_and_a_tenant_and_a_resource_end() {
    let app = TestApp::weather().await;
    let weather = Receiver::of(&app, "weather", polled()).await;
    let calendar = Receiver::of(&app, "calendar", polled()).await;
    let plain = Receiver::plain(&app).await;
    app.token("agent", WEATHER, "tool:forecast").await;
    app.end(json!({ "subject": "agent" })).await;
    assert_eq!(*event(&weather.take().await[0]).0, agent("agent"));
    assert!(calendar.take().await.is_empty(), "it had no token there");
    let told = plain.take().await;
    assert_eq!(*event(&told[0]).0, agent("agent"));
    assert_eq!(told[0]["aud"], json!(["plain"]));

    let tenant = json!({ "format": "complex", "tenant": { "format": "opaque", "id": "default" } });
    app.end(json!({ "resource": "calendar" })).await;
    assert_eq!(*event(&calendar.take().await[0]).0, tenant);
    assert!(weather.take().await.is_empty());
    app.end(json!({ "tenant": "default" })).await;
    for receiver in [&weather, &calendar] {
        assert_eq!(*event(&receiver.take().await[0]).0, tenant);
    }
    // Whoever does not know what tokens are would send everybody away.
    assert!(plain.take().await.is_empty());
}

#[tokio::test]
async fn whoever_is_not_concerned_hears_nothing() {
    let app = TestApp::weather().await;
    let calendar = Receiver::of(&app, "calendar", polled()).await;
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    app.end(json!({ "token": token })).await;
    app.end(json!({ "grant": parts(&token).1["grant_id"] }))
        .await;
    assert!(calendar.take().await.is_empty());
}

#[tokio::test]
async fn what_is_told_survives_a_restart_and_a_rotation() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    app.end(json!({ "client": "agent" })).await;
    let before = receiver.waiting().await;
    let (client, stream) = (receiver.client.clone(), receiver.stream.clone());
    let app = app.restart().await;
    app.admin("POST", "/keys/rotate")
        .await
        .json(&json!({}))
        .await;
    let receiver = Receiver {
        app: &app,
        client,
        stream,
    };
    let after = receiver.waiting().await;
    assert_eq!(before.len(), 1);
    assert_eq!(before[0].0, after[0].0);
    assert_eq!(receiver.take().await.len(), 1);
    let (client, stream) = (receiver.client.clone(), receiver.stream.clone());
    let app = app.restart().await;
    let receiver = Receiver {
        app: &app,
        client,
        stream,
    };
    assert!(receiver.waiting().await.is_empty());
}

#[tokio::test]
async fn old_news_are_not_told() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    app.end(json!({ "client": "agent" })).await;
    app.advance(writ::signals::SHORT + 1);
    assert!(receiver.waiting().await.is_empty());
}

#[tokio::test]
async fn whoever_is_answered_has_a_token_that_holds_or_of_which_the_end_was_told() {
    let app = TestApp::weather().await;
    let receiver = Receiver::of(&app, "weather", polled()).await;
    for pause in 0..150 {
        app.token("agent", WEATHER, "tool:forecast").await;
        let end = app.end(json!({ "client": "agent" }));
        let ask = async {
            // A little later each time: before the end, in its midst, and after it.
            for _ in 0..pause * 4 {
                tokio::task::yield_now().await;
            }
            app.advance(1);
            let params = [("resource", WEATHER), ("scope", "tool:forecast")];
            app.ask("agent", &params).may_be_unavailable().await
        };
        let (_, answer) = tokio::join!(end, ask);
        let told = receiver.take().await;
        let [set] = told.as_slice() else {
            panic!("{told:?}")
        };
        if answer.status == 503 {
            assert_eq!(answer.json()["error"], "temporarily_unavailable");
            continue;
        }
        let token = answer.token();
        let reached = parts(&token).1["iat"].as_i64() <= event(set).2["event_timestamp"].as_i64();
        assert!(app.is_active(&token).await || reached, "after {pause}");
    }
}
