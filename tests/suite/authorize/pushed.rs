//! Pushed authorization requests (RFC 9126): attack group E.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{CALLBACK, Person, TestApp, encode, pairs, refusal, request, secret_of, told};

/// Pushes an honest request of the client `web`; members of `over` replace what it sends.
async fn push(app: &TestApp, over: &Value) -> crate::support::Answer {
    let mut form = request(&json!({ "client_id": null }));
    crate::support::overlay(&mut form, over);
    app.post("/par")
        .basic("web", &secret_of("web"))
        .form(&pairs(&form))
        .await
}

async fn pushed(app: &TestApp, over: &Value) -> String {
    let body = push(app, over).await.with(StatusCode::CREATED);
    assert_eq!(body["expires_in"], 60);
    body["request_uri"].as_str().unwrap().to_owned()
}

async fn open(person: &Person<'_>, client_id: &str, uri: &str) -> crate::support::Answer {
    let query = encode(&[("client_id", client_id), ("request_uri", uri)]);
    person.get(&format!("/authorize?{query}")).await
}

#[tokio::test]
async fn a_request_is_pushed_opened_and_completed_once() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let uri = pushed(&app, &json!({})).await;
    // AC-092.
    assert!(
        uri.len() >= "urn:ietf:params:oauth:request_uri:".len() + 22,
        "{uri}"
    );
    // AC-088: as often as it is opened before it is done.
    let first = open(&person, "web", &uri).await;
    assert_eq!(first.status, 200, "{}", first.text());
    // A person may take longer than the request may lie about.
    app.advance(61);
    let gone = open(&person, "web", &uri).await;
    assert_eq!((gone.status, gone.header("location")), (400, None));
    assert!(gone.text().contains("invalid_request_uri"));
    let answer = person.press(&first, "allow", &[]).await;
    assert!(told(&answer).contains_key("code"));
    let again = person.press(&first, "allow", &[]).await;
    assert_eq!(again.status, 400);
    assert!(again.text().contains("invalid_request_uri"));

    // What was allowed before needs no page.
    let uri = pushed(&app, &json!({})).await;
    assert!(told(&open(&person, "web", &uri).await).contains_key("code"));
    let again = open(&person, "web", &uri).await;
    assert_eq!((again.status, again.header("location")), (400, None));
}

#[tokio::test]
async fn it_holds_for_one_client_and_as_it_was_pushed() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let uri = pushed(&app, &json!({})).await;
    // AC-086, AC-087, AC-089.
    for (client, uri) in [
        ("app", uri.as_str()),
        ("", uri.as_str()),
        ("web", "urn:ietf:params:oauth:request_uri:made-up"),
        ("web", "urn:ietf:params:oauth:request_uri:"),
    ] {
        let answer = open(&person, client, uri).await;
        assert_eq!((answer.status, answer.header("location")), (400, None));
        assert!(
            answer.text().contains("invalid_request_uri"),
            "{client} {uri}"
        );
    }
    // AC-091: nothing beside it counts.
    let beside = encode(&[
        ("client_id", "web"),
        ("request_uri", &uri),
        ("scope", "tool:alert"),
        ("redirect_uri", "https://evil.example/cb"),
        ("state", "another"),
        ("response_mode", "form_post"),
    ]);
    let page = person.get(&format!("/authorize?{beside}")).await;
    assert!(!page.text().contains("tool:alert"));
    let told = told(&person.press(&page, "allow", &[]).await);
    assert_eq!(told["state"], "a state");
}

#[tokio::test]
async fn what_is_wrong_is_said_at_once() {
    let app = TestApp::apps().await;
    // AC-083, AC-084.
    let form = request(&json!({ "client_id": "web" }));
    let answer = app.post("/par").form(&pairs(&form)).await;
    answer.refused(401, "invalid_client");
    let answer = app.get("/par").await;
    assert_eq!(answer.status, 405);
    assert!(answer.header("allow").unwrap().contains("POST"));
    // AC-085, and what the authorization endpoint would refuse.
    for (over, error) in [
        (
            json!({ "request_uri": "urn:ietf:params:oauth:request_uri:x" }),
            "invalid_request",
        ),
        (
            json!({ "redirect_uri": "https://evil.example/cb" }),
            "invalid_request",
        ),
        (
            json!({ "response_type": "token" }),
            "unsupported_response_type",
        ),
        (json!({ "code_challenge": null }), "invalid_request"),
        (json!({ "scope": "nothing" }), "invalid_scope"),
        (
            json!({ "resource": "https://unknown.example" }),
            "invalid_target",
        ),
        (json!({ "client_id": "app" }), "invalid_request"),
    ] {
        push(&app, &over).await.refused(400, error);
    }
    let two = format!(
        "{}&state=b",
        encode(&pairs(&request(&json!({ "client_id": null }))))
    );
    let answer = app.post("/par").basic("web", &secret_of("web"));
    let answer = answer.raw("application/x-www-form-urlencoded", two).await;
    answer.refused(400, "invalid_request");
    // A public client may push, too: it only names itself.
    let answer = app.post("/par").form(&pairs(&request(&json!({})))).await;
    answer.with(StatusCode::CREATED);
}

#[tokio::test]
async fn who_has_to_push_is_not_answered_otherwise() {
    let app = TestApp::apps().await;
    let members = json!({
        "redirect_uris": [CALLBACK],
        "authorization": { "require_pushed_authorization_requests": true },
    });
    app.client("web", members).await;
    let person = app.signed_in("ann").await;
    // AC-090.
    let answer = person.open(&json!({ "client_id": "web" })).await;
    assert_eq!(refusal(&answer), "invalid_request");
    let uri = pushed(&app, &json!({})).await;
    assert_eq!(open(&person, "web", &uri).await.status, 200);
}

#[tokio::test]
async fn who_decides_twice_is_not_told_of_a_conflict() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let uri = pushed(&app, &json!({})).await;
    let page = open(&person, "web", &uri).await;
    let first = person.press(&page, "deny", &[]).await;
    assert_eq!(refusal(&first), "access_denied");
    for decision in ["deny", "allow"] {
        let again = person.press(&page, decision, &[]).await;
        assert_eq!((again.status, again.header("location")), (400, None));
        assert!(
            again.text().contains("invalid_request_uri"),
            "{}",
            again.text()
        );
    }
}
