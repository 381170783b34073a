//! The admin API is a protected resource (RFC 6750, RFC 9728): who may do what.

use serde_json::json;

use crate::support::{Key, ServerKey, TestApp, WEATHER, parts};

/// Every operation and the one scope it needs.
pub(crate) const OPERATIONS: [(&str, &str, &str); 46] = [
    ("GET", "/resources", "writ:read"),
    ("POST", "/resources", "writ:resources"),
    ("GET", "/resources/weather", "writ:read"),
    ("PUT", "/resources/weather", "writ:resources"),
    ("DELETE", "/resources/weather", "writ:resources"),
    ("GET", "/clients", "writ:read"),
    ("POST", "/clients", "writ:clients"),
    ("GET", "/clients/agent", "writ:read"),
    ("PUT", "/clients/agent", "writ:clients"),
    ("DELETE", "/clients/agent", "writ:clients"),
    ("POST", "/clients/agent/secret", "writ:clients"),
    ("POST", "/clients/agent/disable", "writ:clients"),
    ("POST", "/clients/agent/enable", "writ:clients"),
    ("GET", "/users", "writ:users"),
    ("POST", "/users", "writ:users"),
    ("GET", "/users/nobody", "writ:users"),
    ("PUT", "/users/nobody", "writ:users"),
    ("DELETE", "/users/nobody", "writ:users"),
    ("POST", "/users/nobody/disable", "writ:users"),
    ("POST", "/users/nobody/enable", "writ:users"),
    ("POST", "/users/nobody/password", "writ:users"),
    ("DELETE", "/users/nobody/authenticator", "writ:users"),
    ("GET", "/users/nobody/credentials", "writ:users"),
    ("DELETE", "/users/nobody/credentials/x", "writ:users"),
    ("GET", "/users/nobody/sessions", "writ:users"),
    ("DELETE", "/users/nobody/sessions", "writ:users"),
    ("DELETE", "/users/nobody/sessions/x", "writ:users"),
    ("POST", "/revocations", "writ:revocations"),
    ("POST", "/events", "writ:events"),
    ("GET", "/streams", "writ:read"),
    ("GET", "/streams/nobody", "writ:read"),
    ("DELETE", "/streams/nobody", "writ:events"),
    ("POST", "/streams/nobody/enable", "writ:events"),
    ("POST", "/streams/nobody/pause", "writ:events"),
    ("POST", "/streams/nobody/disable", "writ:events"),
    ("GET", "/keys", "writ:read"),
    ("POST", "/keys/rotate", "writ:keys"),
    ("GET", "/audit", "writ:audit"),
    ("GET", "/audit/verify", "writ:audit"),
    ("GET", "/audit/checkpoint", "writ:audit"),
    ("POST", "/audit/truncate", "writ:admin"),
    ("GET", "/audit/sinks", "writ:audit"),
    ("GET", "/tenants", "writ:tenants"),
    ("POST", "/tenants", "writ:tenants"),
    ("GET", "/tenants/nobody", "writ:tenants"),
    ("DELETE", "/tenants/nobody", "writ:tenants"),
];

const SCOPES: [&str; 13] = [
    "writ:events",
    "writ:read",
    "writ:resources",
    "writ:clients",
    "writ:keys",
    "writ:audit",
    "writ:metrics",
    "writ:tenants",
    "resource:register",
    "client:register",
    "writ:revocations",
    "token:introspect",
    "writ:users",
];

const CHANGING: [&str; 5] = [
    "writ:events",
    "writ:resources",
    "writ:clients",
    "writ:keys",
    "writ:tenants",
];

