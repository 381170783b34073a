//! `writ doctor` in front of servers that are well, and of some that are not.

use axum::{Router, routing::post};
use serde_json::Value;
use tokio::net::TcpListener;
use writ_resource::Protect;

use super::Scene;

/// The checks of one kind and how they ended.
fn verdicts(report: &Value, check: &str) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let checks = checks.filter(|c| c["check"] == check);
    checks
        .map(|c| c["verdict"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_issuer_is_well_and_a_slash_is_not() {
    let scene = Scene::start();
    scene.json("tenant add acme --out acme.json");
    for url in [
        String::new(),
        scene.issuer.clone(),
        format!("{}/t/acme", scene.issuer),
    ] {
        let seen = scene.json(&format!("doctor {url}"));
        let checks = seen["reports"][0]["checks"].as_array().unwrap();
        assert!(checks.iter().all(|c| c["verdict"] == "ok"), "{seen}");
    }
    let slash = scene.writ(&format!("doctor {}/", scene.issuer));
    assert_eq!(slash.code, 1);
    let line = slash
        .stdout
        .lines()
        .find(|line| line.starts_with("FAIL"))
        .unwrap();
    assert!(
        line.contains("slash too many") && line.contains("use '"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_mcp_server_is_well_and_its_neighbours_are_not() {
    let scene = Scene::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let protect = Protect::resource(format!("{base}/mcp"))
        .issuer(scene.issuer.clone())
        .tools(["forecast"])
        .build()
        .unwrap();
    let app = Router::new()
        .route("/mcp", post(|| async { "never reached" }))
        .layer(protect)
        .route("/open", post(|| async { "anyone" }));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let seen = scene.json(&format!("doctor {base}/mcp"));
    assert_eq!(seen["ok"], true);
    let (server, issuer) = (&seen["reports"][0], &seen["reports"][1]);
    for check in [
        "no token",
        "challenge",
        "scope",
        "resource",
        "bad token",
        "query token",
    ] {
        assert_eq!(verdicts(server, check), ["ok"], "{check}: {server}");
    }
    assert_eq!(issuer["url"], scene.issuer.as_str());
    assert_eq!(verdicts(issuer, "issuer"), ["ok"]);

    let open = scene.writ(&format!("doctor {base}/open --json"));
    let open_report: Value = serde_json::from_str(&open.stdout).unwrap();
    assert_eq!(open.code, 1);
    assert_eq!(verdicts(&open_report["reports"][0], "no token"), ["fail"]);
}
