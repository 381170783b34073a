//! What people see when they sign out.

use serde::Serialize;

use super::request::LogoutRequest;
use crate::{
    app::App,
    error::Result,
    registry::Tenant,
    users::{Session, csrf},
    web::Page,
};

/// Asks whether they want to.
#[derive(Debug, Serialize)]
pub(super) struct Confirm {
    username: String,
    /// Who sent them, if that is known.
    client: Option<String>,
    logout: String,
    csrf: String,
    /// Whether the client wants the person back.
    #[serde(skip)]
    goes_back: bool,
}

impl Page for Confirm {
    const TEMPLATE: &'static str = include_str!("confirm.html");

    fn title(&self) -> &str {
        "Sign out?"
    }

    fn leads_away(&self) -> bool {
        self.goes_back
    }
}

impl Confirm {
    pub(super) fn new(
        app: &App,
        tenant: &Tenant,
        session: &Session,
        asked: &LogoutRequest,
    ) -> Result<Self> {
        Ok(Self {
            username: session.user.username.clone(),
            client: asked.client.clone(),
            logout: asked.seal(app, tenant)?,
            csrf: csrf::token(app, tenant, csrf::Holder::Session(session)),
            goes_back: asked.to.is_some(),
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
