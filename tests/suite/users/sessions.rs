//! Sessions: how long, in which browser, and what is kept of them.

use http::HeaderMap;
use serde_json::json;
use writ::{
    store::people::Sessions,
    users::{Errand, session},
};

use crate::support::{ACME, Browser, CALLBACK, TestApp};

const PASSWORD: &str = "correct horse battery";
const COOKIE: &str = "__Host-writ-session";

/// Whether a browser is signed in.
async fn is_in(browser: &mut Browser<'_>) -> bool {
    browser.get("/account").await.answer.status == 200
}

#[tokio::test]
async fn a_session_ends_when_nothing_happens_and_after_its_lifetime() {
    let app = TestApp::with(|config| {
        config.users.session_idle = 1000;
        config.users.session_lifetime = 2500;
    })
    .await;
    app.person("alice", PASSWORD).await;
    let mut browser = Browser::new(&app);
    browser.sign_in("alice", PASSWORD).await;
    for _ in 0..2 {
        app.advance(990);
        assert!(is_in(&mut browser).await);
    }
    // 1980 seconds have passed.
    app.advance(519);
    assert!(is_in(&mut browser).await);
    app.advance(1);
    assert!(!is_in(&mut browser).await);
    browser.sign_in("alice", PASSWORD).await;
    app.advance(1000);
    assert!(!is_in(&mut browser).await);
}

#[tokio::test]
async fn the_row_holds_no_secret_and_outlives_a_restart() {
    let app = TestApp::new().await;
    let alice = app.person("alice", PASSWORD).await;
    let mut browser = Browser::new(&app);
    browser.sign_in("alice", PASSWORD).await;
    let secret = browser.cookies[COOKIE].clone();
    let cookies = browser.cookies.clone();
    let rows = writ::store::people::sessions(&app.state.db, "default", &alice.id)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert!(!format!("{rows:?}").contains(&secret));
    assert_eq!(rows[0].address, "192.0.2.1");
    let app = app.restart().await;
    let mut browser = Browser::new(&app);
    browser.cookies = cookies;
    assert!(is_in(&mut browser).await);
}

#[tokio::test]
async fn who_signs_in_once_more_keeps_the_sid_and_nothing_else() {
    let app = TestApp::new().await;
    app.person("alice", PASSWORD).await;
    app.person("bob", PASSWORD).await;
    let mut browser = Browser::new(&app);
    browser.sign_in("alice", PASSWORD).await;
    let (first, secret) = (
        current(&app, &browser).await,
        browser.cookies[COOKIE].clone(),
    );
    app.advance(100);
    sign_in_anew(&app, &mut browser, "alice").await;
    let second = current(&app, &browser).await;
    assert_eq!(second.sid, first.sid);
    assert_eq!(second.authenticated_at, first.authenticated_at + 101);
    assert_ne!(browser.cookies[COOKIE], secret);
    let mut old = browser.copy();
    old.cookies.insert(COOKIE.into(), secret);
    assert!(!is_in(&mut old).await);

    sign_in_anew(&app, &mut browser, "bob").await;
    let third = current(&app, &browser).await;
    assert_eq!(third.user.username, "bob");
    assert_ne!(third.sid, first.sid);
    let of_alice = session::list(&app.state, &app.tenant(None), &first.user).await;
    assert_eq!(of_alice.unwrap(), []);
}

/// Signs in where somebody is signed in already.
async fn sign_in_anew(app: &TestApp, browser: &mut Browser<'_>, name: &str) {
    app.advance(1);
    let errand = Errand {
        authenticated_after: Some(app.now()),
        ..Errand::to(&app.state, "/account")
    };
    let login = errand.login(&app.state, &app.tenant(None)).unwrap();
    let page = browser.open(&login).await;
    assert!(page.path.starts_with("/login?"), "{}", page.path);
    let fields = [("username", name), ("password", PASSWORD)];
    let page = browser.submit(&page, "/login", &fields).await;
    assert_eq!(page.path, "/account");
}

