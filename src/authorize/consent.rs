//! What a person lets a client have, remembered across authorizations.

use entity::consent;

use crate::{
    app::App,
    error::{OAuthError, Result},
    policy::person::Allowed,
    registry::Tenant,
    store::{Change, authorization},
};

/// What was allowed so far.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    row: Option<consent::Model>,
    /// The scopes.
    pub allowed: Allowed,
}

impl Remembered {
    /// Reads it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(app: &App, tenant: &Tenant, user: &str, client_id: &str) -> Result<Self> {
        let row = authorization::consent(&app.db, tenant.name(), user, client_id)
            .await
            .map_err(OAuthError::server_error)?;
        let allowed = row.as_ref().map(|row| serde_json::from_str(&row.document));
        Ok(Self {
            allowed: allowed
                .transpose()
                .map_err(OAuthError::server_error)?
                .unwrap_or_default(),
            row,
        })
    }

    /// Whether anything was.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.row.is_some()
    }

    /// The change that adds to it; none when it is in there already. What was allowed before
    /// stays: a client that asks for more does not lose what it has.
    ///
    /// # Errors
    /// Never; JSON can hold it.
    pub fn add(
        &self,
        tenant: &Tenant,
        user: &str,
        client_id: &str,
        more: &Allowed,
        now: i64,
    ) -> Result<Option<Change>> {
        if self.row.is_some() && self.allowed.covers(more) {
            return Ok(None);
        }
        let mut allowed = self.allowed.clone();
        allowed.add(more);
        let row = consent::Model {
            tenant: tenant.name().to_owned(),
            user_id: user.to_owned(),
            client_id: client_id.to_owned(),
            document: serde_json::to_string(&allowed).map_err(OAuthError::server_error)?,
            created_at: self.row.as_ref().map_or(now, |row| row.created_at),
            updated_at: now,
        };
        Ok(Some(Change::Authorization(
            authorization::Change::PutConsent {
                row,
                before: self.row.clone().map(Box::new),
            },
        )))
    }
}
