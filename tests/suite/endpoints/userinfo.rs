//! `/userinfo`: OpenID Connect Core §5.3 and what is told where, §5.4 and §5.5.

use serde_json::{Value, json};

use crate::support::{Answer, Key, Person, TestApp, WEATHER, overlay, parts, proof_header};

/// A request that is only about the person.
fn about(over: &Value) -> Value {
    let mut request = json!({ "resource": null, "scope": "openid profile email" });
    overlay(&mut request, over);
    request
}

async fn tokens(person: &Person<'_>, over: &Value) -> Value {
    person.tokens(&about(over)).await
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Everything that is told of `ann`.
fn all(person: &Person<'_>) -> Value {
    json!({
        "sub": person.user.id, "name": "ann of People", "preferred_username": "ann",
        "updated_at": person.user.updated_at,
        "email": "ann@people.example", "email_verified": true,
    })
}

#[tokio::test]
async fn a_client_is_told_what_it_was_given() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let token = tokens(&person, &json!({})).await;
    let token = text(&token["access_token"]);
    for call in [
        app.get("/userinfo").bearer(token),
        app.post("/userinfo").bearer(token),
        app.post("/userinfo").form(&[("access_token", token)]),
    ] {
        let answer = call.await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.ok(), all(&person));
    }
    // Another one asks for less.
    let token = tokens(&person, &json!({ "scope": "openid" })).await;
    let answer = app.get("/userinfo").bearer(text(&token["access_token"]));
    assert_eq!(answer.await.ok(), json!({ "sub": person.user.id }));
}

#[tokio::test]
async fn the_scopes_are_told_in_one_place() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let id_token = |answer: &Value| parts(text(&answer["id_token"])).1;
    // OpenID Connect Core §5.4: at the userinfo endpoint where the access token opens it…
    let claims = id_token(&tokens(&person, &json!({})).await);
    assert_eq!(claims.get("email"), None);
    // …and in the ID token where it is for something else.
    let over = json!({ "resource": WEATHER, "scope": "openid profile email tool:forecast" });
    let answer = tokens(&person, &over).await;
    let claims = id_token(&answer);
    for (name, value) in all(&person).as_object().unwrap() {
        assert_eq!(claims[name], *value, "{name}");
    }
    // That token opens nothing here.
    let answer = app.get("/userinfo").bearer(text(&answer["access_token"]));
    answer.await.refused(401, "invalid_token");
}

#[tokio::test]
async fn a_claim_that_is_asked_for_by_name_is_told_where_it_was_asked_for() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let claims = json!({
        "userinfo": { "email": { "essential": true }, "unheard_of": null },
        "id_token": { "name": null, "auth_time": { "essential": true } },
    });
    let over = json!({ "scope": "openid", "claims": claims.to_string() });
    let answer = tokens(&person, &over).await;
    // OpenID Connect Core §5.5; the scopes that they belong to are not given.
    assert_eq!(answer["scope"], "openid");
    let claims = parts(text(&answer["id_token"])).1;
    assert_eq!(claims["name"], "ann of People");
    assert_eq!(claims["auth_time"], app.now());
    assert_eq!(claims.get("preferred_username"), None);
    let told = app.get("/userinfo").bearer(text(&answer["access_token"]));
    let expected = json!({ "sub": person.user.id, "email": "ann@people.example" });
    assert_eq!(told.await.ok(), expected);
    // The same after a refresh.
    let again = app
        .refresh(text(&answer["refresh_token"]), &json!({}))
        .await;
    let again = app.get("/userinfo").bearer(&again.token());
    assert_eq!(again.await.ok(), expected);
}

#[tokio::test]
async fn nobody_is_told_a_claim_that_the_person_did_not_allow() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let claims = json!({ "userinfo": { "email": null }, "id_token": { "email": null } });
    let over = about(&json!({ "scope": "openid", "claims": claims.to_string() }));
    let page = person.open(&over).await;
    assert!(page.text().contains("-email\""), "{}", page.text());
    let told = crate::support::told(&person.press(&page, "allow", &["email"]).await);
    let answer = app.redeem(&told["code"], &json!({})).await.ok();
    assert_eq!(parts(text(&answer["id_token"])).1.get("email"), None);
    let told = app.get("/userinfo").bearer(text(&answer["access_token"]));
    assert_eq!(told.await.ok(), json!({ "sub": person.user.id }));
}

#[tokio::test]
async fn an_answer_is_signed_for_clients_that_registered_for_that() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    for (client_id, algorithm) in [("rsa", "RS256"), ("ec", "ES256"), ("ed", "EdDSA")] {
        let members = json!({
            "redirect_uris": [crate::support::CALLBACK],
            "token_endpoint_auth_method": "none",
            "authorization": {
                "userinfo_signed_response_alg": algorithm,
                "id_token_signed_response_alg": algorithm,
            },
        });
        app.client(client_id, members).await;
        let over = about(&json!({ "client_id": client_id }));
        let code = person.code(&over).await;
        let redeemed = app.redeem(&code, &json!({ "client_id": client_id }));
        let redeemed = redeemed.await.ok();
        let id_token = text(&redeemed["id_token"]);
        assert_eq!(parts(id_token).0["alg"], algorithm);
        assert_eq!(app.claims(id_token).await["sub"], person.user.id);
        let answer = app.get("/userinfo").bearer(text(&redeemed["access_token"]));
        let answer = answer.await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/jwt"));
        let jwt = answer.text();
        assert_eq!(parts(&jwt).0["alg"], algorithm);
        // OpenID Connect Core §5.3.2.
        let mut expected = all(&person);
        let of_jwt = json!({ "iss": app.issuer, "aud": client_id, "iat": app.now() });
        overlay(&mut expected, &of_jwt);
        assert_eq!(app.claims(&jwt).await, expected);
        // RFC 8725 §3.11: it is no ID token.
        let hint = about(&json!({ "client_id": client_id, "id_token_hint": jwt }));
        let refused = person.open(&hint).await;
        assert_eq!(crate::support::refusal(&refused), "invalid_request");
    }
}

