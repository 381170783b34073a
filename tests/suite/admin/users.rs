//! `/admin/users`, and people in `/admin/apply`.

use entity::grant;
use serde_json::json;
use writ::{
    journal::JournalError,
    store::{Change, grants::PERSON},
    users::credential,
};

use crate::support::{ACME, Browser, CALLBACK, TestApp};

const PASSWORD: &str = "correct horse battery";
const HASH: &str = "$2b$05$sG0hHj26pqJ5wjrBQEo3F.RY8pRPwwPEfFMTuTxocYmTVKMup0ggq";

/// A grant that a person has given.
fn grant_of(app: &TestApp, user: &str) -> grant::Model {
    grant::Model {
        tenant: "default".into(),
        id: format!("grant-of-{user}"),
        identity: format!("{PERSON}{user}"),
        client_id: "agent".into(),
        subject: user.into(),
        resources: "https://weather.example/mcp".into(),
        parent: None,
        created_at: app.now(),
        session: None,
        expires_at: None,
        used_at: None,
    }
}

#[tokio::test]
async fn a_user_is_made_shown_changed_and_removed() {
    let app = TestApp::new().await;
    let made = app
        .admin("POST", "/users")
        .await
        .json(&json!({
            "username": "Alice", "email": "alice@example.com", "email_verified": true,
            "claims": { "name": "Alice A.", "locale": "de" }, "password": PASSWORD,
        }))
        .await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        made,
        json!({
            "id": id, "username": "Alice", "email": "alice@example.com", "email_verified": true,
            "claims": { "name": "Alice A.", "locale": "de" }, "disabled": false,
            "created_at": app.now(), "updated_at": app.now(),
            "credentials": {
                "password": true, "authenticator": false, "recovery_codes": 0, "passkeys": 0,
                "identities": 0,
            },
        })
    );
    for name in [id, "alice", "ALICE"] {
        let shown = app.admin("GET", &format!("/users/{name}")).await.await;
        assert_eq!(shown.ok(), made);
    }
    let page = Browser::new(&app)
        .sign_in("alice@example.com", PASSWORD)
        .await;
    assert_eq!(page.path, "/account");
    app.advance(5);
    let changed = app
        .admin("PUT", "/users/alice")
        .await
        .json(
            &json!({ "username": "alice", "claims": { "name": "A." }, "password": "not taken up" }),
        )
        .await
        .ok();
    assert_eq!(
        (&changed["email"], &changed["id"]),
        (&json!(null), &made["id"])
    );
    assert_eq!(changed["updated_at"], app.now());
    // A person keeps their password.
    let page = Browser::new(&app).sign_in("alice", PASSWORD).await;
    assert_eq!(page.path, "/account");
    let gone = app.admin("DELETE", "/users/alice").await.await;
    assert_eq!(gone.status, 204);
    let shown = app.admin("GET", "/users/alice").await.await;
    shown.refused(404, "not_found");
    let page = Browser::new(&app).sign_in("alice", PASSWORD).await;
    assert_eq!(page.answer.status, 403);
    let events = app
        .admin("GET", "/audit?kind=user.changed")
        .await
        .await
        .ok();
    let reasons: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"]["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["created", "changed", "removed"]);
}

