//! I. Sender-constrained tokens (RFC 9449). The layer for MCP servers has its own suite.

use serde_json::{Value, json};

use crate::{
    grant_types::token_exchange::chain,
    support::{Answer, Key, ServerKey, TestApp, WEATHER, ath, b64, parts, proof_header, unsigned},
};

/// Asks for a token with these proofs, each in a header of its own.
async fn ask(app: &TestApp, proofs: &[String]) -> Answer {
    let call = app.ask("agent", &[("resource", WEATHER)]);
    let call = proofs.iter().fold(call, |call, p| call.header("dpop", p));
    call.await
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

/// What is wrong with a request, and its `DPoP` headers. `honest` are the claims of a proof that
/// would be right.
fn wrong_proofs(key: &Key, honest: &Value) -> Vec<(String, Vec<String>)> {
    let header = proof_header(key);
    let good = key.sign(&header, honest);
    let (start, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = start.split_once('.').unwrap();
    let mut wrong: Vec<(String, Vec<String>)> = vec![
        // AC-151
        ("two headers".into(), vec![good.clone(), good.clone()]),
        ("two in one".into(), vec![format!("{good}, {good}")]),
        (
            "two different".into(),
            vec![
                good.clone(),
                key.sign(&header, &with(honest, &json!({ "jti": "2" }))),
            ],
        ),
        // AC-155
        ("no signature".into(), vec![format!("{start}.")]),
        (
            "another signature".into(),
            vec![format!("{start}.{}", b64([7; 64]))],
        ),
        (
            "another payload".into(),
            vec![format!(
                "{head}.{}.{signature}",
                b64(with(honest, &json!({ "jti": "3" })).to_string())
            )],
        ),
        (
            "another's jwk".into(),
            vec![key.sign(&proof_header(&Key::ed(99)), honest)],
        ),
    ];
    for text in ["", " ", "x", "a.b", "a.b.c", "a.b.c.d.e", "{}", "null"] {
        wrong.push((format!("not a JWT: {text:?}"), vec![text.to_owned()]));
    }
    for text in [
        format!("{good}="),
        format!("{good}."),
        format!(".{good}"),
        format!("{start} .{signature}"),
    ] {
        wrong.push(("not strict".into(), vec![text]));
    }
    // AC-152
    for typ in [
        json!(null),
        json!(""),
        json!("JWT"),
        json!("at+jwt"),
        json!("dpop"),
        json!("dpop+jwt+x"),
        json!(["dpop+jwt"]),
        json!(1),
    ] {
        let header = with(&header, &json!({ "typ": typ }));
        wrong.push((format!("typ {typ}"), vec![key.sign(&header, honest)]));
    }
    // AC-153
    for alg in [
        json!(null),
        json!("none"),
        json!("None"),
        json!(""),
        json!("HS256"),
        json!("ES384"),
        json!("eddsa"),
        json!(5),
        json!(["EdDSA"]),
        json!("ES256"),
        json!("RS256"),
    ] {
        let header = with(&header, &json!({ "alg": alg }));
        wrong.push((format!("alg {alg}"), vec![key.sign(&header, honest)]));
    }
    wrong.push((
        "unsigned".into(),
        vec![unsigned(&with(&header, &json!({ "alg": "none" })), honest)],
    ));
    let x = &header["jwk"]["x"];
    let not_keys = [
        json!(null),
        json!("key"),
        json!([header["jwk"]]),
        json!({}),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "OKP", "crv": "Ed25519" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": x }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([0; 32]) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([1; 31]) }),
        json!({ "kty": "EC", "crv": "P-256", "x": b64([1; 32]), "y": b64([1; 32]) }),
        json!({ "kty": "RSA", "n": b64([255; 128]), "e": "AQAB" }),
    ];
    for jwk in not_keys {
        let header = with(&header, &json!({ "jwk": jwk }));
        wrong.push((format!("jwk {jwk}"), vec![key.sign(&header, honest)]));
    }
    // AC-154
    for private in ["d", "p", "k", "priv"] {
        let mut header = header.clone();
        header["jwk"][private] = json!(b64([1; 32]));
        wrong.push((
            format!("jwk with {private}"),
            vec![key.sign(&header, honest)],
        ));
    }
    for claim in [
        json!({ "use": "enc" }),
        json!({ "key_ops": ["sign"] }),
        json!({ "alg": "ES256" }),
    ] {
        let mut header = header.clone();
        header["jwk"] = with(&header["jwk"], &claim);
        wrong.push((
            format!("jwk for something else: {claim}"),
            vec![key.sign(&header, honest)],
        ));
    }
    for extension in [
        json!({ "crit": ["exp"], "exp": 1 }),
        json!({ "b64": false }),
    ] {
        wrong.push((
            format!("header {extension}"),
            vec![key.sign(&with(&header, &extension), honest)],
        ));
    }
    // AC-156
    for claim in ["jti", "htm", "htu", "iat"] {
        let none = with(honest, &json!({ claim: null }));
        wrong.push((format!("no {claim}"), vec![key.sign(&header, &none)]));
        for value in [json!([]), json!({}), json!(true), json!("")] {
            let claims = with(honest, &json!({ claim: value }));
            wrong.push((format!("{claim} {value}"), vec![key.sign(&header, &claims)]));
        }
        let mut null = honest.clone();
        null[claim] = Value::Null;
        wrong.push((format!("{claim} null"), vec![key.sign(&header, &null)]));
    }
    let text = honest.to_string();
    let twice = format!(r#"{{"jti":"other",{}"#, &text[1..]);
    wrong.push((
        "a claim twice".into(),
        vec![key.sign_text(&header.to_string(), &twice)],
    ));
    wrong.push((
        "no object".into(),
        vec![key.sign_text(&header.to_string(), "[]")],
    ));
    wrong.push((
        "a long jti".into(),
        vec![key.sign(&header, &with(honest, &json!({ "jti": "x".repeat(257) })))],
    ));
    // AC-157
    let htu = honest["htu"].as_str().unwrap();
    let method = honest["htm"].as_str().unwrap();
    for htm in [
        "PUT",
        "HEAD",
        &method.to_lowercase(),
        &format!("{method} "),
        "*",
    ] {
        wrong.push((
            format!("htm {htm}"),
            vec![key.sign(&header, &with(honest, &json!({ "htm": htm })))],
        ));
    }
    for other in [
        format!("{htu}/"),
        format!("{htu}s"),
        htu.replace("https", "http"),
        htu.replace("as.example", "as.example:8443"),
        htu.replace("as.example", "as.example.evil.example"),
        htu.replace("as.example", "evil@as.example"),
        htu.replace("as.example", "evil.example"),
        htu.replace("https://as.example", ""),
        htu.replace("https:", ""),
        format!("https://evil.example/?{htu}"),
        format!(" {htu}"),
        htu.to_uppercase(),
    ] {
        wrong.push((
            format!("htu {other}"),
            vec![key.sign(&header, &with(honest, &json!({ "htu": other })))],
        ));
    }
    // AC-158
    let now = honest["iat"].as_i64().unwrap();
    for iat in [now - 3600, now - 61, now + 11, now + 3600, 0, i64::MAX] {
        wrong.push((
            format!("iat {}", iat - now),
            vec![key.sign(&header, &with(honest, &json!({ "iat": iat })))],
        ));
    }
    for iat in [json!("1800000000"), json!(-1), json!(1e300)] {
        wrong.push((
            format!("iat {iat}"),
            vec![key.sign(&header, &with(honest, &json!({ "iat": iat })))],
        ));
    }
    wrong
}

async fn events(app: &TestApp, kind: &str) -> usize {
    let path = format!("/audit?limit=1000&kind={kind}");
    let events = app.admin("GET", &path).await.await.ok();
    events.as_array().unwrap().len()
}

// AC-151, AC-152, AC-153, AC-154, AC-155, AC-156, AC-157, AC-158
#[tokio::test]
async fn a_proof_that_does_not_hold_gets_no_token() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    let honest = app.proof_claims(&json!({}));
    let issued = events(&app, "token.issued").await;
    for (what, proofs) in wrong_proofs(&key, &honest) {
        let answer = ask(&app, &proofs).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_dpop_proof".into()),
            "{what}"
        );
    }
    // Two of them are for looking at the trail, before and now.
    assert_eq!(events(&app, "token.issued").await, issued + 1);
    // Nothing was used up: the honest proof with the same jti still holds.
    ask(&app, &[key.sign(&proof_header(&key), &honest)])
        .await
        .token();
}

// The same at an endpoint of ours that takes a token, with the challenge of RFC 9449 §7.1.
#[tokio::test]
async fn a_proof_that_does_not_hold_opens_no_door() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    let token = admin_token(&app, &key).await;
    let path = "/admin/clients";
    let honest = app.proof_claims(&json!({
        "htm": "GET", "htu": format!("{}{path}", app.issuer), "ath": ath(&token),
    }));
    let mut wrong = wrong_proofs(&key, &honest);
    let header = proof_header(&key);
    // AC-161
    for value in [
        json!(null),
        json!(""),
        json!(ath("another token")),
        json!(ath(&token) + "="),
        json!(1),
    ] {
        let claims = with(&honest, &json!({ "ath": value }));
        wrong.push((format!("ath {value}"), vec![key.sign(&header, &claims)]));
    }
    // AC-163
    wrong.push(("no proof".into(), vec![]));
    let present = |proofs: &[String]| {
        let call = app
            .get(path)
            .header("authorization", &format!("DPoP {token}"));
        proofs.iter().fold(call, |call, p| call.header("dpop", p))
    };
    for (what, proofs) in wrong {
        let answer = present(&proofs).await;
        assert_eq!(
            answer.refusal(),
            (401, "invalid_dpop_proof".into()),
            "{what}"
        );
        let challenge = answer.challenge("DPoP").unwrap();
        assert!(
            challenge.contains("error=\"invalid_dpop_proof\""),
            "{challenge}"
        );
        assert!(
            challenge.contains("algs=\"EdDSA Ed25519 ES256 PS256 RS256\""),
            "{challenge}"
        );
        assert!(answer.challenge("Bearer").is_none());
    }
    // AC-162
    let other = Key::ed(2);
    let proof = other.sign(&proof_header(&other), &honest);
    present(&[proof]).await.refused(401, "invalid_token");
    let proof = key.sign(&header, &honest);
    present(std::slice::from_ref(&proof)).await.ok();
    // AC-159
    present(std::slice::from_ref(&proof))
        .await
        .refused(401, "invalid_dpop_proof");
    let app = app.restart().await;
    app.get(path)
        .dpop(&token, &proof)
        .await
        .refused(401, "invalid_dpop_proof");
}

