//! `private_key_jwt` (RFC 7523 §3), as clients use it and with keys by URL.

use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Key, KeyHost, TestApp, WEATHER};

#[tokio::test]
async fn every_advertised_algorithm_signs_in() {
    let app = TestApp::weather().await;
    let metadata = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .ok();
    let advertised = &metadata["token_endpoint_auth_signing_alg_values_supported"];
    assert!(advertised.as_array().unwrap().len() >= 4);
    // `Ed25519` is the name RFC 9864 gives what most call EdDSA.
    for alg in ["EdDSA", "ES256", "RS256", "PS256", "Ed25519"] {
        assert!(alg == "Ed25519" || advertised.as_array().unwrap().contains(&json!(alg)));
        let key = Key::new(alg, 1);
        app.robot(&key, json!({})).await;
        let assertion = app.assertion(&key, "robot", &json!({}));
        app.ask_with(&assertion, &[("resource", WEATHER)])
            .await
            .ok();
    }
}

#[tokio::test]
async fn the_key_is_found_by_name_or_by_algorithm() {
    let app = TestApp::weather().await;
    let keys = [
        Key::new("EdDSA", 1),
        Key::new("EdDSA", 2),
        Key::new("ES256", 3),
    ];
    let jwks = json!({ "keys": keys.each_ref().map(Key::jwk) });
    app.robot(&keys[0], json!({ "jwks": jwks })).await;
    for key in &keys {
        app.ask_with(&app.assertion(key, "robot", &json!({})), &[])
            .await
            .ok();
        // Most libraries write no kid.
        let claims = app.assertion_claims("robot", &json!({}));
        let nameless = key.sign(&json!({ "alg": key.alg, "typ": "JWT" }), &claims);
        app.ask_with(&nameless, &[]).await.ok();
        let bare = key.sign(
            &json!({ "alg": key.alg }),
            &app.assertion_claims("robot", &json!({})),
        );
        app.ask_with(&bare, &[]).await.ok();
    }
}

#[tokio::test]
async fn client_id_beside_an_assertion_names_the_same_client() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    let assertion = app.assertion(&key, "robot", &json!({}));
    app.ask_with(&assertion, &[("client_id", "robot")])
        .await
        .ok();
}

#[tokio::test]
async fn clocks_may_differ_a_little() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    let now = app.now();
    for times in [
        json!({ "nbf": now + 10, "iat": now + 10, "exp": now + 70 }),
        json!({ "iat": null }),
        json!({ "exp": now - 30 }),
        // RFC 7519 §2: a NumericDate may have a fraction.
        json!({ "exp": f64::from(u32::try_from(now).unwrap()) + 30.5 }),
    ] {
        let assertion = app.assertion(&key, "robot", &times);
        let answer = app.ask_with(&assertion, &[]).await;
        assert_eq!(answer.status, 200, "{times} {}", answer.text());
    }
}

#[tokio::test]
async fn only_the_compatible_profile_lets_an_assertion_name_the_token_endpoint() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, json!({ "profile": "oidc_compat" })).await;
    let endpoint = format!("{}/token", app.issuer);
    for aud in [
        json!(app.issuer),
        json!(endpoint),
        json!([app.issuer]),
        json!([endpoint, "https://elsewhere.example"]),
    ] {
        let assertion = app.assertion(&key, "robot", &json!({ "aud": aud }));
        app.ask_with(&assertion, &[]).await.ok();
    }
    let elsewhere = json!({ "aud": ["https://elsewhere.example"] });
    app.ask_with(&app.assertion(&key, "robot", &elsewhere), &[])
        .await
        .refused(401, "invalid_client");
}

#[tokio::test]
async fn the_same_name_from_two_clients_is_two_names() {
    let app = TestApp::weather().await;
    let (one, two) = (Key::ed(1), Key::ed(2));
    let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
    for (id, key) in [("one", &one), ("two", &two)] {
        app.client(id, json!({ "jwks": key.jwks(), "access": access }))
            .await;
        let assertion = app.assertion(key, id, &json!({ "jti": "the same" }));
        app.ask_with(&assertion, &[]).await.ok();
    }
}

