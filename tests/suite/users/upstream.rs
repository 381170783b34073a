//! Signing in with another provider.

use std::io::Write as _;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use writ::config::{SignUp, Upstream};

use crate::support::{
    Browser, CHALLENGE, Key, Page, Person, TestApp,
    provider::{CLIENT_ID, CORP, Said, Scene, Sent, back, sent},
    secret_of,
};

const PASSWORD: &str = "correct horse battery";
const CALLBACK: &str = "https://as.example/login/upstream/corp/callback";

fn file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

/// A second server of ours as the provider, on a socket of its own.
async fn two() -> (TestApp, TestApp, NamedTempFile) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let provider = TestApp::at(&issuer).await;
    provider.listen(listener);
    provider
        .client("writ", json!({ "redirect_uris": [CALLBACK] }))
        .await;
    let secret = file(&secret_of("writ"));
    let upstream = Upstream {
        issuer,
        client_id: "writ".into(),
        client_secret_file: secret.path().into(),
        sign_up: Some(SignUp::Open),
        private_addresses: true,
        ..Upstream::default()
    };
    let app = TestApp::with(|config| {
        config.upstream.insert("corp".into(), upstream);
    });
    (app.await, provider, secret)
}

/// Where the provider sends the browser back to, once `alice` has allowed it there.
async fn allowed(alice: &Person<'_>, sent: &Sent) -> String {
    let pairs: Vec<_> = sent.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let query = crate::support::encode(&pairs);
    let mut answer = alice.get(&format!("/authorize?{query}")).await;
    if answer.status == 200 {
        answer = alice.press(&answer, "allow", &[]).await;
    }
    assert_eq!(answer.status, 303, "{}", answer.text());
    let location = answer.header("location").unwrap();
    location
        .strip_prefix("https://as.example")
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn one_server_signs_in_with_another() {
    let (app, provider, _secret) = two().await;
    let alice = provider.signed_in("alice").await;
    let mut browser = Browser::new(&app);
    let login = browser.open("/account").await;
    let sent_there = sent(&browser.submit_only(&login, CORP, &[]).await);
    assert_eq!(sent_there["redirect_uri"], CALLBACK);
    assert_eq!(sent_there["scope"], "openid profile email");
    let way = allowed(&alice, &sent_there).await;
    let page = browser.open(&way).await;
    assert_eq!((page.path.as_str(), page.answer.status), ("/account", 200));
    assert_eq!(page.element("account-username").unwrap(), "alice");
    // What the ID token leaves out is asked for: the name is of the userinfo endpoint.
    assert_eq!(page.element("account-name").unwrap(), "alice of People");
    // Nobody has said that the provider's word on addresses is believed.
    assert!(page.text().contains("alice@people.example (not verified)"));

    // Once more it is the same account, in another browser too.
    let mut other = Browser::new(&app);
    let login = other.open("/login").await;
    let sent_again = sent(&other.submit_only(&login, CORP, &[]).await);
    let page = other.open(&allowed(&alice, &sent_again).await).await;
    assert_eq!(page.element("account-username").unwrap(), "alice");
    assert_eq!(app.count("user.signed_in").await, 2);
    assert_eq!(app.count("user.changed").await, 1);

    // The state is good for one time, even in its own browser.
    let page = other.get(&way).await;
    assert_eq!(page.answer.status, 400, "{}", page.text());
}

#[tokio::test]
async fn the_request_is_made_of_the_configuration_alone() {
    let scene = Scene::with(|_| {}).await;
    let redirect_uri = "https://app.example/cb";
    let client = json!({
        "redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none",
        "client_name": "Mail of your bank",
    });
    let client = scene.app.post("/register").json(&client).await;
    let client = client.json()["client_id"].as_str().unwrap().to_owned();
    let mut browser = Browser::new(&scene.app);
    let query = [
        ("response_type", "code"),
        ("client_id", client.as_str()),
        ("redirect_uri", redirect_uri),
        ("scope", "openid"),
        ("state", "of the client"),
        ("nonce", "of the client"),
        ("login_hint", "victim@corp.example"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let page = browser
        .open(&format!("/authorize?{}", crate::support::encode(&query)))
        .await;
    // Before anybody is sent anywhere they are told who has sent them, and where the answer goes.
    assert_eq!(page.element("login-client").unwrap(), "Mail of your bank");
    assert_eq!(page.element("login-redirect-host").unwrap(), "app.example");
    assert!(page.text().contains("registered itself"), "{}", page.text());
    // It takes a form of this browser to go there.
    assert_eq!(browser.get(CORP).await.answer.status, 405);
    assert_eq!(browser.post(CORP, &[]).await.answer.status, 403);
    // What it may do is asked before that too.
    let page = browser.submit(&page, CORP, &[]).await;
    assert_eq!(page.element("consent-client").unwrap(), "Mail of your bank");
    assert_eq!(page.element("consent-provider").unwrap(), "Corp");
    let allow = [("decision", "allow")];
    let away = browser
        .submit_only(&page, "/authorize/upstream", &allow)
        .await;
    let refresh = away.answer.header("refresh").unwrap().to_owned();
    let origin = &scene.provider.origin;
    assert!(refresh.starts_with(&format!(
        "0;url={origin}/authorize?tenant=1&response_type=code&"
    )));
    let sent = sent(&away);
    let keys: Vec<&str> = sent.keys().map(String::as_str).collect();
    let all = [
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "nonce",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "tenant",
    ];
    assert_eq!(keys, all);
    assert_eq!(
        (&*sent["client_id"], &*sent["scope"]),
        (CLIENT_ID, "openid profile email")
    );
    assert_eq!(sent["code_challenge_method"], "S256");
    assert!(
        !refresh.contains("of+the+client") && !refresh.contains("victim"),
        "{refresh}"
    );
}

#[tokio::test]
async fn a_code_is_redeemed_with_what_the_provider_gave_us() {
    let secret = file("s3cret:with/odd+letters\n");
    let scene = Scene::with(|c| c.client_secret_file = secret.path().into()).await;
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    assert_eq!(page.path, "/account", "{}", page.text());
    let asked = scene.provider.asked("/token").pop().unwrap();
    let pair = "writ+at+corp:s3cret%3Awith%2Fodd%2Bletters";
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair);
    assert_eq!(asked.authorization.unwrap(), format!("Basic {basic}"));
    let form: Sent = form_urlencoded::parse(asked.body.as_bytes())
        .into_owned()
        .collect();
    assert_eq!(form["redirect_uri"], CALLBACK);
    assert_eq!(
        (&*form["grant_type"], &*form["code"]),
        ("authorization_code", "a code")
    );
    assert_eq!(form["code_verifier"].len(), 43);
    assert!(!form.contains_key("client_secret"), "{form:?}");

    // One that takes the secret in the form only.
    let scene = Scene::with(|c| c.client_secret_file = secret.path().into()).await;
    let methods = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    scene.provider.metadata(&methods);
    scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    let asked = scene.provider.asked("/token").pop().unwrap();
    assert_eq!(asked.authorization, None);
    assert!(
        asked
            .body
            .contains("client_secret=s3cret%3Awith%2Fodd%2Bletters")
    );

    // A key instead.
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let key = file(&pem);
    let scene = Scene::with(|c| c.private_key_file = key.path().into()).await;
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    assert_eq!(page.path, "/account", "{}", page.text());
    let asked = scene.provider.asked("/token").pop().unwrap();
    let form: Sent = form_urlencoded::parse(asked.body.as_bytes())
        .into_owned()
        .collect();
    let (header, claims) = crate::support::parts(&form["client_assertion"]);
    assert_eq!(header["alg"], "ES256");
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!(CLIENT_ID), &json!(CLIENT_ID))
    );
    assert_eq!(claims["aud"], scene.provider.origin.as_str());
}