/// A token for the admin API that is bound to this key.
async fn admin_token(app: &TestApp, key: &Key) -> String {
    let resource = format!("{}/admin", app.issuer);
    app.post("/token")
        .basic("admin", crate::support::ADMIN_SECRET)
        .form(&[
            ("grant_type", "client_credentials"),
            ("resource", &resource),
            ("scope", "writ:read writ:clients"),
        ])
        .header("dpop", &app.proof(key, &json!({})))
        .await
        .token()
}

// AC-163
#[tokio::test]
async fn a_bound_token_is_no_bearer_token_and_the_other_way_round() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    let token = admin_token(&app, &key).await;
    let (door, path) = (("GET", "/admin/clients"), "/admin/clients");
    let proof = |token: &str| app.proof_with(&key, door, token, &json!({}));
    let answer = app.get(path).bearer(&token).await;
    answer.refused(401, "invalid_token");
    assert!(answer.challenge("DPoP").unwrap().contains("algs="));
    // The proof does not make it one.
    app.get(path)
        .bearer(&token)
        .header("dpop", &proof(&token))
        .await
        .refused(401, "invalid_token");
    let plain = app.admin_token(None, "writ:read").await;
    app.get(path)
        .dpop(&plain, &proof(&plain))
        .await
        .refused(401, "invalid_token");
    app.get(path).bearer(&plain).await.ok();
    app.get(path).dpop(&token, &proof(&token)).await.ok();
    // The scope is asked for as ever, in the words of the scheme.
    let (door, path) = (("POST", "/admin/keys/rotate"), "/admin/keys/rotate");
    let proof = app.proof_with(&key, door, &token, &json!({}));
    let answer = app.post(path).json(&json!({})).dpop(&token, &proof).await;
    answer.refused(403, "insufficient_scope");
    let challenge = answer.challenge("DPoP").unwrap();
    assert!(challenge.contains("scope=\"writ:keys\""), "{challenge}");
}

