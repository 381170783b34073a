//! `/admin/resources`

use serde_json::json;

use crate::support::{TestApp, WEATHER};

#[tokio::test]
async fn resources_are_added_listed_shown_changed_and_removed() {
    let app = TestApp::new().await;
    let resource = json!({ "id": "r", "resource": "https://r.example", "name": "R" });
    let added = app.admin("POST", "/resources").await.json(&resource).await;
    let added = added.with(http::StatusCode::CREATED);
    assert_eq!(
        added["metadata_url"],
        "https://as.example/resources/r/oauth-protected-resource"
    );
    app.admin("POST", "/resources")
        .await
        .json(&resource)
        .await
        .refused(409, "conflict");
    let listed = app.admin("GET", "/resources").await.await.ok();
    assert_eq!(listed, json!([added]));
    assert_eq!(app.admin("GET", "/resources/r").await.await.ok(), added);
    app.advance(10);
    let changed =
        json!({ "resource": "https://r.example", "name": "S", "tools": [{ "name": "t" }] });
    let shown = app
        .admin("PUT", "/resources/r")
        .await
        .json(&changed)
        .await
        .ok();
    assert_eq!(
        (&shown["name"], &shown["tools"][0]["name"]),
        (&json!("S"), &json!("t"))
    );
    assert_eq!(shown["created_at"], added["created_at"]);
    assert_ne!(shown["updated_at"], added["updated_at"]);
    let other = json!({ "id": "s", "resource": "https://s.example" });
    app.admin("PUT", "/resources/r")
        .await
        .json(&other)
        .await
        .refused(400, "invalid_request");
    assert_eq!(app.admin("DELETE", "/resources/r").await.await.status, 204);
    for method in ["GET", "DELETE"] {
        app.admin(method, "/resources/r")
            .await
            .await
            .refused(404, "not_found");
    }
}

#[tokio::test]
async fn the_admin_api_itself_is_neither_listed_nor_changed() {
    let app = TestApp::new().await;
    assert_eq!(app.admin("GET", "/resources").await.await.ok(), json!([]));
    let body = json!({ "resource": "https://x.example" });
    for method in ["GET", "DELETE"] {
        app.admin(method, "/resources/writ-admin")
            .await
            .await
            .refused(404, "not_found");
    }
    app.admin("PUT", "/resources/writ-admin")
        .await
        .json(&body)
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn an_administrator_changes_what_registered_itself_and_it_stays_its_owners() {
    let app = TestApp::weather().await;
    let access = json!([{ "resource": "writ-admin", "scopes": ["resource:register"] }]);
    app.client("deployer", json!({ "access": access })).await;
    let token = app
        .token("deployer", "https://as.example/admin", "resource:register")
        .await;
    let body = json!({ "id": "notes", "resource": "https://notes.example" });
    app.post("/resources").bearer(&token).json(&body).await;
    let changed = json!({ "resource": "https://notes.example", "name": "Ours" });
    let shown = app
        .admin("PUT", "/resources/notes")
        .await
        .json(&changed)
        .await
        .ok();
    assert_eq!(shown["registered_by"], "deployer");
    app.get("/resources/notes").bearer(&token).await.ok();
}

#[tokio::test]
async fn a_resource_that_is_removed_gets_no_more_tokens() {
    let app = TestApp::weather().await;
    app.token("agent", WEATHER, "tool:forecast").await;
    assert_eq!(
        app.admin("DELETE", "/resources/weather").await.await.status,
        204
    );
    app.ask("agent", &[("resource", WEATHER)])
        .await
        .refused(400, "invalid_target");
}
