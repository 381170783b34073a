//! `/account/apps`: what a person lets clients have, when it was last used, and the way to take it
//! back.

use std::collections::BTreeMap;

use axum::{
    extract::{Request, State},
    response::Response,
};
use entity::{consent, grant, refresh_token};
use http::StatusCode;
use serde::Serialize;

use super::{
    authorize::{see_other, value},
    described::{Group, groups},
    extract::{ForTenant, form},
};
use crate::{
    app::{App, AppState},
    audit::{Event, Kind},
    error::{OAuthError, Result},
    journal::Command,
    policy::person::Allowed,
    registry::Tenant,
    signals::{Cause, Initiator},
    store::{Change, authorization},
    users::{Errand, Session, csrf, session},
    web::Page,
};

/// Where it is.
const PATH: &str = "/account/apps";

/// What a person lets one client have.
#[derive(Debug, Serialize)]
struct ConnectedApp {
    client_id: String,
    name: String,
    /// Since when: year, month and day.
    since: String,
    /// When it last got a token.
    last_used: Option<String>,
    /// How many times it is signed in.
    sessions: usize,
    groups: Vec<Group>,
}

/// All of them.
#[derive(Debug, Serialize)]
struct Apps {
    apps: Vec<ConnectedApp>,
    csrf: String,
}

impl Page for Apps {
    const TEMPLATE: &'static str = include_str!("apps.html");

    fn title(&self) -> &str {
        "Connected apps"
    }
}

/// Shows them.
///
/// # Errors
/// When the database cannot be read.
pub async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let Some(session) = session::current(&app, &tenant, request.headers()).await? else {
        return see_other(&Errand::to(&app, PATH).login(&app, &tenant)?);
    };
    let page = Apps {
        apps: connected(&app, &tenant, &session).await?,
        csrf: csrf::token(&app, &tenant, csrf::Holder::Session(&session)),
    };
    app.pages.show(&tenant, StatusCode::OK, &page)
}

/// Takes back what one of them has: its grants end, and whoever serves their resources is told.
///
/// # Errors
/// 403 when the form was made for another browser; when it cannot be written.
pub async fn revoke(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let Some(session) = session::current(&app, &tenant, &headers).await? else {
        return see_other(&Errand::to(&app, PATH).login(&app, &tenant)?);
    };
    let sent = value(&body, csrf::FIELD);
    let holder = csrf::Holder::Session(&session);
    csrf::check(&app, &tenant, holder, &headers, sent.as_deref())?;
    // No client has such a name, and PostgreSQL no such text.
    let client_id = value(&body, "client_id").filter(|id| !id.contains('\0'));
    let client_id = client_id.unwrap_or_default();
    let (user, id) = (&session.user.id, client_id.as_str());
    let known = authorization::consent(&app.db, tenant.name(), user, id).await?;
    if known.is_some() {
        take_back(&app, &tenant, user, id).await?;
    }
    see_other(&format!("{}{PATH}", tenant.path()))
}

async fn take_back(app: &App, tenant: &Tenant, user: &str, client_id: &str) -> Result<()> {
    let event = Event {
        client_id: Some(client_id),
        sub: Some(user),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::ConsentRevoked, &event)];
    let change = authorization::Change::RemoveConsent {
        tenant: tenant.name().to_owned(),
        user_id: user.to_owned(),
        client_id: client_id.to_owned(),
    };
    let cause = Cause::new(&app.entropy, Initiator::User, "taken back by the person");
    let command = Command::new(vec![Change::Authorization(change)], audit).because(cause);
    Ok(app.journal.commit(command).await?)
}

async fn connected(app: &App, tenant: &Tenant, session: &Session) -> Result<Vec<ConnectedApp>> {
    let (name, user) = (tenant.name(), &session.user.id);
    let consents = authorization::consents(&app.db, name, user).await?;
    let grants = authorization::grants_of(&app.db, name, user).await?;
    let ids: Vec<String> = grants.iter().map(|grant| grant.id.clone()).collect();
    let lines = authorization::lines_of(&app.db, name, &ids).await?;
    let mut by_client: BTreeMap<&str, Vec<&grant::Model>> = BTreeMap::new();
    for grant in &grants {
        by_client.entry(&grant.client_id).or_default().push(grant);
    }
    let mut apps = Vec::with_capacity(consents.len());
    for row in &consents {
        let grants = by_client.remove(row.client_id.as_str()).unwrap_or_default();
        apps.push(described(tenant, row, &grants, &lines)?);
    }
    Ok(apps)
}

fn described(
    tenant: &Tenant,
    row: &consent::Model,
    grants: &[&grant::Model],
    lines: &[refresh_token::Model],
) -> Result<ConnectedApp> {
    let client = tenant.client(&row.client_id);
    let document = client.map(|client| client.document()).transpose();
    let document = document.map_err(OAuthError::server_error)?;
    let name = document.map(|document| document.name);
    let name = name.filter(|name| !name.is_empty());
    let allowed: Allowed = serde_json::from_str(&row.document).map_err(OAuthError::server_error)?;
    let begun = grants.iter().map(|grant| grant.created_at);
    let of_these = |line: &&refresh_token::Model| grants.iter().any(|g| g.id == line.grant_id);
    let used = lines.iter().filter(of_these).map(|line| line.used_at);
    Ok(ConnectedApp {
        client_id: row.client_id.clone(),
        name: name.unwrap_or_else(|| row.client_id.clone()),
        since: day(row.created_at),
        last_used: begun.chain(used).max().map(day),
        sessions: grants.len(),
        groups: groups(&allowed, &Allowed::default(), &tenant.resources()),
    })
}

/// The day of a moment, as everybody can read it.
fn day(at: i64) -> String {
    let moment = chrono::DateTime::from_timestamp(at, 0);
    moment.map_or_else(String::new, |moment| moment.format("%Y-%m-%d").to_string())
}
