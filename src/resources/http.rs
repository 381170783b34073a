//! The room's URLs.

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};

use super::{
    declaration::{ResourceView, removal},
    self_registration,
};
use crate::{
    app::AppState,
    audit::{Event, Kind},
    endpoints::{
        discovery,
        protected::{Presented, administrator},
    },
    error::{OAuthError, Result},
    journal::Command,
    registry::AdminScope,
    web::extract::{ForTenant, Id, json},
};

/// The room's part of the URL table.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/resources", post(register))
        .route("/resources/{id}", get(show).delete(remove))
        .route("/resources/{id}/oauth-protected-resource", get(metadata))
}

/// Registers or updates the MCP server that asks.
///
/// # Errors
/// 401 or 403 without a token of scope `resource:register`, 400 for a declaration that does not
/// hold, 409 when id or URI are taken.
async fn register(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    let scope = AdminScope::ResourceRegister;
    let claims = administrator(&app, &tenant, &credentials, scope).await?;
    let body = json(request, app.config.limits.body).await?;
    let declaration = serde_json::from_slice(&body)
        .map_err(|why| OAuthError::invalid_request(format!("The declaration: {why}.")))?;
    let registered =
        self_registration::register(&app, &tenant, &claims.client_id, declaration).await?;
    let status = if registered.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = (status, Json(registered.body)).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Shows what the asking client has registered.
///
/// # Errors
/// 401 or 403, 404 for another one's.
async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
) -> Result<Json<ResourceView>> {
    let claims = administrator(&app, &tenant, &credentials, AdminScope::ResourceRegister).await?;
    let resources = tenant.resources();
    let own = resources
        .by_id(&id)
        .filter(|r| r.row().registered_by.as_deref() == Some(&claims.client_id));
    own.map(|r| Json(ResourceView::new(&tenant, r)))
        .ok_or_else(nothing)
}

/// Takes away what the asking client has registered, with the credentials it was given.
///
/// # Errors
/// 401 or 403, 404 for another one's.
async fn remove(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    credentials: Presented,
) -> Result<StatusCode> {
    let claims = administrator(&app, &tenant, &credentials, AdminScope::ResourceRegister).await?;
    let _held = app.administration.lock().await;
    let resources = tenant.resources();
    let own = resources
        .by_id(&id)
        .filter(|r| r.row().registered_by.as_deref() == Some(&claims.client_id))
        .ok_or_else(nothing)?;
    let changes = removal(&tenant, own);
    let event = Event {
        client_id: Some(&claims.client_id),
        object: Some(&id),
        reason: Some("removed"),
        ..Event::default()
    };
    let audit = vec![app.record(&tenant, Kind::ResourceRegistered, &event)];
    app.journal.commit(Command::new(changes, audit)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The RFC 9728 document of a resource, for its server to serve or redirect to.
///
/// # Errors
/// 404
async fn metadata(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
) -> Result<Response> {
    let resources = tenant.resources();
    let resource = resources.by_id(&id).ok_or_else(nothing)?;
    Ok(discovery::document(
        &app,
        &resource.metadata(tenant.issuer()),
    ))
}

fn nothing() -> OAuthError {
    OAuthError::not_found("There is no such resource.")
}
