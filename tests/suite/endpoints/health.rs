//! `GET /healthz`, `GET /readyz`

use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::support::{LiveServer, TestApp, status};

#[tokio::test]
async fn the_process_answers() {
    let app = TestApp::new().await;
    let answer = app.get("/healthz").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn a_server_that_can_work_is_ready() {
    let app = TestApp::new().await;
    let answer = app.get("/readyz").await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.ok(),
        json!({
            "ready": true,
            "checks": {
                "accepting": "ok",
                "database": "ok",
                "journal": "ok",
                "nodes": "ok",
                "signing_keys": "ok",
            },
        })
    );
}

async fn readiness(server: &LiveServer) -> (u16, Value) {
    let request = "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = server.send(request).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status(&answer), serde_json::from_str(body).unwrap())
}

/// Asks until the answer is this; each holds for a second.
async fn becomes(server: &LiveServer, wanted: u16) -> Value {
    for _ in 0..300 {
        let (status, report) = readiness(server).await;
        if status == wanted {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never answers {wanted}");
}

#[tokio::test]
async fn a_server_without_its_database_is_not_ready_until_it_is_back() {
    let server = LiveServer::start(|_| {}).await;
    becomes(&server, 200).await;
    let db = server.server.app.db.clone();
    let rename = "ALTER TABLE node RENAME TO elsewhere";
    db.execute_unprepared(rename).await.unwrap();
    let report = becomes(&server, 503).await;
    assert_eq!(report["ready"], false);
    assert_eq!(report["checks"]["database"], "cannot be read");
    assert_eq!(report["checks"]["signing_keys"], "ok");
    let back = "ALTER TABLE elsewhere RENAME TO node";
    db.execute_unprepared(back).await.unwrap();
    becomes(&server, 200).await;
    server.server.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_is_not_ready_at_once() {
    let server = LiveServer::start(|_| {}).await;
    assert_eq!(readiness(&server).await.0, 200);
    server.server.app.readiness.stop();
    let (status, report) = readiness(&server).await;
    assert_eq!(status, 503);
    assert_eq!(report["checks"]["accepting"], "stopping");
    // Whoever has not heard yet is answered.
    assert_eq!(server.honest().await, 200);
    server.server.stop().await;
}
