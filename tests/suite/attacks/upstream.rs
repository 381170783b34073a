//! Providers that lie, browsers that carry what is not theirs, and what a provider's metadata may
//! make the server ask for.

use std::time::Duration;

use serde_json::{Value, json};
use writ::config::Upstream;

use crate::support::{
    Browser, Key, Page, TestApp, b64,
    provider::{CLIENT_ID, CORP, FakeProvider, Said, Scene, Sent, back, sent},
    unsigned,
};

/// What the provider has said does not hold.
const DENIED: &str = "access_denied";
/// It has said nothing that can be used.
const AWAY: &str = "temporarily_unavailable";

/// Nobody is signed in, and the page says that and no more.
#[track_caller]
fn refused(page: &Page, error: &str, case: &str) {
    assert_eq!(page.answer.status, 403, "{case}: {}", page.text());
    assert_eq!(page.element("error").unwrap(), error, "{case}");
    assert!(
        page.text().contains("Signing in with Corp did not work."),
        "{case}"
    );
    let cookies = page.answer.headers.get_all("set-cookie");
    let mut cookies = cookies.iter().map(|cookie| cookie.to_str().unwrap());
    assert!(
        !cookies.any(|cookie| cookie.contains("writ-session=writ")),
        "{case}"
    );
}

/// Tries an ID token.
async fn tries(scene: &Scene, case: &str, token: impl FnOnce(&Sent) -> String) {
    let mut browser = Browser::new(&scene.app);
    let away = scene.leave(&mut browser).await;
    scene.provider.gives(&token(&away));
    refused(&scene.come(&mut browser, &away).await, DENIED, case);
    assert!(
        browser.open("/account").await.path.starts_with("/login"),
        "{case}"
    );
}

