//! An MCP server registers itself, and gets credentials of its own.

use entity::client;
use serde_json::{Value, json};

use super::declaration::{ResourceDeclaration, ResourceView, plan};
use crate::{
    app::App,
    audit::{Event, Kind},
    clients::digest_of,
    error::{OAuthError, Result},
    journal::Command,
    oauth::grant_type::{AuthMethod, CLIENT_CREDENTIALS, TOKEN_EXCHANGE},
    registry::{
        AuthorizationSettings, ClientDocument, Origin, Profile, RegisteredMetadata, Resource,
        Tenant,
    },
    store::Change,
    streams::{agreement, changes::By, declared},
};

/// What came of a registration.
pub(super) struct Registered {
    /// The answer's body.
    pub(super) body: Value,
    /// Whether the resource is new.
    pub(super) created: bool,
}

/// Registers or updates the resource that `owner` speaks for. Only a new one gets credentials,
/// and only then are they shown.
pub(super) async fn register(
    app: &App,
    tenant: &Tenant,
    owner: &str,
    mut declaration: ResourceDeclaration,
) -> Result<Registered> {
    let _held = app.administration.lock().await;
    let resources = tenant.resources();
    let known = resources.by_uri(&declaration.resource);
    if let Some(known) = known {
        if known.row().registered_by.as_deref() != Some(owner) {
            return Err(OAuthError::access_denied(
                "This resource is registered already, and not by this client.",
            ));
        }
        if declaration.id.is_empty() {
            known.id().clone_into(&mut declaration.id);
        }
    } else if declaration.id.is_empty() {
        declaration.id = name_from(&declaration, app);
    }
    let taken = resources.by_id(&declaration.id);
    if taken.is_some_and(|r| r.row().registered_by.as_deref() != Some(owner)) {
        return Err(OAuthError::conflict(format!(
            "id '{}' belongs to another resource: choose another or leave it out.",
            declaration.id
        )));
    }
    let now = app.clock.seconds();
    let created = known.is_none() && taken.is_none();
    let mut changes: Vec<Change> = plan(tenant, &resources, &declaration, Some(owner), now)?
        .into_iter()
        .collect();
    let mut credentials = None;
    let mut planned = (**resources).clone();
    if let Some(Change::PutResource { row, .. }) = changes.first() {
        planned.insert(Resource::from_row(row).map_err(OAuthError::server_error)?);
    }
    if created {
        let (client_id, secret) = (
            format!("rs-{}", app.entropy.id()),
            app.entropy.secret("writ_cs_"),
        );
        let reference = match changes.first() {
            Some(Change::PutResource { row, .. }) => row.normalised.clone(),
            _ => declaration.resource.clone(),
        };
        let row = server_client(tenant, &client_id, &secret, &declaration, reference, now)?;
        changes.push(Change::PutClient { row, before: None });
        credentials = Some((client_id, secret));
    }
    let mut audit = Vec::new();
    let mut server = None;
    if let Some(stream) = &declaration.stream {
        let id = &declaration.id;
        let plan = declared::plan(app, tenant, &planned, &changes, id, stream)?;
        if let Some(change) = plan.change {
            changes.push(change);
            audit.push(By::Server.record(app, tenant, &plan.id, "declared"));
        }
        server = Some(plan.id);
    }
    if !changes.is_empty() {
        let event = Event {
            client_id: Some(owner),
            object: Some(&declaration.id),
            reason: Some(if created { "created" } else { "changed" }),
            ..Event::default()
        };
        audit.insert(0, app.record(tenant, Kind::ResourceRegistered, &event));
        app.journal.commit(Command::new(changes, audit)).await?;
    }
    let resources = tenant.resources();
    let resource = resources
        .by_id(&declaration.id)
        .ok_or_else(|| OAuthError::conflict("The resource was removed meanwhile."))?;
    let mut body = json!(ResourceView::new(tenant, resource));
    body["issuer"] = json!(tenant.issuer());
    body["oauth_protected_resource"] = resource.metadata(tenant.issuer());
    if let Some((client_id, secret)) = credentials {
        body["client_id"] = json!(client_id);
        body["client_secret"] = json!(secret);
        body["client_secret_expires_at"] = json!(0);
    }
    if let Some(stream) = server.and_then(|id| tenant.stream(&id)) {
        let interval = app.config.events.verification_interval;
        body["stream"] = agreement::shown(tenant, &stream, interval);
    }
    Ok(Registered { body, created })
}

/// The client that an MCP server is when it asks something itself: it may have streams of security
/// events, and exchange the tokens it receives as soon as an administrator says for what.
fn server_client(
    tenant: &Tenant,
    client_id: &str,
    secret: &str,
    declaration: &ResourceDeclaration,
    reference: String,
    now: i64,
) -> Result<client::Model> {
    let document = ClientDocument {
        name: declaration.document.name.clone(),
        profile: Profile::Strict,
        token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
        jwks: None,
        jwks_uri: None,
        grant_types: vec![CLIENT_CREDENTIALS.to_owned(), TOKEN_EXCHANGE.to_owned()],
        access: Vec::new(),
        exchange: Vec::new(),
        delegates: Vec::new(),
        serves: Some(reference),
        receiver: None,
        multiple_resources: false,
        dpop_bound_access_tokens: false,
        authorization: AuthorizationSettings::default(),
        metadata: RegisteredMetadata::default(),
    };
    Ok(client::Model {
        tenant: tenant.name().to_owned(),
        client_id: client_id.to_owned(),
        origin: Origin::Resource.as_str().into(),
        secret_digest: Some(digest_of(secret).to_vec()),
        secret_expires_at: 0,
        registration_digest: None,
        document: serde_json::to_string(&document).map_err(OAuthError::server_error)?,
        disabled: false,
        created_at: now,
        updated_at: now,
    })
}

/// An id from the name, made unique.
fn name_from(declaration: &ResourceDeclaration, app: &App) -> String {
    let plain: String = declaration
        .document
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(40)
        .collect();
    let random = crate::audit::hexadecimal(&app.entropy.bytes::<4>());
    let plain = plain.trim_matches('-');
    if plain.is_empty() {
        format!("mcp-{random}")
    } else {
        format!("{plain}-{random}")
    }
}
