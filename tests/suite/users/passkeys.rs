//! Passkeys, through the pages.

use serde_json::json;
use writ::users::{Errand, User, errand::Sender};

use crate::support::{Authenticator, Browser, Page, TestApp};

const PASSWORD: &str = "correct horse battery";
const ADD: &str = "/account/passkeys";
const SIGN_IN: &str = "/login/passkey";

/// Has the person who is signed in add a passkey.
async fn add(browser: &mut Browser<'_>, authenticator: &mut Authenticator, name: &str) -> Page {
    let page = browser.open(ADD).await;
    assert_eq!(page.path, ADD);
    let options = page.form(ADD).passkey.unwrap();
    let credential = authenticator.create(&options);
    let fields = [("credential", credential.as_str()), ("name", name)];
    browser.submit(&page, ADD, &fields).await
}

/// Signs in with a passkey at the page that asks.
async fn sign_in(browser: &mut Browser<'_>, authenticator: &Authenticator) -> Page {
    let page = browser.open("/login").await;
    let options = page.form(SIGN_IN).passkey.unwrap();
    let credential = authenticator.get(&options);
    browser
        .submit(&page, SIGN_IN, &[("credential", &credential)])
        .await
}

/// Alice, signed in with her password, and a passkey.
async fn scene(app: &TestApp) -> (User, Browser<'_>, Authenticator) {
    let alice = app.person("alice", PASSWORD).await;
    let mut browser = Browser::new(app);
    browser.sign_in("alice", PASSWORD).await;
    let mut authenticator = Authenticator::es256();
    let page = add(&mut browser, &mut authenticator, "Telephone").await;
    assert_eq!((page.path.as_str(), page.answer.status), ("/account", 200));
    assert!(page.text().contains("Telephone"));
    (alice, browser, authenticator)
}

#[tokio::test]
async fn a_person_signs_in_with_a_passkey_alone() {
    let app = TestApp::new().await;
    let (alice, _, mut authenticator) = scene(&app).await;
    authenticator.counter = 1;
    let mut browser = Browser::new(&app);
    let page = sign_in(&mut browser, &authenticator).await;
    assert_eq!((page.path.as_str(), page.answer.status), ("/account", 200));
    assert_eq!(page.element("account-username").unwrap(), "alice");
    let events = app
        .admin("GET", "/audit?kind=user.signed_in")
        .await
        .await
        .ok();
    let events = events.as_array().unwrap();
    let by_passkey: Vec<_> = events
        .iter()
        .filter(|event| event["event"]["reason"] == "hwk user mfa")
        .collect();
    assert_eq!(by_passkey.len(), 1);
    assert_eq!(by_passkey[0]["event"]["sub"], alice.id);
    // A copy that has not counted along.
    let page = sign_in(&mut Browser::new(&app), &authenticator).await;
    assert_eq!(page.answer.status, 403);
    assert_eq!(page.element("error").unwrap(), "access_denied");
}

#[tokio::test]
async fn a_name_that_is_typed_has_to_be_the_passkeys() {
    let app = TestApp::new().await;
    let (_, _, authenticator) = scene(&app).await;
    app.person("bob", PASSWORD).await;
    for (name, status) in [("bob", 403), ("nobody", 403), ("ALICE", 303)] {
        let mut browser = Browser::new(&app);
        let page = browser.open("/login").await;
        let options = page.form(SIGN_IN).passkey.unwrap();
        let credential = authenticator.get(&options);
        let fields = [("credential", credential.as_str()), ("username", name)];
        let answer = browser.submit_only(&page, SIGN_IN, &fields).await;
        assert_eq!(answer.answer.status, status, "{name}");
    }
}

#[tokio::test]
async fn a_challenge_is_answered_once_in_time_and_where_it_was_asked() {
    let app = TestApp::new().await;
    let (_, mut own, authenticator) = scene(&app).await;
    let mut browser = Browser::new(&app);
    let page = browser.open("/login").await;
    let credential = authenticator.get(&page.form(SIGN_IN).passkey.unwrap());
    let fields = [("credential", credential.as_str())];
    let mut again = browser.copy();
    let first = browser.submit_only(&page, SIGN_IN, &fields).await;
    assert_eq!(first.answer.status, 303);
    let second = again.submit_only(&page, SIGN_IN, &fields).await;
    assert_eq!(second.answer.status, 409);
    assert!(!again.cookies.contains_key("__Host-writ-session"));

    // In another browser, with a form of that one.
    let mut asked = Browser::new(&app);
    let page = asked.open("/login").await;
    let form = page.form(SIGN_IN);
    let challenge = form.hidden.iter().find(|(name, _)| name == "challenge");
    let challenge = challenge.unwrap().1.clone();
    let credential = authenticator.get(&form.passkey.unwrap());
    let fields = [
        ("credential", credential.as_str()),
        ("challenge", &challenge),
    ];
    let mut other = Browser::new(&app);
    let page_there = other.open("/login").await;
    let answer = other.submit_only(&page_there, SIGN_IN, &fields).await;
    assert_eq!(answer.answer.status, 400);
    // For making one, and not for signing in.
    let page_there = own.open(ADD).await;
    let answer = own.submit_only(&page_there, ADD, &fields).await;
    assert_eq!(answer.answer.status, 400);
    app.advance(601);
    let late = asked.submit_only(&page, SIGN_IN, &fields).await;
    assert_eq!(late.answer.status, 400);
}

