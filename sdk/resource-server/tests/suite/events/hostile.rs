//! SETs that are not believed.

use serde_json::{Value, json};

use super::stage::{PATH, Stage, Way, unsigned};
use super::transmitter::{caep, ssf};
use crate::support::{ED, NOW, RSA, Signer, signers};

/// What a transmitter pushes, and what it is told.
async fn is_refused(stage: &Stage, compact: &str, code: &str) {
    let (status, body) = stage.transmitter.push(compact).await;
    assert_eq!(
        (status, &body["err"]),
        (400, &json!(code)),
        "{body} {compact}"
    );
    assert!(
        body["description"]
            .as_str()
            .is_some_and(|text| text.len() > 10)
    );
    stage.lives(&json!({})).await;
}

fn honest(stage: &Stage) -> Value {
    let payload = json!({ "event_timestamp": NOW });
    stage
        .transmitter
        .set(&stage.user("alice"), &caep("session-revoked"), &payload)
}

#[tokio::test]
async fn every_algorithm_of_the_list_is_believed_and_no_other() {
    let stage = Stage::new().await;
    for signer in signers() {
        let claims = honest(&stage);
        let compact = stage.transmitter.sign(signer, &claims);
        assert_eq!(
            stage.transmitter.push(&compact).await.0,
            202,
            "{}",
            signer.alg
        );
    }
    stage.is_dead(&json!({})).await;

    let stage = Stage::new().await;
    let claims = honest(&stage).to_string();
    for alg in ["none", "HS256", "RS512", "rs256", ""] {
        let header = json!({ "alg": alg, "kid": RSA.kid, "typ": "secevent+jwt" }).to_string();
        is_refused(&stage, &unsigned(&header, &claims), "invalid_request").await;
    }
    // The public key as the secret of an HMAC.
    let header = json!({ "alg": "HS256", "kid": RSA.kid, "typ": "secevent+jwt" }).to_string();
    let input = format!(
        "{}.{}",
        crate::support::b64(&header),
        crate::support::b64(&claims)
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &RSA.spki());
    let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
    let forged = format!("{input}.{}", crate::support::b64(tag));
    is_refused(&stage, &forged, "invalid_request").await;
}

#[tokio::test]
async fn only_the_right_type_of_token_is_a_set() {
    let stage = Stage::new().await;
    let claims = honest(&stage).to_string();
    let typed = |typ: Value| {
        let mut header = json!({ "alg": "EdDSA", "kid": ED.kid });
        if !typ.is_null() {
            header["typ"] = typ;
        }
        ED.raw(&header.to_string(), &claims)
    };
    for typ in [
        json!("at+jwt"),
        json!("JWT"),
        json!("secevent"),
        json!("dpop+jwt"),
        json!("logout+jwt"),
        Value::Null,
    ] {
        is_refused(&stage, &typed(typ), "invalid_request").await;
    }
    // An access token of the same issuer, for this very resource.
    is_refused(&stage, &stage.token(&json!({})), "invalid_request").await;
    // And a SET is no access token.
    let mut both = stage.claims(&json!({}));
    for (name, value) in honest(&stage).as_object().unwrap() {
        both[name] = value.clone();
    }
    let reply = stage.ping(&stage.transmitter.sign(&ED, &both)).await;
    reply.is_invalid_token("not an access token");

    for typ in ["application/secevent+jwt", "SecEvent+JWT"] {
        assert_eq!(stage.transmitter.push(&typed(json!(typ))).await.0, 202);
    }
    stage.is_dead(&json!({})).await;
}

#[tokio::test]
async fn the_signature_is_the_transmitters() {
    let stage = Stage::new().await;
    let claims = honest(&stage);
    let compact = stage.transmitter.sign(&RSA, &claims);
    let (input, signature) = compact.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let corrupt = format!("{input}.{flipped}{}", &signature[1..]);
    is_refused(&stage, &corrupt, "invalid_key").await;
    // Its own key under a name that is unknown, or somebody else's.
    let other = Signer::new("EdDSA", "nobody");
    is_refused(
        &stage,
        &stage.transmitter.sign(&other, &claims),
        "invalid_key",
    )
    .await;
    let other = Signer::new("EdDSA", &ED.kid);
    is_refused(
        &stage,
        &stage.transmitter.sign(&other, &claims),
        "invalid_key",
    )
    .await;
    assert_eq!(stage.transmitter.push(&compact).await.0, 202);
    stage.is_dead(&json!({})).await;
}

