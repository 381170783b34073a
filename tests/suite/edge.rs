//! Limits on rates, and whom they count.

use serde_json::json;
use writ::config::Config;

use crate::support::{Call, Key, TestApp, WEATHER};

const PROXY: &str = "10.1.2.3";
const STRANGER: &str = "192.0.2.1";
const BUSY: &str = "temporarily_unavailable";

async fn weather(change: impl FnOnce(&mut Config)) -> TestApp {
    let app = TestApp::with(change).await;
    app.declare_weather(None).await;
    app
}

fn wrong(app: &TestApp) -> Call {
    app.post("/token")
        .basic("agent", "writ_cs_wrong")
        .form(&[("grant_type", "client_credentials")])
}

async fn rows(app: &TestApp) -> usize {
    let list = app.admin("GET", "/audit?limit=1000").await.await;
    list.ok().as_array().unwrap().len()
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_again() {
    let app = weather(|config| {
        (config.limits.client_rate, config.limits.client_burst) = (1, 3);
    })
    .await;
    let ask = || app.ask("agent", &[("resource", WEATHER)]).from(STRANGER);
    for _ in 0..3 {
        ask().await.ok();
    }
    let before = rows(&app).await;
    let answer = ask().await;
    answer.refused(429, BUSY);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        rows(&app).await,
        before + 1,
        "the administrator's token alone"
    );
    // Others are not concerned, and neither is it a second later.
    app.client(
        "other",
        json!({ "access": [{ "resource": "weather", "scopes": ["*"] }] }),
    )
    .await;
    app.ask("other", &[("resource", WEATHER)])
        .from(STRANGER)
        .await
        .ok();
    app.advance(1);
    ask().await.ok();
}

#[tokio::test]
async fn a_refused_request_leaves_its_assertion_unused() {
    let app = weather(|config| {
        (config.limits.client_rate, config.limits.client_burst) = (1, 1);
    })
    .await;
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    let params = [("resource", WEATHER)];
    let one = app.assertion(&key, "robot", &json!({}));
    app.ask_with(&one, &params).await.ok();
    let two = app.assertion(&key, "robot", &json!({}));
    app.ask_with(&two, &params).await.refused(429, BUSY);
    app.advance(1);
    app.ask_with(&two, &params).await.ok();
}

#[tokio::test]
async fn an_address_whose_clients_fail_too_often_is_not_heard() {
    let app = weather(|config| {
        (config.limits.failure_rate, config.limits.failure_burst) = (1, 3);
    })
    .await;
    for _ in 0..3 {
        wrong(&app)
            .from(STRANGER)
            .await
            .refused(401, "invalid_client");
    }
    // Nobody finds out whether the next one is right.
    wrong(&app).from(STRANGER).await.refused(429, BUSY);
    let right = || app.ask("agent", &[("resource", WEATHER)]);
    right().from(STRANGER).await.refused(429, BUSY);
    right().from("192.0.2.2").await.ok();
    app.advance(1);
    right().from(STRANGER).await.ok();
}

#[tokio::test]
async fn a_request_that_is_merely_wrong_is_no_failed_authentication() {
    let app = weather(|config| {
        (config.limits.failure_rate, config.limits.failure_burst) = (1, 1);
    })
    .await;
    for _ in 0..3 {
        let unknown = app.ask("agent", &[("resource", "https://unknown.example")]);
        unknown.from(STRANGER).await.refused(400, "invalid_target");
    }
    app.ask("agent", &[("resource", WEATHER)])
        .from(STRANGER)
        .await
        .ok();
}

#[tokio::test]
async fn registrations_of_one_address_are_limited() {
    let app = TestApp::with(|config| {
        (
            config.limits.registration_rate,
            config.limits.registration_burst,
        ) = (1, 2);
    })
    .await;
    let register = || {
        let metadata = json!({ "redirect_uris": ["https://app.example/callback"] });
        app.post("/register").json(&metadata)
    };
    let known = app.tenant(None).clients().len();
    for _ in 0..2 {
        assert_eq!(register().from(STRANGER).await.status, 201);
    }
    register().from(STRANGER).await.refused(429, BUSY);
    assert_eq!(app.tenant(None).clients().len(), known + 2);
    assert_eq!(register().from("2001:db8::1").await.status, 201);
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_refused_whatever_it_asks() {
    let app = TestApp::with(|config| {
        (config.limits.address_rate, config.limits.address_burst) = (1, 2);
    })
    .await;
    app.get("/jwks.json").from(STRANGER).await.ok();
    app.get("/healthz").from(STRANGER).await;
    app.get("/jwks.json")
        .from(STRANGER)
        .await
        .refused(429, BUSY);
    app.get("/nowhere").from(STRANGER).await.refused(429, BUSY);
    wrong(&app).from(STRANGER).await.refused(429, BUSY);
    app.get("/jwks.json").from("192.0.2.2").await.ok();
}

#[tokio::test]
async fn only_a_trusted_proxy_says_who_asks() {
    let app = TestApp::with(|config| {
        (config.limits.address_rate, config.limits.address_burst) = (1, 1);
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let asked = |peer: &str, header: (&str, &str)| {
        app.get("/jwks.json").header(header.0, header.1).from(peer)
    };
    // A proxy's word holds: each of its clients is counted for itself.
    for client in ["192.0.2.1", "192.0.2.2"] {
        let header = ("x-forwarded-for", client);
        asked(PROXY, header).await.ok();
        asked(PROXY, header).await.refused(429, BUSY);
    }
    // The same client behind the same proxy, which names it in the standard's own way.
    asked(PROXY, ("forwarded", "for=192.0.2.2;proto=https"))
        .await
        .refused(429, BUSY);
    // A client's own word does not, neither beside the proxy nor through it.
    asked("198.51.100.1", ("x-forwarded-for", "192.0.2.9"))
        .await
        .ok();
    for pretended in ["192.0.2.10", "10.0.0.1", "192.0.2.11, 10.0.0.1"] {
        let header = ("x-forwarded-for", pretended);
        asked("198.51.100.1", header).await.refused(429, BUSY);
        let through = format!("{pretended}, 192.0.2.2");
        asked(PROXY, ("x-forwarded-for", &through))
            .await
            .refused(429, BUSY);
    }
}

#[tokio::test]
async fn limits_that_are_off_never_refuse() {
    let app = weather(|config| {
        config.limits.failure_rate = 0;
        config.limits.failure_burst = 1;
    })
    .await;
    for _ in 0..20 {
        wrong(&app)
            .from(STRANGER)
            .await
            .refused(401, "invalid_client");
    }
}