#[tokio::test]
async fn id_tokens_that_do_not_hold() {
    let scene = Scene::with(|_| {}).await;
    let now = scene.app.now();
    let hash = b64([1; 32]);
    for over in [
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": format!("{}/", scene.provider.origin) }),
        json!({ "iss": null }),
        json!({ "aud": "another" }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "aud": [CLIENT_ID, "another"] }),
        json!({ "aud": [CLIENT_ID, "another"], "azp": CLIENT_ID }),
        json!({ "azp": "another" }),
        json!({ "nonce": "another" }),
        json!({ "nonce": null }),
        json!({ "exp": now - 60 }),
        json!({ "exp": null }),
        json!({ "exp": "soon" }),
        json!({ "iat": null }),
        json!({ "iat": now + 61 }),
        json!({ "iat": now - 61 }),
        json!({ "nbf": now + 61 }),
        json!({ "sub": "" }),
        json!({ "sub": null }),
        json!({ "sub": 7 }),
        json!({ "sub": "a".repeat(256) }),
        json!({ "at_hash": hash }),
    ] {
        tries(&scene, &over.to_string(), |sent| scene.token(sent, &over)).await;
    }
    let sign = |header: &Value, sent: &Sent, key: &Key| {
        key.sign(header, &scene.provider.claims(&scene.app, sent, &json!({})))
    };
    let header = |over: Value| {
        let mut header = scene.key.header();
        crate::support::overlay(&mut header, &over);
        header
    };
    for over in [
        json!({ "kid": "unknown" }),
        json!({ "typ": "at+jwt" }),
        json!({ "crit": ["exp"] }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": null }),
    ] {
        let header = header(over);
        tries(&scene, &header.to_string(), |sent| {
            sign(&header, sent, &scene.key)
        })
        .await;
    }
    // Another key under the name of the right one; keys that the token brings itself.
    let (wrong, right) = (Key::ed(2), scene.key.header());
    tries(&scene, "another key", |sent| sign(&right, sent, &wrong)).await;
    let brings = header(json!({ "jwk": wrong.jwk(), "jku": "https://evil.example/jwks" }));
    tries(&scene, "its own key", |sent| sign(&brings, sent, &wrong)).await;
    let none = json!({ "alg": "none" });
    let claims = |sent: &Sent| scene.provider.claims(&scene.app, sent, &json!({}));
    tries(&scene, "none", |sent| unsigned(&none, &claims(sent))).await;
    tries(&scene, "no token", |_| "not.a.token".into()).await;
    tries(&scene, "claims twice", |sent| {
        let text = claims(sent).to_string();
        let twice = text.replacen('{', r#"{"sub":"mallory","#, 1);
        scene.key.sign_text(&right.to_string(), &twice)
    })
    .await;
    // Nothing was left behind, and it is in the trail.
    assert_eq!(scene.app.count("user.signed_in").await, 0);
    let refusals = scene
        .app
        .admin("GET", "/audit?kind=sign_in.refused&limit=100")
        .await;
    assert!(
        refusals
            .await
            .ok()
            .to_string()
            .contains("corp: the ID token: nonce is another")
    );
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    assert_eq!(page.path, "/account", "{}", page.text());
}

#[tokio::test]
async fn answers_that_are_none() {
    let scene = Scene::with(|_| {}).await;
    let to = |location: &str| Said {
        headers: vec![("location", location.to_owned())],
        ..Said::new(302, "")
    };
    let mut slow = Said::new(200, "{}");
    slow.delay = Duration::from_secs(3);
    let elsewhere = format!("{}/elsewhere", scene.provider.origin);
    for (case, said, error) in [
        (
            "refused",
            Said::new(400, r#"{"error":"invalid_grant"}"#),
            DENIED,
        ),
        ("not json", Said::new(200, "<p>"), DENIED),
        ("no tokens", Said::new(200, "{}"), DENIED),
        ("broken", Said::new(500, "{}"), AWAY),
        ("redirected", to(&elsewhere), AWAY),
        ("endless", Said::new(200, &" ".repeat(70_000)), AWAY),
        ("slow", slow, AWAY),
    ] {
        let mut browser = Browser::new(&scene.app);
        let away = scene.leave(&mut browser).await;
        scene.provider.says("/token", said);
        refused(&scene.come(&mut browser, &away).await, error, case);
    }
    assert!(scene.provider.asked("/elsewhere").is_empty());
    // The userinfo endpoint speaks of somebody else.
    let scene = Scene::with(|_| {}).await;
    let userinfo = format!("{}/userinfo", scene.provider.origin);
    scene
        .provider
        .metadata(&json!({ "userinfo_endpoint": userinfo }));
    let other = json!({ "sub": "mallory", "email": "alice@corp.example", "email_verified": true });
    scene.provider.says("/userinfo", Said::json(&other));
    tries(&scene, "userinfo", |sent| {
        scene.token(sent, &json!({ "email": null }))
    })
    .await;
    let asked = scene.provider.asked("/userinfo").pop().unwrap();
    assert_eq!(asked.authorization.unwrap(), "Bearer an access token");
}

#[tokio::test]
async fn a_state_is_for_one_browser_one_time_one_provider_and_a_while() {
    let scene = Scene::with(|_| {}).await;
    let mut browser = Browser::new(&scene.app);
    let away = scene.leave(&mut browser).await;
    scene.provider.gives(&scene.token(&away, &json!({})));
    let with = |state: &str| {
        let sent = Sent::from([("state".to_owned(), state.to_owned())]);
        back(&sent, &[("code", "a code")])
    };
    let state = &away["state"];
    let mut changed = state.clone();
    changed.replace_range(40..41, if &state[40..41] == "A" { "B" } else { "A" });
    for bad in ["", "x", &changed, &state[1..]] {
        assert_eq!(browser.get(&with(bad)).await.answer.status, 400, "{bad}");
    }
    // Of another browser: whoever lures somebody into a session of their own.
    let mut victim = Browser::new(&scene.app);
    assert_eq!(victim.get(&with(state)).await.answer.status, 400);
    scene.leave(&mut victim).await;
    assert_eq!(victim.get(&with(state)).await.answer.status, 400);
    assert!(scene.provider.asked("/token").is_empty());
    // Twice, whether it went well or not.
    let failed = scene.leave(&mut browser).await;
    scene.provider.gives("no token");
    refused(&scene.come(&mut browser, &failed).await, DENIED, "once");
    scene.provider.gives(&scene.token(&failed, &json!({})));
    assert_eq!(scene.come(&mut browser, &failed).await.answer.status, 400);
    assert_eq!(scene.provider.asked("/token").len(), 1);
    // Too late.
    let late = scene.leave(&mut browser).await;
    scene.app.advance(601);
    assert_eq!(scene.come(&mut browser, &late).await.answer.status, 400);
    assert_eq!(scene.app.count("user.signed_in").await, 0);
}

#[tokio::test]
async fn who_comes_back_too_often_has_the_provider_asked_for_nothing() {
    let mut scene = Scene::with(|_| {}).await;
    scene.app = scene
        .app
        .restart_with(|config| {
            (config.limits.arrival_rate, config.limits.arrival_burst) = (1, 2);
            (config.limits.document_rate, config.limits.document_burst) = (1, 1);
        })
        .await;
    scene.provider.gives("no token");
    for (status, asked) in [(403, 1), (403, 2), (429, 2)] {
        let mut browser = Browser::new(&scene.app);
        let away = scene.leave(&mut browser).await;
        let page = scene.come(&mut browser, &away).await;
        assert_eq!(page.answer.status, status, "{}", page.text());
        assert_eq!(scene.provider.asked("/token").len(), asked);
    }
}

#[tokio::test]
async fn answers_of_another_provider_are_not_taken_for_this_ones() {
    let honest = Scene::with(|_| {}).await;
    let evil = FakeProvider::start(&Key::ed(9)).await;
    let upstream = |origin: &str| Upstream {
        issuer: origin.into(),
        client_id: CLIENT_ID.into(),
        private_addresses: true,
        ..Upstream::default()
    };
    let app = TestApp::with(|config| {
        let all = &mut config.upstream;
        all.insert("corp".into(), upstream(&honest.provider.origin));
        all.insert("evil".into(), upstream(&evil.origin));
    })
    .await;
    let mut browser = Browser::new(&app);
    let login = browser.open("/login").await;
    // Sent to the evil one, which sends the browser on to the honest one: the code comes back to
    // the honest one's redirect URI, or is carried by hand to the evil one's.
    let away = sent(
        &browser
            .submit_only(&login, "/login/upstream/evil", &[])
            .await,
    );
    assert_eq!(
        away["redirect_uri"],
        "https://as.example/login/upstream/evil/callback"
    );
    let code = [("code", "a code of corp")];
    assert_eq!(browser.get(&back(&away, &code)).await.answer.status, 400);
    assert!(evil.asked("/token").is_empty() && honest.provider.asked("/token").is_empty());
    // RFC 9207: an answer that says whose it is.
    let scene = Scene::with(|_| {}).await;
    let names = json!({ "authorization_response_iss_parameter_supported": true });
    scene.provider.metadata(&names);
    let origin = scene.provider.origin.clone();
    for (iss, good) in [
        (None, false),
        (Some("https://evil.example"), false),
        (Some(origin.as_str()), true),
    ] {
        let mut browser = Browser::new(&scene.app);
        let away = scene.leave(&mut browser).await;
        scene.provider.gives(&scene.token(&away, &json!({})));
        let mut answer = vec![("code", "a code")];
        answer.extend(iss.map(|iss| ("iss", iss)));
        let page = browser.get(&back(&away, &answer)).await;
        assert_eq!(page.answer.status == 303, good, "{iss:?}: {}", page.text());
        assert_eq!(scene.provider.asked("/token").len(), usize::from(good));
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_leads_nowhere() {
    let origin = |scene: &Scene| scene.provider.origin.clone();
    for over in [
        json!({ "issuer": "https://evil.example" }),
        json!({ "issuer": null }),
        json!({ "token_endpoint": null }),
        json!({ "jwks_uri": "file:///etc/passwd" }),
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
        json!({ "authorization_endpoint": "data:text/html,x" }),
        json!({ "authorization_endpoint": "/authorize" }),
    ] {
        let scene = Scene::with(|_| {}).await;
        scene.provider.metadata(&over);
        let mut browser = Browser::new(&scene.app);
        let login = browser.open("/login").await;
        let page = browser.submit_only(&login, CORP, &[]).await;
        refused(&page, AWAY, &over.to_string());
        assert_eq!(page.answer.header("refresh"), None, "{}", origin(&scene));
    }
    // Elsewhere by a redirect, and without an end.
    let redirect = Said {
        headers: vec![("location", "https://evil.example".into())],
        ..Said::new(302, "")
    };
    for said in [redirect, Said::new(200, &"[".repeat(70_000))] {
        let scene = Scene::with(|_| {}).await;
        scene
            .provider
            .says("/.well-known/openid-configuration", said);
        let mut browser = Browser::new(&scene.app);
        let login = browser.open("/login").await;
        refused(
            &browser.submit_only(&login, CORP, &[]).await,
            AWAY,
            "metadata",
        );
    }
}

/// Nothing private is asked for, whatever the metadata names, unless an administrator says so.
#[tokio::test]
async fn a_provider_does_not_choose_what_the_server_asks() {
    let key = Key::ed(1);
    let provider = FakeProvider::start(&key).await;
    let upstream = Upstream {
        issuer: provider.origin.replace("http:", "https:"),
        client_id: CLIENT_ID.into(),
        ..Upstream::default()
    };
    let app = TestApp::with(|config| {
        config.upstream.insert("corp".into(), upstream);
    })
    .await;
    let mut browser = Browser::new(&app);
    let login = browser.open("/login").await;
    let page = browser.submit_only(&login, CORP, &[]).await;
    assert_eq!(page.answer.status, 403);
    assert!(!page.text().contains("127.0.0.1"), "{}", page.text());
    assert!(
        provider
            .asked("/.well-known/openid-configuration")
            .is_empty()
    );
}
