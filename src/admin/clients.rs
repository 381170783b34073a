//! `/admin/clients`

use axum::{
    Json,
    extract::{Request, State},
};
use http::StatusCode;
use serde::Serialize;

use super::{By, commit, consequences::with_consequences, may, read};
use crate::{
    app::{App, AppState},
    audit::Kind,
    clients::{
        declaration::{ClientDeclaration, ClientView, plan},
        digest_of,
        settings::check_declared,
    },
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    oauth::claims::AccessClaims,
    registry::{AdminScope, Tenant},
    store::Change,
    web::extract::{ForTenant, Id},
};

/// A client, and the secret that was generated for it just now.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ClientAnswer {
    /// The client.
    #[serde(flatten)]
    client: ClientView,
    /// Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

/// Lists clients.
#[utoipa::path(get, path = "/admin/clients", responses((status = 200, body = Vec<ClientView>)),
    security(("token" = ["writ:read"]))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
) -> Result<Json<Vec<ClientView>>> {
    may(&app, &tenant, &credentials, AdminScope::Read).await?;
    let clients = tenant.clients();
    let views = clients.iter().map(|client| ClientView::of(client));
    views.collect::<Result<_>>().map(Json)
}

/// Shows a client.
#[utoipa::path(
    get,
    path = "/admin/clients/{client_id}",
    params(("client_id" = String, Path, description = "Its identifier")),
    responses((status = 200, body = ClientView), (status = 404)),
    security(("token" = ["writ:read"]))
)]
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(client_id): Id,
    credentials: Presented,
) -> Result<Json<ClientView>> {
    may(&app, &tenant, &credentials, AdminScope::Read).await?;
    view(&tenant, &client_id).map(Json)
}

/// Declares a client.
#[utoipa::path(
    post,
    path = "/admin/clients",
    request_body = ClientDeclaration,
    responses((status = 201, body = ClientAnswer), (status = 400), (status = 409)),
    security(("token" = ["writ:clients"]))
)]
pub(super) async fn add(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<(StatusCode, Json<ClientAnswer>)> {
    let who = may(&app, &tenant, &credentials, AdminScope::Clients).await?;
    let declaration: ClientDeclaration = read(&app, request).await?;
    check_declared(&app, Some(&tenant), &declaration).await?;
    let _held = app.administration.lock().await;
    if tenant.client(&declaration.client_id).is_some() {
        return Err(OAuthError::conflict(format!(
            "Client '{}' exists.",
            declaration.client_id
        )));
    }
    let client_secret = put(&app, &tenant, &who, &declaration).await?;
    let client = view(&tenant, &declaration.client_id)?;
    Ok((
        StatusCode::CREATED,
        Json(ClientAnswer {
            client,
            client_secret,
        }),
    ))
}

/// Declares a client or changes it.
#[utoipa::path(
    put,
    path = "/admin/clients/{client_id}",
    params(("client_id" = String, Path, description = "Its identifier")),
    request_body = ClientDeclaration,
    responses((status = 200, body = ClientAnswer), (status = 400), (status = 409)),
    security(("token" = ["writ:clients"]))
)]
pub(super) async fn replace(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(client_id): Id,
    credentials: Presented,
    request: Request,
) -> Result<Json<ClientAnswer>> {
    let who = may(&app, &tenant, &credentials, AdminScope::Clients).await?;
    let declaration: ClientDeclaration = read(&app, request).await?;
    check_declared(&app, Some(&tenant), &declaration).await?;
    if declaration.client_id != client_id {
        return Err(OAuthError::invalid_request(
            "The client_id in the body is not the one in the URL.",
        ));
    }
    let _held = app.administration.lock().await;
    let client_secret = put(&app, &tenant, &who, &declaration).await?;
    Ok(Json(ClientAnswer {
        client: view(&tenant, &client_id)?,
        client_secret,
    }))
}