/// The challenges of a refusal.
#[track_caller]
fn challenged(answer: &Answer, status: u16, code: &str) {
    answer.refused(status, code);
    let challenges = answer.headers.get_all("www-authenticate");
    let text: Vec<&str> = challenges.iter().map(|v| v.to_str().unwrap()).collect();
    let text = text.join(", ");
    assert!(text.contains(&format!("error=\"{code}\"")), "{text}");
    let metadata = "https://as.example/.well-known/oauth-protected-resource/userinfo";
    assert!(text.contains(metadata), "{text}");
}

#[tokio::test]
async fn a_token_that_is_not_for_it_opens_nothing() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    // RFC 6750 §3.1: who shows nothing is told no error.
    let nothing = app.get("/userinfo").await;
    nothing.refused(401, "invalid_token");
    let challenge = nothing.header("www-authenticate").unwrap();
    assert!(!challenge.contains("error="), "{challenge}");
    challenged(
        &app.get("/userinfo").bearer("x").await,
        401,
        "invalid_token",
    );
    let agent = app.token("agent", WEATHER, "tool:forecast").await;
    challenged(
        &app.get("/userinfo").bearer(&agent).await,
        401,
        "invalid_token",
    );
    let answer = tokens(&person, &json!({})).await;
    // AC-189: an ID token is no access token.
    let id_token = text(&answer["id_token"]);
    challenged(
        &app.get("/userinfo").bearer(id_token).await,
        401,
        "invalid_token",
    );
    let token = text(&answer["access_token"]);
    // AC-198, AC-199.
    let path = format!("/userinfo?access_token={token}");
    app.get(&path).await.refused(400, "invalid_request");
    let twice = app.post("/userinfo").bearer(token);
    let twice = twice.form(&[("access_token", token)]).await;
    twice.refused(400, "invalid_request");
    let json = app
        .post("/userinfo")
        .json(&json!({ "access_token": token }));
    json.await.refused(400, "invalid_request");
    // AC-128: it ends with the session.
    let tenant = app.tenant(None);
    let one = writ::store::people::Sessions::One(person.sid.clone());
    writ::users::session::end(&app.state, &tenant, &person.user, one)
        .await
        .unwrap();
    challenged(
        &app.get("/userinfo").bearer(token).await,
        401,
        "invalid_token",
    );
}

#[tokio::test]
async fn a_bound_token_comes_with_its_proof() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let key = Key::ed(1);
    let code = person.code(&about(&json!({}))).await;
    let redeemed = app.redeem(&code, &json!({}));
    let redeemed = redeemed.header("dpop", &app.proof(&key, &json!({})));
    let token = redeemed.await.token();
    challenged(
        &app.get("/userinfo").bearer(&token).await,
        401,
        "invalid_token",
    );
    let in_form = app
        .post("/userinfo")
        .form(&[("access_token", token.as_str())]);
    challenged(&in_form.await, 401, "invalid_token");
    for method in ["GET", "POST"] {
        let proof = app.proof_with(&key, (method, "/userinfo"), &token, &json!({}));
        let answer = app.call(method, "/userinfo").dpop(&token, &proof).await;
        assert_eq!(answer.ok(), all(&person), "{method}");
        let again = app.call(method, "/userinfo").dpop(&token, &proof).await;
        again.refused(401, "invalid_dpop_proof");
    }
    let other = Key::ed(2);
    let claims = app.proof_claims(&json!({
        "htm": "GET", "htu": "https://as.example/userinfo", "ath": crate::support::ath(&token),
    }));
    let proof = other.sign(&proof_header(&other), &claims);
    let answer = app.get("/userinfo").dpop(&token, &proof).await;
    answer.refused(401, "invalid_token");
}

#[tokio::test]
async fn pages_of_clients_may_ask() {
    let app = TestApp::apps().await;
    let asked = app.call("OPTIONS", "/userinfo");
    let asked = asked
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization, dpop");
    let asked = asked.await;
    assert_eq!(asked.header("access-control-allow-origin"), Some("*"));
    let person = app.signed_in("ann").await;
    let answer = tokens(&person, &json!({})).await;
    let answer = app.get("/userinfo").bearer(text(&answer["access_token"]));
    let answer = answer.header("origin", "https://app.example").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn who_may_not_sign_in_any_more_is_not_told_of() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let answer = tokens(&person, &json!({})).await;
    let before = person.user.row("default");
    let mut row = before.clone();
    row.disabled = true;
    let change = writ::store::people::Change::PutUser {
        row: Box::new(row),
        before: Some(Box::new(before)),
    };
    app.commit(vec![writ::store::Change::People(change)])
        .await
        .unwrap();
    let told = app.get("/userinfo").bearer(text(&answer["access_token"]));
    challenged(&told.await, 401, "invalid_token");
}
