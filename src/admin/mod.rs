//! The JSON API for operators: one file for each noun.
//!
//! It is itself a protected resource: bearer tokens with `writ:` scopes for `{issuer}/admin`,
//! obtained by client credentials. Every change is in the audit trail with who made it.

pub mod apply;
mod audit;
mod clients;
mod consequences;
mod credentials;
mod events;
mod keys;
mod openapi;
mod resources;
mod revocations;
mod sessions;
mod streams;
pub mod tenants;
mod users;

use axum::{
    Router,
    extract::{FromRequestParts, Path},
    routing::{delete, get, post},
};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::{
    app::{App, AppState},
    audit::{Event, Kind},
    endpoints::protected::{Presented, administrator},
    error::{OAuthError, Result},
    journal::Command,
    oauth::claims::AccessClaims,
    policy::sensitivity::named,
    registry::{ADMIN_ID, AdminScope, Client, Tenant},
    store::Change,
    web::extract::json,
};

/// The API's part of the URL table, below `/admin`.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/openapi.json", get(openapi::show))
        .route("/apply", post(apply::apply))
        .route("/resources", get(resources::list).post(resources::add))
        .route(
            "/resources/{id}",
            get(resources::show)
                .put(resources::replace)
                .delete(resources::remove),
        )
        .route("/clients", get(clients::list).post(clients::add))
        .route(
            "/clients/{client_id}",
            get(clients::show)
                .put(clients::replace)
                .delete(clients::remove),
        )
        .route("/clients/{client_id}/secret", post(clients::new_secret))
        .route("/clients/{client_id}/disable", post(clients::disable))
        .route("/clients/{client_id}/enable", post(clients::enable))
        .route("/users", get(users::list).post(users::add))
        .route(
            "/users/{user}",
            get(users::show).put(users::replace).delete(users::remove),
        )
        .route("/users/{user}/disable", post(users::disable))
        .route("/users/{user}/enable", post(users::enable))
        .route("/users/{user}/password", post(credentials::set_password))
        .route(
            "/users/{user}/authenticator",
            delete(credentials::reset_factor),
        )
        .route("/users/{user}/credentials", get(credentials::list))
        .route(
            "/users/{user}/credentials/{id}",
            delete(credentials::remove),
        )
        .route(
            "/users/{user}/sessions",
            get(sessions::list).delete(sessions::end_all),
        )
        .route("/users/{user}/sessions/{sid}", delete(sessions::end))
        .route("/revocations", post(revocations::revoke))
        .route("/events", post(events::emit))
        .route("/streams", get(streams::list))
        .route("/streams/{id}", get(streams::show).delete(streams::remove))
        .route("/streams/{id}/enable", post(streams::enable))
        .route("/streams/{id}/pause", post(streams::pause))
        .route("/streams/{id}/disable", post(streams::disable))
        .route("/keys", get(keys::list))
        .route("/keys/rotate", post(keys::rotate))
        .route("/audit", get(audit::list))
        .route("/audit/verify", get(audit::verify))
        .route("/audit/checkpoint", get(audit::checkpoint))
        .route("/audit/truncate", post(audit::truncate))
        .route("/audit/sinks", get(audit::sinks))
        .route("/tenants", get(tenants::list).post(tenants::add))
        .route(
            "/tenants/{name}",
            get(tenants::show).delete(tenants::remove),
        )
}

/// Reads a JSON body into `T`; an unknown or wrong member is named by its path.
async fn read<T: DeserializeOwned>(app: &App, request: axum::extract::Request) -> Result<T> {
    let body = json(request, app.config.limits.admin_body).await?;
    // serde would take an array for a struct too, member by member.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(OAuthError::invalid_request(
            "The body must be a JSON object.",
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(&body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|why| {
        let (path, why) = (why.path().to_string(), why.inner().to_string());
        let place = if path == "." {
            String::new()
        } else {
            format!("{path}: ")
        };
        OAuthError::invalid_request(format!("{place}{why}."))
    })?;
    reader
        .end()
        .map_err(|_| OAuthError::invalid_request("There is more after the JSON body."))?;
    Ok(value)
}

/// The two parameters of a path: a user, and something of theirs.
#[derive(Debug)]
struct Theirs(String, String);

impl<S: Send + Sync> FromRequestParts<S> for Theirs {
    type Rejection = OAuthError;

    /// What is not UTF-8 (RFC 3986 §2.5) names nothing of ours.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path((user, part)) = Path::from_request_parts(parts, state)
            .await
            .map_err(|why| OAuthError::not_found("There is nothing at this path.").because(why))?;
        Ok(Self(user, part))
    }
}

/// Who asks, when they may.
async fn may(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    scope: AdminScope,
) -> Result<AccessClaims> {
    administrator(app, tenant, credentials, scope).await
}

/// On whose authority something is changed.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// Whoever runs the server's process.
    Operator,
    /// The holder of a token.
    Token(&'a AccessClaims),
}

impl By<'_> {
    /// The name in the audit trail.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Operator => "operator",
            Self::Token(claims) => &claims.client_id,
        }
    }

    /// Nobody makes, changes or takes over a client that may do more here than they may: neither
    /// the client that is there nor the one that a change would make of it.
    ///
    /// # Errors
    /// `insufficient_scope`, naming what is missing.
    fn may_change(self, tenant: &Tenant, client_id: &str, change: Option<&Change>) -> Result<()> {
        if let Some(client) = tenant.client(client_id) {
            self.covers(tenant, &client)?;
        }
        if change.is_some() && matches!(self, Self::Token(claims) if claims.client_id == client_id)
        {
            return Err(OAuthError::conflict(
                "A client cannot change itself here: it might be the last that can.",
            ));
        }
        if let Some(Change::PutClient { row, .. }) = change {
            let client = Client::from_row(row).map_err(OAuthError::server_error)?;
            self.covers(tenant, &client)?;
        }
        Ok(())
    }

    fn covers(&self, tenant: &Tenant, client: &Client) -> Result<()> {
        let Self::Token(claims) = self else {
            return Ok(());
        };
        let resources = tenant.resources();
        let Some(admin) = resources.by_id(ADMIN_ID) else {
            return Ok(());
        };
        let entries = [
            client.rights().access(ADMIN_ID),
            client.rights().exchange(ADMIN_ID),
        ];
        for entry in entries.into_iter().flatten() {
            let translated = entry.translate.values().flatten().map(String::as_str);
            let mut scopes = named(entry, admin);
            scopes.extend(admin.expand(translated));
            if let Some(missing) = scopes.into_iter().find(|scope| !claims.has_scope(scope)) {
                return Err(OAuthError::insufficient_scope(format!(
                    "Client '{}' may have '{missing}' here, and you may not.",
                    client.id()
                )));
            }
        }
        Ok(())
    }
}

/// Commits changes with the event that says who made them.
async fn commit(
    app: &App,
    tenant: &Tenant,
    who: &AccessClaims,
    kind: Kind,
    object: &str,
    reason: &str,
    changes: Vec<Change>,
) -> Result<()> {
    let event = Event {
        client_id: Some(&who.client_id),
        sub: Some(&who.sub),
        act: who.act.as_ref(),
        object: Some(object),
        reason: Some(reason),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, kind, &event)];
    Ok(app.journal.commit(Command::new(changes, audit)).await?)
}
