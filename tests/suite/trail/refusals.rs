//! Every refusal is an event, and strangers cannot fill the disk with them.

use serde_json::{Value, json};

use writ::config::RegistrationMode;

use crate::support::{Key, TestApp, WEATHER, secret_of};

const FORM: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("resource", WEATHER)];

/// Who was refused, and why, of each event of a kind.
async fn refused(app: &TestApp, kind: &str) -> Vec<(Value, String)> {
    let events = app.events(&format!("kind={kind}")).await.into_iter();
    let said = events.map(|mut e| (e["event"]["client_id"].take(), e["event"]["reason"].take()));
    said.map(|(who, why)| (who, why.as_str().unwrap().to_owned()))
        .collect()
}

#[tokio::test]
async fn a_failed_authentication_is_an_event_whoever_it_names() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    for id in ["agent", "nobody"] {
        app.post("/token")
            .basic(id, "wrong")
            .form(&FORM)
            .await
            .refused(401, "invalid_client");
    }
    for id in ["robot", "ghost"] {
        let assertion = app.assertion(&Key::ed(2), id, &json!({}));
        app.ask_with(&assertion, &[])
            .await
            .refused(401, "invalid_client");
    }
    let long = format!("\u{1b}[2J{}", "x".repeat(500));
    app.post("/token")
        .basic(&long, "wrong")
        .form(&FORM)
        .await
        .refused(401, "invalid_client");
    let events = refused(&app, "client.refused").await;
    let who: Vec<&str> = events
        .iter()
        .map(|(who, _)| who.as_str().unwrap())
        .collect();
    assert_eq!(who[..4], ["agent", "nobody", "robot", "ghost"]);
    assert!(
        who[4].starts_with("?[2Jxxx") && who[4].len() == 128,
        "{}",
        who[4]
    );
    // The events tell known and unknown apart no more than the answers do.
    assert_eq!(events[0].1, events[1].1);
    assert!(
        events[0].1.starts_with("invalid_client: "),
        "{}",
        events[0].1
    );
}

#[tokio::test]
async fn an_assertion_that_is_used_twice_is_an_event() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    let assertion = app.assertion(&key, "robot", &json!({}));
    app.ask_with(&assertion, &[("resource", WEATHER)])
        .await
        .ok();
    app.ask_with(&assertion, &[("resource", WEATHER)])
        .await
        .refused(401, "invalid_client");
    let events = refused(&app, "client.refused").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].0, "robot");
}

#[tokio::test]
async fn what_a_public_client_is_refused_is_an_event() {
    let app = TestApp::weather().await;
    let members = json!({ "token_endpoint_auth_method": "none", "grant_types": [] });
    app.client("public", members).await;
    let form = [FORM[0], FORM[1], ("client_id", "public")];
    app.post("/token")
        .form(&form)
        .await
        .refused(400, "unauthorized_client");
    let events = refused(&app, "token.refused").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].0, "public");
}

#[tokio::test]
async fn beyond_the_budget_of_a_minute_refusals_are_counted_and_summed_up() {
    let app = TestApp::with(|config| config.audit.refusals_per_minute = 5).await;
    let fail = async |id: &str| {
        app.post("/token")
            .basic(id, "wrong")
            .form(&FORM)
            .await
            .refused(401, "invalid_client");
    };
    for i in 0..20 {
        fail(&format!("stranger-{i}")).await;
    }
    assert_eq!(refused(&app, "client.refused").await.len(), 5);
    assert_eq!(refused(&app, "refusals.counted").await.len(), 0);
    app.advance(60);
    fail("late").await;
    let summed = app.events("kind=refusals.counted").await;
    assert_eq!(summed.len(), 1);
    assert_eq!(summed[0]["event"]["count"], 15);
    assert_eq!(refused(&app, "client.refused").await.len(), 6);
    // Time alone sums up too.
    for i in 0..7 {
        fail(&format!("stranger-{i}")).await;
    }
    app.advance(60);
    app.state.sum_up_refusals(false).await.unwrap();
    let summed = app.events("kind=refusals.counted").await;
    assert_eq!((summed.len(), &summed[1]["event"]["count"]), (2, &json!(3)));
}

