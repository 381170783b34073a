//! Clients whose id is the URL of their metadata, as they come and go.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use writ::{
    clients::{cimd, find},
    config::Config,
    error::OAuthError,
    oauth::grant_type::AuthMethod,
    registry::{Client, ClientDocument, Origin},
};

use crate::support::{CALLBACK, Certificate, DocumentHost, Key, TestApp, WEATHER, told};

/// A server that reads documents on loopback too.
pub(crate) async fn reading_here() -> TestApp {
    with(|_| {}).await
}

async fn with(change: impl FnOnce(&mut Config)) -> TestApp {
    let app = TestApp::with(|config| {
        config.fetch.allow_private_addresses_for_tests = true;
        change(config);
    })
    .await;
    app.declare_weather(None).await;
    app
}

pub(crate) async fn look_for(app: &TestApp, id: &str) -> Result<Arc<Client>, OAuthError> {
    find(&app.state, &app.tenant(None), id).await
}

async fn found(app: &TestApp, host: &DocumentHost) -> Arc<Client> {
    look_for(app, &host.url()).await.unwrap()
}

async fn described(app: &TestApp, host: &DocumentHost) -> ClientDocument {
    found(app, host).await.document().unwrap()
}

/// Makes it a row, as a person's first consent does.
async fn allow(app: &TestApp, host: &DocumentHost) {
    let client = found(app, host).await;
    let row = cimd::row(&app.state, &app.tenant(None), &client).unwrap();
    app.commit(vec![row]).await.unwrap();
}

fn is_row(app: &TestApp, host: &DocumentHost) -> bool {
    app.tenant(None).client(&host.url()).is_some()
}

/// A document of a client that asks in its own name, with this key.
fn machine(host: &DocumentHost, key: &Key) -> Value {
    host.document(&json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": key.jwks(),
        "grant_types": ["authorization_code", "client_credentials"],
    }))
}

async fn ask(app: &TestApp, host: &DocumentHost, key: &Key) -> crate::support::Answer {
    let assertion = app.assertion(key, &host.url(), &json!({}));
    app.ask_with(&assertion, &[("resource", WEATHER)]).await
}

#[tokio::test]
async fn a_client_is_what_its_document_says() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let client = found(&app, &host).await;
    assert_eq!(
        (client.id(), client.origin()),
        (&*host.url(), Origin::Document)
    );
    assert!(!client.is_vouched_for());
    let document = client.document().unwrap();
    assert_eq!(document.name, "Travel agent");
    assert_eq!(document.token_endpoint_auth_method, AuthMethod::None);
    assert_eq!(
        document.metadata.redirect_uris,
        ["http://127.0.0.1/callback"]
    );
    assert!(host.last().starts_with("get /client.json http/1.1\r\n"));
    assert!(host.last().contains("accept: application/json\r\n"));
    // Nothing is written down because somebody has named it.
    assert!(!is_row(&app, &host));
}

#[tokio::test]
async fn a_document_is_kept_for_an_hour_unless_its_server_says_otherwise() {
    for (control, kept) in [
        (None, 3600),
        (Some("max-age=600"), 600),
        (Some("max-age=5"), 30),
        (Some("no-store"), 30),
        (Some("public, max-age=31536000"), 86_400),
    ] {
        let (app, host) = (reading_here().await, DocumentHost::start().await);
        if let Some(control) = control {
            host.header("cache-control", control);
        }
        found(&app, &host).await;
        app.advance(kept - 1);
        found(&app, &host).await;
        assert_eq!(host.asked(), 1, "{control:?}");
        app.advance(1);
        found(&app, &host).await;
        assert_eq!(host.asked(), 2, "{control:?}");
    }
}

#[tokio::test]
async fn a_version_that_has_a_name_is_not_sent_again() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    host.etag("\"one\"");
    found(&app, &host).await;
    assert!(!host.last().contains("if-none-match"));
    app.advance(3600);
    found(&app, &host).await;
    assert!(host.last().contains("if-none-match: \"one\"\r\n"));
    // What is unchanged is fresh again, and has the same name.
    app.advance(3599);
    found(&app, &host).await;
    assert_eq!(host.asked(), 2);
    host.publish(&host.document(&json!({ "client_name": "Another" })));
    host.etag("\"two\"");
    app.advance(1);
    assert_eq!(described(&app, &host).await.name, "Another");
    assert_eq!(host.asked(), 3);
}

