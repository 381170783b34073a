//! `POST /admin/apply`: a declaration of resources, clients, users and tenants, made true.
//!
//! The same document twice changes nothing the second time. What it does not mention stays. One
//! tenant's changes are committed together or not at all.

mod planned;

use axum::{
    Json,
    extract::{Query, Request, State},
};
use serde::{Deserialize, Serialize};

use self::planned::plan;
use super::{
    By, may, read,
    tenants::{self, Credentials},
};
use crate::{
    app::{App, AppState},
    clients::{declaration::ClientDeclaration, settings::check_declared},
    config::RegistrationMode,
    endpoints::protected::{Needs, Presented, allows},
    error::{OAuthError, Result},
    registry::{AdminScope, Tenant, check_tenant_name},
    resources::declaration::ResourceDeclaration,
    users::declaration::UserDeclaration,
    web::extract::ForTenant,
};

/// What `writ apply` reads.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// MCP servers with their tools.
    #[serde(default)]
    pub resources: Vec<ResourceDeclaration>,
    /// Clients with their keys or secrets.
    #[serde(default)]
    pub clients: Vec<ClientDeclaration>,
    /// People.
    #[serde(default)]
    pub users: Vec<UserDeclaration>,
    /// Tenants with what is theirs; at the default tenant only.
    #[serde(default)]
    pub tenants: Vec<DeclaredTenant>,
}

/// A tenant with what is its own.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredTenant {
    /// What stands in `/t/{name}`.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    pub name: String,
    /// Who may register clients.
    #[serde(default)]
    pub registration: Option<RegistrationMode>,
    /// Its resources.
    #[serde(default)]
    pub resources: Vec<ResourceDeclaration>,
    /// Its clients.
    #[serde(default)]
    pub clients: Vec<ClientDeclaration>,
    /// Its people.
    #[serde(default)]
    pub users: Vec<UserDeclaration>,
}

/// What became of one declared thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    Created,
    /// It was different.
    Changed,
    /// It was so already.
    Unchanged,
}

/// One line of what `apply` did.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Line {
    /// In which tenant.
    pub tenant: String,
    /// `resource`, `client`, `stream`, `user` or `tenant`.
    pub kind: String,
    /// Which one.
    pub id: String,
    /// What became of it.
    pub action: Action,
    /// A secret that was generated: shown once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// For a new tenant: its administrator's credentials, shown once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrator: Option<Credentials>,
    /// For a resource: the URL of its RFC 9728 document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_url: Option<String>,
}

/// How to apply.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
}

/// Makes a declaration true.
#[utoipa::path(
    post,
    path = "/admin/apply",
    params(How),
    request_body = Declaration,
    responses((status = 200, body = Vec<Line>), (status = 400), (status = 409)),
    security(("token" = ["writ:read"]))
)]
pub(super) async fn apply(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    how: Result<Query<How>, axum::extract::rejection::QueryRejection>,
    credentials: Presented,
    request: Request,
) -> Result<Json<Vec<Line>>> {
    let Query(how) = how.map_err(|why| OAuthError::invalid_request(why.body_text()))?;
    let who = may(&app, &tenant, &credentials, AdminScope::Read).await?;
    let declaration: Declaration = read(&app, request).await?;
    if !declaration.resources.is_empty() {
        allows(&tenant, &who, Needs::Admin(AdminScope::Resources))?;
    }
    if !declaration.clients.is_empty() {
        allows(&tenant, &who, Needs::Admin(AdminScope::Clients))?;
    }
    if !declaration.users.is_empty() {
        allows(&tenant, &who, Needs::Admin(AdminScope::Users))?;
    }
    if !declaration.tenants.is_empty() {
        allows(&tenant, &who, Needs::Admin(AdminScope::Tenants))?;
        if !tenant.is_default() {
            return Err(OAuthError::invalid_request(
                "tenants: only the server's own issuer has tenants.",
            ));
        }
    }
    Ok(Json(
        make_true(&app, &tenant, &declaration, By::Token(&who), how.dry_run).await?,
    ))
}

/// Makes a declaration true, or says what that would change.
///
/// # Errors
/// `invalid_request` with the first rule that says no, before anything is changed.
pub async fn make_true(
    app: &App,
    tenant: &Tenant,
    declaration: &Declaration,
    by: By<'_>,
    dry_run: bool,
) -> Result<Vec<Line>> {
    // What has to be fetched is, before anybody else has to wait.
    for client in &declaration.clients {
        check_declared(app, Some(tenant), client).await?;
    }
    for declared in &declaration.tenants {
        let tenant = app.registry.find(&declared.name);
        for client in &declared.clients {
            check_declared(app, tenant.as_deref(), client).await?;
        }
    }
    let _held = app.administration.lock().await;
    // All of it is planned before any of it is done.
    refuse_twice(
        "tenant",
        declaration.tenants.iter().map(|t| t.name.as_str()),
    )?;
    let mut own = plan(
        app,
        tenant,
        by,
        &declaration.resources,
        &declaration.clients,
    )?;
    own.users(app, tenant, &declaration.users).await?;
    let mut others = Vec::new();
    for declared in &declaration.tenants {
        check_tenant_name(&declared.name)
            .map_err(|why| OAuthError::invalid_request(format!("{why}.")))?;
        let known = app.registry.find(&declared.name);
        let stand_in = known.clone().unwrap_or_else(|| {
            let issuer = tenant.url(&format!("/t/{}", declared.name));
            std::sync::Arc::new(Tenant::new(&declared.name, &issuer, RegistrationMode::Off))
        });
        // Who may manage tenants is their operator.
        let by = By::Operator;
        let mut planned = plan(app, &stand_in, by, &declared.resources, &declared.clients)?;
        planned.users(app, &stand_in, &declared.users).await?;
        others.push((declared, known, planned));
    }
    if !dry_run {
        own.commit(app, tenant, by.name()).await?;
    }
    let mut lines = own.lines;
    if dry_run {
        // A secret that nobody keeps would never hold.
        let planned = others
            .iter_mut()
            .flat_map(|(_, _, planned)| &mut planned.lines);
        for line in lines.iter_mut().chain(planned) {
            line.client_secret = None;
        }
    }
    for (declared, known, mut planned) in others {
        let mut line = tenant_line(declared, known.as_deref());
        if !dry_run {
            let (name, mode) = (&declared.name, declared.registration);
            match line.action {
                Action::Created => {
                    line.administrator = Some(tenants::create(app, name, mode, by.name()).await?);
                }
                Action::Changed => tenants::change(app, name, mode, by.name()).await?,
                Action::Unchanged => {}
            }
            let tenant = known.or_else(|| app.registry.find(name));
            let tenant = tenant.ok_or_else(|| OAuthError::not_found("The tenant was removed."))?;
            planned.commit(app, &tenant, by.name()).await?;
        }
        lines.push(line);
        lines.extend(planned.lines);
    }
    Ok(lines)
}

fn refuse_twice<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(OAuthError::invalid_request(format!(
                "{kind} '{name}' is declared twice."
            )));
        }
    }
    Ok(())
}

fn tenant_line(declared: &DeclaredTenant, known: Option<&Tenant>) -> Line {
    let action = match known {
        None => Action::Created,
        Some(known)
            if declared
                .registration
                .is_none_or(|mode| mode == known.registration()) =>
        {
            Action::Unchanged
        }
        Some(_) => Action::Changed,
    };
    Line {
        tenant: declared.name.clone(),
        kind: "tenant".into(),
        id: declared.name.clone(),
        action,
        client_secret: None,
        administrator: None,
        metadata_url: None,
    }
}
