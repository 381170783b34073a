//! R. Introspection and revocation.

use serde_json::{Value, json};

use crate::support::{
    ADMIN_SECRET, CALENDAR, Key, ServerKey, TestApp, WEATHER, parts, secret_of, unsigned,
};

async fn scene() -> (TestApp, String) {
    let app = TestApp::weather().await;
    app.weather_server().await;
    app.client("calendar-server", json!({ "serves": "calendar" }))
        .await;
    app.client("stranger", json!({})).await;
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    (app, token)
}

fn inactive() -> Value {
    json!({ "active": false })
}

// AC-280
#[tokio::test]
async fn nobody_introspects_without_saying_who_they_are() {
    let (app, token) = scene().await;
    let form = [("token", token.as_str())];
    app.post("/introspect")
        .form(&form)
        .await
        .refused(401, "invalid_client");
    app.post("/introspect")
        .basic("weather-server", "wrong-secret")
        .form(&form)
        .await
        .refused(401, "invalid_client");
    app.post("/introspect")
        .bearer("not a token")
        .form(&form)
        .await
        .refused(401, "invalid_token");
    // A name is no proof, not even a public client's own.
    let public = json!({ "token_endpoint_auth_method": "none", "grant_types": [] });
    app.client("public", public).await;
    app.post("/introspect")
        .form(&[("token", &token), ("client_id", "public")])
        .await
        .refused(401, "invalid_client");
}

// AC-280
#[tokio::test]
async fn a_client_sees_no_token_that_is_not_for_it() {
    let (app, token) = scene().await;
    for other in ["stranger", "calendar-server"] {
        assert_eq!(
            app.introspect(other, &token).await.ok(),
            inactive(),
            "{other}"
        );
    }
    let for_both = app.token("agent", CALENDAR, "tool:list").await;
    assert_eq!(
        app.introspect("weather-server", &for_both).await.ok(),
        inactive()
    );
}

// AC-281, AC-176, AC-178, AC-189
#[tokio::test]
async fn a_token_that_does_not_hold_is_inactive_and_nothing_else() {
    let (app, token) = scene().await;
    let (header, claims) = parts(&token);
    let server = ServerKey::of(&app, &app.tenant(None));
    let mut later = claims.clone();
    later["exp"] = json!(app.now());
    let mut elsewhere = claims.clone();
    elsewhere["iss"] = json!("https://other.example");
    let mut without_grant = claims.clone();
    without_grant["grant_id"] = json!("none");
    let tokens = [
        "x".to_owned(),
        "a.b.c".to_owned(),
        String::from("é\u{0}"),
        format!("{token}."),
        token[..token.len() - 2].to_owned(),
        unsigned(&json!({ "alg": "none", "typ": "at+jwt" }), &claims),
        Key::ed(9).sign(&header, &claims),
        server.token(&later),
        server.token(&elsewhere),
        server.token(&without_grant),
        server.key().sign(
            &json!({ "alg": "EdDSA", "kid": header["kid"], "typ": "JWT" }),
            &claims,
        ),
    ];
    for token in &tokens {
        for asking in ["weather-server", "agent"] {
            assert_eq!(
                app.introspect(asking, token).await.ok(),
                inactive(),
                "{token}"
            );
        }
        let bearer = app.admin_token(None, "token:introspect").await;
        let body = app
            .post("/introspect")
            .bearer(&bearer)
            .form(&[("token", token)])
            .await
            .ok();
        assert_eq!(body, inactive());
    }
}

// AC-282
#[tokio::test]
async fn only_the_body_of_a_post_is_read() {
    let (app, token) = scene().await;
    for path in ["/introspect", "/revoke"] {
        let with_query = format!("{path}?token={token}");
        for method in ["GET", "PUT", "DELETE"] {
            let answer = app
                .call(method, &with_query)
                .basic("agent", &secret_of("agent"))
                .await;
            assert_eq!(answer.status, 405, "{method} {path}");
        }
        app.post(&with_query)
            .basic("agent", &secret_of("agent"))
            .form(&[])
            .await
            .refused(400, "invalid_request");
    }
    let body = app.introspect("weather-server", &token).await.ok();
    assert_eq!(body["active"], true);
}

