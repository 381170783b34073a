//! Name and password.

use crate::support::{Browser, TestApp};

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn a_person_signs_in_and_out() {
    let app = TestApp::new().await;
    let alice = app.person("Alice", PASSWORD).await;
    let mut browser = Browser::new(&app);
    let page = browser.open("/account").await;
    assert!(page.path.starts_with("/login?errand="), "{}", page.path);
    // Names are compared in whatever letter case.
    let fields = [("username", " alice"), ("password", PASSWORD)];
    let page = browser.submit(&page, "/login", &fields).await;
    assert_eq!((page.path.as_str(), page.answer.status), ("/account", 200));
    assert_eq!(page.element("account-username").unwrap(), "Alice");
    // Whoever is signed in need not do so again.
    assert_eq!(browser.open("/login").await.path, "/account");
    assert_eq!(app.count("user.signed_in").await, 1);
    let events = app
        .admin("GET", "/audit?kind=user.signed_in")
        .await
        .await
        .ok();
    assert_eq!(events[0]["event"]["sub"], alice.id);
    assert_eq!(events[0]["event"]["reason"], "pwd");

    let page = browser.submit(&page, "/account/signout", &[]).await;
    assert_eq!((page.path.as_str(), page.answer.status), ("/login", 200));
    assert!(browser.open("/account").await.path.starts_with("/login"));
    assert_eq!(app.count("user.signed_out").await, 1);
}

#[tokio::test]
async fn an_account_is_found_by_its_verified_address_and_no_other() {
    let app = TestApp::new().await;
    let user = app.person("alice", PASSWORD).await;
    let write = async |before: &writ::users::User, user: &writ::users::User| {
        let tenant = app.tenant(None);
        let changes = writ::users::change::replaced(&tenant, before, user);
        app.commit(changes).await.unwrap();
    };
    let claimed = writ::users::User {
        email: Some("Alice@Example.com".into()),
        ..user.clone()
    };
    write(&user, &claimed).await;
    let signs_in = async || {
        let page = Browser::new(&app)
            .sign_in("alice@example.COM", PASSWORD)
            .await;
        page.answer.status == 200
    };
    assert!(!signs_in().await);
    // Somebody is called so, and has the same password.
    let called = app.person("alice@example.com", PASSWORD).await;
    let who = async || {
        let tenant = app.tenant(None);
        let typed = "alice@example.COM";
        let found = writ::users::account::find_typed(&app.state, &tenant, typed).await;
        found.unwrap().unwrap().id
    };
    assert_eq!(who().await, called.id);
    let verified = writ::users::User {
        email_verified: true,
        ..claimed.clone()
    };
    write(&claimed, &verified).await;
    assert!(signs_in().await);
    assert_eq!(who().await, user.id);
}

#[tokio::test]
async fn a_disabled_account_is_answered_like_a_wrong_password() {
    let app = TestApp::new().await;
    let user = app.person("alice", PASSWORD).await;
    let mut browser = Browser::new(&app);
    assert_eq!(browser.sign_in("alice", PASSWORD).await.path, "/account");
    let disabled = writ::users::User {
        disabled: true,
        ..user.clone()
    };
    let tenant = app.tenant(None);
    app.commit(writ::users::change::replaced(&tenant, &user, &disabled))
        .await
        .unwrap();
    assert!(browser.open("/account").await.path.starts_with("/login"));
    let page = Browser::new(&app).sign_in("alice", PASSWORD).await;
    assert_eq!(page.answer.status, 403);
    let wrong = Browser::new(&app).sign_in("alice", "wrong password").await;
    assert_eq!(
        page.element("login-problem"),
        wrong.element("login-problem")
    );
    let events = app
        .admin("GET", "/audit?kind=sign_in.refused")
        .await
        .await
        .ok();
    let reasons: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["event"]["reason"])
        .collect();
    assert!(
        reasons.iter().any(|reason| *reason == "disabled"),
        "{events}"
    );
    assert!(
        reasons.iter().any(|reason| *reason == "wrong password"),
        "{events}"
    );
}

