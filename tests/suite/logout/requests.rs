//! OpenID Connect RP-Initiated Logout 1.0: attack group T.

use serde_json::json;

use super::{BACK, client, tokens};
use crate::support::{Answer, Person, ServerKey, TestApp, encode, parts};

fn path(params: &[(&str, &str)]) -> String {
    format!("/logout?{}", encode(params))
}

/// Presses the button of the page that asks.
async fn confirm(person: &Person<'_>, page: &Answer) -> Answer {
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("logout-confirm"), "{}", page.text());
    person.send(page, "/logout/decision").await
}

/// Whether the browser's session goes on.
async fn is_signed_in(person: &Person<'_>) -> bool {
    let answer = person.open(&json!({ "prompt": "none" })).await;
    crate::support::refusal(&answer) != "login_required"
}

#[tokio::test]
async fn whoever_is_sent_without_a_name_is_asked_first() {
    let app = TestApp::apps().await;
    client(&app, "rp", json!({})).await;
    let person = app.signed_in("ann").await;
    let token = tokens(&app, &person, "rp").await;
    let token = token["access_token"].as_str().unwrap();
    // AC-309: nothing has happened yet.
    let page = person.get("/logout").await;
    assert!(is_signed_in(&person).await);
    assert!(
        page.text()
            .contains("<strong id=\"logout-user\">ann</strong>")
    );
    let answer = confirm(&person, &page).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("id=\"signed-out\""));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-writ-session=; "), "{cookie}");
    assert!(cookie.contains("Max-Age=0"), "{cookie}");
    assert!(!is_signed_in(&person).await);
    // AC-128: with what it was given for.
    assert!(!app.is_active(token).await);
    assert_eq!(app.count("user.signed_out").await, 1);
    // Nobody is there to be asked any more.
    let again = person.get("/logout").await;
    assert!(again.text().contains("id=\"signed-out\""));
}

#[tokio::test]
async fn a_client_that_shows_that_it_means_this_session_gets_the_person_back() {
    let app = TestApp::apps().await;
    client(&app, "rp", json!({})).await;
    for posted in [false, true] {
        let person = app.signed_in(if posted { "ann" } else { "bob" }).await;
        let id_token = tokens(&app, &person, "rp").await["id_token"].clone();
        // RP-Initiated Logout §2: it may have expired.
        app.advance(3601);
        let form = [
            ("id_token_hint", id_token.as_str().unwrap()),
            ("post_logout_redirect_uri", BACK),
            ("state", "a&b c"),
        ];
        let answer = if posted {
            // With a form of another site no session cookie comes.
            let answer = app.post("/logout").form(&form).await;
            assert_eq!(answer.status, 303);
            let location = answer.header("location").unwrap().to_owned();
            assert!(
                location.starts_with("/logout/confirm?logout="),
                "{location}"
            );
            person.get(&location).await
        } else {
            person.get(&path(&form)).await
        };
        assert_eq!(answer.status, 303, "{}", answer.text());
        // What was registered stays, and the state comes back.
        let back = format!("{BACK}&state=a%26b+c");
        assert_eq!(answer.header("location"), Some(back.as_str()));
        assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
        assert!(!is_signed_in(&person).await);
        // The session is over already: back all the same.
        let again = app.get(&path(&form)).await;
        assert_eq!(again.header("location"), Some(back.as_str()));
    }
}

#[tokio::test]
async fn another_session_is_no_reason_not_to_ask() {
    let app = TestApp::apps().await;
    client(&app, "rp", json!({})).await;
    let person = app.signed_in("ann").await;
    let elsewhere = app.sign_in(person.user.clone()).await;
    let id_token = tokens(&app, &elsewhere, "rp").await["id_token"].clone();
    let form = [
        ("id_token_hint", id_token.as_str().unwrap()),
        ("post_logout_redirect_uri", BACK),
        ("client_id", "rp"),
    ];
    let page = person.get(&path(&form)).await;
    assert!(page.text().contains("<strong id=\"logout-client\">"));
    // A browser applies form-action to the redirect that answers the form.
    let policy = page.header("content-security-policy").unwrap();
    assert!(!policy.contains("form-action"), "{policy}");
    let answer = confirm(&person, &page).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some(BACK))
    );
    assert!(!is_signed_in(&person).await);
    assert!(is_signed_in(&elsewhere).await);
}

