//! Clients that register themselves (RFC 7591) and manage what they registered (RFC 7592).
//!
//! What registers itself has no access until a resource opens scopes to such clients, or an
//! administrator gives it some.

use entity::client;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::{digest_of, metadata};
use crate::{
    app::App,
    audit::{Event, Kind},
    error::{OAuthError, Result},
    journal::Command,
    oauth::error_code::ErrorCode,
    registry::{Client, ClientDocument, Origin, Tenant},
    store::{Change, Expect},
};

/// Registers a client and answers with everything it is told once.
///
/// # Errors
/// What [`metadata::read`] says, or that the tenant has as many such clients as it may.
pub async fn register(app: &App, tenant: &Tenant, body: &[u8]) -> Result<Value> {
    let document = metadata::read(body, app.config.fetch.allow_private_addresses_for_tests)?;
    if tenant.registered_clients() >= app.config.registration.max_clients {
        return Err(OAuthError::new(
            ErrorCode::TooMany,
            "This server holds as many registered clients as it may.",
        ));
    }
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
        created_at: now,
        updated_at: now,
    };
    commit(
        app,
        tenant,
        Change::PutClient {
            row,
            expect: Expect::Absent,
        },
        &client_id,
        "put",
    )
    .await?;
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
/// `invalid_token`, the same for an unknown client and another one's token.
pub fn authorize(
    tenant: &Tenant,
    client_id: &str,
    token: Option<&str>,
) -> Result<std::sync::Arc<Client>> {
    let client = tenant.client(client_id);
    let presented = digest_of(token.unwrap_or_default());
    let stored = client
        .as_deref()
        .and_then(|c| c.row().registration_digest.as_deref());
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
#[must_use]
pub fn show(tenant: &Tenant, client: &Client, token: &str) -> Value {
    answer(
        tenant,
        client.id(),
        client.document(),
        client.row().created_at,
        None,
        token,
    )
}

/// Replaces the metadata (RFC 7592 §2.2). Identifier and secret stay.
///
/// # Errors
/// What [`metadata::read`] says; a member that only the server sets must be what it is.
pub async fn replace(
    app: &App,
    tenant: &Tenant,
    client: &Client,
    body: &[u8],
    token: &str,
) -> Result<Value> {
    let private = app.config.fetch.allow_private_addresses_for_tests;
    let mut document = metadata::read(body, private)?;
    let sent: Value = serde_json::from_slice(body)
        .map_err(|_| OAuthError::invalid_client_metadata("The body must be a JSON object."))?;
    check_fixed(&sent, client)?;
    let before = client.document();
    // What an administrator gave it is not the client's to change.
    document.access.clone_from(&before.access);
    document.exchange.clone_from(&before.exchange);
    document.delegates.clone_from(&before.delegates);
    document.serves.clone_from(&before.serves);
    document.multiple_resources = before.multiple_resources;
    document.profile = before.profile;
    let mut row = client.row().clone();
    let secret = match (
        document.token_endpoint_auth_method.uses_secret(),
        &row.secret_digest,
    ) {
        (true, None) => Some(app.entropy.secret("writ_cs_")),
        (false, Some(_)) => {
            row.secret_digest = None;
            None
        }
        _ => None,
    };
    if let Some(secret) = &secret {
        row.secret_digest = Some(digest_of(secret).to_vec());
    }
    row.document = serde_json::to_string(&document).map_err(OAuthError::server_error)?;
    row.updated_at = app.clock.seconds();
    let created_at = row.created_at;
    let change = Change::PutClient {
        row,
        expect: Expect::Present,
    };
    commit(app, tenant, change, client.id(), "replace").await?;
    Ok(answer(
        tenant,
        client.id(),
        &document,
        created_at,
        secret.as_deref(),
        token,
    ))
}

/// Removes the client (RFC 7592 §2.3); its tokens can be exchanged no more.
///
/// # Errors
/// When the journal cannot write it.
pub async fn remove(app: &App, tenant: &Tenant, client: &Client) -> Result<()> {
    let change = Change::RemoveClient {
        tenant: tenant.name().to_owned(),
        client_id: client.id().to_owned(),
    };
    commit(app, tenant, change, client.id(), "remove").await
}

/// RFC 7592 §2.2: the client must not change its identifier or choose its secret.
fn check_fixed(sent: &Value, client: &Client) -> Result<()> {
    if let Some(id) = sent.get("client_id")
        && id.as_str() != Some(client.id())
    {
        return Err(OAuthError::invalid_client_metadata(
            "client_id cannot be changed.",
        ));
    }
    if let Some(secret) = sent.get("client_secret").and_then(Value::as_str) {
        let stored = client.row().secret_digest.as_deref().unwrap_or(&[0; 32]);
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
    change: Change,
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
    Ok(app
        .journal
        .commit(Command {
            changes: vec![change],
            audit,
        })
        .await?)
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
    let mut body = match serde_json::to_value(&document.metadata) {
        Ok(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
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