// A token that is bound to something we cannot check is not as good as an unbound one.
#[tokio::test]
async fn a_binding_nobody_here_understands_is_not_overlooked() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    let (_, claims) = parts(&admin_token(&app, &key).await);
    let server = ServerKey::of(&app, &app.tenant(None));
    for cnf in [json!({}), json!({ "x5t#S256": "x" }), json!({ "jkt": "x" })] {
        let token = server.token(&with(&claims, &json!({ "cnf": cnf })));
        app.get("/admin/clients")
            .bearer(&token)
            .await
            .refused(401, "invalid_token");
        let proof = app.proof_with(&key, ("GET", "/admin/clients"), &token, &json!({}));
        app.get("/admin/clients")
            .dpop(&token, &proof)
            .await
            .refused(401, "invalid_token");
    }
}

// AC-157, AC-158: what must be accepted.
#[tokio::test]
async fn differences_that_do_not_matter_are_no_reason_to_refuse() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    let now = app.now();
    for claims in [
        json!({ "htu": "https://as.example/token?a=b&c" }),
        json!({ "htu": "https://as.example/token#fragment" }),
        json!({ "htu": "https://AS.Example/token" }),
        json!({ "htu": "HTTPS://as.example:443/token" }),
        json!({ "htu": "https://as.example/%74oken" }),
        json!({ "htu": "https://as.example/x/../token" }),
        json!({ "iat": now - 10 }),
        json!({ "iat": now + 10 }),
        json!({ "iat": now - 60 }),
        json!({ "iat": now as f64 + 0.5 }),
        // Claims of other kinds of JWT say nothing in a proof.
        json!({ "exp": now - 100, "nbf": now + 100 }),
        json!({ "exp": "soon", "nbf": [], "aud": 1, "iss": {}, "sub": null }),
        json!({ "ath": "of no token" }),
        json!({ "jti": "x".repeat(256) }),
        json!({ "jti": "\u{e9}\n\"" }),
    ] {
        let answer = ask(&app, &[app.proof(&key, &claims)]).await;
        assert_eq!(answer.status, 200, "{claims}");
    }
    let mut header = proof_header(&key);
    header["kid"] = json!("mine");
    header["jwk"] = with(
        &header["jwk"],
        &json!({
            "alg": "EdDSA", "use": "sig", "key_ops": ["verify"], "kid": "k", "ext": true,
        }),
    );
    for typ in ["dpop+jwt", "DPoP+JWT", "application/dpop+jwt"] {
        header["typ"] = json!(typ);
        let proof = key.sign(&header, &app.proof_claims(&json!({})));
        ask(&app, &[proof]).await.token();
    }
}

