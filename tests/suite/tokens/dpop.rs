//! Tokens that are bound to a key (RFC 9449), when everyone is honest.

use serde_json::{Value, json};

use crate::support::{Key, TestApp, WEATHER, secret_of, thumbprint};

const ALGORITHMS: [&str; 5] = ["EdDSA", "Ed25519", "ES256", "PS256", "RS256"];

#[tokio::test]
async fn a_proof_binds_the_token_to_its_key() {
    let app = TestApp::weather().await;
    for alg in ALGORITHMS {
        let key = Key::new(alg, 5);
        let answer = app
            .ask("agent", &[("resource", WEATHER)])
            .header("dpop", &app.proof(&key, &json!({})))
            .await;
        let body = answer.ok();
        assert_eq!(body["token_type"], "DPoP", "{alg}");
        let claims = app.claims(&answer.token()).await;
        assert_eq!(claims["cnf"], json!({ "jkt": thumbprint(&key) }), "{alg}");
        // Nobody asked for nonces.
        assert_eq!(answer.header("dpop-nonce"), None);
    }
}

#[tokio::test]
async fn without_a_proof_nothing_changes() {
    let app = TestApp::weather().await;
    let answer = app.ask("agent", &[("resource", WEATHER)]).await;
    assert_eq!(answer.ok()["token_type"], "Bearer");
    assert!(app.claims(&answer.token()).await.get("cnf").is_none());
}

