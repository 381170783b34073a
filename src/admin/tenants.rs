//! `/admin/tenants`, at the default tenant only: its administrators are the server's operators.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Request, State},
};
use entity::tenant;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{commit, may, read};
use crate::{
    app::{App, AppState},
    audit::{Event, Kind, Record},
    clients::declaration::{ClientDeclaration, plan},
    config::RegistrationMode,
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    journal::Command,
    keys::{KeyState, SigningAlgorithm},
    oauth::{grant_type::CLIENT_CREDENTIALS, redirect_uri::ApplicationType},
    registry::{
        ADMIN_ID, Access, AdminScope, AuthorizationSettings, Profile, Tenant, check_tenant_name,
    },
    store::Change,
    web::extract::{ForTenant, Id},
};

/// The client that every tenant's administration starts with.
pub const ADMINISTRATOR: &str = "admin";

/// A tenant to create.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantDeclaration {
    /// What stands in `/t/{name}`: 1 to 63 of a-z, 0-9 and '-', but not `default`.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    name: String,
    /// Who may register clients; as the server is configured when left out.
    #[serde(default)]
    registration: Option<RegistrationMode>,
}

/// A tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TenantView {
    /// Its name.
    name: String,
    /// Its issuer.
    issuer: String,
    /// Who may register clients.
    registration: RegistrationMode,
    /// Its resources, without the built-in one.
    resources: usize,
    /// Its clients.
    clients: usize,
    /// Credentials of its first administrator: shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    administrator: Option<Credentials>,
}

/// Credentials of an administrator.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Credentials {
    /// The issuer they are for.
    pub issuer: String,
    /// The identifier.
    pub client_id: String,
    /// The secret.
    pub client_secret: String,
    /// The resource to ask tokens for.
    pub resource: String,
}

/// Lists tenants.
#[utoipa::path(get, path = "/admin/tenants", responses((status = 200, body = Vec<TenantView>)),
    security(("token" = ["writ:tenants"]))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
) -> Result<Json<Vec<TenantView>>> {
    may(&app, &tenant, &credentials, AdminScope::Tenants).await?;
    operators_only(&tenant)?;
    Ok(Json(
        app.registry
            .all()
            .iter()
            .map(|tenant| view(tenant))
            .collect(),
    ))
}

/// Shows a tenant.
#[utoipa::path(
    get,
    path = "/admin/tenants/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = TenantView), (status = 404)),
    security(("token" = ["writ:tenants"]))
)]
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(name): Id,
    credentials: Presented,
) -> Result<Json<TenantView>> {
    may(&app, &tenant, &credentials, AdminScope::Tenants).await?;
    operators_only(&tenant)?;
    let found = app.registry.find(&name).ok_or_else(nothing)?;
    Ok(Json(view(&found)))
}

