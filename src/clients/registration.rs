//! Clients that register themselves (RFC 7591) and manage what they registered (RFC 7592).
//!
//! What registers itself has no access until a resource opens scopes to such clients, or an
//! administrator gives it some.

use entity::client;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::{authentication::enabled, digest_of, metadata, settings};
use crate::{
    app::App,
    audit::{Event, Kind},
    error::{OAuthError, Result},
    grant_types,
    journal::Command,
    oauth::error_code::ErrorCode,
    registry::{Client, ClientDocument, Origin, Tenant},
    store::Change,
};

/// Longest stored metadata, bytes.
const MAX_DOCUMENT: usize = 16 * 1024;
/// Most inline keys.
const MAX_KEYS: usize = 8;

/// Registers a client and answers with everything it is told once.
///
/// # Errors
/// What [`metadata::read`] says, or that the tenant has as many such clients as it may.
pub async fn register(app: &App, tenant: &Tenant, body: &[u8]) -> Result<Value> {
    let document = metadata::read(body, app.config.fetch.allow_private_addresses_for_tests)?;
    check_size(&document)?;
    check_sector(app, &document).await?;
    // One at a time, so that the limit is one.
    let _held = app.administration.lock().await;
    let evicted = if tenant.registered_clients() < app.config.registration.max_clients {
        None
    } else {
        Some(longest_unused(tenant)?)
    };
    let client_id = app.entropy.id();
    let now = app.clock.seconds();
    let secret = document
        .token_endpoint_auth_method
        .uses_secret()
        .then(|| app.entropy.secret("writ_cs_"));
    let token = app.entropy.secret("writ_rat_");
    let row = client::Model {
        tenant: tenant.name().to_owned(),
        client_id: client_id.clone(),
        origin: Origin::Registered.as_str().into(),
        secret_digest: secret.as_deref().map(|s| digest_of(s).to_vec()),
        secret_expires_at: 0,
        registration_digest: Some(digest_of(&token).to_vec()),
        document: serde_json::to_string(&document).map_err(OAuthError::server_error)?,
        disabled: false,
        created_at: now,
        updated_at: now,
    };
    let mut changes: Vec<Change> = evicted.into_iter().collect();
    changes.push(Change::PutClient { row, before: None });
    commit(app, tenant, changes, &client_id, "put").await?;
    Ok(answer(
        tenant,
        &client_id,
        &document,
        now,
        secret.as_deref(),
        &token,
    ))
}

/// The client that this registration access token manages (RFC 7592 §3).
///
/// # Errors
/// `invalid_token`, the same for an unknown or disabled client and another one's token.
pub fn authorize(
    tenant: &Tenant,
    client_id: &str,
    token: Option<&str>,
) -> Result<std::sync::Arc<Client>> {
    let client = enabled(tenant, client_id);
    let presented = digest_of(token.unwrap_or_default());
    let stored = client.as_deref().and_then(|c| c.registration_digest());
    let holds = bool::from(presented.ct_eq(stored.unwrap_or(&[0; 32])));
    match client {
        Some(client) if stored.is_some() && holds && token.is_some() => Ok(client),
        _ => {
            let error = OAuthError::invalid_token(
                "The registration access token does not belong to this client.",
            );
            Err(match token {
                Some(_) => error.challenge("Bearer error=\"invalid_token\""),
                None => error.challenge("Bearer"),
            })
        }
    }
}

/// What is registered now (RFC 7592 §2.1).
///
/// # Errors
/// None that starting would not have met.
pub fn show(tenant: &Tenant, client: &Client, token: &str) -> Result<Value> {
    let document = client.document().map_err(OAuthError::server_error)?;
    let (id, issued_at) = (client.id(), client.created_at());
    Ok(answer(tenant, id, &document, issued_at, None, token))
}

/// Replaces the metadata (RFC 7592 §2.2). Identifier and secret stay.
///
/// # Errors
/// As [`authorize`], and what [`metadata::read`] says; a member that only the server sets must be
/// what it is.
pub async fn replace(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
    token: Option<&str>,
    body: &[u8],
) -> Result<Value> {
    // Nothing is fetched for somebody who may not do this.
    authorize(tenant, client_id, token)?;
    let private = app.config.fetch.allow_private_addresses_for_tests;
    let mut document = metadata::read(body, private)?;
    check_size(&document)?;
    check_sector(app, &document).await?;
    // The client as it is now, and until it is written: an administrator may change it meanwhile.
    let _held = app.administration.lock().await;
    let client = authorize(tenant, client_id, token)?;
    let sent: Value = serde_json::from_slice(body)
        .map_err(|_| OAuthError::invalid_client_metadata("The body must be a JSON object."))?;
    let mut row = client.row(tenant.name());
    check_fixed(&sent, &row)?;
    let given = client.document().map_err(OAuthError::server_error)?;
    keep_what_was_given(&mut document, &given);
    settings::check(&document, private)
        .map_err(|why| OAuthError::invalid_client_metadata(format!("{why}.")))?;
    let before = Some(Box::new(row.clone()));
    let uses_secret = document.token_endpoint_auth_method.uses_secret();
    let mut secret = None;
    if !uses_secret {
        row.secret_digest = None;
    } else if row.secret_digest.is_none() {
        let new = secret.insert(app.entropy.secret("writ_cs_"));
        row.secret_digest = Some(digest_of(new).to_vec());
    }
    row.document = serde_json::to_string(&document).map_err(OAuthError::server_error)?;
    row.updated_at = app.clock.seconds();
    let created_at = row.created_at;
    let change = Change::PutClient { row, before };
    commit(app, tenant, vec![change], client.id(), "replace").await?;
    let token = token.unwrap_or_default();
    Ok(answer(
        tenant,
        client.id(),
        &document,
        created_at,
        secret.as_deref(),
        token,
    ))
}

