//! Pairwise subjects (OpenID Connect Core §8).

use serde_json::{Value, json};

use crate::support::{KeyHost, Person, TestApp, overlay, parts, refusal};

/// A public client with pairwise subjects whose answers go to this host.
async fn client(app: &TestApp, client_id: &str, host: &str) {
    let members = json!({
        "redirect_uris": [format!("https://{host}/{client_id}")],
        "token_endpoint_auth_method": "none",
        "authorization": { "subject_type": "pairwise" },
    });
    app.client(client_id, members).await;
}

struct Known {
    answer: Value,
    sub: String,
}

/// What a client gets to know of somebody.
async fn known(app: &TestApp, person: &Person<'_>, client_id: &str, host: &str) -> Known {
    let uri = format!("https://{host}/{client_id}");
    let over = json!({
        "client_id": client_id, "redirect_uri": uri, "scope": "openid", "resource": null,
    });
    let page = person.open(&over).await;
    let answer = match page.status {
        200 => person.press(&page, "allow", &[]).await,
        _ => page,
    };
    let location = url::Url::parse(answer.header("location").unwrap()).unwrap();
    let (_, code) = location
        .query_pairs()
        .find(|(name, _)| name == "code")
        .unwrap();
    let form = json!({ "client_id": client_id, "redirect_uri": uri });
    let answer = app.redeem(&code, &form).await.ok();
    let id_token = answer["id_token"].as_str().unwrap();
    let sub = app.claims(id_token).await["sub"]
        .as_str()
        .unwrap()
        .to_owned();
    Known { answer, sub }
}

#[tokio::test]
async fn each_sector_knows_a_person_by_another_name() {
    let app = TestApp::apps().await;
    for (client_id, host) in [
        ("one", "a.example"),
        ("two", "a.example"),
        ("three", "b.example"),
    ] {
        client(&app, client_id, host).await;
    }
    let (ann, bob) = (app.signed_in("ann").await, app.signed_in("bob").await);
    let one = known(&app, &ann, "one", "a.example").await;
    let two = known(&app, &ann, "two", "a.example").await;
    let three = known(&app, &ann, "three", "b.example").await;
    let other = known(&app, &bob, "one", "a.example").await;
    assert_eq!(one.sub, two.sub);
    assert_ne!(one.sub, three.sub);
    assert_ne!(one.sub, other.sub);
    assert_eq!(one.sub.len(), 43);
    assert!(!one.sub.contains(&ann.user.id));
    // The same at the userinfo endpoint; the access token keeps the account's id.
    let token = one.answer["access_token"].as_str().unwrap();
    let told = app.get("/userinfo").bearer(token).await.ok();
    assert_eq!(told["sub"], one.sub);
    assert_eq!(parts(token).1["sub"], ann.user.id);
    // And the same tomorrow.
    let again = known(&app, &ann, "one", "a.example").await;
    assert_eq!(again.sub, one.sub);
}

#[tokio::test]
async fn a_client_speaks_of_a_person_by_its_own_name_for_them() {
    let app = TestApp::apps().await;
    client(&app, "one", "app.example").await;
    let members = json!({
        "redirect_uris": [crate::support::CALLBACK], "token_endpoint_auth_method": "none",
        "authorization": { "subject_type": "pairwise" },
    });
    app.client("two", members).await;
    let (ann, bob) = (app.signed_in("ann").await, app.signed_in("bob").await);
    let over = |more: Value| {
        let mut over = json!({
            "client_id": "two", "scope": "openid", "resource": null, "prompt": "none",
        });
        overlay(&mut over, &more);
        over
    };
    let first = json!({ "client_id": "two", "scope": "openid", "resource": null });
    for person in [&ann, &bob] {
        person.code(&first).await;
    }
    let code = ann.code(&first).await;
    let answer = app.redeem(&code, &json!({ "client_id": "two" })).await.ok();
    let id_token = answer["id_token"].as_str().unwrap();
    let sub = parts(id_token).1["sub"].clone();
    assert_eq!(known(&app, &ann, "one", "app.example").await.sub, sub);
    let named = json!({ "id_token": { "sub": { "value": sub } } }).to_string();
    let account = json!({ "id_token": { "sub": { "value": ann.user.id } } }).to_string();
    for (hint, of_ann) in [
        (json!({ "id_token_hint": id_token }), true),
        (json!({ "claims": named }), true),
        // Whoever has the account's id learns nothing with it.
        (json!({ "claims": account }), false),
    ] {
        let answer = ann.open(&over(hint.clone())).await;
        let told = crate::support::told(&answer);
        assert_eq!(told.contains_key("code"), of_ann, "{hint}: {told:?}");
        // AC-042.
        assert_eq!(refusal(&bob.open(&over(hint)).await), "login_required");
    }
}

#[tokio::test]
async fn a_sector_is_one_host_or_a_list_that_holds_every_redirect_uri() {
    let app = TestApp::with(|c| c.fetch.allow_private_addresses_for_tests = true).await;
    let uris = json!(["https://a.example/cb", "https://b.example/cb"]);
    let host = KeyHost::start(&uris).await;
    let register = |over: Value| {
        let mut body = json!({ "redirect_uris": uris, "subject_type": "pairwise" });
        overlay(&mut body, &over);
        app.post("/register").json(&body)
    };
    let listed = json!({ "sector_identifier_uri": host.url });
    let registered = register(listed.clone())
        .await
        .with(http::StatusCode::CREATED);
    assert_eq!(registered["subject_type"], "pairwise");
    assert_eq!(registered["sector_identifier_uri"], host.url);
    for bad in [
        json!({}),
        json!({ "redirect_uris": ["http://127.0.0.1/cb"] }),
        json!({ "redirect_uris": ["http://localhost/cb"] }),
        json!({ "redirect_uris": ["com.example.app:/cb"], "application_type": "native" }),
        json!({ "sector_identifier_uri": "http://a.example/list" }),
        json!({ "sector_identifier_uri": "list" }),
        json!({ "sector_identifier_uri": host.url, "redirect_uris": ["https://c.example/cb"] }),
        json!({ "subject_type": "private" }),
    ] {
        let answer = register(bad.clone()).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_client_metadata".into()),
            "{bad}"
        );
    }
    for broken in ["", "{}", "[1]", "[]"] {
        host.publish(broken);
        register(listed.clone())
            .await
            .refused(400, "invalid_client_metadata");
    }
    // Who declares it is told the same, once.
    let declared = || {
        json!({ "clients": [{
            "client_id": "declared", "redirect_uris": uris,
            "token_endpoint_auth_method": "none",
            "authorization": { "subject_type": "pairwise", "sector_identifier_uri": host.url },
        }] })
    };
    assert!(app.apply_in(None, declared()).await.is_err());
    host.publish(&uris.to_string());
    app.apply(declared()).await;
    host.publish("[]");
    let asked = host.asked();
    app.apply(declared()).await;
    assert_eq!(host.asked(), asked);
}

#[tokio::test]
async fn a_list_is_not_fetched_from_inside() {
    let app = TestApp::new().await;
    let body = json!({
        "redirect_uris": ["https://a.example/cb"], "subject_type": "pairwise",
        "sector_identifier_uri": "https://127.0.0.1/list",
    });
    // AC-261.
    let answer = app.post("/register").json(&body).await;
    answer.refused(400, "invalid_client_metadata");
    assert!(answer.text().contains("not reachable"), "{}", answer.text());
}