#[tokio::test]
async fn each_claim_is_what_it_has_to_be() {
    let stage = Stage::new().await;
    let issuer = stage.transmitter.url.clone();
    let revoked = caep("session-revoked");
    let subject = stage.user("alice");
    let cases = [
        ("iss", json!("https://other.example"), "invalid_issuer"),
        ("iss", json!(format!("{issuer}/")), "invalid_issuer"),
        ("iss", json!([issuer]), "invalid_issuer"),
        ("iss", Value::Null, "invalid_issuer"),
        (
            "aud",
            json!("https://other.example/mcp"),
            "invalid_audience",
        ),
        (
            "aud",
            json!(["https://other.example/mcp"]),
            "invalid_audience",
        ),
        ("aud", json!([]), "invalid_audience"),
        ("aud", json!({}), "invalid_audience"),
        ("aud", Value::Null, "invalid_audience"),
        ("iat", json!(NOW + 61), "invalid_request"),
        ("iat", json!("1"), "invalid_request"),
        ("iat", json!(-1), "invalid_request"),
        ("iat", json!(1e300), "invalid_request"),
        ("iat", Value::Null, "invalid_request"),
        ("exp", json!(NOW + 300), "invalid_request"),
        ("exp", Value::Null, "invalid_request"),
        ("sub", json!("alice"), "invalid_request"),
        ("jti", json!(""), "invalid_request"),
        ("jti", json!(1), "invalid_request"),
        ("jti", json!("x".repeat(1025)), "invalid_request"),
        ("sub_id", Value::Null, "invalid_request"),
        ("sub_id", json!("alice"), "invalid_request"),
        ("sub_id", json!({}), "invalid_request"),
        ("sub_id", json!({ "format": 1 }), "invalid_request"),
        (
            "sub_id",
            json!({ "format": "iss_sub", "sub": "alice" }),
            "invalid_request",
        ),
        (
            "sub_id",
            json!({ "format": "jwt_id", "iss": issuer }),
            "invalid_request",
        ),
        ("sub_id", json!({ "format": "complex" }), "invalid_request"),
        (
            "sub_id",
            json!({ "format": "complex", "user": "alice" }),
            "invalid_request",
        ),
        (
            "sub_id",
            json!({ "format": "complex", "user": { "format": "complex" } }),
            "invalid_request",
        ),
        (
            "sub_id",
            json!({ "format": "complex",
                "user": { "format": "aliases", "identifiers": [subject.clone()] } }),
            "invalid_request",
        ),
        (
            "sub_id",
            json!({ "format": "aliases", "identifiers": [] }),
            "invalid_request",
        ),
        (
            "sub_id",
            json!({ "format": "aliases",
                "identifiers": [{ "format": "aliases", "identifiers": [subject] }] }),
            "invalid_request",
        ),
        ("events", json!({}), "invalid_request"),
        ("events", json!([]), "invalid_request"),
        ("events", Value::Null, "invalid_request"),
        (
            "events",
            json!({ &revoked: {}, "https://other.example": {} }),
            "invalid_request",
        ),
        ("events", json!({ &revoked: [] }), "invalid_request"),
        ("events", json!({ &revoked: "x" }), "invalid_request"),
        ("events", json!({ &revoked: null }), "invalid_request"),
        (
            "events",
            json!({ &revoked: { "event_timestamp": "1" } }),
            "invalid_request",
        ),
        (
            "events",
            json!({ &revoked: { "event_timestamp": NOW * 1000 } }),
            "invalid_request",
        ),
        (
            "events",
            json!({ caep("token-claims-change"): {} }),
            "invalid_request",
        ),
        (
            "events",
            json!({ caep("token-claims-change"): { "claims": { "scope": [] } } }),
            "invalid_request",
        ),
        (
            "events",
            json!({ caep("credential-change"): { "change_type": "create" } }),
            "invalid_request",
        ),
        (
            "events",
            json!({ ssf("stream-updated"): {} }),
            "invalid_request",
        ),
        (
            "events",
            json!({ ssf("verification"): { "state": 1 } }),
            "invalid_request",
        ),
    ];
    for (name, value, code) in cases {
        let mut claims = honest(&stage);
        claims[name] = value;
        is_refused(&stage, &stage.transmitter.sign(&ED, &claims), code).await;
    }
    for name in ["iss", "aud", "iat", "jti", "sub_id", "events"] {
        let mut claims = honest(&stage);
        claims.as_object_mut().unwrap().remove(name);
        let compact = stage.transmitter.sign(&ED, &claims);
        let code = match name {
            "iss" => "invalid_issuer",
            "aud" => "invalid_audience",
            _ => "invalid_request",
        };
        is_refused(&stage, &compact, code).await;
    }
    assert_eq!(stage.health().remembered, 0);
    // The same with what may be: at the edge, among others, or left out.
    let mut claims = honest(&stage);
    claims["iat"] = json!(NOW + 60);
    claims["aud"] = json!(["https://other.example/mcp", stage.resource]);
    claims.as_object_mut().unwrap().remove("txn");
    let compact = stage.transmitter.sign(&ED, &claims);
    assert_eq!(stage.transmitter.push(&compact).await.0, 202);
    stage.is_dead(&json!({})).await;
}

