//! The JWS reader and verifier: group by group, what must not pass.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use writ_resource::jws::{Algorithm, JwkError, JwsError, KeySet, Unverified, VerifyingKey};

use crate::support::{EC, ED, PSS, RSA, Scene, Signer, b64, jwks, signers};

fn parse(token: &str) -> Result<Unverified<'_>, JwsError> {
    Unverified::parse(token)
}

fn refused(token: &str) -> JwsError {
    parse(token).map(|token| panic!("{token:?}")).unwrap_err()
}

#[test]
fn what_is_signed_verifies() {
    for signer in signers() {
        let token = signer.token(&json!({"sub": "x"}));
        let unverified = parse(&token).unwrap();
        assert_eq!(unverified.alg().as_str(), signer.alg);
        assert_eq!(unverified.kid(), Some(signer.kid.as_str()));
        let verified = unverified.verify(&signer.key()).unwrap();
        assert_eq!(verified.claims::<Value>().unwrap(), json!({"sub": "x"}));
        assert_eq!(verified.payload(), br#"{"sub":"x"}"#);

        let stranger = Signer::new(signer.alg, "stranger").key();
        let wrong_key = parse(&token).unwrap().verify(&stranger).unwrap_err();
        assert_eq!(wrong_key, JwsError::Signature);
        for other in signers() {
            if other.alg != signer.alg {
                let error = parse(&token).unwrap().verify(&other.key()).unwrap_err();
                assert_eq!(error, JwsError::KeyMismatch);
            }
        }
    }
}

#[test]
fn every_octet_is_signed() {
    for signer in signers() {
        let token = signer.token(&json!({"sub": "x"}));
        let key = signer.key();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let passed = parse(&changed).and_then(|token| token.verify(&key)).is_ok();
            assert!(!passed, "{} at {at}", signer.alg);
        }
    }
}

#[test]
fn algorithms_outside_the_list_are_refused() {
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!(null),
        json!(0),
        json!(["RS256"]),
        json!({"alg": "RS256"}),
        json!(true),
        json!("HS256"),
        json!("HS512"),
        json!("rs256"),
        json!("RS256 "),
        json!("RS384"),
        json!("RS512"),
        json!("ES384"),
        json!("ES256K"),
        json!("PS512"),
        json!("eddsa"),
        json!("RSA1_5"),
        json!("dir"),
    ] {
        let header = json!({"alg": alg, "kid": "ed", "typ": "at+jwt"}).to_string();
        assert_eq!(
            refused(&ED.raw(&header, "{}")),
            JwsError::Algorithm,
            "{alg}"
        );
        let unsigned = format!("{}.{}.", b64(&header), b64("{}"));
        parse(&unsigned).unwrap_err();
    }
    let header = json!({"kid": "ed", "typ": "at+jwt"}).to_string();
    assert_eq!(refused(&ED.raw(&header, "{}")), JwsError::Algorithm);
    for name in ["none", "HS256", "es256", ""] {
        assert_eq!(Algorithm::from_name(name), None);
    }
    for alg in Algorithm::ALL {
        assert_eq!(Algorithm::from_name(alg.as_str()), Some(alg));
        assert_eq!(serde_json::to_value(alg).unwrap(), alg.as_str());
    }
}

/// The public key as the secret of an HMAC, in every form somebody may have it.
#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    let scene = Scene::fixed().await;
    let claims = scene.claims("").to_string();
    let jwk = RSA.jwk();
    let pem = |der: &[u8]| {
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der)
        )
    };
    let der = RSA.spki();
    for secret in [
        jwk.to_string().into_bytes(),
        jwks(&[&RSA]).to_string().into_bytes(),
        jwk["n"].as_str().unwrap().as_bytes().to_vec(),
        pem(&der).into_bytes(),
        der,
        Vec::new(),
    ] {
        for alg in ["HS256", "RS256"] {
            let header = json!({"alg": alg, "kid": "rsa", "typ": "at+jwt"}).to_string();
            let input = format!("{}.{}", b64(&header), b64(&claims));
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let token = format!("{input}.{}", b64(hmac::sign(&key, input.as_bytes())));
            scene.ping(&token).await.is_invalid_token("signature");
        }
    }
}

