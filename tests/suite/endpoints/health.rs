//! `GET /healthz`

use crate::support::TestApp;

#[tokio::test]
async fn the_process_answers() {
    let app = TestApp::new().await;
    let answer = app.get("/healthz").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
}
