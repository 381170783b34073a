//! `/admin/streams`: what receivers have agreed on, and how far they have come.

use axum::{
    Json,
    extract::{Request, State},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{may, read, revocations::reason};
use crate::{
    app::{App, AppState},
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    keys::SigningAlgorithm,
    registry::{AdminScope, Delivery, Status, Stream, SubjectStyle, Tenant},
    signals::EventKind,
    streams::{
        agreement::{POLL, PUSH, poll_url},
        changes::{self, By},
        queue,
        status::set_status_by,
    },
    web::extract::{ForTenant, Id},
};

/// Signals that are counted at most.
const MOST: usize = 1000;

/// A stream.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct StreamView {
    /// Its id.
    stream_id: String,
    /// The receiver.
    client_id: String,
    /// `aud` of its SETs.
    aud: Vec<String>,
    /// Which names its receiver understands.
    subjects: SubjectStyle,
    /// What its SETs are signed with.
    signing_algorithm: SigningAlgorithm,
    /// How they are delivered: `urn:ietf:rfc:8935` (push) or `urn:ietf:rfc:8936` (poll, feed).
    method: &'static str,
    /// Where they are pushed to, or fetched.
    endpoint_url: String,
    /// Whether an `Authorization` header goes with pushes; it is never shown.
    authorization_header: bool,
    /// `enabled`, `paused` or `disabled`.
    status: &'static str,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Its receiver's words for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Event types that are delivered, by the last part of their URI.
    events_delivered: Vec<&'static str>,
    /// Subjects that its receiver does not want to hear of.
    excluded: usize,
    /// Unix seconds.
    created_at: i64,
    /// Unix seconds.
    updated_at: i64,
    /// What waits for it; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<Backlog>,
}

/// What waits for a stream.
#[derive(Serialize, utoipa::ToSchema)]
struct Backlog {
    /// Everything up to this place is done with.
    position: i64,
    /// The last place there is.
    head: i64,
    /// How much waits in between, counted up to 1000.
    waiting: usize,
}

/// Why a status is set.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Why {
    /// For the receiver: nothing personal.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// Lists streams.
#[utoipa::path(get, path = "/admin/streams", responses((status = 200, body = Vec<StreamView>)),
    security(("token" = ["writ:read"]))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
) -> Result<Json<Vec<StreamView>>> {
    may(&app, &tenant, &credentials, AdminScope::Read).await?;
    let streams = tenant.streams();
    let streams = streams.iter().map(|stream| view(&tenant, stream, None));
    Ok(Json(streams.collect()))
}

/// Shows a stream with what waits for it.
#[utoipa::path(
    get,
    path = "/admin/streams/{id}",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = StreamView), (status = 404)),
    security(("token" = ["writ:read"]))
)]
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
) -> Result<Json<StreamView>> {
    may(&app, &tenant, &credentials, AdminScope::Read).await?;
    let stream = tenant.stream(&id).ok_or_else(nothing)?;
    whole(&app, &tenant, &stream).await
}

/// Removes a stream; its receiver may create another one.
#[utoipa::path(
    delete,
    path = "/admin/streams/{id}",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 204), (status = 404)),
    security(("token" = ["writ:events"]))
)]
pub(super) async fn remove(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Events).await?;
    let stream = tenant.stream(&id).ok_or_else(nothing)?;
    changes::remove(&app, &tenant, By::Token(&who), &stream).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has a stream delivered; what was held while it was paused comes first.
#[utoipa::path(
    post,
    path = "/admin/streams/{id}/enable",
    params(("id" = String, Path, description = "Its id")),
    request_body = Why,
    responses((status = 200, body = StreamView), (status = 400), (status = 404)),
    security(("token" = ["writ:events"]))
)]
pub(super) async fn enable(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
    request: Request,
) -> Result<Json<StreamView>> {
    set(&app, &tenant, &credentials, &id, request, Status::Enabled).await
}

/// Holds what a stream is to be told.
#[utoipa::path(
    post,
    path = "/admin/streams/{id}/pause",
    params(("id" = String, Path, description = "Its id")),
    request_body = Why,
    responses((status = 200, body = StreamView), (status = 400), (status = 404)),
    security(("token" = ["writ:events"]))
)]
pub(super) async fn pause(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
    request: Request,
) -> Result<Json<StreamView>> {
    set(&app, &tenant, &credentials, &id, request, Status::Paused).await
}

/// Tells a stream nothing, and forgets what it was to be told.
#[utoipa::path(
    post,
    path = "/admin/streams/{id}/disable",
    params(("id" = String, Path, description = "Its id")),
    request_body = Why,
    responses((status = 200, body = StreamView), (status = 400), (status = 404)),
    security(("token" = ["writ:events"]))
)]
pub(super) async fn disable(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
    request: Request,
) -> Result<Json<StreamView>> {
    set(&app, &tenant, &credentials, &id, request, Status::Disabled).await
}

async fn set(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    id: &str,
    request: Request,
    status: Status,
) -> Result<Json<StreamView>> {
    let who = may(app, tenant, credentials, AdminScope::Events).await?;
    let why: Why = read(app, request).await?;
    let reason = reason(why.reason.as_deref())?;
    let stream = tenant.stream(id).ok_or_else(nothing)?;
    let by = By::Token(&who);
    let stream = set_status_by(app, tenant, &stream, status, reason, by).await?;
    whole(app, tenant, &stream).await
}

async fn whole(app: &App, tenant: &Tenant, stream: &Stream) -> Result<Json<StreamView>> {
    let step = queue::progress(app, stream).await?.ok_or_else(nothing)?;
    let (after, settled) = (step.position, &step.settled);
    let waiting = queue::waiting(app, tenant, stream, after, settled, MOST).await?;
    let backlog = Backlog {
        position: after,
        head: app.registry.signals().head(),
        waiting: waiting.signals.len(),
    };
    Ok(Json(view(tenant, stream, Some(backlog))))
}

fn view(tenant: &Tenant, stream: &Stream, backlog: Option<Backlog>) -> StreamView {
    let (row, document) = (stream.row(), stream.document());
    let (method, endpoint_url) = match &document.delivery {
        Delivery::Push { endpoint_url } => (PUSH, endpoint_url.clone()),
        Delivery::Poll => (POLL, poll_url(tenant, stream.id())),
    };
    StreamView {
        stream_id: row.id.clone(),
        client_id: row.client_id.clone(),
        aud: document.aud.clone(),
        subjects: document.subjects,
        signing_algorithm: document.algorithm,
        method,
        endpoint_url,
        authorization_header: row.authorization.is_some(),
        status: stream.status().as_str(),
        reason: row.reason.clone(),
        description: document.description.clone(),
        events_delivered: document.delivered().map(EventKind::name).collect(),
        excluded: document.excluded.len(),
        created_at: row.created_at,
        updated_at: row.updated_at.div_euclid(1000),
        backlog,
    }
}

fn nothing() -> OAuthError {
    OAuthError::not_found("There is no such stream.")
}