/// Creates a tenant with keys and an administrator of its own.
#[utoipa::path(
    post,
    path = "/admin/tenants",
    request_body = TenantDeclaration,
    responses((status = 201, body = TenantView), (status = 400), (status = 409)),
    security(("token" = ["writ:tenants"]))
)]
pub(super) async fn add(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<(StatusCode, Json<TenantView>)> {
    let who = may(&app, &tenant, &credentials, AdminScope::Tenants).await?;
    operators_only(&tenant)?;
    let wanted: TenantDeclaration = read(&app, request).await?;
    check_tenant_name(&wanted.name)
        .map_err(|why| OAuthError::invalid_request(format!("{why}.")))?;
    let _held = app.administration.lock().await;
    if app.registry.find(&wanted.name).is_some() {
        return Err(OAuthError::conflict(format!(
            "Tenant '{}' exists.",
            wanted.name
        )));
    }
    let administrator = create(&app, &wanted.name, wanted.registration, &who.client_id).await?;
    let created = app.registry.find(&wanted.name).ok_or_else(nothing)?;
    let administrator = Some(administrator);
    Ok((
        StatusCode::CREATED,
        Json(TenantView {
            administrator,
            ..view(&created)
        }),
    ))
}

/// Removes a tenant and everything that belongs to it; its audit trail stays.
#[utoipa::path(
    delete,
    path = "/admin/tenants/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204), (status = 404)),
    security(("token" = ["writ:tenants"]))
)]
pub(super) async fn remove(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(name): Id,
    credentials: Presented,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Tenants).await?;
    operators_only(&tenant)?;
    let _held = app.administration.lock().await;
    app.registry
        .find(&name)
        .filter(|tenant| !tenant.is_default())
        .ok_or_else(nothing)?;
    let change = Change::RemoveTenant(name.clone());
    commit(
        &app,
        &tenant,
        &who,
        Kind::TenantChanged,
        &name,
        "removed",
        vec![change],
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates a tenant with keys and an administrator of its own, all in one commit: there is never
/// one that cannot sign or that nobody can administer.
///
/// # Errors
/// When keys cannot be made, or it cannot be written.
pub async fn create(
    app: &App,
    name: &str,
    registration: Option<RegistrationMode>,
    who: &str,
) -> Result<Credentials> {
    let issuer = app.registry.root().url(&format!("/t/{name}"));
    let tenant = Tenant::new(name, &issuer, RegistrationMode::Off);
    let algorithms = SigningAlgorithm::ALL.to_vec();
    let put = app.new_keys(name, KeyState::Active, algorithms).await?;
    let first_keys = app.first_keys(&tenant, &put);
    let secret = app.entropy.secret("writ_cs_");
    let mut changes = vec![
        settings(app, name, registration),
        Change::Keys {
            tenant: name.to_owned(),
            known: Vec::new(),
            put,
            remove: Vec::new(),
        },
    ];
    changes.extend(administrator(app, &tenant, &secret)?);
    let audit = vec![changed(app, name, "created", who), first_keys];
    app.journal.commit(Command::new(changes, audit)).await?;
    Ok(credentials(&tenant, secret))
}

/// Changes the settings of a tenant that exists.
///
/// # Errors
/// When it cannot be written.
pub async fn change(
    app: &App,
    name: &str,
    registration: Option<RegistrationMode>,
    who: &str,
) -> Result<()> {
    let changes = vec![settings(app, name, registration)];
    let audit = vec![changed(app, name, "changed", who)];
    Ok(app.journal.commit(Command::new(changes, audit)).await?)
}

fn settings(app: &App, name: &str, registration: Option<RegistrationMode>) -> Change {
    let registration = match registration {
        None => "",
        Some(RegistrationMode::Open) => "open",
        Some(RegistrationMode::Token) => "token",
        Some(RegistrationMode::Off) => "off",
    };
    Change::PutTenant(tenant::Model {
        name: name.to_owned(),
        registration: registration.into(),
        created_at: app.clock.seconds(),
    })
}

fn changed(app: &App, name: &str, reason: &str, who: &str) -> Record {
    let event = Event {
        client_id: Some(who),
        object: Some(name),
        reason: Some(reason),
        ..Event::default()
    };
    app.record(app.registry.root(), Kind::TenantChanged, &event)
}

/// Writes the administrator of a tenant with this secret.
///
/// # Errors
/// When it cannot be written.
pub async fn put_administrator(app: &App, tenant: &Tenant, secret: &str) -> Result<()> {
    let event = Event {
        object: Some(ADMINISTRATOR),
        reason: Some("administrator"),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::ClientChanged, &event)];
    let changes = administrator(app, tenant, secret)?.into_iter().collect();
    Ok(app.journal.commit(Command::new(changes, audit)).await?)
}

fn administrator(app: &App, tenant: &Tenant, secret: &str) -> Result<Option<Change>> {
    let declaration = ClientDeclaration {
        client_id: ADMINISTRATOR.to_owned(),
        name: "Administrator".to_owned(),
        profile: Profile::Strict,
        token_endpoint_auth_method: None,
        client_secret: Some(secret.to_owned()),
        client_secret_expires_at: 0,
        jwks: None,
        jwks_uri: None,
        grant_types: Some(vec![CLIENT_CREDENTIALS.to_owned()]),
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        application_type: ApplicationType::default(),
        access: vec![Access {
            resource: ADMIN_ID.to_owned(),
            scopes: vec![AdminScope::Admin.as_str().to_owned()],
            translate: BTreeMap::new(),
        }],
        exchange: Vec::new(),
        delegates: Vec::new(),
        serves: None,
        receiver: None,
        multiple_resources: false,
        disabled: Some(false),
        dpop_bound_access_tokens: false,
        authorization: AuthorizationSettings::default(),
    };
    let (resources, now) = (tenant.resources(), app.clock.seconds());
    Ok(plan(tenant, &resources, &declaration, &app.entropy, false, now)?.change)
}

/// An administrator's credentials, as they are written to a file or shown once.
#[must_use]
pub fn credentials(tenant: &Tenant, client_secret: String) -> Credentials {
    Credentials {
        issuer: tenant.issuer().to_owned(),
        client_id: ADMINISTRATOR.to_owned(),
        client_secret,
        resource: tenant.url("/admin"),
    }
}

fn operators_only(tenant: &Tenant) -> Result<()> {
    if tenant.is_default() {
        return Ok(());
    }
    Err(OAuthError::not_found(
        "Tenants are managed at the server's own issuer.",
    ))
}

fn view(tenant: &Tenant) -> TenantView {
    TenantView {
        name: tenant.name().to_owned(),
        issuer: tenant.issuer().to_owned(),
        registration: tenant.registration(),
        resources: tenant.resources().all().len() - 1,
        clients: tenant.client_count(),
        administrator: None,
    }
}

fn nothing() -> OAuthError {
    OAuthError::not_found("There is no such tenant.")
}