#[test]
fn only_three_strict_segments() {
    let token = ED.token(&json!({}));
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("{token}");
    };
    let standard = STANDARD.encode([0xfb, 0xff, 0xfe]);
    assert!(standard.contains('+') && standard.contains('/'));
    for malformed in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}.{payload}.{payload}.{payload}.{signature}"),
        format!("{token}="),
        format!("{token}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}==.{signature}"),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{header}.{payload}\n.{signature}"),
        format!("{header}. {payload}.{signature}"),
        format!("{header}.{payload}.{signature}\u{0}"),
        format!("{header}.{payload}.{standard}"),
        format!("{header}.{payload}.{signature}é"),
        format!("{header}.{payload}.A"),
        format!("{header}.A.{signature}"),
    ] {
        assert_eq!(refused(&malformed), JwsError::NotCompact, "{malformed:?}");
    }
    assert_eq!(refused(&"a".repeat(16 * 1024 + 1)), JwsError::TooLong);
}

/// 64 octets leave four bits of the last character unused; every value but zero
/// is another spelling of the same signature (RFC 4648 §3.5).
#[test]
fn unused_trailing_bits_must_be_zero() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let token = ED.token(&json!({}));
    let (head, last) = token.split_at(token.len() - 1);
    let value = ALPHABET
        .iter()
        .position(|character| *character == last.as_bytes()[0])
        .unwrap();
    assert_eq!(value % 16, 0);
    for stray in 1..16 {
        let spelling = format!("{head}{}", char::from(ALPHABET[value + stray]));
        assert_eq!(refused(&spelling), JwsError::NotCompact);
    }
}

