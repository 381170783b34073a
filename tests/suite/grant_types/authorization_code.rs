//! Codes redeemed (RFC 6749 §4.1.3): attack groups C, D and F.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::support::{
    CALENDAR, CALLBACK, Key, NOW, TestApp, VERIFIER, WEATHER, b64, parts, secret_of,
};

#[tokio::test]
async fn a_code_becomes_tokens_in_the_name_of_the_person() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let code = person.code(&json!({})).await;
    let answer = app.redeem(&code, &json!({})).await;
    let body = answer.ok();
    // AC-111.
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["scope"], "tool:forecast tool:history");
    assert!(body["refresh_token"].is_string());
    assert_eq!(body.get("id_token"), None);
    let claims = app.claims(body["access_token"].as_str().unwrap()).await;
    assert_eq!(
        claims,
        json!({
            "iss": "https://as.example", "sub": person.user.id, "client_id": "app", "aud": WEATHER,
            "iat": NOW, "exp": NOW + 300, "jti": claims["jti"], "grant_id": claims["grant_id"],
            "scope": "tool:forecast tool:history", "auth_time": NOW, "amr": ["pwd"],
            "acr": "urn:writ:acr:single-factor",
        })
    );
    assert!(app.is_active(body["access_token"].as_str().unwrap()).await);
}

#[tokio::test]
async fn a_code_is_for_one_client_one_redirect_uri_and_one_verifier() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let code = person.code(&json!({})).await;
    let other = VERIFIER.replace('d', "e");
    for over in [
        // AC-064, and who proves nothing.
        json!({ "client_id": "web", "client_secret": secret_of("web") }),
        // AC-065.
        json!({ "redirect_uri": format!("{CALLBACK}/") }),
        // AC-109.
        json!({ "code": &code[1..] }),
        json!({ "code": &code[..code.len() - 1] }),
        json!({ "code": format!("{code}A") }),
        json!({ "code": "x".repeat(10_000) }),
        json!({ "code": "ä" }),
    ] {
        app.redeem(&code, &over).await.refused(400, "invalid_grant");
    }
    for name in ["code", "grant_type"] {
        let without = json!({ name: Value::Null });
        app.redeem(&code, &without)
            .await
            .refused(400, "invalid_request");
    }
    // A failed authentication uses nothing up (the Go SDK tries Basic with an empty secret).
    let basic = app.redeem(&code, &json!({})).basic("app", "");
    basic.await.refused(401, "invalid_client");
    // OAuth 2.1: PKCE stands for the redirect URI.
    app.redeem(&code, &json!({ "redirect_uri": null }))
        .await
        .ok();

    // AC-059: one guess.
    let code = person.code(&json!({})).await;
    let guessed = json!({ "code_verifier": other });
    app.redeem(&code, &guessed)
        .await
        .refused(400, "invalid_grant");
    app.redeem(&code, &json!({}))
        .await
        .refused(400, "invalid_grant");
    // AC-058.
    let code = person.code(&json!({})).await;
    let without = json!({ "code_verifier": null });
    app.redeem(&code, &without)
        .await
        .refused(400, "invalid_grant");
}

#[tokio::test]
async fn a_verifier_has_43_to_128_unreserved_characters() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let longest = "a-Z.0_9~".repeat(16);
    for (verifier, of_shape) in [
        (VERIFIER, true),
        (longest.as_str(), true),
        // RFC 7636 §4.1: these are not, although the challenge was made of them.
        ("", false),
        (&VERIFIER[1..], false),
        (&format!("{longest}a"), false),
        (&VERIFIER.replace('d', "+"), false),
        (&VERIFIER.replace('d', " "), false),
        (&VERIFIER.replace('d', "ä"), false),
    ] {
        let challenge = b64(digest(&SHA256, verifier.as_bytes()));
        let code = person.code(&json!({ "code_challenge": challenge })).await;
        let redeemed = app.redeem(&code, &json!({ "code_verifier": verifier }));
        let (status, code) = redeemed.await.refusal();
        let wanted = if of_shape { 200 } else { 400 };
        assert_eq!(status, wanted, "{verifier}");
        assert_eq!(
            code,
            if of_shape { "" } else { "invalid_grant" },
            "{verifier}"
        );
    }
}

