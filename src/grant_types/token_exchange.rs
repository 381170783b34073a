//! A token is exchanged for a narrower one, with who acts written into it (RFC 8693).

use super::{Deciding, GrantType, TokenRequest, scope};
use crate::{
    error::{OAuthError, Result},
    oauth::{
        claims::AccessClaims,
        grant_type::{self, AuthMethod, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_JWT},
    },
    policy::{Facts, OnBehalf, Request, decide},
    tokens::{Issue, verify},
};

/// The grant type.
pub(super) const TOKEN_EXCHANGE: GrantType = GrantType {
    name: grant_type::TOKEN_EXCHANGE,
    self_service: false,
    // It is both: the answer names the type that was asked for.
    issues: |params| match params.get("requested_token_type") {
        Some(TOKEN_TYPE_JWT) => Some(TOKEN_TYPE_JWT),
        _ => Some(TOKEN_TYPE_ACCESS_TOKEN),
    },
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
    if authenticated.method == AuthMethod::None {
        return Err(OAuthError::unauthorized_client(
            "Token exchange is for clients that authenticate.",
        ));
    }
    if let Some(wanted) = params.get("requested_token_type")
        && !is_ours(wanted)
    {
        return Err(OAuthError::invalid_request(format!(
            "requested_token_type: only {TOKEN_TYPE_ACCESS_TOKEN} and {TOKEN_TYPE_JWT} are issued."
        )));
    }
    let subject = token(&request, "subject_token", "subject_token_type")
        .await?
        .ok_or_else(|| OAuthError::invalid_request("subject_token is missing."))?;
    let actor = token(&request, "actor_token", "actor_token_type").await?;
    if let Some(actor) = &actor {
        check_actor(actor, authenticated.client.id())?;
    }
    let resources = tenant.resources();
    let subject_client = tenant.client(&subject.client_id);
    let facts = Facts {
        resources: &resources,
        subject_client: subject_client.as_deref(),
        max_depth: app.config.policy.max_delegation_depth,
    };
    let request = Request {
        client: authenticated.client.clone(),
        targets: params.all("resource").collect(),
        audiences: params.all("audience").collect(),
        scope: scope(params)?,
        on_behalf: OnBehalf::Subject {
            subject: Box::new(subject),
            actor: actor.map(Box::new),
        },
        proved_key,
    };
    decide(request, &facts).map(Into::into)
}

/// A token parameter and its type: both or neither (RFC 8693 §2.1), and one that we issued.
async fn token(
    request: &TokenRequest<'_>,
    name: &'static str,
    type_name: &'static str,
) -> Result<Option<AccessClaims>> {
    match (request.params.get(name), request.params.get(type_name)) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(OAuthError::invalid_request(format!(
            "{type_name} is missing."
        ))),
        (None, Some(_)) => Err(OAuthError::invalid_request(format!("{name} is missing."))),
        (Some(_), Some(kind)) if !is_ours(kind) => Err(OAuthError::invalid_request(format!(
            "{type_name}: only {TOKEN_TYPE_ACCESS_TOKEN} and {TOKEN_TYPE_JWT} are accepted."
        ))),
        (Some(token), Some(_)) => verify::access_token(request.app, request.tenant, token)
            .await
            .map(Some)
            .map_err(|why| OAuthError::invalid_request(format!("{name} {why}."))),
    }
}

/// The actor is whoever asks: its token was issued to this client, for itself. Another one's
/// token, or one that is itself a delegation, would put a name into the chain that nobody proved.
fn check_actor(actor: &AccessClaims, client_id: &str) -> Result<()> {
    if actor.client_id != client_id {
        return Err(OAuthError::invalid_grant(
            "actor_token must have been issued to the client that presents it.",
        ));
    }
    if actor.act.is_some() {
        return Err(OAuthError::invalid_request(
            "actor_token must be the actor's own token, not one it holds for another.",
        ));
    }
    Ok(())
}

fn is_ours(token_type: &str) -> bool {
    matches!(token_type, TOKEN_TYPE_ACCESS_TOKEN | TOKEN_TYPE_JWT)
}
