//! A client redeems the code that a person's browser has brought it (RFC 6749 §4.1.3).

use super::{Deciding, GrantType, TokenRequest, person};
use crate::{
    authorize::{code::Code, refresh},
    error::{OAuthError, Result},
    oauth::grant_type::{self, AuthMethod},
    tokens::{self, IdTokenRequest, Issue, Rests, revocation},
};

/// The grant type.
pub(super) const AUTHORIZATION_CODE: GrantType = GrantType {
    name: grant_type::AUTHORIZATION_CODE,
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
    let code = params
        .get("code")
        .ok_or_else(|| OAuthError::invalid_request("code is missing."))?;
    let code = Code::read(app, tenant, code)?;
    // RFC 6749 §5.2: it stays as it is for the one it was made for.
    if code.client_id != authenticated.client.id() {
        return Err(OAuthError::invalid_grant(
            "code was made for another client.",
        ));
    }
    // RFC 6749 §4.1.2: what it has produced ends.
    let grant_id = &code.given.authorized.grant_id;
    if tenant.holds_grant(&code.client_id, grant_id) {
        return Err(revocation::code_reused(app, tenant, grant_id).await?);
    }
    let now = app.clock.seconds();
    if now >= code.expires_at {
        return Err(OAuthError::invalid_grant("code has expired."));
    }
    check_redirect_uri(&code, params.get("redirect_uri"))?;
    person::check_key("code", code.dpop_jkt.as_deref(), proved_key)?;
    if let Err(refusal) = check_verifier(&code, params.get("code_verifier")) {
        // Whoever guesses has one guess.
        tokens::spend(app, code.spend(tenant)).await?;
        return Err(refusal);
    }
    let permit = person::permit(request, &code.given.authorized)?;
    let client = &authenticated.client;
    let refreshes = client.rights().may_use(grant_type::REFRESH_TOKEN);
    // Without a refresh token nothing is left when the access token has expired.
    let ends_at = match refreshes {
        true => refresh::end_of(app, now),
        false => Some(now + permit.lifetime()),
    };
    let mut changes = vec![code.spend(tenant), code.grant(tenant, now, ends_at)];
    changes.extend(code.logout(tenant, client));
    let mut refresh_token = None;
    if refreshes {
        // RFC 9449 §5: a public client's is bound to its key, others prove who they are.
        let public = authenticated.method == AuthMethod::None;
        let bound_to = proved_key.filter(|_| public).map(str::to_owned);
        let (begin, token) =
            refresh::begin(app, tenant, client.id(), &code.given, bound_to, ends_at)?;
        changes.push(begin);
        refresh_token = Some(token);
    }
    Ok(Issue {
        permit,
        changes,
        rests: Rests::OnCode(code.given.authorized.grant_id.clone()),
        refresh_token,
        id_token: IdTokenRequest::of(&code.given, code.nonce),
    })
}

/// OAuth 2.1 dropped the parameter, since PKCE binds a code better. Where it is sent it has to be
/// right, and without PKCE there is nothing else (RFC 6749 §4.1.3).
fn check_redirect_uri(code: &Code, sent: Option<&str>) -> Result<()> {
    match sent {
        Some(sent) if sent == code.redirect_uri => Ok(()),
        None if code.challenge.is_some() => Ok(()),
        None => Err(OAuthError::invalid_grant("redirect_uri is missing.")),
        Some(_) => Err(OAuthError::invalid_grant(
            "redirect_uri is not the one that the code was sent to.",
        )),
    }
}

/// RFC 7636 §4.6, and no downgrade (RFC 9700 §4.8.2).
fn check_verifier(code: &Code, verifier: Option<&str>) -> Result<()> {
    match (&code.challenge, verifier) {
        (None, None) => Ok(()),
        (Some(challenge), Some(verifier)) if challenge.holds(verifier) => Ok(()),
        (Some(_), Some(_)) => Err(OAuthError::invalid_grant(
            "code_verifier is not what the code_challenge was made of.",
        )),
        (Some(_), None) => Err(OAuthError::invalid_grant("code_verifier is missing.")),
        (None, Some(_)) => Err(OAuthError::invalid_grant(
            "code_verifier has no place: the authorization request had no code_challenge.",
        )),
    }
}
