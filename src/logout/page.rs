//! What people see when they sign out.

use serde::Serialize;
use url::Url;

use super::request::LogoutRequest;
use crate::{
    app::App,
    error::Result,
    registry::Tenant,
    users::{Session, csrf},
    web::{Page, form_target},
};

/// Asks whether they want to.
#[derive(Debug, Serialize)]
pub(super) struct Confirm {
    username: String,
    /// Who sent them, if that is known.
    client: Option<String>,
    logout: String,
    csrf: String,
    #[serde(skip)]
    target: Option<String>,
}

impl Page for Confirm {
    const TEMPLATE: &'static str = include_str!("confirm.html");

    fn title(&self) -> &str {
        "Sign out?"
    }

    fn form_action(&self) -> Vec<String> {
        self.target.iter().cloned().collect()
    }
}

impl Confirm {
    pub(super) fn new(
        app: &App,
        tenant: &Tenant,
        session: &Session,
        asked: &LogoutRequest,
    ) -> Result<Self> {
        let to = asked.to.as_deref().and_then(|to| Url::parse(to).ok());
        Ok(Self {
            username: session.user.username.clone(),
            client: asked.client.clone(),
            logout: asked.seal(app, tenant)?,
            csrf: csrf::token(app, tenant, csrf::Holder::Session(session)),
            target: to.as_ref().map(form_target),
        })
    }
}

/// Says that it is done.
#[derive(Debug, Serialize)]
pub(super) struct SignedOut {}

impl Page for SignedOut {
    const TEMPLATE: &'static str = include_str!("signed_out.html");

    fn title(&self) -> &str {
        "Signed out"
    }
}
