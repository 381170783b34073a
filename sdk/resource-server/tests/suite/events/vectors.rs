//! What every SDK comes to, in whatever language: the vectors they share.

use std::time::Duration;

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use writ_resource::WhenStale;

use super::stage::{Stage, Way};
use super::transmitter::Transmitter;
use crate::support::{EC, ED, NOW, PSS, RSA, Signer, b64};

type Claims = Map<String, Value>;

/// Reads a file of vectors, in which `$issuer`, `$resource` and `$es256` stay.
fn vectors<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/../vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The test's own names instead.
fn filled(stage: &Stage, text: &str) -> String {
    text.replace("$issuer", &stage.transmitter.url)
        .replace("$resource", &stage.resource)
        .replace("$es256", &EC.kid)
}

/// One object laid over another; null removes a member.
fn laid(stage: &Stage, base: &Value, over: &Claims) -> Value {
    let mut whole = base.as_object().unwrap().clone();
    whole.extend(over.clone());
    whole.retain(|_, value| !value.is_null());
    serde_json::from_str(&filled(stage, &json!(whole).to_string())).unwrap()
}

/// A server that is live and warm at that time, and stays so without another
/// verification event.
async fn live(now: i64, lifetime: u64, memory: usize, critical: &[String]) -> Stage {
    let arrange = |transmitter: &Transmitter| {
        transmitter.clock.advance(now - NOW);
        transmitter.world().critical = critical.to_vec();
    };
    let stage = Stage::before(Way::Push, arrange, |events| {
        events
            .when_stale(WhenStale::Refuse)
            .max_age(Duration::from_secs(1_000_000))
            .token_lifetime(Duration::from_secs(lifetime))
            .memory(memory)
    });
    stage.await.ready().await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Denials {
    #[serde(rename = "about")]
    _about: Vec<String>,
    now: i64,
    token_lifetime: u64,
    memory: usize,
    token: Value,
    set: Value,
    cases: Vec<Denial>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Denial {
    name: String,
    #[serde(default)]
    token: Claims,
    sets: Vec<Said>,
    expect: Worth,
    scope: Option<String>,
    #[serde(default)]
    later: i64,
    memory: Option<usize>,
    #[serde(default)]
    critical: Vec<String>,
}

#[derive(Deserialize)]
struct Said {
    r#type: String,
    event: Value,
    #[serde(default)]
    wait: i64,
    #[serde(flatten)]
    claims: Claims,
}

/// What a token is worth.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Worth {
    Allowed,
    Narrowed,
    Denied,
    Unknown,
}

#[tokio::test]
async fn tokens_are_worth_what_the_shared_vectors_say() {
    let denials: Denials = vectors("denials.json");
    assert!(!denials.cases.is_empty());
    for case in &denials.cases {
        let memory = case.memory.unwrap_or(denials.memory);
        let stage = live(denials.now, denials.token_lifetime, memory, &case.critical).await;
        for (number, said) in case.sets.iter().enumerate() {
            stage.clock.advance(said.wait);
            let (family, name) = said.r#type.split_once('/').unwrap();
            let event_type =
                format!("https://schemas.openid.net/secevent/{family}/event-type/{name}");
            let mut set = denials.set.clone();
            set["jti"] = json!(format!("vector-{number}"));
            set["events"] = json!({ event_type: said.event });
            let set = stage
                .transmitter
                .sign(&RSA, &laid(&stage, &set, &said.claims));
            let (status, body) = stage.transmitter.push(&set).await;
            assert_eq!(status, 202, "{}: {body}", case.name);
        }
        stage.clock.advance(case.later);
        let claims = laid(&stage, &denials.token, &case.token);
        let reply = stage.ping(&ED.token(&claims)).await;
        let worth = match reply.status {
            200 => reply.json()["scope"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            401 => {
                reply.is_invalid_token("revoked");
                "denied".to_owned()
            }
            503 => "unknown".to_owned(),
            status => panic!("{}: {status}", case.name),
        };
        let expected = match case.expect {
            Worth::Allowed => claims["scope"].as_str().unwrap(),
            Worth::Narrowed => case.scope.as_deref().unwrap(),
            Worth::Denied => "denied",
            Worth::Unknown => "unknown",
        };
        assert_eq!(worth, expected, "{}", case.name);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sets {
    #[serde(rename = "about")]
    _about: Vec<String>,
    now: i64,
    header: Value,
    claims: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    err: Option<String>,
    #[serde(default)]
    header: Claims,
    #[serde(default)]
    claims: Claims,
    sign: Option<String>,
    size: Option<usize>,
    raw: Option<String>,
    #[serde(default)]
    suffix: String,
    #[serde(default)]
    cut: bool,
    #[serde(default)]
    tamper: bool,
}

#[tokio::test]
async fn sets_are_answered_as_the_shared_vectors_say() {
    let sets: Sets = vectors("sets.json");
    assert!(!sets.cases.is_empty());
    let fresh = || live(sets.now, 600, 100, &[]);
    let mut stage = fresh().await;
    let mut wrong = Vec::new();
    for case in &sets.cases {
        let before = stage.health();
        let (status, body) = stage.transmitter.push(&made(&stage, &sets, case)).await;
        let expected = case
            .err
            .as_ref()
            .map_or((202, Value::Null), |code| (400, json!(code)));
        if (status, body["err"].clone()) != expected {
            wrong.push(format!("{}: {status} {body}", case.name));
        }
        // A state of somebody else's says that the stream is shared.
        if matches!(case.err.as_deref(), None | Some("invalid_state")) {
            stage = fresh().await;
            continue;
        }
        let description = body["description"].as_str();
        assert!(description.is_some_and(|text| !text.is_empty()), "{body}");
        // Nothing is different, so the next one may come here.
        let after = stage.health();
        assert_eq!(after.trouble, before.trouble, "{}", case.name);
        assert_eq!(after.remembered, before.remembered, "{}", case.name);
    }
    assert_eq!(wrong, [""; 0]);
}

/// The SET of a case, however wrong it is.
fn made(stage: &Stage, sets: &Sets, case: &Case) -> String {
    if let Some(raw) = &case.raw {
        return filled(stage, raw);
    }
    let mut claims = sets.claims.clone();
    claims["jti"] = json!("vector");
    let mut claims = laid(stage, &claims, &case.claims);
    if let Some(size) = case.size {
        claims["padding"] = json!("");
        let short = signed(stage, sets, case, &claims).len();
        claims["padding"] = json!("x".repeat((size - short) * 3 / 4));
    }
    let mut set = signed(stage, sets, case, &claims);
    if case.tamper {
        claims["txn"] = json!("another");
        let parts: Vec<_> = set.split('.').collect();
        set = format!("{}.{}.{}", parts[0], b64(claims.to_string()), parts[2]);
    }
    if case.cut {
        set.truncate(set.rfind('.').unwrap() + 1);
    }
    set + &case.suffix
}

fn signed(stage: &Stage, sets: &Sets, case: &Case, claims: &Value) -> String {
    let how = case.sign.as_deref().unwrap_or("RS256");
    let other;
    let signer = match how {
        "RS256" | "RS512" | "HS256" | "none" => &*RSA,
        "PS256" => &*PSS,
        "ES256" => &*EC,
        "EdDSA" => &*ED,
        "other" => {
            other = Signer::new("RS256", &RSA.kid);
            &other
        }
        how => panic!("{}: nobody signs with {how}", case.name),
    };
    let mut header = sets.header.clone();
    header["kid"] = json!(signer.kid);
    header["alg"] = match how {
        "RS512" | "HS256" | "none" => json!(how),
        _ => json!(signer.alg),
    };
    let header = laid(stage, &header, &case.header).to_string();
    if how != "HS256" {
        return signer.raw(&header, &claims.to_string());
    }
    let input = format!("{}.{}", b64(header), b64(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &RSA.spki());
    format!("{input}.{}", b64(hmac::sign(&key, input.as_bytes())))
}
