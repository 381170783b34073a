//! H. Client authentication.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use writ::{journal::Command, store::Change};

use crate::support::{Answer, Key, TestApp, WEATHER, secret_of, unsigned};

const FORM: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("resource", WEATHER)];
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

async fn in_body(app: &TestApp, id: &str, secret: &str) -> Answer {
    let mut form = FORM.to_vec();
    form.extend([("client_id", id), ("client_secret", secret)]);
    app.post("/token").form(&form).await
}

/// A server with the client `robot`, and its key.
async fn robot(members: Value) -> (TestApp, Key) {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, members).await;
    (app, key)
}

// AC-130
#[tokio::test]
async fn a_wrong_secret_is_refused_with_a_challenge_for_the_header() {
    let app = TestApp::weather().await;
    let right = secret_of("agent");
    for wrong in [
        "wrong-secret",
        "",
        &right[1..],
        &format!("{right} "),
        &right.to_uppercase(),
    ] {
        let answer = app.post("/token").basic("agent", wrong).form(&FORM).await;
        answer.refused(401, "invalid_client");
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .starts_with("Basic realm=")
        );
        let answer = in_body(&app, "agent", wrong).await;
        answer.refused(401, "invalid_client");
        // RFC 6749 §5.2: the challenge is for a client that tried the header.
        assert_eq!(answer.header("www-authenticate"), None);
    }
}

// AC-131
#[tokio::test]
async fn an_unknown_client_and_a_wrong_secret_look_the_same() {
    let (app, key) = robot(json!({})).await;
    let stranger = Key::ed(2);
    let mut seen = Vec::new();
    for id in ["agent", "nobody", "admin", "robot"] {
        let mut header = app
            .post("/token")
            .basic(id, "wrong-secret")
            .form(&FORM)
            .await;
        header.headers.remove("www-authenticate");
        seen.push(header);
        seen.push(in_body(&app, id, "wrong-secret").await);
        // With keys nobody knows, and as a public client.
        seen.push(
            app.ask_with(&app.assertion(&stranger, id, &json!({})), &[])
                .await,
        );
        let mut form = FORM.to_vec();
        form.push(("client_id", id));
        seen.push(app.post("/token").form(&form).await);
    }
    for answer in &seen {
        answer.refused(401, "invalid_client");
        assert_eq!(answer.body, seen[0].body);
        assert_eq!(answer.headers_but_id(), seen[0].headers_but_id());
    }
    app.ask_with(&app.assertion(&key, "robot", &json!({})), &[])
        .await
        .ok();
}

// AC-132
#[tokio::test]
async fn two_methods_at_once_are_refused_even_if_both_hold() {
    let (app, key) = robot(json!({})).await;
    let secret = secret_of("agent");
    let assertion = app.assertion(&key, "robot", &json!({}));
    let basic = || app.post("/token").basic("agent", &secret);
    let body_secret = [("client_id", "agent"), ("client_secret", secret.as_str())];
    let body_assertion = [
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion.as_str()),
    ];
    let with = |extra: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        let all = FORM.iter().chain(extra);
        all.map(|(n, v)| (*n, (*v).to_owned())).collect()
    };
    let both = [&body_secret[..], &body_assertion[..]].concat();
    for (call, extra) in [
        (basic(), &body_secret[..]),
        (basic(), &body_assertion[..]),
        (app.post("/token"), &both[..]),
        (basic(), &both[..]),
    ] {
        let form = with(extra);
        let form: Vec<(&str, &str)> = form.iter().map(|(n, v)| (*n, v.as_str())).collect();
        call.form(&form).await.refused(400, "invalid_request");
    }
    let two_headers = app
        .post("/token")
        .basic("agent", &secret)
        .basic("agent", &secret)
        .form(&FORM)
        .await;
    two_headers.refused(400, "invalid_request");
}

// AC-133
#[tokio::test]
async fn a_client_with_keys_is_not_downgraded_to_a_secret() {
    let app = TestApp::weather().await;
    app.client(
        "robot",
        json!({ "access": [{ "resource": "weather", "scopes": ["*"] }] }),
    )
    .await;
    app.post("/token")
        .basic("robot", &secret_of("robot"))
        .form(&FORM)
        .await
        .ok();
    // It turns to keys: the old secret holds no more, nor does an empty one.
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    for secret in [secret_of("robot"), String::new()] {
        app.post("/token")
            .basic("robot", &secret)
            .form(&FORM)
            .await
            .refused(401, "invalid_client");
        in_body(&app, "robot", &secret)
            .await
            .refused(401, "invalid_client");
    }
}

// AC-133
#[tokio::test]
async fn a_public_client_that_sends_a_secret_and_a_secret_client_that_sends_none_are_refused() {
    let app = TestApp::weather().await;
    let members = json!({ "token_endpoint_auth_method": "none", "grant_types": [] });
    app.client("public", members).await;
    app.post("/token")
        .basic("public", "some-secret-or-other")
        .form(&FORM)
        .await
        .refused(401, "invalid_client");
    let form = [("client_id", "agent"), FORM[0], FORM[1]];
    app.post("/token")
        .form(&form)
        .await
        .refused(401, "invalid_client");
    app.post("/token")
        .form(&FORM)
        .await
        .refused(401, "invalid_client");
}