async fn verified(app: &TestApp, name: &str, email: &str) {
    let user = app.person(name, PASSWORD).await;
    let known = writ::users::User {
        email: Some(email.into()),
        email_verified: true,
        ..user.clone()
    };
    let tenant = app.tenant(None);
    let changes = writ::users::change::replaced(&tenant, &user, &known);
    app.commit(changes).await.unwrap();
}

fn username(page: &Page) -> Option<String> {
    page.element("account-username")
}

#[tokio::test]
async fn an_address_leads_to_an_account_only_where_it_is_believed() {
    // By default it does not: somebody new comes.
    let scene = Scene::with(|_| {}).await;
    verified(&scene.app, "bob", "alice@corp.example").await;
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    assert_eq!(username(&page).unwrap(), "Alice");

    let scene = Scene::with(|c| {
        c.link_by_verified_email = true;
        c.allowed_domains = vec!["corp.example".into()];
        c.sign_up = None;
    })
    .await;
    verified(&scene.app, "bob", "Alice@corp.example").await;
    verified(&scene.app, "carol", "carol@other.example").await;
    for (over, words) in [
        (json!({ "email_verified": false }), "certain organizations"),
        (json!({ "email_verified": null }), "certain organizations"),
        (
            json!({ "email": "carol@other.example" }),
            "certain organizations",
        ),
        (
            json!({ "email": "carol@other.example@corp.example" }),
            "Nobody here is known",
        ),
        (
            json!({ "email": "new@corp.example" }),
            "Nobody here is known",
        ),
    ] {
        let page = scene.sign_in(&mut Browser::new(&scene.app), &over).await;
        assert_eq!(page.answer.status, 403, "{over}");
        assert!(page.text().contains(words), "{over}: {}", page.text());
    }
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    assert_eq!(username(&page).unwrap(), "bob");
    // From now on they are known by their identity, whatever the address.
    let moved = json!({ "email": "alice@elsewhere.example", "email_verified": false });
    let page = scene.sign_in(&mut Browser::new(&scene.app), &moved).await;
    assert_eq!(username(&page).unwrap(), "bob");
    let imposter = json!({ "sub": "ALICE-at-corp" , "email": "a@corp.example" });
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &imposter)
        .await;
    assert_eq!(page.answer.status, 403);
}

