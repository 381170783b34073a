//! `POST /revoke` (RFC 7009 §2).

use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::header;

use crate::{
    app::AppState,
    clients,
    error::{OAuthError, Result},
    tokens::{self, revocation},
    web::extract::{ForTenant, form, parameters},
};

/// Revokes a token of the client that asks. The hint is not needed to find it (RFC 7009 §2.1).
///
/// # Errors
/// `invalid_client`; `invalid_request` without a token. A token that is not this client's, or not
/// a token at all, is no error (RFC 7009 §2.2).
pub async fn revoke(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let mut authenticated = clients::authenticate(&app, &tenant, &headers, &params).await?;
    let spent = authenticated.spent();
    let Some(token) = params.get("token") else {
        if let Some(spent) = spent {
            tokens::spend(&app, spent).await?;
        }
        return Err(OAuthError::invalid_request("token is missing."));
    };
    revocation::by_client(&app, &tenant, &authenticated.client, token, spent).await?;
    Ok([(header::CACHE_CONTROL, "no-store")].into_response())
}
