//! What the server itself does to a stream.

use serde_json::json;

use crate::{
    app::App,
    audit::{Event, Kind},
    error::{OAuthError, Result},
    journal::Command,
    registry::{Status, Stream, Tenant},
    signals::{Audience, Cause, Draft, EventKind, Initiator, LASTING, Level, subject},
    store::Change,
};

/// Gives a stream another status, and tells its receiver (SSF 1.0 §8.1.5).
///
/// # Errors
/// When it has changed meanwhile, or cannot be written down.
pub(super) async fn set_status(
    app: &App,
    tenant: &Tenant,
    stream: &Stream,
    status: Status,
    why: &str,
) -> Result<()> {
    let before = stream.row().clone();
    let mut row = before.clone();
    row.status = status.as_str().to_owned();
    row.reason = Some(why.to_owned());
    row.updated_at = app.clock.millis().max(before.updated_at + 1);
    let told = json!({ "status": status.as_str(), "reason": why });
    let draft = Draft {
        audience: Audience::Stream(stream.id().to_owned()),
        level: Level::Stream,
        kind: EventKind::STREAM_UPDATED,
        subject: subject::stream(stream.id()),
        members: told.as_object().cloned().unwrap_or_default(),
        lifetime: LASTING,
    };
    let cause = Cause::new(&app.entropy, Initiator::System, why);
    let signal = draft.row(tenant.name(), &cause, &app.entropy, app.clock.millis());
    let object = format!("stream {}", stream.id());
    let reason = format!("{}: {why}", status.as_str());
    let event = Event {
        client_id: Some(stream.client_id()),
        object: Some(&object),
        reason: Some(&reason),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::StreamChanged, &event)];
    let before = Some(Box::new(before));
    let changes = vec![Change::PutStream { row, before }, Change::Signal(signal)];
    let command = Command::new(changes, audit);
    app.journal.commit(command).await.map_err(OAuthError::from)
}
