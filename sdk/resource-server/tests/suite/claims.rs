//! Access-token claims: what RFC 9068 demands, and values that are not what
//! they seem. All of these tokens are signed by the right key.

use serde_json::{Value, json};
use writ_resource::claims::{AccessClaims, Audience};

use crate::support::{ED, Scene};

#[tokio::test]
async fn every_required_claim_is_required() {
    let scene = Scene::fixed().await;
    for claim in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"] {
        let mut claims = scene.claims("");
        claims.as_object_mut().unwrap().remove(claim);
        scene
            .ping(&ED.token(&claims))
            .await
            .is_invalid_token("claims");
        for wrong in [
            json!(null),
            json!(""),
            json!({}),
            json!([]),
            json!(true),
            json!([["x"]]),
        ] {
            claims[claim] = wrong;
            scene
                .ping(&ED.token(&claims))
                .await
                .is_invalid_token("claims");
        }
    }
}

#[tokio::test]
async fn optional_claims_have_their_types() {
    let scene = Scene::fixed().await;
    let wrong = [
        ("scope", json!(["tool:forecast"])),
        ("scope", json!(null)),
        ("grant_id", json!(1)),
        ("tenant", json!(["acme"])),
        ("act", json!("agent")),
        ("act", json!({})),
        ("act", json!({"sub": 1})),
        ("act", json!({"sub": "a", "act": "b"})),
        ("cnf", json!("x")),
        ("cnf", json!(null)),
        ("authorization_details", json!({})),
        ("nbf", json!("1")),
    ];
    for (claim, value) in wrong {
        let mut claims = scene.claims("");
        claims[claim] = value;
        scene
            .ping(&ED.token(&claims))
            .await
            .is_invalid_token("claims");
    }
}

#[tokio::test]
async fn the_issuer_is_compared_octet_by_octet() {
    let scene = Scene::fixed().await;
    let issuer = &scene.issuer.url;
    for other in [
        format!("{issuer}/"),
        issuer.to_uppercase(),
        issuer.replace("/acme", "/Acme"),
        issuer.replace("127.0.0.1", "localhost"),
        format!("{issuer} "),
        "https://auth.example".to_owned(),
    ] {
        let mut claims = scene.claims("");
        claims["iss"] = other.into();
        scene
            .ping(&ED.token(&claims))
            .await
            .is_invalid_token("another issuer");
    }
}

#[tokio::test]
async fn the_audience_names_this_resource_exactly() {
    let scene = Scene::fixed().await;
    let here = scene.resource.as_str();
    for other in [
        json!("https://other.example/mcp"),
        json!(format!("{here}/")),
        json!(here.to_uppercase()),
        json!(scene.origin),
        json!(["https://other.example/mcp", format!("{here}/tools")]),
    ] {
        let mut claims = scene.claims("");
        claims["aud"] = other;
        scene
            .ping(&ED.token(&claims))
            .await
            .is_invalid_token("another resource");
    }
    for malformed in [
        json!([here, ""]),
        json!([[here]]),
        json!([here, 1]),
        json!({"aud": here}),
    ] {
        let mut claims = scene.claims("");
        claims["aud"] = malformed;
        scene
            .ping(&ED.token(&claims))
            .await
            .is_invalid_token("claims");
    }
    let mut claims = scene.claims("");
    claims["aud"] = json!(["https://other.example/mcp", here]);
    scene.ping(&ED.token(&claims)).await.is_ok();
}

#[tokio::test]
async fn times_are_numbers_a_clock_could_show() {
    let scene = Scene::fixed().await;
    let honest = scene.claims("").to_string();
    let exp = scene.claims("")["exp"].to_string();
    for claim in ["exp", "iat"] {
        for text in [
            "\"1800000300\"",
            "-1",
            "-0.5",
            "1e400",
            "-1e400",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "253402300800",
            "1e300",
            "NaN",
            "Infinity",
            "0x6b49d200",
            "01800000300",
            "true",
            "null",
            "[1800000300]",
            "{\"$serde_json::private::Number\":\"1800000300\"}",
        ] {
            let now = scene.claims("")[claim].to_string();
            let payload = honest.replace(
                &format!("\"{claim}\":{now}"),
                &format!("\"{claim}\":{text}"),
            );
            assert_ne!(payload, honest);
            let token = ED.raw(&ED.header().to_string(), &payload);
            scene.ping(&token).await.is_invalid_token("claims");
        }
    }
    for text in [format!("{exp}.75"), format!("{exp}e0"), format!("{exp}.0")] {
        let payload = honest.replace(&format!("\"exp\":{exp}"), &format!("\"exp\":{text}"));
        assert_ne!(payload, honest);
        scene
            .ping(&ED.raw(&ED.header().to_string(), &payload))
            .await
            .is_ok();
    }
}

