//! `GET /admin/openapi.json`

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::access::OPERATIONS;
use crate::support::TestApp;

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"];

async fn document(app: &TestApp) -> Value {
    app.get("/admin/openapi.json").await.ok()
}

/// A URL that the path template stands for.
fn filled(template: &str) -> String {
    let mut path = String::new();
    for (i, piece) in template.split(['{', '}']).enumerate() {
        path.push_str(if i % 2 == 0 { piece } else { "x" });
    }
    path
}

#[tokio::test]
async fn every_documented_operation_is_there_and_no_other_at_its_path() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    for (template, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let documented = item.get(method.to_ascii_lowercase()).is_some();
            let answer = app.call(method, &filled(template)).json(&json!({})).await;
            // An operation asks for a token, or for a body it can read; anything else is 405.
            let there = !matches!(answer.status, 404 | 405);
            assert_eq!(there, documented, "{method} {template}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn every_route_is_documented() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let documented: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    // The room's own table, as it stands in the source.
    let source = include_str!("../../../src/admin/mod.rs");
    let table = source.split("fn router()").nth(1).unwrap();
    let table = table.split("\n}\n").next().unwrap();
    let routes: BTreeSet<String> = table
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|path| *path != "/openapi.json")
        .map(|path| format!("/admin{path}"))
        .collect();
    assert!(routes.len() >= 10);
    assert_eq!(documented, routes);
}

#[tokio::test]
async fn the_table_of_scopes_covers_every_operation_but_apply() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let paths = document["paths"].as_object().unwrap();
    let operations: usize = paths
        .values()
        .map(|item| item.as_object().unwrap().len())
        .sum();
    assert_eq!(operations, OPERATIONS.len() + 1);
}

#[tokio::test]
async fn every_schema_it_names_is_in_it() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let named: BTreeSet<&str> = text
        .split("#/components/schemas/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(named.len() >= 10);
    for name in named {
        assert!(schemas.contains_key(name), "{name}");
    }
}
