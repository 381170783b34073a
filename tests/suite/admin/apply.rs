//! `POST /admin/apply`: a declaration made true.

use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

fn declaration() -> Value {
    json!({
        "resources": [{
            "id": "weather", "resource": "https://weather.example/mcp",
            "tools": [{ "name": "forecast" }],
        }],
        "clients": [{
            "client_id": "agent", "access": [{ "resource": "weather", "scopes": ["*"] }],
        }],
        "tenants": [{
            "name": "acme", "registration": "off",
            "resources": [{ "id": "own", "resource": "https://weather.example/mcp" }],
        }],
    })
}

async fn send(app: &TestApp, query: &str, body: &Value) -> Answer {
    app.admin("POST", &format!("/apply{query}"))
        .await
        .json(body)
        .await
}

fn lines(answer: &Answer) -> Vec<(String, String, String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let body = answer.ok();
    let lines = body.as_array().unwrap().iter();
    lines
        .map(|l| {
            (
                text(l, "tenant"),
                text(l, "kind"),
                text(l, "id"),
                text(l, "action"),
            )
        })
        .collect()
}

fn expected(action: &str) -> Vec<(String, String, String, String)> {
    [
        ("default", "resource", "weather"),
        ("default", "client", "agent"),
        ("acme", "tenant", "acme"),
        ("acme", "resource", "own"),
    ]
    .map(|(tenant, kind, id)| (tenant.into(), kind.into(), id.into(), action.into()))
    .into()
}

#[tokio::test]
async fn the_same_document_twice_changes_nothing_the_second_time() {
    let app = TestApp::new().await;
    let first = send(&app, "", &declaration()).await;
    assert_eq!(lines(&first), expected("created"));
    // Secrets are shown once.
    let body = first.json();
    assert!(body[1]["client_secret"].is_string());
    assert_eq!(body[2]["administrator"]["client_id"], "admin");
    assert_eq!(
        body[2]["administrator"]["issuer"],
        "https://as.example/t/acme"
    );
    let url = "https://as.example/resources/weather/oauth-protected-resource";
    assert_eq!(body[0]["metadata_url"], url);
    let before = app.admin("GET", "/audit?limit=1000").await.await.json();
    let second = send(&app, "", &declaration()).await;
    assert_eq!(lines(&second), expected("unchanged"));
    let text = second.text();
    assert!(!text.contains("client_secret") && !text.contains("administrator"));
    let after = app.admin("GET", "/audit?limit=1000").await.await.json();
    let changes = |events: &Value| {
        let events = events.as_array().unwrap().iter();
        events
            .filter(|e| !e["kind"].as_str().unwrap().starts_with("token"))
            .count()
    };
    assert_eq!(changes(&before), changes(&after));
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_does_nothing() {
    let app = TestApp::new().await;
    let answer = send(&app, "?dry_run=true", &declaration()).await;
    assert_eq!(lines(&answer), expected("created"));
    assert!(
        !answer.text().contains("client_secret"),
        "a secret that will never hold"
    );
    assert!(app.tenant(None).client("agent").is_none());
    assert!(app.state.registry.find("acme").is_none());
    // The server's own.
    assert_eq!(app.tenant(None).resources().all().len(), 3);
}

#[tokio::test]
async fn what_a_declaration_does_not_mention_stays() {
    let app = TestApp::new().await;
    send(&app, "", &declaration()).await.ok();
    send(&app, "", &json!({ "clients": [{ "client_id": "other" }] }))
        .await
        .ok();
    assert!(app.tenant(None).client("agent").is_some());
    send(&app, "", &json!({})).await.ok();
}

#[tokio::test]
async fn one_wrong_line_and_nothing_is_done() {
    let app = TestApp::new().await;
    let mut body = declaration();
    body["tenants"][0]["clients"] = json!([{ "client_id": "bad id" }]);
    send(&app, "", &body).await.refused(400, "invalid_request");
    assert!(app.state.registry.find("acme").is_none());
    assert!(app.tenant(None).client("agent").is_none());
    // The server's own.
    assert_eq!(app.tenant(None).resources().all().len(), 3);
}

#[tokio::test]
async fn unknown_members_are_named_with_their_place() {
    let app = TestApp::new().await;
    for (body, place) in [
        (json!({ "resource": [] }), "resource"),
        (
            json!({ "clients": [{ "client_id": "a", "acces": [] }] }),
            "clients[0].acces",
        ),
        (
            json!({ "tenants": [{ "name": "a", "issuer": "x" }] }),
            "tenants[0].issuer",
        ),
        (
            json!({ "clients": [{ "client_id": 3 }] }),
            "clients[0].client_id",
        ),
        (json!([]), ""),
        (json!("x"), ""),
    ] {
        let answer = send(&app, "", &body).await;
        answer.refused(400, "invalid_request");
        assert!(answer.text().contains(place), "{place}: {}", answer.text());
    }
    let trailing = format!("{}{{}}", declaration());
    let call = app.admin("POST", "/apply").await;
    call.raw("application/json", trailing)
        .await
        .refused(400, "invalid_request");
    send(&app, "?dryrun=true", &declaration())
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn each_part_needs_its_own_scope() {
    let app = TestApp::new().await;
    for (part, scope) in [
        ("resources", "writ:resources"),
        ("clients", "writ:clients"),
        ("tenants", "writ:tenants"),
    ] {
        let body = json!({ part: declaration()[part] });
        let all = [
            "writ:read",
            "writ:resources",
            "writ:clients",
            "writ:tenants",
        ];
        let others: Vec<&str> = all.into_iter().filter(|s| *s != scope).collect();
        let token = app.admin_token(None, &others.join(" ")).await;
        app.post("/admin/apply")
            .bearer(&token)
            .json(&body)
            .await
            .refused(403, "insufficient_scope");
    }
    app.post("/admin/apply")
        .json(&json!({}))
        .await
        .refused(401, "invalid_token");
    let token = app.admin_token(None, "client:register").await;
    app.post("/admin/apply")
        .bearer(&token)
        .json(&json!({}))
        .await
        .refused(403, "insufficient_scope");
}

#[tokio::test]
async fn a_stranger_learns_nothing_about_the_body() {
    let app = TestApp::new().await;
    // Who may not ask is told so before anything is read.
    app.post("/admin/apply")
        .json(&json!({ "nonsense": 1 }))
        .await
        .refused(401, "invalid_token");
}

#[tokio::test]
async fn only_the_servers_own_issuer_has_tenants() {
    let app = TestApp::with_tenants().await;
    let token = app.admin_token(Some("acme"), "writ:admin").await;
    app.post("/t/acme/admin/apply")
        .bearer(&token)
        .json(&json!({ "tenants": [{ "name": "below" }] }))
        .await
        .refused(400, "invalid_request");
    assert!(app.state.registry.find("below").is_none());
}