// AC-134
#[tokio::test]
async fn an_authorization_header_that_cannot_be_read_is_refused() {
    let app = TestApp::weather().await;
    let pair = STANDARD.encode(format!("agent:{}", secret_of("agent")));
    for header in [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic Og==",
        "Bearer x",
        "Digest x",
        "Basic\u{e9}",
        &format!("Basic{pair}"),
        &format!("Basic {}", pair.trim_end_matches('=')).replace("Basic ", "Basic  ,"),
        &format!("Basic {}", STANDARD.encode("agent")),
        &format!("Basic {}", STANDARD.encode("agent:%zz")),
        &format!("Basic {}", STANDARD.encode(b"agent:\xff\xfe")),
        &format!(
            "Basic {}",
            STANDARD.encode(format!(":{}", secret_of("agent")))
        ),
        &format!("Basic {pair}, Basic {pair}"),
    ] {
        app.post("/token")
            .header("authorization", header)
            .form(&FORM)
            .await
            .refused(401, "invalid_client");
    }
}

// AC-136
#[tokio::test]
async fn an_assertion_that_anyone_could_make_is_refused() {
    let (app, key) = robot(json!({})).await;
    for alg in ["none", "None", "nOnE", "NONE", ""] {
        let header = json!({ "alg": alg, "kid": key.kid });
        let claims = app.assertion_claims("robot", &json!({}));
        app.ask_with(&unsigned(&header, &claims), &[])
            .await
            .refused(401, "invalid_client");
        app.ask_with(&key.sign(&header, &claims), &[])
            .await
            .refused(401, "invalid_client");
    }
    // HMAC with what everyone can read.
    for secret in [
        key.jwk().to_string(),
        key.jwk()["x"].to_string(),
        app.issuer.clone(),
    ] {
        let header = json!({ "alg": "HS256", "kid": key.kid });
        let claims = app.assertion_claims("robot", &json!({}));
        app.ask_with(&super::jose::hmac(&header, &claims, secret.as_bytes()), &[])
            .await
            .refused(401, "invalid_client");
    }
}

// AC-136
#[tokio::test]
async fn rs256_is_not_for_fapi_clients() {
    let app = TestApp::weather().await;
    for (alg, status) in [
        ("RS256", 401),
        ("PS256", 200),
        ("ES256", 200),
        ("EdDSA", 200),
    ] {
        let key = Key::new(alg, 1);
        // A key that leaves the algorithm open does not open this door either.
        let mut jwk = key.jwk();
        jwk.as_object_mut().unwrap().remove("alg");
        let members = json!({ "profile": "fapi2", "jwks": { "keys": [jwk] } });
        app.robot(&key, members).await;
        let assertion = app.assertion(&key, "robot", &json!({}));
        // Tokens of this profile are bound to a key.
        let asked = app.ask_with(&assertion, &[]);
        let asked = asked.header("dpop", &app.proof(&Key::ed(2), &json!({})));
        assert_eq!(asked.await.status, status, "{alg}");
    }
}

// AC-137
#[tokio::test]
async fn an_assertion_for_someone_else_or_for_several_is_refused() {
    for profile in ["strict", "fapi2"] {
        let (app, key) = robot(json!({ "profile": profile })).await;
        for aud in [
            json!("https://as.example/token"),
            json!("https://as.example/"),
            json!("https://AS.example"),
            json!("https://as.example:443"),
            json!("http://as.example"),
            json!("as.example"),
            json!("https://other.example"),
            json!(""),
            json!([]),
            json!(["https://as.example"]),
            json!(["https://as.example", "https://other.example"]),
            json!([["https://as.example"]]),
            json!({ "0": "https://as.example" }),
            json!(7),
            json!(true),
            Value::Null,
        ] {
            let assertion = app.assertion(&key, "robot", &json!({ "aud": aud }));
            app.ask_with(&assertion, &[])
                .await
                .refused(401, "invalid_client");
        }
        let honest = app.ask_with(&app.assertion(&key, "robot", &json!({})), &[]);
        let proof = app.proof(&Key::ed(2), &json!({}));
        honest.header("dpop", &proof).await.ok();
    }
}

// AC-138
#[tokio::test]
async fn an_assertion_without_what_it_needs_or_of_two_minds_is_refused() {
    let (app, key) = robot(json!({})).await;
    for (overrides, params) in [
        (json!({ "sub": null }), &[][..]),
        (json!({ "iss": null }), &[]),
        (json!({ "exp": null }), &[]),
        (json!({ "jti": null }), &[]),
        (json!({ "jti": "" }), &[]),
        (json!({ "jti": 7 }), &[]),
        (json!({ "jti": "x".repeat(513) }), &[]),
        (json!({ "iss": "agent" }), &[]),
        (json!({ "iss": "https://as.example" }), &[]),
        (json!({ "sub": "agent" }), &[]),
        (json!({ "sub": ["robot"] }), &[]),
        (json!({ "iss": "agent", "sub": "agent" }), &[]),
        (json!({}), &[("client_id", "agent")]),
        (json!({}), &[("client_id", "nobody")]),
    ] {
        let assertion = app.assertion(&key, "robot", &overrides);
        let answer = app.ask_with(&assertion, params).await;
        assert_eq!(
            answer.refusal(),
            (401, "invalid_client".into()),
            "{overrides}"
        );
    }
}

