//! The beginning of the trail taken away: only what is old, judged and delivered.

use std::future::IntoFuture as _;

use serde_json::json;
use writ::{
    journal::{Command, JournalError},
    store::Change,
};

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
async fn one_broken_chain_does_not_keep_retention_from_the_others() {
    let app = TestApp::with_tenants().await;
    app.advance(2 * 86_400);
    let token = app.admin_token(None, "writ:audit").await;
    app.sql("UPDATE audit_event SET at = at + 1 WHERE tenant = 'acme' AND seq = 1")
        .await;
    let first = |tenant: &str| {
        let sql = format!("SELECT min(seq) FROM audit_event WHERE tenant = '{tenant}'");
        let app = &app;
        async move { app.number(&sql).await }
    };
    writ::trail::truncate::all_before(&app.state, 1_800_082_800_000)
        .await
        .unwrap();
    assert_eq!(first("acme").await, 1);
    assert!(first("default").await > 1);
    let path = "/admin/audit/verify";
    let verdict = app.get(path).bearer(&token).await.ok();
    assert_eq!(verdict["intact"], true, "{verdict}");
}

#[tokio::test]
async fn retention_judges_what_goes_and_both_ends() {
    const LAST: &str = "seq = (SELECT max(seq) FROM audit_event)";
    for sql in [
        "UPDATE audit_event SET at = at + 1 WHERE seq = 2".to_owned(),
        format!("DELETE FROM audit_event WHERE {LAST}"),
        format!("UPDATE audit_event SET hash = hash || hash WHERE {LAST}"),
    ] {
        let app = scene().await;
        app.sql(&sql).await;
        let rows = app.number("SELECT count(*) FROM audit_event").await;
        writ::trail::truncate::all_before(&app.state, 1_800_082_800_000)
            .await
            .unwrap();
        let left = app.number("SELECT count(*) FROM audit_event").await;
        assert_eq!(left, rows, "{sql}");
    }
}

#[tokio::test]
async fn of_two_truncations_at_once_each_row_goes_once() {
    let app = scene().await;
    let token = app.admin_token(None, "writ:admin").await;
    let ask = || {
        app.post("/admin/audit/truncate")
            .bearer(&token)
            .json(&json!({ "before": SECOND_DAY }))
            .into_future()
    };
    let retention = writ::trail::truncate::all_before(&app.state, 1_800_082_800_000);
    let (one, other, by_age) = tokio::join!(ask(), ask(), retention);
    by_age.unwrap();
    for answer in [one, other] {
        answer.ok();
    }
    let cuts = app.events("kind=audit.truncated").await;
    assert_eq!(cuts.len(), 1, "{cuts:?}");
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verdict["intact"], true, "{verdict}");
}

#[tokio::test]
async fn a_cut_holds_only_where_the_chain_begins_as_it_was_judged() {
    let app = scene().await;
    let hashes = app.events("").await;
    let place = |seq: i64| {
        let event = hashes.iter().find(|event| event["seq"] == seq);
        let hash = event.map_or([0; 32], |event| {
            let text = event["hash"].as_str().unwrap();
            let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
            std::array::from_fn(byte)
        });
        (seq, hash)
    };
    let cut = |first, anchor| Command {
        changes: vec![Change::CutAudit {
            tenant: "default".into(),
            node: "1".into(),
            first: place(first),
            anchor: place(anchor),
        }],
        ..Command::default()
    };
    let journal = &app.state.journal;
    // Both were judged from the beginning; the later one would set the anchor back.
    let both = tokio::join!(journal.commit(cut(0, 3)), journal.commit(cut(0, 2)));
    assert_eq!(both, (Ok(()), Err(JournalError::Conflict)));
    for (first, anchor) in [(0, 4), (3, 3), (3, 2), (3, 1000)] {
        let outcome = journal.commit(cut(first, anchor)).await;
        assert_eq!(outcome, Err(JournalError::Conflict), "{first} {anchor}");
    }
    let verdict = app.admin("GET", "/audit/verify").await.await.ok();
    assert_eq!(verdict["intact"], true, "{verdict}");
    // Nor where the chain was broken when the writer met it.
    app.sql("DELETE FROM audit_head").await;
    let app = app.restart().await;
    let outcome = app.state.journal.commit(cut(0, 4)).await;
    assert_eq!(outcome, Err(JournalError::Conflict));
    assert_eq!(app.number("SELECT min(seq) FROM audit_event").await, 4);
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