#[tokio::test]
async fn repeated_claims_are_refused_at_any_depth() {
    let scene = Scene::fixed().await;
    let honest = scene.claims("").to_string();
    for extra in [
        "\"sub\":\"admin\"",
        "\"scope\":\"tool:alert\"",
        "\"x\":1,\"x\":1",
        "\"s\\u0075b\":\"admin\"",
        "\"act\":{\"sub\":\"a\",\"sub\":\"b\"}",
        "\"x\":[{\"y\":{\"z\":1,\"z\":2}}]",
    ] {
        let payload = honest.replacen('{', &format!("{{{extra},"), 1);
        let token = ED.raw(&ED.header().to_string(), &payload);
        scene.ping(&token).await.is_invalid_token("claims");
    }
    for payload in [
        "[]",
        "\"x\"",
        "",
        "{}",
        "null",
        &format!("{honest}x"),
        &format!("{honest}{honest}"),
    ] {
        let token = ED.raw(&ED.header().to_string(), payload);
        assert_eq!(scene.ping(&token).await.status, 401, "{payload}");
    }
}

#[tokio::test]
async fn bound_tokens_are_no_bearer_tokens() {
    let scene = Scene::fixed().await;
    for cnf in [
        json!({"jkt": "x"}),
        json!({"x5t#S256": "x"}),
        json!({"kid": "x"}),
        json!({}),
    ] {
        let mut claims = scene.claims("");
        claims["cnf"] = cnf;
        scene
            .ping(&ED.token(&claims))
            .await
            .is_invalid_token("bound to a key");
    }
}

#[tokio::test]
async fn chains_of_actors_end() {
    let scene = Scene::fixed().await;
    let chain = |length: usize| {
        (0..length).fold(json!(null), |act, at| {
            let mut actor = json!({"sub": at.to_string()});
            if !act.is_null() {
                actor["act"] = act;
            }
            actor
        })
    };
    let mut claims = scene.claims("");
    claims["act"] = chain(16);
    let reply = scene.ping(&ED.token(&claims)).await;
    reply.is_ok();
    assert_eq!(reply.json()["actors"].as_array().map(Vec::len), Some(16));
    for length in [17, 100, 500] {
        claims["act"] = chain(length);
        scene.ping(&ED.token(&claims)).await.is_invalid_token("");
    }
}

#[test]
fn claims_do_not_rely_on_their_reader() {
    let honest = r#""iss":"i","sub":"s","aud":"a","exp":2,"iat":1,"jti":"j","client_id":"c","x":1"#;
    assert!(serde_json::from_str::<AccessClaims>(&format!("{{{honest}}}")).is_ok());
    for repeated in [r#""sub":"s""#, r#""exp":2"#, r#""aud":"a""#, r#""x":1"#] {
        let claims = serde_json::from_str::<AccessClaims>(&format!("{{{honest},{repeated}}}"));
        assert!(claims.is_err(), "{repeated}");
    }
}

#[test]
fn claims_are_written_as_they_are_read() {
    let written = json!({
        "iss": "https://auth.example", "sub": "alice", "aud": "https://mcp.example/mcp",
        "exp": 2, "iat": 1, "nbf": 1, "jti": "1", "client_id": "agent", "scope": "a b",
        "grant_id": "g", "act": {"sub": "x", "iss": "y", "kind": "z"}, "may_act": {"sub": "m"},
        "cnf": {"jkt": "t"}, "authorization_details": [{"type": "t"}], "tenant": "acme",
        "acr": "1",
    });
    let claims: AccessClaims = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&claims).unwrap(), written);
    assert_eq!(claims.scopes().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(claims.extra["acr"], "1");
    let several: Audience = ["a".to_owned(), "b".to_owned()].into_iter().collect();
    assert_eq!(serde_json::to_value(&several).unwrap(), json!(["a", "b"]));
    assert_eq!(several.iter().collect::<Vec<_>>(), ["a", "b"]);
    let one: Value = serde_json::to_value(Audience::from("a")).unwrap();
    assert_eq!(one, json!("a"));
}
