//! `/admin/tenants`

use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn a_tenant_comes_with_keys_and_an_administrator_and_goes_with_everything() {
    let app = TestApp::new().await;
    let body = json!({ "name": "fresh", "registration": "off" });
    let answer = app.admin("POST", "/tenants").await.json(&body).await;
    let added = answer.with(http::StatusCode::CREATED);
    assert_eq!(added["issuer"], "https://as.example/t/fresh");
    let credentials = &added["administrator"];
    assert_eq!(credentials["resource"], "https://as.example/t/fresh/admin");
    let secret = credentials["client_secret"].as_str().unwrap();
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", "https://as.example/t/fresh/admin"),
        ("scope", "writ:read"),
    ];
    let token = app
        .post("/t/fresh/token")
        .basic("admin", secret)
        .form(&form)
        .await
        .token();
    app.get("/t/fresh/admin/clients").bearer(&token).await.ok();
    app.admin("POST", "/tenants")
        .await
        .json(&body)
        .await
        .refused(409, "conflict");
    let shown = app.admin("GET", "/tenants/fresh").await.await.ok();
    assert_eq!(
        (&shown["registration"], shown.get("administrator")),
        (&json!("off"), None)
    );
    assert_eq!(
        app.admin("DELETE", "/tenants/fresh").await.await.status,
        204
    );
    assert_eq!(app.get("/t/fresh/jwks.json").await.status, 404);
    app.admin("GET", "/tenants/fresh")
        .await
        .await
        .refused(404, "not_found");
    // The next tenant of that name starts from nothing.
    app.admin("POST", "/tenants").await.json(&body).await;
    app.get("/t/fresh/admin/clients")
        .bearer(&token)
        .await
        .refused(401, "invalid_token");
}

#[tokio::test]
async fn tenants_are_listed_with_their_issuers() {
    let app = TestApp::with_tenants().await;
    let listed = app.admin("GET", "/tenants").await.await.ok();
    let issuers: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["issuer"].clone())
        .collect();
    assert_eq!(
        issuers,
        [
            "https://as.example/t/acme",
            "https://as.example",
            "https://as.example/t/globex"
        ]
    );
}

#[tokio::test]
async fn names_that_cannot_be_in_a_url_are_refused() {
    let app = TestApp::new().await;
    for name in [
        "",
        "A",
        "a/b",
        "a b",
        "-a",
        "default",
        "..",
        "\u{e9}",
        &"x".repeat(64),
    ] {
        app.admin("POST", "/tenants")
            .await
            .json(&json!({ "name": name }))
            .await
            .refused(400, "invalid_request");
    }
    app.admin("DELETE", "/tenants/default")
        .await
        .await
        .refused(404, "not_found");
}