#[tokio::test]
async fn what_is_wrong_is_not_kept() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    host.answer("500 Oops", "application/json", b"{}");
    look_for(&app, &host.url()).await.unwrap_err();
    host.publish(&host.document(&json!({ "client_name": null })));
    look_for(&app, &host.url()).await.unwrap_err();
    host.publish(&host.document(&json!({})));
    found(&app, &host).await;
    assert_eq!(host.asked(), 3);
    // Nor is what was good used any longer than it may be.
    app.advance(3600);
    host.answer("404 Not Found", "application/json", b"{}");
    look_for(&app, &host.url()).await.unwrap_err();
}

#[tokio::test]
async fn who_comes_at_the_same_time_waits_for_one_answer() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    host.delay(Duration::from_millis(200));
    let all = async || {
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let (state, tenant) = (app.state.clone(), app.tenant(None));
            let url = host.url();
            set.spawn(async move { find(&state, &tenant, &url).await.is_ok() });
        }
        set.join_all().await
    };
    assert_eq!(all().await, [true; 32]);
    assert_eq!(host.asked(), 1);
    app.advance(3600);
    host.answer("503 Later", "text/plain", b"");
    host.delay(Duration::from_millis(200));
    assert_eq!(all().await, [false; 32]);
    assert_eq!(host.asked(), 2);
}

#[tokio::test]
async fn a_row_follows_its_document() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let (old, new) = (Key::ed(1), Key::ed(2));
    host.publish(&machine(&host, &old));
    allow(&app, &host).await;
    let changed = app.count("client.changed").await;
    assert!(is_row(&app, &host));
    ask(&app, &host, &old).await.ok();
    host.publish(&machine(&host, &new));
    // Not before the document has become old.
    ask(&app, &host, &old).await.ok();
    app.advance(3600);
    ask(&app, &host, &new).await.ok();
    ask(&app, &host, &old).await.refused(401, "invalid_client");
    let rows = app.tenant(None).client(&host.url()).unwrap();
    let Some(jwks) = rows.document().unwrap().jwks else {
        panic!("no keys");
    };
    assert_eq!(jwks, new.jwks());
    assert_eq!(app.count("client.changed").await, changed + 1);
    // And it is written down: the next start knows it.
    let app = app.restart().await;
    assert!(is_row(&app, &host));
    ask(&app, &host, &new).await.ok();
}

#[tokio::test]
async fn a_host_that_is_away_for_a_day_ends_no_work_under_way() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let key = Key::ed(1);
    host.publish(&machine(&host, &key));
    allow(&app, &host).await;
    app.advance(3600);
    host.answer("503 Later", "text/plain", b"");
    // Nobody is sent to a client of which nothing is known any more.
    look_for(&app, &host.url()).await.unwrap_err();
    ask(&app, &host, &key).await.ok();
    let asked = host.asked();
    for _ in 0..5 {
        ask(&app, &host, &key).await.ok();
    }
    assert_eq!(host.asked(), asked, "a host that is away is left alone");
    app.advance(31);
    ask(&app, &host, &key).await.ok();
    assert_eq!(host.asked(), asked + 1);
    // The next start does not know when the document was last read, but has it written down.
    let app = app.restart().await;
    ask(&app, &host, &key).await.ok();
    app.advance(86_400);
    ask(&app, &host, &key).await.refused(401, "invalid_client");
    app.advance(31);
    host.publish(&machine(&host, &key));
    ask(&app, &host, &key).await.ok();
}

#[tokio::test]
async fn a_document_that_is_gone_or_no_good_ends_the_client_at_once() {
    for (status, body) in [
        ("404 Not Found", "{}"),
        ("410 Gone", "{}"),
        ("200 OK", "{}"),
    ] {
        let (app, host) = (reading_here().await, DocumentHost::start().await);
        let key = Key::ed(1);
        host.publish(&machine(&host, &key));
        allow(&app, &host).await;
        ask(&app, &host, &key).await.ok();
        host.answer(status, "application/json", body.as_bytes());
        app.advance(3600);
        ask(&app, &host, &key).await.refused(401, "invalid_client");
    }
}

#[tokio::test]
async fn when_a_document_was_read_is_written_down_now_and_then() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    allow(&app, &host).await;
    let changed = app.count("client.changed").await;
    let written = || app.tenant(None).client(&host.url()).unwrap().updated_at();
    let first = written();
    for hour in 1..=6 {
        app.advance(3600);
        found(&app, &host).await;
        let expected = if hour < 6 { first } else { app.now() };
        assert_eq!(written(), expected, "after {hour} hours");
    }
    assert_eq!(app.count("client.changed").await, changed);
}

