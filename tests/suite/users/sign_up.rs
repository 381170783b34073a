//! New accounts by those who come.

use writ::config::SignUp;

use crate::support::{Browser, TestApp};

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn nobody_signs_up_unless_anybody_may() {
    let app = TestApp::new().await;
    let mut browser = Browser::new(&app);
    assert!(!browser.get("/login").await.text().contains("/signup"));
    let page = browser.get("/signup").await;
    assert_eq!(page.answer.status, 404);
    assert_eq!(page.element("error").unwrap(), "not_found");
    let fields = [("username", "eve"), ("password", PASSWORD)];
    assert_eq!(browser.post("/signup", &fields).await.answer.status, 404);
}

#[tokio::test]
async fn who_signs_up_is_signed_in_and_goes_on() {
    let app = TestApp::with(|config| config.users.sign_up = SignUp::Open).await;
    let mut browser = Browser::new(&app);
    let login = browser.open("/account").await;
    let link = login.text();
    let link = link.split("id=\"login-signup\" href=\"").nth(1).unwrap();
    let link = link.split('"').next().unwrap().replace("&#x2f;", "/");
    let page = browser.open(&link).await;
    let form = [
        ("username", "eve"),
        ("password", PASSWORD),
        ("email", "eve@example.com"),
    ];
    let done = browser.submit(&page, "/signup", &form).await;
    assert_eq!((done.path.as_str(), done.answer.status), ("/account", 200));
    assert!(done.text().contains("eve@example.com (not verified)"));
    assert_eq!(
        Browser::new(&app).sign_in("eve", PASSWORD).await.path,
        "/account"
    );

    let mut other = Browser::new(&app);
    let page = other.open("/signup").await;
    for (username, email, password) in [
        ("Eve", "", PASSWORD),
        ("", "", PASSWORD),
        (" x", "", PASSWORD),
        ("x\u{7}", "", PASSWORD),
        ("mallory", "no address", PASSWORD),
        ("mallory", "", "too short"),
        ("mallory the first", "", "Mallory the first"),
        ("mallory\0", "", PASSWORD),
        // Somebody may sign in with it.
        ("alice@example.com", "", PASSWORD),
        // They look like another's.
        ("eve\u{200b}", "", PASSWORD),
        ("\u{ff45}ve", "", PASSWORD),
    ] {
        let form = [
            ("username", username),
            ("email", email),
            ("password", password),
        ];
        let refused = other.submit(&page, "/signup", &form).await;
        assert_eq!(refused.answer.status, 400, "{username}");
        assert_eq!(refused.element("error").unwrap(), "invalid_request");
    }
    assert_eq!(app.count("user.changed").await, 1);
}

#[tokio::test]
async fn accounts_of_one_address_are_limited_and_clients_are_not_counted() {
    let app = TestApp::with(|config| {
        config.users.sign_up = SignUp::Open;
        (config.limits.arrival_rate, config.limits.arrival_burst) = (1, 2);
        (config.limits.registration_rate, config.limits.document_rate) = (1, 1);
        (
            config.limits.registration_burst,
            config.limits.document_burst,
        ) = (1, 1);
    })
    .await;
    let mut statuses = Vec::new();
    for username in ["eve", "ann", "bob"] {
        let mut browser = Browser::new(&app);
        let page = browser.open("/signup").await;
        let form = [
            ("username", username),
            ("password", PASSWORD),
            ("email", ""),
        ];
        statuses.push(browser.submit(&page, "/signup", &form).await.answer.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(app.count("user.changed").await, 2);
}
