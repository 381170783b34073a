//! A client goes on with what a person has given it (RFC 6749 §6).

use entity::refresh_token;

use super::{Deciding, GrantType, TokenRequest, person};
use crate::{
    authorize::refresh::{self, Use},
    error::{OAuthError, Result},
    keys::refresh::Place,
    oauth::grant_type,
    policy::person::Given,
    store::{Change, authorization},
    tokens::{self, IdTokenRequest, Issue, Rests, revocation},
};

/// The grant type.
pub(super) const REFRESH_TOKEN: GrantType = GrantType {
    name: grant_type::REFRESH_TOKEN,
    self_service: true,
    issues: |_| None,
    decide: |request| -> Deciding<'_> { Box::pin(run(request)) },
};

async fn run(request: TokenRequest<'_>) -> Result<Issue> {
    let TokenRequest {
        app,
        tenant,
        authenticated,
        params,
        proved_key,
    } = request;
    let token = params
        .get("refresh_token")
        .ok_or_else(|| OAuthError::invalid_request("refresh_token is missing."))?;
    let client = &authenticated.client;
    let (line, place) = tokens::refresh_token::line(app, tenant, client.id(), token).await?;
    // RFC 9449 §5: it is of no use without the key it was issued to.
    person::check_key("refresh_token", line.bound_to.as_deref(), proved_key)?;
    let now = app.clock.seconds();
    let grace = app.config.authorization.refresh_token_grace;
    let next = refresh::judge(
        &line,
        place.generation,
        refresh::rotates(client),
        now,
        grace,
    );
    let Some(next) = next else {
        return Err(revocation::refresh_token_reused(app, tenant, &line.grant_id).await?);
    };
    let given: Given = serde_json::from_str(&line.document).map_err(OAuthError::server_error)?;
    let permit = person::permit(request, &given.authorized)?;
    let (change, refresh_token) = go_on(request, line, &place, &given, next)?;
    Ok(Issue {
        permit,
        changes: vec![change],
        rests: Rests::OnLine,
        refresh_token: Some(refresh_token),
        // OpenID Connect Core §12.2: without the nonce of the first one.
        id_token: IdTokenRequest::of(&given, None),
    })
}

/// The token that is handed out, and the change that makes it hold.
fn go_on(
    request: TokenRequest<'_>,
    line: refresh_token::Model,
    place: &Place,
    given: &Given,
    next: Use,
) -> Result<(Change, String)> {
    let (app, tenant) = (request.app, request.tenant);
    let (now, from) = (app.clock.seconds(), place.generation);
    let ends_at = refresh::end_of(app, line.created_at);
    let expires_at = refresh::idle_end(app, ends_at);
    let (generation, change) = match next {
        Use::Sibling => {
            let client_id = request.authenticated.client.id();
            return refresh::begin(app, tenant, client_id, given, line.bound_to, ends_at);
        }
        Use::Rotate => {
            let grace = app.config.authorization.refresh_token_grace;
            let change = authorization::Change::Rotate {
                tenant: tenant.name().to_owned(),
                id: line.id.clone(),
                from,
                at: now,
                rotations: refresh::rotated(&line, now, grace),
                expires_at,
            };
            (from + 1, change)
        }
        Use::Keep => {
            let change = authorization::Change::Used {
                tenant: tenant.name().to_owned(),
                id: line.id.clone(),
                at: now,
                expires_at,
            };
            (from, change)
        }
    };
    let place = Place {
        line: line.id,
        generation,
    };
    let token = app.refresh_tokens.write(tenant.name(), &place);
    Ok((Change::Authorization(change), token))
}