#[tokio::test]
async fn every_operation_needs_exactly_its_scope() {
    let app = TestApp::weather().await;
    for (method, path, scope) in OPERATIONS {
        let path = format!("/admin{path}");
        // Whoever may change a thing may read it.
        let reading = |other: &str| scope == "writ:read" && CHANGING.contains(&other);
        let others: Vec<&str> = SCOPES
            .into_iter()
            .filter(|s| *s != scope && !reading(s))
            .collect();
        let token = app.admin_token(None, &others.join(" ")).await;
        let answer = app.call(method, &path).bearer(&token).json(&json!(0)).await;
        answer.refused(403, "insufficient_scope");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.contains("error=\"insufficient_scope\""),
            "{challenge}"
        );
        assert!(
            challenge.contains(&format!("scope=\"{scope}\"")),
            "{challenge}"
        );
        let token = app.admin_token(None, scope).await;
        let answer = app.call(method, &path).bearer(&token).json(&json!(0)).await;
        assert!(
            !matches!(answer.status, 401 | 403),
            "{method} {path}: {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn without_a_token_the_challenge_says_where_to_get_one() {
    let app = TestApp::weather().await;
    for (method, path, scope) in OPERATIONS {
        let answer = app.call(method, &format!("/admin{path}")).await;
        assert_eq!(answer.status, 401, "{method} {path}");
        // AC-196, RFC 6750 §3.1, RFC 9728 §5.1: no error attribute, the metadata and the scope.
        assert_eq!(
            answer.header("www-authenticate"),
            Some(
                format!(
                    "Bearer resource_metadata=\"https://as.example/.well-known/\
                     oauth-protected-resource/admin\", scope=\"{scope}\""
                )
                .as_str()
            )
        );
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_everywhere() {
    let app = TestApp::weather().await;
    // AC-197, AC-200, AC-332: garbage, another resource's token, a stranger's signature, no
    // password of old.
    let good = app.admin_token(None, "writ:admin").await;
    let elsewhere = app.token("agent", WEATHER, "tool:forecast").await;
    let (header, claims) = parts(&good);
    let foreign = Key::ed(9).sign(&header, &claims);
    for token in [
        "garbage",
        "a.b.c",
        "",
        &elsewhere,
        &foreign,
        &good[..good.len() - 2],
    ] {
        for (method, path, _) in OPERATIONS {
            let answer = app
                .call(method, &format!("/admin{path}"))
                .header("authorization", &format!("Bearer {token}"))
                .await;
            answer.refused(401, "invalid_token");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        }
    }
}

#[tokio::test]
async fn a_token_ends_when_it_expires_and_when_its_client_is_gone() {
    let app = TestApp::weather().await;
    let access = json!([{ "resource": "writ-admin", "scopes": ["writ:read"] }]);
    app.client("reader", json!({ "access": access })).await;
    let admin = "https://as.example/admin";
    let token = app.token("reader", admin, "writ:read").await;
    app.get("/admin/clients").bearer(&token).await.ok();
    app.advance(300);
    app.get("/admin/clients")
        .bearer(&token)
        .await
        .refused(401, "invalid_token");
    let token = app.token("reader", admin, "writ:read").await;
    app.admin("DELETE", "/clients/reader").await.await;
    app.get("/admin/clients")
        .bearer(&token)
        .await
        .refused(401, "invalid_token");
}

#[tokio::test]
async fn a_token_is_taken_from_the_one_authorization_header_only() {
    let app = TestApp::weather().await;
    let token = app.admin_token(None, "writ:admin").await;
    // AC-198, AC-199.
    let query = app
        .get(&format!("/admin/clients?access_token={token}"))
        .await;
    query.refused(401, "invalid_token");
    let form = app
        .post("/admin/clients")
        .form(&[("access_token", &token)])
        .await;
    assert_eq!(form.status, 401);
    let twice = app
        .get("/admin/clients")
        .bearer(&token)
        .bearer(&token)
        .await;
    assert!(matches!(twice.status, 400 | 401));
    let cookie = app
        .get("/admin/clients")
        .header("cookie", &format!("token={token}"))
        .await;
    assert_eq!(cookie.status, 401);
    for scheme in ["Basic", "DPoP", "Token"] {
        let answer = app
            .get("/admin/clients")
            .header("authorization", &format!("{scheme} {token}"))
            .await;
        assert_eq!(answer.status, 401, "{scheme}");
    }
    // RFC 9110 §11.1: the scheme in any letter case.
    app.get("/admin/clients")
        .header("authorization", &format!("bearer {token}"))
        .await
        .ok();
}

#[tokio::test]
async fn administration_is_for_clients_that_were_given_it_by_name() {
    let app = TestApp::weather().await;
    // AC-247, AC-332: neither `*` nor registration leads to it.
    let access = json!([{ "resource": "writ-admin", "scopes": ["*"] }]);
    app.client("starry", json!({ "access": access })).await;
    let params = [
        ("resource", "https://as.example/admin"),
        ("scope", "writ:admin writ:read"),
    ];
    app.ask("starry", &params)
        .await
        .refused(400, "invalid_target");
    app.ask("agent", &params)
        .await
        .refused(400, "invalid_target");
}

#[tokio::test]
async fn a_token_forged_for_the_wrong_audience_or_issuer_is_refused() {
    let app = TestApp::with_tenants().await;
    let key = ServerKey::of(&app, &app.tenant(None));
    let good = app.admin_token(None, "writ:admin").await;
    let honest = parts(&good).1;
    app.get("/admin/clients")
        .bearer(&key.token(&honest))
        .await
        .ok();
    for (member, value) in [
        ("aud", json!("https://as.example/admin/")),
        ("aud", json!("https://as.example")),
        ("aud", json!("")),
        ("aud", json!([])),
        ("aud", json!([["https://as.example/admin"]])),
        ("aud", json!(["https://other.example"])),
        ("iss", json!("https://as.example/")),
        ("iss", json!("https://AS.example")),
        ("iss", json!("https://as.example/t/acme")),
        ("client_id", json!("nobody")),
        ("scope", json!("writ:Admin")),
        ("scope", json!(["writ:admin"])),
    ] {
        let mut claims = honest.clone();
        claims[member] = value.clone();
        let answer = app.get("/admin/clients").bearer(&key.token(&claims)).await;
        assert!(
            matches!(answer.status, 401 | 403),
            "{member} {value}: {}",
            answer.status
        );
    }
}
