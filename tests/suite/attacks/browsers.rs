//! D and T. What is tried with browsers: forged forms, frames, fixed sessions, guessed passwords.

use crate::support::{Browser, TestApp};

const PASSWORD: &str = "correct horse battery";
const SESSION: &str = "__Host-writ-session";

// AC-068
#[tokio::test]
async fn a_form_that_was_not_made_for_this_browser_signs_nobody_in() {
    let app = TestApp::new().await;
    app.person("mallory", PASSWORD).await;
    let fields = [("username", "mallory"), ("password", PASSWORD)];
    let mut mallory = Browser::new(&app);
    let page = mallory.open("/login").await;
    let token = page.form("/login").hidden[0].1.clone();
    let mut victim = Browser::new(&app);
    victim.open("/login").await;
    for forged in [None, Some(""), Some("x"), Some(token.as_str())] {
        let mut form = fields.to_vec();
        form.extend(forged.map(|token| ("csrf", token)));
        for browser in [&mut victim, &mut Browser::new(&app)] {
            let answer = browser.post("/login", &form).await;
            assert_eq!(answer.answer.status, 403, "{forged:?}");
            assert_eq!(answer.element("error").unwrap(), "access_denied");
            assert!(!browser.cookies.contains_key(SESSION));
        }
    }
    // Nor does one of ours that another site has sent.
    for (site, status) in [
        ("cross-site", 403),
        ("same-site", 403),
        ("same-origin", 303),
    ] {
        let cookie = mallory.cookies.iter().map(|(n, v)| format!("{n}={v}"));
        let cookie = cookie.collect::<Vec<_>>().join("; ");
        let mut form = fields.to_vec();
        form.push(("csrf", &token));
        let call = app.post("/login").form(&form).header("cookie", &cookie);
        let answer = call.header("sec-fetch-site", site).await;
        assert_eq!(answer.status, status, "{site}");
    }
}

// AC-311
#[tokio::test]
async fn the_form_of_one_person_does_nothing_in_the_session_of_another() {
    let app = TestApp::new().await;
    for name in ["alice", "bob"] {
        app.person(name, PASSWORD).await;
    }
    let mut alice = Browser::new(&app);
    let page = alice.sign_in("alice", PASSWORD).await;
    let mut bob = Browser::new(&app);
    bob.sign_in("bob", PASSWORD).await;
    let answer = bob.submit(&page, "/account/signout", &[]).await;
    assert_eq!(answer.answer.status, 403);
    assert_eq!(bob.get("/account").await.answer.status, 200);
    let answer = bob.post("/account/signout", &[]).await;
    assert_eq!(answer.answer.status, 403);
    assert_eq!(bob.get("/account").await.answer.status, 200);
}