#[tokio::test]
async fn a_password_that_is_changed_while_it_is_checked_signs_nobody_in() {
    let app = TestApp::new().await;
    let alice = app.person("alice", PASSWORD).await;
    let (state, tenant) = (&app.state, app.tenant(None));
    let headers = http::HeaderMap::new();
    let browser = writ::users::browser::Browser::of(state, &tenant, &headers);
    let shown = ("alice", PASSWORD);
    let outcome =
        writ::users::sign_in::with_password(state, &tenant, &headers, &browser, shown).await;
    let writ::users::sign_in::Outcome::Proved(proved) = outcome.unwrap() else {
        panic!("the password is right");
    };
    // It was right a moment ago.
    let set = app.admin("POST", "/users/alice/password").await;
    let set = set.json(&serde_json::json!({ "password": "a much better one" }));
    assert_eq!(set.await.status, 204);
    assert_eq!(proved.user.id, alice.id);
    let late = app.commit(proved.spent).await;
    assert_eq!(late, Err(writ::journal::JournalError::Conflict));
}

#[tokio::test]
async fn hashes_of_other_servers_hold_and_are_renewed() {
    let app = TestApp::new().await;
    for (name, password, hash) in HASHES {
        assert_eq!(writ::users::password::check_hash(hash), Ok(()), "{name}");
        app.person_with(None, name, (*hash).to_owned()).await;
        let wrong = Browser::new(&app).sign_in(name, "another password").await;
        assert_eq!(wrong.answer.status, 403, "{name}");
        for _ in 0..2 {
            let page = Browser::new(&app).sign_in(name, password).await;
            assert_eq!(
                (page.path.as_str(), page.answer.status),
                ("/account", 200),
                "{name}"
            );
        }
    }
    // At the first sign-in and not at the second.
    assert_eq!(app.count("user.changed").await, HASHES.len());
}

/// Made by others: Python's bcrypt, hashlib.scrypt and argon2-cffi; crypt(3) for `$7$`.
const HASHES: &[(&str, &str, &str)] = &[
    (
        "bcrypt",
        "bcrypt pass-word é",
        "$2b$05$sG0hHj26pqJ5wjrBQEo3F.RY8pRPwwPEfFMTuTxocYmTVKMup0ggq",
    ),
    (
        "bcrypt2y",
        "from php in 2012",
        "$2y$04$NHtc8jp.AVxwb4ImaR5Sd.GlQs504itlirSh6Bg.yqPXAsR/k7wi2",
    ),
    (
        "scrypt",
        "scrypt pass-word",
        "$scrypt$ln=12,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$31Z2fLRqtcYt+XQK3xMHbb73vngssvlvSOZYNFmc7A0",
    ),
    (
        "argon2id",
        "argon2id pass-word",
        "$argon2id$v=19$m=8192,t=2,p=2$20LRJbIU+vMrUN/mL/Z9SQ$afgptmmCYehJZQAlgitaSut3RLdPxPRvCOMGdORXSqE",
    ),
    (
        "argon2i",
        "argon2i pass-word",
        "$argon2i$v=19$m=8192,t=2,p=2$Vtx8IT3R4rL/h3zISQcoQA$Egh9I3MAK9gvYMI/cse4h+jqNCgx4V0WlbNOTHchIEs",
    ),
    (
        "crypt7",
        "crypt pass-word",
        "$7$A6....1....saltsaltsalt$eNwDaqkK3wcJal2oEMeHRCgO7TvkaifXucTbKVLjoP1",
    ),
];

#[test]
fn hashes_that_would_exhaust_the_server_are_not_taken_over() {
    for hash in [
        "",
        "plain text",
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy",
        "$argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b5dWRWJTmaaJObG",
        "$argon2id$v=19$m=65536,t=3000,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b5dWRWJTmaaJObG",
        "$argon2id$v=19$m=65536,t=3,p=1",
        "$scrypt$ln=30,r=8,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b5dWRWJTmaaJObG",
        "$7$S6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
        "$7$D6...././..SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
        // Each number is no more than others have, but all of them together.
        "$2b$15$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy",
        "$argon2id$v=19$m=262144,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b5dWRWJTmaaJObG",
        "$scrypt$ln=17,r=16,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b5dWRWJTmaaJObG",
        "$scrypt$ln=17,r=8,p=2$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b5dWRWJTmaaJObG",
        // N = 2^17, r = 16.
        "$7$FE..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
    ] {
        assert!(writ::users::password::check_hash(hash).is_err(), "{hash}");
    }
    // What other servers make by default.
    for hash in [
        "$2b$12$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy",
        "$argon2id$v=19$m=65536,t=4,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b5dWRWJTmaaJObG",
        "$scrypt$ln=17,r=8,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b5dWRWJTmaaJObG",
    ] {
        assert_eq!(writ::users::password::check_hash(hash), Ok(()), "{hash}");
    }
}
