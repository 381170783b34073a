//! The only place access tokens begin, and end.
//!
//! | file | what |
//! |---|---|
//! | `grants` | the stored grant a token hangs from |
//! | [`id_token`] | who a person is, said to a client |
//! | [`person`] | what is told of them |
//! | [`subject`] | by which name |
//! | [`verify`] | whether one of ours still holds: asked by everyone who takes one |
//! | [`refresh_token`] | refresh tokens where they are presented to us |
//! | [`introspection`] | what is told of one |
//! | [`revocation`] | ended before its time |

pub mod dpop;
mod grants;
pub mod id_token;
pub mod introspection;
pub mod person;
pub mod refresh_token;
pub mod revocation;
pub mod subject;
pub mod verify;

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

pub use self::id_token::IdTokenRequest;
use crate::{
    app::App,
    audit::{Event, Kind},
    clients::{assertion, authentication},
    error::{OAuthError, Result},
    journal::{Command, JournalError},
    oauth::claims::{AccessClaims, Audience, Confirmation},
    policy::{Authentication, Permit},
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
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    /// For the client's next proof: a header, not a member.
    #[serde(skip)]
    dpop_nonce: Option<String>,
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenResponse")
    }
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

/// What a grant type wants done.
#[derive(Debug)]
pub struct Issue {
    /// What may be.
    pub permit: Permit,
    /// What has to be true for it: committed with the token, or neither.
    pub changes: Vec<Change>,
    /// What these changes rest on.
    pub rests: Rests,
    /// Handed out with the token.
    pub refresh_token: Option<String>,
    /// Made with the token.
    pub id_token: Option<IdTokenRequest>,
}

impl From<Permit> for Issue {
    fn from(permit: Permit) -> Self {
        Self {
            permit,
            changes: Vec::new(),
            rests: Rests::OnNothing,
            refresh_token: None,
            id_token: None,
        }
    }
}

/// What may have been taken away or used by the time a token is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rests {
    /// Nothing that the changes would notice.
    OnNothing,
    /// A code, and the consent behind it: it makes this grant.
    OnCode(String),
    /// A line of refresh tokens, in which another request may have gone on.
    OnLine,
}

/// What came of it.
#[derive(Debug)]
pub enum Issued {
    /// It is issued.
    Token(Box<TokenResponse>),
    /// What it rests on ended or shrank meanwhile; what was used up is used up all the same.
    GroundGone,
    /// Another request was first: nothing was used up.
    Overtaken,
}

/// Longest claims, bytes: with header and signature still short enough for any server's limits.
const MAX_CLAIMS: usize = 5 * 1024;

/// Spends a permit: makes the token, remembers it, and answers when that is on disk.
///
/// `spent` is what the request used up, a client assertion or a proof of possession; it is
/// committed with the token, so that neither is there without the other.
///
/// # Errors
/// `temporarily_unavailable` when the journal is full, `invalid_client`, `invalid_dpop_proof` or
/// `invalid_grant` when assertion, proof or code were used before, `server_error` when key or disk fail.
pub async fn issue(app: &App, tenant: &Tenant, issue: Issue, spent: Vec<Change>) -> Result<Issued> {
    let permit = &issue.permit;
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
    let grant_id = grants::ensure(app, tenant, permit).await?;
    let used = grants::used(app, tenant, permit, &grant_id);
    // A token that is no authentication any more, since less was asked for, has no ID token.
    let openid = |_: &&IdTokenRequest| permit.scope().split(' ').any(|s| s == "openid");
    let authentication = issue.id_token.as_ref().filter(openid);
    let claims = AccessClaims {
        extra: extra(permit, authentication),
        ..claims(app, tenant, permit, grant_id, (now, exp))
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
    let id_token = match authentication {
        Some(wanted) => Some(wanted.make(app, tenant, permit, &access_token).await?),
        None => None,
    };
    let changes = spent.into_iter().chain(issue.changes).chain(used).collect();
    let committed = app.journal.commit(Command::new(changes, audit)).await;
    if let Err(error) = committed {
        return not_issued(app, tenant, error, &issue.rests).await;
    }
    if !still_stands(tenant, permit, claims.grant_id.as_deref()) {
        return match issue.rests {
            // It cannot be asked for again: what it made is of no use to anybody.
            Rests::OnCode(grant_id) => Err(revocation::overtaken(app, tenant, &grant_id).await?),
            _ => Ok(Issued::GroundGone),
        };
    }
    Ok(Issued::Token(Box::new(TokenResponse {
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
        refresh_token: issue.refresh_token,
        id_token,
        dpop_nonce: None,
    })))
}

/// What an access token says, but for what is told of a person's sign-in.
fn claims(
    app: &App,
    tenant: &Tenant,
    permit: &Permit,
    grant_id: String,
    (iat, exp): (i64, i64),
) -> AccessClaims {
    let resources = permit.resources().iter();
    AccessClaims {
        iss: tenant.issuer().to_owned(),
        sub: permit.subject().to_owned(),
        aud: resources.map(|r| r.uri().to_owned()).collect::<Audience>(),
        exp,
        iat,
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
        extra: BTreeMap::new(),
    }
}

/// What it means for a token that it could not be committed.
async fn not_issued(
    app: &App,
    tenant: &Tenant,
    error: JournalError,
    rests: &Rests,
) -> Result<Issued> {
    match (error, rests) {
        (JournalError::Conflict, Rests::OnLine) => Ok(Issued::Overtaken),
        (JournalError::Conflict, Rests::OnCode(_)) => Err(OAuthError::invalid_grant(
            "What code stands for has been taken back.",
        )),
        (JournalError::Used(Once::Code), Rests::OnCode(grant_id)) => {
            Err(revocation::code_reused(app, tenant, grant_id).await?)
        }
        (error, _) => Err(not_committed(error)),
    }
}

/// The private claim with the names of what the userinfo endpoint tells beyond what the scopes
/// stand for, since nothing else is stored of it (OpenID Connect Core §5.5).
pub const USERINFO_CLAIMS: &str = "userinfo_claims";

fn extra(
    permit: &Permit,
    authentication: Option<&IdTokenRequest>,
) -> BTreeMap<String, serde_json::Value> {
    let mut extra = permit.authenticated().map(described).unwrap_or_default();
    let about = permit.resources().iter().any(|r| r.is_userinfo());
    let names = authentication.filter(|_| about).into_iter();
    let names: Vec<&str> = names.flat_map(IdTokenRequest::at_userinfo).collect();
    if !names.is_empty() {
        extra.insert(USERINFO_CLAIMS.to_owned(), names.into());
    }
    extra
}

/// How a person authenticated, as an access token says it (RFC 9068 §2.2.1).
fn described(authentication: &Authentication) -> BTreeMap<String, serde_json::Value> {
    let mut claims = BTreeMap::from([("auth_time".to_owned(), authentication.time.into())]);
    if !authentication.amr.is_empty() {
        claims.insert("amr".to_owned(), authentication.amr.clone().into());
    }
    if let Some(acr) = &authentication.acr {
        claims.insert("acr".to_owned(), acr.clone().into());
    }
    claims
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

/// Commits what an endpoint for clients has to write.
///
/// # Errors
/// As [`issue`].
pub async fn commit(app: &App, command: Command) -> Result<()> {
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
        JournalError::Used(Once::Code) => OAuthError::invalid_grant("code was used before."),
        // The tenant has ended since the client authenticated, and the client with it.
        JournalError::Conflict => authentication::failed().because(error),
        other => other.into(),
    }
}