#[test]
fn headers_are_plain_objects_without_extensions() {
    for (header, error) in [
        // Extensions, in every form.
        (
            r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#,
            JwsError::Critical,
        ),
        (r#"{"alg":"EdDSA","crit":[]}"#, JwsError::Critical),
        (r#"{"alg":"EdDSA","crit":["alg"]}"#, JwsError::Critical),
        (r#"{"alg":"EdDSA","crit":null}"#, JwsError::Critical),
        (r#"{"alg":"EdDSA","crit":"b64"}"#, JwsError::Critical),
        (r#"{"alg":"EdDSA","cr\u0069t":["x"]}"#, JwsError::Critical),
        (
            r#"{"alg":"EdDSA","b64":false,"crit":["b64"]}"#,
            JwsError::Critical,
        ),
        (r#"{"alg":"EdDSA","b64":false}"#, JwsError::Critical),
        (r#"{"alg":"EdDSA","b64":true}"#, JwsError::Critical),
        // Repeated names, spelled alike or not.
        (r#"{"alg":"EdDSA","alg":"EdDSA"}"#, JwsError::Header),
        (r#"{"alg":"none","alg":"EdDSA"}"#, JwsError::Header),
        (r#"{"alg":"EdDSA","a\u006cg":"none"}"#, JwsError::Header),
        (r#"{"alg":"EdDSA","kid":"a","kid":"b"}"#, JwsError::Header),
        (r#"{"alg":"EdDSA","x":1,"x":1}"#, JwsError::Header),
        (
            r#"{"alg":"EdDSA","jwk":{"kty":"OKP","kty":"EC"}}"#,
            JwsError::Header,
        ),
        // Wrong types.
        (r#"{"alg":"EdDSA","kid":1}"#, JwsError::Header),
        (r#"{"alg":"EdDSA","kid":null}"#, JwsError::Header),
        (r#"{"alg":"EdDSA","typ":["at+jwt"]}"#, JwsError::Header),
        // Not one JSON object.
        ("", JwsError::NotCompact),
        ("null", JwsError::Header),
        (r#"["EdDSA"]"#, JwsError::Header),
        (r#""EdDSA""#, JwsError::Header),
        (r#"{"alg":"EdDSA"} {}"#, JwsError::Header),
        (r#"{"alg":"EdDSA",}"#, JwsError::Header),
        ("\u{feff}{\"alg\":\"EdDSA\"}", JwsError::Header),
    ] {
        assert_eq!(refused(&ED.raw(header, "{}")), error, "{header}");
    }
    let many: serde_json::Map<_, _> = (0..33).map(|at| (at.to_string(), json!(1))).collect();
    let mut header = ED.header();
    header.as_object_mut().unwrap().extend(many);
    assert_eq!(
        refused(&ED.raw(&header.to_string(), "{}")),
        JwsError::Header
    );
}

#[tokio::test]
async fn keys_in_the_header_are_not_used() {
    let scene = Scene::fixed().await;
    let stranger = Signer::new("EdDSA", "ed");
    let claims = scene.claims("").to_string();
    for (name, value) in [
        ("jwk", stranger.jwk()),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("x5u", json!("http://127.0.0.1:1/x")),
        ("x5c", json!(["AAAA"])),
    ] {
        let mut header = stranger.header();
        header[name] = value.clone();
        let token = stranger.raw(&header.to_string(), &claims);
        scene.ping(&token).await.is_invalid_token("signature");
        // From the right key they do no harm.
        let token = ED.raw(&header.to_string(), &claims);
        scene.ping(&token).await.is_ok();
    }
    let mut header = stranger.header();
    header["jwk"] = stranger.jwk();
    let token = stranger.raw(&header.to_string(), "{}");
    assert_eq!(parse(&token).unwrap().jwk(), Some(&stranger.jwk()));
}

#[tokio::test]
async fn only_access_tokens_are_access_tokens() {
    let scene = Scene::fixed().await;
    let claims = scene.claims("").to_string();
    for (typ, status) in [
        (json!("at+jwt"), 200),
        (json!("AT+JWT"), 200),
        (json!("application/at+jwt"), 200),
        (json!("Application/At+Jwt"), 200),
        (json!("JWT"), 401),
        (json!("jwt"), 401),
        (json!("application/jwt"), 401),
        (json!("logout+jwt"), 401),
        (json!("secevent+jwt"), 401),
        (json!("dpop+jwt"), 401),
        (json!("client-authentication+jwt"), 401),
        (json!("oauth-id-jag+jwt"), 401),
        (json!("token-introspection+jwt"), 401),
        (json!("at"), 401),
        (json!("at+jwt "), 401),
        (json!("application/application/at+jwt"), 401),
        (json!("text/at+jwt"), 401),
        (json!("é"), 401),
        (json!(""), 401),
    ] {
        let mut header = ED.header();
        header["typ"] = typ.clone();
        let reply = scene.ping(&ED.raw(&header.to_string(), &claims)).await;
        assert_eq!(reply.status, status, "{typ}");
    }
    let mut header = ED.header();
    header.as_object_mut().unwrap().remove("typ");
    let reply = scene.ping(&ED.raw(&header.to_string(), &claims)).await;
    reply.is_invalid_token("not an access token");
}

#[test]
fn es256_signatures_are_r_and_s_in_range() {
    let token = EC.token(&json!({}));
    let (input, signature) = token.rsplit_once('.').unwrap();
    let key = EC.key();
    let honest = EC.signature(input.as_bytes());
    assert_eq!(honest.len(), 64);
    assert!(signature.len() > 80);
    key.verify_signature(Algorithm::ES256, input.as_bytes(), &honest)
        .unwrap();

    let order: Vec<u8> = [
        0xffff_ffff_u32,
        0x0000_0000,
        0xffff_ffff,
        0xffff_ffff,
        0xbce6_faad,
        0xa717_9e84,
        0xf3b9_cac2,
        0xfc63_2551,
    ]
    .iter()
    .flat_map(|word| word.to_be_bytes())
    .collect();
    let (r, s) = honest.split_at(32);
    let (zero, ones) = (vec![0; 32], vec![0xff; 32]);
    let der = {
        let integer = |octets: &[u8]| {
            let mut octets = octets.to_vec();
            if octets[0] >= 0x80 {
                octets.insert(0, 0);
            }
            let mut der = vec![0x02, u8::try_from(octets.len()).unwrap()];
            der.append(&mut octets);
            der
        };
        let body = [integer(r), integer(s)].concat();
        [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
    };
    for forged in [
        [&zero[..], s].concat(),
        [r, &zero].concat(),
        [zero.clone(), zero.clone()].concat(),
        [&order[..], s].concat(),
        [r, &order].concat(),
        [&ones[..], s].concat(),
        [r, &ones].concat(),
        [order.clone(), order].concat(),
        [&[0], &honest[..]].concat(),
        [&honest[..], &[0]].concat(),
        honest[..63].to_vec(),
        honest[..32].to_vec(),
        [s, r].concat(),
        der,
        Vec::new(),
    ] {
        let refused = key.verify_signature(Algorithm::ES256, input.as_bytes(), &forged);
        assert_eq!(refused, Err(JwsError::Signature), "{forged:02x?}");
    }
}

#[test]
fn keys_are_held_to_what_they_say() {
    for signer in signers() {
        let with = |name: &str, value: Value| {
            let mut jwk = signer.jwk();
            jwk[name] = value;
            VerifyingKey::from_jwk(&jwk)
        };
        assert!(with("key_ops", json!(["verify"])).is_ok());
        assert!(with("x-extra", json!({})).is_ok());
        for (name, value) in [
            ("use", json!("enc")),
            ("use", json!("SIG")),
            ("key_ops", json!(["sign"])),
            ("key_ops", json!(["encrypt", "wrapKey"])),
            ("key_ops", json!([])),
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("RSA-OAEP")),
            ("kty", json!("oct")),
            ("kty", json!("rsa")),
        ] {
            let refused = with(name, value.clone()).unwrap_err();
            assert!(matches!(refused, JwkError::Unusable(_)), "{name} {value}");
        }
        for (name, value) in [
            ("use", json!(1)),
            ("key_ops", json!("verify")),
            ("key_ops", json!(["verify", 1])),
            ("alg", json!(null)),
            ("kid", json!(7)),
            ("kty", json!(null)),
        ] {
            let refused = with(name, value.clone()).unwrap_err();
            assert!(matches!(refused, JwkError::Malformed(_)), "{name} {value}");
        }
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            assert_eq!(with(name, json!("AA")).unwrap_err(), JwkError::Private);
            assert_eq!(with(name, json!(null)).unwrap_err(), JwkError::Private);
        }
    }
    for other in [json!(null), json!([]), json!("x"), json!({})] {
        assert!(matches!(
            VerifyingKey::from_jwk(&other),
            Err(JwkError::Malformed(_))
        ));
    }
}

#[test]
fn an_rsa_key_without_alg_verifies_both_paddings_and_one_with_alg_only_its_own() {
    for (signer, other) in [(&RSA, &PSS), (&PSS, &RSA)] {
        let mut jwk = signer.jwk();
        jwk["alg"] = other.alg.into();
        let token = signer.token(&json!({}));
        let wrong = VerifyingKey::from_jwk(&jwk).unwrap();
        assert_eq!(
            parse(&token).unwrap().verify(&wrong).unwrap_err(),
            JwsError::KeyMismatch
        );
        jwk.as_object_mut().unwrap().remove("alg");
        let open = VerifyingKey::from_jwk(&jwk).unwrap();
        assert_eq!(open.algorithms(), [Algorithm::RS256, Algorithm::PS256]);
        parse(&token).unwrap().verify(&open).unwrap();
    }
}

#[test]
fn weak_and_malformed_keys_are_refused() {
    let refuse = |jwk: Value| assert!(VerifyingKey::from_jwk(&jwk).is_err(), "{jwk}");
    let rsa = |n: &[u8], e: &[u8]| json!({"kty": "RSA", "n": b64(n), "e": b64(e)});
    let modulus = |length: usize| {
        let mut n = vec![0xff; length];
        n[0] = 0x80;
        n
    };
    assert!(VerifyingKey::from_jwk(&rsa(&modulus(256), &[1, 0, 1])).is_ok());
    for length in [64, 128, 255, 1025] {
        refuse(rsa(&modulus(length), &[1, 0, 1]));
    }
    let mut short = modulus(256);
    short[0] = 0x7f;
    refuse(rsa(&short, &[1, 0, 1]));
    refuse(rsa(&[&[0], &modulus(256)[..]].concat(), &[1, 0, 1]));
    let mut even = modulus(256);
    even[255] = 0xfe;
    refuse(rsa(&even, &[1, 0, 1]));
    for e in [&[1][..], &[2], &[0, 1, 0, 1], &[1, 0, 0], &[1; 5], &[0]] {
        refuse(rsa(&modulus(256), e));
    }

    let ec = |x: &[u8], y: &[u8]| json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)});
    refuse(ec(&[0; 32], &[0; 32]));
    refuse(ec(&[1; 32], &[1; 32]));
    refuse(ec(&[1; 31], &[1; 32]));
    refuse(ec(&[1; 33], &[1; 32]));
    let mut jwk = EC.jwk();
    jwk["crv"] = "P-384".into();
    refuse(jwk);
    let mut jwk = EC.jwk();
    jwk["x"] = format!("{}=", jwk["x"].as_str().unwrap()).into();
    refuse(jwk);
    let mut jwk = ED.jwk();
    jwk["crv"] = "X25519".into();
    refuse(jwk);
    let okp = |x: &[u8]| json!({"kty": "OKP", "crv": "Ed25519", "x": b64(x)});
    refuse(okp(&[9; 31]));
    refuse(okp(&[9; 33]));
    refuse(json!({"kty": "oct", "k": "c2VjcmV0"}));
}

/// With a key of small order one signature fits (nearly) every message.
#[test]
fn ed25519_keys_of_small_order_are_refused() {
    let mut near = [0xff; 32];
    near[31] = 0x7f;
    let with_low = |mut point: [u8; 32], low| {
        point[0] = low;
        point
    };
    let mut points = vec![
        with_low([0; 32], 0),
        with_low([0; 32], 1),
        with_low(near, 0xec),
        with_low(near, 0xed),
        with_low(near, 0xee),
    ];
    // A point of order eight, and its negative y: together they make the prime.
    let eight: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    let mut negative = [0; 32];
    let mut borrow = 0_i16;
    let prime = with_low(near, 0xed);
    for at in 0..32 {
        let digit = i16::from(prime[at]) - i16::from(eight[at]) - borrow;
        borrow = i16::from(digit < 0);
        negative[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    points.extend([eight, negative]);
    for point in points {
        for sign in [0, 0x80] {
            let mut point = point;
            point[31] |= sign;
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(point)});
            assert!(VerifyingKey::from_jwk(&jwk).is_err(), "{point:02x?}");
        }
    }
}

/// The example of RFC 7638 §3.1, RFC 8037 appendix A.3, and a P-256 one worked
/// out by the same rule.
#[test]
fn thumbprints_follow_rfc_7638() {
    let key = VerifyingKey::from_jwk(&json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "ignored",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }))
    .unwrap();
    assert_eq!(
        key.thumbprint(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    let key = VerifyingKey::from_jwk(&json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    }))
    .unwrap();
    assert_eq!(
        key.thumbprint(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    let jwk = EC.jwk();
    let canonical = format!(
        r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#,
        jwk["x"], jwk["y"]
    );
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
    assert_eq!(EC.key().thumbprint(), b64(digest));
}

#[test]
fn key_sets_leave_out_what_they_cannot_use() {
    let mut encryption = RSA.jwk();
    encryption["use"] = "enc".into();
    let set = json!({"keys": [
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "pq"},
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
        {}, null, encryption, ED.jwk(),
    ]});
    let keys = KeySet::from_jwks(set.to_string().as_bytes()).unwrap();
    assert_eq!(keys.keys().len(), 1);
    assert_eq!(keys.keys()[0].kid(), Some("ed"));

    for malformed in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(
            KeySet::from_jwks(malformed.as_bytes()).is_err(),
            "{malformed}"
        );
    }
    let too_many = json!({"keys": vec![json!({}); 257]});
    assert!(KeySet::from_jwks(too_many.to_string().as_bytes()).is_err());
}

#[test]
fn a_key_is_found_by_kid_and_algorithm_or_not_at_all() {
    let find = |signers: &[&Signer], kid, alg| {
        let keys = KeySet::from_jwks(jwks(signers).to_string().as_bytes()).unwrap();
        keys.find(kid, alg).map(|key| key.thumbprint().to_owned())
    };
    let (ed, ec) = (&*ED, &*EC);
    assert_eq!(
        find(&[ed, ec], Some("ed"), Algorithm::EdDSA).as_deref(),
        Some(ed.key().thumbprint())
    );
    assert_eq!(find(&[ed, ec], Some("ed"), Algorithm::ES256), None);
    assert_eq!(find(&[ed, ec], Some("ED"), Algorithm::EdDSA), None);
    assert_eq!(find(&[ed, ec], Some(""), Algorithm::EdDSA), None);
    // Without a `kid`, only when there is no choice.
    assert_eq!(
        find(&[ed, ec], None, Algorithm::EdDSA).as_deref(),
        Some(ed.key().thumbprint())
    );
    let second = Signer::new("EdDSA", "second");
    assert_eq!(find(&[ed, &second], None, Algorithm::EdDSA), None);
    // One name for two keys is no name.
    let same = Signer::new("EdDSA", "ed");
    assert_eq!(find(&[ed, &same], Some("ed"), Algorithm::EdDSA), None);
}

#[tokio::test]
async fn the_author_may_accept_fewer_algorithms() {
    let scene = Scene::with(|protect| protect.algorithms([Algorithm::ES256])).await;
    scene.ping(&EC.token(&scene.claims(""))).await.is_ok();
    for signer in [&ED, &RSA, &PSS] {
        scene
            .ping(&signer.token(&scene.claims("")))
            .await
            .is_invalid_token("algorithm");
    }
}
