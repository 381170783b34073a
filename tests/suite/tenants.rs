//! One server, several issuers: nothing of one is reachable through another.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    admin::access::OPERATIONS,
    support::{ACME, DELEGATION, Key, ServerKey, TestApp, WEATHER, parts, secret_of, verify},
};

/// The same scene in two tenants and at the root.
async fn scene() -> TestApp {
    let app = TestApp::with_tenants().await;
    for tenant in [None, Some(ACME), Some("globex")] {
        app.declare_weather(tenant).await;
    }
    app
}

async fn token_in(app: &TestApp, tenant: Option<&str>) -> String {
    app.ask_in(tenant, "agent", &[("resource", WEATHER)])
        .await
        .token()
}

const PAIRS: [(Option<&str>, Option<&str>); 4] = [
    (None, Some(ACME)),
    (Some(ACME), None),
    (Some(ACME), Some("globex")),
    (Some("globex"), Some(ACME)),
];

fn path(tenant: Option<&str>, path: &str) -> String {
    tenant.map_or_else(|| path.to_owned(), |name| format!("/t/{name}{path}"))
}

#[tokio::test]
async fn keys_are_their_own() {
    let app = scene().await;
    let mut seen = BTreeSet::new();
    for tenant in [None, Some(ACME), Some("globex")] {
        for key in app.get(&path(tenant, "/jwks.json")).await.ok()["keys"]
            .as_array()
            .unwrap()
        {
            assert!(seen.insert(key["kid"].to_string()), "a key of two tenants");
        }
    }
}

#[tokio::test]
async fn a_token_names_its_issuer_and_is_verified_by_its_keys_alone() {
    let app = scene().await;
    for (own, other) in PAIRS {
        let token = token_in(&app, own).await;
        let claims = verify(&token, &app.get(&path(own, "/jwks.json")).await.ok());
        assert_eq!(
            claims["iss"],
            format!("https://as.example{}", path(own, ""))
        );
        assert_eq!(claims.get("tenant"), own.map(|name| json!(name)).as_ref());
        let foreign = app.get(&path(other, "/jwks.json")).await.ok();
        let kid = &parts(&token).0["kid"];
        assert!(
            foreign["keys"]
                .as_array()
                .unwrap()
                .iter()
                .all(|key| key["kid"] != *kid)
        );
    }
}

#[tokio::test]
async fn a_client_signs_in_at_its_own_issuer_alone() {
    let app = TestApp::with_tenants().await;
    app.declare_weather(Some(ACME)).await;
    app.ask_in(Some(ACME), "agent", &[]).await;
    for tenant in [None, Some("globex")] {
        app.ask_in(tenant, "agent", &[("resource", WEATHER)])
            .await
            .refused(401, "invalid_client");
    }
}

#[tokio::test]
async fn an_assertion_for_one_issuer_is_refused_at_another() {
    let app = scene().await;
    let key = Key::ed(1);
    let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
    let robot = json!({ "client_id": "robot", "jwks": key.jwks(), "access": access });
    for tenant in [None, Some(ACME)] {
        app.apply_in(tenant, json!({ "clients": [robot] }))
            .await
            .unwrap();
    }
    let at_acme = "https://as.example/t/acme";
    for (aud, tenant, status) in [
        (at_acme, None, 401),
        ("https://as.example", Some(ACME), 401),
        ("https://as.example", None, 200),
        (at_acme, Some(ACME), 200),
    ] {
        let assertion = app.assertion(&key, "robot", &json!({ "aud": aud }));
        let form = [
            ("grant_type", "client_credentials"),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &assertion),
        ];
        let answer = app.post(&path(tenant, "/token")).form(&form).await;
        assert_eq!(answer.status, status, "{aud} at {tenant:?}");
    }
}