// AC-159
#[tokio::test]
async fn a_proof_is_used_once() {
    let app = TestApp::weather().await;
    let (one, two) = (Key::ed(1), Key::ed(2));
    let claims = json!({ "jti": "the same" });
    let proof = app.proof(&one, &claims);
    ask(&app, std::slice::from_ref(&proof)).await.token();
    ask(&app, std::slice::from_ref(&proof))
        .await
        .refused(400, "invalid_dpop_proof");
    // Signed again, in other words: still the same jti.
    let later = json!({ "jti": "the same", "iat": app.now() - 1, "x": 1 });
    ask(&app, &[app.proof(&one, &later)])
        .await
        .refused(400, "invalid_dpop_proof");
    let other_words = json!({ "jti": "the same", "htu": "https://AS.example:443/token?q" });
    ask(&app, &[app.proof(&one, &other_words)])
        .await
        .refused(400, "invalid_dpop_proof");
    // Another key's proof is another proof: nobody uses up another one's names.
    ask(&app, &[app.proof(&two, &claims)]).await.token();
    let app = app.restart().await;
    ask(&app, std::slice::from_ref(&proof))
        .await
        .refused(400, "invalid_dpop_proof");
    app.advance(61);
    ask(&app, &[proof]).await.refused(400, "invalid_dpop_proof");
}

#[tokio::test]
async fn of_many_at_once_one_is_used() {
    let app = TestApp::weather().await;
    let proof = app.proof(&Key::ed(1), &json!({}));
    let proofs = [proof];
    let calls = (0..20).map(|_| ask(&app, &proofs));
    let mut served = 0;
    for answer in futures_of(calls).await {
        if answer.status == 200 {
            served += 1;
        } else {
            answer.refused(400, "invalid_dpop_proof");
        }
    }
    assert_eq!(served, 1);
}

