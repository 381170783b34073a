//! Metadata: RFC 8414, OpenID Connect Discovery 1.0 and RFC 9728.

use serde_json::{Value, json};

use crate::support::{DELEGATION, TestApp};

/// Every path at which clients look for the metadata of the issuer with this path.
fn forms(path: &str) -> Vec<String> {
    const NAMES: [&str; 2] = ["oauth-authorization-server", "openid-configuration"];
    let mut forms = Vec::new();
    for name in NAMES {
        forms.push(format!("/.well-known/{name}{path}"));
        forms.push(format!("{path}/.well-known/{name}"));
    }
    forms
}

#[tokio::test]
async fn every_path_form_answers_the_same_document_with_the_exact_issuer() {
    // AC-273, RFC 8414 §3.1, OpenID Connect Discovery §4.
    for base in ["https://as.example", "https://as.example/id/main"] {
        let app = TestApp::tenants_at(base).await;
        for tenant in ["", "/t/acme", "/t/globex"] {
            let issuer = format!("{base}{tenant}");
            let path = issuer.strip_prefix("https://as.example").unwrap();
            let mut seen = Vec::new();
            for form in forms(path) {
                let answer = app.get(&form).await;
                assert_eq!(answer.header("content-type"), Some("application/json"));
                let body = answer.ok();
                assert_eq!(body["issuer"], issuer, "{form}");
                seen.push(body);
            }
            seen.dedup();
            assert_eq!(seen.len(), 1, "{issuer}");
            for (member, endpoint) in [("token_endpoint", "/token"), ("jwks_uri", "/jwks.json")] {
                assert_eq!(seen[0][member], format!("{issuer}{endpoint}"));
            }
        }
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_exist_has_no_metadata() {
    let app = TestApp::tenants_at("https://as.example/id").await;
    for path in [
        "/t/acme",
        "/id/t/nobody",
        "/id/t/default",
        "/id/t/",
        "/other",
        "",
        "/id/t/acme/x",
    ] {
        for form in forms(path) {
            assert_eq!(app.get(&form).await.status, 404, "{form}");
        }
    }
}

#[tokio::test]
async fn the_issuer_never_follows_the_request() {
    let app = TestApp::new().await;
    let honest = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .ok();
    for name in ["host", "x-forwarded-host", "x-forwarded-proto", "forwarded"] {
        let answer = app
            .get("/.well-known/oauth-authorization-server")
            .header(name, "evil.example")
            .await;
        assert_eq!(answer.ok(), honest, "{name}");
    }
}

#[tokio::test]
async fn strict_clients_find_every_member_they_insist_on() {
    let app = TestApp::new().await;
    let body = app.get("/.well-known/openid-configuration").await.ok();
    let members = body.as_object().unwrap();
    // RFC 8414 §2: empty members are left out.
    assert!(
        members
            .values()
            .all(|v| !v.is_null() && *v != json!([]) && *v != json!(""))
    );
    // OpenID Connect Discovery §3, as strict parsers read it.
    for member in [
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "registration_endpoint",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    ] {
        assert!(members.contains_key(member), "{member}");
    }
    for (member, value) in members {
        if member.ends_with("_endpoint") || member.ends_with("_uri") {
            let url = url::Url::parse(value.as_str().unwrap()).unwrap();
            assert_eq!(url.scheme(), "https");
            assert!(url.fragment().is_none());
        }
    }
    let holds =
        |member: &str, value: &str| body[member].as_array().unwrap().contains(&json!(value));
    assert!(holds("id_token_signing_alg_values_supported", "RS256"));
    assert!(holds("code_challenge_methods_supported", "S256"));
    assert!(!holds("code_challenge_methods_supported", "plain"));
    assert_eq!(body["authorization_response_iss_parameter_supported"], true);
}

#[tokio::test]
async fn no_signature_algorithm_without_a_key_is_advertised() {
    let app = TestApp::new().await;
    let body = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .ok();
    for (member, values) in body.as_object().unwrap() {
        if member.contains("signing_alg") {
            for value in values.as_array().unwrap() {
                let name = value.as_str().unwrap();
                assert!(
                    name != "none" && !name.starts_with("HS"),
                    "{member}: {name}"
                );
            }
        }
    }
}

#[tokio::test]
async fn every_advertised_endpoint_is_there() {
    let app = TestApp::with_tenants().await;
    for tenant in ["", "/t/acme"] {
        let path = format!("{tenant}/.well-known/oauth-authorization-server");
        let body = app.get(&path).await.ok();
        for (member, value) in body.as_object().unwrap() {
            if !member.ends_with("_endpoint") && member != "jwks_uri" {
                continue;
            }
            let path = value.as_str().unwrap().strip_prefix(&app.issuer).unwrap();
            let (get, post) = (app.get(path).await, app.post(path).await);
            let there = |status: u16| status != 404 && status != 405;
            assert!(there(get.status) || there(post.status), "{member}");
            assert!(get.status != 404 && post.status != 404, "{member}");
        }
    }
}

#[tokio::test]
async fn the_advertised_grant_types_are_those_the_token_endpoint_knows() {
    let app = TestApp::weather().await;
    let body = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .ok();
    let advertised = body["grant_types_supported"].as_array().unwrap();
    assert_eq!(
        advertised,
        &[
            json!("authorization_code"),
            json!("refresh_token"),
            json!("client_credentials"),
            json!(DELEGATION)
        ]
    );
    for grant_type in [
        "client_credentials",
        DELEGATION,
        "authorization_code",
        "refresh_token",
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:openid:params:grant-type:ciba",
    ] {
        let answer = app.ask("agent", &[("grant_type", grant_type)]).await;
        let unknown = answer.refusal() == (400, "unsupported_grant_type".to_owned());
        assert_eq!(
            advertised.contains(&json!(grant_type)),
            !unknown,
            "{grant_type}"
        );
    }
}

#[tokio::test]
async fn browsers_may_read_it_from_anywhere_and_without_cookies() {
    let app = TestApp::new().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/admin",
        "/jwks.json",
        "/token",
        "/register",
    ] {
        let method = if matches!(path, "/token" | "/register") {
            "POST"
        } else {
            "GET"
        };
        let asked = app
            .call("OPTIONS", path)
            .header("origin", "https://app.example")
            .header("access-control-request-method", method)
            .header(
                "access-control-request-headers",
                "authorization, content-type",
            )
            .await;
        assert!(
            matches!(asked.status, 200 | 204),
            "{path}: {}",
            asked.status
        );
        assert_eq!(
            asked.header("access-control-allow-origin"),
            Some("*"),
            "{path}"
        );
        assert!(
            asked
                .header("access-control-allow-methods")
                .unwrap()
                .contains(method)
        );
        let names = asked.header("access-control-allow-headers").unwrap();
        assert!(names.to_ascii_lowercase().contains("authorization"));
        let answer = app
            .call(method, path)
            .header("origin", "https://app.example")
            .await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("*"),
            "{path}"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn what_people_and_administrators_use_is_not_for_pages_of_others() {
    let app = TestApp::new().await;
    for (method, path) in [
        ("POST", "/admin/clients"),
        // FAPI 2.0 Security Profile §5.2.3.
        ("GET", "/authorize"),
        ("POST", "/authorize"),
        ("POST", "/authorize/decision"),
        ("POST", "/login"),
        ("GET", "/account"),
    ] {
        let asked = app
            .call("OPTIONS", path)
            .header("origin", "https://app.example");
        let asked = asked.header("access-control-request-method", method).await;
        let answer = app
            .call(method, path)
            .header("origin", "https://app.example")
            .await;
        for answer in [asked, answer] {
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed, None, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn it_may_be_kept_for_a_while() {
    let app = TestApp::with(|c| c.keys.cache = 60).await;
    let answer = app.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
}

#[tokio::test]
async fn the_admin_api_is_described_as_the_protected_resource_it_is() {
    for base in ["https://as.example", "https://as.example/id"] {
        let app = TestApp::tenants_at(base).await;
        for tenant in ["", "/t/acme"] {
            let issuer = format!("{base}{tenant}");
            let path = issuer.strip_prefix("https://as.example").unwrap();
            // RFC 9728 §3.1: the well-known segment stands between host and path.
            let form = format!("/.well-known/oauth-protected-resource{path}/admin");
            let body = app.get(&form).await.ok();
            assert_eq!(body["resource"], format!("{issuer}/admin"));
            assert_eq!(body["authorization_servers"], json!([issuer]));
            assert_eq!(body["bearer_methods_supported"], json!(["header"]));
            let scopes = body["scopes_supported"].as_array().unwrap();
            assert!(scopes.contains(&json!("writ:read")), "{form}");
            assert!(
                body.as_object()
                    .unwrap()
                    .values()
                    .all(|v: &Value| !v.is_null())
            );
        }
    }
}
