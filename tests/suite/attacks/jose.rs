//! K. JOSE, wherever the server reads a token: client assertions, subject and actor tokens,
//! bearer tokens at the admin API. The whole verifier has its own suite in the layer for MCP
//! servers; here stands that every door leads to it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    grant_types::token_exchange::chain,
    support::{Answer, Key, ServerKey, TestApp, WEATHER, b64, parts, unsigned},
};

/// A token signed with a shared secret.
pub(super) fn hmac(header: &Value, claims: &Value, secret: &[u8]) -> String {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
    let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let tag = sign(&Key::new(HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", b64(tag))
}

/// A place where a token is presented.
#[derive(Clone, Copy, Debug)]
enum Door {
    Assertion,
    Subject,
    Actor,
    Admin,
}

const DOORS: [Door; 4] = [Door::Assertion, Door::Subject, Door::Actor, Door::Admin];

struct House {
    app: TestApp,
    robot: Key,
    server: ServerKey,
    subject: String,
}

impl House {
    async fn new() -> Self {
        let app = TestApp::weather().await;
        chain(&app, &["agent"]).await;
        let robot = Key::ed(1);
        app.robot(&robot, json!({})).await;
        let server = ServerKey::of(&app, &app.tenant(None));
        let subject = app.token("agent", WEATHER, "tool:forecast").await;
        Self {
            app,
            robot,
            server,
            subject,
        }
    }

    /// Whose key signs what goes through this door.
    fn key(&self, door: Door) -> &Key {
        match door {
            Door::Assertion => &self.robot,
            _ => self.server.key(),
        }
    }

    fn header(&self, door: Door) -> Value {
        match door {
            Door::Assertion => self.robot.header(),
            _ => self.server.header(),
        }
    }

    /// Claims that are accepted at this door.
    async fn claims(&self, door: Door) -> Value {
        match door {
            Door::Assertion => self.app.assertion_claims("robot", &json!({})),
            Door::Subject | Door::Actor => parts(&self.subject).1,
            Door::Admin => parts(&self.app.admin_token(None, "writ:read").await).1,
        }
    }

    async fn knock(&self, door: Door, token: &str) -> Answer {
        match door {
            Door::Assertion => self.app.ask_with(token, &[]).await,
            Door::Subject => self.app.exchange("agent", token, &[]).await,
            Door::Actor => {
                self.app
                    .exchange_as_actor("agent", &self.subject, token, &[])
                    .await
            }
            Door::Admin => self.app.get("/admin/clients").bearer(token).await,
        }
    }

    async fn refused(&self, door: Door, token: &str, why: &str) {
        let expected = match door {
            Door::Assertion => (401, "invalid_client"),
            Door::Subject | Door::Actor => (400, "invalid_request"),
            Door::Admin => (401, "invalid_token"),
        };
        let (status, code) = self.knock(door, token).await.refusal();
        assert_eq!(
            (status, code.as_str()),
            expected,
            "{door:?}: {why}: {token}"
        );
    }

    /// An honest token, signed by the harness.
    async fn honest(&self, door: Door) -> String {
        self.key(door)
            .sign(&self.header(door), &self.claims(door).await)
    }
}

#[tokio::test]
async fn an_honest_token_opens_every_door() {
    let house = House::new().await;
    for door in DOORS {
        let answer = house.knock(door, &house.honest(door).await).await;
        assert_eq!(answer.status, 200, "{door:?}: {}", answer.text());
    }
}

// AC-176
#[tokio::test]
async fn no_signature_no_entry() {
    let house = House::new().await;
    for door in DOORS {
        let claims = house.claims(door).await;
        for alg in [
            json!("none"),
            json!("None"),
            json!("nOnE"),
            json!("NONE"),
            json!(""),
            json!(7),
            json!(["EdDSA"]),
            json!({}),
            json!(true),
            Value::Null,
            json!("EDDSA"),
            json!("eddsa"),
            json!("HS256"),
            json!("ES512"),
            json!("RS1"),
        ] {
            let mut header = house.header(door);
            header["alg"] = alg.clone();
            house
                .refused(door, &unsigned(&header, &claims), "unsigned")
                .await;
            house
                .refused(door, &house.key(door).sign(&header, &claims), "misnamed")
                .await;
        }
        let mut header = house.header(door);
        header.as_object_mut().unwrap().remove("alg");
        house
            .refused(door, &house.key(door).sign(&header, &claims), "no alg")
            .await;
    }
}

// AC-177
#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let house = House::new().await;
    for door in DOORS {
        let claims = house.claims(door).await;
        let jwk = match door {
            Door::Assertion => house.robot.jwk(),
            _ => {
                let set = house.app.get("/jwks.json").await.ok();
                let kid = house.header(door)["kid"].clone();
                set["keys"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|k| k["kid"] == kid)
                    .unwrap()
                    .clone()
            }
        };
        let x = jwk["x"].as_str().unwrap();
        let raw = URL_SAFE_NO_PAD.decode(x).unwrap();
        let der = [
            &[
                0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0,
            ][..],
            &raw,
        ]
        .concat();
        for secret in [
            raw,
            der,
            x.as_bytes().to_vec(),
            jwk.to_string().into_bytes(),
            Vec::from("x"),
        ] {
            let mut header = house.header(door);
            header["alg"] = json!("HS256");
            house
                .refused(door, &hmac(&header, &claims, &secret), "HMAC")
                .await;
        }
    }
}

// AC-178, AC-179
#[tokio::test]
async fn only_the_strict_compact_form_is_read() {
    let house = House::new().await;
    for door in DOORS {
        let token = house.honest(door).await;
        let segments: Vec<&str> = token.split('.').collect();
        let (h, p, s) = (segments[0], segments[1], segments[2]);
        let mut last = s[..s.len() - 1].to_owned();
        // 64 bytes leave four bits of the last character unused: set one.
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = alphabet.find(s.chars().last().unwrap()).unwrap();
        last.push(alphabet.chars().nth(at ^ 1).unwrap());
        for broken in [
            format!("{h}.{p}."),
            format!("{h}.{p}"),
            h.to_owned(),
            format!("{h}.{p}.{s}.{s}"),
            format!("{h}.{p}.{s}.{s}.{s}"),
            format!(".{p}.{s}"),
            format!("{h}..{s}"),
            format!("{h}.{p}.{s}="),
            format!("{h}.{p}.{s}=="),
            format!("{h}=.{p}.{s}"),
            format!("{h}.{p}.{last}"),
            format!("{h}.{p}.{}", &s[..s.len() - 2]),
            format!("{h}.{p}.{s}AA"),
            format!("{h} .{p}.{s}"),
            format!("{h}.{p}.+{}", &s[1..]),
            format!("{h}.{p}./{}", &s[1..]),
            format!("{h}.{p}.{}", "A".repeat(86)),
            token.replace('.', ","),
            "a".repeat(20_000),
            ".".repeat(100),
            "{}".to_owned(),
        ] {
            house.refused(door, &broken, "form").await;
        }
        // What a header may hold and the grammar of a bearer token not.
        if !matches!(door, Door::Admin) {
            for broken in [
                format!("{h}.{p}.{s}\n"),
                format!("{h}\r\n.{p}.{s}"),
                format!(" {token}"),
                format!("{token}\0"),
            ] {
                house.refused(door, &broken, "white space").await;
            }
        }
    }
}

// AC-181
#[tokio::test]
async fn nothing_critical_is_overlooked() {
    let house = House::new().await;
    for door in DOORS {
        let claims = house.claims(door).await;
        for (name, value) in [
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("crit", json!(["alg"])),
            ("crit", json!(["b64"])),
            ("crit", json!("b64")),
            ("crit", Value::Null),
        ] {
            let mut header = house.header(door);
            header[name] = value;
            header["b64"] = json!(false);
            house
                .refused(door, &house.key(door).sign(&header, &claims), "crit")
                .await;
        }
    }
}

// AC-182
#[tokio::test]
async fn a_key_nobody_published_verifies_nothing() {
    let house = House::new().await;
    let stranger = Key::ed(99);
    for door in DOORS {
        let claims = house.claims(door).await;
        let mut header = house.header(door);
        house
            .refused(door, &stranger.sign(&header, &claims), "foreign key")
            .await;
        header["kid"] = json!("nobody");
        house
            .refused(door, &house.key(door).sign(&header, &claims), "unknown kid")
            .await;
        // Keys and addresses of keys in the header are not taken.
        for (name, value) in [
            ("jwk", stranger.jwk()),
            ("jku", json!("https://evil.example/jwks")),
            ("x5u", json!("https://evil.example/x5")),
            ("x5c", json!(["AAAA"])),
        ] {
            let mut header = house.header(door);
            header[name] = value;
            header["kid"] = json!(stranger.kid);
            house
                .refused(door, &stranger.sign(&header, &claims), name)
                .await;
        }
    }
}

// AC-183
#[tokio::test]
async fn a_key_for_something_else_verifies_nothing() {
    let app = TestApp::weather().await;
    let key = Key::new("RS256", 1);
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!(["sign"])),
        ("alg", json!("PS256")),
        ("alg", json!("RSA-OAEP")),
    ] {
        let mut jwk = key.jwk();
        jwk[name] = value.clone();
        // Another key keeps the set usable.
        let jwks = json!({ "keys": [jwk, Key::ed(7).jwk()] });
        app.robot(&key, json!({ "jwks": jwks })).await;
        let assertion = app.assertion(&key, "robot", &json!({}));
        let answer = app.ask_with(&assertion, &[]).await;
        assert_eq!(
            answer.refusal(),
            (401, "invalid_client".into()),
            "{name} {value}"
        );
    }
}