#[tokio::test]
async fn a_client_that_registered_itself_cannot_fill_the_disk_either() {
    let app = TestApp::with(|config| {
        config.registration.mode = RegistrationMode::Open;
        config.audit.refusals_per_minute = 5;
    })
    .await;
    let key = Key::ed(1);
    let metadata = json!({
        "grant_types": ["client_credentials"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": key.jwks(),
    });
    let registered = app.post("/register").json(&metadata).await.json();
    let id = registered["client_id"].as_str().unwrap().to_owned();
    let nowhere = [("resource", "https://nowhere.example")];
    let mut last = String::new();
    for number in 0..20 {
        last = app.assertion(&key, &id, &json!({ "jti": format!("{number}") }));
        app.ask_with(&last, &nowhere)
            .await
            .refused(400, "invalid_target");
    }
    assert_eq!(refused(&app, "token.refused").await.len(), 5);
    // What is only counted is used up all the same.
    app.ask_with(&last, &nowhere)
        .await
        .refused(401, "invalid_client");
    app.advance(60);
    app.state.sum_up_refusals(false).await.unwrap();
    let summed = app.events("kind=refusals.counted").await;
    assert_eq!(summed[0]["event"]["count"], 16);
    // A client that an administrator declared is written down each time.
    app.client("declared", json!({})).await;
    for _ in 0..7 {
        app.ask("declared", &nowhere)
            .await
            .refused(400, "invalid_target");
    }
    assert_eq!(refused(&app, "token.refused").await.len(), 5 + 7);
}

#[tokio::test]
async fn a_refused_call_of_the_admin_api_is_an_event_when_a_token_was_presented() {
    let app = TestApp::weather().await;
    app.get("/admin/clients")
        .await
        .refused(401, "invalid_token");
    app.get("/admin/clients?x=1")
        .bearer("not-a-token")
        .await
        .refused(401, "invalid_token");
    let reader = app.admin_token(None, "writ:read").await;
    app.post("/admin/keys/rotate")
        .bearer(&reader)
        .json(&json!({}))
        .await
        .refused(403, "insufficient_scope");
    // A mistake of somebody who may is none.
    app.admin("POST", "/clients")
        .await
        .json(&json!([]))
        .await
        .refused(400, "invalid_request");
    let events = app.events("kind=admin.refused").await;
    assert_eq!(events.len(), 2, "{events:?}");
    let (stranger, reader) = (&events[0]["event"], &events[1]["event"]);
    assert_eq!(stranger["object"], "GET /admin/clients");
    assert!(stranger.get("client_id").is_none());
    assert_eq!(reader["object"], "POST /admin/keys/rotate");
    assert_eq!(reader["client_id"], "admin");
    assert!(
        reader["reason"]
            .as_str()
            .unwrap()
            .starts_with("insufficient_scope: ")
    );
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verdict["intact"], true);
}

#[tokio::test]
async fn a_refused_registration_is_an_event_when_a_token_was_presented() {
    let app = TestApp::weather().await;
    let token = app.admin_token(None, "client:register").await;
    app.post("/resources")
        .bearer(&token)
        .json(&json!({}))
        .await
        .refused(403, "insufficient_scope");
    app.get("/register/agent")
        .bearer("x")
        .await
        .refused(401, "invalid_token");
    app.post("/register").json(&json!([])).await;
    let events = app.events("kind=registration.refused").await;
    let calls: Vec<&str> = events
        .iter()
        .map(|e| e["event"]["object"].as_str().unwrap())
        .collect();
    assert_eq!(calls, ["POST /resources", "GET /register/agent"]);
    assert_eq!(events[0]["event"]["client_id"], "admin");
}

#[tokio::test]
async fn nothing_that_is_presented_as_a_secret_gets_into_the_trail() {
    let app = TestApp::weather().await;
    app.post("/token")
        .basic("agent", "a-wrong-secret")
        .form(&FORM)
        .await
        .refused(401, "invalid_client");
    app.get("/admin/clients").bearer("a-wrong-token").await;
    app.token("agent", WEATHER, "tool:forecast").await;
    let trail = json!(app.events("").await).to_string();
    for secret in ["a-wrong-secret", "a-wrong-token", &secret_of("agent")] {
        assert!(!trail.contains(secret), "{secret}");
    }
}
