//! A browser in which nobody is signed in yet, told from others by a cookie.

use http::{HeaderMap, HeaderValue};

use super::{cookie::Cookie, upstream::departure};
use crate::{app::App, registry::Tenant};

/// How long the name of a browser is.
const LENGTH: usize = 22;

/// A browser.
#[derive(Clone)]
pub struct Browser {
    /// 128 random bits, as the cookie holds them.
    pub name: String,
    /// The header that gives it its name, when it had none.
    pub cookie: Option<HeaderValue>,
}

impl Browser {
    /// The browser that asks; it gets a name when it has none.
    #[must_use]
    pub fn of(app: &App, tenant: &Tenant, headers: &HeaderMap) -> Self {
        match known(Cookie::Browser, tenant, headers) {
            Some(name) => Self {
                name: name.to_owned(),
                cookie: None,
            },
            None => {
                let name = app.entropy.id();
                let cookie = Cookie::Browser.set(tenant, &name, None);
                Self { name, cookie }
            }
        }
    }

    /// The browser that is about to leave for another provider. It has a name for that, which it
    /// gets now and not before, and keeps while it may come back: several of its windows may leave.
    #[must_use]
    pub fn leaving(app: &App, tenant: &Tenant, headers: &HeaderMap) -> Self {
        let known = Self::left(tenant, headers).map(str::to_owned);
        let name = known.unwrap_or_else(|| app.entropy.id());
        let cookie = Cookie::Departure.set(tenant, &name, Some(departure::LIFETIME));
        Self { name, cookie }
    }

    /// The name of a browser that has left for another provider.
    #[must_use]
    pub fn left<'h>(tenant: &Tenant, headers: &'h HeaderMap) -> Option<&'h str> {
        known(Cookie::Departure, tenant, headers)
    }
}

fn known<'h>(cookie: Cookie, tenant: &Tenant, headers: &'h HeaderMap) -> Option<&'h str> {
    let name = cookie.read(tenant, headers);
    name.filter(|name| name.len() == LENGTH)
}