#[tokio::test]
async fn what_cannot_be_a_user_is_refused_and_nothing_is_made() {
    let app = TestApp::new().await;
    app.person("alice", PASSWORD).await;
    let verified = json!({ "username": "bob", "email": "b@example.com", "email_verified": true });
    app.admin("POST", "/users")
        .await
        .json(&verified)
        .await
        .with(http::StatusCode::CREATED);
    for (user, status, code) in [
        (json!({ "username": "" }), 400, "invalid_request"),
        (json!({ "username": " x" }), 400, "invalid_request"),
        (json!({ "username": "x\u{0}" }), 400, "invalid_request"),
        (
            json!({ "username": "x".repeat(129) }),
            400,
            "invalid_request",
        ),
        (
            json!({ "username": "x", "email": "nowhere" }),
            400,
            "invalid_request",
        ),
        (
            json!({ "username": "x", "id": "a b" }),
            400,
            "invalid_request",
        ),
        (
            json!({ "username": "x", "claims": { "sub": "y" } }),
            400,
            "invalid_request",
        ),
        (
            json!({ "username": "x", "claims": [] }),
            400,
            "invalid_request",
        ),
        (
            json!({ "username": "x", "claims": { "a": "x".repeat(20_000) } }),
            400,
            "invalid_request",
        ),
        (
            json!({ "username": "x", "password": "short" }),
            400,
            "invalid_request",
        ),
        (
            json!({ "username": "x", "password_hash": "x" }),
            400,
            "invalid_request",
        ),
        (
            json!({ "username": "x", "password": PASSWORD, "password_hash": HASH }),
            400,
            "invalid_request",
        ),
        (
            json!({ "username": "x", "admin": true }),
            400,
            "invalid_request",
        ),
        (json!({ "username": "ALICE" }), 409, "conflict"),
        (
            json!({ "username": "x", "email": "B@example.com", "email_verified": true }),
            409,
            "conflict",
        ),
    ] {
        let answer = app.admin("POST", "/users").await.json(&user).await;
        answer.refused(status, code);
    }
    assert_eq!(
        app.admin("GET", "/users")
            .await
            .await
            .ok()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let other = json!({ "username": "bob", "password": PASSWORD });
    let answer = app.admin("PUT", "/users/alice").await.json(&other).await;
    answer.refused(400, "invalid_request");
    let id = json!({ "username": "alice", "id": "another" });
    let answer = app.admin("PUT", "/users/alice").await.json(&id).await;
    answer.refused(400, "invalid_request");
    let taken = json!({ "username": "alice", "email": "b@EXAMPLE.com", "email_verified": true });
    let answer = app.admin("PUT", "/users/alice").await.json(&taken).await;
    answer.refused(409, "conflict");
}

#[tokio::test]
async fn who_is_disabled_or_removed_loses_sessions_and_grants() {
    let app = TestApp::weather().await;
    let alice = app.person("alice", PASSWORD).await;
    let mut browser = Browser::new(&app);
    browser.sign_in("alice", PASSWORD).await;
    let (tenant, grant) = (app.tenant(None), grant_of(&app, &alice.id));
    app.commit(vec![Change::PutGrant(grant.clone())])
        .await
        .unwrap();
    assert!(tenant.holds_grant("agent", &grant.id));
    app.admin("POST", "/users/alice/disable").await.await.ok();
    assert!(!tenant.holds_grant("agent", &grant.id));
    assert_eq!(browser.get("/account").await.answer.status, 303);
    // Nor does a code that is redeemed later make another one.
    let late = app.commit(vec![Change::PutGrant(grant.clone())]).await;
    assert_eq!(late, Err(JournalError::Conflict));
    app.admin("POST", "/users/alice/enable").await.await.ok();
    assert_eq!(browser.get("/account").await.answer.status, 303);
    app.commit(vec![Change::PutGrant(grant.clone())])
        .await
        .unwrap();
    browser.sign_in("alice", PASSWORD).await;
    app.admin("DELETE", "/users/alice").await.await;
    assert!(!tenant.holds_grant("agent", &grant.id));
    assert_eq!(browser.get("/account").await.answer.status, 303);
    let late = app.commit(vec![Change::PutGrant(grant)]).await;
    assert_eq!(late, Err(JournalError::Conflict));
}

#[tokio::test]
async fn passwords_are_set_and_sessions_listed_and_ended() {
    let app = TestApp::new().await;
    app.person("alice", PASSWORD).await;
    let mut browser = Browser::at(&app, "198.51.100.7");
    browser.sign_in("alice", PASSWORD).await;
    let sessions = app.admin("GET", "/users/alice/sessions").await.await.ok();
    assert_eq!(sessions.as_array().unwrap().len(), 1);
    assert_eq!(sessions[0]["address"], "198.51.100.7");
    assert_eq!(sessions[0]["amr"], json!(["pwd"]));
    app.admin("DELETE", "/users/alice/sessions").await.await;
    assert_eq!(browser.get("/account").await.answer.status, 303);
    browser.sign_in("alice", PASSWORD).await;
    let set = async |body| {
        app.admin("POST", "/users/alice/password")
            .await
            .json(&body)
            .await
    };
    for body in [
        json!({}),
        json!({ "password": "short" }),
        json!({ "password_hash": "x" }),
    ] {
        set(body).await.refused(400, "invalid_request");
    }
    assert_eq!(set(json!({ "password_hash": HASH })).await.status, 204);
    assert_eq!(browser.get("/account").await.answer.status, 303);
    let page = Browser::new(&app)
        .sign_in("alice", "bcrypt pass-word \u{e9}")
        .await;
    assert_eq!(page.path, "/account");
    assert_eq!(
        set(json!({ "password": "another one, longer" }))
            .await
            .status,
        204
    );
    let page = Browser::new(&app)
        .sign_in("alice", "another one, longer")
        .await;
    assert_eq!(page.path, "/account");
    let nobody = app.admin("GET", "/users/nobody/sessions").await.await;
    nobody.refused(404, "not_found");
}

#[tokio::test]
async fn another_password_ends_what_apps_may_do_unless_they_shall_go_on() {
    for keeps in [true, false] {
        let app = TestApp::apps().await;
        let refreshing = json!({
            "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        app.client("app", refreshing).await;
        let ann = app.signed_in("ann").await;
        let code = ann
            .code(&json!({ "scope": "tool:forecast offline_access" }))
            .await;
        let given = app.redeem(&code, &json!({})).await.ok();
        let body = json!({ "password": "a much better one", "keep_apps": keeps });
        let set = app.admin("POST", "/users/ann/password").await.json(&body);
        assert_eq!(set.await.status, 204);
        let token = given["access_token"].as_str().unwrap();
        assert_eq!(app.is_active(token).await, keeps);
    }
}

#[tokio::test]
async fn users_are_listed_a_page_at_a_time() {
    let app = TestApp::new().await;
    let users: Vec<_> = ["d", "B", "a", "C"]
        .iter()
        .map(|name| json!({ "username": name }))
        .collect();
    app.apply(json!({ "users": users })).await;
    let names = async |query: &str| {
        let users = app.admin("GET", &format!("/users{query}")).await.await.ok();
        let users = users.as_array().unwrap().iter();
        let names = users.map(|user| user["username"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join("")
    };
    assert_eq!(names("").await, "aBCd");
    assert_eq!(names("?limit=2").await, "aB");
    assert_eq!(names("?limit=2&after=B").await, "Cd");
    assert_eq!(names("?after=z").await, "");
    let nul = app.admin("GET", "/users?after=%00").await.await;
    nul.refused(400, "invalid_request");
    let wrong = app.admin("GET", "/users?limit=x").await.await;
    wrong.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_declaration_of_people_is_true_the_second_time() {
    let app = TestApp::with_tenants().await;
    let declaration = |name: &str| {
        json!({
            "users": [
                { "username": "alice", "id": "sub-of-alice", "password": PASSWORD, "claims": { "name": name } },
                { "username": "bob", "password_hash": HASH },
            ],
            "tenants": [{ "name": "acme", "users": [{ "username": "alice", "password": PASSWORD }] }],
        })
    };
    let actions = |lines: Vec<writ::admin::apply::Line>| {
        let lines = lines
            .into_iter()
            .map(|line| format!("{:?} {} {}", line.action, line.kind, line.id));
        lines.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        actions(app.apply(declaration("A")).await),
        "Created user alice, Created user bob, Unchanged tenant acme, Created user alice"
    );
    assert_eq!(
        actions(app.apply(declaration("A")).await),
        "Unchanged user alice, Unchanged user bob, Unchanged tenant acme, Unchanged user alice"
    );
    assert_eq!(
        actions(app.apply(declaration("B")).await),
        "Changed user alice, Unchanged user bob, Unchanged tenant acme, Unchanged user alice"
    );
    let alice = app.admin("GET", "/users/alice").await.await.ok();
    assert_eq!(alice["id"], "sub-of-alice");
    // The hash is renewed when Bob signs in, and the declaration is still true.
    let page = Browser::new(&app)
        .sign_in("bob", "bcrypt pass-word \u{e9}")
        .await;
    assert_eq!(page.path, "/account");
    assert!(actions(app.apply(declaration("B")).await).contains("Unchanged user bob"));
    let twice = json!({ "users": [{ "username": "eve" }, { "username": "EVE" }] });
    assert!(app.apply_in(None, twice).await.is_err());
    // Acme's people are its administrator's.
    let bearer = app.admin_token(Some(ACME), "writ:users").await;
    let users = app.get("/t/acme/admin/users").bearer(&bearer).await.ok();
    assert_eq!(users.as_array().unwrap().len(), 1);
}

/// Why something of this kind was done, the last first.
async fn reasons(app: &TestApp, kind: &str) -> Vec<String> {
    let events = app.admin("GET", &format!("/audit?kind={kind}")).await;
    let events = events.await.ok();
    let reasons = events.as_array().unwrap().iter();
    let reasons = reasons.map(|event| event["event"]["reason"].as_str().unwrap().to_owned());
    reasons.collect()
}

#[tokio::test]
async fn somebody_who_has_lost_their_second_factor_is_helped() {
    let app = TestApp::with_tenants().await;
    let alice = app.person("alice", PASSWORD).await;
    let bob = app.person("bob", PASSWORD).await;
    let tenant = app.tenant(None);
    for user in [&alice, &bob] {
        let key = b"12345678901234567890";
        let factor = credential::authenticator(&app.state, &tenant, &user.id, key, 0).unwrap();
        let (_, mut changes) = credential::recovery_codes(&app.state, &tenant, &user.id);
        changes.push(factor);
        app.commit(changes).await.unwrap();
    }
    let page = Browser::new(&app).sign_in("alice", PASSWORD).await;
    assert!(page.path.starts_with("/login/factor?"), "{}", page.path);

    // Not for anybody, and nobody of another tenant.
    let path = "/users/alice/authenticator";
    let answer = app.call("DELETE", &format!("/admin{path}")).await;
    assert_eq!(answer.status, 401);
    let clients = app.admin_token(None, "writ:clients").await;
    let answer = app.call("DELETE", &format!("/admin{path}"));
    answer
        .bearer(&clients)
        .await
        .refused(403, "insufficient_scope");
    let acme = app.admin_token(Some(ACME), "writ:users").await;
    let answer = app.call("DELETE", &format!("/t/acme/admin{path}"));
    answer.bearer(&acme).await.refused(404, "not_found");
    let page = Browser::new(&app).sign_in("alice", PASSWORD).await;
    assert!(page.path.starts_with("/login/factor?"), "{}", page.path);

    assert_eq!(app.admin("DELETE", path).await.await.status, 204);
    assert_eq!(
        reasons(&app, "user.changed").await,
        ["second factor removed"]
    );
    // It is written down.
    let app = app.restart().await;
    let shown = app.admin("GET", "/users/alice").await.await.ok();
    assert_eq!(
        shown["credentials"],
        json!({
            "password": true, "authenticator": false, "recovery_codes": 0, "passkeys": 0,
            "identities": 0,
        })
    );
    let page = Browser::new(&app).sign_in("alice", PASSWORD).await;
    assert_eq!(page.path, "/account");
    // There is nothing more to take away, and Bob keeps what is his.
    let again = app.admin("DELETE", path).await.await;
    again.refused(404, "not_found");
    let nobody = app.admin("DELETE", "/users/nobody/authenticator").await;
    nobody.await.refused(404, "not_found");
    let page = Browser::new(&app).sign_in("bob", PASSWORD).await;
    assert!(page.path.starts_with("/login/factor?"), "{}", page.path);
}

#[tokio::test]
async fn passkeys_and_identities_are_listed_and_taken_away() {
    let app = TestApp::new().await;
    let alice = app.person("alice", PASSWORD).await;
    let bob = app.person("bob", PASSWORD).await;
    let tenant = app.tenant(None);
    let mut passkey = credential::passkey(&app.state, &tenant, &alice.id, "key-1".into(), vec![1]);
    passkey.name = "Phone".into();
    let mut identity = credential::identity(&app.state, &tenant, &alice.id, "corp/ä".into());
    identity.name = "alice@corp.example".into();
    identity.document = json!({ "issuer": "https://corp.example" }).to_string();
    let of_bob = credential::passkey(&app.state, &tenant, &bob.id, "key-2".into(), vec![1]);
    let rows = [&passkey, &identity, &of_bob];
    app.commit(rows.map(|row| credential::put(row.clone(), None)).into())
        .await
        .unwrap();
    let list = async || {
        app.admin("GET", "/users/alice/credentials")
            .await
            .await
            .ok()
    };
    assert_eq!(
        list().await,
        json!([
            { "id": "key-1", "kind": "passkey", "name": "Phone", "created_at": app.now(),
              "last_used_at": null },
            { "id": "corp/ä", "kind": "upstream", "name": "alice@corp.example",
              "issuer": "https://corp.example", "created_at": app.now(), "last_used_at": null },
        ])
    );
    let shown = app.admin("GET", "/users/alice").await.await.ok();
    assert_eq!(shown["credentials"]["identities"], 1);
    assert_eq!(shown["credentials"]["passkeys"], 1);

    let remove = async |id: &str| {
        let path = format!("/users/alice/credentials/{id}");
        app.admin("DELETE", &path).await.await
    };
    // Another's, the password, and what is nothing at all.
    let password = format!("password:{}", alice.id);
    for id in ["key-2", password.as_str(), "key", "%00", "%ff"] {
        remove(id).await.refused(404, "not_found");
    }
    assert_eq!(remove("key-1").await.status, 204);
    remove("key-1").await.refused(404, "not_found");
    assert_eq!(remove("corp%2F%C3%A4").await.status, 204);
    assert_eq!(list().await, json!([]));
    let shown = app.admin("GET", "/users/bob").await.await.ok();
    assert_eq!(shown["credentials"]["passkeys"], 1);
    let done = reasons(&app, "user.changed").await;
    assert_eq!(done.len(), 2);
    assert!(done.contains(&"passkey removed".to_owned()), "{done:?}");
    assert!(done.contains(&"identity removed".to_owned()), "{done:?}");
}

#[tokio::test]
async fn one_session_is_ended_and_the_others_go_on() {
    let app = TestApp::new().await;
    app.person("alice", PASSWORD).await;
    app.person("bob", PASSWORD).await;
    let (mut one, mut other) = (
        Browser::at(&app, "198.51.100.7"),
        Browser::at(&app, "198.51.100.8"),
    );
    one.sign_in("alice", PASSWORD).await;
    other.sign_in("alice", PASSWORD).await;
    let mut bobs = Browser::new(&app);
    bobs.sign_in("bob", PASSWORD).await;
    let sessions = async |name: &str| {
        let path = format!("/users/{name}/sessions");
        app.admin("GET", &path).await.await.ok()
    };
    let of_alice = sessions("alice").await;
    let of_alice = of_alice.as_array().unwrap();
    let ends = of_alice.iter().find(|s| s["address"] == "198.51.100.7");
    let ends = ends.unwrap()["sid"].as_str().unwrap();
    let of_bob = sessions("bob").await[0]["sid"].as_str().unwrap().to_owned();
    let end = async |sid: &str| {
        let path = format!("/users/alice/sessions/{sid}");
        app.admin("DELETE", &path).await.await
    };
    for sid in [of_bob.as_str(), "x", "%00"] {
        end(sid).await.refused(404, "not_found");
    }
    assert_eq!(end(ends).await.status, 204);
    assert_eq!(one.get("/account").await.answer.status, 303);
    assert_eq!(other.get("/account").await.answer.status, 200);
    assert_eq!(bobs.get("/account").await.answer.status, 200);
    end(ends).await.refused(404, "not_found");
    let done = reasons(&app, "user.signed_out").await;
    assert_eq!(done, [format!("session {ends} ended")]);
}
