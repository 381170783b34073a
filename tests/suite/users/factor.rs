//! The second factor: authenticator apps and recovery codes.

use aws_lc_rs::hmac;
use writ::users::{credential, totp};

use crate::support::{Browser, Page, TestApp};

const PASSWORD: &str = "correct horse battery";
const KEY: [u8; totp::KEY] = *b"12345678901234567890";

/// What an authenticator app shows (RFC 6238 §4), `steps` from now.
pub(crate) fn code(app: &TestApp, key: &[u8], steps: i64) -> String {
    let step = app.now() / 30 + steps;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let four: [u8; 4] = tag.as_ref()[at..at + 4].try_into().unwrap();
    let number = u32::from_be_bytes(four) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Alice with an authenticator app, and her recovery codes.
async fn scene() -> (TestApp, Vec<String>) {
    let app = TestApp::new().await;
    let alice = app.person("alice", PASSWORD).await;
    let tenant = app.tenant(None);
    let authenticator = credential::authenticator(&app.state, &tenant, &alice.id, &KEY, 0).unwrap();
    let (codes, mut changes) = credential::recovery_codes(&app.state, &tenant, &alice.id);
    changes.push(authenticator);
    app.commit(changes).await.unwrap();
    (app, codes)
}

/// At the page that asks for a code.
async fn half_way(browser: &mut Browser<'_>) -> Page {
    let page = browser.sign_in("alice", PASSWORD).await;
    assert!(page.path.starts_with("/login/factor?"), "{}", page.path);
    page
}

async fn send(browser: &mut Browser<'_>, page: &Page, code: &str) -> Page {
    browser
        .submit(page, "/login/factor", &[("code", code)])
        .await
}

#[tokio::test]
async fn a_code_follows_the_password_and_holds_once() {
    let (app, _) = scene().await;
    let mut browser = Browser::new(&app);
    let page = half_way(&mut browser).await;
    // The password alone opens nothing.
    assert!(
        browser
            .copy()
            .open("/account")
            .await
            .path
            .starts_with("/login")
    );
    let wrong = send(&mut browser, &page, &code(&app, &KEY, 3)).await;
    assert_eq!(wrong.answer.status, 403);
    assert_eq!(wrong.element("error").unwrap(), "access_denied");
    let used = code(&app, &KEY, 0);
    let done = send(&mut browser, &wrong, &used).await;
    assert_eq!((done.path.as_str(), done.answer.status), ("/account", 200));
    let events = app
        .admin("GET", "/audit?kind=user.signed_in")
        .await
        .await
        .ok();
    assert_eq!(events[0]["event"]["reason"], "pwd otp mfa");

    let mut thief = Browser::new(&app);
    let page = half_way(&mut thief).await;
    assert_eq!(send(&mut thief, &page, &used).await.answer.status, 403);
    // Nor does an earlier one.
    let earlier = code(&app, &KEY, -1);
    assert_eq!(send(&mut thief, &page, &earlier).await.answer.status, 403);
    let next = code(&app, &KEY, 1);
    assert_eq!(send(&mut thief, &page, &next).await.path, "/account");
}

#[tokio::test]
async fn a_recovery_code_holds_once() {
    let (app, codes) = scene().await;
    let mut browser = Browser::new(&app);
    let page = half_way(&mut browser).await;
    let typed = codes[3].to_uppercase();
    assert_eq!(send(&mut browser, &page, &typed).await.path, "/account");
    let mut again = Browser::new(&app);
    let page = half_way(&mut again).await;
    assert_eq!(send(&mut again, &page, &codes[3]).await.answer.status, 403);
    assert_eq!(send(&mut again, &page, &codes[4]).await.path, "/account");
    // It is known that they were used, and that they are no codes of an app.
    let events = app.admin("GET", "/audit?kind=user.changed").await;
    let events = events.await.ok();
    let all = events.as_array().unwrap().iter();
    let used = all.filter(|event| event["event"]["reason"] == "recovery code used");
    assert_eq!(used.count(), 2);
    let events = app.admin("GET", "/audit?kind=user.signed_in").await;
    let events = events.await.ok();
    assert_eq!(events[0]["event"]["reason"], "pwd mfa");
}

#[tokio::test]
async fn a_password_that_is_changed_meanwhile_leads_no_further() {
    let (app, _) = scene().await;
    let mut thief = Browser::new(&app);
    let page = half_way(&mut thief).await;
    let set = app.admin("POST", "/users/alice/password").await;
    let set = set.json(&serde_json::json!({ "password": "a much better one" }));
    assert_eq!(set.await.status, 204);
    let late = send(&mut thief, &page, &code(&app, &KEY, 0)).await;
    assert_eq!(late.answer.status, 400);
    assert_eq!(late.element("error").unwrap(), "invalid_request");
    let mut browser = Browser::new(&app);
    let page = browser.sign_in("alice", "a much better one").await;
    let done = send(&mut browser, &page, &code(&app, &KEY, 0)).await;
    assert_eq!(done.path, "/account");
}

#[tokio::test]
async fn a_sign_in_is_finished_where_it_was_begun_and_soon() {
    let (app, _) = scene().await;
    let mut browser = Browser::new(&app);
    let page = half_way(&mut browser).await;
    let elsewhere = Browser::new(&app).get(&page.path).await;
    assert_eq!(elsewhere.answer.status, 400);
    assert_eq!(elsewhere.element("error").unwrap(), "invalid_request");
    app.advance(601);
    let late = send(&mut browser, &page, &code(&app, &KEY, 0)).await;
    assert_eq!(late.answer.status, 400);
}

// AC-307
#[tokio::test]
async fn who_guesses_codes_is_slowed_down() {
    let (app, _) = scene().await;
    let mut thief = Browser::at(&app, "203.0.113.7");
    let page = half_way(&mut thief).await;
    let mut statuses = Vec::new();
    for guess in 0..12 {
        let guess = format!("{guess:06}");
        statuses.push(send(&mut thief, &page, &guess).await.answer.status);
    }
    assert_eq!(statuses[..10], [403; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    // Not even the right one is looked at.
    let right = code(&app, &KEY, 0);
    assert_eq!(send(&mut thief, &page, &right).await.answer.status, 429);
    // Alice comes from elsewhere.
    let mut alice = Browser::at(&app, "192.0.2.9");
    let page = half_way(&mut alice).await;
    assert_eq!(send(&mut alice, &page, &right).await.path, "/account");
}

#[tokio::test]
async fn a_refusal_says_when_it_is_worth_trying_again() {
    let (app, _) = scene().await;
    // An address for the account is refused first, then everybody for it.
    let addresses = [
        ("192.0.2.1", "30"),
        ("192.0.2.2", "30"),
        ("192.0.2.3", "300"),
    ];
    for (address, seconds) in addresses {
        let mut thief = Browser::at(&app, address);
        let page = half_way(&mut thief).await;
        let last = loop {
            let answer = send(&mut thief, &page, "000000").await.answer;
            if answer.status == 429 {
                break answer;
            }
        };
        assert_eq!(last.header("retry-after"), Some(seconds), "{address}");
        assert_eq!(last.headers.get_all("retry-after").iter().count(), 1);
    }
}

#[tokio::test]
async fn the_key_of_an_app_is_sealed_where_it_is_kept() {
    let (app, codes) = scene().await;
    let tenant = app.tenant(None);
    let alice = writ::users::account::find_by_username(&app.state, &tenant, "alice").await;
    let alice = alice.unwrap().unwrap();
    let rows = writ::store::people::credentials(&app.state.db, "default", &alice.id);
    let rows = rows.await.unwrap();
    let kept = |needle: &[u8]| {
        rows.iter()
            .any(|row| row.secret.windows(needle.len()).any(|part| part == needle))
    };
    assert_eq!(rows.len(), 12);
    assert!(!kept(&KEY));
    assert!(!kept(PASSWORD.as_bytes()));
    assert!(codes.iter().all(|code| !kept(code.as_bytes())));
}
