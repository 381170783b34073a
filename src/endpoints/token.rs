//! `POST /token` (RFC 6749 §3.2).

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};

use super::extract::{ForTenant, form, parameters};
use crate::{
    app::AppState,
    clients, context,
    error::{OAuthError, Result},
    grant_types::{self, GrantType, TokenRequest},
    oauth::grant_type::AuthMethod,
    policy::Permit,
    tokens::{self, TokenResponse},
};

/// Authenticates the client, has the grant type decide, issues.
///
/// # Errors
/// The registered code of whatever says no.
pub async fn token(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<TokenResponse> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let mut authenticated = clients::authenticate(&app, &tenant, &headers, &params).await?;
    let spent = authenticated.spent();
    let request = TokenRequest {
        app: &app,
        tenant: &tenant,
        authenticated: &authenticated,
        params: &params,
    };
    let (grant_type, permit) = match decide(request).await {
        Ok(decided) => decided,
        Err(refusal) => {
            // Nobody is remembered who proved nothing: strangers must not be able to fill the disk.
            if authenticated.method != AuthMethod::None {
                let client_id = authenticated.client.id();
                tokens::refuse(&app, &tenant, client_id, &refusal, spent).await?;
            }
            return Err(refusal);
        }
    };
    let response = tokens::issue(&app, &tenant, permit, spent).await?;
    Ok(match (grant_type.issues)(&params) {
        Some(token_type) => response.issued_as(token_type),
        None => response,
    })
}

async fn decide(request: TokenRequest<'_>) -> Result<(&'static GrantType, Permit)> {
    let name = request
        .params
        .get("grant_type")
        .ok_or_else(|| OAuthError::invalid_request("grant_type is missing."))?;
    let grant_type = grant_types::find(name).ok_or_else(|| {
        OAuthError::unsupported_grant_type(format!(
            "grant_type must be one of {}.",
            grant_types::names().join(", ")
        ))
    })?;
    context::asked_for(grant_type.name);
    if !request.authenticated.client.may_use(grant_type.name) {
        return Err(OAuthError::unauthorized_client(format!(
            "This client is not registered for the grant type '{name}'."
        )));
    }
    let permit = (grant_type.decide)(request).await?;
    Ok((grant_type, permit))
}

impl IntoResponse for TokenResponse {
    fn into_response(self) -> Response {
        let mut response = Json(self).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }
}
