//! The pages of an account.

use serde_json::json;

use crate::support::{Browser, Page, TestApp};

use super::factor::code;

const PASSWORD: &str = "correct horse battery";

async fn scene(app: &TestApp) -> Browser<'_> {
    app.person("alice", PASSWORD).await;
    let mut browser = Browser::new(app);
    browser.sign_in("alice", PASSWORD).await;
    browser
}

#[tokio::test]
async fn a_profile_is_changed() {
    let app = TestApp::new().await;
    let mut browser = scene(&app).await;
    let page = browser.open("/account/profile").await;
    let form = [("name", "Alice <A.>"), ("email", "alice@example.com")];
    let page = browser.submit(&page, "/account/profile", &form).await;
    assert_eq!(page.path, "/account");
    assert_eq!(page.element("account-name").unwrap(), "Alice <A.>");
    assert!(page.text().contains("alice@example.com (not verified)"));
    let page = browser.open("/account/profile").await;
    for (name, email) in [("A", "no address"), ("x\u{1}", ""), (&"x".repeat(257), "")] {
        let form = [("name", name), ("email", email)];
        let refused = browser.submit(&page, "/account/profile", &form).await;
        assert_eq!(refused.answer.status, 400);
        assert_eq!(refused.element("error").unwrap(), "invalid_request");
    }
}

#[tokio::test]
async fn another_password_ends_all_other_sessions() {
    let app = TestApp::new().await;
    let mut browser = scene(&app).await;
    let mut elsewhere = Browser::new(&app);
    elsewhere.sign_in("alice", PASSWORD).await;
    let page = browser.open("/account/password").await;
    for (new, status) in [("short", 400), ("ALICE", 400), ("a much better one", 303)] {
        let form = [("password", new)];
        let answer = browser.submit_only(&page, "/account/password", &form).await;
        assert_eq!(answer.answer.status, status, "{new}");
    }
    assert_eq!(browser.get("/account").await.answer.status, 200);
    assert_eq!(elsewhere.get("/account").await.answer.status, 303);
    let page = Browser::new(&app).sign_in("alice", PASSWORD).await;
    assert_eq!(page.answer.status, 403);
    let page = Browser::new(&app)
        .sign_in("alice", "a much better one")
        .await;
    assert_eq!(page.path, "/account");
}

#[tokio::test]
async fn another_password_ends_what_apps_may_do_unless_they_shall_go_on() {
    for (ticked, goes_on) in [(&[("end_apps", "yes")][..], false), (&[], true)] {
        let app = TestApp::apps().await;
        let ann = app.signed_in("ann").await;
        let code = ann.code(&json!({})).await;
        let given = app.redeem(&code, &json!({})).await.ok();
        let (name, secret) = ann.cookies.split_once('=').unwrap();
        let mut browser = Browser::new(&app);
        browser.cookies.insert(name.into(), secret.into());
        let page = browser.open("/account/password").await;
        assert!(
            page.text()
                .contains("name=\"end_apps\" value=\"yes\" checked")
        );
        let form = [&[("password", "a much better one")], ticked].concat();
        let page = browser.submit(&page, "/account/password", &form).await;
        assert_eq!(page.path, "/account");
        // RFC 9700 §4.14.2.
        let token = given["access_token"].as_str().unwrap();
        assert_eq!(app.is_active(token).await, goes_on);
    }
}