#[tokio::test]
async fn text_that_is_no_set_is_refused_whatever_its_shape() {
    let stage = Stage::new().await;
    let header = json!({ "alg": "EdDSA", "kid": ED.kid, "typ": "secevent+jwt" }).to_string();
    let claims = honest(&stage).to_string();
    let twice = claims.replacen('{', r#"{"jti":"other","#, 1);
    let inside = claims.replacen(
        "{\"event_timestamp\"",
        "{\"event_timestamp\":1,\"event_timestamp\"",
        1,
    );
    let sub = format!(
        r#"{{"format":"iss_sub","iss":"{}","sub":"bob","sub":"alice"}}"#,
        stage.transmitter.url
    );
    let subject = stage.user("alice").to_string();
    let two_names = claims.replacen(&subject, &sub, 1);
    assert!(claims != twice && claims != inside && claims != two_names);
    let deep = |open: &str, close: &str| {
        let nested = format!("{}{}", open.repeat(5000), close.repeat(5000));
        claims.replacen('{', &format!(r#"{{"deep":{nested},"#), 1)
    };
    for payload in [
        twice,
        inside,
        two_names,
        deep("[", "]"),
        deep(r#"{"a":"#, "1}"),
        "[]".to_owned(),
        "null".to_owned(),
        "{".to_owned(),
        format!("{claims} {claims}"),
    ] {
        is_refused(&stage, &ED.raw(&header, &payload), "invalid_request").await;
    }
    let crit = header.replacen('{', r#"{"crit":["b64"],"b64":false,"#, 1);
    let alg = header.replacen('{', r#"{"alg":"none","#, 1);
    for header in [crit, alg, "[]".to_owned(), "x".to_owned()] {
        is_refused(&stage, &ED.raw(&header, &claims), "invalid_request").await;
    }
    let good = ED.raw(&header, &claims);
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        "\0",
        &good.replace('.', " "),
        &format!("{good}="),
    ] {
        is_refused(&stage, text, "invalid_request").await;
    }
    assert_eq!(stage.transmitter.push(&good).await.0, 202);
    stage.is_dead(&json!({})).await;
}

#[tokio::test]
async fn a_set_may_be_long_but_not_endless() {
    let stage = Stage::new().await;
    let mut claims = honest(&stage);
    let padded = |claims: &mut Value, length: usize| {
        claims["pad"] = json!("x".repeat(length));
        stage.transmitter.sign(&ED, claims)
    };
    let long = padded(&mut claims, 60_000);
    assert!(long.len() > 64 * 1024);
    is_refused(&stage, &long, "invalid_request").await;
    is_refused(&stage, &"x".repeat(5_000_000), "invalid_request").await;
    // Longer than an access token may be.
    let fits = padded(&mut claims, 45_000);
    assert!(fits.len() > 32 * 1024 && fits.len() < 64 * 1024);
    assert_eq!(stage.transmitter.push(&fits).await.0, 202);
    stage.is_dead(&json!({})).await;
}

#[tokio::test]
async fn only_the_transmitter_may_push() {
    let stage = Stage::new().await;
    let url = format!("{}{PATH}", stage.origin);
    let secret = stage.transmitter.stream().secret.unwrap();
    assert!(secret.len() > 40);
    let set = stage.transmitter.sign(&ED, &honest(&stage));
    let request = |authorization: &[&str], media: &str| {
        let mut request = stage.http.post(&url).header("content-type", media);
        for value in authorization {
            request = request.header("authorization", *value);
        }
        stage.send(request.body(set.clone()))
    };
    let media = "application/secevent+jwt";
    let shorter = &secret[..secret.len() - 1];
    let token = format!("Bearer {}", stage.token(&json!({})));
    let wrong: [&[&str]; 6] = [
        &[],
        &[""],
        &[shorter],
        &["Bearer x"],
        &[&token],
        &[&secret, &secret],
    ];
    for authorization in wrong {
        let reply = request(authorization, media).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["err"], "authentication_failed");
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(reply.headers["content-language"], "en");
    }
    let reply = request(&[&secret], "application/json").await;
    assert_eq!(
        (reply.status, &reply.json()["err"]),
        (400, &json!("invalid_request"))
    );
    for method in [
        reqwest::Method::GET,
        reqwest::Method::PUT,
        reqwest::Method::OPTIONS,
    ] {
        let request = stage
            .http
            .request(method, &url)
            .header("authorization", &secret);
        assert_eq!(stage.send(request).await.status, 405);
    }
    stage.lives(&json!({})).await;
    let reply = request(&[&secret], media).await;
    assert_eq!((reply.status, reply.body.len()), (202, 0));
    stage.is_dead(&json!({})).await;
    // What opens the one door does not open the other.
    let bearer = secret.strip_prefix("Bearer ").unwrap();
    assert_eq!(stage.ping(bearer).await.status, 401);
}

#[tokio::test]
async fn without_push_there_is_no_door() {
    let stage = Stage::with(Way::Feed, |events| events).await;
    let request = stage.http.post(format!("{}{PATH}", stage.origin)).body("x");
    assert_eq!(stage.send(request).await.status, 401);
}

#[tokio::test]
async fn the_same_set_again_is_taken_and_changes_nothing() {
    let stage = Stage::new().await;
    let set = stage.transmitter.sign(&ED, &honest(&stage));
    for _ in 0..3 {
        assert_eq!(stage.transmitter.push(&set).await.0, 202);
    }
    let health = stage.health();
    assert_eq!((health.repeated, health.remembered), (2, 1));
    stage.is_dead(&json!({})).await;
    // One that was refused is not remembered.
    let mut claims = honest(&stage);
    claims["aud"] = json!("https://other.example");
    let wrong = stage.transmitter.sign(&ED, &claims);
    for _ in 0..2 {
        assert_eq!(stage.transmitter.push(&wrong).await.0, 400);
    }
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched_and_an_unknown_one_not_too_often() {
    let stage = Stage::new().await;
    let new = Signer::new("EdDSA", "new");
    let claims = honest(&stage);
    let set = stage.transmitter.sign(&new, &claims);
    stage.transmitter.world().keys = crate::support::jwks(&[&RSA, &ED, &new]);
    // Within ten seconds of the first fetch nothing is fetched again.
    stage.clock.advance(9);
    assert_eq!(stage.transmitter.push(&set).await.0, 400);
    stage.clock.advance(1);
    assert_eq!(stage.transmitter.push(&set).await.0, 202);
    stage.is_dead(&json!({ "iat": NOW })).await;
}