#[tokio::test]
async fn a_code_used_twice_ends_what_it_has_produced() {
    for seconds in [0, 1, 30, 61] {
        let app = TestApp::apps().await;
        let person = app.signed_in("ann").await;
        let before = person.tokens(&json!({})).await;
        let code = person.code(&json!({})).await;
        let body = app.redeem(&code, &json!({})).await.ok();
        let access = body["access_token"].as_str().unwrap();
        app.advance(seconds);
        // AC-105, AC-106; of another client it is nobody's business.
        let stolen = json!({ "client_id": "web", "client_secret": secret_of("web") });
        app.redeem(&code, &stolen)
            .await
            .refused(400, "invalid_grant");
        assert!(app.is_active(access).await);
        app.redeem(&code, &json!({}))
            .await
            .refused(400, "invalid_grant");
        assert!(!app.is_active(access).await, "{seconds}");
        let refresh = body["refresh_token"].as_str().unwrap();
        app.refresh(refresh, &json!({}))
            .await
            .refused(400, "invalid_grant");
        assert_eq!(app.count("grants.ended").await, 1);
        // Another authorization of the same person and client stays.
        assert!(
            app.is_active(before["access_token"].as_str().unwrap())
                .await
        );
        app.refresh(before["refresh_token"].as_str().unwrap(), &json!({}))
            .await
            .ok();
    }
}

#[tokio::test]
async fn of_many_at_once_one_gets_tokens_and_then_nobody_has_any() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let code = person.code(&json!({})).await;
    let calls = (0..20).map(|_| app.redeem(&code, &json!({})).into_future());
    let answers = futures_util::future::join_all(calls).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert!(won.len() <= 1, "{}", won.len());
    for answer in lost {
        // It may be told that what it rests on has gone.
        assert_eq!(answer.refusal().1, "invalid_grant");
    }
    for answer in won {
        assert!(!app.is_active(&answer.token()).await);
    }
}

#[tokio::test]
async fn a_code_does_not_last() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let code = person.code(&json!({})).await;
    app.advance(59);
    app.redeem(&code, &json!({})).await.ok();
    let code = person.code(&json!({})).await;
    // AC-108.
    app.advance(60);
    app.redeem(&code, &json!({}))
        .await
        .refused(400, "invalid_grant");
}

#[tokio::test]
async fn a_code_stands_for_what_still_stands() {
    let app = TestApp::apps().await;
    // The client, its redirect URI's resource, or the person is gone by then.
    let person = app.signed_in("ann").await;
    let code = person.code(&json!({})).await;
    let gone = app.admin("DELETE", "/resources/weather").await.await;
    assert_eq!(gone.status, 204);
    app.redeem(&code, &json!({}))
        .await
        .refused(400, "invalid_grant");

    app.declare_weather(None).await;
    let code = person.code(&json!({})).await;
    let tenant = app.tenant(None);
    let which = writ::store::people::Sessions::Of(person.user.id.clone());
    writ::users::session::end(&app.state, &tenant, &person.user, which)
        .await
        .unwrap();
    app.redeem(&code, &json!({}))
        .await
        .refused(400, "invalid_grant");

    // What was given for later outlives the session (OpenID Connect Core §11).
    let person = app.sign_in(person.user).await;
    let offline = json!({ "scope": "offline_access tool:forecast" });
    let kept = person.tokens(&offline).await;
    let bound = person.tokens(&json!({})).await;
    let which = writ::store::people::Sessions::One(person.sid.clone());
    writ::users::session::end(&app.state, &tenant, &person.user, which)
        .await
        .unwrap();
    // AC-128.
    app.refresh(bound["refresh_token"].as_str().unwrap(), &json!({}))
        .await
        .refused(400, "invalid_grant");
    assert!(!app.is_active(bound["access_token"].as_str().unwrap()).await);
    app.refresh(kept["refresh_token"].as_str().unwrap(), &json!({}))
        .await
        .ok();
}

