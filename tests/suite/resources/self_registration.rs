//! An MCP server registers itself.

use serde_json::{Value, json};

use crate::support::{DELEGATION, TestApp, parts};

/// A client that may register resources, and a token of its.
async fn registrar(app: &TestApp, client_id: &str) -> String {
    let access = json!([{ "resource": "writ-admin", "scopes": ["resource:register"] }]);
    app.client(client_id, json!({ "access": access })).await;
    app.token(client_id, "https://as.example/admin", "resource:register")
        .await
}

fn notes() -> Value {
    json!({
        "resource": "https://notes.example/mcp", "name": "Notes",
        "tools": [{ "name": "read" }, { "name": "wipe", "sensitive": true }],
        "signing_algorithm": "EdDSA",
    })
}

#[tokio::test]
async fn it_receives_an_id_credentials_and_its_document() {
    let app = TestApp::new().await;
    let token = registrar(&app, "deployer").await;
    let answer = app.post("/resources").bearer(&token).json(&notes()).await;
    let body = answer.with(http::StatusCode::CREATED);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(body["resource"], "https://notes.example/mcp");
    assert_eq!(body["issuer"], app.issuer);
    assert_eq!(body["client_secret_expires_at"], 0);
    let id = body["id"].as_str().unwrap();
    assert!(id.starts_with("notes-"));
    let url = body["metadata_url"].as_str().unwrap();
    let document = app.get(url.strip_prefix(&app.issuer).unwrap()).await.ok();
    assert_eq!(document, body["oauth_protected_resource"]);
    assert_eq!(document["resource"], "https://notes.example/mcp");
}

#[tokio::test]
async fn its_credentials_are_those_of_a_server_that_passes_on_what_it_receives() {
    let app = TestApp::new().await;
    let token = registrar(&app, "deployer").await;
    let body = app
        .post("/resources")
        .bearer(&token)
        .json(&notes())
        .await
        .json();
    let (id, secret) = (
        body["client_id"].as_str().unwrap(),
        body["client_secret"].as_str().unwrap(),
    );
    let access = json!([{ "resource": "https://notes.example/mcp", "scopes": ["*"] }]);
    app.client("agent", json!({ "access": access })).await;
    let received = app.ask("agent", &[]).await.token();
    let form = [
        ("grant_type", DELEGATION),
        ("subject_token", &received),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
    ];
    let narrowed = app
        .post("/token")
        .basic(id, secret)
        .form(&form)
        .await
        .token();
    assert_eq!(parts(&narrowed).1["act"], json!({ "sub": id }));
    // It has no rights of its own, but to hear what becomes of its tokens.
    let own = |scope| {
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        app.post("/token").basic(id, secret).form(&form)
    };
    own("").await.refused(400, "invalid_target");
    own("notes:read").await.refused(400, "invalid_target");
    let events = own("ssf.read").await.ok();
    assert_eq!(events["scope"], "ssf.read");
    let claims = parts(events["access_token"].as_str().unwrap()).1;
    assert_eq!(claims["aud"], format!("{}/ssf", app.issuer));
}

#[tokio::test]
async fn it_updates_itself_and_gets_no_second_credentials() {
    let app = TestApp::new().await;
    let token = registrar(&app, "deployer").await;
    let first = app
        .post("/resources")
        .bearer(&token)
        .json(&notes())
        .await
        .json();
    let again = app
        .post("/resources")
        .bearer(&token)
        .json(&notes())
        .await
        .ok();
    assert_eq!(again["id"], first["id"]);
    assert_eq!(again.get("client_secret"), None);
    let mut changed = notes();
    changed["name"] = json!("Better notes");
    let body = app
        .post("/resources")
        .bearer(&token)
        .json(&changed)
        .await
        .ok();
    assert_eq!(
        (&body["id"], &body["name"]),
        (&first["id"], &json!("Better notes"))
    );
}