pub(crate) const KEY: [u8; writ::users::totp::KEY] = *b"12345678901234567890";

/// Gives somebody an authenticator app.
pub(crate) async fn has_authenticator(app: &TestApp, name: &str) {
    let tenant = app.tenant(None);
    let user = writ::users::account::find_by_username(&app.state, &tenant, name);
    let user = user.await.unwrap().unwrap();
    let added =
        writ::users::credential::authenticator(&app.state, &tenant, &user.id, &KEY, 0).unwrap();
    app.commit(vec![added]).await.unwrap();
}

#[tokio::test]
async fn a_second_factor_is_asked_for_after_a_provider_too() {
    let scene = Scene::with(|c| c.link_by_verified_email = true).await;
    verified(&scene.app, "bob", "alice@corp.example").await;
    has_authenticator(&scene.app, "bob").await;
    // Whoever has come by the address at the provider is not in, whatever it says.
    let mfa = json!({ "amr": ["pwd", "mfa"] });
    let mut browser = Browser::new(&scene.app);
    let half = scene.sign_in(&mut browser, &mfa).await;
    assert!(half.path.starts_with("/login/factor?"), "{}", half.path);
    let account = browser.copy().open("/account").await;
    assert!(account.path.starts_with("/login"), "{}", account.path);
    // Nor is the identity linked.
    let again = scene.sign_in(&mut Browser::new(&scene.app), &mfa).await;
    assert!(again.path.starts_with("/login/factor?"), "{}", again.path);
    let typed = super::factor::code(&scene.app, &KEY, 0);
    let factor = [("code", typed.as_str())];
    let page = browser.submit(&half, "/login/factor", &factor).await;
    assert_eq!(username(&page).unwrap(), "bob");
    let changed = scene.app.admin("GET", "/audit?kind=user.changed").await;
    let changed = changed.await.ok();
    assert_eq!(
        changed[0]["event"]["reason"],
        "linked by its address to corp"
    );
    let events = scene.app.admin("GET", "/audit?kind=user.signed_in").await;
    assert_eq!(events.await.ok()[0]["event"]["reason"], "mfa pwd otp");

    // From now on it counts what the provider has asked for.
    let mut browser = Browser::new(&scene.app);
    assert_eq!(scene.sign_in(&mut browser, &mfa).await.path, "/account");
    scene.app.advance(30);
    let mut browser = Browser::new(&scene.app);
    let half = scene.sign_in(&mut browser, &json!({})).await;
    assert!(half.path.starts_with("/login/factor?"), "{}", half.path);
    let typed = super::factor::code(&scene.app, &KEY, 0);
    let factor = [("code", typed.as_str())];
    let page = browser.submit(&half, "/login/factor", &factor).await;
    assert_eq!(username(&page).unwrap(), "bob");
}