#[tokio::test]
async fn a_client_that_nobody_has_allowed_anything_gets_nothing() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let key = Key::ed(1);
    host.publish(&machine(&host, &key));
    ask(&app, &host, &key)
        .await
        .refused(400, "unauthorized_client");
    assert!(!is_row(&app, &host));
    allow(&app, &host).await;
    let token = ask(&app, &host, &key).await.token();
    // What is open to clients that nobody has declared, and no more.
    let claims = app.claims(&token).await;
    assert_eq!(claims["scope"], "tool:forecast");
    assert_eq!(claims["client_id"], host.url());
    let assertion = app.assertion(&key, &host.url(), &json!({}));
    let more = [("resource", WEATHER), ("scope", "tool:alert")];
    app.ask_with(&assertion, &more)
        .await
        .refused(400, "invalid_scope");
}

#[tokio::test]
async fn keys_by_url_sign_in_too() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let key = Key::ed(1);
    let keys = crate::support::KeyHost::start(&key.jwks()).await;
    let mut document = machine(&host, &key);
    document["jwks_uri"] = json!(keys.url);
    document.as_object_mut().unwrap().remove("jwks");
    host.publish(&document);
    allow(&app, &host).await;
    ask(&app, &host, &key).await.ok();
    ask(&app, &host, &Key::ed(2))
        .await
        .refused(401, "invalid_client");
}

#[tokio::test]
async fn basic_with_an_empty_password_fails_and_the_body_works_afterwards() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    allow(&app, &host).await;
    let form = [("token", "nothing"), ("client_id", &*host.url())];
    for (id, secret) in [(host.url(), ""), (host.url(), "x")] {
        let encoded: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let pair = STANDARD.encode(format!("{encoded}:{secret}"));
        let answer = app
            .post("/revoke")
            .header("authorization", &format!("Basic {pair}"))
            .form(&form[..1])
            .await;
        answer.refused(401, "invalid_client");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Basic "), "{challenge}");
    }
    assert_eq!(app.post("/revoke").form(&form).await.status, 200);
}

#[tokio::test]
async fn who_first_allows_a_client_may_be_two_people() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let client = found(&app, &host).await;
    let row = || cimd::row(&app.state, &app.tenant(None), &client).unwrap();
    let (one, two) = (row(), row());
    app.commit(vec![one]).await.unwrap();
    app.commit(vec![two]).await.unwrap();
    let known = found(&app, &host).await;
    assert!(cimd::row(&app.state, &app.tenant(None), &known).is_none());
}

#[tokio::test]
async fn whoever_could_be_another_is_asked_about_each_time() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let uris = json!({ "redirect_uris": ["http://127.0.0.1/callback", CALLBACK] });
    host.publish(&host.document(&uris));
    let person = app.signed_in("ann").await;
    let over = |redirect_uri: &str, prompt: Value| json!({ "client_id": host.url(), "redirect_uri": redirect_uri, "prompt": prompt });
    let page = person.open(&over(CALLBACK, Value::Null)).await;
    assert!(told(&person.press(&page, "allow", &[]).await).contains_key("code"));
    assert!(
        person
            .allow(&over(CALLBACK, json!("none")))
            .await
            .contains_key("code")
    );
    // RFC 8252 §8.6: the client's id is public, and anything may listen on the device.
    let local = "http://127.0.0.1:5005/callback";
    for _ in 0..2 {
        let page = person.open(&over(local, Value::Null)).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("consent-local"));
        let answer = person.press(&page, "allow", &[]).await;
        let location = answer.header("location").unwrap();
        assert!(
            location.starts_with(&format!("{local}?code=")),
            "{location}"
        );
    }
    let silent = person.open(&over(local, json!("none"))).await;
    let location = silent.header("location").unwrap();
    let refused = format!("{local}?error=consent_required&");
    assert!(location.starts_with(&refused), "{location}");
}

