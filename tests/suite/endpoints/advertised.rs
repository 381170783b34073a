//! What the metadata promises is kept, and what they do not name is not served: AC-275.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::support::{
    Answer, CALLBACK, Key, TestApp, encode, overlay, pairs, parts, refusal, request,
};

async fn metadata(app: &TestApp) -> Value {
    app.get("/.well-known/openid-configuration").await.ok()
}

fn list(document: &Value, member: &str) -> Vec<String> {
    let items = document[member]
        .as_array()
        .unwrap_or_else(|| panic!("{member}"));
    items
        .iter()
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

async fn register(app: &TestApp, over: &Value) -> Answer {
    let mut body = json!({
        "redirect_uris": [CALLBACK],
        "jwks": { "keys": [Key::ed(3).jwk(), Key::new("RS256", 0).jwk()] },
    });
    overlay(&mut body, over);
    app.post("/register").json(&body).await
}

#[tokio::test]
async fn a_client_may_register_for_every_advertised_value_and_for_no_other() {
    let app = TestApp::new().await;
    let document = metadata(&app).await;
    let algorithms = [
        "RS256", "ES256", "EdDSA", "Ed25519", "PS256", "none", "HS256", "RS384", "ES384", "ES512",
    ];
    for (member, supported, words) in [
        (
            "id_token_signed_response_alg",
            "id_token_signing_alg_values_supported",
            &algorithms[..],
        ),
        (
            "userinfo_signed_response_alg",
            "userinfo_signing_alg_values_supported",
            &algorithms,
        ),
        (
            "request_object_signing_alg",
            "request_object_signing_alg_values_supported",
            &algorithms,
        ),
        (
            "subject_type",
            "subject_types_supported",
            &["public", "pairwise", "transient"],
        ),
        (
            "token_endpoint_auth_method",
            "token_endpoint_auth_methods_supported",
            &[
                "client_secret_basic",
                "client_secret_post",
                "private_key_jwt",
                "none",
                "client_secret_jwt",
                "tls_client_auth",
                "self_signed_tls_client_auth",
            ],
        ),
    ] {
        let supported: BTreeSet<String> = list(&document, supported).into_iter().collect();
        let known: BTreeSet<String> = words.iter().map(|word| (*word).to_owned()).collect();
        assert!(supported.is_subset(&known), "{member}: {supported:?}");
        for word in words {
            let answer = register(&app, &json!({ member: word })).await;
            if supported.contains(*word) {
                assert_eq!(answer.status, 201, "{member} {word}: {}", answer.text());
            } else {
                answer.refused(400, "invalid_client_metadata");
            }
        }
    }
}

#[tokio::test]
async fn a_request_may_be_signed_with_every_advertised_algorithm() {
    let app = TestApp::apps().await;
    let document = metadata(&app).await;
    assert_eq!(document["request_parameter_supported"], true);
    let person = app.signed_in("ann").await;
    for algorithm in list(&document, "request_object_signing_alg_values_supported") {
        let name: &'static str = algorithm.leak();
        let key = Key::new(name, 5);
        let body = json!({
            "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
            "jwks": key.jwks(), "request_object_signing_alg": name,
        });
        let registered = app
            .post("/register")
            .json(&body)
            .await
            .with(StatusCode::CREATED);
        let client_id = registered["client_id"].as_str().unwrap();
        let mut claims = request(&json!({ "client_id": client_id }));
        overlay(&mut claims, &json!({ "iss": client_id, "aud": app.issuer }));
        let object = key.sign(&key.header(), &claims);
        let query = encode(&[("client_id", client_id), ("request", &object)]);
        let answer = person.get(&format!("/authorize?{query}")).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn every_advertised_prompt_scope_and_response_is_known_and_no_other() {
    let app = TestApp::apps().await;
    let document = metadata(&app).await;
    let person = app.signed_in("ann").await;
    for (parameter, member, others) in [
        (
            "prompt",
            "prompt_values_supported",
            &["create", "signup"][..],
        ),
        (
            "response_mode",
            "response_modes_supported",
            &["fragment", "jwt", "web_message"],
        ),
        (
            "response_type",
            "response_types_supported",
            &["token", "id_token", "code id_token"],
        ),
        (
            "code_challenge_method",
            "code_challenge_methods_supported",
            &["plain", "S512"],
        ),
    ] {
        for word in list(&document, member) {
            let over = json!({ parameter: word });
            let mut request = request(&over);
            overlay(
                &mut request,
                &json!({ "scope": "openid", "resource": null }),
            );
            let answer = person
                .get(&format!("/authorize?{}", encode(&pairs(&request))))
                .await;
            let refused = answer.status == 303 && {
                let to = answer.header("location").unwrap();
                to.contains("error=") && !to.contains("consent_required")
            };
            assert!(!refused && answer.status < 400, "{parameter}={word}");
        }
        for word in others {
            let answer = person.open(&json!({ parameter: word })).await;
            let error = refusal(&answer);
            let known = ["invalid_request", "unsupported_response_type"];
            assert!(
                known.contains(&error.as_str()),
                "{parameter}={word}: {error}"
            );
        }
    }
    for scope in list(&document, "scopes_supported") {
        let asked = format!("openid {scope}");
        let over = json!({ "scope": asked, "resource": null });
        let answer = person.tokens(&over).await;
        let given = answer["scope"].as_str().unwrap();
        assert!(given.split(' ').any(|one| one == scope), "{scope}: {given}");
    }
    for member in [
        "backchannel_logout_supported",
        "backchannel_logout_session_supported",
    ] {
        assert_eq!(document[member], true, "{member}");
    }
    // Neither is offered.
    for member in [
        "request_uri_parameter_supported",
        "require_pushed_authorization_requests",
    ] {
        assert_eq!(document[member], false, "{member}");
    }
    for absent in [
        "check_session_iframe",
        "frontchannel_logout_supported",
        "op_policy_uri",
    ] {
        assert_eq!(document.get(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn every_advertised_claim_can_be_told() {
    let app = TestApp::apps().await;
    let document = metadata(&app).await;
    let person = app.signed_in("ann").await;
    let mut claims = Map::new();
    for name in [
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "phone_number",
    ] {
        claims.insert(name.into(), json!(format!("a {name}")));
    }
    claims.insert("phone_number_verified".into(), json!(false));
    claims.insert("address".into(), json!({ "country": "DE" }));
    let before = person.user.row("default");
    let mut row = before.clone();
    row.claims = Value::Object(claims).to_string();
    let change = writ::store::people::Change::PutUser {
        row: Box::new(row),
        before: Some(Box::new(before)),
    };
    app.commit(vec![writ::store::Change::People(change)])
        .await
        .unwrap();
    let over = json!({
        "scope": "openid profile email address phone", "resource": null, "nonce": "n",
    });
    let answer = person.tokens(&over).await;
    let told = app
        .get("/userinfo")
        .bearer(answer["access_token"].as_str().unwrap());
    let told = told.await.ok();
    let id_token = parts(answer["id_token"].as_str().unwrap()).1;
    for name in list(&document, "claims_supported") {
        let there = told.get(&name).is_some() || id_token.get(&name).is_some();
        assert!(there, "{name}");
    }
    // And nothing is told that is not advertised.
    let advertised = list(&document, "claims_supported");
    for claims in [told, id_token] {
        for name in claims.as_object().unwrap().keys() {
            assert!(advertised.contains(name), "{name}");
        }
    }
}
