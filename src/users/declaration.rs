//! What administrators say of a person, and what they see.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    User, account,
    change::{added, replaced},
    credential::{self, Credentials, PASSKEY, PASSWORD, RECOVERY, TOTP, UPSTREAM},
    password,
};
use crate::{
    app::App,
    error::{OAuthError, Result},
    registry::Tenant,
    store::Change,
};

/// Largest claims of one person, bytes of JSON: they are read for each of their ID tokens.
const MOST_CLAIMS: usize = 16 * 1024;

/// A person as an administrator declares them.
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserDeclaration {
    /// The name to sign in with.
    pub username: String,
    /// The `sub` of a new account, where another server has given them one; made up otherwise.
    #[serde(default)]
    pub id: Option<String>,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether somebody has made sure that it is theirs; then they may sign in with it.
    #[serde(default)]
    pub email_verified: bool,
    /// Other standard claims (OpenID Connect Core §5.1): `name`, `locale` and so on.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub claims: Map<String, Value>,
    /// Whether they may not sign in.
    #[serde(default)]
    pub disabled: bool,
    /// Their first password. Whoever has one keeps it.
    #[serde(default)]
    pub password: Option<String>,
    /// The same as another server has hashed it: bcrypt, scrypt or argon2.
    #[serde(default)]
    pub password_hash: Option<String>,
}

impl fmt::Debug for UserDeclaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserDeclaration")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A person as administrators see them.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct UserView {
    /// The `sub`.
    pub id: String,
    /// The name to sign in with.
    pub username: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Whether somebody has made sure that it is theirs.
    pub email_verified: bool,
    /// Other standard claims.
    #[schema(value_type = Object)]
    pub claims: Map<String, Value>,
    /// Whether they may not sign in.
    pub disabled: bool,
    /// When the account was made, Unix seconds.
    pub created_at: i64,
    /// When it last changed, Unix seconds.
    pub updated_at: i64,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            email_verified: user.email_verified,
            claims: user.claims,
            disabled: user.disabled,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// What a person signs in with, in numbers.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CredentialsView {
    /// Whether there is a password.
    pub password: bool,
    /// Whether an authenticator app is asked for too.
    pub authenticator: bool,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
    /// Passkeys.
    pub passkeys: usize,
    /// Identities at other providers.
    pub identities: usize,
}

impl From<&Credentials> for CredentialsView {
    fn from(credentials: &Credentials) -> Self {
        Self {
            password: credentials.first(PASSWORD).is_some(),
            authenticator: credentials.first(TOTP).is_some(),
            recovery_codes: credentials.all(RECOVERY).count(),
            passkeys: credentials.all(PASSKEY).count(),
            identities: credentials.all(UPSTREAM).count(),
        }
    }
}

/// What has to change for a declaration to be true.
#[derive(Debug)]
pub struct Plan {
    /// Whose account.
    pub user: User,
    /// Whether it is there already.
    pub exists: bool,
    /// The changes; none when it is true already.
    pub changes: Vec<Change>,
}

/// Plans a declaration. Who is there is found by name.
///
/// # Errors
/// `invalid_request` with the rule that says no; when the database cannot be read.
pub async fn plan(app: &App, tenant: &Tenant, declared: &UserDeclaration) -> Result<Plan> {
    check(app, declared).map_err(|why| {
        let name = &declared.username;
        OAuthError::invalid_request(format!("User '{name}': {why}."))
    })?;
    let before = account::find_by_username(app, tenant, &declared.username).await?;
    let Some(before) = before else {
        return planned_new(app, tenant, declared).await;
    };
    if declared.id.as_ref().is_some_and(|id| *id != before.id) {
        return Err(OAuthError::invalid_request(format!(
            "User '{}': the id of an account never changes.",
            declared.username
        )));
    }
    let mut user = written(before.clone(), declared);
    let mut changes = Vec::new();
    if user != before {
        user.updated_at = app.clock.seconds();
        free(app, tenant, &user).await?;
        changes.extend(replaced(tenant, &before, &user));
    }
    let credentials = Credentials::of(app, tenant, &user).await?;
    if credentials.first(PASSWORD).is_none()
        && let Some(hash) = hash(app, declared).await?
    {
        let password = credential::password(app, tenant, &user.id, hash, None);
        changes.push(password);
    }
    Ok(Plan {
        user,
        exists: true,
        changes,
    })
}

