//! The only place access tokens begin, and end.
//!
//! | file | what |
//! |---|---|
//! | `grants` | the stored grant a token hangs from |
//! | [`verify`] | whether one of ours still holds: asked by everyone who takes one |
//! | [`introspection`] | what is told of one |
//! | [`revocation`] | ended before its time |

pub mod dpop;
mod grants;
pub mod introspection;
pub mod revocation;
pub mod verify;

use std::sync::Arc;

use serde::Serialize;

use crate::{
    app::App,
    audit::{Event, Kind},
    clients::{assertion, authentication},
    error::{OAuthError, Result},
    journal::{Command, JournalError},
    oauth::claims::{AccessClaims, Audience, Confirmation},
    policy::Permit,
    registry::Tenant,
    store::{Change, Once},
};

/// A successful token response (RFC 6749 §5.1, RFC 8693 §2.2.1). Never cached.
#[derive(Serialize)]
pub struct TokenResponse {
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    token_type: &'static str,
    expires_in: i64,
    scope: String,
    /// For the client's next proof: a header, not a member.
    #[serde(skip)]
    dpop_nonce: Option<String>,
}

impl TokenResponse {
    /// Names the type of the token, as a token exchange answers.
    #[must_use]
    pub fn issued_as(mut self, token_type: &'static str) -> Self {
        self.issued_token_type = Some(token_type);
        self
    }

    /// Hands out a nonce (RFC 9449 §8.2).
    #[must_use]
    pub fn with_dpop_nonce(mut self, nonce: Option<String>) -> Self {
        self.dpop_nonce = nonce;
        self
    }

    /// The nonce it hands out.
    #[must_use]
    pub fn dpop_nonce(&self) -> Option<&str> {
        self.dpop_nonce.as_deref()
    }
}

/// Longest claims, bytes: with header and signature still short enough for any server's limits.
const MAX_CLAIMS: usize = 5 * 1024;

/// Spends a permit: makes the token, remembers it, and answers when that is on disk. There is none
/// when what it rests on ended or shrank meanwhile; what was used up is used up all the same.
///
/// `spent` is what the request used up, a client assertion or a proof of possession; it is
/// committed with the token, so that neither is there without the other.
///
/// # Errors
/// `temporarily_unavailable` when the journal is full, `invalid_client` or `invalid_dpop_proof`
/// when assertion or proof were used before, `server_error` when key or disk fail.
pub async fn issue(
    app: &App,
    tenant: &Tenant,
    permit: Permit,
    spent: Vec<Change>,
) -> Result<Option<TokenResponse>> {
    let now = app.clock.seconds();
    let exp = permit
        .not_after()
        .map_or(i64::MAX, |end| end)
        .min(now + permit.lifetime());
    if exp <= now {
        return Err(OAuthError::invalid_request(
            "The subject token has expired.",
        ));
    }
    let grant_id = grants::ensure(app, tenant, &permit).await?;
    let claims = AccessClaims {
        iss: tenant.issuer().to_owned(),
        sub: permit.subject().to_owned(),
        aud: permit
            .resources()
            .iter()
            .map(|r| r.uri().to_owned())
            .collect::<Audience>(),
        exp,
        iat: now,
        nbf: None,
        jti: app.entropy.id(),
        client_id: permit.client().id().to_owned(),
        scope: Some(permit.scope().to_owned()),
        grant_id: Some(grant_id),
        act: permit.act().cloned(),
        may_act: permit
            .may_act()
            .map(|sub| serde_json::json!({ "sub": sub })),
        cnf: permit.bound_to().map(Confirmation::to_key),
        authorization_details: None,
        tenant: (!tenant.is_default()).then(|| tenant.name().to_owned()),
        extra: std::collections::BTreeMap::new(),
    };
    let payload = serde_json::to_vec(&claims).map_err(OAuthError::server_error)?;
    if payload.len() > MAX_CLAIMS {
        return Err(OAuthError::invalid_scope(
            "The token would be too long for an HTTP header: ask for fewer scopes.",
        ));
    }
    let access_token = tenant
        .keys()
        .signer(permit.algorithm())?
        .sign_access_token(&payload)?;
    let kind = if permit.not_after().is_some() {
        Kind::TokenExchanged
    } else {
        Kind::TokenIssued
    };
    let event = Event {
        client_id: Some(&claims.client_id),
        sub: Some(&claims.sub),
        act: claims.act.as_ref(),
        aud: Some(&claims.aud),
        scope: claims.scope.as_deref(),
        grant_id: claims.grant_id.as_deref(),
        jti: Some(&claims.jti),
        cnf: claims.cnf.as_ref(),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, kind, &event)];
    commit(app, Command::new(spent, audit)).await?;
    if !still_stands(tenant, &permit, claims.grant_id.as_deref()) {
        return Ok(None);
    }
    Ok(Some(TokenResponse {
        access_token,
        issued_token_type: None,
        // RFC 9449 §5
        token_type: if claims.cnf.is_some() {
            "DPoP"
        } else {
            "Bearer"
        },
        expires_in: exp - now,
        scope: claims.scope.unwrap_or_default(),
        dpop_nonce: None,
    }))
}

/// Remembers that an authenticated client was refused, and uses up what it presented.
///
/// # Errors
/// As [`issue`]; then that is the answer instead of the refusal.
pub async fn refuse(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
    refusal: &OAuthError,
    spent: Vec<Change>,
) -> Result<()> {
    let reason = refusal.said().to_string();
    let event = Event {
        client_id: Some(client_id),
        reason: Some(&reason),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::TokenRefused, &event)];
    commit(app, Command::new(spent, audit)).await
}

/// Uses up what a client presented where nothing else is written.
///
/// # Errors
/// As [`issue`].
pub async fn spend(app: &App, spent: Change) -> Result<()> {
    let command = Command {
        changes: vec![spent],
        ..Command::default()
    };
    commit(app, command).await
}

/// Remembers that a client was refused which nobody answers for, as far as the budget for that
/// goes, and uses up what it presented.
///
/// # Errors
/// As [`issue`].
pub async fn refuse_stranger(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
    refusal: &OAuthError,
    spent: Vec<Change>,
) -> Result<()> {
    let reason = refusal.said().to_string();
    let event = Event {
        client_id: Some(client_id),
        reason: Some(&reason),
        ..Event::default()
    };
    let kind = Kind::TokenRefused;
    app.remember_stranger(tenant, kind, &event, spent)
        .await
        .map_err(not_committed)
}

async fn commit(app: &App, command: Command) -> Result<()> {
    app.journal.commit(command).await.map_err(not_committed)
}

/// Whether nothing that a token rests on has ended or shrunk while it was made.
///
/// Receivers are told that what was issued until the moment of a revocation has ended (CAEP §2
/// `event_timestamp`). A token that bears a later time was not refused to anyone by that; so it
/// must not rest on what was there before.
fn still_stands(tenant: &Tenant, permit: &Permit, grant_id: Option<&str>) -> bool {
    let client = permit.client();
    let holds = grant_id.is_none_or(|id| tenant.holds_grant(client.id(), id));
    let now = tenant.client(client.id());
    holds
        && now.is_some_and(|now| {
            Arc::ptr_eq(&now, client) || (!now.is_disabled() && now.rights() == client.rights())
        })
}

fn not_committed(error: JournalError) -> OAuthError {
    match error {
        JournalError::Used(Once::Assertion) => assertion::replayed(),
        JournalError::Used(Once::Proof) => dpop::replayed(),
        // The tenant has ended since the client authenticated, and the client with it.
        JournalError::Conflict => authentication::failed().because(error),
        other => other.into(),
    }
}