#[tokio::test]
async fn nobody_is_redirected_to_where_no_client_has_registered() {
    let app = TestApp::apps().await;
    client(&app, "rp", json!({})).await;
    client(&app, "other", json!({})).await;
    let person = app.signed_in("ann").await;
    let answer = tokens(&app, &person, "rp").await;
    let id_token = answer["id_token"].as_str().unwrap();
    let (header, claims) = parts(id_token);
    let server = ServerKey::of(&app, &app.tenant(None));
    let sign = |typ: &str, over: serde_json::Value| {
        let mut header = json!({ "alg": "EdDSA", "kid": server.key().kid, "typ": typ });
        let mut claims = claims.clone();
        crate::support::overlay(&mut claims, &over);
        if typ.is_empty() {
            header.as_object_mut().unwrap().remove("typ");
        }
        server.key().sign(&header, &claims)
    };
    // The forger's own key holds: what is refused below is refused for what it says.
    let honest = sign("JWT", json!({}));
    let forged = [
        crate::support::unsigned(&json!({ "alg": "none", "typ": "JWT" }), &claims),
        crate::support::Key::ed(9).sign(&header, &claims),
        sign("at+jwt", json!({})),
        sign("logout+jwt", json!({})),
        sign("userinfo+jwt", json!({})),
        sign("", json!({})),
        sign("JWT", json!({ "iss": "https://as.example/" })),
        sign("JWT", json!({ "aud": "nobody" })),
        answer["access_token"].as_str().unwrap().to_owned(),
        "x".to_owned(),
    ];
    let mut requests: Vec<Vec<(&str, &str)>> = forged
        .iter()
        .map(|hint| {
            vec![
                ("id_token_hint", hint.as_str()),
                ("post_logout_redirect_uri", BACK),
            ]
        })
        .collect();
    // AC-308.
    requests.extend([
        vec![("post_logout_redirect_uri", BACK)],
        vec![("client_id", "nobody"), ("post_logout_redirect_uri", BACK)],
        vec![("client_id", "app"), ("post_logout_redirect_uri", BACK)],
        vec![("client_id", "other"), ("id_token_hint", id_token)],
        vec![
            ("client_id", "rp"),
            ("post_logout_redirect_uri", "https://evil.example/"),
        ],
        vec![
            ("client_id", "rp"),
            ("post_logout_redirect_uri", "https://app.example/out"),
        ],
        vec![
            ("client_id", "rp"),
            (
                "post_logout_redirect_uri",
                "https://app.example/out?a=b&c=d",
            ),
        ],
        vec![
            ("client_id", "rp"),
            ("post_logout_redirect_uri", "https://app.example/out?a=b#x"),
        ],
        vec![("client_id", "rp"), ("client_id", "rp")],
    ]);
    for request in requests {
        for answer in [
            person.get(&path(&request)).await,
            person.post("/logout").form(&request).await,
        ] {
            assert_eq!(
                (answer.status, answer.header("location")),
                (400, None),
                "{request:?}"
            );
            assert!(answer.text().contains("id=\"error\">invalid_request<"));
        }
    }
    assert!(is_signed_in(&person).await);
    let form = [
        ("id_token_hint", honest.as_str()),
        ("post_logout_redirect_uri", BACK),
    ];
    assert_eq!(
        person.get(&path(&form)).await.header("location"),
        Some(BACK)
    );
}