async fn planned_new(app: &App, tenant: &Tenant, declared: &UserDeclaration) -> Result<Plan> {
    let mut user = written(User::new(app, &declared.username), declared);
    if let Some(id) = &declared.id {
        if account::find(app, tenant, id).await?.is_some() {
            return Err(OAuthError::conflict(format!(
                "User '{}': somebody else has the id '{id}'.",
                declared.username
            )));
        }
        user.id.clone_from(id);
    }
    free(app, tenant, &user).await?;
    let hash = hash(app, declared).await?;
    Ok(Plan {
        changes: added(app, tenant, &user, hash),
        user,
        exists: false,
    })
}

fn written(user: User, declared: &UserDeclaration) -> User {
    User {
        username: declared.username.clone(),
        email: declared.email.clone(),
        email_verified: declared.email_verified,
        claims: declared.claims.clone(),
        disabled: declared.disabled,
        ..user
    }
}

/// Nobody else has verified this address.
async fn free(app: &App, tenant: &Tenant, user: &User) -> Result<()> {
    let Some(email) = user.email.as_deref().filter(|_| user.email_verified) else {
        return Ok(());
    };
    match account::find_by_email(app, tenant, email).await? {
        Some(other) if other.id != user.id => Err(OAuthError::conflict(format!(
            "User '{}': the address '{email}' is verified for another user.",
            user.username
        ))),
        _ => Ok(()),
    }
}

async fn hash(app: &App, declared: &UserDeclaration) -> Result<Option<String>> {
    match (&declared.password, &declared.password_hash) {
        (Some(password), _) => password::hash(app, password).await.map(Some),
        (None, hash) => Ok(hash.clone()),
    }
}

fn check(app: &App, declared: &UserDeclaration) -> Result<(), String> {
    account::check_username(&declared.username)?;
    if let Some(email) = &declared.email {
        account::check_email(email)?;
    }
    if let Some(id) = &declared.id {
        // OpenID Connect Core §2, `sub`.
        let fits = (1..=255).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            return Err("an id has 1 to 255 printable ASCII characters without spaces".into());
        }
    }
    for claim in ["sub", "email", "email_verified", "iss", "aud", "exp", "iat"] {
        if declared.claims.contains_key(claim) {
            return Err(format!("'{claim}' cannot be among the claims"));
        }
    }
    let length = Value::Object(declared.claims.clone()).to_string().len();
    if length > MOST_CLAIMS {
        return Err(format!("the claims are limited to {MOST_CLAIMS} bytes"));
    }
    check_secret(
        app,
        &declared.username,
        declared.password.as_deref(),
        declared.password_hash.as_deref(),
    )
}

/// Whether a password, or its hash, can be taken.
///
/// # Errors
/// What it must be.
pub fn check_secret(
    app: &App,
    username: &str,
    password: Option<&str>,
    hash: Option<&str>,
) -> Result<(), String> {
    match (password, hash) {
        (Some(_), Some(_)) => Err("there is a password and a hash: one is enough".into()),
        (Some(password), None) => password::check_new(app, password, username)
            .map_err(|why| why.trim_end_matches('.').to_owned()),
        (None, Some(hash)) => password::check_hash(hash),
        (None, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_does_not_print_its_secrets() {
        let declared = serde_json::json!({
            "username": "alice", "password": "correct horse", "password_hash": "$2b$10$secret",
        });
        let declared: UserDeclaration = serde_json::from_value(declared).unwrap();
        let printed = format!("{declared:?}");
        assert!(printed.contains("alice"), "{printed}");
        for secret in ["correct horse", "secret"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
