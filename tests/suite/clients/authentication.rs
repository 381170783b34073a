//! Client authentication with a secret (RFC 6749 §2.3.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::support::{ADMIN_SECRET, AtRest, TestApp, WEATHER, secret_of};

const FORM: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("resource", WEATHER)];

#[tokio::test]
async fn a_secret_holds_in_the_header() {
    let app = TestApp::weather().await;
    app.ask("agent", &FORM).await.ok();
    // The scheme is compared without regard to case (RFC 9110 §11.1).
    for scheme in ["Basic", "basic", "BASIC"] {
        let pair = STANDARD.encode(format!("agent:{}", secret_of("agent")));
        app.post("/token")
            .header("authorization", &format!("{scheme} {pair}"))
            .form(&FORM)
            .await
            .ok();
    }
}

#[tokio::test]
async fn a_secret_holds_in_the_body() {
    let app = TestApp::weather().await;
    let mut form = FORM.to_vec();
    let secret = secret_of("agent");
    form.extend([("client_id", "agent"), ("client_secret", &secret)]);
    app.post("/token").form(&form).await.ok();
}

#[tokio::test]
async fn the_same_client_id_in_header_and_body_is_one_client() {
    let app = TestApp::weather().await;
    let mut form = FORM.to_vec();
    form.push(("client_id", "agent"));
    app.ask("agent", &form).await.ok();
}

#[tokio::test]
async fn the_parts_of_basic_credentials_are_form_encoded() {
    let app = TestApp::weather().await;
    let secret = "p:a%s+s w\u{f6}rd & more = 1";
    let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
    let client = json!({ "client_id": "a.b_c~d-e", "client_secret": secret, "access": access });
    app.apply(json!({ "clients": [client] })).await;
    // Some libraries encode even what needs no encoding.
    let everything = |text: &str| -> String { text.bytes().map(|b| format!("%{b:02x}")).collect() };
    let pair = STANDARD.encode(format!(
        "{}:{}",
        everything("a.b_c~d-e"),
        everything(secret)
    ));
    app.post("/token")
        .header("authorization", &format!("Basic {pair}"))
        .form(&FORM)
        .await
        .ok();
    app.post("/token")
        .basic("a.b_c~d-e", secret)
        .form(&FORM)
        .await
        .ok();
    // Sent as they are, the parts decode to something else.
    let raw = STANDARD.encode(format!("a.b_c~d-e:{secret}"));
    app.post("/token")
        .header("authorization", &format!("Basic {raw}"))
        .form(&FORM)
        .await
        .refused(401, "invalid_client");
}

#[tokio::test]
async fn generated_secrets_look_the_same_encoded_or_not() {
    let app = TestApp::weather().await;
    let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
    let lines = app
        .apply(json!({ "clients": [{ "client_id": "fresh", "access": access }] }))
        .await;
    let secret = lines[0].client_secret.clone().unwrap();
    assert!(secret.starts_with("writ_cs_") && secret.len() >= 8 + 43);
    assert!(
        secret
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    );
    app.post("/token")
        .basic("fresh", &secret)
        .form(&FORM)
        .await
        .ok();
}

#[tokio::test]
async fn a_new_secret_ends_the_old_one() {
    let app = TestApp::weather().await;
    let body = app.admin("POST", "/clients/agent/secret").await.await.ok();
    app.ask("agent", &FORM).await.refused(401, "invalid_client");
    let secret = body["client_secret"].as_str().unwrap();
    app.post("/token")
        .basic("agent", secret)
        .form(&FORM)
        .await
        .ok();
}

#[tokio::test]
async fn secrets_are_stored_as_digests_only() {
    let app = TestApp::weather().await;
    app.ask("agent", &FORM).await.ok();
    let body = json!({ "redirect_uris": ["https://app.example/cb"] });
    let registered = app.post("/register").json(&body).await.json();
    let kept = AtRest::read(&app.stop().await.0).await;
    let stored = |text: &str| kept.holds(text.as_bytes());
    // The search finds what is there.
    assert!(stored("agent") && stored(registered["client_id"].as_str().unwrap()));
    for secret in [
        &secret_of("agent"),
        ADMIN_SECRET,
        registered["client_secret"].as_str().unwrap(),
        registered["registration_access_token"].as_str().unwrap(),
    ] {
        assert!(!stored(secret), "{secret}");
    }
}