#[tokio::test]
async fn a_time_that_cannot_be_is_none_of_a_session() {
    let scene = Scene::with(|_| {}).await;
    for over in [i64::MIN, i64::MAX] {
        let mut browser = Browser::new(&scene.app);
        let over = json!({ "auth_time": over });
        let page = scene.sign_in(&mut browser, &over).await;
        assert_eq!(username(&page).unwrap(), "Alice");
    }
    let sessions = scene.app.admin("GET", "/users/Alice/sessions").await;
    let sessions = sessions.await.ok();
    let times = sessions.as_array().unwrap().iter();
    let mut times: Vec<_> = times.map(|s| s["authenticated_at"].as_i64()).collect();
    times.sort_unstable();
    assert_eq!(times, [Some(0), Some(scene.app.now())]);
}

#[tokio::test]
async fn of_two_ways_in_one_is_left_whoever_takes_them_away() {
    let scene = Scene::with(|_| {}).await;
    scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    let tenant = scene.app.tenant(None);
    let alice = writ::users::account::find_by_username(&scene.app.state, &tenant, "Alice");
    let alice = alice.await.unwrap().unwrap();
    let rows = writ::store::people::credentials(&scene.app.state.db, "default", &alice.id);
    let rows = rows.await.unwrap();
    assert_eq!(rows.len(), 1);
    let last = writ::users::credential::remove_way_in(&rows[0]);
    let refused = scene.app.commit(vec![last.clone()]).await;
    assert_eq!(refused, Err(writ::journal::JournalError::Conflict));
    let passkey = writ::users::credential::passkey(
        &scene.app.state,
        &tenant,
        &alice.id,
        "another".into(),
        vec![1],
    );
    let other = writ::users::credential::remove_way_in(&passkey);
    let added = writ::users::credential::put(passkey, None);
    scene.app.commit(vec![added]).await.unwrap();
    // Both find another one at first.
    let (one, two) = tokio::join!(scene.app.commit(vec![last]), scene.app.commit(vec![other]));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
}

#[tokio::test]
async fn a_new_account_takes_nobodys_name() {
    let scene = Scene::with(|_| {}).await;
    scene.app.person("alice", PASSWORD).await;
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    let name = username(&page).unwrap();
    assert!(name.starts_with("corp-"), "{name}");
    let other =
        json!({ "sub": "b", "preferred_username": "alice@corp.example\u{7}", "email": null });
    let page = scene.sign_in(&mut Browser::new(&scene.app), &other).await;
    assert!(username(&page).unwrap().starts_with("corp-"));
}

