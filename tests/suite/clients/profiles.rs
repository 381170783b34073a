//! What each profile means: the table of `registry::Profile`, row by row.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Answer, CALLBACK, Key, Person, TestApp, VERIFIER, encode, overlay, pairs, parts, refusal,
    request, secret_of, told,
};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

async fn bank(app: &TestApp, key: &Key, over: Value) {
    let mut members = json!({
        "profile": "fapi2", "redirect_uris": [CALLBACK], "jwks": key.jwks(),
    });
    overlay(&mut members, &over);
    app.client("bank", members).await;
}

/// A request with the assertion of `bank`.
fn with_assertion<'a>(
    app: &TestApp,
    path: &str,
    assertion: &'a str,
    mut form: Vec<(&'a str, &'a str)>,
) -> crate::support::Call {
    form.extend([
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
    ]);
    app.post(path).form(&form)
}

async fn push(app: &TestApp, key: &Key, over: &Value) -> Answer {
    let mut form = request(&json!({ "client_id": "bank" }));
    overlay(&mut form, over);
    let assertion = app.assertion(key, "bank", &json!({}));
    with_assertion(app, "/par", &assertion, pairs(&form)).await
}

async fn code(app: &TestApp, person: &Person<'_>, key: &Key, over: &Value) -> String {
    let pushed = push(app, key, over).await.with(StatusCode::CREATED);
    // FAPI 2.0 Security Profile §5.3.2.2.
    assert!(pushed["expires_in"].as_i64().unwrap() < 600, "{pushed}");
    let uri = pushed["request_uri"].as_str().unwrap();
    let query = encode(&[("client_id", "bank"), ("request_uri", uri)]);
    let page = person.get(&format!("/authorize?{query}")).await;
    let answer = match page.status {
        200 => person.press(&page, "allow", &[]).await,
        _ => page,
    };
    told(&answer)["code"].clone()
}

fn redeem(app: &TestApp, assertion: &str, code: &str) -> crate::support::Call {
    let form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let mut all = form.clone();
    all.extend([
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
    ]);
    app.post("/token").form(&all)
}

#[tokio::test]
async fn fapi2_from_the_pushed_request_to_the_refresh() {
    for algorithm in ["ES256", "PS256", "EdDSA"] {
        let app = TestApp::apps().await;
        let (key, held) = (Key::new(algorithm, 3), Key::new("ES256", 4));
        bank(&app, &key, json!({})).await;
        let person = app.signed_in("ann").await;
        // §5.3.2.2: as long as a client may rely on.
        let nonce = "n".repeat(64);
        let over = json!({ "scope": "openid tool:forecast", "nonce": nonce });
        let code = code(&app, &person, &key, &over).await;
        let assertion = app.assertion(&key, "bank", &json!({}));
        let answer = redeem(&app, &assertion, &code);
        let answer = answer
            .header("dpop", &app.proof(&held, &json!({})))
            .await
            .ok();
        assert_eq!(answer["token_type"], "DPoP");
        let id_token = answer["id_token"].as_str().unwrap();
        // FAPI 2.0 Security Profile §5.4.1: not RS256, even unasked.
        assert_eq!(parts(id_token).0["alg"], "ES256");
        assert_eq!(app.claims(id_token).await["nonce"], json!(nonce));
        // §5.3.2.1: no rotation.
        let refresh_token = answer["refresh_token"].as_str().unwrap();
        let form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ];
        for _ in 0..2 {
            let assertion = app.assertion(&key, "bank", &json!({}));
            let again = with_assertion(&app, "/token", &assertion, form.clone());
            let again = again
                .header("dpop", &app.proof(&held, &json!({})))
                .await
                .ok();
            assert_eq!(again["refresh_token"], refresh_token);
            assert_eq!(again["token_type"], "DPoP");
        }
        let assertion = app.assertion(&key, "bank", &json!({}));
        let bare = with_assertion(&app, "/token", &assertion, form).await;
        bare.refused(400, "invalid_dpop_proof");
    }
}

#[tokio::test]
async fn fapi2_takes_nothing_less() {
    let app = TestApp::apps().await;
    let key = Key::new("ES256", 3);
    bank(&app, &key, json!({})).await;
    let person = app.signed_in("ann").await;
    // AC-090.
    let plain = person.open(&json!({ "client_id": "bank" })).await;
    assert_eq!(refusal(&plain), "invalid_request");
    // AC-004, and FAPI 2.0 Security Profile §5.3.2.2.
    for over in [
        json!({ "redirect_uri": null }),
        json!({ "code_challenge": null, "code_challenge_method": null }),
        json!({ "code_challenge_method": "plain" }),
    ] {
        push(&app, &key, &over)
            .await
            .refused(400, "invalid_request");
    }
    // Nobody pushes in the name of a client.
    let form = request(&json!({ "client_id": "bank" }));
    let answer = app.post("/par").form(&pairs(&form)).await;
    answer.refused(401, "invalid_client");
    // Every token is bound to a key.
    let first = code(&app, &person, &key, &json!({})).await;
    let assertion = app.assertion(&key, "bank", &json!({}));
    redeem(&app, &assertion, &first)
        .await
        .refused(400, "invalid_dpop_proof");
    // AC-136, AC-137.
    let form = || vec![("grant_type", "authorization_code"), ("code", "x")];
    for aud in [
        json!(format!("{}/token", app.issuer)),
        json!(format!("{}/par", app.issuer)),
        json!([app.issuer]),
    ] {
        let assertion = app.assertion(&key, "bank", &json!({ "aud": aud }));
        let answer = with_assertion(&app, "/token", &assertion, form()).await;
        answer.refused(401, "invalid_client");
    }
    let rsa = Key::new("RS256", 0);
    bank(&app, &rsa, json!({})).await;
    let assertion = app.assertion(&rsa, "bank", &json!({}));
    let answer = with_assertion(&app, "/token", &assertion, form()).await;
    answer.refused(401, "invalid_client");
}