// AC-180
#[tokio::test]
async fn an_es256_signature_is_two_numbers_in_range_and_nothing_else() {
    let app = TestApp::weather().await;
    let key = Key::new("ES256", 3);
    app.robot(&key, json!({})).await;
    let order = URL_SAFE_NO_PAD
        .decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE")
        .unwrap();
    let honest = app.assertion(&key, "robot", &json!({}));
    let (message, signature) = honest.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = signature.split_at(32);
    let zero = [0_u8; 32];
    let der = p256::ecdsa::Signature::from_slice(&signature)
        .unwrap()
        .to_der();
    for forged in [
        der.as_bytes().to_vec(),
        [&zero[..], s].concat(),
        [r, &zero[..]].concat(),
        [&zero[..], &zero[..]].concat(),
        [&order[..], s].concat(),
        [r, &order[..]].concat(),
        [&[0xff; 32][..], &[0xff; 32][..]].concat(),
        [&signature[..], &[0]].concat(),
        signature[..63].to_vec(),
        Vec::new(),
        [&[0][..], &signature[..]].concat(),
    ] {
        app.ask_with(&format!("{message}.{}", b64(forged)), &[])
            .await
            .refused(401, "invalid_client");
    }
    app.ask_with(&honest, &[]).await.ok();
}

