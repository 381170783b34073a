//! Ends tokens before their time: by the client that holds them (RFC 7009), or by an
//! administrator.
//!
//! | what is revoked | what ends |
//! |---|---|
//! | a token, by its client or an administrator | this token; what was exchanged for it stays |
//! | a grant; a client's, a subject's, a resource's, a tenant's grants | every token that hangs from them, and everything derived from those |
//!
//! A grant that has ended is gone: the next token of its kind hangs from a new one. A client that
//! is to get no more tokens is disabled or removed.
//!
//! It holds when the answer is given: at introspection, token exchange and the admin API of this
//! node at once. Resource servers that have a stream are told; one that only verifies signatures
//! sees it when the token expires.

use entity::revoked_token;

use super::{commit, refresh_token, spend, verify};
use crate::{
    app::App,
    audit::{Event, Kind},
    error::{OAuthError, Result},
    journal::Command,
    oauth::claims::AccessClaims,
    registry::{Client, Tenant},
    signals::{Cause, Initiator},
    store::{Change, Token, Whose},
};

/// Seconds that a revocation is remembered after its token has expired: clocks of nodes differ.
const MARGIN: i64 = 60;

/// Revokes a token for the client that it was issued to (RFC 7009 §2.1).
///
/// A token that is unknown, another one's, or over already is no error, and nothing is written of
/// it (RFC 7009 §2.2): nobody can fill the disk or learn what exists. `spent` is used up all the
/// same.
///
/// # Errors
/// `invalid_client` when `spent` was used before, `temporarily_unavailable` when the journal is
/// full.
pub async fn by_client(
    app: &App,
    tenant: &Tenant,
    client: &Client,
    token: &str,
    spent: Option<Change>,
) -> Result<()> {
    if let Ok((line, _)) = refresh_token::line(app, tenant, client.id(), token).await {
        return end_line(app, tenant, line, spent).await;
    }
    let claims = verify::access_token(app, tenant, token)
        .await
        .inspect_err(|why| tracing::debug!(%why, "token to revoke"))
        .ok()
        .filter(|claims| claims.client_id == client.id());
    let Some(claims) = claims else {
        return match spent {
            Some(spent) => spend(app, spent).await,
            None => Ok(()),
        };
    };
    let event = Event {
        client_id: Some(client.id()),
        sub: Some(&claims.sub),
        act: claims.act.as_ref(),
        aud: Some(&claims.aud),
        grant_id: claims.grant_id.as_deref(),
        jti: Some(&claims.jti),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::TokenRevoked, &event)];
    let mut changes = vec![end_of(tenant, &claims)];
    changes.extend(spent);
    let cause = Cause::new(&app.entropy, Initiator::User, "revoked by its client");
    commit(app, Command::new(changes, audit).because(cause)).await
}

/// Ends what a refresh token stands for, with the access tokens that hang from it (RFC 7009 §2.1).
async fn end_line(
    app: &App,
    tenant: &Tenant,
    line: entity::refresh_token::Model,
    spent: Option<Change>,
) -> Result<()> {
    let event = Event {
        client_id: Some(&line.client_id),
        grant_id: Some(&line.grant_id),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::TokenRevoked, &event)];
    let end = Change::EndGrants {
        tenant: tenant.name().to_owned(),
        whose: Whose::Grant(line.grant_id.clone()),
    };
    let changes = [end].into_iter().chain(spent).collect();
    let cause = Cause::new(&app.entropy, Initiator::User, "revoked by its client");
    commit(app, Command::new(changes, audit).because(cause)).await
}

/// The change that ends a token.
#[must_use]
pub fn end_of(tenant: &Tenant, claims: &AccessClaims) -> Change {
    let resources = tenant.resources();
    let named = claims.aud.iter().filter_map(|uri| resources.by_uri(uri));
    let token = Token {
        client_id: claims.client_id.clone(),
        subject: claims.sub.clone(),
        resources: named.map(|r| r.reference().to_owned()).collect(),
    };
    Change::RevokeToken {
        row: row(tenant, &claims.jti, claims.exp),
        token: Some(Box::new(token)),
    }
}

/// The change that ends the token of this name, whosever it is, which would have expired at
/// `exp`, Unix seconds.
#[must_use]
pub fn end_of_unknown(tenant: &Tenant, jti: &str, exp: i64) -> Change {
    Change::RevokeToken {
        row: row(tenant, jti, exp),
        token: None,
    }
}

/// Ends what a code has produced, because it was used again (RFC 6749 §4.1.2), and says so.
///
/// # Errors
/// As [`by_client`].
pub async fn code_reused(app: &App, tenant: &Tenant, grant_id: &str) -> Result<OAuthError> {
    end_grant(app, tenant, grant_id, "its code was used twice").await?;
    Ok(OAuthError::invalid_grant(
        "code was used before: what it has produced has ended.",
    ))
}

/// Ends a grant, because one of its refresh tokens was used again (RFC 9700 §4.14.2), and says so.
///
/// # Errors
/// As [`by_client`].
pub async fn refresh_token_reused(
    app: &App,
    tenant: &Tenant,
    grant_id: &str,
) -> Result<OAuthError> {
    end_grant(app, tenant, grant_id, "a refresh token was used twice").await?;
    Ok(OAuthError::invalid_grant(
        "refresh_token was used before: what was granted has ended.",
    ))
}

/// Ends what a code has produced, because what it rested on changed while it was redeemed, and says
/// so.
///
/// # Errors
/// As [`by_client`].
pub async fn overtaken(app: &App, tenant: &Tenant, grant_id: &str) -> Result<OAuthError> {
    end_grant(app, tenant, grant_id, "its client changed meanwhile").await?;
    Ok(OAuthError::invalid_grant(
        "The client was changed while this code was redeemed: ask the person again.",
    ))
}

async fn end_grant(app: &App, tenant: &Tenant, grant_id: &str, why: &'static str) -> Result<()> {
    let event = Event {
        grant_id: Some(grant_id),
        reason: Some(why),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::GrantsEnded, &event)];
    let end = Change::EndGrants {
        tenant: tenant.name().to_owned(),
        whose: Whose::Grant(grant_id.to_owned()),
    };
    let cause = Cause::new(&app.entropy, Initiator::Policy, why);
    commit(app, Command::new(vec![end], audit).because(cause)).await
}

fn row(tenant: &Tenant, jti: &str, exp: i64) -> revoked_token::Model {
    revoked_token::Model {
        tenant: tenant.name().to_owned(),
        jti: jti.to_owned(),
        expires_at: exp.saturating_add(MARGIN),
    }
}