// AC-139, AC-192
#[tokio::test]
async fn an_assertion_out_of_its_time_is_refused() {
    let (app, key) = robot(json!({})).await;
    let now = app.now();
    for times in [
        json!({ "exp": now - 300 }),
        json!({ "exp": now - 61 }),
        json!({ "nbf": now + 61 }),
        json!({ "iat": now + 61 }),
        json!({ "exp": now + 86_400 }),
        json!({ "exp": i64::MAX }),
        json!({ "exp": u64::MAX }),
        json!({ "exp": 1e300 }),
        json!({ "exp": -1 }),
        json!({ "exp": 0 }),
        json!({ "exp": (now + 60).to_string() }),
        json!({ "exp": [now + 60] }),
        json!({ "exp": true }),
        json!({ "nbf": "soon" }),
        json!({ "iat": {} }),
    ] {
        let assertion = app.assertion(&key, "robot", &times);
        let answer = app.ask_with(&assertion, &[]).await;
        assert_eq!(answer.refusal(), (401, "invalid_client".into()), "{times}");
    }
    // Numbers that JSON can write and a machine cannot hold.
    for number in [
        "1e400",
        "-1e400",
        "99999999999999999999999",
        "1800000060e0000000001",
    ] {
        let claims = app.assertion_claims("robot", &json!({ "exp": "NUMBER" }));
        let payload = claims.to_string().replace("\"NUMBER\"", number);
        app.ask_with(&key.sign_text(&key.header().to_string(), &payload), &[])
            .await
            .refused(401, "invalid_client");
    }
}

// AC-140
#[tokio::test]
async fn an_assertion_holds_once() {
    let (app, key) = robot(json!({})).await;
    let assertion = app.assertion(&key, "robot", &json!({}));
    app.ask_with(&assertion, &[]).await.ok();
    let again = app.ask_with(&assertion, &[]).await;
    again.refused(401, "invalid_client");
    // Another assertion of the same name is the same name; and it stays used while it could hold.
    let same = json!({ "jti": "once", "exp": app.now() + 3600 });
    app.ask_with(&app.assertion(&key, "robot", &same), &[])
        .await
        .ok();
    app.advance(3500);
    app.ask_with(
        &app.assertion(&key, "robot", &json!({ "jti": "once" })),
        &[],
    )
    .await
    .refused(401, "invalid_client");
}

// AC-143
#[tokio::test]
async fn an_assertion_signed_by_another_client_is_refused() {
    let (app, key) = robot(json!({})).await;
    let other = Key::ed(2);
    app.client("other", json!({ "jwks": other.jwks() })).await;
    app.ask_with(&app.assertion(&other, "robot", &json!({})), &[])
        .await
        .refused(401, "invalid_client");
    // Even under the right key's name.
    let claims = app.assertion_claims("robot", &json!({}));
    app.ask_with(&other.sign(&key.header(), &claims), &[])
        .await
        .refused(401, "invalid_client");
}

// AC-189
#[tokio::test]
async fn another_kind_of_token_is_no_assertion() {
    let (app, key) = robot(json!({})).await;
    for typ in [
        "at+jwt",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "oauth-id-jag+jwt",
        "x",
    ] {
        let header = json!({ "alg": "EdDSA", "kid": key.kid, "typ": typ });
        let assertion = key.sign(&header, &app.assertion_claims("robot", &json!({})));
        app.ask_with(&assertion, &[])
            .await
            .refused(401, "invalid_client");
    }
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    app.ask_with(&token, &[])
        .await
        .refused(401, "invalid_client");
}

#[tokio::test]
async fn an_assertion_of_another_type_is_refused() {
    let (app, key) = robot(json!({})).await;
    let assertion = app.assertion(&key, "robot", &json!({}));
    for (kind, token) in [
        ("", assertion.as_str()),
        (
            "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
            &assertion,
        ),
        ("jwt-bearer", &assertion),
        (ASSERTION_TYPE, ""),
    ] {
        let mut form = FORM.to_vec();
        form.extend([("client_assertion_type", kind), ("client_assertion", token)]);
        app.post("/token")
            .form(&form)
            .await
            .refused(400, "invalid_request");
    }
}

// AC-147
#[tokio::test]
async fn a_secret_that_has_expired_is_refused() {
    let app = TestApp::weather().await;
    let mut row = app.tenant(None).client("agent").unwrap().row("default");
    let before = Some(Box::new(row.clone()));
    row.secret_expires_at = app.now() + 100;
    let changes = vec![Change::PutClient { row, before }];
    let command = Command::new(changes, Vec::new());
    app.state.journal.commit(command).await.unwrap();
    app.advance(99);
    app.ask("agent", &FORM).await.ok();
    app.advance(1);
    app.ask("agent", &FORM).await.refused(401, "invalid_client");
}