// AC-286
#[tokio::test]
async fn a_wrong_hint_finds_the_token_all_the_same() {
    let (app, token) = scene().await;
    for hint in ["refresh_token", "access_token", "id_token", "nonsense"] {
        let body = app
            .post("/introspect")
            .basic("weather-server", &secret_of("weather-server"))
            .form(&[("token", &token), ("token_type_hint", hint)])
            .await
            .ok();
        assert_eq!(body["active"], true, "{hint}");
    }
}

// AC-281, AC-286
#[tokio::test]
async fn a_revoked_token_is_inactive_whatever_the_hint_was() {
    let (app, _) = scene().await;
    for hint in ["access_token", "refresh_token", "nonsense"] {
        let token = app.token("agent", WEATHER, "tool:forecast").await;
        let answer = app
            .post("/revoke")
            .basic("agent", &secret_of("agent"))
            .form(&[("token_type_hint", hint), ("token", &token)])
            .await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{hint}");
        for asking in ["weather-server", "agent"] {
            assert_eq!(app.introspect(asking, &token).await.ok(), inactive());
        }
    }
}

// AC-283
#[tokio::test]
async fn a_revocation_needs_a_client_and_a_token_and_nothing_more() {
    let (app, token) = scene().await;
    for unknown in ["x", "a.b.c", &token[1..], &unsigned(&json!({}), &json!({}))] {
        let answer = app.revoke("agent", unknown).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    app.post("/revoke")
        .basic("agent", &secret_of("agent"))
        .form(&[("token_type_hint", "access_token")])
        .await
        .refused(400, "invalid_request");
    app.post("/revoke")
        .basic("agent", "wrong-secret")
        .form(&[("token", &token)])
        .await
        .refused(401, "invalid_client");
    app.post("/revoke")
        .form(&[("token", &token)])
        .await
        .refused(401, "invalid_client");
    app.post("/revoke")
        .bearer(&token)
        .form(&[("token", &token)])
        .await
        .refused(401, "invalid_client");
    // A confidential client proves who it is.
    app.post("/revoke")
        .form(&[("token", &token), ("client_id", "agent")])
        .await
        .refused(401, "invalid_client");
    assert!(app.is_active(&token).await);
}

// AC-284
#[tokio::test]
async fn another_clients_token_stays() {
    let (app, token) = scene().await;
    let public = json!({ "token_endpoint_auth_method": "none", "grant_types": [] });
    app.client("public", public).await;
    for other in ["stranger", "weather-server"] {
        let answer = app.revoke(other, &token).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{other}");
    }
    let form = [("token", token.as_str()), ("client_id", "public")];
    let answer = app.post("/revoke").form(&form).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    // Not even an administrator is one here.
    let answer = app
        .post("/revoke")
        .basic("admin", ADMIN_SECRET)
        .form(&[("token", &token)])
        .await;
    assert_eq!(answer.status, 200);
    assert!(app.is_active(&token).await);
}

// AC-283, AC-284
#[tokio::test]
async fn what_is_nobodys_token_leaves_no_trace() {
    let (app, token) = scene().await;
    let rows = async || {
        let events = app.admin("GET", "/audit?limit=1000").await.await.ok();
        events.as_array().unwrap().len()
    };
    let before = rows().await;
    for junk in ["x", "AAAAAAAAAAAAAAAAAAAAAA", token.as_str()] {
        app.revoke("stranger", junk).await;
    }
    app.advance(300);
    app.revoke("agent", &token).await;
    // Reading the trail needs a token, which is an event.
    assert_eq!(rows().await, before + 1);
    assert_eq!(app.count("token.revoked").await, 0);
}

// AC-211
#[tokio::test]
async fn a_revoked_token_cannot_be_exchanged() {
    let (app, _) = scene().await;
    crate::grant_types::token_exchange::chain(&app, &["agent", "helper"]).await;
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    let actor = app.token("helper", WEATHER, "tool:forecast").await;
    app.exchange_as_actor("helper", &token, &actor, &[])
        .await
        .ok();
    app.revoke("helper", &actor).await;
    app.exchange_as_actor("helper", &token, &actor, &[])
        .await
        .refused(400, "invalid_request");
    app.revoke("agent", &token).await;
    app.exchange("helper", &token, &[])
        .await
        .refused(400, "invalid_request");
}

// AC-250
#[tokio::test]
async fn nothing_live_is_left_of_what_is_removed() {
    for removed in ["/clients/agent", "/resources/weather"] {
        let (app, token) = scene().await;
        crate::grant_types::token_exchange::chain(&app, &["agent", "helper"]).await;
        let derived = app.exchange("helper", &token, &[]).await.token();
        for held in [&token, &derived] {
            assert!(app.is_active(held).await, "{removed}");
        }
        let answer = app.admin("DELETE", removed).await.await;
        assert_eq!(answer.status, 204);
        for held in [&token, &derived] {
            assert!(!app.is_active(held).await, "{removed}");
        }
        let app = app.restart().await;
        app.declare_weather(None).await;
        for held in [&token, &derived] {
            assert!(!app.is_active(held).await, "{removed}");
        }
    }
}

/// Asks for tokens from several tasks at once until told to stop; all that were answered.
fn keep_asking(app: &std::sync::Arc<TestApp>, clients: &[&'static str]) -> Asking {
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tasks = clients
        .iter()
        .flat_map(|client| [*client; 3])
        .map(|client| {
            let (app, stop) = (app.clone(), stop.clone());
            tokio::spawn(async move {
                let mut tokens = Vec::new();
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let answer = app
                        .ask(client, &[("resource", WEATHER)])
                        .may_be_unavailable()
                        .await;
                    if answer.status == 200 {
                        tokens.push(answer.token());
                    }
                }
                tokens
            })
        });
    Asking {
        tasks: tasks.collect(),
        stop,
    }
}

struct Asking {
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Asking {
    async fn stop(self) -> Vec<String> {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let mut tokens = Vec::new();
        for task in self.tasks {
            tokens.extend(task.await.unwrap());
        }
        tokens
    }
}

// AC-281
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disabled_client_holds_no_token_however_fast_it_asks() {
    for _ in 0..5 {
        let (app, _) = scene().await;
        let app = std::sync::Arc::new(app);
        let bearer = app.admin_token(None, "writ:clients").await;
        let asking = keep_asking(&app, &["agent"]);
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        app.post("/admin/clients/agent/disable")
            .bearer(&bearer)
            .await
            .ok();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let tokens = asking.stop().await;
        assert!(!tokens.is_empty());
        for token in &tokens {
            assert!(!app.is_active(token).await);
        }
    }
}

// AC-281
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_token_answered_before_a_revocation_is_over() {
    let (app, _) = scene().await;
    let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
    app.client("other", json!({ "access": access })).await;
    let app = std::sync::Arc::new(app);
    let bearer = app.admin_token(None, "writ:revocations").await;
    let background = keep_asking(&app, &["agent", "other"]);
    let mut dead = Vec::new();
    for _ in 0..10 {
        let own = app.token("agent", WEATHER, "tool:forecast").await;
        let grant = parts(&own).1["grant_id"].clone();
        let answer = app
            .post("/admin/revocations")
            .bearer(&bearer)
            .json(&json!({ "client": "agent" }))
            .await;
        assert_eq!(answer.ok(), json!({ "grants": 1, "tokens": 0 }));
        dead.push(grant);
        assert!(!app.is_active(&own).await);
    }
    for token in background.stop().await {
        let claims = parts(&token).1;
        let expected = claims["client_id"] == "other" || !dead.contains(&claims["grant_id"]);
        assert_eq!(app.is_active(&token).await, expected);
    }
    let fresh = app.token("agent", WEATHER, "tool:forecast").await;
    assert!(app.is_active(&fresh).await);
}

// AC-283
#[tokio::test]
async fn a_server_that_cannot_write_says_so() {
    let app = TestApp::with(|config| config.storage.queue = 1).await;
    app.declare_weather(None).await;
    let mut tokens = Vec::new();
    for _ in 0..16 {
        tokens.push(app.token("agent", WEATHER, "tool:forecast").await);
    }
    let mut set = tokio::task::JoinSet::new();
    for token in tokens {
        let call = app.revoke("agent", &token).may_be_unavailable();
        set.spawn(async move { (token, call.await) });
    }
    let (mut done, mut refused) = (0, 0);
    for (token, answer) in set.join_all().await {
        // RFC 7009 §2.2.1: the token may still hold, and here it does.
        let unavailable = answer.status == 503;
        if unavailable {
            answer.refused(503, "temporarily_unavailable");
            assert!(answer.header("retry-after").is_some());
        } else {
            assert_eq!(answer.status, 200);
        }
        assert_eq!(app.is_active(&token).await, unavailable);
        done += usize::from(!unavailable);
        refused += usize::from(unavailable);
    }
    assert!(done >= 1 && refused >= 1, "{done} done, {refused} refused");
    assert_eq!(app.count("token.revoked").await, done);
}
