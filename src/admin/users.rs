//! `/admin/users`: accounts.

use axum::{
    Json,
    extract::{Query, Request, State},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{commit, may, read};
use crate::{
    app::{App, AppState},
    audit::Kind,
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    registry::{AdminScope, Tenant},
    store::people,
    users::{
        User, account, change,
        credential::Credentials,
        declaration::{CredentialsView, UserDeclaration, UserView, plan},
    },
    web::extract::{ForTenant, Id},
};

/// Users of one answer, unless it is asked for fewer.
const PAGE: u64 = 1000;

/// A user with what they sign in with.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct UserAnswer {
    /// The user.
    #[serde(flatten)]
    user: UserView,
    /// What they sign in with.
    credentials: CredentialsView,
}

/// Which users.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    /// Those whose names come after this one.
    #[serde(default)]
    after: Option<String>,
    /// At most this many, 1000 otherwise.
    #[serde(default)]
    limit: Option<u64>,
}

/// Lists users by name.
#[utoipa::path(get, path = "/admin/users", params(Selection),
    responses((status = 200, body = Vec<UserView>)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    which: Result<Query<Selection>, axum::extract::rejection::QueryRejection>,
    credentials: Presented,
) -> Result<Json<Vec<UserView>>> {
    let Query(which) = which.map_err(|why| OAuthError::invalid_request(why.body_text()))?;
    may(&app, &tenant, &credentials, AdminScope::Users).await?;
    if !which.after.as_deref().is_none_or(account::is_text) {
        return Err(OAuthError::invalid_request("after has a NUL in it."));
    }
    let after = which.after.as_deref().map(account::key);
    let limit = which.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let rows = people::users(&app.db, tenant.name(), after.as_deref(), limit).await?;
    let views = rows.into_iter().map(|row| User::from_row(row).into());
    Ok(Json(views.collect()))
}

/// Shows a user.
#[utoipa::path(
    get,
    path = "/admin/users/{user}",
    params(("user" = String, Path, description = "Their id or their user name")),
    responses((status = 200, body = UserAnswer), (status = 404)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
) -> Result<Json<UserAnswer>> {
    may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let user = named(&app, &tenant, &user).await?;
    answer(&app, &tenant, user).await.map(Json)
}

/// Makes a user.
#[utoipa::path(
    post,
    path = "/admin/users",
    request_body = UserDeclaration,
    responses((status = 201, body = UserAnswer), (status = 400), (status = 409)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn add(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<(StatusCode, Json<UserAnswer>)> {
    let who = may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let declared: UserDeclaration = read(&app, request).await?;
    let plan = plan(&app, &tenant, &declared).await?;
    if plan.exists {
        let name = &declared.username;
        return Err(OAuthError::conflict(format!("User '{name}' exists.")));
    }
    let (kind, id) = (Kind::UserChanged, &plan.user.id);
    commit(&app, &tenant, &who, kind, id, "created", plan.changes).await?;
    let answer = answer(&app, &tenant, plan.user).await?;
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Changes what is known of a user; a password only when there is none.
#[utoipa::path(
    put,
    path = "/admin/users/{user}",
    params(("user" = String, Path, description = "Their id or their user name")),
    request_body = UserDeclaration,
    responses((status = 200, body = UserAnswer), (status = 400), (status = 404), (status = 409)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn replace(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
    request: Request,
) -> Result<Json<UserAnswer>> {
    let who = may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let declared: UserDeclaration = read(&app, request).await?;
    let user = named(&app, &tenant, &user).await?;
    if account::key(&declared.username) != account::key(&user.username) {
        return Err(OAuthError::invalid_request(
            "The username in the body is not the one in the URL.",
        ));
    }
    let plan = plan(&app, &tenant, &declared).await?;
    if !plan.changes.is_empty() {
        let (kind, id) = (Kind::UserChanged, &plan.user.id);
        commit(&app, &tenant, &who, kind, id, "changed", plan.changes).await?;
    }
    answer(&app, &tenant, plan.user).await.map(Json)
}

/// Removes a user; all that they granted ends.
#[utoipa::path(
    delete,
    path = "/admin/users/{user}",
    params(("user" = String, Path, description = "Their id or their user name")),
    responses((status = 204), (status = 404)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn remove(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let user = named(&app, &tenant, &user).await?;
    let changes = change::removed(&tenant, &user.id);
    let kind = Kind::UserChanged;
    commit(&app, &tenant, &who, kind, &user.id, "removed", changes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps a user from signing in, and ends their sessions and all that they granted.
#[utoipa::path(
    post,
    path = "/admin/users/{user}/disable",
    params(("user" = String, Path, description = "Their id or their user name")),
    responses((status = 200, body = UserAnswer), (status = 404), (status = 409)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn disable(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
) -> Result<Json<UserAnswer>> {
    switch(&app, &tenant, &credentials, &user, true).await
}

/// Lets a user sign in again; what they granted has ended.
#[utoipa::path(
    post,
    path = "/admin/users/{user}/enable",
    params(("user" = String, Path, description = "Their id or their user name")),
    responses((status = 200, body = UserAnswer), (status = 404), (status = 409)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn enable(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
) -> Result<Json<UserAnswer>> {
    switch(&app, &tenant, &credentials, &user, false).await
}

async fn switch(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    user: &str,
    disabled: bool,
) -> Result<Json<UserAnswer>> {
    let who = may(app, tenant, credentials, AdminScope::Users).await?;
    let before = named(app, tenant, user).await?;
    let mut user = before.clone();
    if before.disabled != disabled {
        user.disabled = disabled;
        user.updated_at = app.clock.seconds();
        let changes = change::replaced(tenant, &before, &user);
        let reason = if disabled { "disabled" } else { "enabled" };
        let (kind, id) = (Kind::UserChanged, &user.id);
        commit(app, tenant, &who, kind, id, reason, changes).await?;
    }
    answer(app, tenant, user).await.map(Json)
}

/// A user by id, or by name.
pub(super) async fn named(app: &App, tenant: &Tenant, text: &str) -> Result<User> {
    if let Some(user) = account::find(app, tenant, text).await? {
        return Ok(user);
    }
    let found = account::find_by_username(app, tenant, text).await?;
    found.ok_or_else(nothing)
}

async fn answer(app: &App, tenant: &Tenant, user: User) -> Result<UserAnswer> {
    let credentials = Credentials::of(app, tenant, &user).await?;
    Ok(UserAnswer {
        user: user.into(),
        credentials: (&credentials).into(),
    })
}

fn nothing() -> OAuthError {
    OAuthError::not_found("There is no such user.")
}
