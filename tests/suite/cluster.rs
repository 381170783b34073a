//! Two nodes on one database: what one has answered, the other knows a moment later.
//!
//! They need PostgreSQL, so they run where the suite runs on it (`--include-ignored`).

use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use serde_json::json;
use writ::{
    app::StartError,
    clients::{cimd, find},
    journal::JournalError,
    store::{Change, Whose},
};

use crate::support::{DELEGATION, DocumentHost, Key, TestApp, WEATHER, parts, secret_of};

/// Waits until it is so; a change is late after ten seconds, and lost for all we know.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("this never came: {what}");
}

async fn two() -> (TestApp, TestApp) {
    let one = TestApp::weather().await;
    let two = one.another_node("2").await;
    (one, two)
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn what_is_declared_changed_and_removed_at_one_is_so_at_the_other() {
    let (one, two) = two().await;
    let form = [("resource", WEATHER)];
    one.client(
        "late",
        json!({ "access": [{ "resource": "weather", "scopes": ["*"] }] }),
    )
    .await;
    eventually("the client", async || {
        two.ask("late", &form).await.status == 200
    })
    .await;
    two.apply(json!({ "tenants": [{ "name": "beta", "clients": [
        { "client_id": "x", "client_secret": secret_of("x") },
    ]}]}))
    .await;
    eventually("the tenant", async || {
        let beta = one.state.registry.find("beta");
        beta.is_some_and(|beta| beta.client("x").is_some() && !beta.keys().keys().is_empty())
    })
    .await;
    let gone = one.admin("DELETE", "/clients/late").await.await;
    assert_eq!(gone.status, 204);
    eventually("the removal", async || {
        two.ask("late", &form).await.status == 401
    })
    .await;
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn a_tenant_that_ended_leaves_nothing_at_the_other_node() {
    let (one, two) = two().await;
    let with = json!({ "tenants": [{ "name": "beta", "clients": [
        { "client_id": "x", "client_secret": secret_of("x") },
    ]}]});
    one.apply(with).await;
    let known = async |client: &str| {
        let beta = two.state.registry.find("beta");
        beta.is_some_and(|beta| beta.client(client).is_some())
    };
    eventually("the tenant", async || known("x").await).await;
    one.admin("DELETE", "/tenants/beta").await.await;
    one.apply(json!({ "tenants": [{ "name": "beta", "clients": [
        { "client_id": "y", "client_secret": secret_of("y") },
    ]}]}))
    .await;
    eventually("the new tenant", async || known("y").await).await;
    assert!(!known("x").await);
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn both_give_one_client_one_grant_and_its_end_reaches_both() {
    let (one, two) = two().await;
    let (first, second) = tokio::join!(
        one.token("agent", WEATHER, "tool:forecast"),
        two.token("agent", WEATHER, "tool:forecast"),
    );
    let grant = |token: &str| parts(token).1["grant_id"].as_str().unwrap().to_owned();
    assert_eq!(grant(&first), grant(&second));
    let ended = Change::EndGrants {
        tenant: "default".into(),
        whose: Whose::Client("agent".into()),
    };
    one.commit(vec![ended]).await.unwrap();
    let held = |app: &TestApp, token: &str| app.tenant(None).holds_grant("agent", &grant(token));
    assert!(!held(&one, &first));
    eventually("the end of the grant", async || !held(&two, &first)).await;
    // The next token hangs from a new one, whichever node is asked.
    let next = two.token("agent", WEATHER, "tool:forecast").await;
    eventually("the new grant", async || held(&one, &next)).await;
    assert_ne!(grant(&first), grant(&next));
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn an_assertion_used_at_one_is_used_up_at_the_other() {
    let (one, two) = two().await;
    let key = Key::ed(1);
    one.robot(&key, json!({})).await;
    eventually("the client", async || {
        two.tenant(None).client("robot").is_some()
    })
    .await;
    let assertion = one.assertion(&key, "robot", &json!({}));
    let (first, second) = tokio::join!(
        one.ask_with(&assertion, &[("resource", WEATHER)]),
        two.ask_with(&assertion, &[("resource", WEATHER)]),
    );
    let mut answers = [first.status, second.status];
    answers.sort_unstable();
    assert_eq!(answers, [200, 401]);
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn a_lost_doorbell_and_lost_news_cost_no_change() {
    let (one, two) = two().await;
    let sql = |text: &'static str| {
        let db = one.state.db.clone();
        async move { db.execute_unprepared(text).await.unwrap() }
    };
    // Whoever listens is cut off.
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'")
    .await;
    one.client("early", json!({})).await;
    let known = async |id: &str| two.tenant(None).client(id).is_some();
    eventually("the client", async || known("early").await).await;
    // A change whose news was forgotten before this node was back.
    sql("DELETE FROM client WHERE client_id = 'early'").await;
    sql("UPDATE node SET seq = seq + 10 WHERE name = '3'").await;
    sql("INSERT INTO node (name, seq) VALUES ('3', 10)").await;
    eventually("what happened meanwhile", async || !known("early").await).await;
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn the_database_may_be_away_for_a_while() {
    let (one, two) = two().await;
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    one.state.db.execute_unprepared(sql).await.unwrap();
    // Whoever has lost its connection says so and has another a moment later.
    eventually("a new connection", async || {
        let form = [("resource", WEATHER)];
        let answer = two.ask("agent", &form).may_be_unavailable().await;
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        answer.status == 200
    })
    .await;
    eventually("the feed", async || two.state.feed.is_fresh()).await;
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn what_one_has_just_answered_with_the_other_does_not_refuse() {
    let (one, two) = two().await;
    one.client(
        "twin",
        json!({
            "grant_types": ["client_credentials", DELEGATION],
            "access": [{ "resource": "weather", "scopes": ["*"] }],
        }),
    )
    .await;
    // No waiting: a client that is unknown, a grant that is unknown.
    let form = [("resource", WEATHER), ("scope", "tool:forecast")];
    two.ask("twin", &form).await.token();
    for name in ["a", "b", "c"] {
        let access = json!({ "access": [{ "resource": "weather", "scopes": ["*"] }],
            "grant_types": ["client_credentials", DELEGATION] });
        one.client(name, access).await;
        let token = one.token(name, WEATHER, "tool:forecast").await;
        two.exchange(name, &token, &[]).await.token();
    }
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn both_maintain_keys_and_there_is_one_next_key_of_each_algorithm() {
    let (one, two) = two().await;
    one.advance(91 * 86_400);
    two.advance(91 * 86_400);
    for _ in 0..3 {
        let (first, second) = (one.tenant(None), two.tenant(None));
        let outcomes = tokio::join!(
            one.state.maintain_keys(&first),
            two.state.maintain_keys(&second)
        );
        let may_lose = |outcome: Result<(), StartError>| {
            matches!(
                outcome,
                Ok(()) | Err(StartError::Journal(JournalError::Conflict))
            )
        };
        assert!(may_lose(outcomes.0) && may_lose(outcomes.1));
        one.state.feed.catch_up().await;
        two.state.feed.catch_up().await;
    }
    let states = |app: &TestApp| {
        let keys = app.tenant(None).keys().rows();
        let mut states: Vec<_> = keys
            .into_iter()
            .map(|key| (key.algorithm, key.state))
            .collect();
        states.sort();
        states
    };
    assert_eq!(states(&one), states(&two));
    let next = states(&one)
        .iter()
        .filter(|(_, state)| state == "next")
        .count();
    assert_eq!(next, 3);
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn a_change_made_from_an_old_reading_does_not_undo_another_nodes() {
    let (one, two) = two().await;
    // What a request at one node has read before the other node's answer reached it.
    let read = two.tenant(None).client("agent").unwrap().row("default");
    let off = one.admin("POST", "/clients/agent/disable").await.await;
    assert_eq!(off.status, 200);
    let mut row = read.clone();
    row.updated_at += 1;
    let before = Some(Box::new(read));
    let late = two.commit(vec![Change::PutClient { row, before }]).await;
    assert_eq!(late, Err(JournalError::Conflict));
    eventually("the end of the client", async || {
        two.ask("agent", &[("resource", WEATHER)]).await.status == 401
    })
    .await;
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn failures_of_strangers_hold_up_nobody() {
    let (_one, two) = two().await;
    let (mut strangers, honest) = (tokio::task::JoinSet::new(), [("resource", WEATHER)]);
    for _ in 0..32 {
        let calls: Vec<_> = (0..20).map(|_| two.ask("nobody", &honest)).collect();
        strangers.spawn(async move {
            for call in calls {
                assert_eq!(call.await.status, 401);
            }
        });
    }
    for _ in 0..20 {
        two.ask("agent", &honest).await.token();
    }
    strangers.join_all().await;
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn clients_that_nobody_uses_are_forgotten_once_and_everywhere() {
    let (one, two) = two().await;
    let machine = json!({ "grant_types": ["client_credentials"] });
    for _ in 0..20 {
        let answer = one.post("/register").json(&machine).await;
        answer.with(http::StatusCode::CREATED);
    }
    eventually("the clients", async || {
        two.tenant(None).registered_clients() == 20
    })
    .await;
    let before = one.now() + 1;
    let forget = || vec![Change::ForgetUnusedClients { before }];
    let (first, second) = tokio::join!(one.commit(forget()), two.commit(forget()));
    first.unwrap();
    second.unwrap();
    eventually("that they are gone", async || {
        one.tenant(None).registered_clients() + two.tenant(None).registered_clients() == 0
    })
    .await;
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn a_client_that_one_has_let_in_by_its_document_the_other_serves_at_once() {
    let here = |config: &mut writ::config::Config| {
        config.fetch.allow_private_addresses_for_tests = true;
    };
    let one = TestApp::with(here).await;
    one.declare_weather(None).await;
    let two = one.another_node("2").await;
    let (host, key) = (DocumentHost::start().await, Key::ed(1));
    host.publish(&host.document(&json!({
        "token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks(),
        "grant_types": ["authorization_code", "client_credentials"],
    })));
    let client = find(&one.state, &one.tenant(None), &host.url()).await;
    let row = cimd::row(&one.state, &one.tenant(None), &client.unwrap());
    one.commit(vec![row.unwrap()]).await.unwrap();
    let assertion = two.assertion(&key, &host.url(), &json!({}));
    two.ask_with(&assertion, &[("resource", WEATHER)])
        .await
        .ok();
    // Both were the first to allow it something.
    let other = find(&two.state, &two.tenant(None), &host.url()).await;
    let mut row = other.unwrap().row("default");
    row.created_at += 1;
    let again = Change::PutClient { row, before: None };
    two.commit(vec![again]).await.unwrap();
}
