//! Cookies: what they are called, how they are read and set (RFC 6265).

use http::{HeaderMap, HeaderValue, header};

use crate::registry::Tenant;

/// What a cookie of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Holds the secret of a session.
    Session,
    /// Names a browser in which nobody is signed in, for as long as it is open.
    Browser,
    /// Names a browser that has left for another provider.
    Departure,
    /// Says who has signed in with this browser before.
    Device,
}

impl Cookie {
    /// Its name at an issuer. `__Host-` has browsers take it only from this very host, over TLS
    /// and for all paths (RFC 6265bis §4.1.3.2): so a tenant has its name in it and not its path.
    fn name(self, tenant: &Tenant) -> String {
        let purpose = match self {
            Self::Session => "session",
            Self::Browser => "browser",
            Self::Departure => "departure",
            Self::Device => "device",
        };
        let prefix = if is_secure(tenant) { "__Host-" } else { "" };
        if tenant.is_default() {
            format!("{prefix}writ-{purpose}")
        } else {
            format!("{prefix}writ-{purpose}-{}", tenant.name())
        }
    }

    /// Its value in a request. Of two with one name nobody knows which is ours: neither is.
    #[must_use]
    pub fn read<'h>(self, tenant: &Tenant, headers: &'h HeaderMap) -> Option<&'h str> {
        let name = self.name(tenant);
        let lines = headers.get_all(header::COOKIE).iter();
        let pairs = lines.filter_map(|line| line.to_str().ok());
        let pairs = pairs.flat_map(|line| line.split(';'));
        let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter_map(|(key, value)| (key == name).then_some(value));
        values.next().filter(|_| values.next().is_none())
    }

    /// A header that sets it: for this many seconds, or until the browser is closed.
    #[must_use]
    pub fn set(self, tenant: &Tenant, value: &str, seconds: Option<i64>) -> Option<HeaderValue> {
        let name = self.name(tenant);
        let secure = if is_secure(tenant) { " Secure;" } else { "" };
        let age = seconds.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
        let text = format!("{name}={value}; Path=/;{secure} HttpOnly; SameSite=Lax{age}");
        HeaderValue::from_str(&text).ok()
    }

    /// A header that takes it away.
    #[must_use]
    pub fn clear(self, tenant: &Tenant) -> Option<HeaderValue> {
        self.set(tenant, "", Some(0))
    }
}

/// Development on loopback may do without TLS, and browsers keep no `Secure` cookie there.
fn is_secure(tenant: &Tenant) -> bool {
    tenant.issuer().starts_with("https:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RegistrationMode;

    fn tenant(name: &str, issuer: &str) -> Tenant {
        Tenant::new(name, issuer, RegistrationMode::Open)
    }

    #[test]
    fn a_cookie_is_for_this_host_and_nobody_reads_it() {
        let root = tenant("default", "https://as.example");
        assert_eq!(
            Cookie::Session.set(&root, "x", Some(60)).unwrap(),
            "__Host-writ-session=x; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        let acme = tenant("acme", "http://127.0.0.1:4455/t/acme");
        assert_eq!(
            Cookie::Browser.set(&acme, "x", None).unwrap(),
            "writ-browser-acme=x; Path=/; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn one_of_two_cookies_is_none() {
        let root = tenant("default", "https://as.example");
        let read = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            Cookie::Session.read(&root, &headers).map(str::to_owned)
        };
        assert_eq!(read(&["a=b; __Host-writ-session=x"]).as_deref(), Some("x"));
        assert_eq!(read(&["__Host-writ-session-acme=x; writ-session=x"]), None);
        assert_eq!(
            read(&["__Host-writ-session=x; __Host-writ-session=y"]),
            None
        );
        assert_eq!(
            read(&["__Host-writ-session=x", "__Host-writ-session=y"]),
            None
        );
    }
}
