//! Each request has a name and a place in a trace, in its answer and in the audit trail.

use serde_json::Value;

use super::support::{LiveServer, TestApp, WEATHER, status};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn last_event(app: &TestApp) -> Value {
    let events = app.admin("GET", "/audit?limit=1000").await.await.ok();
    // The administrator's own token is the newest.
    let issued = events.as_array().unwrap().iter().rev();
    let mut agents = issued.filter(|e| e["event"]["client_id"] == "agent");
    agents.next().unwrap()["event"].clone()
}

#[tokio::test]
async fn an_event_names_request_and_trace() {
    let app = TestApp::weather().await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let answer = app
        .ask("agent", &[("resource", WEATHER)])
        .header("traceparent", &parent)
        .await;
    answer.ok();
    let event = last_event(&app).await;
    assert_eq!(event["request_id"], answer.header("x-request-id").unwrap());
    assert_eq!(event["trace_id"], TRACE);
    let again = app.ask("agent", &[("resource", "x:y")]).await;
    again.refused(400, "invalid_target");
    let event = last_event(&app).await;
    assert_eq!(event["request_id"], again.header("x-request-id").unwrap());
    let begun = event["trace_id"].as_str().unwrap();
    assert!(begun.len() == 32 && begun != TRACE, "{begun}");
}

#[tokio::test]
async fn what_a_caller_calls_its_request_is_not_taken_over() {
    let app = TestApp::weather().await;
    let one = app.get("/jwks.json").header("x-request-id", "mine").await;
    let two = app.get("/jwks.json").header("x-request-id", "mine").await;
    let ids = [one, two].map(|answer| answer.header("x-request-id").unwrap().to_owned());
    assert!(ids[0] != "mine" && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn every_answer_has_an_id() {
    let server = LiveServer::start(super::support::short_limits).await;
    for (request, wanted) in [
        (
            "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            200,
        ),
        (
            "GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            404,
        ),
        (
            "PUT /token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            405,
        ),
        ("GET /healthz HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        (
            "POST /token HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\ncontent-type: \
             application/x-www-form-urlencoded\r\n\r\na=",
            408,
        ),
    ] {
        let answer = server.send(request).await;
        assert_eq!(status(&answer), wanted, "{answer}");
        let names = answer.matches("x-request-id: ").count();
        assert_eq!(names, 1, "{answer}");
    }
    server.server.stop().await;
}
