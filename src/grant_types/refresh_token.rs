//! A client goes on with what a person has given it (RFC 6749 §6).

use entity::refresh_token;

use super::{Deciding, GrantType, TokenRequest, scope};
use crate::{
    authorize::refresh::{self, Use},
    error::{OAuthError, Result},
    keys::refresh::Place,
    oauth::grant_type,
    policy::{Facts, OnBehalf, Request, decide, person::Given},
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
    check_key(&line, proved_key)?;
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
    let facts = Facts {
        resources: &tenant.resources(),
        subject_client: None,
        max_depth: app.config.policy.max_delegation_depth,
    };
    let asked = Request {
        client: client.clone(),
        targets: params.all("resource").collect(),
        audiences: Vec::new(),
        scope: scope(params)?,
        on_behalf: OnBehalf::Person(Box::new(given.authorized.clone())),
        proved_key,
    };
    let permit = decide(asked, &facts)?;
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
    let now = app.clock.seconds();
    let ends_at = match app.config.authorization.refresh_token_lifetime {
        0 => None,
        lifetime => Some(line.created_at + lifetime),
    };
    let grace = app.config.authorization.refresh_token_grace;
    let rotations = refresh::rotated(&line, now, grace);
    let (id, expires_at) = (line.id, refresh::idle_end(app, ends_at));
    let generation = match next {
        Use::Rotate => place.generation + 1,
        _ => place.generation,
    };
    let token = app.refresh_tokens.write(
        tenant.name(),
        &Place {
            line: id.clone(),
            generation,
        },
    );
    let tenant_name = tenant.name().to_owned();
    let change = match next {
        Use::Sibling => {
            let client_id = request.authenticated.client.id();
            return refresh::begin(app, tenant, client_id, given, line.bound_to, ends_at);
        }
        Use::Rotate => authorization::Change::Rotate {
            tenant: tenant_name,
            id,
            from: place.generation,
            at: now,
            rotations,
            expires_at,
        },
        Use::Keep => authorization::Change::Used {
            tenant: tenant_name,
            id,
            at: now,
            expires_at,
        },
    };
    Ok((Change::Authorization(change), token))
}

/// RFC 9449 §5: it is of no use without the key it was issued to.
fn check_key(line: &refresh_token::Model, proved: Option<&str>) -> Result<()> {
    match (line.bound_to.as_deref(), proved) {
        (None, _) => Ok(()),
        (Some(bound), Some(proved)) if bound == proved => Ok(()),
        (Some(_), None) => Err(OAuthError::invalid_dpop_proof(
            "refresh_token is bound to a key: send a DPoP proof made with it.",
        )),
        (Some(_), Some(_)) => Err(OAuthError::invalid_grant(
            "refresh_token is bound to another key than the one that made the DPoP proof.",
        )),
    }
}
