//! The one writer: what is answered is on disk, in order, and whole.

use sea_orm::ConnectionTrait as _;
use serde_json::json;
use writ::{
    journal::{Command, JournalError},
    store::Change,
};

use crate::support::{DELEGATION, Key, TestApp, WEATHER, secret_of};

#[tokio::test]
async fn a_restart_finds_everything_that_was_answered() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    let body = json!({ "grant_types": ["client_credentials"] });
    let registered = app.post("/register").json(&body).await.json();
    app.apply(json!({ "tenants": [{ "name": "acme", "clients": [
        { "client_id": "x", "client_secret": secret_of("x") },
    ]}]}))
    .await;
    let grant = |token: &str| crate::support::parts(token).1["grant_id"].clone();
    let token = app.token("agent", WEATHER, "tool:forecast").await;
    let spent = app.assertion(&key, "robot", &json!({}));
    app.ask_with(&spent, &[]).await.ok();
    let app = app.restart().await;
    let again = app.token("agent", WEATHER, "tool:forecast").await;
    assert_eq!(grant(&token), grant(&again));
    app.claims(&token).await;
    // An assertion stays used up.
    app.ask_with(&spent, &[])
        .await
        .refused(401, "invalid_client");
    let uri = registered["registration_client_uri"].as_str().unwrap();
    app.get(uri.strip_prefix(&app.issuer).unwrap())
        .bearer(registered["registration_access_token"].as_str().unwrap())
        .await
        .ok();
    assert!(app.tenant(Some("acme")).client("x").is_some());
    assert_eq!(app.tenant(None).registered_clients(), 1);
    let verified = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verified["intact"], true);
}

#[tokio::test]
async fn a_full_queue_answers_at_once_and_loses_nothing_that_was_accepted() {
    let app = TestApp::with(|c| c.storage.queue = 1).await;
    app.declare_weather(None).await;
    app.token("agent", WEATHER, "tool:forecast").await;
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let call = app
            .ask("agent", &[("resource", WEATHER)])
            .may_be_unavailable();
        set.spawn(async move { call.await });
    }
    let answers = set.join_all().await;
    let issued = answers.iter().filter(|a| a.status == 200).count();
    let refused = answers.iter().filter(|a| a.status == 503).count();
    assert_eq!(issued + refused, 64);
    assert!(
        issued >= 1 && refused >= 1,
        "{issued} issued, {refused} refused"
    );
    for answer in answers.iter().filter(|a| a.status == 503) {
        answer.refused(503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    // What was answered with a token is in the trail, and nothing else is.
    let events = app
        .admin("GET", "/audit?kind=token.issued&limit=1000")
        .await
        .await
        .ok();
    let events = events.as_array().unwrap().iter();
    assert_eq!(
        events.filter(|e| e["event"]["sub"] == "agent").count(),
        issued + 1
    );
    // The next honest request works.
    app.token("agent", WEATHER, "tool:forecast").await;
}

#[tokio::test]
async fn a_command_that_does_not_fit_is_undone_alone() {
    let app = TestApp::weather().await;
    let tenant = app.tenant(None);
    let agent = tenant.client("agent").unwrap();
    let named = |id: &str| {
        let mut row = agent.row("default");
        id.clone_into(&mut row.client_id);
        Change::PutClient { row, before: None }
    };
    let commit = |changes: Vec<Change>| {
        let journal = app.state.journal.clone();
        async move { journal.commit(Command::new(changes, Vec::new())).await }
    };
    // Three at once: the one in the middle contradicts itself half way.
    let (one, two, three) = tokio::join!(
        commit(vec![named("one")]),
        commit(vec![named("half"), named("agent")]),
        commit(vec![named("three")]),
    );
    assert_eq!(
        (one, two, three),
        (Ok(()), Err(JournalError::Conflict), Ok(()))
    );
    assert!(tenant.client("one").is_some() && tenant.client("three").is_some());
    assert!(tenant.client("half").is_none());
    let app = app.restart().await;
    assert!(app.tenant(None).client("half").is_none());
    assert!(app.tenant(None).client("three").is_some());
}

#[tokio::test]
async fn a_change_that_expects_a_row_makes_none() {
    let app = TestApp::weather().await;
    let mut row = app.tenant(None).client("agent").unwrap().row("default");
    row.client_id = "nobody".into();
    let changes = vec![Change::PutClient {
        before: Some(Box::new(row.clone())),
        row,
    }];
    let command = Command::new(changes, Vec::new());
    assert_eq!(
        app.state.journal.commit(command).await,
        Err(JournalError::Conflict)
    );
    assert!(app.tenant(None).client("nobody").is_none());
}

#[tokio::test]
async fn many_requests_at_once_make_one_unbroken_chain() {
    let app = TestApp::weather().await;
    app.advance(1);
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let call = app.ask("agent", &[("resource", WEATHER)]);
        set.spawn(async move { call.await.status });
    }
    assert!(set.join_all().await.into_iter().all(|status| status == 200));
    let verified = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verified["intact"], true);
    assert!(verified["events"].as_i64().unwrap() >= 100);
}

#[tokio::test]
async fn a_refused_request_uses_up_its_assertion_and_leaves_nothing_else() {
    let app = TestApp::weather().await;
    let key = Key::ed(1);
    app.robot(&key, json!({})).await;
    let assertion = app.assertion(&key, "robot", &json!({}));
    app.ask_with(&assertion, &[("resource", "https://nowhere.example")])
        .await
        .refused(400, "invalid_target");
    app.ask_with(&assertion, &[("resource", WEATHER)])
        .await
        .refused(401, "invalid_client");
    let events = app
        .admin("GET", "/audit?kind=token.issued")
        .await
        .await
        .ok();
    let events = events.as_array().unwrap().iter();
    assert_eq!(events.filter(|e| e["event"]["sub"] == "robot").count(), 0);
}

#[tokio::test]
async fn what_changed_is_announced_to_others_in_the_same_commit() {
    let app = TestApp::weather().await;
    app.client(
        "helper",
        json!({ "grant_types": ["client_credentials", DELEGATION] }),
    )
    .await;
    let rows = app
        .state
        .db
        .query_one_raw(sea_orm::Statement::from_string(
            app.state.db.get_database_backend(),
            "SELECT count(*) AS n FROM outbox WHERE kind = 'client' AND subject = 'helper'",
        ))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rows.try_get::<i64>("", "n").unwrap(), 1);
}

#[tokio::test]
async fn what_was_under_way_when_a_tenant_ended_is_not_found_by_the_next_of_its_name() {
    let app = TestApp::new().await;
    let tenant = json!({ "tenants": [{ "name": "beta", "clients": [
        { "client_id": "late", "client_secret": secret_of("late") },
    ]}]});
    app.apply(tenant).await;
    let row = app.tenant(Some("beta")).client("late").unwrap().row("beta");
    let gone = app.admin("DELETE", "/tenants/beta").await.await;
    assert_eq!(gone.status, 204);
    // The request had read everything it needed; only its commit comes too late.
    let change = Change::PutClient { row, before: None };
    let command = Command::new(vec![change], Vec::new());
    let outcome = app.state.journal.commit(command).await;
    assert_eq!(outcome, Err(JournalError::Conflict));
    app.apply(json!({ "tenants": [{ "name": "beta" }] })).await;
    let app = app.restart().await;
    assert!(app.tenant(Some("beta")).client("late").is_none());
}