/// All of them, begun before any has ended.
async fn futures_of<F: Future<Output = Answer>>(calls: impl Iterator<Item = F>) -> Vec<Answer> {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let mut answers: Vec<Option<Answer>> = calls.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (call, answer) in calls.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let std::task::Poll::Ready(ready) = call.as_mut().poll(context)
            {
                *answer = Some(ready);
            }
        }
        if answers.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

// AC-160
#[tokio::test]
async fn a_nonce_that_is_not_ours_is_answered_with_one_that_is() {
    for required in [true, false] {
        let app = TestApp::with(|config| config.dpop.require_nonce = required).await;
        app.declare_weather(None).await;
        let key = Key::ed(1);
        let stale = match required {
            true => ask(&app, &[app.proof(&key, &json!({}))]).await,
            false => ask(&app, &[app.proof(&key, &json!({ "nonce": "x" }))]).await,
        };
        stale.refused(400, "use_dpop_nonce");
        let stale = stale.header("dpop-nonce").unwrap().to_owned();
        app.advance(3600);
        for nonce in ["", "foreign", &stale, &b64([0; 32]), "\u{e9}"] {
            let claims = app.proof_claims(&json!({ "nonce": nonce }));
            let answer = ask(&app, &[key.sign(&proof_header(&key), &claims)]).await;
            answer.refused(400, "use_dpop_nonce");
            let fresh = answer.header("dpop-nonce").unwrap();
            assert_ne!(fresh, nonce);
            // The same jti: the refused proof was not used up.
            let claims = with(&claims, &json!({ "nonce": fresh }));
            let answer = ask(&app, &[key.sign(&proof_header(&key), &claims)]).await;
            answer.token();
            assert_eq!(answer.header("dpop-nonce"), Some(fresh));
        }
        let answer = ask(&app, &[app.proof(&key, &json!({ "nonce": 1 }))]).await;
        answer.refused(400, "invalid_dpop_proof");
        // Being asked for a nonce is no refusal worth remembering.
        assert_eq!(events(&app, "token.refused").await, 1);
    }
}

#[tokio::test]
async fn a_nonce_of_one_issuer_is_none_of_anothers() {
    let app = TestApp::with_tenants().await;
    for tenant in ["acme", "globex"] {
        app.declare_weather(Some(tenant)).await;
    }
    let key = Key::ed(1);
    let ask = |tenant: &'static str, nonce: String| {
        let htu = format!("{}/t/{tenant}/token", app.issuer);
        let proof = app.proof(&key, &json!({ "htu": htu, "nonce": nonce }));
        app.ask_in(Some(tenant), "agent", &[("resource", WEATHER)])
            .header("dpop", &proof)
    };
    let answer = ask("acme", String::new()).await;
    let nonce = answer.header("dpop-nonce").unwrap();
    ask("globex", nonce.into())
        .await
        .refused(400, "use_dpop_nonce");
    ask("acme", nonce.into()).await.token();
}

#[tokio::test]
async fn where_nonces_are_required_the_doors_ask_for_them_too() {
    let app = TestApp::with(|config| config.dpop.require_nonce = true).await;
    let key = Key::ed(1);
    let nonce_of = |answer: &Answer| json!({ "nonce": answer.header("dpop-nonce").unwrap() });
    let resource = format!("{}/admin", app.issuer);
    let ask = |claims: Value| {
        app.post("/token")
            .basic("admin", crate::support::ADMIN_SECRET)
            .form(&[
                ("grant_type", "client_credentials"),
                ("resource", &resource),
                ("scope", "writ:read"),
            ])
            .header("dpop", &app.proof(&key, &claims))
    };
    let nonce = nonce_of(&ask(json!({})).await);
    let token = ask(nonce).await.token();
    let door = ("GET", "/admin/clients");
    let proof = app.proof_with(&key, door, &token, &json!({}));
    let answer = app.get("/admin/clients").dpop(&token, &proof).await;
    answer.refused(401, "use_dpop_nonce");
    let challenge = answer.challenge("DPoP").unwrap();
    assert!(
        challenge.contains("error=\"use_dpop_nonce\""),
        "{challenge}"
    );
    let proof = app.proof_with(&key, door, &token, &nonce_of(&answer));
    app.get("/admin/clients").dpop(&token, &proof).await.ok();
}

