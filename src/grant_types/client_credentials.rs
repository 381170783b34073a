//! A client asks in its own name (RFC 6749 §4.4).

use super::{Deciding, GrantType, TokenRequest, scope};
use crate::{
    error::{OAuthError, Result},
    oauth::grant_type::{self, AuthMethod},
    policy::{Facts, OnBehalf, Permit, Request, decide},
    registry::Origin,
};

/// The grant type.
pub(super) const CLIENT_CREDENTIALS: GrantType = GrantType {
    name: grant_type::CLIENT_CREDENTIALS,
    self_service: true,
    issues: |_| None,
    decide: |request| -> Deciding<'_> {
        Box::pin(std::future::ready(run(request).map(Into::into)))
    },
};

fn run(request: TokenRequest<'_>) -> Result<Permit> {
    let TokenRequest {
        app,
        tenant,
        authenticated,
        params,
        proved_key,
    } = request;
    if authenticated.method == AuthMethod::None {
        return Err(OAuthError::unauthorized_client(
            "Only confidential clients may use client credentials (RFC 6749 section 4.4).",
        ));
    }
    let client = &authenticated.client;
    if client.origin() == Origin::Document && tenant.client(client.id()).is_none() {
        // Nothing is written down for a client that only names itself.
        return Err(OAuthError::unauthorized_client(
            "Nobody has allowed this client anything yet: a person has to, at the authorization \
             endpoint, before it may ask in its own name.",
        ));
    }
    let facts = Facts {
        resources: &tenant.resources(),
        subject_client: None,
        max_depth: app.config.policy.max_delegation_depth,
    };
    let request = Request {
        client: authenticated.client.clone(),
        targets: params.all("resource").collect(),
        audiences: Vec::new(),
        scope: scope(params)?,
        on_behalf: OnBehalf::Itself,
        proved_key,
    };
    decide(request, &facts)
}
