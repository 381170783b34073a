//! What was shown first, and sign-ins that wait for a second factor after it.

use std::fmt;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entity::credential::Model;
use serde::{Deserialize, Serialize};

use super::{
    User,
    browser::Browser,
    change,
    credential::{self, Credentials, PASSWORD, TOTP, UPSTREAM},
    sign_in::{Outcome, Proved},
};
use crate::{
    app::App,
    audit::Record,
    error::{OAuthError, Result},
    registry::Tenant,
    store::Change,
};

/// Seconds in which the second factor is to follow the first.
const PATIENCE: i64 = 600;

/// What a person has shown first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum First {
    /// The password whose hash has this SHA-256: one that is changed meanwhile signs nobody in.
    Password(String),
    /// Who they are at another provider.
    Identity(Identity),
}

/// Who somebody is at another provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The id of its row.
    pub id: String,
    /// What is to be written, if it was never here.
    pub new: Option<NewIdentity>,
    /// How they have signed in there (RFC 8176), separated by spaces.
    pub amr: String,
    /// When, if that was not just now, Unix seconds.
    pub authenticated_at: Option<i64>,
}

/// An identity that was never here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewIdentity {
    /// What it is called.
    pub name: String,
    /// Whose word it is.
    pub document: String,
    /// Why it is theirs.
    pub reason: String,
}

impl NewIdentity {
    /// What makes it somebody's, and what is remembered of that.
    #[must_use]
    pub fn put(&self, app: &App, tenant: &Tenant, user: &str, id: String) -> (Change, Record) {
        let mut row = credential::identity(app, tenant, user, id);
        row.name.clone_from(&self.name);
        row.document.clone_from(&self.document);
        let record = change::record(app, tenant, user, &self.reason);
        (credential::put(row, None), record)
    }
}

fn digest_of(row: &Model) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &row.secret))
}

impl First {
    /// The password that is kept so.
    #[must_use]
    pub fn password(row: &Model) -> Self {
        Self::Password(digest_of(row))
    }

    /// Whether an account that has a second factor need not be asked for it: the provider has asked
    /// for one. For an identity that is only about to be linked that is no answer: whoever has come
    /// by the address there would be in.
    fn is_enough(&self) -> bool {
        match self {
            Self::Password(_) => false,
            Self::Identity(identity) => {
                let mut methods = identity.amr.split(' ');
                identity.new.is_none() && methods.any(|method| method == "mfa")
            }
        }
    }

    /// How far it leads: all the way, unless the account has a second factor.
    ///
    /// # Errors
    /// `invalid_request` when it holds no more.
    pub fn leads(
        self,
        app: &App,
        tenant: &Tenant,
        browser: &Browser,
        user: User,
        credentials: &Credentials,
    ) -> Result<Outcome> {
        if credentials.first(TOTP).is_none() || self.is_enough() {
            let proved = self.proved(app, tenant, user, credentials)?;
            return Ok(Outcome::Proved(Box::new(proved)));
        }
        Ok(Outcome::Half(Half {
            user: user.id,
            browser: browser.name.clone(),
            at: app.clock.seconds(),
            first: self,
        }))
    }

    /// What it proves of an account with these credentials.
    ///
    /// # Errors
    /// `invalid_request` when it holds no more.
    pub fn proved(
        &self,
        app: &App,
        tenant: &Tenant,
        user: User,
        credentials: &Credentials,
    ) -> Result<Proved> {
        let used = |row: Option<&Model>| {
            let row = row.ok_or_else(|| {
                OAuthError::invalid_request(
                    "What you have signed in with was changed meanwhile: begin again.",
                )
            })?;
            Ok::<_, OAuthError>(credential::used(app, row, 0))
        };
        let (amr, authenticated_at) = match self {
            Self::Password(_) => ("pwd", None),
            Self::Identity(identity) => (identity.amr.as_str(), identity.authenticated_at),
        };
        let mut audit = Vec::new();
        let spent = match self {
            Self::Password(shown) => {
                let row = credentials.first(PASSWORD);
                used(row.filter(|row| digest_of(row) == *shown))?
            }
            Self::Identity(Identity { id, new: None, .. }) => {
                used(credentials.all(UPSTREAM).find(|row| row.id == *id))?
            }
            Self::Identity(Identity {
                id, new: Some(new), ..
            }) => {
                let (put, record) = new.put(app, tenant, &user.id, id.clone());
                audit.push(record);
                put
            }
        };
        Ok(Proved {
            user,
            amr: amr.to_owned(),
            authenticated_at,
            spent: vec![spent],
            audit,
        })
    }
}

/// A sign-in that waits for its second factor.
#[derive(Clone, Serialize, Deserialize)]
pub struct Half {
    /// Who.
    pub(super) user: String,
    /// What they have shown.
    pub(super) first: First,
    /// The browser in which they have.
    browser: String,
    /// When, Unix seconds.
    at: i64,
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half")
            .field("user", &self.user)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Half {
    /// The ticket that the browser carries.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal(&self, app: &App, tenant: &Tenant) -> Result<String> {
        Ok(app.sign_ins.seal(tenant.name(), self, &app.entropy)?)
    }

    /// What a ticket holds.
    ///
    /// # Errors
    /// `invalid_request` when it is another browser's, too old, or none.
    pub fn open(app: &App, tenant: &Tenant, browser: &Browser, ticket: &str) -> Result<Self> {
        let half = app.sign_ins.open::<Self>(tenant.name(), ticket);
        let now = app.clock.seconds();
        half.filter(|half| half.browser == browser.name && now - half.at <= PATIENCE)
            .ok_or_else(|| {
                OAuthError::invalid_request(
                    "This sign-in has taken too long, or was begun in another browser: begin \
                     again.",
                )
            })
    }
}