#[tokio::test]
async fn an_administrator_keeps_a_client_out() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let key = Key::ed(1);
    host.publish(&machine(&host, &key));
    allow(&app, &host).await;
    let client = found(&app, &host).await;
    let token = ask(&app, &host, &key).await.token();
    let id: String = form_urlencoded::byte_serialize(host.url().as_bytes()).collect();
    let shown = app.admin("GET", &format!("/clients/{id}")).await.await.ok();
    assert_eq!(shown["origin"], "document");
    app.admin("POST", &format!("/clients/{id}/disable"))
        .await
        .json(&json!({}))
        .await
        .ok();
    look_for(&app, &host.url()).await.unwrap_err();
    ask(&app, &host, &key).await.refused(401, "invalid_client");
    assert!(!app.is_active(&token).await);
    // Nobody can let it in again by allowing it something.
    let change = writ::store::Change::PutClient {
        row: client.row("default"),
        before: None,
    };
    app.commit(vec![change]).await.unwrap_err();
    app.admin("POST", &format!("/clients/{id}/enable"))
        .await
        .json(&json!({}))
        .await
        .ok();
    found(&app, &host).await;
}

#[tokio::test]
async fn metadata_say_whether_documents_are_read() {
    const SAYS: &str = "client_id_metadata_document_supported";
    let app = TestApp::new().await;
    for path in ["oauth-authorization-server", "openid-configuration"] {
        let metadata = app.get(&format!("/.well-known/{path}")).await.ok();
        assert_eq!(metadata[SAYS], true, "{path}");
    }
    let app = with(|config| config.metadata_documents.enabled = false).await;
    let metadata = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .ok();
    assert!(metadata.get(SAYS).is_none());
    let host = DocumentHost::start().await;
    look_for(&app, &host.url()).await.unwrap_err();
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn an_authority_of_ones_own_is_believed_where_it_is_configured() {
    let certificate = Certificate::new();
    let host = DocumentHost::with(&certificate).await;
    let app = reading_here().await;
    let error = look_for(&app, &host.url()).await.unwrap_err().to_string();
    assert!(error.contains("did not answer"), "{error}");
    assert_eq!((host.connections(), host.asked()), (1, 0));
    let app = with(|config| config.fetch.extra_ca = certificate.chain()).await;
    found(&app, &host).await;
}

#[tokio::test]
async fn an_administrator_gives_a_client_more_and_its_document_takes_nothing_away() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let key = Key::ed(1);
    host.publish(&machine(&host, &key));
    let declare = async |members: Value| {
        let mut declaration = json!({
            "client_id": host.url(),
            "access": [{ "resource": "weather", "scopes": ["tool:alert"] }],
        });
        for (name, value) in members.as_object().unwrap() {
            declaration[name] = value.clone();
        }
        let declared = app
            .apply_in(None, json!({ "clients": [declaration] }))
            .await;
        declared.map(drop).map_err(|error| error.to_string())
    };
    let early = declare(json!({})).await.unwrap_err();
    assert!(early.contains("once a person has allowed it"), "{early}");
    allow(&app, &host).await;
    for (members, words) in [
        (json!({ "name": "Mine" }), "name"),
        (json!({ "jwks": key.jwks() }), "jwks"),
        (
            json!({ "redirect_uris": ["https://evil.example/cb"] }),
            "redirect_uris",
        ),
        (
            json!({ "client_secret": "0123456789abcdef" }),
            "client_secret",
        ),
        (
            json!({ "grant_types": ["client_credentials"] }),
            "grant_types",
        ),
        (json!({ "serves": "weather" }), "serves"),
        (json!({ "profile": "fapi2" }), "profile"),
    ] {
        let error = declare(members.clone()).await.unwrap_err();
        assert!(error.contains(words), "{members}: {error}");
    }
    let sensitive = async || {
        let assertion = app.assertion(&key, &host.url(), &json!({}));
        let form = [("resource", WEATHER), ("scope", "tool:alert")];
        app.ask_with(&assertion, &form).await
    };
    sensitive().await.refused(400, "invalid_scope");
    declare(json!({ "grant_types": [crate::support::DELEGATION] }))
        .await
        .unwrap();
    assert_eq!(sensitive().await.ok()["scope"], "tool:alert");
    let mut document = machine(&host, &key);
    document["client_name"] = json!("Renamed");
    document["access"] = json!([{ "resource": "calendar", "scopes": ["*"] }]);
    host.publish(&document);
    app.advance(3600);
    assert_eq!(sensitive().await.ok()["scope"], "tool:alert");
    let now = described(&app, &host).await;
    assert_eq!((&*now.name, now.access.len()), ("Renamed", 1));
    assert_eq!(
        now.grant_types,
        [
            "authorization_code",
            "client_credentials",
            crate::support::DELEGATION
        ]
    );
    // Said again, nothing changes.
    let changed = app.count("client.changed").await;
    declare(json!({ "grant_types": [crate::support::DELEGATION] }))
        .await
        .unwrap();
    assert_eq!(app.count("client.changed").await, changed);
}