/// Removes a client; its tokens can be exchanged no more.
#[utoipa::path(
    delete,
    path = "/admin/clients/{client_id}",
    params(("client_id" = String, Path, description = "Its identifier")),
    responses((status = 204), (status = 404), (status = 409)),
    security(("token" = ["writ:clients"]))
)]
pub(super) async fn remove(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(client_id): Id,
    credentials: Presented,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Clients).await?;
    let _held = app.administration.lock().await;
    view(&tenant, &client_id)?;
    By::Token(&who).may_change(&tenant, &client_id, None)?;
    if client_id == who.client_id {
        return Err(OAuthError::conflict("A client cannot remove itself here."));
    }
    let change = Change::RemoveClient {
        tenant: tenant.name().to_owned(),
        client_id: client_id.clone(),
    };
    commit(
        &app,
        &tenant,
        &who,
        Kind::ClientChanged,
        &client_id,
        "removed",
        vec![change],
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces a client's secret with a new one; the old one holds no more.
#[utoipa::path(
    post,
    path = "/admin/clients/{client_id}/secret",
    params(("client_id" = String, Path, description = "Its identifier")),
    responses((status = 200, body = ClientAnswer), (status = 404), (status = 409)),
    security(("token" = ["writ:clients"]))
)]
pub(super) async fn new_secret(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(client_id): Id,
    credentials: Presented,
) -> Result<Json<ClientAnswer>> {
    let who = may(&app, &tenant, &credentials, AdminScope::Clients).await?;
    let _held = app.administration.lock().await;
    let client = tenant.client(&client_id).ok_or_else(nothing)?;
    By::Token(&who).may_change(&tenant, &client_id, None)?;
    if !client.rights().token_endpoint_auth_method.uses_secret() {
        return Err(OAuthError::conflict(
            "This client does not authenticate with a secret.",
        ));
    }
    let secret = app.entropy.secret("writ_cs_");
    let mut row = client.row(tenant.name());
    let before = Some(Box::new(row.clone()));
    row.secret_digest = Some(digest_of(&secret).to_vec());
    row.secret_expires_at = 0;
    row.updated_at = app.clock.seconds();
    let change = Change::PutClient { row, before };
    let reason = "new secret";
    commit(
        &app,
        &tenant,
        &who,
        Kind::ClientChanged,
        &client_id,
        reason,
        vec![change],
    )
    .await?;
    let client = view(&tenant, &client_id)?;
    Ok(Json(ClientAnswer {
        client,
        client_secret: Some(secret),
    }))
}

/// Keeps a client from authenticating, and ends what it was granted.
#[utoipa::path(
    post,
    path = "/admin/clients/{client_id}/disable",
    params(("client_id" = String, Path, description = "Its identifier")),
    responses((status = 200, body = ClientView), (status = 404), (status = 409)),
    security(("token" = ["writ:clients"]))
)]
pub(super) async fn disable(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(client_id): Id,
    credentials: Presented,
) -> Result<Json<ClientView>> {
    switch(&app, &tenant, &credentials, &client_id, Switch::Disabled).await
}

/// Lets a disabled client authenticate again; what it was granted has ended.
#[utoipa::path(
    post,
    path = "/admin/clients/{client_id}/enable",
    params(("client_id" = String, Path, description = "Its identifier")),
    responses((status = 200, body = ClientView), (status = 404), (status = 409)),
    security(("token" = ["writ:clients"]))
)]
pub(super) async fn enable(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(client_id): Id,
    credentials: Presented,
) -> Result<Json<ClientView>> {
    switch(&app, &tenant, &credentials, &client_id, Switch::Enabled).await
}

#[derive(Clone, Copy, PartialEq)]
enum Switch {
    Disabled,
    Enabled,
}

async fn switch(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    client_id: &str,
    to: Switch,
) -> Result<Json<ClientView>> {
    let who = may(app, tenant, credentials, AdminScope::Clients).await?;
    let _held = app.administration.lock().await;
    let client = tenant.client(client_id).ok_or_else(nothing)?;
    By::Token(&who).may_change(tenant, client_id, None)?;
    if client_id == who.client_id {
        return Err(OAuthError::conflict("A client cannot disable itself here."));
    }
    let disabled = to == Switch::Disabled;
    if client.is_disabled() != disabled {
        let mut row = client.row(tenant.name());
        let before = Some(Box::new(row.clone()));
        row.disabled = disabled;
        row.updated_at = app.clock.seconds();
        let change = Change::PutClient { row, before };
        let reason = if disabled { "disabled" } else { "enabled" };
        let changes = with_consequences(app, tenant, &tenant.resources(), change)?;
        let kind = Kind::ClientChanged;
        commit(app, tenant, &who, kind, client_id, reason, changes).await?;
    }
    view(tenant, client_id).map(Json)
}

async fn put(
    app: &App,
    tenant: &Tenant,
    who: &AccessClaims,
    declaration: &ClientDeclaration,
) -> Result<Option<String>> {
    let plan = plan(
        tenant,
        &tenant.resources(),
        declaration,
        &app.entropy,
        app.config.fetch.allow_private_addresses_for_tests,
        app.clock.seconds(),
    )?;
    By::Token(who).may_change(tenant, &declaration.client_id, plan.change.as_ref())?;
    if let Some(change) = plan.change {
        let (kind, id) = (Kind::ClientChanged, &declaration.client_id);
        let changes = with_consequences(app, tenant, &tenant.resources(), change)?;
        commit(app, tenant, who, kind, id, "put", changes).await?;
    }
    Ok(plan.secret)
}

fn view(tenant: &Tenant, client_id: &str) -> Result<ClientView> {
    let client = tenant.client(client_id).ok_or_else(nothing)?;
    ClientView::of(&client)
}

fn nothing() -> OAuthError {
    OAuthError::not_found("There is no such client.")
}
