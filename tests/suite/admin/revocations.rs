//! `/admin/revocations`, and clients that are disabled.

use sea_orm::EntityTrait as _;
use serde_json::{Value, json};

use crate::{
    grant_types::token_exchange::chain,
    support::{ACME, Answer, CALENDAR, TestApp, WEATHER, parts},
};

/// `agent` and `other` at two resources; `helper` may act for `agent`.
struct Scene {
    app: TestApp,
    agent_at_weather: String,
    agent_at_calendar: String,
    other_at_weather: String,
    /// The helper's, on behalf of the agent.
    derived: String,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::weather().await;
        chain(&app, &["agent", "helper"]).await;
        let both = json!([
            { "resource": "weather", "scopes": ["*"] },
            { "resource": "calendar", "scopes": ["*"] },
        ]);
        let grants = ["client_credentials", crate::support::DELEGATION];
        let agent = json!({ "access": both, "delegates": ["helper"], "grant_types": grants });
        app.client("agent", agent).await;
        app.client("other", json!({ "access": both })).await;
        let agent_at_weather = app.token("agent", WEATHER, "tool:forecast").await;
        Self {
            derived: app.exchange("helper", &agent_at_weather, &[]).await.token(),
            agent_at_calendar: app.token("agent", CALENDAR, "tool:list").await,
            other_at_weather: app.token("other", WEATHER, "tool:forecast").await,
            agent_at_weather,
            app,
        }
    }

    async fn revoke(&self, what: Value) -> Answer {
        self.app
            .admin("POST", "/revocations")
            .await
            .json(&what)
            .await
    }

    /// Which of its four tokens are active: agent's at the weather server and at the calendar,
    /// other's, the derived one.
    async fn active(&self) -> [bool; 4] {
        [
            self.app.is_active(&self.agent_at_weather).await,
            self.app.is_active(&self.agent_at_calendar).await,
            self.app.is_active(&self.other_at_weather).await,
            self.app.is_active(&self.derived).await,
        ]
    }
}