#[tokio::test]
async fn an_authenticator_app_is_added_used_and_removed() {
    let app = TestApp::new().await;
    let mut browser = scene(&app).await;
    let page = browser.open("/account/authenticator").await;
    let secret = page.element("authenticator-secret").unwrap();
    let key = data_encoding::BASE32_NOPAD
        .decode(secret.as_bytes())
        .unwrap();
    assert!(page.text().contains("otpauth:"), "{}", page.text());
    assert!(page.text().contains("<svg class=\"qr\""));
    let add = "/account/authenticator";
    let wrong = browser.submit(&page, add, &[("code", "000000")]).await;
    assert_eq!(wrong.answer.status, 400);
    assert_eq!(wrong.element("authenticator-secret").unwrap(), secret);
    let typed = code(&app, &key, 0);
    let codes = browser.submit(&wrong, add, &[("code", &typed)]).await;
    assert_eq!(codes.answer.status, 200);
    let first = recovery_codes(&codes);
    assert_eq!(first.len(), 10);
    let page = browser.open("/account").await;
    assert_eq!(page.element("recovery-left").unwrap(), "10");

    app.advance(30);
    let mut other = Browser::new(&app);
    let half = other.sign_in("alice", PASSWORD).await;
    assert!(half.path.starts_with("/login/factor?"), "{}", half.path);
    let typed = code(&app, &key, 0);
    let page = other
        .submit(&half, "/login/factor", &[("code", &typed)])
        .await;
    assert_eq!(page.path, "/account");
    let codes = other.submit(&page, "/account/recovery", &[]).await;
    let second = recovery_codes(&codes);
    for (typed, status) in [(&first[0], 403), (&second[0], 303)] {
        let mut browser = Browser::new(&app);
        let half = browser.sign_in("alice", PASSWORD).await;
        let fields = [("code", typed.as_str())];
        let answer = browser.submit_only(&half, "/login/factor", &fields).await;
        assert_eq!(answer.answer.status, status);
    }
    let page = browser.open("/account").await;
    let page = browser
        .submit(&page, "/account/authenticator/remove", &[])
        .await;
    assert_eq!(page.path, "/account");
    let page = Browser::new(&app).sign_in("alice", PASSWORD).await;
    assert_eq!(page.path, "/account");
}

