//! Accounts: who a person is, found by id, name or address.

use entity::user;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    app::App,
    error::{OAuthError, Result},
    registry::Tenant,
    store::people,
};

/// Longest name, characters.
const LONGEST_NAME: usize = 128;
/// Longest address (RFC 5321 §4.5.3.1.3, without the angle brackets), bytes.
const LONGEST_ADDRESS: usize = 254;

/// A person with an account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct User {
    /// The `sub`.
    pub id: String,
    /// The name to sign in with.
    pub username: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Whether somebody has made sure that it is theirs.
    pub email_verified: bool,
    /// Standard claims (OpenID Connect Core §5.1) but `sub`, `email` and `email_verified`.
    pub claims: Map<String, Value>,
    /// Whether they may not sign in.
    pub disabled: bool,
    /// When the account was made, Unix seconds.
    pub created_at: i64,
    /// When it last changed, Unix seconds.
    pub updated_at: i64,
}

impl User {
    /// From its row.
    #[must_use]
    pub fn from_row(row: user::Model) -> Self {
        Self {
            // What we wrote is an object.
            claims: serde_json::from_str(&row.claims).unwrap_or_default(),
            id: row.id,
            username: row.username,
            email: row.email,
            email_verified: row.email_verified,
            disabled: row.disabled,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }

    /// As a row of a tenant.
    #[must_use]
    pub fn row(&self, tenant: &str) -> user::Model {
        let verified = self.email.as_deref().filter(|_| self.email_verified);
        user::Model {
            tenant: tenant.to_owned(),
            id: self.id.clone(),
            username: self.username.clone(),
            username_key: key(&self.username),
            email: self.email.clone(),
            email_verified: self.email_verified,
            email_key: verified.map(key),
            claims: Value::Object(self.claims.clone()).to_string(),
            disabled: self.disabled,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// What to call them: their `name`, or what they sign in with.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let name = self.claims.get("name").and_then(Value::as_str);
        name.filter(|name| !name.trim().is_empty())
            .unwrap_or(&self.username)
    }
}

/// A name or address as it is compared: nobody remembers which letters were capital.
#[must_use]
pub fn key(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Whether somebody can be called this.
///
/// # Errors
/// What a name must be.
pub fn check_username(name: &str) -> Result<(), String> {
    let fits = name.chars().count() <= LONGEST_NAME && name.trim() == name;
    if name.is_empty() || !fits || name.chars().any(char::is_control) {
        return Err(format!(
            "a user name has 1 to {LONGEST_NAME} characters, without control characters, and no \
             spaces around it"
        ));
    }
    Ok(())
}

/// Whether this looks like an address. Only a message that arrives proves that it is one.
///
/// # Errors
/// What an address must be.
pub fn check_email(email: &str) -> Result<(), String> {
    let wrong = |c: char| c.is_control() || c.is_whitespace();
    let parts = email.rsplit_once('@');
    let whole = parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if !whole || email.len() > LONGEST_ADDRESS || email.chars().any(wrong) {
        return Err("an e-mail address has the form name@domain, without spaces".into());
    }
    Ok(())
}

/// The account with this id.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(app: &App, tenant: &Tenant, id: &str) -> Result<Option<User>> {
    let row = people::user(&app.db, tenant.name(), id).await?;
    Ok(row.map(User::from_row))
}

/// The account with this name, in whatever letter case.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_by_username(app: &App, tenant: &Tenant, name: &str) -> Result<Option<User>> {
    let row = people::user_named(&app.db, tenant.name(), &key(name)).await?;
    Ok(row.map(User::from_row))
}

/// The account with this verified address. One that nobody has verified finds nobody: anybody
/// could have written it into their account.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_by_email(app: &App, tenant: &Tenant, email: &str) -> Result<Option<User>> {
    let row = people::user_at(&app.db, tenant.name(), &key(email)).await?;
    Ok(row.map(User::from_row))
}

/// The account that somebody means by what they type when they sign in: a name before an address.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_typed(app: &App, tenant: &Tenant, typed: &str) -> Result<Option<User>> {
    if typed.contains('\0') {
        // PostgreSQL has no such text, so no account has such a name.
        return Ok(None);
    }
    match find_by_username(app, tenant, typed).await? {
        Some(user) => Ok(Some(user)),
        None => find_by_email(app, tenant, typed).await,
    }
}

/// The account with this id, which must be there.
///
/// # Errors
/// `not_found`, and when the database cannot be read.
pub async fn existing(app: &App, tenant: &Tenant, id: &str) -> Result<User> {
    let found = find(app, tenant, id).await?;
    found.ok_or_else(|| OAuthError::not_found("There is no such user."))
}