#[tokio::test]
async fn a_code_of_fapi2_lives_a_minute_at_most() {
    let app = TestApp::with(|config| config.authorization.code_lifetime = 300).await;
    app.declare_weather(None).await;
    let (key, held) = (Key::new("ES256", 3), Key::ed(4));
    bank(&app, &key, json!({})).await;
    app.client("web", json!({ "redirect_uris": [CALLBACK] }))
        .await;
    let person = app.signed_in("ann").await;
    let short = code(&app, &person, &key, &json!({})).await;
    let long = person.code(&json!({ "client_id": "web" })).await;
    app.advance(61);
    let assertion = app.assertion(&key, "bank", &json!({}));
    let late = redeem(&app, &assertion, &short).header("dpop", &app.proof(&held, &json!({})));
    late.await.refused(400, "invalid_grant");
    let form = json!({ "client_id": null });
    let answer = app.redeem(&long, &form).basic("web", &secret_of("web"));
    assert!(answer.await.ok()["access_token"].is_string());
}

#[tokio::test]
async fn a_code_of_fapi2_is_for_the_key_that_was_named_and_for_once() {
    let app = TestApp::apps().await;
    let (key, held, other) = (Key::new("ES256", 3), Key::ed(4), Key::ed(5));
    bank(&app, &key, json!({})).await;
    let person = app.signed_in("ann").await;
    let bound = json!({ "dpop_jkt": crate::support::thumbprint(&held) });
    let code = code(&app, &person, &key, &bound).await;
    let redeem = |held: &Key| {
        let assertion = app.assertion(&key, "bank", &json!({}));
        redeem(&app, &assertion, &code).header("dpop", &app.proof(held, &json!({})))
    };
    redeem(&other).await.refused(400, "invalid_grant");
    let tokens = redeem(&held).await.ok();
    let access = tokens["access_token"].as_str().unwrap();
    assert!(app.is_active(access).await);
    redeem(&held).await.refused(400, "invalid_grant");
    assert!(!app.is_active(access).await);
}

#[tokio::test]
async fn fapi2_cannot_be_declared_with_less() {
    let app = TestApp::apps().await;
    let key = Key::new("ES256", 3);
    for bad in [
        json!({ "client_secret": secret_of("bank") }),
        json!({ "token_endpoint_auth_method": "none" }),
        json!({
            "jwks": key.jwks(), "authorization": { "id_token_signed_response_alg": "RS256" },
        }),
        json!({ "jwks": key.jwks(), "authorization": { "request_object_signing_alg": "RS256" } }),
    ] {
        let mut client = json!({
            "client_id": "bank", "profile": "fapi2", "redirect_uris": [CALLBACK],
        });
        overlay(&mut client, &bad);
        let declared = app.apply_in(None, json!({ "clients": [client] })).await;
        assert!(declared.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn oidc_compat_is_for_clients_that_authenticate_and_may_do_without_pkce() {
    let app = TestApp::apps().await;
    let old = json!({ "profile": "oidc_compat", "redirect_uris": [CALLBACK] });
    app.client("old", old).await;
    let person = app.signed_in("ann").await;
    let over = json!({
        "client_id": "old", "code_challenge": null, "code_challenge_method": null,
    });
    // AC-054.
    let code = person.code(&over).await;
    let form = json!({ "client_id": null, "code_verifier": null });
    let answer = app
        .redeem(&code, &form)
        .basic("old", &secret_of("old"))
        .await;
    assert!(answer.ok()["access_token"].is_string());
    // AC-060: no verifier for what had no challenge, and no way around a challenge.
    let code = person.code(&over).await;
    let form = json!({ "client_id": null });
    let answer = app
        .redeem(&code, &form)
        .basic("old", &secret_of("old"))
        .await;
    answer.refused(400, "invalid_grant");
    let code = person.code(&json!({ "client_id": "old" })).await;
    let form = json!({ "client_id": null, "code_verifier": null });
    let answer = app
        .redeem(&code, &form)
        .basic("old", &secret_of("old"))
        .await;
    answer.refused(400, "invalid_grant");
    // Without PKCE redirect_uri has to be said again.
    let code = person.code(&over).await;
    let form = json!({ "client_id": null, "code_verifier": null, "redirect_uri": null });
    let answer = app
        .redeem(&code, &form)
        .basic("old", &secret_of("old"))
        .await;
    answer.refused(400, "invalid_grant");
    // The others have to (AC-053, AC-054).
    for client_id in ["web", "app"] {
        let mut over = over.clone();
        over["client_id"] = json!(client_id);
        assert_eq!(refusal(&person.open(&over).await), "invalid_request");
    }
    let public = json!({
        "client_id": "old", "profile": "oidc_compat", "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
    });
    assert!(
        app.apply_in(None, json!({ "clients": [public] }))
            .await
            .is_err()
    );
}
