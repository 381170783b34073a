//! Who may call the stream API (SSF 1.0 §8, RFC 6750 §3).

use serde_json::{Value, json};

use super::{MONITOR, Receivers, SERVER, SESSION_REVOKED};
use crate::support::{TestApp, secret_of};

/// Every operation with the scope it needs.
const OPERATIONS: [(&str, &str, &str); 10] = [
    ("GET", "/ssf/streams", "ssf.read"),
    ("GET", "/ssf/streams?stream_id=st-unknown", "ssf.read"),
    ("GET", "/ssf/status?stream_id=st-unknown", "ssf.read"),
    ("POST", "/ssf/streams", "ssf.manage"),
    ("PATCH", "/ssf/streams", "ssf.manage"),
    ("PUT", "/ssf/streams", "ssf.manage"),
    ("DELETE", "/ssf/streams?stream_id=st-unknown", "ssf.manage"),
    ("POST", "/ssf/status", "ssf.manage"),
    ("POST", "/ssf/subjects/add", "ssf.manage"),
    ("POST", "/ssf/verify", "ssf.manage"),
];

/// What has no stream, and cannot be read either: a token is asked for first.
const BROKEN: &str = ";{ broken";

#[tokio::test]
async fn without_a_token_the_challenge_is_bare() {
    // AC-289
    let app = TestApp::new().await;
    for (method, path, scope) in OPERATIONS {
        let answer = app.call(method, path).raw("application/json", BROKEN).await;
        answer.refused(401, "invalid_token");
        let bearer = answer.challenge("Bearer").unwrap();
        let metadata = "https://as.example/.well-known/oauth-protected-resource/ssf";
        let expected = format!("resource_metadata=\"{metadata}\", scope=\"{scope}\"");
        assert_eq!(bearer, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_before_anything_is_read() {
    let receivers = Receivers::new().await;
    let app = &receivers.app;
    let ask = async |scope: &str| app.ask(SERVER, &[("scope", scope)]).await.token();
    let (revoked, expired) = (ask("ssf.manage").await, ask("ssf.manage").await);
    app.revoke(SERVER, &revoked).await.ok();
    let fresh_in = 400;
    for token in ["invalid:0d1e", "x", &revoked] {
        refused_everywhere(app, token).await;
    }
    app.advance(fresh_in);
    refused_everywhere(app, &expired).await;
    // Nor one for another resource.
    let other = app
        .token("agent", crate::support::WEATHER, "tool:forecast")
        .await;
    refused_everywhere(app, &other).await;
}

async fn refused_everywhere(app: &TestApp, token: &str) {
    for (method, path, _) in OPERATIONS {
        let call = app
            .call(method, path)
            .header("authorization", &format!("Bearer {token}"));
        let answer = call.raw("application/json", BROKEN).await;
        answer.refused(401, "invalid_token");
        let bearer = answer.challenge("Bearer").unwrap();
        assert!(bearer.contains("error=\"invalid_token\""), "{bearer}");
    }
}

#[tokio::test]
async fn who_may_read_may_do_nothing_else() {
    // AC-289
    let receivers = Receivers::new().await;
    let app = &receivers.app;
    let stream = receivers.stream().await;
    let read = app.ask(SERVER, &[("scope", "ssf.read")]).await;
    assert_eq!(read.ok()["scope"], "ssf.read");
    let read = read.token();
    for (method, path, scope) in OPERATIONS {
        let path = path.replace("st-unknown", &stream);
        let call = app.call(method, &path).bearer(&read);
        let answer = call.raw("application/json", BROKEN).await;
        if scope == "ssf.read" {
            answer.ok();
            continue;
        }
        answer.refused(403, "insufficient_scope");
        let bearer = answer.challenge("Bearer").unwrap();
        assert!(bearer.contains("error=\"insufficient_scope\""), "{bearer}");
        assert!(bearer.contains("scope=\"ssf.manage\""), "{bearer}");
    }
    assert_eq!(app.count("stream.refused").await, 7);
}

#[tokio::test]
async fn who_may_manage_may_read() {
    let receivers = Receivers::new().await;
    assert_eq!(
        receivers.call(SERVER, "GET", "/streams").await.ok(),
        json!([])
    );
}

#[tokio::test]
async fn a_token_in_the_query_is_none() {
    let receivers = Receivers::new().await;
    let app = &receivers.app;
    let token = app.ask(SERVER, &[("scope", "ssf.read")]).await.token();
    let answer = app.get(&format!("/ssf/streams?access_token={token}")).await;
    answer.refused(401, "invalid_token");
}

#[tokio::test]
async fn receivers_get_tokens_as_the_profile_has_it() {
    let receivers = Receivers::new().await;
    let app = &receivers.app;
    // No resource is named, and the client is said twice.
    for client in [SERVER, MONITOR] {
        let form = [("scope", "ssf.manage ssf.read"), ("client_id", client)];
        let answer = app.ask(client, &form).await.ok();
        assert!(answer["expires_in"].as_i64().unwrap() <= 3600);
        let scope: Vec<&str> = answer["scope"].as_str().unwrap().split(' ').collect();
        assert!(scope.contains(&"ssf.manage") && scope.contains(&"ssf.read"));
        let post = [
            ("grant_type", "client_credentials"),
            ("scope", "ssf.read"),
            ("client_id", client),
            ("client_secret", &secret_of(client)),
        ];
        app.client(
            client,
            json!({
                "token_endpoint_auth_method": "client_secret_post",
                "serves": if client == SERVER { json!("weather") } else { Value::Null },
                "access": [{ "resource": "writ-events", "scopes": ["ssf.manage"] }],
            }),
        )
        .await;
        let answer = app.post("/token").form(&post).await.ok();
        assert_eq!(answer["scope"], "ssf.read");
    }
    // Whoever has not been given it has none.
    let answer = app.ask("agent", &[("scope", "ssf.read")]).await;
    assert!(matches!(answer.status, 400), "{}", answer.text());
}

#[tokio::test]
async fn another_ones_stream_is_not_there() {
    // AC-292
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let before = receivers.read(SERVER, &id).await;
    for (method, path, members) in [
        ("GET", format!("/streams?stream_id={id}"), json!({})),
        ("DELETE", format!("/streams?stream_id={id}"), json!({})),
        ("GET", format!("/status?stream_id={id}"), json!({})),
        (
            "PATCH",
            "/streams".to_owned(),
            json!({ "description": "mine" }),
        ),
        (
            "PUT",
            "/streams".to_owned(),
            json!({ "events_requested": [SESSION_REVOKED] }),
        ),
        (
            "POST",
            "/status".to_owned(),
            json!({ "status": "disabled" }),
        ),
        ("POST", "/verify".to_owned(), json!({ "state": "x" })),
        (
            "POST",
            "/subjects/remove".to_owned(),
            json!({ "subject": { "format": "email", "email": "a@b.example" } }),
        ),
    ] {
        for stream in [id.as_str(), "st-unknown"] {
            let mut body = members.clone();
            body["stream_id"] = json!(stream);
            let path = path.replace(&id, stream);
            let answer = receivers.call(MONITOR, method, &path).json(&body).await;
            answer.refused(404, "not_found");
        }
    }
    assert_eq!(
        receivers.call(MONITOR, "GET", "/streams").await.ok(),
        json!([])
    );
    assert_eq!(receivers.read(SERVER, &id).await, before);
    assert_eq!(receivers.kinds(&id).await, [""; 0]);
}

#[tokio::test]
async fn a_disabled_receiver_has_no_api() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let call = receivers
        .app
        .admin("POST", &format!("/clients/{SERVER}/disable"))
        .await;
    call.await.ok();
    let path = format!("/streams?stream_id={id}");
    let answer = receivers.call(SERVER, "GET", &path).await;
    answer.refused(401, "invalid_token");
}
