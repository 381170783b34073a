//! `/admin/users/{user}/sessions`: where a person is signed in.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Serialize;

use super::{Theirs, commit, may, users::named};
use crate::{
    app::AppState,
    audit::Kind,
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    registry::AdminScope,
    store::people::Sessions,
    users::session,
    web::extract::{ForTenant, Id},
};

/// A browser in which a user is signed in.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SessionView {
    /// Its public id.
    sid: String,
    /// How they proved who they are (RFC 8176).
    amr: Vec<String>,
    /// When, Unix seconds.
    authenticated_at: i64,
    /// What the browser says it is.
    user_agent: String,
    /// Where it signed in from.
    address: String,
    /// When it began, Unix seconds.
    created_at: i64,
    /// When it was last seen, to the minute, Unix seconds.
    last_used_at: i64,
    /// When it ends in any case, Unix seconds.
    expires_at: i64,
}

/// Lists the browsers in which a user is signed in.
#[utoipa::path(
    get,
    path = "/admin/users/{user}/sessions",
    params(("user" = String, Path, description = "Their id or their user name")),
    responses((status = 200, body = Vec<SessionView>), (status = 404)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
) -> Result<Json<Vec<SessionView>>> {
    may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let user = named(&app, &tenant, &user).await?;
    let sessions = session::list(&app, &tenant, &user).await?.into_iter();
    let views = sessions.map(|session| SessionView {
        sid: session.sid,
        amr: session.amr,
        authenticated_at: session.authenticated_at,
        user_agent: session.user_agent,
        address: session.address,
        created_at: session.created_at,
        last_used_at: session.last_used_at,
        expires_at: session.expires_at,
    });
    Ok(Json(views.collect()))
}

/// Ends all sessions of a user.
#[utoipa::path(
    delete,
    path = "/admin/users/{user}/sessions",
    params(("user" = String, Path, description = "Their id or their user name")),
    responses((status = 204), (status = 404)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn end_all(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let user = named(&app, &tenant, &user).await?;
    let changes = session::ending(&tenant, Sessions::Of(user.id.clone()));
    let (kind, reason) = (Kind::SignedOut, "sessions ended");
    commit(&app, &tenant, &who, kind, &user.id, reason, changes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one session of a user.
#[utoipa::path(
    delete,
    path = "/admin/users/{user}/sessions/{sid}",
    params(
        ("user" = String, Path, description = "Their id or their user name"),
        ("sid" = String, Path, description = "The session's public id"),
    ),
    responses((status = 204), (status = 404)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn end(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Theirs(user, sid): Theirs,
    credentials: Presented,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let user = named(&app, &tenant, &user).await?;
    // Only theirs: the name of another's is nobody's here.
    let sessions = session::list(&app, &tenant, &user).await?;
    if !sessions.iter().any(|session| session.sid == sid) {
        return Err(OAuthError::not_found("They have no such session."));
    }
    let reason = format!("session {sid} ended");
    let changes = session::ending(&tenant, Sessions::One(sid));
    commit(
        &app,
        &tenant,
        &who,
        Kind::SignedOut,
        &user.id,
        &reason,
        changes,
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