#[tokio::test]
async fn resources_and_their_documents_are_their_own() {
    let app = TestApp::with_tenants().await;
    app.declare_weather(Some(ACME)).await;
    let document = "/resources/weather/oauth-protected-resource";
    let body = app.get(&path(Some(ACME), document)).await.ok();
    assert_eq!(
        body["authorization_servers"],
        json!(["https://as.example/t/acme"])
    );
    for tenant in [None, Some("globex")] {
        assert_eq!(app.get(&path(tenant, document)).await.status, 404);
        let access = json!([{ "resource": WEATHER, "scopes": ["*"] }]);
        let client = json!({ "client_id": "x", "access": access });
        assert!(
            app.apply_in(tenant, json!({ "clients": [client] }))
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_token_of_one_is_no_subject_or_actor_at_another() {
    let app = scene().await;
    for tenant in [None, Some(ACME), Some("globex")] {
        let client = json!({
            "client_id": "agent", "client_secret": secret_of("agent"),
            "grant_types": ["client_credentials", DELEGATION],
            "access": [{ "resource": "weather", "scopes": ["*"] }],
        });
        app.apply_in(tenant, json!({ "clients": [client] }))
            .await
            .unwrap();
    }
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    for (own, other) in PAIRS {
        let (mine, theirs) = (token_in(&app, own).await, token_in(&app, other).await);
        let subject = [
            ("grant_type", DELEGATION),
            ("subject_token", &mine),
            ("subject_token_type", kind),
        ];
        app.ask_in(own, "agent", &subject).await.ok();
        app.ask_in(other, "agent", &subject)
            .await
            .refused(400, "invalid_request");
        let mut with_actor = subject.to_vec();
        with_actor.extend([("actor_token", theirs.as_str()), ("actor_token_type", kind)]);
        app.ask_in(own, "agent", &with_actor)
            .await
            .refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn an_administrator_of_one_is_nobody_at_another() {
    let app = scene().await;
    for (own, other) in PAIRS {
        let token = app.admin_token(own, "writ:admin").await;
        app.get(&path(own, "/admin/clients"))
            .bearer(&token)
            .await
            .ok();
        for (method, operation, _) in OPERATIONS {
            let path = path(other, &format!("/admin{operation}"));
            let answer = app
                .call(method, &path)
                .bearer(&token)
                .json(&json!({}))
                .await;
            answer.refused(401, "invalid_token");
        }
        app.post(&path(other, "/admin/apply"))
            .bearer(&token)
            .json(&json!({}))
            .await
            .refused(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_tenants_administrator_has_no_tenants() {
    let app = scene().await;
    let token = app.admin_token(Some(ACME), "writ:admin").await;
    for (method, operation) in [
        ("GET", "/tenants"),
        ("POST", "/tenants"),
        ("GET", "/tenants/globex"),
        ("GET", "/tenants/acme"),
        ("DELETE", "/tenants/globex"),
        ("DELETE", "/tenants/default"),
    ] {
        let path = format!("/t/acme/admin{operation}");
        let body = json!({ "name": "mine" });
        let answer = app.call(method, &path).bearer(&token).json(&body).await;
        answer.refused(404, "not_found");
    }
    assert!(app.state.registry.find("globex").is_some());
    assert!(app.state.registry.find("mine").is_none());
}

#[tokio::test]
async fn lists_show_what_is_ones_own() {
    let app = TestApp::with_tenants().await;
    app.declare_weather(Some(ACME)).await;
    let token = app.admin_token(Some("globex"), "writ:admin").await;
    let list = async |noun: &str| {
        app.get(&format!("/t/globex/admin{noun}"))
            .bearer(&token)
            .await
            .ok()
    };
    assert_eq!(list("/resources").await, json!([]));
    let clients = list("/clients").await;
    let ids: Vec<&Value> = clients
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["client_id"])
        .collect();
    assert_eq!(ids, [&json!("admin")]);
    for event in list("/audit?limit=1000").await.as_array().unwrap() {
        assert_ne!(event["event"]["object"], "weather");
        assert_ne!(event["event"]["object"], "agent");
    }
    for kid in list("/keys").await.as_array().unwrap() {
        let ring = app.tenant(Some("globex"));
        assert!(
            ring.keys()
                .keys()
                .iter()
                .any(|key| key.kid == kid["kid"].as_str().unwrap())
        );
    }
    for operation in ["/resources/weather", "/clients/agent"] {
        let path = format!("/t/globex/admin{operation}");
        app.get(&path)
            .bearer(&token)
            .await
            .refused(404, "not_found");
        app.call("DELETE", &path)
            .bearer(&token)
            .await
            .refused(404, "not_found");
    }
    assert!(app.tenant(Some(ACME)).client("agent").is_some());
}

#[tokio::test]
async fn audit_chains_are_their_own_and_hold_by_themselves() {
    let app = scene().await;
    for tenant in [None, Some(ACME), Some("globex")] {
        token_in(&app, tenant).await;
        let token = app.admin_token(tenant, "writ:audit").await;
        let path = path(tenant, "/admin/audit");
        let events = app.get(&path).bearer(&token).await.ok();
        assert_eq!(events[0]["seq"], 1);
        let verified = app.get(&format!("{path}/verify")).bearer(&token).await.ok();
        assert_eq!(verified["intact"], true);
    }
}

#[tokio::test]
async fn a_registration_is_managed_at_its_own_issuer_alone() {
    let app = TestApp::with_tenants().await;
    let body = json!({ "grant_types": ["client_credentials"] });
    let registered = app.post("/t/acme/register").json(&body).await.json();
    let uri = registered["registration_client_uri"].as_str().unwrap();
    assert!(uri.starts_with("https://as.example/t/acme/register/"));
    let token = registered["registration_access_token"].as_str().unwrap();
    let below = uri.strip_prefix("https://as.example/t/acme").unwrap();
    for tenant in [None, Some("globex")] {
        for method in ["GET", "PUT", "DELETE"] {
            app.call(method, &path(tenant, below))
                .bearer(token)
                .json(&body)
                .await
                .refused(401, "invalid_token");
        }
    }
    app.get(&path(Some(ACME), below)).bearer(token).await.ok();
}

#[tokio::test]
async fn a_registration_or_resource_token_of_one_opens_nothing_at_another() {
    let app = TestApp::with_tenants().await;
    let token = app.admin_token(Some(ACME), "resource:register").await;
    let body = json!({ "resource": "https://x.example", "name": "x" });
    for tenant in [None, Some("globex")] {
        app.post(&path(tenant, "/resources"))
            .bearer(&token)
            .json(&body)
            .await
            .refused(401, "invalid_token");
    }
    app.post("/t/acme/resources")
        .bearer(&token)
        .json(&body)
        .await
        .with(http::StatusCode::CREATED);
}

#[tokio::test]
async fn a_token_forged_with_one_tenants_key_is_refused_by_the_others() {
    let app = scene().await;
    // Whoever steals a tenant's key can say whatever it likes, and is believed there alone.
    let key = ServerKey::of(&app, &app.tenant(Some(ACME)));
    let honest = parts(&app.admin_token(None, "writ:admin").await).1;
    app.get("/admin/clients")
        .bearer(&key.token(&honest))
        .await
        .refused(401, "invalid_token");
}

#[tokio::test]
async fn grants_are_their_own() {
    let app = scene().await;
    let grant = |token: &str| parts(token).1["grant_id"].clone();
    let mut seen = BTreeSet::new();
    for tenant in [None, Some(ACME), Some("globex")] {
        assert!(seen.insert(grant(&token_in(&app, tenant).await).to_string()));
    }
}

#[tokio::test]
async fn the_root_has_no_second_address() {
    let app = TestApp::with_tenants().await;
    for path in [
        "/t/default/jwks.json",
        "/t//jwks.json",
        "/t/acme/t/globex/jwks.json",
        "/T/acme/jwks.json",
        "/t/ACME/jwks.json",
        "//jwks.json",
        "/t/acme/../globex/jwks.json",
        "/t/acme%2fjwks.json",
    ] {
        assert_eq!(app.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn each_says_itself_who_may_register() {
    let app = TestApp::with_tenants().await;
    let declaration = json!({ "tenants": [
        { "name": "acme", "registration": "off" }, { "name": "globex", "registration": "token" },
    ]});
    app.apply(declaration).await;
    let body = json!({ "grant_types": ["client_credentials"] });
    app.post("/t/acme/register")
        .json(&body)
        .await
        .refused(404, "not_found");
    app.post("/t/globex/register")
        .json(&body)
        .await
        .refused(401, "invalid_token");
    app.post("/register")
        .json(&body)
        .await
        .with(http::StatusCode::CREATED);
}
