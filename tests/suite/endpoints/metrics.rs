//! `GET /metrics`

use std::collections::HashMap;

use serde_json::json;

use crate::support::{Connection, LiveServer, TestApp, WEATHER, status};

/// Names with labels, and their values.
fn read(text: &str) -> HashMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| line.rsplit_once(' ').unwrap());
    let samples = samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    samples.collect()
}

async fn metrics(app: &TestApp) -> HashMap<String, f64> {
    let token = app.admin_token(None, "writ:metrics").await;
    let answer = app.get("/metrics").bearer(&token).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    read(&answer.text())
}

#[tokio::test]
async fn what_happens_is_counted() {
    let app = TestApp::weather().await;
    app.token("agent", WEATHER, "tool:forecast").await;
    app.ask("agent", &[("resource", "x:y")])
        .await
        .refused(400, "invalid_target");
    let form = [("grant_type", "client_credentials")];
    let call = app.post("/token").basic("agent", "wrong").form(&form);
    call.await.refused(401, "invalid_client");
    let call = app.post("/token").basic("nobody", "wrong").form(&form);
    call.await.refused(401, "invalid_client");
    app.get("/nothing?secret=1").await.refused(404, "not_found");
    app.get("/admin/nothing").await.refused(404, "not_found");
    app.call("BREW", "/token").await;

    let found = metrics(&app).await;
    let of = |name: &str| found.get(name).copied().unwrap_or(-1.0);
    let outcome = |grant_type: &str, outcome: &str| {
        of(&format!(
            "writ_token_requests_total{{grant_type=\"{grant_type}\",outcome=\"{outcome}\"}}"
        ))
    };
    // The second is the one that asks.
    assert_eq!(outcome("client_credentials", "issued"), 2.0);
    assert_eq!(outcome("client_credentials", "invalid_target"), 1.0);
    assert_eq!(outcome("none", "invalid_client"), 2.0);
    assert_eq!(of("writ_client_authentication_failures_total"), 2.0);
    let answered = |route: &str, method: &str, status: &str| {
        of(&format!(
            "writ_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}}"
        ))
    };
    assert_eq!(answered("/token", "POST", "2xx"), 2.0);
    assert_eq!(answered("/token", "POST", "4xx"), 3.0);
    assert_eq!(answered("/token", "OTHER", "4xx"), 1.0);
    assert_eq!(answered("none", "GET", "4xx"), 2.0);
    let took = "writ_http_request_duration_seconds";
    assert_eq!(of(&format!("{took}_count{{route=\"/token\"}}")), 6.0);
    assert!(of(&format!("{took}_sum{{route=\"/token\"}}")) > 0.0);
    assert_eq!(of("writ_registry_entries{kind=\"clients\"}"), 2.0);
    assert_eq!(of("writ_registry_entries{kind=\"resources\"}"), 5.0);
    assert_eq!(of("writ_registry_entries{kind=\"tenants\"}"), 1.0);
    assert_eq!(of("writ_registry_entries{kind=\"grants\"}"), 2.0);
    assert_eq!(of("writ_journal_queue"), 0.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        of(&format!("writ_build_info{{version=\"{version}\"}}")),
        1.0
    );
    // Each token and each refusal was one event, and one command.
    assert!(of("writ_audit_events_total") >= 3.0);
    assert!(of("writ_journal_commit_commands_sum") >= 3.0);
    let commits = of("writ_journal_commit_commands_count");
    assert_eq!(of("writ_journal_commit_duration_seconds_count"), commits);
    assert!(of("writ_journal_commit_duration_seconds_sum") > 0.0);
    assert!(of("process_resident_memory_bytes") > 1e6);
    assert!(of("process_cpu_seconds_total") > 0.0);
    assert!(of("process_start_time_seconds") > 1.7e9);
    assert!(of("process_open_fds") > 3.0);
}

#[tokio::test]
async fn nothing_a_caller_sends_becomes_a_label() {
    let app = TestApp::weather().await;
    for n in 0..50 {
        app.get(&format!("/path-{n}")).await;
        app.get(&format!("/register/client-{n}")).await;
        app.get(&format!("/admin/x{n}/y")).await;
        app.get(&format!("/t/tenant-{n}/token")).await;
        app.call(&format!("M{n}"), "/token").await;
        let form = [("grant_type", &*format!("grant-{n}"))];
        app.post("/token").basic("agent", "no").form(&form).await;
    }
    let before = metrics(&app).await.len();
    for n in 50..100 {
        app.get(&format!("/path-{n}")).await;
        app.call(&format!("M{n}"), "/token").await;
        app.get(&format!("/register/client-{n}")).await;
    }
    let after = metrics(&app).await;
    // The first look at them is counted too.
    assert!(after.len() <= before + 20, "{before} and {}", after.len());
    for name in after.keys() {
        assert!(!name.contains("-5") && !name.contains("M5"), "{name}");
    }
}

#[tokio::test]
async fn only_a_reader_of_metrics_at_the_default_tenant_sees_them() {
    let app = TestApp::with_tenants().await;
    app.get("/metrics").await.refused(401, "invalid_token");
    let token = app.admin_token(None, "writ:read").await;
    let answer = app.get("/metrics").bearer(&token).await;
    answer.refused(403, "insufficient_scope");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains("scope=\"writ:metrics\""), "{challenge}");
    let token = app.admin_token(Some("acme"), "writ:metrics").await;
    let call = app.get("/t/acme/metrics").bearer(&token);
    call.await.refused(404, "not_found");
    let call = app.get("/metrics").bearer(&token);
    call.await.refused(401, "invalid_token");
    // A client that may do nothing else, as a Prometheus server is.
    app.client(
        "prometheus",
        json!({ "access": [{ "resource": "writ-admin", "scopes": ["writ:metrics"] }] }),
    )
    .await;
    let resource = format!("{}/admin", app.issuer);
    let form = [("resource", resource.as_str()), ("scope", "writ:metrics")];
    let token = app.ask("prometheus", &form).await.token();
    assert_eq!(app.get("/metrics").bearer(&token).await.status, 200);
    let call = app.get("/admin/clients").bearer(&token);
    call.await.refused(403, "insufficient_scope");
}

#[tokio::test]
async fn an_address_of_their_own_answers_without_a_token() {
    let listen = ([127, 0, 0, 1], 0).into();
    let server = LiveServer::start(|config| config.telemetry.metrics_listen = Some(listen)).await;
    let address = server.server.metrics_address.unwrap();
    let mut waiting = server.connect().await;
    waiting.write("GET ").await;
    assert_eq!(server.honest().await, 200);
    let ask = async |path: &str| {
        let mut connection = Connection::to(address).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        connection.write(request).await;
        connection.rest().await
    };
    let answer = ask("/metrics").await;
    assert_eq!(status(&answer), 200, "{answer}");
    let (_, text) = answer.split_once("\r\n\r\n").unwrap();
    let found = read(text);
    assert_eq!(found["writ_connections_open"], 1.0);
    assert!(found["writ_audit_events_total"] >= 0.0);
    assert_eq!(found["writ_outbox_lag_seconds"], 0.0);
    assert_eq!(found["writ_events_early"], 0.0);
    for (path, wanted) in [("/healthz", 200), ("/readyz", 200), ("/token", 404)] {
        assert_eq!(status(&ask(path).await), wanted, "{path}");
    }
    drop(waiting);
    server.server.stop().await;
}