// AC-072, AC-073: the harness looks at the headers and the text of every page.
#[tokio::test]
async fn pages_are_in_no_frame_and_no_cache_and_show_what_is_sent_as_text() {
    let app = TestApp::new().await;
    let mut browser = Browser::new(&app);
    for path in ["/login", "/login/factor", "/signup", "/login?errand=x"] {
        let page = browser.get(path).await;
        let media_type = page.answer.header("content-type");
        assert_eq!(media_type, Some("text/html; charset=utf-8"), "{path}");
        assert!(page.text().contains("<html lang=\"en\">"), "{path}");
    }
    let page = browser.open("/login").await;
    let typed = "\"><script>alert(1)</script>";
    let fields = [("username", typed), ("password", "x")];
    let page = browser.submit(&page, "/login", &fields).await;
    assert_eq!(page.answer.status, 403);
    assert!(!page.text().contains("<script>"), "{}", page.text());
    // The style sheet is ours, and where the page says.
    let text = page.text();
    let style = text
        .split("<link rel=\"stylesheet\" href=\"")
        .nth(1)
        .unwrap();
    let style = style.split('"').next().unwrap().replace("&#x2f;", "/");
    let style = browser.get(&style).await;
    assert_eq!(
        style.answer.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert!(style.text().contains("prefers-color-scheme: dark"));
}

// AC-074: the harness looks at the attributes of every cookie.
#[tokio::test]
async fn a_session_that_was_there_before_is_not_the_one_after() {
    let app = TestApp::new().await;
    app.person("alice", PASSWORD).await;
    let mut browser = Browser::new(&app);
    browser
        .cookies
        .insert(SESSION.into(), "writ_ss_chosen-by-mallory".into());
    browser
        .cookies
        .insert("__Host-writ-browser".into(), "a".repeat(22));
    browser.sign_in("alice", PASSWORD).await;
    let secret = browser.cookies[SESSION].clone();
    assert_ne!(secret, "writ_ss_chosen-by-mallory");
    assert_eq!(secret.len(), "writ_ss_".len() + 43);
    let mut mallory = Browser::new(&app);
    mallory
        .cookies
        .insert(SESSION.into(), "writ_ss_chosen-by-mallory".into());
    assert_eq!(mallory.get("/account").await.answer.status, 303);
}

// AC-307
#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_one_answer() {
    let app = TestApp::new().await;
    app.person("alice", PASSWORD).await;
    let answer = async |name: &str| {
        let page = Browser::new(&app).sign_in(name, "wrong password").await;
        let mut headers = page.answer.headers_but_id();
        for differs in ["set-cookie", "content-length"] {
            headers.remove(differs);
        }
        let text = page.text().replace(name, "NAME");
        // What is random in every page.
        let random = ["name=\"csrf\"", "name=\"challenge\"", "data-passkey"];
        let same = |line: &&str| random.iter().all(|part| !line.contains(part));
        let text: String = text.lines().filter(same).collect();
        (page.answer.status, headers, text)
    };
    let known = answer("alice").await;
    assert_eq!(known.0, 403);
    for name in ["alicf", "ALICF", "x\0y", "a@b.example"] {
        assert_eq!(answer(name).await, known, "{name}");
    }
}

// AC-307
#[tokio::test]
async fn both_are_slowed_down_alike_and_who_was_here_before_gets_in() {
    let app = TestApp::new().await;
    app.person("alice", PASSWORD).await;
    let mut own = Browser::at(&app, "203.0.113.7");
    own.sign_in("alice", PASSWORD).await;
    let page = own.open("/account").await;
    own.submit(&page, "/account/signout", &[]).await;

    for name in ["alice", "nobody"] {
        let mut mallory = Browser::at(&app, "203.0.113.7");
        let page = mallory.open("/login").await;
        let fields = [("username", name), ("password", "a wrong guess")];
        for attempt in 0..12 {
            let answer = mallory.submit(&page, "/login", &fields).await.answer;
            let expected = if attempt < 10 { 403 } else { 429 };
            assert_eq!(answer.status, expected, "{name} {attempt}");
            let wait = answer.header("retry-after");
            assert_eq!(wait, (attempt >= 10).then_some("30"), "{name} {attempt}");
        }
        // Not even the right one is looked at, from there.
        let fields = [("username", name), ("password", PASSWORD)];
        assert_eq!(
            mallory.submit(&page, "/login", &fields).await.answer.status,
            429
        );
    }
    // Alice, in her browser, behind the same address.
    assert_eq!(own.sign_in("alice", PASSWORD).await.path, "/account");
    // And anybody from another address.
    let mut elsewhere = Browser::at(&app, "192.0.2.77");
    assert_eq!(elsewhere.sign_in("alice", PASSWORD).await.path, "/account");
    app.advance(30);
    let mut mallory = Browser::at(&app, "203.0.113.7");
    assert_eq!(mallory.sign_in("alice", PASSWORD).await.path, "/account");
}

// AC-331
#[tokio::test]
async fn the_trail_knows_no_password_and_no_cookie() {
    let app = TestApp::new().await;
    app.person("alice", PASSWORD).await;
    let mut browser = Browser::new(&app);
    // Somebody types the password where the name goes.
    browser.sign_in(PASSWORD, "alice").await;
    browser.sign_in("alice", PASSWORD).await;
    let trail = app.admin("GET", "/audit?limit=1000").await.await.text();
    assert!(trail.contains("sign_in.refused") && trail.contains("192.0.2.1"));
    for secret in [PASSWORD, browser.cookies[SESSION].as_str()] {
        assert!(!trail.contains(secret));
    }
}
