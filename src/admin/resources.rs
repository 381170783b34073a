//! `/admin/resources`

use axum::{
    Json,
    extract::{Request, State},
};
use http::StatusCode;

use super::{commit, may, read};
use crate::{
    app::{App, AppState},
    audit::Kind,
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    oauth::claims::AccessClaims,
    registry::{AdminScope, Resource, Tenant},
    resources::declaration::{ResourceDeclaration, ResourceView, plan, removal},
    store::Change,
    streams::declared,
    web::extract::{ForTenant, Id},
};

/// Lists resources.
#[utoipa::path(get, path = "/admin/resources", responses((status = 200, body = Vec<ResourceView>)),
    security(("token" = ["writ:read"]))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
) -> Result<Json<Vec<ResourceView>>> {
    may(&app, &tenant, &credentials, AdminScope::Read).await?;
    let resources = tenant.resources();
    let declared = resources
        .all()
        .into_iter()
        .filter(|resource| !resource.is_builtin());
    Ok(Json(
        declared
            .map(|resource| ResourceView::new(&tenant, resource))
            .collect(),
    ))
}

/// Shows a resource.
#[utoipa::path(
    get,
    path = "/admin/resources/{id}",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = ResourceView), (status = 404)),
    security(("token" = ["writ:read"]))
)]
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
) -> Result<Json<ResourceView>> {
    may(&app, &tenant, &credentials, AdminScope::Read).await?;
    view(&tenant, &id).map(Json)
}

/// Declares a resource.
#[utoipa::path(
    post,
    path = "/admin/resources",
    request_body = ResourceDeclaration,
    responses((status = 201, body = ResourceView), (status = 400), (status = 409)),
    security(("token" = ["writ:resources"]))
)]
pub(super) async fn add(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<(StatusCode, Json<ResourceView>)> {
    let who = may(&app, &tenant, &credentials, AdminScope::Resources).await?;
    let declaration: ResourceDeclaration = read(&app, request).await?;
    let _held = app.administration.lock().await;
    if tenant.resources().by_id(&declaration.id).is_some() {
        return Err(OAuthError::conflict(format!(
            "Resource '{}' exists.",
            declaration.id
        )));
    }
    put(&app, &tenant, &who, &declaration).await?;
    Ok((StatusCode::CREATED, Json(view(&tenant, &declaration.id)?)))
}

/// Declares a resource or changes it.
#[utoipa::path(
    put,
    path = "/admin/resources/{id}",
    params(("id" = String, Path, description = "Its id")),
    request_body = ResourceDeclaration,
    responses((status = 200, body = ResourceView), (status = 400), (status = 409)),
    security(("token" = ["writ:resources"]))
)]
pub(super) async fn replace(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
    request: Request,
) -> Result<Json<ResourceView>> {
    let who = may(&app, &tenant, &credentials, AdminScope::Resources).await?;
    let mut declaration: ResourceDeclaration = read(&app, request).await?;
    if declaration.id.is_empty() {
        declaration.id.clone_from(&id);
    }
    if declaration.id != id {
        return Err(OAuthError::invalid_request(
            "The id in the body is not the one in the URL.",
        ));
    }
    let _held = app.administration.lock().await;
    put(&app, &tenant, &who, &declaration).await?;
    view(&tenant, &id).map(Json)
}

/// Removes a resource: no more tokens for it are issued.
#[utoipa::path(
    delete,
    path = "/admin/resources/{id}",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 204), (status = 404)),
    security(("token" = ["writ:resources"]))
)]
pub(super) async fn remove(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Resources).await?;
    let _held = app.administration.lock().await;
    let resources = tenant.resources();
    let resource = resources
        .by_id(&id)
        .filter(|resource| !resource.is_builtin())
        .ok_or_else(nothing)?;
    let changes = removal(&tenant, resource);
    commit(
        &app,
        &tenant,
        &who,
        Kind::ResourceChanged,
        &id,
        "removed",
        changes,
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn put(
    app: &App,
    tenant: &Tenant,
    who: &AccessClaims,
    declaration: &ResourceDeclaration,
) -> Result<()> {
    let resources = tenant.resources();
    let owner = resources
        .by_id(&declaration.id)
        .and_then(|r| r.row().registered_by.clone());
    let now = app.clock.seconds();
    let change = plan(tenant, &resources, declaration, owner.as_deref(), now)?;
    let mut known = (**resources).clone();
    if let Some(Change::PutResource { row, .. }) = &change {
        known.insert(Resource::from_row(row).map_err(OAuthError::server_error)?);
    }
    let stream = match &declaration.stream {
        Some(stream) => declared::plan(app, tenant, &known, &[], &declaration.id, stream)?.change,
        None => None,
    };
    let changes: Vec<Change> = change.into_iter().chain(stream).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let (kind, id) = (Kind::ResourceChanged, &declaration.id);
    commit(app, tenant, who, kind, id, "put", changes).await
}

fn view(tenant: &Tenant, id: &str) -> Result<ResourceView> {
    let resources = tenant.resources();
    resources
        .by_id(id)
        .filter(|resource| !resource.is_builtin())
        .map(|resource| ResourceView::new(tenant, resource))
        .ok_or_else(nothing)
}

fn nothing() -> OAuthError {
    OAuthError::not_found("There is no such resource.")
}
