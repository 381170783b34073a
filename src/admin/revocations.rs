//! `/admin/revocations`

use axum::{
    Json,
    extract::{Request, State},
};
use serde::{Deserialize, Serialize};

use super::{may, read};
use crate::{
    app::{App, AppState},
    audit::{Event, Kind},
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    journal::Command,
    keys::rotation::LONGEST_TOKEN,
    oauth::claims::AccessClaims,
    registry::{AdminScope, Tenant},
    signals::{Cause, Initiator},
    store::{self, Change, Whose},
    tokens::{
        revocation,
        verify::{self, Refused},
    },
    web::extract::ForTenant,
};

/// What to end: exactly one of the first six.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Revocation {
    /// One access token: itself, or its `jti`.
    token: Option<String>,
    /// One grant, by its id.
    grant: Option<String>,
    /// All grants of a client, by its `client_id`. It may get new ones: disable it to prevent
    /// that.
    client: Option<String>,
    /// All grants that speak for a subject.
    subject: Option<String>,
    /// All grants for a resource: its id or URI.
    resource: Option<String>,
    /// All grants of the tenant that is asked; its name, to be sure.
    tenant: Option<String>,
    /// Why, for the audit trail.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// What has ended.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Ended {
    /// Grants. Those that were derived from them ended with them, and are not counted.
    grants: usize,
    /// Tokens that were revoked by themselves.
    tokens: usize,
}

/// Ends a token, or grants and with them every token that hangs from them.
#[utoipa::path(
    post,
    path = "/admin/revocations",
    operation_id = "revoke",
    request_body = Revocation,
    responses((status = 200, body = Ended), (status = 400), (status = 404)),
    security(("token" = ["writ:revocations"]))
)]
pub(super) async fn revoke(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Json<Ended>> {
    let who = may(&app, &tenant, &credentials, AdminScope::Revocations).await?;
    let revocation: Revocation = read(&app, request).await?;
    let reason = reason(revocation.reason.as_deref())?;
    let ended = match target(&tenant, &revocation)? {
        Target::Token(token) => end_token(&app, &tenant, &who, token, reason).await?,
        Target::Grants(whose, words) => {
            end_grants(&app, &tenant, &who, whose, &words, reason).await?
        }
    };
    Ok(Json(ended))
}

enum Target<'a> {
    Token(&'a str),
    /// Whose grants, and the words for it in the audit trail.
    Grants(Whose, String),
}

fn target<'a>(tenant: &Tenant, revocation: &'a Revocation) -> Result<Target<'a>> {
    let members = [
        ("token", &revocation.token),
        ("grant", &revocation.grant),
        ("client", &revocation.client),
        ("subject", &revocation.subject),
        ("resource", &revocation.resource),
        ("tenant", &revocation.tenant),
    ];
    let mut given = members
        .into_iter()
        .filter_map(|(noun, name)| Some((noun, name.as_deref()?)));
    let (Some((noun, name)), None) = (given.next(), given.next()) else {
        return Err(OAuthError::invalid_request(
            "Name exactly one of token, grant, client, subject, resource and tenant.",
        ));
    };
    let owned = || name.to_owned();
    let whose = match noun {
        "token" => return Ok(Target::Token(name)),
        "grant" => Whose::Grant(owned()),
        "client" if tenant.client(name).is_none() => return Err(nothing("client", name)),
        "client" => Whose::Client(owned()),
        "subject" => Whose::Subject(owned()),
        "resource" => {
            let resources = tenant.resources();
            let resource = resources.by_name(name);
            Whose::Resource(
                resource
                    .ok_or_else(|| nothing("resource", name))?
                    .reference()
                    .to_owned(),
            )
        }
        _ if name == tenant.name() => Whose::All,
        _ => {
            return Err(OAuthError::invalid_request(format!(
                "tenant: this is the issuer of tenant '{}'.",
                tenant.name()
            )));
        }
    };
    Ok(Target::Grants(whose, format!("{noun} {name}")))
}

/// Words of an administrator for the audit trail, if they fit there.
///
/// # Errors
/// `invalid_request`
pub(super) fn reason(reason: Option<&str>) -> Result<Option<&str>> {
    let fits = |text: &&str| text.len() <= 500 && !text.chars().any(char::is_control);
    match reason {
        Some(text) if !fits(&text) => Err(OAuthError::invalid_request(
            "reason: at most 500 bytes without control characters.",
        )),
        other => Ok(other),
    }
}

async fn end_token(
    app: &App,
    tenant: &Tenant,
    who: &AccessClaims,
    token: &str,
    reason: Option<&str>,
) -> Result<Ended> {
    let (jti, grant_id, change) = if token.contains('.') {
        match verify::access_token(app, tenant, token).await {
            Ok(claims) => {
                let change = revocation::end_of(tenant, &claims);
                (claims.jti, claims.grant_id, change)
            }
            Err(Refused::NotOurs) => {
                return Err(OAuthError::invalid_request(
                    "token is not an access token of this issuer.",
                ));
            }
            // It is over already.
            Err(_) => {
                return Ok(Ended {
                    grants: 0,
                    tokens: 0,
                });
            }
        }
    } else {
        // Tokens are not kept: whether there is one of this name, nobody knows.
        let exp = app.clock.seconds() + LONGEST_TOKEN;
        let jti = check_jti(token)?.to_owned();
        let change = revocation::end_of_unknown(tenant, &jti, exp);
        (jti, None, change)
    };
    let event = Event {
        client_id: Some(&who.client_id),
        sub: Some(&who.sub),
        act: who.act.as_ref(),
        grant_id: grant_id.as_deref(),
        jti: Some(&jti),
        reason,
        ..Event::default()
    };
    let command = Command::new(
        vec![change],
        vec![app.record(tenant, Kind::TokenRevoked, &event)],
    );
    app.journal.commit(command.because(cause(app))).await?;
    Ok(Ended {
        grants: 0,
        tokens: 1,
    })
}

/// As this server makes them.
fn check_jti(text: &str) -> Result<&str> {
    let fits = (16..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    fits.then_some(text).ok_or_else(|| {
        OAuthError::invalid_request("token is neither an access token nor the jti of one.")
    })
}

async fn end_grants(
    app: &App,
    tenant: &Tenant,
    who: &AccessClaims,
    whose: Whose,
    words: &str,
    reason: Option<&str>,
) -> Result<Ended> {
    let grants = store::find_grants(&app.db, tenant.name(), &whose)
        .await?
        .len();
    let grant_id = match &whose {
        Whose::Grant(id) => Some(id.clone()),
        _ => None,
    };
    let event = Event {
        client_id: Some(&who.client_id),
        sub: Some(&who.sub),
        act: who.act.as_ref(),
        grant_id: grant_id.as_deref(),
        object: Some(words),
        reason,
        ..Event::default()
    };
    let change = Change::EndGrants {
        tenant: tenant.name().to_owned(),
        whose,
    };
    let command = Command::new(
        vec![change],
        vec![app.record(tenant, Kind::GrantsEnded, &event)],
    );
    app.journal.commit(command.because(cause(app))).await?;
    Ok(Ended { grants, tokens: 0 })
}

/// What an administrator writes for the audit trail stays there.
fn cause(app: &App) -> Cause {
    Cause::new(
        &app.entropy,
        Initiator::Admin,
        "revoked by an administrator",
    )
}

fn nothing(noun: &str, name: &str) -> OAuthError {
    OAuthError::not_found(format!("There is no {noun} '{name}'."))
}