#[tokio::test]
async fn the_thumbprint_is_that_of_rfc_8037() {
    // RFC 8037 appendix A.3.
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    let key = writ_resource::jws::VerifyingKey::from_jwk(&jwk).unwrap();
    assert_eq!(
        key.thumbprint(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

#[tokio::test]
async fn a_bound_token_opens_our_own_doors_with_its_proof() {
    let app = TestApp::with_tenants().await;
    let key = Key::ed(5);
    for tenant in [None, Some("acme")] {
        let below = tenant.map_or(String::new(), |name| format!("/t/{name}"));
        let resource = format!("{}{below}/admin", app.issuer);
        let htu = json!({ "htu": format!("{}{below}/token", app.issuer) });
        let token = app
            .post(&format!("{below}/token"))
            .basic("admin", crate::support::ADMIN_SECRET)
            .form(&[
                ("grant_type", "client_credentials"),
                ("resource", &resource),
                ("scope", "writ:admin"),
            ])
            .header("dpop", &app.proof(&key, &htu))
            .await
            .token();
        let path = format!("{below}/admin/clients");
        for (query, htu) in [
            ("", json!({})),
            ("?limit=1", json!({})),
            (
                "",
                json!({ "htu": format!("HTTPS://AS.example:443{path}?x#y") }),
            ),
        ] {
            let proof = app.proof_with(&key, ("GET", &path), &token, &htu);
            app.get(&format!("{path}{query}"))
                .dpop(&token, &proof)
                .await
                .ok();
        }
        // A change, and a document that needs several scopes.
        let path = format!("{below}/admin/apply");
        let proof = app.proof_with(&key, ("POST", &path), &token, &json!({}));
        let declaration = json!({
            "resources": [{ "id": "r", "resource": "https://r.example", "tools": [{ "name": "t" }] }],
            "clients": [{ "client_id": "c" }],
        });
        app.post(&path)
            .json(&declaration)
            .dpop(&token, &proof)
            .await
            .ok();
    }
}

#[tokio::test]
async fn a_bound_token_asks_about_others() {
    let app = TestApp::weather().await;
    let key = Key::ed(5);
    let subject = app.bound_token("agent", &key, WEATHER).await;
    let resource = format!("{}/admin", app.issuer);
    let caller = app
        .post("/token")
        .basic("admin", crate::support::ADMIN_SECRET)
        .form(&[
            ("grant_type", "client_credentials"),
            ("resource", &resource),
            ("scope", "token:introspect"),
        ])
        .header("dpop", &app.proof(&key, &json!({})))
        .await
        .token();
    let proof = app.proof_with(&key, ("POST", "/introspect"), &caller, &json!({}));
    let call = || app.post("/introspect").form(&[("token", &subject)]);
    let said = call().dpop(&caller, &proof).await.ok();
    assert_eq!(said["active"], true);
    assert_eq!(said["token_type"], "DPoP");
    assert_eq!(said["cnf"], json!({ "jkt": thumbprint(&key) }));
    call()
        .dpop(&caller, &proof)
        .await
        .refused(401, "invalid_dpop_proof");
    call().bearer(&caller).await.refused(401, "invalid_token");
}

#[tokio::test]
async fn a_client_may_be_held_to_bound_tokens() {
    let app = TestApp::weather().await;
    app.client(
        "agent",
        json!({
            "dpop_bound_access_tokens": true,
            "access": [{ "resource": "weather", "scopes": ["*"] }],
        }),
    )
    .await;
    let shown = app.admin("GET", "/clients/agent").await.await.ok();
    assert_eq!(shown["dpop_bound_access_tokens"], true);
    let refusal = app.ask("agent", &[("resource", WEATHER)]).await;
    refusal.refused(400, "invalid_dpop_proof");
    app.bound_token("agent", &Key::ed(1), WEATHER).await;
    // It survives a restart, and the next declaration is what counts.
    let app = app.restart().await;
    app.ask("agent", &[("resource", WEATHER)])
        .await
        .refused(400, "invalid_dpop_proof");
    let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
    app.client("agent", json!({ "access": access })).await;
    app.ask("agent", &[("resource", WEATHER)]).await.token();
}

#[tokio::test]
async fn a_client_may_hold_itself_to_bound_tokens() {
    let app = TestApp::weather().await;
    let metadata = json!({
        "grant_types": ["client_credentials"], "response_types": [],
        "dpop_bound_access_tokens": true,
    });
    let registered = app
        .post("/register")
        .json(&metadata)
        .await
        .with(http::StatusCode::CREATED);
    assert_eq!(registered["dpop_bound_access_tokens"], true);
    let (id, secret) = (&registered["client_id"], &registered["client_secret"]);
    let (id, secret) = (id.as_str().unwrap(), secret.as_str().unwrap());
    let form = [("grant_type", "client_credentials"), ("resource", WEATHER)];
    let ask = || app.post("/token").basic(id, secret).form(&form);
    ask().await.refused(400, "invalid_dpop_proof");
    let proof = app.proof(&Key::ed(1), &json!({}));
    assert_eq!(
        ask().header("dpop", &proof).await.ok()["token_type"],
        "DPoP"
    );
    // It cannot be talked out of it by who steals its registration token.
    let token = registered["registration_access_token"].as_str().unwrap();
    let path = format!("/register/{id}");
    let mut weaker = metadata.clone();
    weaker["dpop_bound_access_tokens"] = json!(false);
    let answer = app
        .call("PUT", &path)
        .bearer(token)
        .json(&weaker)
        .await
        .ok();
    assert_eq!(answer["dpop_bound_access_tokens"], true);
    ask().await.refused(400, "invalid_dpop_proof");
    for wrong in [json!("true"), json!(1), json!([])] {
        let mut metadata = metadata.clone();
        metadata["dpop_bound_access_tokens"] = wrong;
        app.post("/register")
            .json(&metadata)
            .await
            .refused(400, "invalid_client_metadata");
    }
}

#[tokio::test]
async fn a_resource_may_demand_bound_tokens() {
    let app = TestApp::weather().await;
    app.apply(json!({
        "resources": [{
            "id": "bank", "resource": "https://bank.example", "tools": [{ "name": "pay" }],
            "dpop_required": true,
        }],
        "clients": [{
            "client_id": "agent", "client_secret": secret_of("agent"), "multiple_resources": true,
            "access": [
                { "resource": "bank", "scopes": ["*"] }, { "resource": "weather", "scopes": ["*"] },
            ],
        }],
    }))
    .await;
    let bank = ("resource", "https://bank.example");
    let both = [
        bank,
        ("resource", WEATHER),
        ("scope", "tool:pay tool:forecast"),
    ];
    for form in [&[bank][..], &both] {
        let answer = app.ask("agent", form).await;
        answer.refused(400, "invalid_dpop_proof");
        let words = answer.json()["error_description"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(words.contains("https://bank.example"), "{words}");
        let proof = app.proof(&Key::ed(1), &json!({}));
        let body = app.ask("agent", form).header("dpop", &proof).await.ok();
        assert_eq!(body["token_type"], "DPoP");
    }
    app.ask("agent", &[("resource", WEATHER)]).await.token();
}

#[tokio::test]
async fn what_can_be_done_is_published() {
    let app = TestApp::weather().await;
    let metadata = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .ok();
    assert_eq!(
        metadata["dpop_signing_alg_values_supported"],
        json!(ALGORITHMS)
    );
    let admin = app
        .get("/.well-known/oauth-protected-resource/admin")
        .await
        .ok();
    assert_eq!(
        admin["dpop_signing_alg_values_supported"],
        json!(ALGORITHMS)
    );
    assert!(admin.get("dpop_bound_access_tokens_required").is_none());
    // Nobody here knows whether that server reads proofs.
    let weather = app
        .get("/resources/weather/oauth-protected-resource")
        .await
        .ok();
    assert!(weather.get("dpop_signing_alg_values_supported").is_none());
}

#[tokio::test]
async fn browsers_may_send_proofs_and_see_nonces() {
    let app = TestApp::new().await;
    let preflight = app
        .call("OPTIONS", "/token")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "dpop")
        .await;
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("dpop"), "{allowed}");
    let answer = app
        .post("/token")
        .header("origin", "https://app.example")
        .await;
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("dpop-nonce"), "{exposed}");
}

/// Asks with a proof that holds this nonce.
async fn ask_with(app: &TestApp, nonce: Option<&str>) -> crate::support::Answer {
    let proof = app.proof(&Key::ed(1), &json!({ "nonce": nonce }));
    app.ask("agent", &[("resource", WEATHER)])
        .header("dpop", &proof)
        .await
}

#[tokio::test]
async fn nonces_come_with_every_answer_where_they_are_required() {
    let app = TestApp::with(|config| config.dpop.require_nonce = true).await;
    app.declare_weather(None).await;
    let answer = ask_with(&app, None).await;
    answer.refused(400, "use_dpop_nonce");
    let first = answer.header("dpop-nonce").unwrap().to_owned();
    let answer = ask_with(&app, Some(&first)).await;
    answer.token();
    assert_eq!(answer.header("dpop-nonce"), Some(&*first));
    // A nonce is good for its time, whoever asks and however often.
    ask_with(&app, Some(&first)).await.token();
    app.advance(300);
    let answer = ask_with(&app, Some(&first)).await;
    answer.token();
    let second = answer.header("dpop-nonce").unwrap();
    assert_ne!(second, first);
    app.advance(301);
    ask_with(&app, Some(&first))
        .await
        .refused(400, "use_dpop_nonce");
    ask_with(&app, Some(second)).await.token();
    // Whoever needs no proof needs no nonce.
    app.ask("agent", &[("resource", WEATHER)]).await.token();
}

#[tokio::test]
async fn nonces_outlive_a_restart() {
    let app = TestApp::with(|config| config.dpop.require_nonce = true).await;
    app.declare_weather(None).await;
    let answer = ask_with(&app, None).await;
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    let app = app.restart().await;
    ask_with(&app, Some(&nonce)).await.token();
}

#[tokio::test]
async fn an_exchanged_token_is_bound_to_whoever_asked() {
    let app = TestApp::weather().await;
    crate::grant_types::token_exchange::chain(&app, &["agent", "helper"]).await;
    let (agents, helpers) = (Key::ed(1), Key::new("ES256", 2));
    let cnf = |claims: &Value| claims["cnf"]["jkt"].as_str().map(str::to_owned);
    let proof = |key| app.proof(key, &json!({}));
    let bound = app.bound_token("agent", &agents, WEATHER).await;
    // Handed on: bound to the helper's own key.
    let answer = app
        .exchange("helper", &bound, &[])
        .header("dpop", &proof(&helpers))
        .await;
    assert_eq!(answer.ok()["token_type"], "DPoP");
    let claims = app.claims(&answer.token()).await;
    assert_eq!(cnf(&claims), Some(thumbprint(&helpers)));
    assert_eq!(claims["act"]["sub"], "helper");
    // Narrowed by its own holder, with its key.
    let narrowed = app
        .exchange("agent", &bound, &[])
        .header("dpop", &proof(&agents))
        .await
        .token();
    assert_eq!(cnf(&app.claims(&narrowed).await), Some(thumbprint(&agents)));
    // An unbound one becomes bound.
    let plain = app.token("agent", WEATHER, "tool:forecast").await;
    for (client, key) in [("agent", &agents), ("helper", &helpers)] {
        let token = app
            .exchange(client, &plain, &[])
            .header("dpop", &proof(key))
            .await
            .token();
        assert_eq!(cnf(&app.claims(&token).await), Some(thumbprint(key)));
    }
}