#[tokio::test]
async fn keys_are_read_from_the_clients_own_server() {
    let app = TestApp::with(|c| c.fetch.allow_private_addresses_for_tests = true).await;
    app.declare_weather(None).await;
    let key = Key::ed(1);
    let host = KeyHost::start(&key.jwks()).await;
    app.robot(&key, json!({ "jwks": null, "jwks_uri": host.url }))
        .await;
    for _ in 0..3 {
        let assertion = app.assertion(&key, "robot", &json!({}));
        app.ask_with(&assertion, &[]).await.ok();
    }
    // Kept in between.
    assert_eq!(host.asked(), 1);
}

#[tokio::test]
async fn a_made_up_key_name_causes_at_most_one_more_fetch() {
    let app = TestApp::with(|c| c.fetch.allow_private_addresses_for_tests = true).await;
    app.declare_weather(None).await;
    let key = Key::ed(1);
    let host = KeyHost::start(&key.jwks()).await;
    app.robot(&key, json!({ "jwks": null, "jwks_uri": host.url }))
        .await;
    app.ask_with(&app.assertion(&key, "robot", &json!({})), &[])
        .await
        .ok();
    for i in 0..20 {
        let header = json!({ "alg": "EdDSA", "kid": format!("made-up-{i}") });
        let claims = app.assertion_claims("robot", &json!({}));
        app.ask_with(&key.sign(&header, &claims), &[])
            .await
            .refused(401, "invalid_client");
    }
    assert!(host.asked() <= 2, "{} fetches", host.asked());
    app.ask_with(&app.assertion(&key, "robot", &json!({})), &[])
        .await
        .ok();
}

#[tokio::test]
async fn a_client_that_replaces_its_keys_signs_in_with_the_new_one() {
    let app = TestApp::with(|c| c.fetch.allow_private_addresses_for_tests = true).await;
    app.declare_weather(None).await;
    let (old, new) = (Key::ed(1), Key::ed(2));
    let host = KeyHost::start(&old.jwks()).await;
    app.robot(&old, json!({ "jwks": null, "jwks_uri": host.url }))
        .await;
    app.ask_with(&app.assertion(&old, "robot", &json!({})), &[])
        .await
        .ok();
    host.publish(&new.jwks().to_string());
    // After the floor between two fetches the new name is looked for.
    app.advance(11);
    app.ask_with(&app.assertion(&new, "robot", &json!({})), &[])
        .await
        .ok();
    app.ask_with(&app.assertion(&old, "robot", &json!({})), &[])
        .await
        .refused(401, "invalid_client");
}

#[tokio::test]
async fn a_key_host_in_disorder_is_the_clients_problem_alone() {
    let app = TestApp::with(|c| c.fetch.allow_private_addresses_for_tests = true).await;
    app.declare_weather(None).await;
    let key = Key::ed(1);
    for body in [
        "",
        "{}",
        "[]",
        "{\"keys\":0}",
        "<html>",
        &"x".repeat(70_000),
    ] {
        let host = KeyHost::start(&json!({})).await;
        host.publish(body);
        app.robot(&key, json!({ "jwks": null, "jwks_uri": host.url }))
            .await;
        app.ask_with(&app.assertion(&key, "robot", &json!({})), &[])
            .await
            .refused(401, "invalid_client");
        assert_eq!(host.asked(), 1);
    }
}

#[tokio::test]
async fn keys_at_a_private_address_are_not_fetched() {
    let app = TestApp::weather().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = Key::ed(1);
    let url = format!("https://{address}/jwks.json");
    app.robot(&key, json!({ "jwks": null, "jwks_uri": url }))
        .await;
    app.ask_with(&app.assertion(&key, "robot", &json!({})), &[])
        .await
        .refused(401, "invalid_client");
    // Nobody connected: the first connection to arrive is our own.
    let own = tokio::net::TcpStream::connect(address).await.unwrap();
    let first = listener.accept().await.unwrap().1;
    assert_eq!(first, own.local_addr().unwrap());
}

#[tokio::test]
async fn an_assertion_is_used_up_once_even_by_requests_at_the_same_time() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    let assertion = app.assertion(&key, "robot", &json!({}));
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let call = app.ask_with(&assertion, &[]);
        set.spawn(async move { call.await.status });
    }
    let mut statuses = set.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(
        statuses[1..].iter().all(|status| *status == 401),
        "{statuses:?}"
    );
}
