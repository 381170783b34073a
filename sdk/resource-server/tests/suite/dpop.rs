//! Tokens bound to a key (RFC 9449 §7, §9), at a server behind the layer.
//! Proofs are made by other libraries than the one that checks them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ed25519_dalek::Signer as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use writ_resource::dpop::{Expected, Htu, Nonces, ProofError, Replays, Seen, token_hash, verify};
use writ_resource::jws::KeySet;
use writ_resource::{Protect, ProtectBuilder};

use crate::support::{ED, NOW, PSS, RSA, Reply, Scene, b64, jwks, signers, tool_call};

/// A client's key.
enum Key {
    Ed(ed25519_dalek::SigningKey),
    Ec(p256::ecdsa::SigningKey),
}

impl Key {
    fn ed(seed: u8) -> Self {
        Self::Ed(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }

    fn ec(seed: u8) -> Self {
        Self::Ec(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    fn jwk(&self) -> Value {
        match self {
            Self::Ed(key) => json!({
                "kty": "OKP", "crv": "Ed25519", "x": b64(key.verifying_key().as_bytes()),
            }),
            Self::Ec(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let point = point.as_bytes();
                json!({
                    "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]),
                })
            }
        }
    }

    /// By the letter of RFC 7638 §3.
    fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let text = match self {
            Self::Ed(_) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":{}}}"#, jwk["x"]),
            Self::Ec(_) => format!(
                r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#,
                jwk["x"], jwk["y"]
            ),
        };
        token_hash(&text)
    }

    fn header(&self) -> Value {
        let alg = match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
        };
        json!({ "typ": "dpop+jwt", "alg": alg, "jwk": self.jwk() })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = match self {
            Self::Ed(key) => key.sign(input.as_bytes()).to_bytes().to_vec(),
            Self::Ec(key) => {
                let signature: p256::ecdsa::Signature = key.sign(input.as_bytes());
                signature.to_bytes().to_vec()
            }
        };
        format!("{input}.{}", b64(signature))
    }

    fn proof(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }
}

fn with(under: &Value, members: &Value) -> Value {
    let mut over = under.clone();
    for (name, value) in members.as_object().unwrap() {
        if value.is_null() {
            over.as_object_mut().unwrap().remove(name);
        } else {
            over[name] = value.clone();
        }
    }
    over
}

impl Scene {
    /// A server whose issuer's keys need not be fetched.
    async fn bound(configure: impl FnOnce(ProtectBuilder) -> ProtectBuilder) -> Self {
        let keys = KeySet::from_jwks(jwks(&signers()).to_string().as_bytes()).unwrap();
        Self::with(|protect| configure(protect.keys(keys))).await
    }

    /// A token that is bound to this key.
    fn token_for(&self, key: &Key) -> String {
        let cnf = json!({ "cnf": { "jkt": key.thumbprint() } });
        ED.token(&with(&self.claims("tool:forecast"), &cnf))
    }

    /// The claims of an honest proof for a call with this token; each has a
    /// `jti` of its own.
    fn proof_claims(&self, token: &str) -> Value {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        json!({
            "jti": format!("proof-{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            "htm": "POST", "htu": self.resource, "iat": self.clock.now(), "ath": token_hash(token),
        })
    }

    /// Calls a tool with this token and these proofs.
    async fn dpop(&self, token: &str, proofs: &[String]) -> Reply {
        let mut request = self
            .http
            .post(&self.resource)
            .header("authorization", format!("DPoP {token}"))
            .header("content-type", "application/json")
            .body(tool_call("forecast"));
        for proof in proofs {
            request = request.header("dpop", proof);
        }
        self.send(request).await
    }
}

impl Reply {
    /// 401 with a DPoP challenge alone (RFC 9449 §7.1), of this error.
    #[track_caller]
    fn is_dpop_error(&self, code: &str) {
        assert_eq!(self.status, 401, "{self:?}");
        assert_eq!(self.json()["error"], code, "{self:?}");
        let challenges = self.challenges();
        let [challenge] = challenges.as_slice() else {
            panic!("{challenges:?}");
        };
        let start = format!("DPoP error=\"{code}\", error_description=\"");
        assert!(challenge.starts_with(&start), "{challenge}");
        let end = "/.well-known/oauth-protected-resource/mcp\", \
                   algs=\"EdDSA Ed25519 ES256 PS256 RS256\"";
        assert!(challenge.ends_with(end), "{challenge}");
        assert_eq!(self.headers["cache-control"], "no-store");
    }