#[tokio::test]
async fn an_identity_is_added_and_removed_on_the_page_of_the_account() {
    let scene = Scene::with(|c| c.sign_up = None).await;
    scene.app.person("bob", PASSWORD).await;
    scene.app.person("carol", PASSWORD).await;
    let mut browser = Browser::new(&scene.app);
    let account = browser.sign_in("bob", PASSWORD).await;
    let away = sent(
        &browser
            .submit_only(&account, "/account/upstream", &[])
            .await,
    );
    // In no other browser, be it somebody else's who is signed in.
    scene.provider.gives(&scene.token(&away, &json!({})));
    let mut other = Browser::new(&scene.app);
    other.sign_in("carol", PASSWORD).await;
    assert_eq!(scene.come(&mut other, &away).await.answer.status, 400);
    assert_eq!(
        scene
            .come(&mut Browser::new(&scene.app), &away)
            .await
            .answer
            .status,
        400
    );
    let page = scene.come(&mut browser, &away).await;
    let account = browser.follow(page).await;
    assert_eq!(account.path, "/account");
    assert!(
        account
            .text()
            .contains("alice@corp.example</strong> at Corp"),
        "{}",
        account.text()
    );

    // It is bob's now: a way in, and nobody else's.
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    assert_eq!(username(&page).unwrap(), "bob");
    let page = other.open("/account").await;
    let away = sent(&other.submit_only(&page, "/account/upstream", &[]).await);
    scene.provider.gives(&scene.token(&away, &json!({})));
    let page = scene.come(&mut other, &away).await;
    assert_eq!(page.answer.status, 400);
    assert!(
        page.text().contains("belongs to another account"),
        "{}",
        page.text()
    );

    let account = browser
        .submit(&account, "/account/upstream/remove", &[])
        .await;
    assert_eq!(account.path, "/account");
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    assert_eq!(page.answer.status, 403);

    // A moment after signing in, and no later.
    scene.app.advance(301);
    let page = browser.submit(&account, "/account/upstream", &[]).await;
    assert!(page.path.starts_with("/login?errand="), "{}", page.path);
}

#[tokio::test]
async fn the_last_way_in_stays() {
    let scene = Scene::with(|_| {}).await;
    let mut browser = Browser::new(&scene.app);
    let account = scene.sign_in(&mut browser, &json!({})).await;
    let page = browser
        .submit(&account, "/account/upstream/remove", &[])
        .await;
    assert_eq!(page.answer.status, 400);
    assert!(
        page.text().contains("all you can sign in with"),
        "{}",
        page.text()
    );
    let page = scene
        .sign_in(&mut Browser::new(&scene.app), &json!({}))
        .await;
    assert_eq!(username(&page).unwrap(), "Alice");
}

#[tokio::test]
async fn whoever_has_to_sign_in_anew_does_so_at_the_provider() {
    let scene = Scene::with(|_| {}).await;
    let mut browser = Browser::new(&scene.app);
    scene.sign_in(&mut browser, &json!({})).await;
    scene.app.advance(301);
    let claims = json!({ "claims_parameter_supported": true });
    scene.provider.metadata(&claims);
    scene.app.advance(3600);
    let cases: [(&dyn Fn(i64) -> Value, bool); 3] = [
        (&|_| json!({}), false),
        (&|now| json!({ "auth_time": now - 120 }), false),
        (&|now| json!({ "auth_time": now }), true),
    ];
    for (over, good) in cases {
        let login = browser.open("/account/password").await;
        let away = sent(&browser.submit_only(&login, CORP, &[]).await);
        assert_eq!((&*away["prompt"], &*away["max_age"]), ("login", "0"));
        assert!(away["claims"].contains("auth_time"), "{away:?}");
        scene
            .provider
            .gives(&scene.token(&away, &over(scene.app.now())));
        let page = scene.come(&mut browser, &away).await;
        let page = browser.follow(page).await;
        assert_eq!(page.path == "/account/password", good, "{}", page.text());
        assert_eq!(page.answer.status == 200, good);
    }
}

#[tokio::test]
async fn what_is_told_to_clients_is_what_the_provider_says() {
    let scene = Scene::with(|_| {}).await;
    let mut browser = Browser::new(&scene.app);
    let then = scene.app.now() - 1000;
    let over = json!({ "auth_time": then, "amr": ["mfa", "pwd", "fed", 7, "wia"] });
    scene.sign_in(&mut browser, &over).await;
    let page = browser.open("/account/password").await;
    // It is too long ago for what needs a moment.
    assert!(page.path.starts_with("/login?errand="), "{}", page.path);
    let events = scene
        .app
        .admin("GET", "/audit?kind=user.signed_in")
        .await
        .await
        .ok();
    assert_eq!(events[0]["event"]["reason"], "mfa pwd wia");
    let changed = scene
        .app
        .admin("GET", "/audit?kind=user.changed")
        .await
        .await
        .ok();
    assert_eq!(changed[0]["event"]["reason"], "signed up from corp");
}

