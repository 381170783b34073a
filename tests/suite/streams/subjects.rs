//! `/ssf/subjects/add` and `/ssf/subjects/remove`

use http::StatusCode;
use serde_json::{Value, json};

use super::{CREDENTIAL_CHANGE, Receivers, SERVER, SESSION_REVOKED};
use crate::support::Answer;

async fn send(receivers: &Receivers, verb: &str, id: &str, subject: &Value) -> Answer {
    let body = json!({ "stream_id": id, "subject": subject });
    let call = receivers.call(SERVER, "POST", &format!("/subjects/{verb}"));
    call.json(&body).await
}

fn excluded(receivers: &Receivers, id: &str) -> usize {
    let stream = receivers.app.tenant(None).stream(id).unwrap();
    stream.document().excluded.len()
}

#[tokio::test]
async fn to_remove_is_to_exclude_and_to_add_takes_that_back() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let subject = json!({ "format": "iss_sub", "iss": "https://as.example", "sub": "u" });
    for _ in 0..2 {
        let answer = send(&receivers, "remove", &id, &subject).await;
        answer.with(StatusCode::NO_CONTENT);
        assert_eq!(excluded(&receivers, &id), 1);
    }
    for _ in 0..2 {
        let answer = send(&receivers, "add", &id, &subject).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert_eq!(excluded(&receivers, &id), 0);
    }
    // The stream is not shown with whom it leaves out, and hears of itself always.
    let itself = json!({ "format": "opaque", "id": id });
    send(&receivers, "remove", &id, &itself)
        .await
        .with(StatusCode::NO_CONTENT);
    assert_eq!(excluded(&receivers, &id), 0);
}

#[tokio::test]
async fn what_is_no_subject_is_refused() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    for subject in [
        json!("u"),
        json!({}),
        json!({ "format": "shoe_size", "size": "44" }),
        json!({ "format": "email" }),
        json!({ "format": "email", "email": "a@b.example", "name": "A" }),
        json!({ "format": "complex", "user": { "format": "complex" } }),
        Value::Null,
    ] {
        for verb in ["add", "remove"] {
            let answer = send(&receivers, verb, &id, &subject).await;
            answer.refused(400, "invalid_request");
        }
    }
    let subject = json!({ "format": "email", "email": "a@b.example" });
    let body = json!({ "stream_id": id, "subject": subject, "verified": "yes" });
    let answer = receivers
        .call(SERVER, "POST", "/subjects/add")
        .json(&body)
        .await;
    answer.refused(400, "invalid_request");
    let unknown = send(&receivers, "remove", "st-unknown", &subject).await;
    unknown.refused(404, "not_found");
    assert_eq!(excluded(&receivers, &id), 0);
}

#[tokio::test]
async fn there_is_an_end_to_what_can_be_excluded() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let mut last = None;
    for i in 0..1000 {
        let long = format!("{i:04}{}", "x".repeat(1990));
        let subject = json!({ "format": "opaque", "id": long });
        let answer = send(&receivers, "remove", &id, &subject).await;
        if answer.status != 204 {
            answer.refused(429, "temporarily_unavailable");
            break;
        }
        last = Some(subject);
    }
    let held = excluded(&receivers, &id);
    assert!((50..1000).contains(&held), "{held}");
    let answer = send(&receivers, "add", &id, &last.unwrap()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(excluded(&receivers, &id), held - 1);
}

#[tokio::test]
async fn an_exclusion_holds_after_a_day_and_never_for_an_end() {
    let receivers = Receivers::new().await;
    let id = receivers.stream().await;
    let subject = json!({ "format": "iss_sub", "iss": "https://as.example", "sub": "u" });
    send(&receivers, "remove", &id, &subject)
        .await
        .with(StatusCode::NO_CONTENT);
    let emit = async || {
        for (kind, event) in [
            ("session-revoked", json!({})),
            (
                "credential-change",
                json!({ "credential_type": "password", "change_type": "update" }),
            ),
        ] {
            let body = json!({ "type": kind, "subject": subject, "event": event });
            receivers
                .app
                .admin("POST", "/events")
                .await
                .json(&body)
                .await
                .ok();
        }
    };
    emit().await;
    assert_eq!(
        receivers.kinds(&id).await,
        [SESSION_REVOKED, CREDENTIAL_CHANGE]
    );
    receivers.app.advance(86_400);
    emit().await;
    // What was written before is judged by the clock of now, too.
    assert_eq!(
        receivers.kinds(&id).await,
        [SESSION_REVOKED, SESSION_REVOKED]
    );
}