    fn challenges(&self) -> Vec<&str> {
        let values = self.headers.get_all("www-authenticate").iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_bound_token_with_its_proof_is_served() {
    let scene = Scene::bound(|protect| protect).await;
    for key in [Key::ed(1), Key::ec(2)] {
        let token = scene.token_for(&key);
        let proof = key.proof(&scene.proof_claims(&token));
        let reply = scene.dpop(&token, &[proof]).await;
        reply.is_ok();
        // The handler gets the token to exchange it, and no credentials to pass on by mistake.
        assert_eq!(reply.json()["token"], token.as_str());
        assert_eq!(reply.json()["authorization"], false);
        assert_eq!(reply.json()["proof"], false);
        assert!(reply.headers.get("dpop-nonce").is_none());
    }
    // Unbound tokens are as good as ever.
    scene
        .call_tool(&scene.token("tool:forecast"), "forecast")
        .await
        .is_ok();
}

#[tokio::test]
async fn rsa_keys_make_proofs_too() {
    let scene = Scene::bound(|protect| protect).await;
    for signer in [&RSA, &PSS] {
        let jwk = signer.jwk();
        let text = format!(r#"{{"e":{},"kty":"RSA","n":{}}}"#, jwk["e"], jwk["n"]);
        let cnf = json!({ "cnf": { "jkt": token_hash(&text) } });
        let token = ED.token(&with(&scene.claims("tool:forecast"), &cnf));
        let header = json!({ "typ": "dpop+jwt", "alg": signer.alg, "jwk": jwk });
        let claims = scene.proof_claims(&token).to_string();
        scene
            .dpop(&token, &[signer.raw(&header.to_string(), &claims)])
            .await
            .is_ok();
    }
}

// AC-151 to AC-158 and AC-161 at a resource.
#[tokio::test]
async fn a_proof_that_does_not_hold_opens_nothing() {
    let scene = Scene::bound(|protect| protect).await;
    let key = Key::ed(1);
    let token = scene.token_for(&key);
    let honest = scene.proof_claims(&token);
    let header = key.header();
    let good = key.proof(&honest);
    let (start, _) = good.rsplit_once('.').unwrap();
    let mut wrong: Vec<(String, Vec<String>)> = vec![
        ("no proof".into(), vec![]),
        ("empty".into(), vec![String::new()]),
        ("not a JWT".into(), vec!["x".into()]),
        ("five segments".into(), vec!["a.b.c.d.e".into()]),
        ("two headers".into(), vec![good.clone(), good.clone()]),
        ("two in one".into(), vec![format!("{good},{good}")]),
        ("no signature".into(), vec![format!("{start}.")]),
        (
            "bad signature".into(),
            vec![format!("{start}.{}", b64([7; 64]))],
        ),
        ("padded".into(), vec![format!("{good}==")]),
        (
            "another's jwk".into(),
            vec![key.sign(&Key::ed(9).header(), &honest)],
        ),
    ];
    for typ in [json!(null), json!("JWT"), json!("at+jwt"), json!("dpop")] {
        let header = with(&header, &json!({ "typ": typ }));
        wrong.push((format!("typ {typ}"), vec![key.sign(&header, &honest)]));
    }
    for alg in [
        json!(null),
        json!("none"),
        json!("HS256"),
        json!("ES384"),
        json!("ES256"),
    ] {
        let header = with(&header, &json!({ "alg": alg }));
        wrong.push((format!("alg {alg}"), vec![key.sign(&header, &honest)]));
    }
    for jwk in [json!(null), json!("x"), json!({ "kty": "oct", "k": "eA" })] {
        let header = with(&header, &json!({ "jwk": jwk }));
        wrong.push((format!("jwk {jwk}"), vec![key.sign(&header, &honest)]));
    }
    let mut private = header.clone();
    private["jwk"]["d"] = b64([1; 32]).into();
    wrong.push(("private key".into(), vec![key.sign(&private, &honest)]));
    let now = scene.clock.now();
    let origin = &scene.origin;
    for claims in [
        json!({ "jti": null }),
        json!({ "jti": "" }),
        json!({ "jti": "x".repeat(257) }),
        json!({ "htm": null }),
        json!({ "htm": "GET" }),
        json!({ "htm": "post" }),
        json!({ "htu": null }),
        json!({ "htu": "" }),
        json!({ "htu": "/mcp" }),
        json!({ "htu": format!("{origin}/") }),
        json!({ "htu": format!("{origin}/mcp/") }),
        json!({ "htu": format!("{origin}/mcp/other") }),
        json!({ "htu": "https://evil.example/mcp" }),
        json!({ "htu": format!("{origin}/mcp").replace("http:", "https:") }),
        json!({ "iat": null }),
        json!({ "iat": "1800000000" }),
        json!({ "iat": now - 3600 }),
        json!({ "iat": now - 61 }),
        json!({ "iat": now + 11 }),
        json!({ "iat": now + 3600 }),
        json!({ "ath": null }),
        json!({ "ath": "" }),
        json!({ "ath": token_hash("another") }),
        json!({ "ath": token_hash(&token) + "=" }),
        json!({ "nonce": 1 }),
    ] {
        wrong.push((
            format!("{claims}"),
            vec![key.proof(&with(&honest, &claims))],
        ));
    }
    for (what, proofs) in &wrong {
        let reply = scene.dpop(&token, proofs).await;
        println!("{what}: {}", reply.json()["error_description"]);
        reply.is_dpop_error("invalid_dpop_proof");
    }
    // Nothing was used up.
    scene.dpop(&token, &[good]).await.is_ok();
}

#[tokio::test]
async fn differences_that_do_not_matter_are_accepted() {
    let scene = Scene::bound(|protect| protect).await;
    scene.clock.advance(60);
    let key = Key::ec(1);
    let token = scene.token_for(&key);
    let now = scene.clock.now();
    let url = &scene.resource;
    for claims in [
        json!({ "htu": format!("{url}?a=b") }),
        json!({ "htu": format!("{url}#f") }),
        json!({ "htu": url.replace("http", "HTTP") }),
        json!({ "htu": url.replace("mcp", "%6Dcp") }),
        json!({ "iat": now - 10 }),
        json!({ "iat": now + 10 }),
        json!({ "iat": now - 60 }),
        json!({ "nbf": now + 100, "exp": now - 100 }),
        json!({ "nbf": "x", "exp": {} }),
    ] {
        let proof = key.proof(&with(&scene.proof_claims(&token), &claims));
        let reply = scene.dpop(&token, &[proof]).await;
        assert_eq!(reply.status, 200, "{claims}: {reply:?}");
    }
    // The query of the request does not count either.
    let request = scene
        .http
        .post(format!("{url}?session=1"))
        .header("authorization", format!("dpop {token}"))
        .header("dpop", key.proof(&scene.proof_claims(&token)))
        .body(tool_call("forecast"));
    scene.send(request).await.is_ok();
}

#[tokio::test]
async fn the_header_may_be_written_in_any_case() {
    let scene = Scene::bound(|protect| protect).await;
    let key = Key::ed(1);
    let token = scene.token_for(&key);
    let address = scene.origin.strip_prefix("http://").unwrap();
    for name in ["DPOP", "DPoP", "dpop"] {
        let proof = key.proof(&scene.proof_claims(&token));
        let body = tool_call("forecast");
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             AUTHORIZATION: DPoP {token}\r\n{name}: {proof}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
    }
}

// AC-159
#[tokio::test]
async fn a_proof_is_used_once() {
    let scene = Scene::bound(|protect| protect).await;
    let (one, two) = (Key::ed(1), Key::ed(2));
    let token = scene.token_for(&one);
    let claims = scene.proof_claims(&token);
    scene.dpop(&token, &[one.proof(&claims)]).await.is_ok();
    scene
        .dpop(&token, &[one.proof(&claims)])
        .await
        .is_dpop_error("invalid_dpop_proof");
    // Other words around the same jti make no other proof of it.
    let again = with(&claims, &json!({ "iat": NOW + 1, "x": 1 }));
    scene
        .dpop(&token, &[one.proof(&again)])
        .await
        .is_dpop_error("invalid_dpop_proof");
    scene.clock.advance(60);
    scene
        .dpop(&token, &[one.proof(&claims)])
        .await
        .is_dpop_error("invalid_dpop_proof");
    // Another key's names are its own.
    let theirs = scene.token_for(&two);
    let claims = with(
        &claims,
        &json!({ "ath": token_hash(&theirs), "iat": NOW + 60 }),
    );
    scene.dpop(&theirs, &[two.proof(&claims)]).await.is_ok();
}

#[tokio::test]
async fn a_proof_from_before_the_start_is_not_taken() {
    let scene = Scene::bound(|protect| protect).await;
    let key = Key::ed(1);
    let token = scene.token_for(&key);
    let old = with(&scene.proof_claims(&token), &json!({ "iat": NOW - 1 }));
    let reply = scene.dpop(&token, &[key.proof(&old)]).await;
    reply.is_dpop_error("invalid_dpop_proof");
    assert!(reply.challenge().contains("older than this server"));
}

#[tokio::test]
async fn a_full_memory_forgets_nothing() {
    let scene = Scene::bound(|protect| protect.proof_memory(2)).await;
    let key = Key::ed(1);
    let token = scene.token_for(&key);
    let proof = |scene: &Scene| key.proof(&scene.proof_claims(&token));
    let first = proof(&scene);
    scene
        .dpop(&token, std::slice::from_ref(&first))
        .await
        .is_ok();
    scene.dpop(&token, &[proof(&scene)]).await.is_ok();
    let refused = proof(&scene);
    let reply = scene.dpop(&token, std::slice::from_ref(&refused)).await;
    assert_eq!(reply.status, 503);
    assert!(reply.headers.contains_key("retry-after"));
    scene
        .dpop(&token, &[first])
        .await
        .is_dpop_error("invalid_dpop_proof");
    // Who has no token fills nothing.
    scene.clock.advance(71);
    let other = Key::ed(2);
    for _ in 0..5 {
        let proof = other.proof(&scene.proof_claims(&token));
        scene
            .dpop(&token, &[proof])
            .await
            .is_dpop_error("invalid_token");
    }
    scene.dpop(&token, &[proof(&scene)]).await.is_ok();
    scene.dpop(&token, &[proof(&scene)]).await.is_ok();
}

// AC-160
#[tokio::test]
async fn a_server_may_want_its_own_nonces() {
    let scene = Scene::bound(ProtectBuilder::require_dpop_nonce).await;
    let key = Key::ed(1);
    let token = scene.token_for(&key);
    let proof = |nonce: Value| {
        let nonce = json!({ "nonce": nonce });
        key.proof(&with(&scene.proof_claims(&token), &nonce))
    };
    let nonce_of = |reply: &Reply| reply.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let reply = scene.dpop(&token, &[proof(json!(null))]).await;
    reply.is_dpop_error("use_dpop_nonce");
    let first = nonce_of(&reply);
    let reply = scene.dpop(&token, &[proof(json!(first))]).await;
    reply.is_ok();
    assert_eq!(nonce_of(&reply), first);
    let wrong = ["", "x", &b64([0; 32]), &format!("{first}A")].map(str::to_owned);
    for wrong in wrong {
        let reply = scene.dpop(&token, &[proof(json!(wrong))]).await;
        reply.is_dpop_error("use_dpop_nonce");
        assert_eq!(nonce_of(&reply), first);
    }
    // It is good for a while, and then there is another one.
    scene.clock.advance(290);
    let token = scene.token_for(&key);
    let proof = |nonce: &str| {
        let nonce = json!({ "nonce": nonce });
        key.proof(&with(&scene.proof_claims(&token), &nonce))
    };
    scene.dpop(&token, &[proof(&first)]).await.is_ok();
    scene.clock.advance(311);
    let token = scene.token_for(&key);
    let proof = |nonce: &str| {
        let nonce = json!({ "nonce": nonce });
        key.proof(&with(&scene.proof_claims(&token), &nonce))
    };
    let reply = scene.dpop(&token, &[proof(&first)]).await;
    reply.is_dpop_error("use_dpop_nonce");
    let second = nonce_of(&reply);
    assert_ne!(second, first);
    scene.dpop(&token, &[proof(&second)]).await.is_ok();
    // Bearer tokens have no proof that could hold one.
    scene
        .call_tool(&scene.token("tool:forecast"), "forecast")
        .await
        .is_ok();
}

#[tokio::test]
async fn instances_with_one_key_know_each_others_nonces() {
    let ask = async |key: [u8; 32], nonce: Option<String>| {
        // The nonces are one resource's: the instances have its URL in common.
        let nonces = Nonces::new(&key, 300);
        nonce.map(|nonce| nonces.accepts("https://mcp.example/mcp", &nonce, NOW + 1))
    };
    let nonce = Nonces::new(&[1; 32], 300).current("https://mcp.example/mcp", NOW);
    assert_eq!(ask([1; 32], Some(nonce.clone())).await, Some(true));
    assert_eq!(ask([2; 32], Some(nonce.clone())).await, Some(false));
    let nonces = Nonces::new(&[1; 32], 300);
    assert!(!nonces.accepts("https://other.example/mcp", &nonce, NOW));
    assert!(nonces.accepts("https://mcp.example/mcp", &nonce, NOW + 300));
    assert!(!nonces.accepts("https://mcp.example/mcp", &nonce, NOW + 601));
    // And a layer with that key gives them out.
    let scene = Scene::bound(|p| p.require_dpop_nonce().dpop_nonce_key([1; 32])).await;
    let client = Key::ed(1);
    let token = scene.token_for(&client);
    let nonce = Nonces::new(&[1; 32], 300).current(&scene.resource, NOW);
    let claims = with(&scene.proof_claims(&token), &json!({ "nonce": nonce }));
    scene.dpop(&token, &[client.proof(&claims)]).await.is_ok();
}

// AC-162
#[tokio::test]
async fn another_key_does_not_do() {
    let scene = Scene::bound(|protect| protect).await;
    let (one, two) = (Key::ed(1), Key::ed(2));
    let token = scene.token_for(&one);
    let proof = two.proof(&scene.proof_claims(&token));
    scene
        .dpop(&token, &[proof])
        .await
        .is_dpop_error("invalid_token");
    // A token that is bound to something the layer cannot check is not unbound.
    for cnf in [json!({}), json!({ "x5t#S256": "x" }), json!({ "jkt": "" })] {
        let token = ED.token(&with(
            &scene.claims("tool:forecast"),
            &json!({ "cnf": cnf }),
        ));
        let proof = one.proof(&scene.proof_claims(&token));
        scene
            .dpop(&token, &[proof])
            .await
            .is_dpop_error("invalid_token");
        scene.ping(&token).await.is_invalid_token("bound to a key");
    }
}

// AC-163
#[tokio::test]
async fn a_bound_token_is_no_bearer_token_and_the_other_way_round() {
    let scene = Scene::bound(|protect| protect).await;
    let key = Key::ed(1);
    let token = scene.token_for(&key);
    let reply = scene.ping(&token).await;
    reply.is_invalid_token("bound to a key");
    // Both ways in are named, the one that was tried with what was wrong.
    let challenges = reply.challenges();
    assert_eq!(challenges.len(), 2);
    assert!(challenges[1].starts_with("DPoP scope=") && challenges[1].contains("algs="));
    assert!(!challenges[1].contains("error"));
    let proof = key.proof(&scene.proof_claims(&token));
    let request = scene
        .http
        .post(&scene.resource)
        .bearer_auth(&token)
        .header("dpop", proof)
        .body("{}");
    scene.send(request).await.is_invalid_token("bound to a key");
    let plain = scene.token("tool:forecast");
    let proof = key.proof(&scene.proof_claims(&plain));
    let reply = scene.dpop(&plain, &[proof]).await;
    reply.is_dpop_error("invalid_token");
}

#[tokio::test]
async fn a_token_is_judged_as_ever_and_refused_in_the_words_of_its_scheme() {
    let scene = Scene::bound(|protect| protect).await;
    let key = Key::ed(1);
    let cnf = json!({ "jkt": key.thumbprint() });
    for claims in [
        json!({ "exp": NOW - 60 }),
        json!({ "iss": "https://evil.example" }),
        json!({ "aud": "https://other.example" }),
    ] {
        let claims = with(
            &with(&scene.claims("tool:forecast"), &claims),
            &json!({ "cnf": cnf }),
        );
        let token = ED.token(&claims);
        let proof = key.proof(&scene.proof_claims(&token));
        scene
            .dpop(&token, &[proof])
            .await
            .is_dpop_error("invalid_token");
    }
    let token = ED.token(&with(&scene.claims(""), &json!({ "cnf": cnf })));
    let proof = key.proof(&scene.proof_claims(&token));
    let reply = scene.dpop(&token, &[proof]).await;
    assert_eq!(reply.status, 403);
    assert!(
        reply
            .challenge()
            .starts_with("DPoP error=\"insufficient_scope\"")
    );
    assert!(reply.challenge().contains("scope=\"tool:forecast\""));
}

#[tokio::test]
async fn a_server_may_take_bound_tokens_alone() {
    let scene = Scene::bound(ProtectBuilder::require_dpop).await;
    let key = Key::ed(1);
    let reply = scene.send(scene.http.get(&scene.resource)).await;
    assert_eq!(reply.status, 401);
    let challenges = reply.challenges();
    assert_eq!(challenges.len(), 1);
    assert!(challenges[0].starts_with("DPoP scope=") && !challenges[0].contains("error"));
    let reply = scene.ping(&scene.token("tool:forecast")).await;
    reply.is_dpop_error("invalid_token");
    let token = scene.token_for(&key);
    scene.ping(&token).await.is_dpop_error("invalid_token");
    let proof = key.proof(&scene.proof_claims(&token));
    scene.dpop(&token, &[proof]).await.is_ok();
    let url = format!("{}/.well-known/oauth-protected-resource/mcp", scene.origin);
    let metadata = scene.send(scene.http.get(url)).await.json();
    assert_eq!(metadata["dpop_bound_access_tokens_required"], true);
}

#[tokio::test]
async fn without_a_token_both_ways_in_are_named() {
    let scene = Scene::bound(|protect| protect).await;
    let reply = scene.send(scene.http.get(&scene.resource)).await;
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", scene.origin);
    let parameters =
        format!("scope=\"tool:alert tool:forecast\", resource_metadata=\"{metadata}\"");
    assert_eq!(
        reply.challenges(),
        [
            format!("Bearer {parameters}"),
            format!("DPoP {parameters}, algs=\"EdDSA Ed25519 ES256 PS256 RS256\""),
        ]
    );
}

#[tokio::test]
async fn behind_a_proxy_the_url_is_the_one_that_clients_know() {
    // The server is reached by another name than the resource has.
    let keys = KeySet::from_jwks(jwks(&signers()).to_string().as_bytes()).unwrap();
    let clock = writ_resource::ManualClock::at(NOW);
    let layer = Protect::resource("https://mcp.example/mcp")
        .issuer("https://auth.example")
        .keys(keys)
        .clock(clock)
        .build()
        .unwrap();
    let router = axum::Router::new()
        .route("/mcp", axum::routing::any(async || "served"))
        .layer(layer);
    let key = Key::ed(1);
    let token = ED.token(&json!({
        "iss": "https://auth.example", "aud": "https://mcp.example/mcp", "sub": "a",
        "client_id": "a", "jti": "1", "iat": NOW, "exp": NOW + 60,
        "cnf": { "jkt": key.thumbprint() },
    }));
    let call = async |uri: &str, htu: &str, jti: &str| {
        let proof = key.proof(&json!({
            "jti": jti, "htm": "GET", "htu": htu, "iat": NOW, "ath": token_hash(&token),
        }));
        let request = http::Request::get(uri)
            .header("host", "127.0.0.1:8000")
            .header("x-forwarded-host", "evil.example")
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof)
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = tower::ServiceExt::oneshot(router.clone(), request).await;
        answer.unwrap().status().as_u16()
    };
    assert_eq!(call("/mcp", "https://mcp.example/mcp", "1").await, 200);
    assert_eq!(
        call("http://127.0.0.1:8000/mcp", "https://mcp.example/mcp", "2").await,
        200
    );
    assert_eq!(call("/mcp", "http://127.0.0.1:8000/mcp", "3").await, 401);
    assert_eq!(call("/mcp", "https://evil.example/mcp", "4").await, 401);
    assert_eq!(call("/mcp/x", "https://mcp.example/mcp", "5").await, 401);
}

#[test]
fn a_memory_of_proofs_keeps_its_word() {
    let url = Htu::parse("https://a.example/").unwrap();
    let key = Key::ed(1);
    let made = |jti: &str, iat: i64, now: i64| {
        let claims = json!({ "jti": jti, "htm": "GET", "htu": "https://a.example", "iat": iat });
        let expected = Expected {
            method: "GET",
            url: &url,
            token: None,
            now,
            lifetime: 60,
        };
        verify(&key.proof(&claims), &expected)
    };
    let seen = Replays::new(100, 60, 3);
    let first = made("1", 100, 100).unwrap();
    assert_eq!(seen.take(&first, 100), Ok(()));
    // As long as it would be accepted it is remembered.
    for now in 100..=160 {
        assert!(made("1", 100, now).is_ok());
        assert_eq!(seen.take(&first, now), Err(Seen::Before));
    }
    assert_eq!(made("1", 100, 161).unwrap_err(), ProofError::TooOld);
    assert_eq!(seen.take(&made("2", 170, 160).unwrap(), 160), Ok(()));
    assert_eq!(made("3", 171, 160).unwrap_err(), ProofError::TooEarly);
    assert_eq!(seen.take(&made("3", 160, 160).unwrap(), 160), Ok(()));
    assert_eq!(
        seen.take(&made("4", 160, 160).unwrap(), 160),
        Err(Seen::Full)
    );
    assert_eq!(seen.take(&made("4", 160, 171).unwrap(), 171), Ok(()));
    assert_eq!(
        seen.take(&made("5", 99, 100).unwrap(), 100),
        Err(Seen::Perhaps)
    );
}

#[tokio::test]
async fn a_shorter_life_for_proofs() {
    let scene = Scene::bound(|p| p.proof_lifetime(Duration::from_secs(15))).await;
    let key = Key::ed(1);
    let token = scene.token_for(&key);
    let claims = scene.proof_claims(&token);
    scene.clock.advance(16);
    scene
        .dpop(&token, &[key.proof(&claims)])
        .await
        .is_dpop_error("invalid_dpop_proof");
}
