//! Signed requests by value (RFC 9101): attack group E.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Answer, CALLBACK, Key, Person, TestApp, encode, overlay, pairs, refusal, request, told,
    unsigned,
};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client `signer`, which has these keys.
async fn signer(app: &TestApp, keys: &[&Key], settings: Value) {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    let members = json!({
        "redirect_uris": [CALLBACK], "jwks": { "keys": keys }, "authorization": settings,
    });
    app.client("signer", members).await;
}

/// What an honest client signs.
fn claims(app: &TestApp, over: &Value) -> Value {
    let mut claims = request(&json!({ "client_id": "signer" }));
    let of_jwt = json!({
        "iss": "signer", "aud": app.issuer, "exp": app.now() + 60, "nbf": app.now(),
        "iat": app.now(), "jti": "1",
    });
    overlay(&mut claims, &of_jwt);
    overlay(&mut claims, over);
    claims
}

fn header(key: &Key) -> Value {
    json!({ "alg": key.alg, "kid": key.kid, "typ": "oauth-authz-req+jwt" })
}

fn object(app: &TestApp, key: &Key, over: &Value) -> String {
    key.sign(&header(key), &claims(app, over))
}

/// Opens a signed request; `beside` is what the browser brings with it.
async fn open(person: &Person<'_>, object: &str, beside: &[(&str, &str)]) -> Answer {
    let mut query = vec![("client_id", "signer"), ("request", object)];
    query.extend(beside);
    person.get(&format!("/authorize?{}", encode(&query))).await
}

/// The code on the page that refuses.
#[track_caller]
fn page(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.header("location")), (400, None));
    let text = answer.text();
    let code = text.split("id=\"error\">").nth(1).unwrap();
    code.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_signed_counts_and_nothing_beside_it() {
    let app = TestApp::apps().await;
    let keys = ["EdDSA", "ES256", "PS256"].map(|alg| Key::new(alg, 3));
    signer(&app, &keys.each_ref(), json!({})).await;
    let person = app.signed_in("ann").await;
    // RFC 9101 §6.3.
    let beside = [
        ("redirect_uri", "https://evil.example/cb"),
        ("state", "evil"),
        ("scope", "tool:alert"),
        ("response_mode", "form_post"),
        ("prompt", "none"),
    ];
    for key in &keys {
        let object = object(&app, key, &json!({}));
        let answer = open(&person, &object, &beside).await;
        let answer = match answer.status {
            200 => {
                // Whoever takes their time has not outlived it.
                app.advance(300);
                assert!(!answer.text().contains("tool:alert"));
                person.press(&answer, "allow", &[]).await
            }
            _ => answer,
        };
        let told = told(&answer);
        assert_eq!(told["state"], "a state");
        assert!(told.contains_key("code"));
    }
    // The rest of what a request can hold.
    let over = json!({
        "max_age": 100_000, "nonce": "n", "scope": "openid tool:forecast",
        "claims": { "id_token": { "auth_time": { "essential": true } } },
    });
    let answer = open(&person, &object(&app, &keys[0], &over), &[]).await;
    assert!(told(&person.press(&answer, "allow", &[]).await).contains_key("code"));
}