#[tokio::test]
async fn nobody_signs_another_person_out() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let eve = app.signed_in("eve").await;
    let page = eve.get("/logout").await;
    // Eve's form in Ann's browser.
    let answer = person.send(&page, "/logout/decision").await;
    assert_eq!(answer.status, 403);
    let page = person.get("/logout").await;
    let form = crate::support::fields(&page.text());
    let without: Vec<(&str, &str)> = form
        .iter()
        .filter(|(name, _)| name != "csrf")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = person.post("/logout/decision").form(&without).await;
    assert_eq!(answer.status, 403);
    let answer = person.get("/logout/confirm?logout=x").await;
    assert_eq!(answer.status, 400);
    assert!(is_signed_in(&person).await);
}

#[tokio::test]
async fn what_was_given_in_a_session_that_timed_out_ends_with_the_sign_out() {
    let app = TestApp::apps().await;
    client(&app, "rp", json!({})).await;
    let person = app.signed_in("ann").await;
    let given = tokens(&app, &person, "rp").await;
    let id_token = given["id_token"].as_str().unwrap();
    let refresh = |token: serde_json::Value| {
        app.refresh(token.as_str().unwrap(), &json!({ "client_id": "rp" }))
    };
    app.advance(app.state.config.users.session_idle + 1);
    assert!(!is_signed_in(&person).await);
    // A session that times out takes nothing with it.
    let token = refresh(given["refresh_token"].clone()).await.ok()["refresh_token"].clone();
    // Its keys have been replaced meanwhile, too.
    let rotated = json!({ "now": true });
    let admin = app.admin_token(None, "writ:keys").await;
    app.post("/admin/keys/rotate")
        .bearer(&admin)
        .json(&rotated)
        .await
        .ok();
    app.advance(2 * 86_400);
    app.state.maintain_keys(&app.tenant(None)).await.unwrap();
    let kid = parts(id_token).0["kid"].clone();
    assert!(
        !app.get("/jwks.json")
            .await
            .text()
            .contains(kid.as_str().unwrap())
    );
    let form = [
        ("id_token_hint", id_token),
        ("post_logout_redirect_uri", BACK),
    ];
    let answer = person.get(&path(&form)).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some(BACK))
    );
    // AC-128.
    refresh(token).await.refused(400, "invalid_grant");
    assert_eq!(app.count("user.signed_out").await, 1);
    // There is nothing left to end.
    person.get(&path(&form)).await;
    assert_eq!(app.count("user.signed_out").await, 1);
}

#[tokio::test]
async fn an_id_token_ends_no_session_of_another_browser() {
    let app = TestApp::apps().await;
    client(&app, "rp", json!({})).await;
    let person = app.signed_in("ann").await;
    let given = tokens(&app, &person, "rp").await;
    let form = [("id_token_hint", given["id_token"].as_str().unwrap())];
    assert_eq!(app.get(&path(&form)).await.status, 200);
    assert!(is_signed_in(&person).await);
    assert!(app.is_active(given["access_token"].as_str().unwrap()).await);
}

#[tokio::test]
async fn a_client_that_is_gone_does_not_keep_anybody_signed_in() {
    let app = TestApp::apps().await;
    client(&app, "rp", json!({})).await;
    let person = app.signed_in("ann").await;
    let given = tokens(&app, &person, "rp").await;
    let hint = ("id_token_hint", given["id_token"].as_str().unwrap());
    let admin = app.admin_token(None, "writ:clients").await;
    let ask = |method: &str, path: &str| app.call(method, path).bearer(&admin);
    ask("POST", "/admin/clients/rp/disable").await.ok();
    // Nobody is sent to where one that is shut out would have them.
    let back = [hint, ("post_logout_redirect_uri", BACK)];
    let refused = app.get(&path(&back)).await;
    assert_eq!((refused.status, refused.header("location")), (400, None));
    let removed = ask("DELETE", "/admin/clients/rp").await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    let form = [hint];
    let answer = person.get(&path(&form)).await;
    assert_eq!(answer.status, 200);
    assert!(!is_signed_in(&person).await);
}
