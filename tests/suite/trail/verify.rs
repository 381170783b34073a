//! Verification finds every kind of tampering. Each test edits the real database as somebody would
//! who may write to it and does not have the sealing key.

use aws_lc_rs::digest::{SHA256, digest};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::Value;
use writ::audit::Event;

use crate::support::{ACME, TestApp, WEATHER};

/// A server with a few events behind it.
async fn scene() -> TestApp {
    let app = TestApp::weather().await;
    for _ in 0..3 {
        app.token("agent", WEATHER, "tool:forecast").await;
    }
    app
}

impl TestApp {
    /// What verification of a tenant says, without a new event: the token is there already.
    async fn verdict(&self, tenant: Option<&str>, token: &str) -> Value {
        let path = tenant.map_or_else(String::new, |name| format!("/t/{name}"));
        let path = format!("{path}/admin/audit/verify");
        self.get(&path).bearer(token).await.ok()
    }
}

const LAST: &str = "(SELECT max(seq) FROM audit_event WHERE tenant = 'default')";

#[tokio::test]
async fn an_untouched_trail_holds_also_after_a_restart() {
    let app = scene().await;
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verdict["intact"], true, "{verdict}");
    assert_eq!(verdict["problems"], serde_json::json!([]));
    assert_eq!(verdict["events"], verdict["total"]);
    assert!(verdict.get("next").is_none());
    let app = app.restart().await;
    app.token("agent", WEATHER, "tool:forecast").await;
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verdict["intact"], true, "{verdict}");
}

/// Every kind of tampering, by what it does and by what verification says of it.
const TAMPERING: [(&str, &str); 16] = [
    (
        "UPDATE audit_event SET event = replace(event, 'agent', 'other') WHERE tenant = 'default' \
         AND seq = (SELECT min(seq) FROM audit_event WHERE kind = 'token.issued')",
        "was changed",
    ),
    (
        "UPDATE audit_event SET at = at + 1 WHERE seq = 2",
        "row 2 was changed",
    ),
    (
        "UPDATE audit_event SET kind = 'token.refused' WHERE seq = 2",
        "row 2 was changed",
    ),
    (
        "UPDATE audit_event SET hash = (SELECT hash FROM audit_event WHERE seq = 3 LIMIT 1) WHERE seq = 2",
        "row 2 was changed",
    ),
    // Removed: within, at the front, at the end, all of them.
    (
        "DELETE FROM audit_event WHERE seq = 2",
        "row 2 is missing: 3 follows",
    ),
    (
        "DELETE FROM audit_event WHERE seq = 1",
        "row 1 is missing: 2 follows",
    ),
    (
        "DELETE FROM audit_event WHERE seq <= 3",
        "row 1 is missing: 4 follows",
    ),
    (
        "DELETE FROM audit_event WHERE seq = LAST",
        "the end was cut off",
    ),
    (
        "DELETE FROM audit_event WHERE seq > 2",
        "the end was cut off: the rows end at 2",
    ),
    (
        "DELETE FROM audit_event",
        "the end was cut off: the rows end at 0",
    ),
    // Moved and reordered.
    (
        "UPDATE audit_event SET seq = seq + 1000 WHERE seq = 2",
        "row 2 is missing: 3 follows",
    ),
    (
        "UPDATE audit_event SET seq = -seq WHERE seq IN (2, 3); \
         UPDATE audit_event SET seq = 5 + seq WHERE seq IN (-2, -3)",
        "row 2 was changed",
    ),
    // Inserted: a copy behind the end, and one before the beginning.
    (
        "INSERT INTO audit_event SELECT tenant, node, seq + 1, at, kind, event, hash FROM \
         audit_event WHERE seq = LAST",
        "was inserted",
    ),
    (
        "INSERT INTO audit_event SELECT tenant, node, 0, at, kind, event, hash FROM audit_event \
         WHERE seq = 1",
        "row 0 was inserted",
    ),
    // The head.
    (
        "DELETE FROM audit_head",
        "the head of the chain was removed",
    ),
    (
        "UPDATE audit_head SET last_seq = last_seq - 1",
        "the head was not signed",
    ),
];

#[tokio::test]
async fn every_kind_of_tampering_is_found_at_once_and_after_a_restart() {
    for (sql, wanted) in TAMPERING {
        let app = scene().await;
        let token = app.admin_token(None, "writ:audit").await;
        app.sql(&sql.replace("LAST", LAST)).await;
        let verdict = app.verdict(None, &token).await;
        found(&verdict, wanted, sql);
        // A server that starts on such a database must not cover it up.
        let app = app.restart().await;
        app.token("agent", WEATHER, "tool:forecast").await;
        let verdict = app.admin("GET", "/audit/verify").await.await.ok();
        assert_eq!(verdict["intact"], false, "{sql}: {verdict}");
    }
}

