//! `POST /introspect` (RFC 7662 §2, RFC 9701 §4).

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, header};

use super::protected::{Presented, administrator};
use crate::{
    app::{App, AppState},
    clients::{self, authentication},
    error::{OAuthError, Result},
    oauth::{grant_type::AuthMethod, params::Params},
    registry::{AdminScope, Tenant},
    tokens::{
        self,
        introspection::{Caller, SIGNED, introspect},
    },
    web::extract::{ForTenant, form, parameters},
};

/// Says whether a token is active to whoever asks.
///
/// # Errors
/// `invalid_client` or `invalid_token` for a caller that proves nothing, `invalid_request` without
/// a token. A token that does not hold is no error.
pub async fn answer(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let caller = caller(&app, &tenant, &credentials, &headers, &params).await?;
    let token = params
        .get("token")
        .ok_or_else(|| OAuthError::invalid_request("token is missing."))?;
    let introspection = introspect(&app, &tenant, &caller, token).await;
    let mut response = if asks_for_signed(&headers) {
        let signed = introspection.sign(&app, &tenant, &caller)?;
        ([(header::CONTENT_TYPE, SIGNED)], signed).into_response()
    } else {
        Json(introspection).into_response()
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Who asks: an access token says so, or client authentication as at the token endpoint
/// (RFC 7662 §2.1). Public clients prove nothing.
async fn caller(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    headers: &HeaderMap,
    params: &Params<'_>,
) -> Result<Caller> {
    if credentials.holds_token() {
        // RFC 6749 §2.3: not two methods in one request.
        if params.get("client_secret").is_some() || params.get("client_assertion").is_some() {
            return Err(OAuthError::invalid_request(
                "Use an access token or client authentication, not both.",
            ));
        }
        let scope = AdminScope::TokenIntrospect;
        let claims = administrator(app, tenant, credentials, scope).await?;
        return Ok(Caller::Administrator(claims.client_id));
    }
    let mut authenticated = clients::authenticate(app, tenant, headers, params).await?;
    // An assertion holds once, whatever becomes of the question. Its name has to be on disk, or a
    // restart would let it be used again: a caller that asks often better uses a secret or a
    // bearer token, for which nothing is written.
    if let Some(spent) = authenticated.spent() {
        tokens::spend(app, spent).await?;
    }
    if authenticated.method == AuthMethod::None {
        return Err(authentication::failed().because("a public client may not introspect"));
    }
    Ok(Caller::Client(authenticated.client))
}

/// RFC 9701 §4: the caller asks by `Accept`.
fn asks_for_signed(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(SIGNED));
            // RFC 9110 §12.4.2: a weight of zero is a no.
            named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
}
