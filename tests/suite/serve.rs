//! A first start and the ones after it.

mod tls;

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use writ::{clock::Clock, config::Config, entropy::Entropy, serve::Server};

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