#[track_caller]
fn found(verdict: &Value, wanted: &str, what: &str) {
    assert_eq!(verdict["intact"], false, "{what}: {verdict}");
    let problems = verdict["problems"].as_array().unwrap().iter();
    let mut words = problems.map(|p| p["problem"].as_str().unwrap());
    assert!(
        words.any(|words| words.contains(wanted)),
        "{what}: {verdict}"
    );
}

/// The hash of a row as the chain defines it, for somebody who knows everything but the key.
fn hash(previous: &[u8], seq: i64, at: i64, kind: &str, event: &str) -> Vec<u8> {
    let mut text = previous.to_vec();
    text.extend(seq.to_be_bytes());
    text.extend(at.to_be_bytes());
    text.extend((kind.len() as u64).to_be_bytes());
    text.extend(kind.as_bytes());
    text.extend(event.as_bytes());
    digest(&SHA256, &text).as_ref().to_vec()
}

/// Computes the whole chain anew, as it would be had another client got the tokens.
async fn rewrite(app: &TestApp) -> Vec<u8> {
    let query = "SELECT seq, at, kind, replace(event, '\"agent\"', '\"other\"') AS event FROM \
                 audit_event WHERE tenant = 'default' ORDER BY seq";
    let query = Statement::from_string(app.state.db.get_database_backend(), query);
    let rows = app.state.db.query_all_raw(query).await.unwrap();
    let mut previous = vec![0; 32];
    for row in rows {
        let (seq, at): (i64, i64) = (
            row.try_get("", "seq").unwrap(),
            row.try_get("", "at").unwrap(),
        );
        let kind: String = row.try_get("", "kind").unwrap();
        let event: String = row.try_get("", "event").unwrap();
        previous = hash(&previous, seq, at, &kind, &event);
        let event = event.replace('\'', "''");
        app.sql(&format!(
            "UPDATE audit_event SET event = '{event}', hash = {} WHERE tenant = 'default' AND \
             seq = {seq}",
            app.blob(&previous)
        ))
        .await;
    }
    previous
}

#[tokio::test]
async fn a_chain_that_was_computed_anew_without_the_key_is_found() {
    let app = scene().await;
    let token = app.admin_token(None, "writ:audit").await;
    let last = rewrite(&app).await;
    found(&app.verdict(None, &token).await, "computed anew", "rows");
    // The head can be made to say so too, but not signed.
    app.sql(&format!(
        "UPDATE audit_head SET last_hash = {}",
        app.blob(&last)
    ))
    .await;
    found(
        &app.verdict(None, &token).await,
        "the head was not signed",
        "rows and head",
    );
    let app = app.restart().await;
    app.token("agent", WEATHER, "tool:forecast").await;
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    found(
        &verdict,
        "did not hold when the server last read it",
        "restart",
    );
}

#[tokio::test]
async fn a_trail_that_was_rolled_back_as_a_whole_is_found_while_the_server_runs() {
    let app = scene().await;
    let token = app.admin_token(None, "writ:audit").await;
    app.sql("CREATE TABLE old_head AS SELECT * FROM audit_head")
        .await;
    let old = app.number(LAST).await;
    app.token("agent", WEATHER, "tool:forecast").await;
    // An honest head of an earlier moment, with the rows of that moment.
    app.sql(
        "DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM old_head; \
         DROP TABLE old_head",
    )
    .await;
    app.sql(&format!(
        "DELETE FROM audit_event WHERE tenant = 'default' AND seq > {old}"
    ))
    .await;
    found(
        &app.verdict(None, &token).await,
        "rolled back",
        "rows and head",
    );
    // The writer goes on from what it knows: the gap stays.
    app.token("agent", WEATHER, "tool:forecast").await;
    found(
        &app.verdict(None, &token).await,
        "is missing",
        "the next event",
    );
}

#[tokio::test]
async fn a_chain_that_is_gone_with_its_head_is_found() {
    let app = scene().await;
    let token = app.admin_token(None, "writ:audit").await;
    app.sql("DELETE FROM audit_head; DELETE FROM audit_event")
        .await;
    found(
        &app.verdict(None, &token).await,
        "the head of the chain was removed",
        "running",
    );
}

#[tokio::test]
async fn a_chain_that_went_while_the_server_was_down_does_not_begin_anew() {
    for (tenant, path) in [(None, ""), (Some(ACME), "/t/acme")] {
        let app = TestApp::with_tenants().await;
        let token = app.admin_token(tenant, "writ:audit").await;
        assert_eq!(app.verdict(tenant, &token).await["intact"], true);
        app.sql("DELETE FROM audit_event; DELETE FROM audit_head")
            .await;
        let app = app.restart().await;
        let token = app.admin_token(tenant, "writ:audit").await;
        let verdict = app.verdict(tenant, &token).await;
        found(
            &verdict,
            "no chain begins with the tenant's first keys",
            path,
        );
    }
}

