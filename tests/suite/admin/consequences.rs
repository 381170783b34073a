//! What follows when an administrator changes a client.

use serde_json::{Value, json};

use crate::{
    streams::{MONITOR, Receivers, SERVER, id},
    support::{CALENDAR, DELEGATION},
};

const CLAIMS_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/token-claims-change";
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// A stream of the weather server that hears what happens to tokens.
async fn stream(receivers: &Receivers) -> String {
    let body = json!({ "events_requested": [CLAIMS_CHANGE, SESSION_REVOKED] });
    id(&receivers.created(SERVER, body).await)
}

/// What the weather server is told when the agent is changed to this.
async fn told(receivers: &Receivers, stream: &str, agent: Value) -> Vec<Value> {
    let before = receivers.waiting(stream).await.len();
    receivers.app.client("agent", agent).await;
    receivers.waiting(stream).await.split_off(before)
}

fn at_weather(scopes: &[&str]) -> Value {
    json!({ "access": [{ "resource": "weather", "scopes": scopes }] })
}

#[tokio::test]
async fn a_server_hears_what_is_left_of_a_clients_rights() {
    let receivers = Receivers::new().await;
    let stream = stream(&receivers).await;
    let less = at_weather(&["tool:forecast", "tool:history", "weather:read"]);
    // The calendar's server hears of the calendar, and nothing was lost at the weather.
    assert_eq!(
        told(&receivers, &stream, less.clone()).await,
        [Value::Null; 0]
    );
    assert_eq!(told(&receivers, &stream, less).await, [Value::Null; 0]);
    let less = told(&receivers, &stream, at_weather(&["tool:history"])).await;
    assert_eq!(less.len(), 1);
    let application = json!({ "format": "iss_sub", "iss": "https://as.example", "sub": "agent" });
    let agent = json!({ "format": "complex", "application": application });
    assert_eq!(less[0]["sub_id"], agent);
    let event = &less[0]["events"][CLAIMS_CHANGE];
    assert_eq!(event["claims"], json!({ "scope": "tool:history" }));
    assert_eq!(event["initiating_entity"], "admin");
    // More is nothing to be told of, and nothing is told as such.
    let more = at_weather(&["tool:history", "tool:alert"]);
    assert_eq!(told(&receivers, &stream, more).await, [Value::Null; 0]);
    let none = told(&receivers, &stream, json!({})).await;
    assert_eq!(none.len(), 1);
    assert_eq!(none[0]["sub_id"], agent);
    assert!(none[0]["events"].get(SESSION_REVOKED).is_some());
}

#[tokio::test]
async fn what_may_be_reached_by_exchange_is_not_lost() {
    let receivers = Receivers::new().await;
    let stream = stream(&receivers).await;
    let exchange = json!([{
        "resource": "weather", "scopes": ["tool:forecast"], "translate": { "x": ["tool:history"] },
    }]);
    let mut agent = at_weather(&["*"]);
    agent["exchange"] = exchange.clone();
    agent["grant_types"] = json!(["client_credentials", DELEGATION]);
    assert_eq!(
        told(&receivers, &stream, agent.clone()).await,
        [Value::Null; 0]
    );
    agent.as_object_mut().unwrap().remove("access");
    let told = told(&receivers, &stream, agent).await;
    let claims = &told[0]["events"][CLAIMS_CHANGE]["claims"];
    assert_eq!(claims, &json!({ "scope": "tool:forecast tool:history" }));
}

#[tokio::test]
async fn streams_go_with_the_rights_of_their_receiver() {
    let receivers = Receivers::new().await;
    let server = stream(&receivers).await;
    let monitor = id(&receivers.created(MONITOR, json!({})).await);
    let there = |id: &str| receivers.app.tenant(None).stream(id).is_some();
    // It may still read, which is enough to be told.
    let access = json!([{ "resource": "writ-events", "scopes": ["ssf.read"] }]);
    receivers
        .app
        .client(MONITOR, json!({ "access": access }))
        .await;
    assert!(there(&monitor));
    receivers.app.client(MONITOR, json!({})).await;
    assert!(!there(&monitor) && there(&server));
    // Another server's events are none of its business.
    receivers
        .app
        .client(SERVER, json!({ "serves": "calendar" }))
        .await;
    assert!(!there(&server));
}

#[tokio::test]
async fn streams_follow_what_their_receiver_understands() {
    let receivers = Receivers::new().await;
    let stream = stream(&receivers).await;
    receivers.end_agent().await;
    assert_eq!(receivers.waiting(&stream).await.len(), 1);
    let receiver = json!({ "subjects": "plain", "signing_algorithm": "EdDSA" });
    let server = json!({ "serves": "weather", "receiver": receiver });
    receivers.app.client(SERVER, server).await;
    assert_eq!(receivers.waiting(&stream).await, [Value::Null; 0]);
    let known = receivers.app.tenant(None).stream(&stream).unwrap();
    assert_eq!(known.document().algorithm.as_str(), "EdDSA");
    assert_eq!(known.document().aud, [crate::support::WEATHER]);
    // By an ordinary change nothing happens to it.
    let before = known.row().updated_at;
    let named = json!({ "name": "Weather", "serves": "weather", "receiver": receiver });
    receivers.app.client(SERVER, named).await;
    let after = receivers.app.tenant(None).stream(&stream).unwrap();
    assert_eq!(after.row().updated_at, before);
    assert_ne!(CALENDAR, after.document().aud[0]);
}