// AC-189
#[tokio::test]
async fn a_token_of_another_kind_opens_nothing() {
    let house = House::new().await;
    for door in [Door::Subject, Door::Actor, Door::Admin] {
        let claims = house.claims(door).await;
        for typ in [
            json!("JWT"),
            json!("jwt"),
            json!("dpop+jwt"),
            json!("logout+jwt"),
            json!("secevent+jwt"),
            json!("id_token+jwt"),
            json!(""),
            json!(7),
            Value::Null,
        ] {
            let mut header = house.header(door);
            header["typ"] = typ;
            house
                .refused(door, &house.key(door).sign(&header, &claims), "typ")
                .await;
        }
        let mut header = house.header(door);
        header.as_object_mut().unwrap().remove("typ");
        house
            .refused(door, &house.key(door).sign(&header, &claims), "no typ")
            .await;
    }
}

// AC-190
#[tokio::test]
async fn another_issuer_is_another_issuer() {
    let house = House::new().await;
    for door in [Door::Subject, Door::Actor, Door::Admin] {
        for iss in [
            json!("https://as.example/"),
            json!("https://AS.example"),
            json!("http://as.example"),
            json!("https://other.example"),
            json!(""),
            json!(["https://as.example"]),
            Value::Null,
        ] {
            let mut claims = house.claims(door).await;
            claims["iss"] = iss;
            house
                .refused(door, &house.server.token(&claims), "iss")
                .await;
        }
    }
}