#[tokio::test]
async fn who_may_not_sign_in_may_not_so_either() {
    let scene = Scene::with(|_| {}).await;
    let mut browser = Browser::new(&scene.app);
    scene.sign_in(&mut browser, &json!({})).await;
    let tenant = scene.app.tenant(None);
    let user = writ::users::account::find_by_username(&scene.app.state, &tenant, "Alice");
    let user = user.await.unwrap().unwrap();
    let disabled = writ::users::User {
        disabled: true,
        ..user.clone()
    };
    scene
        .app
        .commit(writ::users::change::replaced(&tenant, &user, &disabled))
        .await
        .unwrap();
    let page = scene.sign_in(&mut browser, &json!({})).await;
    assert_eq!(page.answer.status, 403);
    // An account that is gone leaves no identity behind.
    scene
        .app
        .commit(writ::users::change::removed(&tenant, &user.id))
        .await
        .unwrap();
    let page = scene.sign_in(&mut browser, &json!({})).await;
    assert_eq!(username(&page).unwrap(), "Alice");
}

#[tokio::test]
async fn a_person_who_does_not_want_to_is_back_at_the_sign_in_page() {
    let scene = Scene::with(|_| {}).await;
    let mut browser = Browser::new(&scene.app);
    let away = scene.leave(&mut browser).await;
    let page = browser
        .get(&back(&away, &[("error", "access_denied")]))
        .await;
    assert_eq!(page.answer.status, 403);
    assert!(
        page.text().contains("Signing in with Corp did not work."),
        "{}",
        page.text()
    );
    page.form("/login");
    assert!(scene.provider.asked("/token").is_empty());
}

#[tokio::test]
async fn a_provider_that_is_away_keeps_nobody_from_another_way_in() {
    let scene = Scene::with(|_| {}).await;
    scene.app.person("bob", PASSWORD).await;
    scene
        .provider
        .says("/.well-known/openid-configuration", Said::new(503, ""));
    let mut browser = Browser::new(&scene.app);
    let login = browser.open("/login").await;
    let page = browser.submit_only(&login, CORP, &[]).await;
    assert_eq!(page.answer.status, 403);
    let fields = [("username", "bob"), ("password", PASSWORD)];
    assert_eq!(
        browser.submit(&page, "/login", &fields).await.path,
        "/account"
    );
    // It is asked again after a while and not at once.
    scene.provider.metadata(&json!({}));
    let mut other = Browser::new(&scene.app);
    let login = other.open("/login").await;
    assert_eq!(
        other.submit_only(&login, CORP, &[]).await.answer.status,
        403
    );
    assert_eq!(
        scene
            .provider
            .asked("/.well-known/openid-configuration")
            .len(),
        1
    );
    scene.app.advance(10);
    assert_eq!(
        username(&scene.sign_in(&mut other, &json!({})).await).unwrap(),
        "Alice"
    );
}

#[tokio::test]
async fn every_algorithm_signs_in_and_a_new_key_is_found() {
    let mut scene = Scene::with(|_| {}).await;
    for (seed, alg) in (2..).zip(["EdDSA", "ES256", "RS256", "PS256"]) {
        // The provider has another key than before: its keys are read again, but not at once.
        scene.key = Key::new(alg, seed);
        let keys = Said::json(&scene.key.jwks());
        scene.provider.says("/jwks", keys);
        scene.app.advance(10);
        let page = scene
            .sign_in(&mut Browser::new(&scene.app), &json!({}))
            .await;
        assert_eq!(username(&page).unwrap(), "Alice", "{alg}");
    }
    assert_eq!(scene.provider.asked("/jwks").len(), 4);
}
