//! `GET /healthz`, `GET /readyz`

use serde_json::json;

use crate::support::TestApp;

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