#[tokio::test]
async fn rsa_with_the_old_padding_too_unless_the_client_has_said_otherwise() {
    let app = TestApp::apps().await;
    let (rsa, ed) = (Key::new("RS256", 0), Key::ed(3));
    let person = app.signed_in("ann").await;
    signer(&app, &[&rsa, &ed], json!({})).await;
    let answer = open(&person, &object(&app, &rsa, &json!({})), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let settings = json!({ "request_object_signing_alg": "EdDSA" });
    signer(&app, &[&rsa, &ed], settings).await;
    let answer = open(&person, &object(&app, &rsa, &json!({})), &[]).await;
    assert_eq!(page(&answer), "invalid_request_object");
    let answer = open(&person, &object(&app, &ed, &json!({})), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Objects that a server must not take.
fn bad(app: &TestApp, key: &Key) -> Vec<(&'static str, String)> {
    let with = |over: Value| object(app, key, &over);
    let under = |over: Value| {
        let mut header = header(key);
        overlay(&mut header, &over);
        key.sign(&header, &claims(app, &json!({})))
    };
    let now = app.now();
    let mut changed = with(json!({}));
    changed.replace_range(changed.len() - 4.., "AAAA");
    vec![
        // AC-095, AC-176.
        (
            "none",
            unsigned(&json!({ "alg": "none" }), &claims(app, &json!({}))),
        ),
        (
            "none",
            unsigned(&json!({ "alg": "nOnE" }), &claims(app, &json!({}))),
        ),
        ("HS256", under(json!({ "alg": "HS256" }))),
        ("not a JWS", "x".into()),
        ("changed", changed),
        ("another key", object(app, &Key::ed(4), &json!({}))),
        ("kid", under(json!({ "kid": "nobody's" }))),
        ("crit", under(json!({ "crit": ["x"], "x": 1 }))),
        // AC-189.
        ("typ", under(json!({ "typ": "client-authentication+jwt" }))),
        ("typ", under(json!({ "typ": "dpop+jwt" }))),
        ("an assertion", with(json!({ "sub": "signer" }))),
        // AC-096.
        ("aud", with(json!({ "aud": "https://evil.example" }))),
        ("aud", with(json!({ "aud": "https://as.example/" }))),
        ("aud", with(json!({ "aud": null }))),
        ("exp", with(json!({ "exp": now - 61 }))),
        ("exp", with(json!({ "exp": "soon" }))),
        ("nbf", with(json!({ "nbf": now + 61 }))),
        ("iat", with(json!({ "iat": now + 61 }))),
        // AC-097.
        ("client_id", with(json!({ "client_id": "app" }))),
        ("client_id", with(json!({ "client_id": null }))),
        ("iss", with(json!({ "iss": "app" }))),
        ("iss", with(json!({ "iss": null }))),
        // RFC 9101 §4.
        ("request", with(json!({ "request": "x" }))),
        (
            "request_uri",
            with(json!({ "request_uri": "https://app.example/r" })),
        ),
        ("a list", with(json!({ "scope": ["openid"] }))),
        ("an object", with(json!({ "state": { "a": 1 } }))),
    ]
}

#[tokio::test]
async fn one_that_does_not_hold_is_refused_on_a_page_and_when_it_is_pushed() {
    let app = TestApp::apps().await;
    let key = Key::ed(3);
    signer(&app, &[&key], json!({})).await;
    let person = app.signed_in("ann").await;
    for (what, object) in bad(&app, &key) {
        let answer = open(&person, &object, &[("redirect_uri", CALLBACK)]).await;
        assert_eq!(page(&answer), "invalid_request_object", "{what}");
        let pushed = push(&app, &key, &[("request", &object)]).await;
        assert_eq!(
            pushed.refusal(),
            (400, "invalid_request_object".into()),
            "{what}"
        );
    }
    // A client without keys has nothing to sign with.
    let of_app = object(&app, &key, &json!({ "client_id": "app", "iss": "app" }));
    let query = encode(&[("client_id", "app"), ("request", &of_app)]);
    let answer = person.get(&format!("/authorize?{query}")).await;
    assert_eq!(page(&answer), "invalid_request_object");
    // What a good one asks for is checked as ever.
    let over = json!({ "redirect_uri": "https://evil.example" });
    let elsewhere = object(&app, &key, &over);
    assert_eq!(
        page(&open(&person, &elsewhere, &[]).await),
        "invalid_request"
    );
    let without = object(&app, &key, &json!({ "code_challenge": null }));
    assert_eq!(
        refusal(&open(&person, &without, &[]).await),
        "invalid_request"
    );
}

/// Pushes a request as the client `signer`.
async fn push(app: &TestApp, key: &Key, form: &[(&str, &str)]) -> Answer {
    let assertion = app.assertion(key, "signer", &json!({}));
    let mut all = vec![
        ("client_id", "signer"),
        ("client_assertion_type", TYPE),
        ("client_assertion", &assertion),
    ];
    all.extend(form);
    app.post("/par").form(&all).await
}

#[tokio::test]
async fn a_signed_request_may_be_pushed() {
    let app = TestApp::apps().await;
    let key = Key::ed(3);
    signer(
        &app,
        &[&key],
        json!({ "require_signed_request_object": true }),
    )
    .await;
    let person = app.signed_in("ann").await;
    let object = object(&app, &key, &json!({}));
    // RFC 9126 §3: nothing beside it counts.
    let form = [("request", object.as_str()), ("state", "evil")];
    let pushed = push(&app, &key, &form).await.with(StatusCode::CREATED);
    let uri = pushed["request_uri"].as_str().unwrap();
    let query = encode(&[("client_id", "signer"), ("request_uri", uri)]);
    let asked = person.get(&format!("/authorize?{query}")).await;
    let answer = person.press(&asked, "allow", &[]).await;
    assert_eq!(told(&answer)["state"], "a state");
    // RFC 9101 §10.5: this client has to sign.
    let plain = request(&json!({ "client_id": "signer" }));
    let answer = person
        .get(&format!("/authorize?{}", encode(&pairs(&plain))))
        .await;
    assert_eq!(refusal(&answer), "invalid_request");
    let plain = request(&json!({ "client_id": null }));
    let answer = push(&app, &key, &pairs(&plain)).await;
    assert_eq!(answer.refusal(), (400, "invalid_request".into()));
}

#[tokio::test]
async fn a_registration_says_how_requests_are_signed() {
    let app = TestApp::new().await;
    let register = |over: Value| {
        let mut body = json!({
            "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
            "jwks": Key::ed(3).jwks(),
        });
        overlay(&mut body, &over);
        app.post("/register").json(&body)
    };
    let settings = json!({
        "request_object_signing_alg": "EdDSA", "require_signed_request_object": true,
        "require_pushed_authorization_requests": true, "id_token_signed_response_alg": "ES256",
        "userinfo_signed_response_alg": "EdDSA",
    });
    let registered = register(settings.clone()).await.with(StatusCode::CREATED);
    for (name, value) in settings.as_object().unwrap() {
        assert_eq!(registered[name], *value, "{name}");
    }
    for bad in [
        json!({ "request_object_signing_alg": "none" }),
        json!({ "request_object_signing_alg": "HS256" }),
        json!({ "id_token_signed_response_alg": "none" }),
        json!({ "id_token_signed_response_alg": "HS256" }),
        json!({ "userinfo_signed_response_alg": "HS256" }),
        json!({ "require_signed_request_object": "yes" }),
        json!({ "require_signed_request_object": true, "jwks": null }),
    ] {
        register(bad.clone())
            .await
            .refused(400, "invalid_client_metadata");
    }
}

#[tokio::test]
async fn a_request_is_signed_or_pushed_and_not_both() {
    let app = TestApp::apps().await;
    let key = Key::ed(3);
    signer(&app, &[&key], json!({})).await;
    let person = app.signed_in("ann").await;
    let object = object(&app, &key, &json!({}));
    // RFC 9126 §2.1.
    let form = [("request", object.as_str()), ("request_uri", "urn:x")];
    push(&app, &key, &form)
        .await
        .refused(400, "invalid_request");
    let pushed = push(&app, &key, &form[..1]).await.with(StatusCode::CREATED);
    // RFC 9101 §5.
    for uri in [
        pushed["request_uri"].as_str().unwrap(),
        "https://x.example/",
    ] {
        let answer = open(&person, &object, &[("request_uri", uri)]).await;
        assert_eq!((answer.status, answer.header("location")), (400, None));
        assert!(
            answer.text().contains("invalid_request"),
            "{}",
            answer.text()
        );
    }
}
