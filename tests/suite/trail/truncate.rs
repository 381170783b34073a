//! The beginning of the trail taken away: only what is old, judged and delivered.

use serde_json::{Value, json};

use crate::support::{TestApp, WEATHER};

/// Events of three days.
async fn scene() -> TestApp {
    let app = TestApp::weather().await;
    for _ in 0..3 {
        app.token("agent", WEATHER, "tool:forecast").await;
        app.advance(86_400);
    }
    app
}

const SECOND_DAY: &str = "2027-01-16T07:00:00Z";

async fn truncate(app: &TestApp) -> crate::support::Answer {
    let body = json!({ "before": SECOND_DAY });
    app.admin("POST", "/audit/truncate").await.json(&body).await
}

#[tokio::test]
async fn what_is_left_holds_and_begins_at_the_anchor() {
    let app = scene().await;
    let before = app.events("").await;
    let old = before
        .iter()
        .filter(|e| e["at"].as_i64().unwrap() < 1_800_082_800_000);
    let last_old = old.clone().next_back().unwrap();
    let done = truncate(&app).await.ok();
    assert_eq!(done["events"], old.clone().count());
    assert_eq!(done["first_seq"], last_old["seq"]);
    assert_eq!(done["more"], false);
    let after = app.events("").await;
    assert_eq!(
        after[0]["seq"].as_i64().unwrap(),
        last_old["seq"].as_i64().unwrap() + 1
    );
    // The event names who did it and the hash that the rest begins at.
    let cut = app.events("kind=audit.truncated").await;
    assert_eq!(cut.len(), 1);
    assert_eq!(cut[0]["event"]["object"], last_old["hash"]);
    assert_eq!(cut[0]["event"]["count"], done["events"]);
    assert!(
        cut[0]["event"]["reason"]
            .as_str()
            .unwrap()
            .ends_with("by admin")
    );
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verdict["intact"], true, "{verdict}");
    // Again there is nothing to do, and a restart changes nothing.
    assert_eq!(truncate(&app).await.ok()["events"], 0);
    let app = app.restart().await;
    app.token("agent", WEATHER, "tool:forecast").await;
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verdict["intact"], true, "{verdict}");
}

#[tokio::test]
async fn cutting_off_more_than_was_truncated_is_found() {
    let app = scene().await;
    let first = truncate(&app).await.ok()["first_seq"].as_i64().unwrap();
    app.sql(&format!(
        "DELETE FROM audit_event WHERE seq = {}",
        first + 1
    ))
    .await;
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verdict["intact"], false);
    let problem = verdict["problems"][0]["problem"].as_str().unwrap();
    assert!(
        problem.contains(&format!("row {} is missing", first + 1)),
        "{problem}"
    );
}

#[tokio::test]
async fn a_broken_chain_is_not_truncated() {
    for sql in [
        "UPDATE audit_event SET at = at + 1 WHERE seq = 2",
        "DELETE FROM audit_event WHERE seq = 1",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET mac = last_hash",
        "DELETE FROM audit_event WHERE seq > 5",
    ] {
        let app = scene().await;
        let token = app.admin_token(None, "writ:admin").await;
        app.sql(sql).await;
        let rows = app.number("SELECT count(*) FROM audit_event").await;
        app.post("/admin/audit/truncate")
            .bearer(&token)
            .json(&json!({ "before": SECOND_DAY }))
            .await
            .refused(409, "conflict");
        assert_eq!(
            app.number("SELECT count(*) FROM audit_event").await,
            rows,
            "{sql}"
        );
    }
}

#[tokio::test]
async fn retention_judges_the_whole_chain_first() {
    let app = scene().await;
    let before = 1_800_082_800_000;
    let seqs = |events: &[Value]| events.iter().map(|e| e["seq"].as_i64()).collect::<Vec<_>>();
    // A fault behind what would go.
    app.sql("UPDATE audit_event SET at = at + 1 WHERE seq = (SELECT max(seq) FROM audit_event)")
        .await;
    let all = seqs(&app.events("node=1").await);
    writ::trail::truncate::all_before(&app.state, before)
        .await
        .unwrap();
    assert_eq!(seqs(&app.events("node=1").await)[..all.len()], all);
    // Without the fault the same goes.
    let app = scene().await;
    let all = seqs(&app.events("node=1").await);
    writ::trail::truncate::all_before(&app.state, before)
        .await
        .unwrap();
    assert!(seqs(&app.events("node=1").await)[0] > all[0]);
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verdict["intact"], true, "{verdict}");
}

#[tokio::test]
async fn nothing_goes_that_a_sink_has_not_got() {
    let nowhere = "tcp://127.0.0.1:1";
    let app = TestApp::with(|config| config.audit.export_syslog = nowhere.into()).await;
    app.declare_weather(None).await;
    app.token("agent", WEATHER, "tool:forecast").await;
    app.advance(2 * 86_400);
    assert_eq!(truncate(&app).await.ok()["events"], 0);
    app.sql("INSERT INTO audit_cursor VALUES ('syslog', 'default', '1', 2)")
        .await;
    let done = truncate(&app).await.ok();
    assert_eq!(
        (&done["events"], &done["first_seq"]),
        (&json!(2), &json!(2))
    );
}

#[tokio::test]
async fn a_truncation_that_makes_no_sense_is_refused() {
    let app = TestApp::new().await;
    for body in [
        json!({}),
        json!({ "before": "yesterday" }),
        json!({ "before": 5 }),
    ] {
        app.admin("POST", "/audit/truncate")
            .await
            .json(&body)
            .await
            .refused(400, "invalid_request");
    }
}