#[tokio::test]
async fn who_signs_in_over_somebody_ends_nothing_of_theirs() {
    let app = TestApp::apps().await;
    let refreshing = json!({
        "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    app.client("app", refreshing).await;
    app.person("bob", PASSWORD).await;
    let ann = app.signed_in("ann").await;
    let code = ann.code(&json!({})).await;
    let given = app.redeem(&code, &json!({})).await.ok();
    let (name, secret) = ann.cookies.split_once('=').unwrap();
    let mut browser = Browser::new(&app);
    browser.cookies.insert(name.into(), secret.into());
    sign_in_anew(&app, &mut browser, "bob").await;
    assert_eq!(current(&app, &browser).await.user.username, "bob");
    // Ann is not signed in there any more, and nor has she signed out.
    let sessions = session::list(&app.state, &app.tenant(None), &ann.user).await;
    assert_eq!(sessions.unwrap(), []);
    assert!(app.is_active(given["access_token"].as_str().unwrap()).await);
    let token = given["refresh_token"].as_str().unwrap();
    app.refresh(token, &json!({})).await.ok();
}

async fn current(app: &TestApp, browser: &Browser<'_>) -> session::Session {
    let mut headers = HeaderMap::new();
    let cookie = format!("{COOKIE}={}", browser.cookies[COOKIE]);
    headers.insert("cookie", cookie.parse().unwrap());
    let found = session::current(&app.state, &app.tenant(None), &headers).await;
    found.unwrap().unwrap()
}

#[tokio::test]
async fn sessions_are_ended_one_by_one_or_all_at_once() {
    let app = TestApp::new().await;
    let alice = app.person("alice", PASSWORD).await;
    let mut browsers: Vec<Browser<'_>> = (0..4).map(|_| Browser::new(&app)).collect();
    for browser in &mut browsers {
        browser.sign_in("alice", PASSWORD).await;
    }
    let sid = current(&app, &browsers[0]).await.sid;
    let own = current(&app, &browsers[1]).await.sid;
    let mut still_in = async |which: Sessions| {
        session::end(&app.state, &app.tenant(None), &alice, which)
            .await
            .unwrap();
        let mut all = Vec::new();
        for browser in &mut browsers {
            all.push(is_in(browser).await);
        }
        all
    };
    let one = still_in(Sessions::One(sid)).await;
    assert_eq!(one, [false, true, true, true]);
    let others = Sessions::Others {
        user: alice.id.clone(),
        but: own,
    };
    assert_eq!(still_in(others).await, [false, true, false, false]);
    let all = Sessions::Of(alice.id.clone());
    assert_eq!(still_in(all).await, [false; 4]);
}

#[tokio::test]
async fn a_session_is_one_tenants_and_so_are_its_people() {
    let app = TestApp::with_tenants().await;
    app.person_in(Some(ACME), "alice", PASSWORD).await;
    let mut browser = Browser::new(&app);
    assert_eq!(browser.sign_in("alice", PASSWORD).await.answer.status, 403);
    let page = browser.open("/t/acme/account").await;
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let page = browser.submit(&page, "/t/acme/login", &fields).await;
    assert_eq!(
        (page.path.as_str(), page.answer.status),
        ("/t/acme/account", 200)
    );
    assert!(browser.cookies.contains_key("__Host-writ-session-acme"));
    // Its cookie under another tenant's name opens nothing there.
    let secret = browser.cookies["__Host-writ-session-acme"].clone();
    browser
        .cookies
        .insert("__Host-writ-session-globex".into(), secret.clone());
    browser.cookies.insert(COOKIE.into(), secret);
    assert!(!is_in(&mut browser).await);
    assert_eq!(browser.get("/t/globex/account").await.answer.status, 303);

    // What ends with a tenant does not come back with its name.
    app.admin("DELETE", "/tenants/acme").await.await;
    app.apply(serde_json::json!({ "tenants": [{ "name": "acme" }] }))
        .await;
    assert_eq!(browser.get("/t/acme/account").await.answer.status, 303);
}

#[tokio::test]
async fn what_has_ended_is_forgotten() {
    let app = TestApp::new().await;
    let alice = app.person("alice", PASSWORD).await;
    let (mut idle, mut used) = (Browser::new(&app), Browser::new(&app));
    idle.sign_in("alice", PASSWORD).await;
    used.sign_in("alice", PASSWORD).await;
    app.advance(1000);
    assert!(is_in(&mut used).await);
    let forget = async |idle: i64| {
        let change = writ::store::people::Change::ForgetSessions {
            before: app.now(),
            idle_since: app.now() - idle,
        };
        app.commit(vec![writ::store::Change::People(change)])
            .await
            .unwrap();
        let rows = writ::store::people::sessions(&app.state.db, "default", &alice.id).await;
        rows.unwrap().len()
    };
    assert_eq!(forget(2000).await, 2);
    assert_eq!(forget(500).await, 1);
    assert!(is_in(&mut used).await);
    app.advance(14 * 86_400);
    assert_eq!(forget(i64::MAX / 2).await, 0);
}
