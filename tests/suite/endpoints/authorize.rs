//! `/authorize`: there is nobody to sign in, and nothing in the request can be trusted.

use crate::support::{TestApp, encode};

#[tokio::test]
async fn whatever_is_asked_the_answer_is_a_page_and_never_a_redirect() {
    let app = TestApp::weather().await;
    let honest = [
        ("response_type", "code"),
        ("client_id", "agent"),
        ("redirect_uri", "https://app.example/cb"),
        ("state", "s"),
    ];
    // AC-001 to AC-003 and AC-024: no redirect before the redirect URI is known to be good.
    let none = [("prompt", "none"), ("redirect_uri", "javascript:alert(1)")];
    let broken = [
        ("state", "\r\nlocation: https://evil.example"),
        ("client_id", "<script>"),
    ];
    for query in [&honest[..], &none, &broken, &[]] {
        let query = encode(query);
        let asked = app.get(&format!("/authorize?{query}")).await;
        let posted = app
            .post("/authorize")
            .raw("application/x-www-form-urlencoded", query.clone())
            .await;
        for answer in [asked, posted] {
            assert_eq!(answer.status, 400);
            assert_eq!(answer.header("location"), None);
            assert_eq!(
                answer.header("content-type"),
                Some("text/html; charset=utf-8")
            );
            assert!(answer.text().contains("unsupported_response_type"));
            assert!(!answer.text().contains("script"));
        }
    }
}

#[tokio::test]
async fn the_page_cannot_be_framed_kept_or_told_about() {
    let app = TestApp::new().await;
    let answer = app.get("/authorize").await;
    // AC-072, AC-073.
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}