// A bad proof burns nothing that the honest client still needs.
#[tokio::test]
async fn an_assertion_survives_a_bad_proof() {
    let app = TestApp::weather().await;
    let (robot, key) = (Key::new("ES256", 9), Key::ed(1));
    app.robot(&robot, json!({ "dpop_bound_access_tokens": true }))
        .await;
    let assertion = app.assertion(&robot, "robot", &json!({}));
    let ask = || app.ask_with(&assertion, &[("resource", WEATHER)]);
    let used = app.proof(&key, &json!({}));
    let another = app.assertion(&robot, "robot", &json!({}));
    app.ask_with(&another, &[("resource", WEATHER)])
        .header("dpop", &used)
        .await
        .token();
    // AC-166
    ask().await.refused(400, "invalid_dpop_proof");
    ask()
        .header("dpop", "x")
        .await
        .refused(400, "invalid_dpop_proof");
    ask()
        .header("dpop", &used)
        .await
        .refused(400, "invalid_dpop_proof");
    let answer = ask()
        .header("dpop", &app.proof(&key, &json!({ "nonce": "x" })))
        .await;
    answer.refused(400, "use_dpop_nonce");
    ask()
        .header("dpop", &app.proof(&key, &json!({})))
        .await
        .token();
    // And then it is used up, as the answer says; the proof beside it is not.
    let spare = app.proof(&key, &json!({}));
    ask()
        .header("dpop", &spare)
        .await
        .refused(401, "invalid_client");
    let fresh = app.assertion(&robot, "robot", &json!({}));
    app.ask_with(&fresh, &[("resource", WEATHER)])
        .header("dpop", &spare)
        .await
        .token();
    // No proof, a bad one, a used one: to be asked for a nonce is no refusal.
    assert_eq!(events(&app, "token.refused").await, 3);
}

// Nobody who has not authenticated learns anything, or leaves anything behind.
#[tokio::test]
async fn a_proof_is_no_authentication() {
    let app = TestApp::weather().await;
    let proof = app.proof(&Key::ed(1), &json!({}));
    let form = [("grant_type", "client_credentials"), ("resource", WEATHER)];
    let call = || app.post("/token").form(&form);
    call()
        .header("dpop", &proof)
        .await
        .refused(401, "invalid_client");
    call()
        .basic("agent", "wrong-secret-0123456789")
        .header("dpop", "x")
        .await
        .refused(401, "invalid_client");
    ask(&app, &[proof]).await.token();
}

/// `agent` and its delegate `helper`, with a bound token of the agent's.
async fn delegation(key: &Key) -> (TestApp, String) {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let token = app.bound_token("agent", key, WEATHER).await;
    (app, token)
}

#[tokio::test]
async fn a_binding_is_not_lost_in_an_exchange() {
    let (key, other) = (Key::ed(1), Key::ed(2));
    let (app, bound) = delegation(&key).await;
    // Its own token: with its key, or not at all.
    app.exchange("agent", &bound, &[])
        .await
        .refused(400, "invalid_dpop_proof");
    app.exchange("agent", &bound, &[])
        .header("dpop", &app.proof(&other, &json!({})))
        .await
        .refused(400, "invalid_grant");
    // Another client's: never for an unbound one.
    app.exchange("helper", &bound, &[])
        .await
        .refused(400, "invalid_dpop_proof");
    app.exchange("helper", &bound, &[])
        .header("dpop", &app.proof(&other, &json!({})))
        .await
        .token();
}

#[tokio::test]
async fn an_actor_token_comes_with_its_key() {
    let (key, helpers, other) = (Key::ed(1), Key::ed(2), Key::ed(3));
    let (app, _) = delegation(&key).await;
    let subject = app.token("agent", WEATHER, "tool:forecast").await;
    let actor = app.bound_token("helper", &helpers, WEATHER).await;
    let exchange = || app.exchange_as_actor("helper", &subject, &actor, &[]);
    exchange().await.refused(400, "invalid_dpop_proof");
    exchange()
        .header("dpop", &app.proof(&other, &json!({})))
        .await
        .refused(400, "invalid_grant");
    exchange()
        .header("dpop", &app.proof(&helpers, &json!({})))
        .await
        .token();
    // A stolen actor token is of no use to another client, with whatever key.
    app.exchange_as_actor("agent", &subject, &actor, &[])
        .header("dpop", &app.proof(&helpers, &json!({})))
        .await
        .refused(400, "invalid_grant");
}
