//! Refresh tokens where they are presented to us.

use entity::refresh_token;

use crate::{
    app::App,
    error::{OAuthError, Result},
    keys::refresh::Place,
    registry::Tenant,
    store::authorization,
};

/// The line of a token and its place in it, if that line holds for this client: whether the token
/// is the one of the line that does is another question.
///
/// # Errors
/// `invalid_grant`; `server_error` when the database fails.
pub async fn line(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
    token: &str,
) -> Result<(refresh_token::Model, Place)> {
    let (line, place) = any_line(app, tenant, token).await?;
    if line.client_id != client_id {
        return Err(OAuthError::invalid_grant(
            "refresh_token was issued to another client.",
        ));
    }
    Ok((line, place))
}

/// The same, whosever it is.
///
/// # Errors
/// As [`line()`].
pub async fn any_line(
    app: &App,
    tenant: &Tenant,
    token: &str,
) -> Result<(refresh_token::Model, Place)> {
    let gone = || OAuthError::invalid_grant("refresh_token has expired or was revoked.");
    let place = app.refresh_tokens.read(tenant.name(), token);
    let place = place
        .ok_or_else(|| OAuthError::invalid_grant("refresh_token is not one of this server's."))?;
    let line = authorization::refresh_line(&app.db, tenant.name(), &place.line)
        .await
        .map_err(OAuthError::server_error)?
        .ok_or_else(gone)?;
    let holds = || tenant.holds_grant(&line.client_id, &line.grant_id);
    // Another node may have made the grant a moment ago.
    let holds = holds() || (app.feed.catch_up().await && holds());
    if !holds || app.clock.seconds() >= line.expires_at {
        return Err(gone());
    }
    Ok((line, place))
}
