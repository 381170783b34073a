//! A first start and the ones after it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::LiveServer;

#[tokio::test]
async fn a_first_start_leaves_credentials_that_only_the_owner_reads() {
    let server = LiveServer::start(|_| {}).await;
    let directory = server.directory.path();
    for name in ["admin.json", "sealing.key"] {
        let mode = std::fs::metadata(directory.join(name))
            .unwrap()
            .permissions()
            .mode();
        // The sealing key of this scene was laid out by the harness.
        assert!(
            name == "sealing.key" || mode & 0o777 == 0o600,
            "{name}: {mode:o}"
        );
    }
    let text = std::fs::read_to_string(directory.join("admin.json")).unwrap();
    let credentials: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(credentials["issuer"], server.server.issuer);
    assert_eq!(
        credentials["resource"],
        format!("{}/admin", server.server.issuer)
    );
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
        .post(format!("{}/token", server.server.issuer))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["token_type"], json!("Bearer"));
}
