//! Clients that came by themselves, and are forgotten when nobody uses them.

use std::time::Duration;

use entity::consent;
use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use serde_json::{Value, json};
use writ::{
    clients::cimd,
    clock::Clock,
    config::Config,
    entropy::Entropy,
    serve::Server,
    store::{Change, authorization},
};

use super::cimd::{look_for, reading_here};
use crate::support::{DocumentHost, NOW, TestApp, WEATHER};

const WEEK: i64 = 7 * 86_400;

async fn registered(app: &TestApp) -> Value {
    let machine = json!({ "client_name": "Machine", "grant_types": ["client_credentials"] });
    let answer = app.post("/register").json(&machine).await;
    answer.with(http::StatusCode::CREATED)
}

fn id(client: &Value) -> &str {
    client["client_id"].as_str().unwrap()
}

async fn ask(app: &TestApp, client: &Value) -> u16 {
    let secret = client["client_secret"].as_str().unwrap();
    let form = [("grant_type", "client_credentials"), ("resource", WEATHER)];
    let call = app.post("/token").basic(id(client), secret).form(&form);
    call.await.status
}

/// What housekeeping does.
async fn tidy_up(app: &TestApp) {
    let before = app.now() - app.state.config.registration.unused_lifetime;
    let change = Change::ForgetUnusedClients { before };
    app.commit(vec![change]).await.unwrap();
}

fn is_there(app: &TestApp, client_id: &str) -> bool {
    app.tenant(None).client(client_id).is_some()
}

#[tokio::test]
async fn who_never_used_a_registration_loses_it_after_a_week() {
    let app = reading_here().await;
    let host = DocumentHost::start().await;
    let (unused, used, allowed, kept_out) = (
        registered(&app).await,
        registered(&app).await,
        registered(&app).await,
        registered(&app).await,
    );
    assert_eq!(ask(&app, &used).await, 200);
    let by_document = look_for(&app, &host.url()).await.unwrap();
    let row = cimd::row(&app.state, &app.tenant(None), &by_document).unwrap();
    let row_of_a_person = consent::Model {
        tenant: "default".into(),
        user_id: "alice".into(),
        client_id: id(&allowed).into(),
        document: "{}".into(),
        created_at: app.now(),
        updated_at: app.now(),
    };
    let consent = authorization::Change::PutConsent {
        row: row_of_a_person,
        before: None,
    };
    app.commit(vec![row, Change::Authorization(consent)])
        .await
        .unwrap();
    let path = format!("/clients/{}/disable", id(&kept_out));
    app.admin("POST", &path).await.json(&json!({})).await.ok();
    app.client("declared", json!({})).await;
    let told = async || entity::signal::Entity::find().count(&app.state.db).await;
    let told_before = told().await.unwrap();

    app.advance(WEEK);
    tidy_up(&app).await;
    assert!(is_there(&app, id(&unused)), "a week is not over");
    app.advance(1);
    let young = registered(&app).await;
    tidy_up(&app).await;
    for (client_id, stays) in [
        (id(&unused), false),
        (&*host.url(), false),
        (id(&used), true),
        (id(&allowed), true),
        (id(&kept_out), true),
        (id(&young), true),
        ("declared", true),
        ("agent", true),
        ("admin", true),
    ] {
        assert_eq!(is_there(&app, client_id), stays, "{client_id}");
    }
    assert_eq!(ask(&app, &unused).await, 401);
    assert_eq!(ask(&app, &used).await, 200);
    // Nothing has ended that a receiver of events should hear of.
    assert_eq!(told().await.unwrap(), told_before);
    assert_eq!(app.tenant(None).registered_clients(), 4);
    // One that came by its document comes again.
    look_for(&app, &host.url()).await.unwrap();
    let app = app.restart().await;
    assert!(!is_there(&app, id(&unused)) && is_there(&app, id(&used)));
}

#[tokio::test]
async fn each_tenant_is_tidied_up() {
    let app = TestApp::with_tenants().await;
    let machine = json!({ "grant_types": ["client_credentials"] });
    for path in ["/register", "/t/acme/register", "/t/globex/register"] {
        app.post(path)
            .json(&machine)
            .await
            .with(http::StatusCode::CREATED);
    }
    app.advance(WEEK + 1);
    for _ in 0..3 {
        tidy_up(&app).await;
    }
    for tenant in [None, Some("acme"), Some("globex")] {
        assert_eq!(app.tenant(tenant).registered_clients(), 0, "{tenant:?}");
    }
}

/// Starts a server of its own on what a test has left behind, and gives housekeeping its time.
async fn later(app: TestApp, change: impl FnOnce(&mut Config)) -> usize {
    let (home, issuer) = app.stop().await;
    let mut config = home.settle(Config::default());
    config.server.issuer = issuer;
    config.server.listen = ([127, 0, 0, 1], 0).into();
    change(&mut config);
    let clock = Clock::manual(NOW + WEEK + 1);
    let server = Server::start(config, clock, Entropy::seeded(7)).await;
    let server = server.unwrap();
    let left = || server.app.registry.root().registered_clients();
    for _ in 0..100 {
        if left() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = left();
    server.stop().await;
    left
}

#[tokio::test]
async fn a_running_server_tidies_up_by_itself() {
    let app = TestApp::new().await;
    for _ in 0..3 {
        registered(&app).await;
    }
    assert_eq!(later(app, |_| {}).await, 0);
}

#[tokio::test]
async fn it_does_not_where_the_operator_keeps_them() {
    let app = TestApp::new().await;
    registered(&app).await;
    let keep = |config: &mut Config| config.registration.unused_lifetime = 0;
    assert_eq!(later(app, keep).await, 1);
}

#[tokio::test]
async fn a_host_that_registers_at_each_start_is_not_refused() {
    let app = TestApp::weather().await;
    let app_of_a_person = json!({
        "client_name": "Editor", "application_type": "native",
        "redirect_uris": ["http://localhost:33418/callback"],
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let call = app.post("/register").from("192.0.2.1");
        let client = call.json(&app_of_a_person).await;
        let client = client.with(http::StatusCode::CREATED);
        assert!(!id(&client).starts_with("https://"));
        ids.insert(id(&client).to_owned());
    }
    assert_eq!(ids.len(), 200);
}