// AC-192
#[tokio::test]
async fn a_token_out_of_its_time_opens_nothing() {
    let house = House::new().await;
    let now = house.app.now();
    for door in [Door::Subject, Door::Actor, Door::Admin] {
        let honest = house.claims(door).await;
        for (name, value) in [
            ("exp", Value::Null),
            ("exp", json!(now)),
            ("exp", json!(now - 1)),
            ("exp", json!(-1)),
            ("exp", json!("9999999999")),
            ("exp", json!(1e300)),
            ("exp", json!(u64::MAX)),
            ("iat", json!(now + 61)),
            ("nbf", json!(now + 61)),
            ("nbf", json!("x")),
            ("iat", Value::Null),
        ] {
            let mut claims = honest.clone();
            claims[name] = value.clone();
            house
                .refused(
                    door,
                    &house.server.token(&claims),
                    &format!("{name} {value}"),
                )
                .await;
        }
        for name in ["exp", "iat", "jti", "sub", "aud", "client_id"] {
            let mut claims = honest.clone();
            claims.as_object_mut().unwrap().remove(name);
            house
                .refused(door, &house.server.token(&claims), name)
                .await;
        }
        let payload = honest
            .to_string()
            .replace(&format!("\"exp\":{}", honest["exp"]), "\"exp\":1e400");
        assert!(payload.contains("1e400"));
        let token = house
            .server
            .key()
            .sign_text(&house.header(door).to_string(), &payload);
        house.refused(door, &token, "exp 1e400").await;
    }
}

#[tokio::test]
async fn a_claim_that_is_there_twice_is_not_read_at_all() {
    let house = House::new().await;
    for door in DOORS {
        let claims = house.claims(door).await.to_string();
        let header = house.header(door).to_string();
        let key = house.key(door);
        for twice in [
            "\"sub\":\"admin\",",
            "\"exp\":9999999999,",
            "\"iss\":\"x\",",
        ] {
            let payload = claims.replacen('{', &format!("{{{twice}"), 1);
            house
                .refused(door, &key.sign_text(&header, &payload), twice)
                .await;
        }
        let twice = header.replacen('{', "{\"alg\":\"EdDSA\",", 1);
        house
            .refused(door, &key.sign_text(&twice, &claims), "alg twice")
            .await;
    }
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let house = House::new().await;
    for door in DOORS {
        let header = house.header(door).to_string();
        for payload in ["", "[]", "null", "7", "\"x\"", "{", "{}x", "\u{feff}{}"] {
            house
                .refused(door, &house.key(door).sign_text(&header, payload), payload)
                .await;
        }
        let claims = house.claims(door).await.to_string();
        for header in ["", "[]", "null", "{", "\"EdDSA\""] {
            house
                .refused(door, &house.key(door).sign_text(header, &claims), header)
                .await;
        }
        // Depth is not a way to run out of stack.
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let payload = claims.replacen('{', &format!("{{\"x\":{deep},"), 1);
        house
            .refused(door, &house.key(door).sign_text(&header, &payload), "depth")
            .await;
    }
}