fn claim(token: &str, name: &str) -> String {
    parts(token).1[name].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_noun_ends_what_is_its_own_and_what_was_derived_from_it() {
    let scene = Scene::new().await;
    assert_eq!(scene.active().await, [true; 4]);
    let grant = claim(&scene.agent_at_weather, "grant_id");
    let jti = claim(&scene.agent_at_calendar, "jti");
    let derived_grant = claim(&scene.derived, "grant_id");
    for (what, ended, active) in [
        (json!({ "token": jti }), (0, 1), [true, false, true, true]),
        (
            json!({ "token": scene.agent_at_calendar }),
            (0, 1),
            [true, false, true, true],
        ),
        (
            json!({ "grant": derived_grant }),
            (1, 0),
            [true, true, true, false],
        ),
        (
            json!({ "grant": grant }),
            (1, 0),
            [false, true, true, false],
        ),
        (
            json!({ "client": "agent" }),
            (2, 0),
            [false, false, true, false],
        ),
        (
            json!({ "client": "helper" }),
            (1, 0),
            [true, true, true, false],
        ),
        (
            json!({ "subject": "agent" }),
            (3, 0),
            [false, false, true, false],
        ),
        (
            json!({ "resource": "weather" }),
            (3, 0),
            [false, true, false, false],
        ),
        (
            json!({ "resource": CALENDAR }),
            (1, 0),
            [true, false, true, true],
        ),
    ] {
        let scene = Scene::new().await;
        // The same scene, with names of its own.
        let what = match (what.get("token"), what.get("grant")) {
            (Some(token), _) if *token == json!(jti) => {
                json!({ "token": claim(&scene.agent_at_calendar, "jti") })
            }
            (Some(_), _) => json!({ "token": scene.agent_at_calendar }),
            (_, Some(id)) if *id == json!(grant) => {
                json!({ "grant": claim(&scene.agent_at_weather, "grant_id") })
            }
            (_, Some(_)) => json!({ "grant": claim(&scene.derived, "grant_id") }),
            _ => what,
        };
        let answer = scene.revoke(what.clone()).await;
        let (grants, tokens) = ended;
        assert_eq!(
            answer.ok(),
            json!({ "grants": grants, "tokens": tokens }),
            "{what}"
        );
        assert_eq!(scene.active().await, active, "{what}");
        // The second time there is nothing left, but for a name of which nobody knows more.
        let again = scene.revoke(what.clone()).await.ok();
        assert_eq!(again["grants"], 0, "{what}");
        // It holds over a restart; and whoever may ask gets a token that lives.
        let app = scene.app.restart().await;
        let fresh = app.token("agent", WEATHER, "tool:forecast").await;
        assert!(app.is_active(&fresh).await, "{what}");
        assert_eq!(app.is_active(&scene.derived).await, active[3], "{what}");
    }
}

#[tokio::test]
async fn a_tenant_ends_whole_and_its_administrator_goes_on() {
    let scene = Scene::new().await;
    // The administrator's own token is among them: it ends with the answer.
    let answer = scene.revoke(json!({ "tenant": "default" })).await;
    assert_eq!(answer.ok(), json!({ "grants": 5, "tokens": 0 }));
    assert_eq!(scene.active().await, [false; 4]);
}

#[tokio::test]
async fn a_tenant_is_ended_by_its_own_administrator() {
    let app = TestApp::with_tenants().await;
    for tenant in [Some(ACME), Some("globex")] {
        app.declare_weather(tenant).await;
    }
    let token = async |tenant| {
        let params = [("resource", WEATHER)];
        app.ask_in(Some(tenant), "agent", &params).await.token()
    };
    let (acme, globex) = (token(ACME).await, token("globex").await);
    let bearer = app.admin_token(Some(ACME), "writ:revocations").await;
    let revoke = |what: Value| {
        app.post("/t/acme/admin/revocations")
            .bearer(&bearer)
            .json(&what)
    };
    revoke(json!({ "tenant": "globex" }))
        .await
        .refused(400, "invalid_request");
    revoke(json!({ "token": globex }))
        .await
        .refused(400, "invalid_request");
    revoke(json!({ "tenant": ACME })).await.ok();
    let active = async |tenant: &str, token: &str| {
        let answer = app
            .post(&format!("/t/{tenant}/introspect"))
            .basic("agent", &crate::support::secret_of("agent"))
            .form(&[("token", token)])
            .await;
        answer.ok()["active"].clone()
    };
    assert_eq!(active(ACME, &acme).await, false);
    assert_eq!(active("globex", &globex).await, true);
}

#[tokio::test]
async fn the_request_names_one_thing_that_there_is() {
    let scene = Scene::new().await;
    for (what, status, code) in [
        (json!({}), 400, "invalid_request"),
        (json!({ "reason": "none" }), 400, "invalid_request"),
        (
            json!({ "client": "agent", "subject": "agent" }),
            400,
            "invalid_request",
        ),
        (json!({ "user": "agent" }), 400, "invalid_request"),
        (json!({ "token": "short" }), 400, "invalid_request"),
        (json!({ "token": "a.b.c" }), 400, "invalid_request"),
        (json!({ "tenant": "acme" }), 400, "invalid_request"),
        (
            json!({ "client": "agent", "reason": "a\nb" }),
            400,
            "invalid_request",
        ),
        (
            json!({ "client": "agent", "reason": "x".repeat(501) }),
            400,
            "invalid_request",
        ),
        (json!({ "client": "nobody" }), 404, "not_found"),
        (json!({ "resource": "nothing" }), 404, "not_found"),
    ] {
        let answer = scene.revoke(what.clone()).await;
        answer.refused(status, code);
    }
    assert_eq!(scene.active().await, [true; 4]);
    for kind in ["token.revoked", "grants.ended"] {
        assert_eq!(scene.app.count(kind).await, 0);
    }
}

#[tokio::test]
async fn who_ended_it_and_why_is_in_the_trail() {
    let scene = Scene::new().await;
    let jti = claim(&scene.agent_at_weather, "jti");
    let grant = claim(&scene.derived, "grant_id");
    for (what, kind, expected) in [
        (
            json!({ "token": scene.agent_at_weather, "reason": "leaked" }),
            "token.revoked",
            json!({
                "client_id": "admin", "sub": "admin", "reason": "leaked", "jti": jti,
                "grant_id": claim(&scene.agent_at_weather, "grant_id"),
            }),
        ),
        (
            json!({ "client": "agent", "reason": "it went mad" }),
            "grants.ended",
            json!({
                "client_id": "admin", "sub": "admin", "reason": "it went mad",
                "object": "client agent",
            }),
        ),
        (
            json!({ "grant": grant }),
            "grants.ended",
            json!({
                "client_id": "admin", "sub": "admin", "grant_id": grant,
                "object": format!("grant {grant}"),
            }),
        ),
    ] {
        scene.revoke(what).await.ok();
        let path = format!("/audit?kind={kind}");
        let events = scene.app.admin("GET", &path).await.await.ok();
        let last = events.as_array().unwrap().last().unwrap();
        for (member, value) in expected.as_object().unwrap() {
            assert_eq!(last["event"][member], *value, "{member}");
        }
    }
}

#[tokio::test]
async fn a_disabled_client_is_as_good_as_unknown() {
    let scene = Scene::new().await;
    let app = &scene.app;
    let unknown = app.ask("nobody", &[("resource", WEATHER)]).await;
    let disabled = app.admin("POST", "/clients/agent/disable").await.await.ok();
    assert_eq!(disabled["disabled"], true);
    let refused = app.ask("agent", &[("resource", WEATHER)]).await;
    refused.refused(401, "invalid_client");
    assert_eq!(refused.body, unknown.body);
    app.introspect("agent", "x")
        .await
        .refused(401, "invalid_client");
    // What it held has ended, and what others held from it.
    assert_eq!(scene.active().await, [false, false, true, false]);
    let app = scene.app.restart().await;
    app.ask("agent", &[("resource", WEATHER)])
        .await
        .refused(401, "invalid_client");
    let enabled = app.admin("POST", "/clients/agent/enable").await.await.ok();
    assert_eq!(enabled["disabled"], false);
    let fresh = app.token("agent", WEATHER, "tool:forecast").await;
    assert!(app.is_active(&fresh).await);
    // What has ended does not come back.
    for dead in [&scene.agent_at_weather, &scene.derived] {
        assert!(!app.is_active(dead).await);
    }
    app.admin("POST", "/clients/nobody/disable")
        .await
        .await
        .refused(404, "not_found");
    app.admin("POST", "/clients/admin/disable")
        .await
        .await
        .refused(409, "conflict");
}

#[tokio::test]
async fn a_declaration_that_does_not_say_leaves_a_client_disabled() {
    let scene = Scene::new().await;
    let access = json!([{ "resource": "weather", "scopes": ["*"] }]);
    let declare = async |disabled: Option<bool>| {
        let mut members = json!({ "access": access });
        if let Some(disabled) = disabled {
            members["disabled"] = json!(disabled);
        }
        scene.app.client("agent", members).await;
        scene
            .app
            .tenant(None)
            .client("agent")
            .unwrap()
            .is_disabled()
    };
    assert!(!declare(None).await);
    assert!(declare(Some(true)).await);
    assert_eq!(scene.active().await, [false, false, true, false]);
    assert!(declare(None).await);
    assert!(!declare(Some(false)).await);
    // The same through the admin API.
    let put = json!({ "client_id": "other", "access": access, "disabled": true });
    let answer = scene
        .app
        .admin("PUT", "/clients/other")
        .await
        .json(&put)
        .await;
    assert_eq!(answer.ok()["disabled"], true);
    assert_eq!(scene.active().await, [false; 4]);
}

#[tokio::test]
async fn a_disabled_client_cannot_manage_its_registration() {
    let app = TestApp::weather().await;
    let machine = json!({ "client_name": "Machine", "grant_types": ["client_credentials"] });
    let body = app
        .post("/register")
        .json(&machine)
        .await
        .with(http::StatusCode::CREATED);
    let id = body["client_id"].as_str().unwrap();
    let token = body["registration_access_token"].as_str().unwrap();
    let path = format!("/register/{id}");
    app.get(&path).bearer(token).await.ok();
    app.admin("POST", &format!("/clients/{id}/disable"))
        .await
        .await
        .ok();
    for method in ["GET", "PUT", "DELETE"] {
        app.call(method, &path)
            .bearer(token)
            .json(&machine)
            .await
            .refused(401, "invalid_token");
    }
    let client = app.tenant(None).client(id).unwrap();
    assert!(client.is_disabled());
}

#[tokio::test]
async fn what_hung_from_an_ended_grant_is_forgotten() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper", "last"]).await;
    let first = app.token("agent", WEATHER, "tool:forecast").await;
    let second = app.exchange("helper", &first, &[]).await.token();
    let third = app.exchange("last", &second, &[]).await.token();
    let own = app.token("helper", WEATHER, "tool:forecast").await;
    let what = json!({ "grant": claim(&first, "grant_id") });
    let answer = app.admin("POST", "/revocations").await.json(&what).await;
    answer.ok();
    let rows = async || {
        let rows = entity::grant::Entity::find().all(&app.state.db).await;
        let mut ids: Vec<String> = rows.unwrap().into_iter().map(|row| row.id).collect();
        ids.retain(|id| {
            [&first, &second, &third, &own]
                .iter()
                .any(|t| claim(t, "grant_id") == *id)
        });
        ids
    };
    assert_eq!(rows().await.len(), 3);
    let command = writ::journal::Command {
        changes: vec![writ::store::Change::ForgetOrphanedGrants],
        ..Default::default()
    };
    app.state.journal.commit(command).await.unwrap();
    assert_eq!(rows().await, [claim(&own, "grant_id")]);
    assert!(app.is_active(&own).await);
    assert!(!app.is_active(&third).await);
    // Whoever is handed something again starts anew.
    let first = app.token("agent", WEATHER, "tool:forecast").await;
    let second = app.exchange("helper", &first, &[]).await.token();
    assert!(app.is_active(&second).await);
}