#[tokio::test]
async fn it_shows_and_removes_what_is_its_own_with_its_credentials() {
    let app = TestApp::new().await;
    let token = registrar(&app, "deployer").await;
    let body = app
        .post("/resources")
        .bearer(&token)
        .json(&notes())
        .await
        .json();
    let path = format!("/resources/{}", body["id"].as_str().unwrap());
    let shown = app.get(&path).bearer(&token).await.ok();
    assert_eq!(shown["registered_by"], "deployer");
    assert_eq!(shown.get("client_secret"), None);
    assert_eq!(app.call("DELETE", &path).bearer(&token).await.status, 204);
    app.get(&path)
        .bearer(&token)
        .await
        .refused(404, "not_found");
    assert!(
        app.tenant(None)
            .client(body["client_id"].as_str().unwrap())
            .is_none()
    );
}

#[tokio::test]
async fn another_ones_resource_is_out_of_reach() {
    let app = TestApp::weather().await;
    let (mine, yours) = (
        registrar(&app, "mine").await,
        registrar(&app, "yours").await,
    );
    let body = app
        .post("/resources")
        .bearer(&mine)
        .json(&notes())
        .await
        .json();
    let id = body["id"].as_str().unwrap();
    app.get(&format!("/resources/{id}"))
        .bearer(&yours)
        .await
        .refused(404, "not_found");
    app.call("DELETE", &format!("/resources/{id}"))
        .bearer(&yours)
        .await
        .refused(404, "not_found");
    // Neither its URI in any spelling nor its id can be taken over.
    for uri in ["https://notes.example/mcp", "https://NOTES.example/mcp/"] {
        let mut same = notes();
        same["resource"] = json!(uri);
        app.post("/resources")
            .bearer(&yours)
            .json(&same)
            .await
            .refused(400, "access_denied");
    }
    for taken in [id, "weather"] {
        let other = json!({ "id": taken, "resource": "https://other.example" });
        app.post("/resources")
            .bearer(&yours)
            .json(&other)
            .await
            .refused(409, "conflict");
    }
    // A declared one has no owner who could change it this way.
    let declared = json!({ "resource": "https://weather.example/mcp", "tools": [] });
    app.post("/resources")
        .bearer(&yours)
        .json(&declared)
        .await
        .refused(400, "access_denied");
    let builtin = json!({ "resource": "https://as.example/admin" });
    let answer = app.post("/resources").bearer(&yours).json(&builtin).await;
    assert!(matches!(answer.status, 400 | 409), "{}", answer.text());
}

#[tokio::test]
async fn only_with_a_token_of_the_right_scope() {
    let app = TestApp::new().await;
    let anonymous = app.post("/resources").json(&notes()).await;
    anonymous.refused(401, "invalid_token");
    let challenge = anonymous.header("www-authenticate").unwrap();
    assert!(challenge.contains("scope=\"resource:register\""));
    assert!(challenge.contains("resource_metadata=") && !challenge.contains("error="));
    let other = app.admin_token(None, "writ:resources").await;
    let answer = app.post("/resources").bearer(&other).json(&notes()).await;
    answer.refused(403, "insufficient_scope");
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .contains("insufficient_scope")
    );
}

#[tokio::test]
async fn a_declaration_that_does_not_hold_is_refused_and_leaves_nothing() {
    let app = TestApp::new().await;
    let token = registrar(&app, "deployer").await;
    for body in [
        "",
        "[]",
        "3",
        "{}",
        "{\"resource\":",
        "{\"resource\":\"x\"}",
        "{\"resource\":\"https://a.example\",\"nonsense\":1}",
        "{\"resource\":\"http://a.example\"}",
    ] {
        app.post("/resources")
            .bearer(&token)
            .raw("application/json", body)
            .await
            .refused(400, "invalid_request");
    }
    app.post("/resources")
        .bearer(&token)
        .raw("text/plain", notes().to_string())
        .await
        .refused(400, "invalid_request");
    // The server's own.
    assert_eq!(app.tenant(None).resources().all().len(), 3);
    assert_eq!(app.tenant(None).clients().len(), 2);
}
