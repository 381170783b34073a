//! Which names a receiver understands, and what its SETs are signed with: said with the client.

use serde_json::{Value, json};

use super::{MONITOR, Receivers, SERVER, SESSION_REVOKED, id};
use crate::support::parts;

async fn algorithm(receivers: &Receivers, client: &str) -> String {
    let stream = receivers.created(client, json!({})).await;
    let stream = receivers.app.tenant(None).stream(&id(&stream)).unwrap();
    stream.document().algorithm.to_string()
}

#[tokio::test]
async fn the_algorithm_is_the_registered_one() {
    let receivers = Receivers::new().await;
    assert_eq!(algorithm(&receivers, SERVER).await, "RS256");
    let members = json!({ "serves": "weather", "receiver": { "signing_algorithm": "ES256" } });
    receivers.app.client(SERVER, members).await;
    assert_eq!(algorithm(&receivers, SERVER).await, "ES256");
    let shown = receivers
        .app
        .admin("GET", &format!("/clients/{SERVER}"))
        .await;
    let expected = json!({ "signing_algorithm": "ES256" });
    assert_eq!(shown.await.ok()["receiver"], expected);
}

#[tokio::test]
async fn only_a_resource_server_hears_of_tokens_and_clients() {
    let receivers = Receivers::new().await;
    let requested = json!({ "events_requested": [SESSION_REVOKED] });
    let server = id(&receivers.created(SERVER, requested.clone()).await);
    let monitor = id(&receivers.created(MONITOR, requested).await);
    receivers.end_agent().await;
    let heard = receivers.waiting(&server).await;
    assert_eq!(heard[0]["sub_id"]["format"], "complex");
    assert_eq!(receivers.waiting(&monitor).await, [Value::Null; 0]);
    let end = json!({ "subject": "somebody" });
    let call = receivers.app.admin("POST", "/revocations").await;
    call.json(&end).await.ok();
    let heard = receivers.waiting(&monitor).await;
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0]["sub_id"]["format"], "iss_sub");
}

#[tokio::test]
async fn a_set_is_one_and_nothing_else() {
    // AC-296
    let receivers = Receivers::new().await;
    let stream = receivers.stream().await;
    receivers.end_agent().await;
    let claims = receivers.waiting(&stream).await.remove(0);
    let members: Vec<&String> = claims.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["aud", "events", "iat", "iss", "jti", "sub_id", "txn"]
    );
    assert_eq!(claims["iss"], "https://as.example");
    assert!(claims["txn"].is_string());
    assert!(claims["iat"].as_i64().unwrap() <= receivers.app.now());
    let event = &claims["events"][SESSION_REVOKED];
    assert_eq!(event["initiating_entity"], "admin");
    assert!(event["event_timestamp"].is_i64());
    assert!(event["reason_admin"]["en"].is_string());

    let app = &receivers.app;
    let (tenant, now) = (app.tenant(None), app.now());
    let signal = app.state.registry.signals().after(0, 10).unwrap().remove(0);
    let stream = tenant.stream(&stream).unwrap();
    let (_, set) = writ::streams::set::mint(&tenant, &stream, &signal, now).unwrap();
    let header = parts(&set).0;
    let members: Vec<&String> = header.as_object().unwrap().keys().collect();
    assert_eq!(members, ["alg", "kid", "typ"]);
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("secevent+jwt"), &json!("RS256"))
    );
}

#[tokio::test]
async fn nobody_but_a_server_understands_tokens() {
    let receivers = Receivers::new().await;
    let access = json!([{ "resource": "writ-events", "scopes": ["ssf.manage"] }]);
    let client = json!({
        "client_id": MONITOR, "access": access, "receiver": { "subjects": "oauth" },
    });
    let refused = receivers
        .app
        .apply_in(None, json!({ "clients": [client] }))
        .await;
    assert!(refused.unwrap_err().to_string().contains("serves"));
}