#[tokio::test]
async fn a_token_is_for_what_was_authorized_or_less() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    // AC-204.
    let code = person.code(&json!({})).await;
    let other = json!({ "resource": CALENDAR });
    app.redeem(&code, &other)
        .await
        .refused(400, "invalid_target");
    // It was not used up.
    let same = json!({ "resource": "https://WEATHER.example/mcp/", "scope": "tool:history" });
    let body = app.redeem(&code, &same).await.ok();
    assert_eq!(body["scope"], "tool:history");

    // AC-203: without a name, and with several there are, it is about the person.
    let nothing = json!({ "resource": null, "scope": null });
    let body = person.tokens(&nothing).await;
    assert_eq!(body["scope"], "openid");
    let claims = parts(body["access_token"].as_str().unwrap()).1;
    assert_eq!(claims["aud"], "https://as.example/userinfo");
    // What is known at one place only says which.
    let body = person
        .tokens(&json!({ "resource": null, "scope": "tool:forecast" }))
        .await;
    assert_eq!(
        parts(body["access_token"].as_str().unwrap()).1["aud"],
        WEATHER
    );
    // The defaults of the resource.
    let body = person.tokens(&json!({ "scope": null })).await;
    assert_eq!(body["scope"], "tool:forecast");
    let body = person.tokens(&json!({ "scope": "openid profile" })).await;
    assert_eq!(body["scope"], "openid profile tool:forecast");

    // Several, where an administrator says so.
    let members = json!({
        "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "multiple_resources": true,
    });
    app.client("app", members).await;
    let scope = json!({ "scope": "tool:forecast tool:list" });
    let query = format!(
        "{}&resource={CALENDAR}",
        crate::support::encode(&crate::support::pairs(&crate::support::request(&scope)))
    );
    let page = person.get(&format!("/authorize?{query}")).await;
    let told = crate::support::told(&person.press(&page, "allow", &[]).await);
    let both = app.redeem(&told["code"], &json!({})).await.ok();
    let claims = parts(both["access_token"].as_str().unwrap()).1;
    assert_eq!(claims["aud"], json!([CALENDAR, WEATHER]));
    let one = json!({ "resource": CALENDAR });
    let refresh = both["refresh_token"].as_str().unwrap();
    let one = app.refresh(refresh, &one).await.ok();
    assert_eq!(one["scope"], "tool:list");
}

#[tokio::test]
async fn a_code_may_be_bound_to_a_key() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let (key, other) = (Key::ed(1), Key::ed(2));
    let jkt = crate::support::thumbprint(&key);
    let bound = json!({ "dpop_jkt": jkt });
    let code = person.code(&bound).await;
    let proof = |key: &Key| app.proof(key, &json!({}));
    // AC-164.
    app.redeem(&code, &json!({}))
        .await
        .refused(400, "invalid_dpop_proof");
    let wrong = app.redeem(&code, &json!({})).header("dpop", &proof(&other));
    wrong.await.refused(400, "invalid_grant");
    let body = app
        .redeem(&code, &json!({}))
        .header("dpop", &proof(&key))
        .await
        .ok();
    assert_eq!(body["token_type"], "DPoP");
    let refresh = body["refresh_token"].as_str().unwrap();
    // AC-123.
    app.refresh(refresh, &json!({}))
        .await
        .refused(400, "invalid_dpop_proof");
    let wrong = app
        .refresh(refresh, &json!({}))
        .header("dpop", &proof(&other));
    wrong.await.refused(400, "invalid_grant");
    let right = app
        .refresh(refresh, &json!({}))
        .header("dpop", &proof(&key));
    assert_eq!(right.await.ok()["token_type"], "DPoP");
}

#[tokio::test]
async fn an_id_token_says_who_it_is() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let over = json!({ "scope": "openid", "resource": null, "nonce": "n-0S6_WzA2Mj" });
    let body = person.tokens(&over).await;
    let id_token = body["id_token"].as_str().unwrap();
    let (header, claims) = parts(id_token);
    assert_eq!(header["alg"], "RS256");
    assert_eq!(claims["sub"], json!(person.user.id));
    assert_eq!(claims["aud"], "app");
    assert_eq!(claims["nonce"], "n-0S6_WzA2Mj");
    assert_eq!(claims["iss"], "https://as.example");
    assert_eq!(claims["auth_time"], NOW);
    assert_eq!(claims["sid"], json!(person.sid));
    assert_eq!(claims["iat"], NOW);
    // Of the same person and sign-in, and new (OpenID Connect Core §12.2): without the nonce.
    app.advance(30);
    let refreshed = app
        .refresh(body["refresh_token"].as_str().unwrap(), &json!({}))
        .await
        .ok();
    let second = parts(refreshed["id_token"].as_str().unwrap()).1;
    for same in ["iss", "sub", "aud", "auth_time"] {
        assert_eq!(second[same], claims[same], "{same}");
    }
    assert_eq!(second["iat"], NOW + 30);
    assert_eq!(second.get("nonce"), None);
    // AC-189: it is no access token.
    assert!(!app.is_active(id_token).await);
}
