//! `/admin/users/{user}/…`: what a person signs in with.
//!
//! Of a secret nothing is ever shown. What is taken away here leaves sessions as they are; only
//! another password ends them.

use axum::{
    Json,
    extract::{Request, State},
};
use entity::credential::Model;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Theirs, commit, may, read, users::named};
use crate::{
    app::AppState,
    audit::Kind,
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    registry::AdminScope,
    store::people::Sessions,
    users::{
        credential::{self, Credentials, PASSKEY, RECOVERY, TOTP, UPSTREAM},
        declaration::check_secret,
        password,
    },
    web::extract::{ForTenant, Id},
};

/// A passkey, or who a person is at another provider.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct CredentialView {
    /// Its name in the URL.
    id: String,
    /// `passkey` or `upstream`.
    kind: String,
    /// What the person, or the provider, calls it.
    name: String,
    /// The provider's issuer, of an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// When it came, Unix seconds.
    created_at: i64,
    /// When it was last used, Unix seconds.
    last_used_at: Option<i64>,
}

impl From<&Model> for CredentialView {
    fn from(row: &Model) -> Self {
        Self {
            id: row.id.clone(),
            kind: row.kind.clone(),
            name: row.name.clone(),
            issuer: credential::issuer(row),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        }
    }
}

/// Those of which a person may have several.
fn several(credentials: &Credentials) -> impl Iterator<Item = &Model> {
    credentials.all(PASSKEY).chain(credentials.all(UPSTREAM))
}

/// A new password, or its hash.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// The password.
    #[serde(default)]
    password: Option<String>,
    /// Its hash: bcrypt, scrypt or argon2.
    #[serde(default)]
    password_hash: Option<String>,
    /// Leaves connected apps what they may do while the user is away (`offline_access`). What ends
    /// with a session ends.
    #[serde(default)]
    keep_apps: bool,
}

/// Lists the passkeys of a user, and their identities at other providers.
#[utoipa::path(
    get,
    path = "/admin/users/{user}/credentials",
    params(("user" = String, Path, description = "Their id or their user name")),
    responses((status = 200, body = Vec<CredentialView>), (status = 404)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
) -> Result<Json<Vec<CredentialView>>> {
    may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let user = named(&app, &tenant, &user).await?;
    let known = Credentials::of(&app, &tenant, &user).await?;
    Ok(Json(several(&known).map(CredentialView::from).collect()))
}

/// Takes a passkey or an identity away, also the last one: then a password has to be set.
#[utoipa::path(
    delete,
    path = "/admin/users/{user}/credentials/{id}",
    params(
        ("user" = String, Path, description = "Their id or their user name"),
        ("id" = String, Path, description = "The id that the list says"),
    ),
    responses((status = 204), (status = 404), (status = 409)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn remove(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Theirs(user, id): Theirs,
    credentials: Presented,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let user = named(&app, &tenant, &user).await?;
    let known = Credentials::of(&app, &tenant, &user).await?;
    let found = several(&known).find(|row| row.id == id);
    let row = found.ok_or_else(|| OAuthError::not_found("They have no such credential."))?;
    let reason = match row.kind.as_str() {
        PASSKEY => "passkey removed",
        _ => "identity removed",
    };
    let (kind, changes) = (Kind::UserChanged, vec![credential::remove(row)]);
    commit(&app, &tenant, &who, kind, &user.id, reason, changes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes away a user's authenticator app and their recovery codes, for somebody who has lost them.
#[utoipa::path(
    delete,
    path = "/admin/users/{user}/authenticator",
    params(("user" = String, Path, description = "Their id or their user name")),
    responses((status = 204), (status = 404)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn reset_factor(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let user = named(&app, &tenant, &user).await?;
    let known = Credentials::of(&app, &tenant, &user).await?;
    if known.first(TOTP).or(known.first(RECOVERY)).is_none() {
        return Err(OAuthError::not_found("They have no second factor."));
    }
    let changes = credential::remove_factor(&tenant, &user.id);
    let (kind, reason) = (Kind::UserChanged, "second factor removed");
    commit(&app, &tenant, &who, kind, &user.id, reason, changes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a user another password, and ends their sessions and what apps may do for them.
#[utoipa::path(
    post,
    path = "/admin/users/{user}/password",
    params(("user" = String, Path, description = "Their id or their user name")),
    request_body = NewPassword,
    responses((status = 204), (status = 400), (status = 404), (status = 409)),
    security(("token" = ["writ:users"]))
)]
pub(super) async fn set_password(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(user): Id,
    credentials: Presented,
    request: Request,
) -> Result<StatusCode> {
    let who = may(&app, &tenant, &credentials, AdminScope::Users).await?;
    let new: NewPassword = read(&app, request).await?;
    let user = named(&app, &tenant, &user).await?;
    let (text, hash) = (new.password.as_deref(), new.password_hash);
    check_secret(&app, &user.username, text, hash.as_deref())
        .map_err(|why| OAuthError::invalid_request(format!("{why}.")))?;
    let hash = match (text, hash) {
        (Some(text), _) => password::hash(&app, text).await?,
        (None, Some(hash)) => hash,
        (None, None) => {
            return Err(OAuthError::invalid_request(
                "There must be a password or a password_hash.",
            ));
        }
    };
    let (all, ends_apps) = (Sessions::Of(user.id.clone()), !new.keep_apps);
    let changes = credential::set_password(&app, &tenant, &user, hash, all, ends_apps).await?;
    let (kind, reason) = (Kind::UserChanged, "password set");
    commit(&app, &tenant, &who, kind, &user.id, reason, changes).await?;
    Ok(StatusCode::NO_CONTENT)
}
