//! `POST /register` (RFC 7591) and `GET|PUT|DELETE /register/{client_id}` (RFC 7592).

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::protected::{Presented, administrator};
use crate::{
    app::AppState,
    clients::registration,
    config::RegistrationMode,
    context,
    error::{OAuthError, Result},
    registry::AdminScope,
    web::extract::{ForTenant, Id, bearer, json},
};

/// Registers a client.
///
/// # Errors
/// `invalid_token` where a token is asked for, 404 where registration is off, 429 when the address
/// registers too often, and what the metadata rules say.
pub async fn register(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    match tenant.registration() {
        RegistrationMode::Open => {}
        RegistrationMode::Token => {
            let scope = AdminScope::ClientRegister;
            administrator(&app, &tenant, &credentials, scope).await?;
        }
        RegistrationMode::Off => {
            return Err(OAuthError::not_found("Dynamic client registration is off."));
        }
    }
    app.limits.registration(context::address())?;
    let body = as_metadata(json(request, app.config.limits.body).await)?;
    let registered = registration::register(&app, &tenant, &body).await?;
    Ok(answer(StatusCode::CREATED, &registered))
}

/// Shows what is registered.
///
/// # Errors
/// `invalid_token`
pub async fn show(
    ForTenant(tenant): ForTenant,
    Id(client_id): Id,
    headers: HeaderMap,
) -> Result<Response> {
    let token = bearer(&headers);
    let client = registration::authorize(&tenant, &client_id, token)?;
    let registered = registration::show(&tenant, &client, token.unwrap_or_default())?;
    Ok(answer(StatusCode::OK, &registered))
}

/// Replaces the metadata.
///
/// # Errors
/// `invalid_token`, and what the metadata rules say.
pub async fn replace(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(client_id): Id,
    request: Request,
) -> Result<Response> {
    let token = bearer(request.headers()).map(str::to_owned);
    let body = as_metadata(json(request, app.config.limits.body).await)?;
    let registered =
        registration::replace(&app, &tenant, &client_id, token.as_deref(), &body).await?;
    Ok(answer(StatusCode::OK, &registered))
}

/// Removes the client.
///
/// # Errors
/// `invalid_token`
pub async fn remove(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(client_id): Id,
    headers: HeaderMap,
) -> Result<StatusCode> {
    registration::remove(&app, &tenant, &client_id, bearer(&headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// RFC 7591 §3.2.2 has a code of its own for a body that cannot be read.
fn as_metadata<T>(body: Result<T>) -> Result<T> {
    use crate::oauth::error_code::ErrorCode::InvalidRequest;
    body.map_err(|error| match error.code {
        InvalidRequest => OAuthError::invalid_client_metadata(error.description().into_owned()),
        _ => error,
    })
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
