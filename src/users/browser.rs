//! A browser in which nobody is signed in yet, told from others by a cookie.

use http::{HeaderMap, HeaderValue};

use super::cookie::Cookie;
use crate::{app::App, registry::Tenant};

/// How long the name of a browser is.
const LENGTH: usize = 22;

/// A browser.
#[derive(Clone, Debug)]
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
        let known = Cookie::Browser.read(tenant, headers);
        match known.filter(|name| name.len() == LENGTH) {
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
}
