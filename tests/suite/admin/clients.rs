//! `/admin/clients`

use serde_json::json;

use crate::support::{Key, TestApp, WEATHER, secret_of};

#[tokio::test]
async fn clients_are_added_listed_shown_changed_and_removed() {
    let app = TestApp::weather().await;
    let client = json!({
        "client_id": "bot", "name": "Bot",
        "access": [{ "resource": "weather", "scopes": ["tool:forecast"] }],
    });
    let answer = app.admin("POST", "/clients").await.json(&client).await;
    let added = answer.with(http::StatusCode::CREATED);
    let secret = added["client_secret"].as_str().unwrap();
    assert_eq!(added["origin"], "declared");
    app.admin("POST", "/clients")
        .await
        .json(&client)
        .await
        .refused(409, "conflict");
    let form = [("grant_type", "client_credentials"), ("resource", WEATHER)];
    app.post("/token")
        .basic("bot", secret)
        .form(&form)
        .await
        .ok();
    let shown = app.admin("GET", "/clients/bot").await.await.ok();
    assert_eq!(shown.get("client_secret"), None);
    let listed = app.admin("GET", "/clients").await.await.ok();
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["client_id"].clone())
        .collect();
    assert_eq!(names, ["admin", "agent", "bot"]);
    let changed = json!({ "client_id": "bot", "name": "Robot" });
    let answer = app
        .admin("PUT", "/clients/bot")
        .await
        .json(&changed)
        .await
        .ok();
    // The secret stays, and nobody is told it again.
    assert_eq!(
        (&answer["name"], answer.get("client_secret")),
        (&json!("Robot"), None)
    );
    app.post("/token")
        .basic("bot", secret)
        .form(&form)
        .await
        .refused(400, "invalid_target");
    app.admin("PUT", "/clients/other")
        .await
        .json(&changed)
        .await
        .refused(400, "invalid_request");
    assert_eq!(app.admin("DELETE", "/clients/bot").await.await.status, 204);
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/secret")] {
        app.admin(method, &format!("/clients/bot{path}"))
            .await
            .await
            .refused(404, "not_found");
    }
    app.post("/token")
        .basic("bot", secret)
        .form(&form)
        .await
        .refused(401, "invalid_client");
}

#[tokio::test]
async fn nothing_secret_is_ever_shown() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    for path in [
        "/clients",
        "/clients/agent",
        "/clients/robot",
        "/audit",
        "/keys",
        "/resources",
    ] {
        let text = app.admin("GET", path).await.await.text();
        for word in [&secret_of("agent"), "digest", "secret\"", "sealed", "\"d\""] {
            assert!(!text.contains(word), "{path}: {word}");
        }
    }
}

#[tokio::test]
async fn only_a_client_with_a_secret_gets_a_new_one() {
    let app = TestApp::weather().await;
    app.robot(&Key::ed(1), json!({})).await;
    app.admin("POST", "/clients/robot/secret")
        .await
        .await
        .refused(409, "conflict");
}

#[tokio::test]
async fn an_administrator_does_not_saw_off_its_own_branch() {
    let app = TestApp::new().await;
    app.admin("DELETE", "/clients/admin")
        .await
        .await
        .refused(409, "conflict");
    app.admin("GET", "/clients/admin").await.await.ok();
}

#[tokio::test]
async fn grants_of_a_removed_client_are_not_inherited_by_the_next_one_of_its_name() {
    let app = TestApp::weather().await;
    let grant = |token: &str| crate::support::parts(token).1["grant_id"].clone();
    let before = grant(&app.token("agent", WEATHER, "tool:forecast").await);
    app.admin("DELETE", "/clients/agent").await.await;
    app.declare_weather(None).await;
    let after = grant(&app.token("agent", WEATHER, "tool:forecast").await);
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_token_of_a_removed_client_is_not_one_of_the_next_client_of_its_name() {
    let app = TestApp::weather().await;
    let access = json!([{ "resource": "writ-admin", "scopes": ["writ:read"] }]);
    app.client("reader", json!({ "access": access })).await;
    let token = app
        .token("reader", "https://as.example/admin", "writ:read")
        .await;
    app.admin("DELETE", "/clients/reader").await.await;
    app.client("reader", json!({})).await;
    app.get("/admin/clients")
        .bearer(&token)
        .await
        .refused(401, "invalid_token");
}
