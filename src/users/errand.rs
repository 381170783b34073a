//! Where a person was going before signing in: sealed, and carried by the browser.

use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    error::{OAuthError, Result},
    registry::Tenant,
};

/// Seconds for which one can be carried on that leads to a page of ours.
const LIFETIME: i64 = 3600;

/// A client that sends a person, as the person is told of it before anything else happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// What it calls itself, or its id.
    pub client_name: String,
    /// Whether nobody here answers for it.
    pub unknown: bool,
    /// The host that its document is at, if that is what it is known by.
    pub document_host: Option<String>,
    /// Where the answer goes.
    pub redirect_host: String,
    /// Whether that is a program on the person's own machine.
    pub local: bool,
    /// What it says of its use of data (OpenID Connect Registration §2 `policy_uri`).
    #[serde(default)]
    pub policy_uri: Option<String>,
    /// Its terms (`tos_uri`).
    #[serde(default)]
    pub tos_uri: Option<String>,
}

/// What a browser comes back to after signing in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// Path and query below the issuer: of the authorization endpoint or of the account pages.
    pub to: String,
    /// The client that sent the person here.
    pub client: Option<Sender>,
    /// Who the client believes it is (OpenID Connect Core §3.1.2.1).
    pub login_hint: Option<String>,
    /// Until when it can be carried on, Unix seconds.
    pub ends_at: i64,
    /// Who signed in before this Unix second must do so again.
    pub authenticated_after: Option<i64>,
}

impl Errand {
    /// To one of our pages, for whoever is signed in.
    #[must_use]
    pub fn to(app: &App, to: impl Into<String>) -> Self {
        Self {
            to: to.into(),
            client: None,
            login_hint: None,
            ends_at: app.clock.seconds() + LIFETIME,
            authenticated_after: None,
        }
    }

    /// The ticket that a browser carries.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal(&self, app: &App, tenant: &Tenant) -> Result<String> {
        Ok(app.errands.seal(tenant.name(), self, &app.entropy)?)
    }

    /// The path of the sign-in page that carries it on, with the issuer's own path.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn login(&self, app: &App, tenant: &Tenant) -> Result<String> {
        let ticket = self.seal(app, tenant)?;
        Ok(format!("{}/login?errand={ticket}", tenant.path()))
    }

    /// What a ticket holds.
    ///
    /// # Errors
    /// `invalid_request` when it is none of ours, or too old.
    pub fn open(app: &App, tenant: &Tenant, ticket: &str) -> Result<Self> {
        let errand = app.errands.open::<Self>(tenant.name(), ticket);
        let now = app.clock.seconds();
        let alive = |errand: &Self| now <= errand.ends_at && errand.leads_home();
        errand.filter(alive).ok_or_else(|| {
            OAuthError::invalid_request(
                "This sign-in has taken too long, or its link is incomplete: go back to the \
                 application and begin again.",
            )
        })
    }

    /// The same with more of a query, for one that a client has sent.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let mark = if self.to.contains('?') { '&' } else { '?' };
        let value = form_urlencoded::byte_serialize(value.as_bytes());
        self.to = format!("{}{mark}{name}={}", self.to, String::from_iter(value));
        self
    }

    /// Where the browser goes then, with the issuer's own path.
    #[must_use]
    pub fn destination(&self, tenant: &Tenant) -> String {
        format!("{}{}", tenant.path(), self.to)
    }

    /// Whether it stays here: nobody is sent elsewhere by what a page carries (RFC 9700 §4.11).
    fn leads_home(&self) -> bool {
        let path = self.to.split('?').next().unwrap_or_default();
        let below = |page: &str| {
            let rest = path.strip_prefix(page);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let clean = self.to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        clean && !path.contains("//") && (below("/authorize") || below("/account"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_stays_here() {
        let leads_home = |to: &str| {
            let errand = Errand {
                to: to.into(),
                client: None,
                login_hint: None,
                ends_at: 0,
                authenticated_after: None,
            };
            errand.leads_home()
        };
        for to in ["/authorize?a=b//c", "/account", "/account/passkeys"] {
            assert!(leads_home(to), "{to}");
        }
        for to in [
            "",
            "/",
            "//evil.example",
            "https://evil.example",
            "/accounts",
            "/account//x",
            "/\\evil.example",
            "/authorize\r\nx: y",
            "/authorize.evil.example",
        ] {
            assert!(!leads_home(to), "{to}");
        }
    }
}