fn recovery_codes(page: &Page) -> Vec<String> {
    let text = page.text();
    let list = text.split("<ul id=\"recovery-codes\">").nth(1).unwrap();
    let codes = list.split("<code>").skip(1);
    codes
        .map(|code| code.split('<').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_takes_over_an_account_is_asked_for_a_moment_after_signing_in() {
    let app = TestApp::new().await;
    let mut browser = scene(&app).await;
    let forms = [
        "/account/profile",
        "/account/password",
        "/account/authenticator",
        "/account/passkeys",
    ];
    let mut pages = Vec::new();
    for path in forms {
        pages.push(browser.open(path).await);
    }
    app.advance(301);
    for (path, page) in forms.iter().zip(&pages) {
        assert!(
            browser.open(path).await.path.starts_with("/login?"),
            "{path}"
        );
        let answer = browser
            .submit_only(page, path, &[("password", "a much better one")])
            .await;
        let location = answer.location().unwrap();
        assert!(location.starts_with("/login?errand="), "{path}");
    }
    for path in [
        "/account/recovery",
        "/account/authenticator/remove",
        "/account/passkeys/remove",
    ] {
        let answer = browser.post(path, &[]).await;
        assert!(
            answer.location().unwrap().starts_with("/login?errand="),
            "{path}"
        );
    }
    assert_eq!(app.count("user.changed").await, 0);
    // The account itself is still shown, and after signing in once more everything goes on.
    assert_eq!(browser.get("/account").await.answer.status, 200);
    let page = browser.open("/account/password").await;
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let page = browser.submit(&page, "/login", &fields).await;
    assert_eq!(
        (page.path.as_str(), page.answer.status),
        ("/account/password", 200)
    );
}

#[tokio::test]
async fn a_session_is_shown_by_the_name_of_its_browser() {
    let app = TestApp::new().await;
    let browser = scene(&app).await;
    let cookies: Vec<String> = browser
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let sent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 <b>";
    let mut other = Browser::new(&app);
    let login = other.open("/login").await;
    let csrf = login.form("/login").hidden;
    let mut fields: Vec<(&str, &str)> = csrf.iter().map(|(n, v)| (&**n, &**v)).collect();
    fields.extend([("username", "alice"), ("password", PASSWORD)]);
    let own: Vec<String> = other
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let signed_in = app.post("/login").header("cookie", &own.join("; "));
    let signed_in = signed_in.header("user-agent", sent).form(&fields).await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.text());
    let page = app.get("/account").header("cookie", &cookies.join("; "));
    let text = page.await.text();
    assert!(text.contains(">Firefox on Linux</span>"), "{text}");
    assert!(text.contains("rv:140.0) Gecko"), "{text}");
    assert!(!text.contains("<b>"), "{text}");
}

#[tokio::test]
async fn other_sessions_are_listed_and_ended() {
    let app = TestApp::new().await;
    let mut browser = scene(&app).await;
    app.person("bob", PASSWORD).await;
    let mut others = [
        Browser::at(&app, "198.51.100.7"),
        Browser::at(&app, "198.51.100.8"),
    ];
    for other in &mut others {
        other.sign_in("alice", PASSWORD).await;
    }
    let mut bob = Browser::new(&app);
    let page_of_bob = bob.sign_in("bob", PASSWORD).await;
    let page = browser.open("/account").await;
    for address in ["192.0.2.1", "198.51.100.7", "198.51.100.8"] {
        assert!(page.text().contains(address), "{address}");
    }
    let end = "/account/sessions/end";
    // A session of somebody else is nobody's.
    let ends = page.forms().into_iter().filter(|form| form.action == end);
    let sids: Vec<String> = ends
        .filter_map(|form| form.hidden.into_iter().find(|(name, _)| name == "sid"))
        .map(|(_, sid)| sid)
        .collect();
    assert_eq!(sids.len(), 2);
    let csrf = page_of_bob.form("/account/signout").hidden[0].1.clone();
    bob.post(end, &[("csrf", &csrf), ("sid", &sids[0])]).await;
    let csrf = page.form("/account/signout").hidden[0].1.clone();
    browser
        .post(end, &[("csrf", &csrf), ("sid", &sids[0])])
        .await;
    let mut left = 0;
    for other in &mut others {
        left += usize::from(other.get("/account").await.answer.status == 200);
    }
    assert_eq!(left, 1);
    browser.post(end, &[("csrf", &csrf)]).await;
    for other in &mut others {
        assert_eq!(other.get("/account").await.answer.status, 303);
    }
    assert_eq!(browser.get("/account").await.answer.status, 200);
    assert_eq!(bob.get("/account").await.answer.status, 200);
}

#[tokio::test]
async fn who_has_to_sign_in_first_comes_back_to_the_page_of_the_form() {
    let app = TestApp::new().await;
    app.person("alice", PASSWORD).await;
    for (form, page) in [
        ("/account/profile", "/account/profile"),
        ("/account/password", "/account/password"),
        ("/account/authenticator", "/account/authenticator"),
        ("/account/passkeys", "/account/passkeys"),
        ("/account/apps/revoke", "/account/apps"),
        ("/account/passkeys/remove", "/account"),
        ("/account/signout", "/account"),
    ] {
        let mut browser = Browser::new(&app);
        let sent = browser
            .post(form, &[("password", "a much better one")])
            .await;
        let login = browser.follow(sent).await;
        assert!(login.path.starts_with("/login?errand="), "{}", login.path);
        let fields = [("username", "alice"), ("password", PASSWORD)];
        let there = browser.submit(&login, "/login", &fields).await;
        assert_eq!((there.path.as_str(), there.answer.status), (page, 200));
    }
}

#[tokio::test]
async fn a_form_that_is_none_is_refused_before_anything_else() {
    let app = TestApp::new().await;
    let mut browser = scene(&app).await;
    let page = browser.open("/account/password").await;
    let csrf = &page.form("/account/password").hidden[0].1;
    let twice = [
        ("csrf", csrf.as_str()),
        ("csrf", csrf),
        ("password", "a much better one"),
    ];
    let twice = browser.post("/account/password", &twice).await;
    assert_eq!(twice.answer.status, 400);
    assert_eq!(twice.element("error").unwrap(), "invalid_request");
    let other = app
        .post("/account/password")
        .raw("application/json", "{}")
        .await;
    assert_eq!(other.status, 400);
    let page = Browser::new(&app).sign_in("alice", PASSWORD).await;
    assert_eq!(page.path, "/account");
}
