//! `POST /token` (RFC 6749 §3.2).

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};

use super::extract::{ForTenant, form};
use crate::{
    app::{App, AppState},
    clients::{self, Authenticated},
    context,
    error::{OAuthError, Result},
    grant_types::{self, GrantType, TokenRequest},
    oauth::{error_code::ErrorCode, grant_type::AuthMethod, params::Params},
    policy::Permit,
    registry::Tenant,
    store::{Change, Once},
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
    let params = Params::parse(&body).map_err(|why| {
        OAuthError::invalid_request(format!("{}.", capitalised(&why.to_string())))
    })?;
    let mut authenticated = clients::authenticate(&app, &tenant, &headers, &params).await?;
    context::asked_by(&authenticated.client);
    let spent = authenticated.once.take().map(|row| Change::UseOnce {
        row,
        what: Once::Assertion,
    });
    let request = TokenRequest {
        app: &app,
        tenant: &tenant,
        authenticated: &authenticated,
        params: &params,
    };
    let (grant_type, permit) = match decide(request).await {
        Ok(decided) => decided,
        Err(refusal) => {
            refuse(&app, &tenant, &authenticated, &refusal, spent).await?;
            return Err(refusal);
        }
    };
    let response = match tokens::issue(&app, &tenant, permit, spent.clone()).await {
        Ok(response) => response,
        Err(refusal) => {
            refuse(&app, &tenant, &authenticated, &refusal, spent).await?;
            return Err(refusal);
        }
    };
    Ok(match (grant_type.issues)(&params) {
        Some(token_type) => response.issued_as(token_type),
        None => response,
    })
}

/// Remembers that no token was issued, and uses up what the request presented.
async fn refuse(
    app: &App,
    tenant: &Tenant,
    authenticated: &Authenticated,
    refusal: &OAuthError,
    spent: Option<Change>,
) -> Result<()> {
    let client_id = authenticated.client.id();
    match refusal.code {
        // What fails inside is in the log.
        ErrorCode::ServerError | ErrorCode::TemporarilyUnavailable => Ok(()),
        // The assertion had been used before.
        ErrorCode::InvalidClient => {
            clients::remember(app, tenant, Some(client_id.to_owned()), refusal).await
        }
        // It has proved nothing: strangers must not be able to fill the disk.
        _ if authenticated.method == AuthMethod::None => {
            tokens::refuse_stranger(app, tenant, client_id, refusal).await
        }
        _ => tokens::refuse(app, tenant, client_id, refusal, spent).await,
    }
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

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
