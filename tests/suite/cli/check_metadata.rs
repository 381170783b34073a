//! `writ client check-metadata`

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{DocumentHost, Key, KeyHost};

/// What the command prints, and its exit code.
fn check(url: &str, more: &[&str], environment: &[(&str, &str)]) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_writ"))
        .args(["client", "check-metadata", url])
        .args(more)
        .env("WRIT_FETCH__ALLOW_PRIVATE_ADDRESSES_FOR_TESTS", "true")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.code().unwrap())
}

fn failed(report: &Value) -> Vec<&str> {
    let rules = report["rules"].as_array().unwrap();
    let failed = rules.iter().filter(|rule| rule["ok"] == false);
    failed.map(|rule| rule["rule"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_sees_what_becomes_of_a_document() {
    let host = DocumentHost::start().await;
    let key = Key::ed(1);
    let keys = KeyHost::start(&key.jwks()).await;
    host.publish(&host.document(&json!({
        "redirect_uris": ["http://localhost/callback", "editor://callback"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
        "jwks_uri": keys.url,
    })));
    host.header("cache-control", "max-age=600");
    host.etag("\"7\"");
    let (text, code) = check(&host.url(), &["--json"], &[]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["taken"]), (0, &json!(true)), "{text}");
    assert_eq!(failed(&report), [""; 0]);
    assert_eq!(
        report["client"],
        json!({
            "client_name": "Travel agent",
            "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": ["http://localhost/callback"],
            "keys": 1,
            "jwks_uri": keys.url,
            "kept_for": 600,
            "etag": "\"7\"",
        })
    );
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("editor://callback") && warnings.contains("loopback"),
        "{text}"
    );
    let (text, code) = check(&host.url(), &[], &[]);
    assert_eq!(code, 0);
    for words in [
        "ok    client_name is there",
        "authenticates by  private_key_jwt",
        "redirect URI      http://localhost/callback",
        "keys              1",
        "kept for          600 s",
        "takes this client",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_that_is_broken_is_shown() {
    let host = DocumentHost::start().await;
    host.publish(&host.document(&json!({
        "client_id": "https://app.example/other",
        "client_name": "\u{1b}[2J",
        "client_secret": "hunter2",
        "token_endpoint_auth_method": "client_secret_post",
    })));
    let (text, code) = check(&host.url(), &["--json"], &[]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["taken"]), (1, &json!(false)));
    assert_eq!(
        failed(&report),
        [
            "client_id is the URL of the document",
            "client_name is there",
            "there is no secret in it",
            "it offers a way to authenticate without a shared secret",
            "its metadata hold together",
        ]
    );
    let (text, code) = check(&host.url(), &[], &[]);
    assert_eq!(code, 1);
    assert!(
        text.contains("FAIL  client_id is the URL of the document -- "),
        "{text}"
    );
    assert!(text.contains("refuses this client"), "{text}");
    assert!(
        !text.contains("hunter2") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_would_not_fetch_is_not_fetched() {
    let host = DocumentHost::start().await;
    for (url, setting, wanted) in [
        (
            host.origin.clone(),
            ("WRIT_LIMITS__BODY", "65536"),
            "it has a path",
        ),
        (
            host.url(),
            ("WRIT_METADATA_DOCUMENTS__DENY", "[\"127.0.0.1\"]"),
            "the server's settings let it in",
        ),
        (
            host.url(),
            ("WRIT_METADATA_DOCUMENTS__ENABLED", "false"),
            "the server's settings let it in",
        ),
        (
            host.url(),
            ("WRIT_FETCH__ALLOW_PRIVATE_ADDRESSES_FOR_TESTS", "false"),
            "it uses https",
        ),
        (
            host.url().replace("http:", "https:"),
            ("WRIT_FETCH__ALLOW_PRIVATE_ADDRESSES_FOR_TESTS", "false"),
            "it answers with status 200 and JSON, in time",
        ),
    ] {
        let (text, code) = check(&url, &["--json"], &[setting]);
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((failed(&report), code), (vec![wanted], 1), "{url}");
    }
    assert_eq!(host.connections(), 0);
}
