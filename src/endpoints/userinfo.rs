//! `GET` and `POST /userinfo` (OpenID Connect Core §5.3).

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Method, header};

use super::protected::{Needs, Presented, let_in, turn_away};
use crate::{
    app::{App, AppState},
    error::{OAuthError, Result},
    tokens::person,
    web::extract::{ForTenant, form, parameters},
};

/// Tells the client that shows an access token of the person who has let it know.
///
/// # Errors
/// 401 and 403 with a challenge for a token that does not hold, is for another resource, or is of
/// no authentication; `invalid_request` when it is shown twice, or in the query.
pub async fn answer(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    // RFC 6750 §2.3: a query ends up in logs.
    let mut query = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    if query.any(|(name, _)| name == "access_token") {
        return Err(OAuthError::invalid_request(
            "An access token is not taken from the query: use the Authorization header.",
        ));
    }
    let in_form = in_form(&app, request).await?;
    let credentials = credentials.with_form(in_form.as_deref())?;
    let claims = let_in(&app, &tenant, &credentials, Needs::Userinfo).await?;
    let told = person::userinfo(&app, &tenant, &claims).await;
    let told = told.map_err(|error| turn_away(&tenant, &claims, Needs::Userinfo, error))?;
    let mut response = match told {
        person::Userinfo::Plain(claims) => Json(claims).into_response(),
        person::Userinfo::Signed(jwt) => {
            ([(header::CONTENT_TYPE, "application/jwt")], jwt).into_response()
        }
    };
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// The token of a form (RFC 6750 §2.2).
async fn in_form(app: &App, request: Request) -> Result<Option<String>> {
    let posted = request.method() == Method::POST;
    if !posted || !request.headers().contains_key(header::CONTENT_TYPE) {
        return Ok(None);
    }
    let (_, body) = form(request, app.config.limits.body).await?;
    let token = parameters(&body)?;
    Ok(token.get("access_token").map(str::to_owned))
}
