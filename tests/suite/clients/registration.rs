//! Dynamic client registration (RFC 7591) and its management (RFC 7592), as SDKs use them.

use serde_json::{Value, json};

use crate::support::{Answer, Key, NOW, TestApp, WEATHER, parts};

/// What a program without a person registers.
fn machine() -> Value {
    json!({ "client_name": "Machine", "grant_types": ["client_credentials"] })
}

async fn registered(app: &TestApp, metadata: &Value) -> Value {
    app.post("/register")
        .json(metadata)
        .await
        .with(http::StatusCode::CREATED)
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap()
}

/// A request to the client's own registration.
async fn manage(app: &TestApp, method: &str, registered: &Value, body: Option<&Value>) -> Answer {
    let uri = text(registered, "registration_client_uri");
    let path = uri.strip_prefix(&app.issuer).unwrap();
    let call = app
        .call(method, path)
        .bearer(text(registered, "registration_access_token"));
    match body {
        Some(body) => call.json(body).await,
        None => call.await,
    }
}

async fn ask(app: &TestApp, registered: &Value, params: &[(&str, &str)]) -> Answer {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(params);
    app.post("/token")
        .basic(
            text(registered, "client_id"),
            text(registered, "client_secret"),
        )
        .form(&form)
        .await
}

#[tokio::test]
async fn the_answer_holds_all_a_client_is_told_once() {
    let app = TestApp::new().await;
    let metadata = json!({
        "client_name": "App", "redirect_uris": ["https://app.example/cb"],
        "client_uri": "https://app.example", "logo_uri": "https://app.example/logo.png",
        "tos_uri": "https://app.example/tos", "policy_uri": "https://app.example/privacy",
        "contacts": ["someone@app.example"], "software_id": "s", "software_version": "1",
        "scope": "tool:forecast",
    });
    let body = registered(&app, &metadata).await;
    for (name, value) in metadata.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    // RFC 7591 §2: what was left out has its default, and is shown.
    assert_eq!(body["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(body["grant_types"], json!(["authorization_code"]));
    assert_eq!(body["response_types"], json!(["code"]));
    // RFC 7591 §3.2.1.
    assert_eq!(body["client_id_issued_at"], NOW);
    assert_eq!(body["client_secret_expires_at"], 0);
    assert!(text(&body, "client_secret").len() >= 43);
    assert!(text(&body, "registration_access_token").len() >= 43);
    let uri = format!("{}/register/{}", app.issuer, text(&body, "client_id"));
    assert_eq!(text(&body, "registration_client_uri"), uri);
    assert!(
        body.as_object()
            .unwrap()
            .values()
            .all(|value| !value.is_null())
    );
}

#[tokio::test]
async fn a_client_without_a_secret_is_told_none() {
    let app = TestApp::new().await;
    let key = Key::ed(1);
    for metadata in [
        json!({ "token_endpoint_auth_method": "none", "redirect_uris": ["http://localhost/cb"] }),
        json!({ "jwks": key.jwks(), "grant_types": ["client_credentials"] }),
    ] {
        let body = registered(&app, &metadata).await;
        assert_eq!(body.get("client_secret"), None);
        assert_eq!(body.get("client_secret_expires_at"), None);
    }
}

#[tokio::test]
async fn a_registered_machine_gets_what_resources_open_to_everyone() {
    let app = TestApp::weather().await;
    let client = registered(&app, &machine()).await;
    let answer = ask(&app, &client, &[("resource", WEATHER)]).await;
    assert_eq!(answer.ok()["scope"], "tool:forecast");
    assert_eq!(parts(&answer.token()).1["aud"], WEATHER);
    ask(
        &app,
        &client,
        &[("resource", WEATHER), ("scope", "tool:history")],
    )
    .await
    .refused(400, "invalid_scope");
}

#[tokio::test]
async fn a_registered_machine_signs_in_with_its_key() {
    let app = TestApp::weather().await;
    let key = Key::new("ES256", 5);
    let mut metadata = machine();
    metadata["jwks"] = key.jwks();
    let client = registered(&app, &metadata).await;
    let assertion = app.assertion(&key, text(&client, "client_id"), &json!({}));
    app.ask_with(&assertion, &[("resource", WEATHER)])
        .await
        .ok();
}

#[tokio::test]
async fn the_registered_scope_is_a_default_and_no_ceiling() {
    let app = TestApp::weather().await;
    let resource = json!({
        "id": "notes", "resource": "https://notes.example", "signing_algorithm": "EdDSA",
        "tools": [{ "name": "read" }, { "name": "write" }],
        "open_scopes": ["tool:read", "tool:write"], "default_scopes": ["tool:read"],
    });
    app.apply(json!({ "resources": [resource] })).await;
    let mut metadata = machine();
    metadata["scope"] = json!("tool:write");
    let client = registered(&app, &metadata).await;
    let target = ("resource", "https://notes.example");
    assert_eq!(
        ask(&app, &client, &[target]).await.ok()["scope"],
        "tool:write"
    );
    let stepped_up = ask(&app, &client, &[target, ("scope", "tool:read tool:write")]).await;
    assert_eq!(stepped_up.ok()["scope"], "tool:read tool:write");
}

#[tokio::test]
async fn what_sdks_send_without_meaning_it_counts_as_left_out() {
    let app = TestApp::new().await;
    let mut metadata = machine();
    for name in ["client_uri", "logo_uri", "scope", "jwks_uri", "software_id"] {
        metadata[name] = Value::Null;
    }
    metadata["tos_uri"] = json!("");
    let body = registered(&app, &metadata).await;
    for name in [
        "client_uri",
        "logo_uri",
        "scope",
        "jwks_uri",
        "software_id",
        "tos_uri",
    ] {
        assert_eq!(body.get(name), None, "{name}");
    }
}

#[tokio::test]
async fn every_client_gets_an_identifier_of_its_own() {
    let app = TestApp::new().await;
    let one = registered(&app, &machine()).await;
    let two = registered(&app, &machine()).await;
    for name in ["client_id", "client_secret", "registration_access_token"] {
        assert_ne!(one[name], two[name]);
    }
    // RFC 6749 appendix A and contracts of SDKs: unreserved characters, and no URL.
    let id = text(&one, "client_id");
    assert!(
        id.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    );
}

#[tokio::test]
async fn a_client_reads_what_it_registered() {
    let app = TestApp::new().await;
    let body = registered(&app, &machine()).await;
    let shown = manage(&app, "GET", &body, None).await.ok();
    for (name, value) in body.as_object().unwrap() {
        if name.starts_with("client_secret") {
            assert_eq!(shown.get(name), None);
        } else {
            assert_eq!(&shown[name], value, "{name}");
        }
    }
}

#[tokio::test]
async fn a_client_replaces_its_metadata_as_a_whole() {
    let app = TestApp::weather().await;
    let mut metadata = machine();
    metadata["client_uri"] = json!("https://app.example");
    let body = registered(&app, &metadata).await;
    let mut replacement = machine();
    replacement["client_name"] = json!("Renamed");
    replacement["client_id"] = body["client_id"].clone();
    replacement["client_secret"] = body["client_secret"].clone();
    let shown = manage(&app, "PUT", &body, Some(&replacement)).await.ok();
    assert_eq!(shown["client_name"], "Renamed");
    // RFC 7592 §2.2: what is left out is deleted.
    assert_eq!(shown.get("client_uri"), None);
    assert_eq!(shown["client_id_issued_at"], NOW);
    ask(&app, &body, &[("resource", WEATHER)]).await.ok();
}

#[tokio::test]
async fn a_client_that_turns_to_keys_has_no_secret_any_more() {
    let app = TestApp::weather().await;
    let body = registered(&app, &machine()).await;
    let key = Key::ed(3);
    let mut replacement = machine();
    replacement["jwks"] = key.jwks();
    replacement["token_endpoint_auth_method"] = json!("private_key_jwt");
    manage(&app, "PUT", &body, Some(&replacement)).await.ok();
    ask(&app, &body, &[]).await.refused(401, "invalid_client");
    let assertion = app.assertion(&key, text(&body, "client_id"), &json!({}));
    app.ask_with(&assertion, &[]).await.ok();
    // And back: a new secret, told once.
    let shown = manage(&app, "PUT", &body, Some(&machine())).await.ok();
    assert_ne!(shown["client_secret"], body["client_secret"]);
    ask(&app, &body, &[]).await.refused(401, "invalid_client");
    ask(&app, &shown, &[]).await.ok();
}

#[tokio::test]
async fn what_an_administrator_gave_survives_the_clients_own_changes() {
    let app = TestApp::weather().await;
    let body = registered(&app, &machine()).await;
    let id = text(&body, "client_id");
    let given = json!({
        "client_id": id, "access": [{ "resource": "weather", "scopes": ["tool:alert"] }],
    });
    app.admin("PUT", &format!("/clients/{id}"))
        .await
        .json(&given)
        .await
        .ok();
    manage(&app, "PUT", &body, Some(&machine())).await.ok();
    let params = [("resource", WEATHER), ("scope", "tool:alert")];
    assert_eq!(ask(&app, &body, &params).await.ok()["scope"], "tool:alert");
}

#[tokio::test]
async fn a_client_removes_itself() {
    let app = TestApp::new().await;
    let body = registered(&app, &machine()).await;
    let gone = manage(&app, "DELETE", &body, None).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    assert!(app.tenant(None).client(text(&body, "client_id")).is_none());
}

#[tokio::test]
async fn registration_with_a_token_where_the_operator_wants_one() {
    let app = TestApp::with(|c| c.registration.mode = writ::config::RegistrationMode::Token).await;
    let token = app.admin_token(None, "client:register").await;
    app.post("/register")
        .bearer(&token)
        .json(&machine())
        .await
        .with(http::StatusCode::CREATED);
    // The token is for registering, not for reading what others registered.
    app.get("/admin/clients")
        .bearer(&token)
        .await
        .refused(403, "insufficient_scope");
}

#[tokio::test]
async fn registration_can_be_off() {
    let app = TestApp::with(|c| c.registration.mode = writ::config::RegistrationMode::Off).await;
    app.post("/register")
        .json(&machine())
        .await
        .refused(404, "not_found");
    let metadata = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .ok();
    assert_eq!(metadata.get("registration_endpoint"), None);
}

#[tokio::test]
async fn a_widespread_client_keeps_the_scheme_it_has() {
    let app = TestApp::weather().await;
    let metadata = json!({
        "client_name": "Editor", "application_type": "web", "token_endpoint_auth_method": "none",
        "redirect_uris": [
            "cursor://anysphere.cursor-mcp/oauth/callback", "https://app.example/mcp/callback",
            "http://localhost:8787/callback",
        ],
    });
    let client = registered(&app, &metadata).await;
    assert_eq!(client["redirect_uris"], metadata["redirect_uris"]);
    // AC-019: nobody else has one of their own making.
    for scheme in ["javascript:alert(1)", "ms-msdt:x", "cursorx://y/cb"] {
        let metadata = json!({ "redirect_uris": [scheme], "token_endpoint_auth_method": "none" });
        let answer = app.post("/register").json(&metadata).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_redirect_uri".into()),
            "{scheme}"
        );
    }
}
