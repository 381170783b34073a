//! A first start and the ones after it.

mod tls;

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use entity::signal;
use sea_orm::{DatabaseConnection, EntityTrait as _, PaginatorTrait as _};
use serde_json::{Value, json};

use writ::{
    clock::Clock,
    config::Config,
    entropy::Entropy,
    serve::Server,
    store::{Change, forget::AT_ONCE},
};

use crate::{
    streams::SESSION_REVOKED,
    support::{NOW, TestApp, after_first_start},
};

#[tokio::test]
async fn a_first_start_leaves_credentials_that_only_the_owner_reads() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut config = Config::default();
    config.server.listen.set_port(0);
    config.storage.data_dir = directory.to_owned();
    let server = Server::start(config, Clock::System, Entropy::Os)
        .await
        .unwrap();
    for name in ["admin.json", "sealing.key", "writ.db"] {
        let mode = std::fs::metadata(directory.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}: {mode:o}");
    }
    let text = std::fs::read_to_string(directory.join("admin.json")).unwrap();
    let credentials: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(credentials["issuer"], server.issuer);
    assert_eq!(credentials["resource"], format!("{}/admin", server.issuer));
    assert_eq!(credentials["client_id"], "admin");
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", credentials["resource"].as_str().unwrap()),
        ("client_id", "admin"),
        (
            "client_secret",
            credentials["client_secret"].as_str().unwrap(),
        ),
        ("scope", "writ:admin"),
    ];
    let answer = reqwest::Client::new()
        .post(format!("{}/token", server.issuer))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["token_type"], json!("Bearer"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_old_is_forgotten_some_at_a_time_until_nothing_is_left() {
    let app = TestApp::new().await;
    let old = |number: u64| {
        Change::Signal(signal::Model {
            seq: 0,
            tenant: "default".into(),
            id: format!("old-{number}"),
            audience: "*".into(),
            level: "access".into(),
            kind: SESSION_REVOKED.into(),
            subject: "{}".into(),
            event: "{}".into(),
            txn: String::new(),
            at: NOW * 1000,
            expires_at: NOW - 1,
        })
    };
    app.commit((0..3 * AT_ONCE).map(old).collect())
        .await
        .unwrap();
    let count = async |db: &DatabaseConnection| signal::Entity::find().count(db).await.unwrap();
    // Whoever commits meanwhile waits for one such step.
    app.commit(vec![Change::ForgetSignals { before: NOW }])
        .await
        .unwrap();
    assert_eq!(count(&app.state.db).await, 2 * AT_ONCE);
    let (home, _) = app.stop().await;
    let mut config = home.settle(Config::default());
    config.server.listen.set_port(0);
    let server = Server::start(config, Clock::manual(NOW), Entropy::seeded(8));
    let server = server.await.unwrap();
    for _ in 0..1000 {
        if count(&server.app.db).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(count(&server.app.db).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn it_is_ready_when_it_answers() {
    let home = after_first_start().await;
    let mut config = home.settle(Config::default());
    config.server.listen.set_port(0);
    let opened = Server::open(config, Clock::manual(NOW), Entropy::seeded(8)).await;
    let mut server = opened.unwrap();
    let report = server.app.ready().await;
    assert!(!report.ready && report.checks["accepting"] == "starting");
    server.answer();
    assert!(server.app.ready().await.ready);
    server.stop().await;
}