#[tokio::test]
async fn the_trail_of_a_tenant_that_has_ended_is_read_at_the_servers_own_issuer() {
    let app = TestApp::with_tenants().await;
    let theirs = app.admin_token(Some("globex"), "writ:audit").await;
    let verify = "/audit/verify?tenant=acme";
    assert_eq!(app.admin("GET", verify).await.await.ok()["intact"], true);
    for path in [verify, "/audit?tenant=acme"] {
        app.get(&format!("/t/globex/admin{path}"))
            .bearer(&theirs)
            .await
            .refused(404, "not_found");
    }
    app.admin("DELETE", "/tenants/acme").await.await;
    let events = app.events("tenant=acme").await;
    assert_eq!(events[0]["event"]["reason"], "first keys");
    let verdict = app.admin("GET", verify).await.await.ok();
    assert_eq!(
        (&verdict["intact"], &verdict["events"]),
        (&true.into(), &events.len().into())
    );
    app.sql("UPDATE audit_event SET at = at + 1 WHERE tenant = 'acme' AND seq = 1")
        .await;
    let verdict = app.admin("GET", verify).await.await.ok();
    found(&verdict, "row 1 was changed", "ended");
    app.admin("GET", "/audit/verify?tenant=nobody")
        .await
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_truncation_between_two_pages_is_no_fault() {
    let app = scene().await;
    let token = app.admin_token(None, "writ:audit").await;
    app.other_node((0..12_000).map(|at| (at, Event::default())))
        .await;
    let page = app.get("/admin/audit/verify").bearer(&token).await.ok();
    let next = format!(
        "/admin/audit/verify?cursor={}",
        page["next"].as_str().unwrap()
    );
    app.other_node_cuts(11_000).await;
    let page = app.get(&next).bearer(&token).await.ok();
    assert_eq!(page["intact"], true, "{page}");
    assert!(page.get("next").is_none());
    // What is missing behind the new beginning is found.
    app.sql("DELETE FROM audit_event WHERE node = '2' AND seq = 11001")
        .await;
    let page = app.get(&next).bearer(&token).await.ok();
    found(&page, "row 11001 is missing", "behind the anchor");
}

#[tokio::test]
async fn chains_that_change_tenants_or_nodes_are_found() {
    let app = TestApp::with_tenants().await;
    let root = app.admin_token(None, "writ:audit").await;
    let acme = app.admin_token(Some(ACME), "writ:audit").await;
    app.sql(
        "UPDATE audit_event SET tenant = 'x' WHERE tenant = 'default'; \
         UPDATE audit_event SET tenant = 'default' WHERE tenant = 'acme'; \
         UPDATE audit_event SET tenant = 'acme' WHERE tenant = 'x'",
    )
    .await;
    assert_eq!(app.verdict(None, &root).await["intact"], false);
    assert_eq!(app.verdict(Some(ACME), &acme).await["intact"], false);
    // With their heads: each was signed for the other's place.
    app.sql(
        "UPDATE audit_head SET tenant = 'x' WHERE tenant = 'default'; \
         UPDATE audit_head SET tenant = 'default' WHERE tenant = 'acme'; \
         UPDATE audit_head SET tenant = 'acme' WHERE tenant = 'x'",
    )
    .await;
    found(
        &app.verdict(None, &root).await,
        "the head was not signed",
        "tenants",
    );
    found(
        &app.verdict(Some(ACME), &acme).await,
        "the head was not signed",
        "tenants",
    );
    let app = scene().await;
    let token = app.admin_token(None, "writ:audit").await;
    app.sql("UPDATE audit_event SET node = '2'; UPDATE audit_head SET node = '2'")
        .await;
    found(
        &app.verdict(None, &token).await,
        "the head was not signed",
        "nodes",
    );
}

#[tokio::test]
async fn a_long_trail_is_judged_in_pages_and_every_chain_of_it() {
    const ROWS: i64 = 12_000;
    let app = scene().await;
    let token = app.admin_token(None, "writ:audit").await;
    app.other_node((0..ROWS).map(|at| (at, Event::default())))
        .await;
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("/admin/audit/verify{cursor}"))
            .bearer(&token)
            .await
            .ok();
        let next = page["next"].as_str().map(|next| format!("?cursor={next}"));
        pages.push(page);
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert!(pages.len() > 1);
    let last = pages.last().unwrap();
    assert_eq!(
        (&last["intact"], &last["events"]),
        (&true.into(), &last["total"])
    );
    assert!(last["events"].as_i64().unwrap() > ROWS);

    app.sql(
        "DELETE FROM audit_event WHERE node = '2' AND seq = 11900; \
             UPDATE audit_event SET at = 1 WHERE node = '1' AND seq = 2",
    )
    .await;
    let first = app.get("/admin/audit/verify").bearer(&token).await.ok();
    found(&first, "row 2 was changed", "the first chain");
    let cursor = first["next"].as_str().unwrap();
    let path = format!("/admin/audit/verify?cursor={cursor}");
    let second = app.get(&path).bearer(&token).await.ok();
    found(&second, "row 11900 is missing", "the second chain");
    assert_eq!(second["problems"][0]["node"], "2");
}