#[tokio::test]
async fn a_passkey_belongs_to_one_person_and_tenant() {
    let app = TestApp::new().await;
    let (_, _, mut authenticator) = scene(&app).await;
    app.person("bob", PASSWORD).await;
    let mut bob = Browser::new(&app);
    bob.sign_in("bob", PASSWORD).await;
    let page = add(&mut bob, &mut authenticator, "").await;
    assert_eq!(page.answer.status, 409);
    // It answers as Bob's now, and is Alice's here.
    let page = sign_in(&mut Browser::new(&app), &authenticator).await;
    assert_eq!(page.answer.status, 403);
}

#[tokio::test]
async fn a_passkey_is_removed_but_not_the_last_way_in() {
    let app = TestApp::new().await;
    let (alice, mut browser, authenticator) = scene(&app).await;
    let tenant = app.tenant(None);
    let remove = writ::users::credential::remove_all(&tenant, &alice.id, "password");
    app.commit(vec![remove]).await.unwrap();
    let page = browser.open("/account").await;
    let refused = browser.submit(&page, "/account/passkeys/remove", &[]).await;
    assert_eq!(refused.answer.status, 400);
    let mut second = Authenticator::ed_dsa();
    second.id = b"another".to_vec();
    let page = add(&mut browser, &mut second, "").await;
    let page = browser.submit(&page, "/account/passkeys/remove", &[]).await;
    assert_eq!((page.path.as_str(), page.answer.status), ("/account", 200));
    assert!(!page.text().contains("Telephone"));
    let page = sign_in(&mut Browser::new(&app), &authenticator).await;
    assert_eq!(page.answer.status, 403);
    let page = sign_in(&mut Browser::new(&app), &second).await;
    assert_eq!(page.path, "/account");
}

#[tokio::test]
async fn signing_in_leads_back_and_the_page_lets_it() {
    let app = TestApp::new().await;
    let (_, _, authenticator) = scene(&app).await;
    let errand = Errand {
        client: Some(Sender {
            client_name: "Calendar".into(),
            unknown: false,
            document_host: None,
            redirect_host: "app.example".into(),
            local: false,
            policy_uri: None,
            tos_uri: None,
        }),
        ..Errand::to(&app.state, "/account/profile")
    };
    let login = errand.login(&app.state, &app.tenant(None)).unwrap();
    let mut browser = Browser::new(&app);
    let page = browser.open(&login).await;
    let policy = page.answer.header("content-security-policy").unwrap();
    assert!(!policy.contains("form-action"), "{policy}");
    assert!(policy.contains("script-src 'self';"), "{policy}");
    let credential = authenticator.get(&page.form(SIGN_IN).passkey.unwrap());
    let fields = [("credential", credential.as_str())];
    let page = browser.submit(&page, SIGN_IN, &fields).await;
    assert_eq!(
        (page.path.as_str(), page.answer.status),
        ("/account/profile", 200)
    );
}

#[tokio::test]
async fn the_options_say_what_the_browser_must_know() {
    let app = TestApp::new().await;
    let (alice, mut browser, _) = scene(&app).await;
    let options = browser.open(ADD).await.form(ADD).passkey.unwrap();
    assert_eq!(options["rp"], json!({ "id": "as.example", "name": "Writ" }));
    assert_eq!(options["user"]["id"], crate::support::b64(&alice.id));
    assert_eq!(
        options["authenticatorSelection"]["userVerification"],
        "required"
    );
    assert_eq!(options["excludeCredentials"].as_array().unwrap().len(), 1);
    let options = Browser::new(&app).open("/login").await;
    let options = options.form(SIGN_IN).passkey.unwrap();
    assert_eq!(options["rpId"], "as.example");
    assert_eq!(options.get("allowCredentials"), None);
    let script = browser.get("/pages/passkey.js").await;
    let media_type = script.answer.header("content-type");
    assert_eq!(media_type, Some("text/javascript; charset=utf-8"));
}
