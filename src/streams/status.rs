//! `{issuer}/ssf/status`: whether a stream is delivered, held or thrown away (SSF 1.0 §8.1.2), and
//! what this transmitter does to it by itself.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::{Request, State},
    response::Response,
};
use entity::signal;
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::{
    answers::answer,
    asked::{Members, in_query, members, named, receiver, refuse, said, text, unnamed},
    changes::{self, By, Next},
    push::farewell,
};
use crate::{
    app::{App, AppState},
    endpoints::protected::Presented,
    error::Result,
    registry::{EventsScope, Status, Stream, Tenant},
    signals::{Audience, Cause, Draft, EventKind, Initiator, LASTING, Level, subject},
    store::{Change, progress::Step},
    web::extract::ForTenant,
};

/// Why the server pauses a stream to which it could deliver nothing for too long.
pub const UNREACHABLE: &str = "the receiver cannot be reached";
/// Longest reason, bytes.
const MAX_REASON: usize = 500;

/// Reads the status of a stream.
///
/// # Errors
/// 401, 403, 400 when none is named, 404.
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    uri: Uri,
) -> Result<Response> {
    let who = receiver(&app, &tenant, &credentials, EventsScope::Read).await?;
    let stream = in_query(&app, &tenant, &who, &uri).await?;
    let stream = stream.ok_or_else(unnamed)?;
    Ok(answer(StatusCode::OK, &shown(&stream)))
}

/// Sets the status of a stream. Its receiver knows that it did: no event tells it so.
///
/// # Errors
/// 401, 403, 400, 404.
pub(super) async fn set(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    let who = receiver(&app, &tenant, &credentials, EventsScope::Manage).await?;
    let members = members(&app, request).await?;
    let stream = named(&app, &tenant, &who, &members).await?;
    let status = said(&members, "status").and_then(Value::as_str);
    let status = status
        .and_then(Status::parse)
        .ok_or_else(|| refuse("status", "enabled, paused or disabled"))?;
    let reason = reason(&members)?;
    let plan = |stream: &Stream| Ok(next(&app, stream, status, reason));
    let by = By::Token(&who);
    let stream = changes::change(&app, &tenant, by, stream.id(), plan).await?;
    Ok(answer(StatusCode::OK, &shown(&stream)))
}

/// Why, in its receiver's words. They are stored and shown as they are: PostgreSQL takes no NUL,
/// and terminals take other things for orders.
fn reason(members: &Members) -> Result<Option<&str>> {
    let reason = text(members, "reason", MAX_REASON)?;
    if reason.is_some_and(|text| text.chars().any(char::is_control)) {
        return Err(refuse("reason", "a text without control characters"));
    }
    Ok(reason)
}

fn shown(stream: &Stream) -> Value {
    let mut shown = json!({ "stream_id": stream.id(), "status": stream.status().as_str() });
    if let Some(reason) = &stream.row().reason {
        shown["reason"] = json!(reason);
    }
    shown
}

/// A stream with another status, or another reason for it.
fn next(app: &App, stream: &Stream, status: Status, reason: Option<&str>) -> Option<Next> {
    let before = stream.row();
    if stream.status() == status && before.reason.as_deref() == reason {
        return None;
    }
    let mut row = before.clone();
    status.as_str().clone_into(&mut row.status);
    row.reason = reason.map(str::to_owned);
    let forgets = status == Status::Disabled || stream.status() == Status::Disabled;
    Some(Next {
        row,
        with: forgets.then(|| forget(app, stream)).into_iter().collect(),
        what: status.as_str().to_owned(),
    })
}

/// What has happened until now is no concern of a stream: it was, or is, thrown away.
fn forget(app: &App, stream: &Stream) -> Change {
    let row = stream.row();
    Change::Progress(vec![Step {
        tenant: row.tenant.clone(),
        stream: row.id.clone(),
        position: app.registry.signals().head(),
        settled: BTreeSet::new(),
    }])
}

/// Sets the status of a stream by this transmitter's own decision, and tells its receiver in the
/// same commit (SSF 1.0 §8.1.5). One that is pushed and stopped is told before this answers, or
/// has had its chance.
///
/// # Errors
/// 404 when it has been deleted, and when nothing can be written.
pub async fn set_status_by_us(
    app: &App,
    tenant: &Tenant,
    stream: &Stream,
    status: Status,
    reason: Option<&str>,
) -> Result<Arc<Stream>> {
    set_status_by(app, tenant, stream, status, reason, By::Server).await
}

/// The same, by whoever administers this transmitter.
///
/// # Errors
/// As [`set_status_by_us`].
pub async fn set_status_by(
    app: &App,
    tenant: &Tenant,
    stream: &Stream,
    status: Status,
    reason: Option<&str>,
    by: By<'_>,
) -> Result<Arc<Stream>> {
    let initiator = match by {
        By::Server => Initiator::System,
        By::Token(_) => Initiator::Admin,
    };
    let cause = Cause::new(&app.entropy, initiator, reason.unwrap_or_default());
    let updated = updated(app, stream, status, reason, &cause);
    let plan = |stream: &Stream| {
        let next = next(app, stream, status, reason).map(|mut next| {
            next.with.push(Change::Signal(updated.clone()));
            next
        });
        Ok(next)
    };
    let stream = changes::change(app, tenant, by, stream.id(), plan).await?;
    if !stream.is_enabled() {
        farewell(app, tenant, &stream, updated).await;
    }
    Ok(stream)
}

/// `stream-updated`
fn updated(
    app: &App,
    stream: &Stream,
    status: Status,
    reason: Option<&str>,
    cause: &Cause,
) -> signal::Model {
    let mut members = Map::from_iter([("status".to_owned(), json!(status.as_str()))]);
    members.extend(reason.map(|reason| ("reason".to_owned(), json!(reason))));
    let draft = Draft {
        audience: Audience::Stream(stream.id().to_owned()),
        level: Level::Stream,
        kind: EventKind::STREAM_UPDATED,
        subject: subject::stream(stream.id()),
        members,
        lifetime: LASTING,
    };
    let tenant = &stream.row().tenant;
    draft.row(tenant, cause, &app.entropy, app.clock.millis())
}