/// What an administrator gave a client is not the client's to change.
pub(super) fn keep_what_was_given(document: &mut ClientDocument, before: &ClientDocument) {
    document.access.clone_from(&before.access);
    document.exchange.clone_from(&before.exchange);
    document.delegates.clone_from(&before.delegates);
    document.serves.clone_from(&before.serves);
    document.multiple_resources = before.multiple_resources;
    document.profile = before.profile;
    // Only an administrator makes a client less strict.
    document.dpop_bound_access_tokens |= before.dpop_bound_access_tokens;
    document.authorization.rotate_refresh_tokens = before.authorization.rotate_refresh_tokens;
    let given = before
        .grant_types
        .iter()
        .filter(|name| grant_types::find(name).is_some_and(|grant_type| !grant_type.self_service));
    document.grant_types.extend(given.cloned());
}

/// Removes the client (RFC 7592 §2.3), and with it every grant it holds.
///
/// # Errors
/// As [`authorize`].
pub async fn remove(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
    token: Option<&str>,
) -> Result<()> {
    let _held = app.administration.lock().await;
    let client = authorize(tenant, client_id, token)?;
    let change = removal(tenant, &client);
    commit(app, tenant, vec![change], client.id(), "remove").await
}

/// The client that registered first of those that were never granted anything: it makes room.
fn longest_unused(tenant: &Tenant) -> Result<Change> {
    let unused =
        |client: &Client| client.origin() == Origin::Registered && !tenant.has_grants(client.id());
    tenant
        .clients_that(unused)
        .into_iter()
        .min_by_key(|client| client.created_at())
        .map(|client| removal(tenant, &client))
        .ok_or_else(|| {
            OAuthError::new(
                ErrorCode::TooMany,
                "This server holds as many registered clients as it may, and all are in use.",
            )
        })
}

fn removal(tenant: &Tenant, client: &Client) -> Change {
    Change::RemoveClient {
        tenant: tenant.name().to_owned(),
        client_id: client.id().to_owned(),
    }
}

async fn check_sector(app: &App, document: &ClientDocument) -> Result<()> {
    let (settings, uris) = (&document.authorization, &document.metadata.redirect_uris);
    let checked = settings::check_sector(app, settings, uris).await;
    checked.map_err(|why| OAuthError::invalid_client_metadata(format!("{why}.")))
}

/// What nobody vouches for stays small.
fn check_size(document: &ClientDocument) -> Result<()> {
    let size = serde_json::to_vec(document).map_or(usize::MAX, |text| text.len());
    let keys = document
        .jwks
        .as_ref()
        .and_then(|jwks| jwks["keys"].as_array())
        .map_or(0, Vec::len);
    if size > MAX_DOCUMENT || keys > MAX_KEYS {
        return Err(OAuthError::invalid_client_metadata(format!(
            "A registration is limited to {MAX_DOCUMENT} bytes and {MAX_KEYS} keys."
        )));
    }
    Ok(())
}

/// RFC 7592 §2.2: the client must not change its identifier or choose its secret.
fn check_fixed(sent: &Value, row: &client::Model) -> Result<()> {
    if let Some(id) = sent.get("client_id")
        && id.as_str() != Some(&row.client_id)
    {
        return Err(OAuthError::invalid_client_metadata(
            "client_id cannot be changed.",
        ));
    }
    if let Some(secret) = sent.get("client_secret").and_then(Value::as_str) {
        let stored = row.secret_digest.as_deref().unwrap_or(&[0; 32]);
        if !bool::from(digest_of(secret).ct_eq(stored)) {
            return Err(OAuthError::invalid_client_metadata(
                "client_secret cannot be chosen.",
            ));
        }
    }
    Ok(())
}

async fn commit(
    app: &App,
    tenant: &Tenant,
    changes: Vec<Change>,
    client_id: &str,
    reason: &str,
) -> Result<()> {
    let event = Event {
        client_id: Some(client_id),
        object: Some(client_id),
        reason: Some(reason),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::ClientRegistered, &event)];
    Ok(app.journal.commit(Command::new(changes, audit)).await?)
}

/// The client information response (RFC 7591 §3.2.1, RFC 7592 §3). Members without a value are
/// left out: SDKs stumble over null and empty text.
fn answer(
    tenant: &Tenant,
    client_id: &str,
    document: &ClientDocument,
    issued_at: i64,
    secret: Option<&str>,
    token: &str,
) -> Value {
    let members = |part: serde_json::Result<Value>| match part {
        Ok(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let mut body = members(serde_json::to_value(&document.metadata));
    body.extend(members(serde_json::to_value(&document.authorization)));
    body.insert("client_id".into(), json!(client_id));
    body.insert("client_id_issued_at".into(), json!(issued_at));
    body.insert("grant_types".into(), json!(document.grant_types));
    body.insert(
        "token_endpoint_auth_method".into(),
        json!(document.token_endpoint_auth_method),
    );
    if !document.name.is_empty() {
        body.insert("client_name".into(), json!(document.name));
    }
    if document.dpop_bound_access_tokens {
        body.insert("dpop_bound_access_tokens".into(), json!(true));
    }
    if let Some(jwks) = &document.jwks {
        body.insert("jwks".into(), jwks.clone());
    }
    if let Some(uri) = &document.jwks_uri {
        body.insert("jwks_uri".into(), json!(uri));
    }
    if let Some(secret) = secret {
        body.insert("client_secret".into(), json!(secret));
        body.insert("client_secret_expires_at".into(), json!(0));
    }
    body.insert("registration_access_token".into(), json!(token));
    let uri = tenant.url(&format!("/register/{client_id}"));
    body.insert("registration_client_uri".into(), json!(uri));
    Value::Object(body)
}
